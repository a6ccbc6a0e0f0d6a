// Connection state recovery between nodes: three hubs, one Redis, stock clients, and the
// node under them killed. HUBBUB_RECOVERY_TRIALS kills more often.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { Redis } from '../node/redis.mjs';
import { Hub, JsonMember, TRANSPORTS, client, until } from './support.mjs';
import WebSocketOfNode from 'ws';

globalThis.WebSocket ??= WebSocketOfNode;

const TRIALS = Number(process.env.HUBBUB_RECOVERY_TRIALS ?? 6);
const ROOMS = ['a', 'b', 'c'];
const ask = (socket, event, fields) => socket.timeout(8000).emitWithAck(event, fields);

/** Leads every new connection to one node; can freeze those that are there. */
class Gate {
  pairs = new Set();

  static async open(target) {
    const gate = new Gate();
    gate.target = target;
    gate.server = createServer((inward) => {
      const { hostname, port } = new URL(gate.target.origin);
      const outward = connect(Number(port), hostname);
      const pair = { inward, outward };
      gate.pairs.add(pair);
      for (const [from, to] of [[inward, outward], [outward, inward]]) {
        from.on('data', (data) => pair.frozen || to.write(data));
        from.on('error', () => {});
        from.on('close', () => {
          gate.pairs.delete(pair);
          if (!pair.frozen) to.destroy();
        });
      }
    }).listen(0, '127.0.0.1');
    await once(gate.server, 'listening');
    gate.origin = `http://127.0.0.1:${gate.server.address().port}`;
    return gate;
  }

  /** What is there goes silent for its node, without FIN, and ends for the client. */
  freeze() {
    const silent = [...this.pairs];
    for (const pair of silent) {
      pair.frozen = true;
      pair.inward.destroy();
    }
    return () => silent.forEach((pair) => pair.outward.destroy());
  }

  close() {
    for (const { inward, outward } of this.pairs) {
      inward.destroy();
      outward.destroy();
    }
    this.server.close();
  }
}

describe('recovery between nodes', () => {
  let redis;
  const hubs = [];
  before(async () => {
    redis = await Redis.start();
    for (let i = 0; i < 3; i += 1) {
      hubs.push(await Hub.start({
        HISTORY__STORE: 'redis',
        HISTORY__MAX_MESSAGES: 100_000,
        CLUSTER__REDIS_URL: redis.url,
        LIMITS__MESSAGES_PER_SECOND: 0,
        // What a killed node has left of a session does not count beside it.
        LIMITS__MAX_SESSIONS_PER_USER: 2,
        NODE__ID: `n${i}`,
      }));
      const ready = async () => (await fetch(`${hubs[i].origin}/readyz`)).status === 200;
      await until(ready, 'ready', 10_000);
    }
  });
  after(async () => {
    for (const hub of hubs) await hub.close();
    await redis?.close();
  });

  /** A client in all rooms that notes what it gets. */
  function follow(gate, transports, user) {
    const socket = client(gate, { user, transports });
    const heard = { got: Object.fromEntries(ROOMS.map((room) => [room, []])), recovered: [], joined: false };
    socket.on('message', ({ roomId, content, offset }) => heard.got[roomId].push([offset, content]));
    socket.on('connect', async () => {
      heard.recovered.push(socket.recovered);
      if (socket.recovered) return;
      for (const roomId of ROOMS) if (!(await ask(socket, 'join', { roomId }).catch(() => null))) return;
      heard.joined = true;
    });
    return { socket, heard };
  }

  /** Sends numbered messages to the rooms in turn, never more than 32 unanswered. */
  function flood(json) {
    const state = { sent: 0, acked: 0, stopped: false };
    json.socket.addEventListener('message', ({ data }) => {
      const { type, id } = JSON.parse(data);
      // Without an id it is the sign that Redis is away: what was sent waits.
      assert.ok(type !== 'error' || id === undefined, data);
      if (type === 'ack') state.acked += 1;
    });
    state.done = (async () => {
      const first = state.acked;
      while (!state.stopped) {
        while (state.sent - (state.acked - first) < 32) {
          const roomId = ROOMS[state.sent % ROOMS.length];
          json.send({ type: 'message', roomId, content: `${state.sent}`, id: `${state.sent}` });
          state.sent += 1;
        }
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    })();
    return state;
  }

  /** The node under the clients is killed. */
  const killed = {
    what: 'the node is killed',
    trials: TRIALS,
    async strike(dying) {
      await dying.kill();
      return async () => {
        await dying.start();
        await until(async () => (await fetch(`${dying.origin}/readyz`)).status === 200, 'ready', 20_000);
      };
    },
  };
  /** The network is gone without a FIN: the node holds on to a connection that is dead. */
  const silenced = {
    what: 'the network is gone without a FIN',
    trials: Math.ceil(TRIALS / 3),
    strike: async (_, gate) => gate.freeze(),
  };
  /** Redis is killed with the node, and starts again. */
  const both = {
    what: 'the node and Redis are killed',
    trials: Math.max(3, Math.ceil(TRIALS / 6)),
    async strike(dying) {
      const [started] = await Promise.all([killed.strike(dying), redis.restart()]);
      return started;
    },
  };
  const plans = [
    ...Object.keys(TRANSPORTS).map((how) => [killed, how]),
    [silenced, 'websocket only'],
    [silenced, 'polling only'],
    [both, 'websocket only'],
  ];
  for (const [{ what, trials, strike }, how] of plans) {
    test(`${what}, the client goes on at another (${how})`, { timeout: 60_000 + trials * 6000 }, async (t) => {
      const gate = await Gate.open(hubs[0]);
      const json = await JsonMember.enter(hubs[2], 'jo', ROOMS[0]);
      for (const roomId of ROOMS.slice(1)) {
        json.send({ type: 'join', roomId });
        await until(() => json.messages.some((m) => m.type === 'joined' && m.roomId === roomId), 'joined');
      }
      const followers = ['ada', 'eve'].map((user) => follow(gate, TRANSPORTS[how], user));
      const times = [];
      try {
        await until(() => followers.every(({ heard }) => heard.joined), 'all are in', 10_000);
        const state = flood(json);
        for (let trial = 0; trial < trials; trial += 1) {
          const [dying, next] = [hubs[trial % 2], hubs[(trial + 1) % 2]];
          const before = followers[0].heard.got.a.length;
          await until(() => followers[0].heard.got.a.length > before + 10, 'some arrive', 20_000);
          await new Promise((resolve) => setTimeout(resolve, (trial * 37) % 100));
          gate.target = next;
          const began = Date.now();
          const mend = await strike(dying, gate);
          await until(() => followers.every(({ heard }) => heard.recovered.length >= trial + 2), 'back', 30_000);
          times.push(Date.now() - began);
          await mend();
        }
        state.stopped = true;
        await state.done;
        for (const [at, room] of ROOMS.entries()) {
          const expected = [];
          for (let n = at; n < state.sent; n += ROOMS.length) expected.push(`${n}`);
          for (const { heard } of followers) {
            await until(() => heard.got[room].length >= expected.length, `${expected.length} in ${room}`, 30_000);
            const [got, base] = [heard.got[room], heard.got[room][0][0]];
            assert.deepEqual(got.map(([, content]) => content), expected);
            assert.deepEqual(got.map(([offset]) => offset - base), expected.map((_, i) => i));
          }
        }
        for (const { heard } of followers) {
          assert.deepEqual(heard.recovered, [false, ...Array(trials).fill(true)]);
        }
        times.sort((a, b) => a - b);
        const part = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))];
        const spread = [0, 0.5, 0.9, 0.99, 1].map(part).join(' ');
        t.diagnostic(`${trials} times, ${state.sent} messages, ms to recover (least, p50, p90, p99, most): ${spread}`);
      } finally {
        followers.forEach(({ socket }) => socket.close());
        json.close();
        gate.close();
      }
    });
  }

  test('a connection that went silent is closed at its node when the client is at another', async () => {
    const gate = await Gate.open(hubs[0]);
    const { socket, heard } = follow(gate, ['websocket'], 'ada');
    const json = await JsonMember.enter(hubs[2], 'jo', 'a');
    try {
      await until(() => heard.joined, 'in');
      json.send({ type: 'message', roomId: 'a', content: 'one' });
      await until(() => heard.got.a.length === 1, 'one');
      const replaced = 'hubbub_closed_total{reason="replaced"}';
      const closed = await hubs[0].metric(replaced);
      gate.target = hubs[1];
      const thaw = gate.freeze();
      json.send({ type: 'message', roomId: 'a', content: 'two' });
      await until(() => heard.recovered.length === 2, 'back');
      json.send({ type: 'message', roomId: 'a', content: 'three' });
      await until(() => heard.got.a.length === 3, 'all');
      assert.deepEqual(heard.got.a.map(([, content]) => content), ['one', 'two', 'three']);
      assert.deepEqual(heard.recovered, [false, true]);
      thaw();
      await until(async () => (await hubs[0].metric(replaced)) === closed + 1, 'the older one is replaced');
    } finally {
      socket.close();
      json.close();
      gate.close();
    }
  });
});
