// The client library as it is written, in Bun, against a real hub that is killed meanwhile.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { Hub } from './support.mjs';

// An optional package: there is none for every machine.
const BUN = join(import.meta.dirname, '../node_modules/.bin/bun');
const skip = existsSync(BUN) ? false : 'Bun is not installed: npm install in tests/';

test('the client library works in Bun', { skip }, async (t) => {
  const hub = await Hub.start();
  t.after(() => hub.close());
  const answer = await fetch(`${hub.origin}/dev/token`, { method: 'POST', body: JSON.stringify({ sub: 'bun' }) });
  const { token } = await answer.json();
  const child = spawn(BUN, [join(import.meta.dirname, 'bun.ts')], {
    env: { PATH: process.env.PATH, HUB: hub.origin, TOKEN: token },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  const ended = once(child, 'exit');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => JSON.parse((await lines.next()).value ?? '"Bun has ended"');
  const go = () => child.stdin.write('\n');

  assert.match((await next()).bun, /^\d+\.\d+\.\d+$/, 'it is Bun');
  assert.deepEqual(await next(), { heard: 'from Bun', offset: 1 });
  await hub.kill();
  go();
  assert.deepEqual(await next(), { waiting: 10 });
  await hub.start();
  // The hub has another secret now, so that the token must be a new one.
  const again = await fetch(`${hub.origin}/dev/token`, { method: 'POST', body: JSON.stringify({ sub: 'bun' }) });
  child.stdin.write(`${(await again.json()).token}\n`);
  const { acks, heard } = await next();
  assert.deepEqual(acks, Array.from({ length: 10 }, (_, i) => i + 2));
  assert.deepEqual(heard, ['from Bun', ...Array.from({ length: 10 }, (_, i) => `away ${i}`)]);
  assert.deepEqual(await ended, [0, null]);
});
