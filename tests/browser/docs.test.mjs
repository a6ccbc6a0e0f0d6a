// The programs of docs/clients.md, taken from the page: each of them chats with the others.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { io } from 'socket.io-client';
import { Hub, launch } from './support.mjs';

const root = join(import.meta.dirname, '../..');
const doc = readFileSync(join(root, 'docs/clients.md'), 'utf8');
const { build } = createRequire(join(root, 'clients/js/package.json'))('esbuild');
const SECRET = 'a secret for the browser tests, long enough';

/** The block of a language that contains something, without its indentation. */
function block(language, contains) {
  for (const [, indent, body] of doc.matchAll(new RegExp(`^( *)\`\`\`${language}\\n([\\s\\S]*?)^ *\`\`\``, 'gm'))) {
    if (body.includes(contains)) return body.replaceAll(new RegExp(`^${indent}`, 'gm'), '');
  }
  throw new Error(`docs/clients.md has no ${language} block with ${contains}`);
}

/** A JWT (HS256, RFC 7519). */
function token(sub) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub, name: sub, exp: Math.floor(Date.now() / 1000) + 600 })}`;
  return `${body}.${createHmac('sha256', SECRET).update(body).digest('base64url')}`;
}

/** The program as one script for a page of the hub. */
async function program(source, loader, hub) {
  const { outputFiles } = await build({
    stdin: { contents: source.replaceAll('http://127.0.0.1:8080', hub.origin), loader, resolveDir: join(root, 'clients/js') },
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"' },
    alias: {
      '@hubbub/client/react': join(root, 'clients/js/src/react/index.ts'),
      '@hubbub/client': join(root, 'clients/js/src/index.ts'),
      'socket.io-client': join(root, 'tests/node_modules/socket.io-client'),
    },
  });
  return outputFiles[0].text;
}

describe('the programs of docs/clients.md', () => {
  let hub, browser;
  const pages = {};

  before(async () => {
    hub = await Hub.start({ HUBBUB__AUTH__JWT_SECRET: SECRET });
    browser = await launch();
    const html = block('html', 'id="log"').replace(/<script.*/, '');
    for (const [name, language, loader, file, needsHtml] of [
      ['plain', 'ts', 'ts', '// chat.ts', true],
      ['react', 'tsx', 'tsx', '// chat.tsx', false],
      ['socketio', 'js', 'js', '// chat.js', true],
    ]) {
      const page = await browser.newPage();
      page.setDefaultTimeout(10_000);
      await page.goto(`${hub.origin}/healthz#${token(name)}`);
      await page.evaluate((body) => (document.body.innerHTML = body), needsHtml ? html : '');
      await page.addScriptTag({ content: await program(block(language, file), loader, hub), type: 'module' });
      await page.locator('#state').getByText('connected').waitFor();
      pages[name] = page;
    }
  });
  after(async () => {
    await browser?.close();
    await hub?.close();
  });

  it('are as short as they say', () => {
    for (const [language, file] of [['ts', '// chat.ts'], ['tsx', '// chat.tsx'], ['js', '// chat.js']]) {
      const lines = block(language, file).trim().split('\n').slice(1).filter((line) => line.trim() && !/^[\s)}\]>;,/]*$/.test(line));
      assert.ok(lines.length <= 31, `${file}: ${lines.length} lines`);
    }
  });

  it('talk to each other', async () => {
    for (const [name, page] of Object.entries(pages)) {
      await page.locator('#text').fill(`hello from ${name}`);
      await page.locator('#text').press('Enter');
      for (const other of Object.values(pages)) await other.locator('#log').getByText(`${name}: hello from ${name}`).waitFor();
    }
    const expected = ['plain', 'react', 'socketio'].map((name) => `${name}: hello from ${name}`);
    for (const page of Object.values(pages)) {
      assert.deepEqual(await page.locator('#log li').allTextContents(), expected);
    }
  });

  it('tell who types', async () => {
    await pages.socketio.locator('#text').pressSequentially('hm');
    for (const name of ['plain', 'react']) await pages[name].locator('#state').getByText('socketio is typing').waitFor();
    await pages.react.locator('#text').pressSequentially('hm');
    await pages.socketio.locator('#state').getByText('react is typing').waitFor();
  });
});

describe('the vocabulary of docs/clients.md', () => {
  let hub, folder;
  const sockets = [];

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hubbub-docs-'));
    const file = join(folder, 'our-chat.toml');
    writeFileSync(file, block('toml', '# our-chat.toml'));
    hub = await Hub.start({ HUBBUB__AUTH__JWT_SECRET: SECRET, HUBBUB__SOCKETIO__VOCABULARY: file });
  });
  after(async () => {
    for (const socket of sockets) socket.close();
    await hub?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('serves the frontend of the server that it replaces', async () => {
    const [ann, bob] = ['ann', 'bob'].map((name) => io(hub.origin, { auth: { token: token(name) }, transports: ['websocket'] }));
    sockets.push(ann, bob);
    const next = (socket, event) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`no "${event}" within 5 s`)), 5_000);
        socket.once(event, (value) => {
          clearTimeout(timer);
          resolve(value);
        });
      });
    await Promise.all(sockets.map((socket) => next(socket, 'connect')));
    for (const socket of sockets) {
      assert.deepEqual(await socket.timeout(5_000).emitWithAck('enter', 'kitchen'), { ok: true });
    }
    const writing = next(bob, 'writing');
    ann.emit('writing', 'kitchen');
    assert.deepEqual(await writing, { room: 'kitchen', by: 'ann' });
    const said = next(bob, 'said');
    assert.deepEqual(await ann.timeout(5_000).emitWithAck('say', { room: 'kitchen', words: 'soup is ready' }), { ok: true });
    const { at, ...rest } = await said;
    assert.deepEqual(rest, { room: 'kitchen', words: 'soup is ready', by: 'ann' });
    assert.ok(Math.abs(at - Date.now()) < 60_000);
    const refused = await ann.timeout(5_000).emitWithAck('say', { room: 'elsewhere', words: 'x' });
    assert.equal(refused.ok, false);
    assert.equal(typeof refused.error, 'string');
  });
});
