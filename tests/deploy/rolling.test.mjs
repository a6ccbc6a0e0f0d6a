// Three hubs with Redis behind nginx, restarted one after the other under traffic on both wires. The load
// generator audits every copy of every message; nginx's log tells how fast clients came back.
//
// ROLLING_CLIENTS (default 300) makes it larger; docs/performance.md has the figures of 3000. ROLLING_SECONDS
// is how long messages are sent, by default long enough for the three restarts.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Hub, SECRET, until } from '../socketio/support.mjs';
import { FILES, Nginx } from './nginx.mjs';
import { Redis } from '../node/redis.mjs';

const HUB = process.env.HUBBUB_BIN ?? join(FILES, '../../target/debug/hubbub');
const CLIENTS = Number(process.env.ROLLING_CLIENTS ?? 300);
// A second for each hundred clients to come, and as long for all restarts together.
const SECONDS = Number(process.env.ROLLING_SECONDS ?? 35 + Math.ceil(CLIENTS / 40));
const RATE = Math.max(50, CLIENTS / 10);
const DRAIN_MS = 15_000;
let redis;
let hubs = [];
let nginx;

before(async () => {
  redis = await Redis.start();
  hubs = await Promise.all([1, 2, 3].map((n) => Hub.start({
    NODE__ID: `n${n}`,
    HISTORY__STORE: 'redis',
    CLUSTER__REDIS_URL: redis.url,
    SERVER__TRUSTED_PROXIES: '127.0.0.1',
    SERVER__DRAIN_RATE: RATE,
    SERVER__DRAIN_TIMEOUT_MS: DRAIN_MS,
    LIMITS__MESSAGES_PER_SECOND: 0,
    LIMITS__MAX_SESSIONS_PER_USER: 0,
  })));
  nginx = await Nginx.start(hubs);
});
after(async () => {
  await nginx?.close();
  await Promise.all(hubs.map((hub) => hub.close()));
  await redis?.close();
});

/** Runs the load; resolves with its exit code, output and report. */
function load() {
  const report = join(nginx.dir, 'report.json');
  const child = spawn(HUB, [
    'loadtest', '--url', nginx.origin, '--connections', CLIENTS, '--rooms', Math.ceil(CLIENTS / 10),
    '--rate', 40, '--duration', `${SECONDS}s`, '--wire', 'both', '--keys', '--ramp', `${Math.ceil(CLIENTS / 100) + 1}s`,
    // ip_hash looks at the first three numbers.
    '--source', Array.from({ length: 40 }, (_, n) => `127.0.${n + 1}.1`).join(','), '--json', report,
  ].map(String), {
    env: { PATH: process.env.PATH, HUBBUB__AUTH__JWT_SECRET: SECRET },
    cwd: nginx.dir,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  process.once('exit', () => child.kill('SIGKILL'));
  let said = '';
  child.stdout.on('data', (bytes) => (said += bytes));
  child.stderr.on('data', (bytes) => (said += bytes));
  const ended = once(child, 'exit').then(([code]) => ({ code, said, report }));
  return { ended, said: () => said };
}

const connections = async () => {
  const each = await Promise.all(hubs.map((hub) => hub.metric('hubbub_sessions').catch(() => 0)));
  return each.reduce((sum, n) => sum + n, 0);
};

test('a rolling restart under traffic loses nothing, doubles nothing, and keeps to the rate', async (t) => {
  const running = load();
  await until(async () => (await connections()) >= CLIENTS, 'all clients are there', 60_000);
  const [codes, drained, back] = [[], [], []];
  for (const hub of hubs) {
    const began = Date.now();
    codes.push(await hub.drain());
    const took = Date.now() - began;
    assert.ok(took < DRAIN_MS + 5000, `the drain took ${took} ms`);
    await until(async () => (await connections()) >= CLIENTS, 'every client is back', DRAIN_MS + 5000 - took);
    drained.push(took);
    back.push(Date.now() - began);
    await hub.start();
  }
  const restarted = Date.now();
  assert.deepEqual(codes, [0, 0, 0]);
  const { code, said, report } = await running.ended;
  assert.equal(code, 0, said);
  const { passed, acked, due, reconnects: moved, audit } = JSON.parse(readFileSync(report, 'utf8'));
  assert.equal(passed, true, said);
  assert.ok(acked > due * 0.9, `${acked} of ${due} messages were acknowledged`);
  assert.equal(audit.unproven_rejoins, 0, 'somebody was told that there is a gap');
  assert.ok(moved >= CLIENTS, `${moved} connections were moved`);
  // nginx logs a WebSocket when it ends.
  const ends = new Map();
  for (const line of nginx.accessLog.trim().split('\n').map((text) => JSON.parse(text))) {
    if (line.status !== 101 || Date.parse(line.ts) > restarted) continue;
    ends.set(line.ts, (ends.get(line.ts) ?? 0) + 1);
  }
  const most = Math.max(...ends.values());
  assert.ok(most <= RATE * 1.1, `${most} clients were moved in a second, ${RATE} may be`);
  t.diagnostic(`${CLIENTS} clients, ${acked} of ${due} messages acknowledged, ${moved} connections moved, at most `
    + `${most} in a second of ${RATE}; drains took ${drained.join(', ')} ms, all were back after ${back.join(', ')} ms`);
  for (const line of said.slice(said.lastIndexOf('\nrun ') + 1).trim().split('\n')) t.diagnostic(line);
});
