// The clients that people have written against other servers, as they stand in the documents beside
// the repository (`../shared/seeds`). They are read from there and run as they are: a URL and a token
// are all that is supplied. Without the documents these tests are skipped.
import { once } from 'node:events';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { transformSync, buildSync } from 'esbuild';
import { io } from 'socket.io-client';

const FOLDER = join(import.meta.dirname, '../../../shared/seeds');

/** Why these tests do not run, or `false`. */
export const skip = existsSync(FOLDER) ? false : 'the documents are not at ../shared/seeds';

/** The text of a document, by the number that its name begins with. */
function text(number) {
  const name = readdirSync(FOLDER).find((file) => file.startsWith(`${number}_`));
  if (!name) throw new Error(`there is no document ${number} in ${FOLDER}`);
  return readFileSync(join(FOLDER, name), 'utf8');
}

/** What stands between two texts; from the last `start` before the first `end` after it. */
export function between(number, start, end) {
  const all = text(number);
  const from = all.indexOf(start);
  const to = all.indexOf(end, from + start.length);
  if (from < 0 || to < 0) throw new Error(`document ${number} has no "${start}" ... "${end}"`);
  return all.slice(from + start.length, to);
}

/** The code of the first fence after a heading, if it is fenced; else all of it. */
export function code(number, start, end) {
  const part = between(number, start, end);
  return part.match(/```\w*\n([\s\S]*?)```/)?.[1] ?? part;
}

/** Code whose line numbers stand in the text, all in one line. */
export function numbered(number, start, end) {
  let rest = between(number, start, end);
  rest = rest.slice(rest.indexOf('javascript1') + 'javascript1'.length);
  const lines = [];
  for (let next = 2; ; next += 1) {
    const at = rest.search(new RegExp(` ${next}(?!\\d)`));
    if (at < 0) break;
    lines.push(rest.slice(0, at));
    rest = rest.slice(at + String(next).length + 1);
  }
  return [...lines, rest].join('\n');
}

/** The objects of a JSON fence with comments. */
export function objects(number, start, end) {
  const fence = code(number, start, end);
  return fence
    .split(/^\/\/.*$/m)
    .map((part) => part.trim())
    .filter(Boolean)
    .map((part) => JSON.parse(part));
}

/** A class of a client, in Node: its imports are what `scope` has. */
export function evaluate(source, name, scope = {}) {
  const bare = source.replace(/^import .*$/gm, '').replace(/^export /gm, '');
  const { code: plain } = transformSync(bare, { loader: 'tsx', target: 'node20' });
  const quiet = { log() {}, error() {} };
  const names = { io, console: quiet, ...scope };
  return new Function(...Object.keys(names), `${plain}\nreturn ${name};`)(...Object.values(names));
}

/** Everything a page of React needs, as one script: the code of the document and then `app`. */
export function bundle(source, app) {
  const contents = [
    // Where the document uses a name without saying where it is from.
    /\bfrom 'socket.io-client'/.test(source) ? '' : "import { io } from 'socket.io-client';",
    /^import React/m.test(source)
      ? ''
      : "import React, { useState, useEffect, useCallback } from 'react';",
    "import { createRoot } from 'react-dom/client';",
    source,
    app,
  ].join('\n');
  const { outputFiles } = buildSync({
    stdin: { contents, loader: 'tsx', resolveDir: join(import.meta.dirname, '..') },
    bundle: true,
    write: false,
    jsx: 'transform',
    define: {
      'process.env.NODE_ENV': '"production"',
      'process.env.NEXT_PUBLIC_WS_URL': 'globalThis.HUB',
      'process.env.REACT_APP_WS_URL': 'globalThis.HUB',
    },
  });
  return outputFiles[0].text;
}

/** A page with a script, from a server of its own; the hub must allow other origins. `HUB` and
 * `values` are there as globals. */
export async function page(context, hub, script, values) {
  const globals = JSON.stringify({ HUB: hub.origin, ...values });
  const html = `<!doctype html><meta charset="utf-8"><div id="root"></div>
<script>Object.assign(globalThis, ${globals})</script><script src="/client.js"></script>`;
  const server = createServer((request, response) => {
    const isScript = request.url === '/client.js';
    response.setHeader('Content-Type', isScript ? 'text/javascript; charset=utf-8' : 'text/html');
    response.end(isScript ? script : html);
  });
  server.listen(0, '127.0.0.1').unref();
  await once(server, 'listening');
  context.once('close', () => server.close());
  const one = await context.newPage();
  one.errors = [];
  one.on('pageerror', (error) => one.errors.push(error.message));
  await one.goto(`http://127.0.0.1:${server.address().port}/`);
  return one;
}
