// The client library comes back with `resume`: to the hub that was killed, and to another node than the
// one that was. Others publish all the while; what was heard is compared with what was sent.
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { HubProcess } from '../node/hub.mjs';
import { Redis } from '../node/redis.mjs';
import { until } from '../node/until.mjs';
import { Network, clientOf, listener } from './support.mjs';

const ROOMS = ['a', 'b', 'c'];
const LONG_MS = 30_000;
const LIMITS = { HUBBUB__LIMITS__MESSAGES_PER_SECOND: '0', HUBBUB__LIMITS__MAX_SESSIONS_PER_USER: '64' };

async function hubs(closed, count, env = {}) {
  const all = [];
  for (let n = 0; n < count; n++) {
    const hub = new HubProcess({ ...LIMITS, HUBBUB__NODE__ID: `n${n}`, ...env });
    closed.push(() => hub.close());
    await hub.start();
    all.push(hub);
  }
  for (const hub of all) await until(async () => (await fetch(`${hub.origin}/readyz`)).ok, 'the hub is ready', 10_000);
  return all;
}

/** Sends numbered messages to each room in turn until `stop` is set; gives how many. */
async function flood(client, control) {
  const sends = [];
  let next = 0;
  while (!control.stop) {
    const room = ROOMS[next % ROOMS.length];
    sends.push(client.send(room, String(next++)));
    control.sent = next;
    if (next % 8 === 0) await sends.at(-8);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await Promise.all(sends);
  return next;
}

/** Every message of every room once and in order. */
async function audit({ heard, resets }, count, who) {
  for (const [at, room] of ROOMS.entries()) {
    const all = Array.from({ length: count }, (_, n) => n).filter((n) => n % ROOMS.length === at).map(String);
    await until(() => heard[room].length >= all.length, `${who} has ${all.length} messages of ${room}, not ${heard[room].length}`, LONG_MS);
    assert.deepEqual(heard[room].map(([, content]) => content), all, `${who} in ${room}`);
    assert.deepEqual(heard[room].map(([offset]) => offset), all.map((_, n) => n + 1), `${who} in ${room}`);
  }
  assert.deepEqual(resets, [], who);
}

/** Waits until a client is back on a new connection; it asked in one frame and joined nothing. */
async function back({ client, sent }, connection) {
  await until(() => sent.some((frame) => frame.type === 'resume' && frame.connection >= connection), 'it resumes', LONG_MS);
  await until(() => client.state.status === 'connected', 'it is connected', LONG_MS);
  const joins = sent.filter(({ type, connection: on }) => type === 'join' && on > 1);
  assert.deepEqual(joins, []);
}

const latest = ({ sent }) => Math.max(...sent.map(({ connection }) => connection));

describe('a client that comes back', () => {
  const closed = [];
  after(async () => {
    for (const close of closed.reverse()) await close();
  });

  it('goes on at the hub that was killed, and so does who sends', async () => {
    const [hub] = await hubs(closed, 1);
    const crowd = await Promise.all(['one', 'two', 'three'].map((sub) => listener(hub.origin, sub, ROOMS)));
    const sender = await listener(hub.origin, 'sender', ROOMS);
    const control = {};
    const flooding = flood(sender.client, control);
    for (let trial = 0; trial < 3; trial++) {
      const before = control.sent ?? 0;
      await until(() => (control.sent ?? 0) > before + 60, 'some messages are sent', LONG_MS);
      const connections = crowd.map(latest);
      await hub.kill();
      await new Promise((resolve) => setTimeout(resolve, trial * 50));
      await hub.start();
      for (const [n, one] of crowd.entries()) await back(one, connections[n] + 1);
    }
    control.stop = true;
    const count = await flooding;
    for (const [n, one] of [...crowd, sender].entries()) await audit(one, count, `listener ${n}`);
    for (const { client } of [...crowd, sender]) client.close();
  });

  it('goes on at another node, whether the network broke or the node was killed', async () => {
    const redis = await Redis.start();
    closed.push(() => redis.close());
    const nodes = await hubs(closed, 3, { HUBBUB__CLUSTER__REDIS_URL: redis.url });
    const network = await Network.start(nodes[0]);
    closed.push(() => network.close());
    const crowd = await Promise.all(['one', 'two', 'three'].map((sub) => listener(network.origin, sub, ROOMS)));
    // Its own node lives.
    const sender = clientOf(nodes[2].origin, 'sender').client.connect();
    await Promise.all(ROOMS.map((room) => sender.join(room)));
    const control = {};
    const flooding = flood(sender, control);
    for (let trial = 0; trial < 4; trial++) {
      const before = control.sent ?? 0;
      await until(() => (control.sent ?? 0) > before + 60, 'some messages are sent', LONG_MS);
      const connections = crowd.map(latest);
      const [from, to] = [nodes[trial % 2], nodes[(trial + 1) % 2]];
      if (trial > 1) await from.kill();
      network.point(to);
      for (const [n, one] of crowd.entries()) await back(one, connections[n] + 1);
      if (trial > 1) await from.start();
      await until(async () => (await fetch(`${from.origin}/readyz`)).ok, 'the hub is ready', 10_000);
    }
    control.stop = true;
    const count = await flooding;
    for (const [n, one] of crowd.entries()) await audit(one, count, `listener ${n}`);
    for (const { client } of [...crowd, { client: sender }]) client.close();
  });
});
