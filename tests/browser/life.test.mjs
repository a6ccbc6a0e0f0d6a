// What happens to people: a laptop that sleeps, a token that ends, a slow phone.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Hub, Person, clientBundle, launch, launchApart } from './support.mjs';

const numbered = (word, count) => Array.from({ length: count }, (_, i) => `${word} ${i}.`);

/** A process and all it has started. */
function family(pid) {
  const parents = new Map();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      // "pid (name) state ppid ..."; the name may hold anything.
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
    } catch {
      /* it has ended meanwhile */
    }
  }
  const found = [pid];
  for (const one of found) for (const [child, parent] of parents) if (parent === one) found.push(child);
  return found;
}

/** A way to the hub with a delay and a bound on the bytes a second, each way, such as a phone's. */
async function slowNetwork(hub, { delayMs, bytesPerSecond }) {
  const { hostname, port } = new URL(hub.origin);
  const sockets = new Set();
  const carry = async (from, to) => {
    try {
      for await (const chunk of from) {
        await sleep((chunk.length / bytesPerSecond) * 1_000);
        setTimeout(() => to.write(chunk), delayMs);
      }
      setTimeout(() => to.end(), delayMs);
    } catch {
      to.destroy();
    }
  };
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    for (const [socket, other] of [[near, far], [far, near]]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
      void carry(socket, other);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

describe('a laptop that sleeps', () => {
  let hub, laptop, browser, ada, bo;

  before(async () => {
    hub = await Hub.start({ HUBBUB__SESSION__HEARTBEAT_MS: '1000', HUBBUB__SESSION__TIMEOUT_MS: '1000' });
    laptop = await launchApart();
    browser = await launch();
    ada = await Person.enter(laptop.browser, hub, 'Ada');
    bo = await Person.enter(browser, hub, 'Bo');
  });
  after(async () => {
    await laptop?.close();
    await browser?.close();
    await hub?.close();
  });

  it('is missed by the others, and wakes up to all that was said', async () => {
    await ada.say('before the nap');
    await bo.sees('before the nap');
    const all = family(laptop.pid);
    assert.ok(all.length > 2, 'a browser has several processes');
    for (const pid of all) process.kill(pid, 'SIGSTOP');
    try {
      await bo.member('Ada').waitFor({ state: 'detached', timeout: 15_000 });
      for (const line of numbered('while asleep', 5)) {
        await bo.say(line);
        await bo.sees(line);
      }
    } finally {
      for (const pid of all.reverse()) process.kill(pid, 'SIGCONT');
    }
    await ada.sees('while asleep 4.');
    await ada.page.locator('#room-subtitle', { hasText: '2 people here' }).waitFor();
    await ada.say('good morning');
    await bo.sees('good morning');
    const expected = ['before the nap', ...numbered('while asleep', 5), 'good morning'];
    assert.deepEqual(await ada.texts(), expected);
    assert.deepEqual(await bo.texts(), expected);
    assert.deepEqual(ada.errors, []);
  });
});

describe('a token that ends', () => {
  const SECRET = 'a secret for the browser tests, long enough';
  let hub, browser, page;

  /** A JWT (HS256, RFC 7519) that ends in so many seconds. */
  const token = (sub, seconds) => {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const body = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub, name: sub, exp: Math.floor(Date.now() / 1000) + seconds })}`;
    return `${body}.${createHmac('sha256', SECRET).update(body).digest('base64url')}`;
  };

  before(async () => {
    hub = await Hub.start({ HUBBUB__AUTH__JWT_SECRET: SECRET });
    browser = await launch();
    page = await browser.newPage();
    await page.goto(`${hub.origin}/healthz`);
    await page.evaluate(await clientBundle());
    await page.exposeFunction('freshToken', (sub, seconds) => token(sub, seconds));
  });
  after(async () => {
    await browser?.close();
    await hub?.close();
  });

  it('is renewed before its end where it can be, and closes the session where it cannot', async () => {
    const { kept, lost, asked, sameSession, heard } = await page.evaluate(async () => {
      const { HubbubClient } = globalThis.hubbub;
      let asked = 0;
      // The first token is short, the next one is not.
      const renewing = new HubbubClient({ token: () => globalThis.freshToken('renewing', asked++ ? 600 : 4) });
      const plain = new HubbubClient({ token: await globalThis.freshToken('plain', 4) });
      const heard = [];
      const copy = new Promise((resolve) => renewing.on('message', ({ content }) => resolve(heard.push(content))));
      await renewing.connect().join('r');
      await plain.connect().join('r');
      const { sessionId } = renewing.state;
      const lost = await new Promise((resolve) => plain.on('state', (state) => state.status === 'closed' && resolve(state)));
      await renewing.send('r', 'still here');
      // The acknowledgement may overtake the sender's own copy.
      await copy;
      return { kept: renewing.state, lost, asked, sameSession: renewing.state.sessionId === sessionId, heard };
    });
    assert.equal(lost.code, 4401);
    assert.equal(kept.status, 'connected');
    assert.equal(asked, 2);
    assert.ok(sameSession, 'on the same connection');
    assert.deepEqual(heard, ['still here']);
  });
});

describe('a slow phone', () => {
  const KEY = 'the key of the browser tests';
  const PHONE = { viewport: { width: 360, height: 640 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
  let hub, network, browser, phone, bo;

  before(async () => {
    hub = await Hub.start({ HUBBUB__AUTH__API_KEY: KEY });
    browser = await launch();
    bo = await Person.enter(browser, hub, 'Bo');
    network = await slowNetwork(hub, { delayMs: 200, bytesPerSecond: 50_000 });
    phone = await Person.enter(browser, network, 'Ada', PHONE);
    const devtools = await phone.context.newCDPSession(phone.page);
    await devtools.send('Emulation.setCPUThrottlingRate', { rate: 4 });
  });
  after(async () => {
    await browser?.close();
    network?.close();
    await hub?.close();
  });

  it('keeps up with a loud room, in order, and can still be written on', async () => {
    const lines = numbered('loud', 300);
    const publish = async () => {
      for (const content of lines) {
        const answer = await fetch(`${hub.origin}/api/rooms/lobby/messages`, {
          method: 'POST',
          headers: { authorization: `Bearer ${KEY}` },
          body: JSON.stringify({ content, userId: 'crier' }),
        });
        assert.equal(answer.status, 202);
      }
    };
    const loud = publish();
    await phone.say('can anybody hear me?');
    await bo.sees('can anybody hear me?');
    await loud;
    for (const person of [phone, bo]) {
      await person.sees('loud 299.');
      const texts = await person.texts();
      assert.deepEqual(texts.filter((text) => text.startsWith('loud')), lines);
      assert.equal(texts.length, 301, 'each message once');
      assert.equal(await person.page.locator('#banner').count(), 0, 'the connection held');
    }
    assert.deepEqual(await phone.texts(), await bo.texts(), 'the same order for everyone');
    // Messages at the end are in sight, not above it.
    const gap = await phone.page.locator('#log').evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight);
    assert.ok(gap < 2, `${gap} px below the end`);
    assert.deepEqual(phone.errors, []);
  });
});
