// Three hubs behind the distribution's nginx with deploy/nginx as it is.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { io } from 'socket.io-client';
import { WebSocket } from 'ws';
import { Hub, TRANSPORTS, next, token, until } from '../socketio/support.mjs';
import { FILES, Nginx, request } from './nginx.mjs';

const HUB = process.env.HUBBUB_BIN ?? join(FILES, '../../target/debug/hubbub');
const API_KEY = 'the key of the HTTP API';
const CLIENTS = 12;
// ip_hash looks at the first three numbers.
const address = (n) => `127.0.${n + 1}.1`;
const SETTINGS = {
  SERVER__TRUSTED_PROXIES: '127.0.0.1',
  SERVER__DRAIN_TIMEOUT_MS: 8000,
  AUTH__API_KEY: API_KEY,
  LOG__REPEAT_PER_SECOND: 0,
};
let hubs;
let nginx;

before(async () => {
  hubs = await Promise.all([1, 2, 3].map((n) => Hub.start({ ...SETTINGS, NODE__ID: `n${n}` })));
  nginx = await Nginx.start(hubs);
});
after(async () => {
  await nginx?.close();
  await Promise.all((hubs ?? []).map((hub) => hub.close()));
});

async function enter(n, transports, origin = nginx.origin) {
  const agent = new http.Agent({ keepAlive: true, localAddress: address(n) });
  const socket = io(origin, {
    forceNew: true,
    transports,
    agent,
    reconnectionDelay: 50,
    reconnectionDelayMax: 200,
    auth: { token: token(`u${n}`) },
  });
  socket.heard = [];
  socket.on('message', (message) => socket.heard.push(message.content));
  socket.on('authenticated', (event) => (socket.node = event.nodeId));
  await next(socket, 'connect');
  const last = transports.at(-1);
  await until(() => socket.io.engine.transport.name === last, `on ${last}`);
  await until(() => socket.node, 'authenticated');
  return socket;
}

const ask = (socket, event, argument) => socket.timeout(5000).emitWithAck(event, argument);

async function talk(socket, room) {
  assert.equal((await ask(socket, 'join', { roomId: room })).ok, true);
  for (let i = 0; i < 5; i++) {
    const answer = await ask(socket, 'message', { roomId: room, content: `${room} ${i}` });
    assert.equal(answer.ok, true, JSON.stringify(answer));
  }
  await until(() => socket.heard.length >= 5, `${room} hears itself`);
  assert.deepEqual(socket.heard, [0, 1, 2, 3, 4].map((i) => `${room} ${i}`));
}

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  test(`stock clients reach a node and stay with it: ${name}`, async (t) => {
    const sockets = [];
    t.after(() => sockets.forEach((socket) => socket.close()));
    for (let n = 0; n < CLIENTS; n++) sockets.push(await enter(n, transports));
    await Promise.all(sockets.map((socket, n) => talk(socket, `${transports.at(-1)}-${n}`)));
    const nodes = new Set(sockets.map((socket) => socket.node));
    assert.ok(nodes.size > 1, `all on ${[...nodes]}: nothing was balanced`);
  });
}

test('the JSON wire passes, with the address of the client', async (t) => {
  const socket = new WebSocket(`${nginx.origin.replace('http', 'ws')}/ws`, {
    localAddress: address(40),
    // What a client claims itself counts for nothing.
    headers: { Authorization: `Bearer ${token('forwarded')}`, 'X-Forwarded-For': '9.9.9.9' },
  });
  t.after(() => socket.close());
  const first = await new Promise((resolve, reject) => {
    socket.once('message', (data) => resolve(JSON.parse(data)));
    socket.once('error', reject);
  });
  assert.equal(first.type, 'authenticated');
  const opened = () => hubs.flatMap((hub) => hub.log())
    .find((line) => line.msg === 'session opened' && line.user === 'forwarded');
  assert.equal((await until(opened, 'the log says so')).ip, address(40));
});

test('handshakes of one address are limited at the edge, its polls are not', async () => {
  const from = address(60);
  const opened = await request(nginx.origin, '/socket.io/?EIO=4&transport=polling', { from });
  const { sid } = JSON.parse(opened.text.slice(1));
  const statuses = [];
  for (let round = 0; round < 10; round++) {
    const many = Array.from({ length: 40 }, () => request(nginx.origin, '/ws', { from }));
    statuses.push(...(await Promise.all(many)).map((answer) => answer.status));
  }
  const refused = statuses.filter((status) => status === 429).length;
  assert.ok(refused > 50 && refused < 200, `${refused} of 400 were refused`);
  const other = await request(nginx.origin, '/ws', { from: address(61) });
  assert.notEqual(other.status, 429, 'another address pays for it');
  const polls = [];
  for (let i = 0; i < 300; i++) {
    const path = `/socket.io/?EIO=4&transport=polling&sid=${sid}`;
    polls.push((await request(nginx.origin, path, { from, method: 'POST', body: '3' })).status);
  }
  assert.deepEqual([...new Set(polls)], [200]);
});

test('figures of nodes stay inside, the site says whether it can serve', async () => {
  const status = async (path) => (await request(nginx.origin, path)).status;
  for (const path of ['/metrics', '/metrics/websocket', '/healthz', '/api/ws/stats', '/api/ws/health']) {
    assert.equal(await status(path), 404, path);
  }
  assert.equal(await status('/readyz'), 200);
  assert.equal(await status('/api/rooms'), 401);
});

test('no token reaches the access log', async () => {
  const secret = token('in-the-query');
  await request(nginx.origin, `/ws?token=${secret}`);
  const log = await until(() => nginx.accessLog.includes('"/ws"') && nginx.accessLog, 'a line');
  assert.ok(!log.includes(secret.slice(0, 20)), 'the token is in the log');
  assert.ok(!log.includes('token='), 'a query string is in the log');
  for (const line of log.trim().split('\n')) JSON.parse(line);
});

test('one node leaves and comes back: nobody stays away', async (t) => {
  const sockets = [];
  t.after(() => sockets.forEach((socket) => socket.close()));
  for (let n = 0; n < CLIENTS; n++) {
    const transports = n % 2 ? ['polling'] : ['websocket'];
    sockets.push(await enter(n + 100, transports));
  }
  const victim = hubs[Number(sockets[0].node.slice(1)) - 1];
  const gone = sockets[0].node;
  const moved = sockets.filter((socket) => socket.node === gone);
  const reasons = [];
  for (const socket of sockets) socket.on('disconnect', (reason) => reasons.push(reason));
  await victim.drain();
  await until(() => moved.every((s) => s.connected && s.node !== gone), 'all are elsewhere', 15_000);
  assert.ok(!reasons.includes('io server disconnect'), `clients were told to stay away: ${reasons}`);
  await Promise.all(sockets.map((socket, n) => {
    socket.heard.length = 0;
    return talk(socket, `without-${n}`);
  }));
  await victim.start();
  await until(async () => {
    const fresh = await enter(100, ['websocket']);
    const { node } = fresh;
    fresh.close();
    return node === gone;
  }, 'the node takes clients again', 15_000);
  // ip_hash sends the polls of its addresses to it again: those clients begin anew there.
  await Promise.all(sockets.map((socket, n) => {
    const joined = () => ask(socket, 'join', { roomId: `again-${n}` }).catch(() => undefined);
    return until(async () => socket.connected && (await joined())?.ok, `${n} is back`, 15_000);
  }));
  assert.ok(!reasons.includes('io server disconnect'), `clients were told to stay away: ${reasons}`);
});

test('with TLS at the edge', async (t) => {
  const tls = await Nginx.start(hubs, { tls: true });
  t.after(() => tls.close());
  const ca = readFileSync(join(tls.dir, 'tls.crt'));
  for (const transports of Object.values(TRANSPORTS)) {
    const socket = io(tls.origin, { forceNew: true, transports, ca, auth: { token: token('tls') } });
    await next(socket, 'connect');
    socket.close();
  }
  const answer = await new Promise((resolve, reject) => {
    https.get(`${tls.origin}/readyz`, { ca, agent: false }, resolve).on('error', reject);
  });
  answer.resume();
  assert.equal(answer.statusCode, 200);
  assert.match(answer.headers['strict-transport-security'], /max-age=\d{8}/);
});

function doctor(url) {
  const args = ['doctor', '--url', url, ...hubs.flatMap((hub) => ['--node', hub.origin])];
  const env = { PATH: process.env.PATH, HUBBUB__AUTH__API_KEY: API_KEY };
  const { status, stdout } = spawnSync(HUB, args, { env, cwd: nginx.dir, encoding: 'utf8' });
  return { status, stdout };
}

test('hubbub doctor finds nothing wrong with this nginx', () => {
  const { status, stdout } = doctor(nginx.origin);
  for (const seen of ['sees this client as 127.0.0.1', 'a WebSocket opens', 'reached the same node']) {
    assert.ok(stdout.includes(seen), stdout);
  }
  assert.ok(!/(warning|PROBLEM) +proxy/.test(stdout), stdout);
  assert.equal(stdout.match(/^ok +clock/gm)?.length, 3, stdout);
  assert.equal(status, 0, stdout);
});

test('and says what to mend in one that forgets half of it', async (t) => {
  const poor = await Nginx.start(hubs, {
    change: (text) => text
      .replace(/^proxy_set_header .*$/gm, '')
      .replace(/^ +ip_hash;$/m, ''),
  });
  t.after(() => poor.close());
  const { status, stdout } = doctor(poor.origin);
  for (const mend of ['X-Forwarded-For', 'proxy_set_header Host', '$http_upgrade', 'ip_hash']) {
    assert.ok(stdout.includes(mend), `${mend}: ${stdout}`);
  }
  assert.equal(status, 1, stdout);
});

test('the time-outs of nginx are longer than the heartbeats of the hub', () => {
  const defaults = execFileSync(HUB, ['config', '--default'], { encoding: 'utf8' });
  const ms = (key) => Number(defaults.match(new RegExp(`^${key} = (\\d+)$`, 'm'))[1]);
  const beat = ms('heartbeat_ms') + ms('timeout_ms');
  const ping = ms('ping_interval_ms') + ms('ping_timeout_ms');
  const conf = readFileSync(join(FILES, 'hubbub/locations.conf'), 'utf8');
  for (const name of ['proxy_read_timeout', 'proxy_send_timeout']) {
    const seconds = Number(conf.match(new RegExp(`^${name} (\\d+)s;`, 'm'))[1]);
    assert.ok(seconds * 1000 > Math.max(beat, ping), name);
  }
});
