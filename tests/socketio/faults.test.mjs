// Connections that are upgraded under load, lost, drained, replaced.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Socket as EngineClient } from 'engine.io-client';
import { Hub, JsonMember, TRANSPORTS, client, connected, next, token, until } from './support.mjs';
import WebSocketOfNode from 'ws';

globalThis.WebSocket ??= WebSocketOfNode;

describe('connections under load and under fire', () => {
  let hub;
  before(async () => {
    hub = await Hub.start({ LIMITS__MESSAGES_PER_SECOND: 0 });
  });
  after(() => hub.close());

  const ask = (socket, event, fields) => socket.timeout(8000).emitWithAck(event, fields);

  test('an upgrade under load loses, doubles and reorders nothing, in both directions', async () => {
    const COUNT = 1000;
    const json = await JsonMember.enter(hub, 'jo', 'load');
    const upgraded = 'hubbub_transport_connections{transport="websocket"}';
    for (let round = 0; round < 5; round += 1) {
      const got = [];
      const answers = [];
      const socket = client(hub, { user: `u${round}`, transports: ['polling', 'websocket'] });
      socket.on('message', ({ content, userId }) => {
        if (userId === 'jo' && content.startsWith(`${round}:`)) got.push(Number(content.split(':')[1]));
      });
      // From the first moment, so that the upgrade happens in the middle.
      const upgrade = new Promise((resolve) => socket.io.on('open', () => {
        socket.io.engine.once('upgrade', () => resolve(got.length));
      }));
      await next(socket, 'connect');
      await ask(socket, 'join', { roomId: 'load' });
      const flood = (async () => {
        for (let i = 0; i < COUNT; i += 1) {
          json.send({ type: 'message', roomId: 'load', content: `${round}:${i}` });
          if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
        }
      })();
      for (let i = 0; i < COUNT; i += 1) {
        socket.emit('typing', { roomId: 'load', isTyping: i % 2 === 0 }, () => answers.push(i));
        if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      await flood;
      await upgrade;
      const numbers = Array.from({ length: COUNT }, (_, i) => i);
      await until(() => got.length >= COUNT && answers.length >= COUNT, 'everything arrived', 15_000);
      assert.deepEqual(got, numbers);
      assert.deepEqual(answers, numbers);
      assert.equal(socket.io.engine.transport.name, 'websocket');
      assert.ok((await hub.metric(upgraded)) >= 2);
      socket.close();
    }
    json.close();
  });

  for (const [how, transports] of Object.entries(TRANSPORTS)) {
    test(`comes back after its node was killed (${how})`, async () => {
      const mine = await Hub.start();
      const socket = await connected(mine, { transports });
      const gone = next(socket, 'disconnect');
      await mine.kill();
      assert.match((await gone)[0], /^transport (close|error)$/);
      const back = next(socket, 'connect', 10_000);
      await mine.start();
      await back;
      assert.equal((await ask(socket, 'ping', {})).ok, true);
      socket.close();
      await mine.close();
    });

    test(`a drain closes the transport, so that the client comes back (${how})`, async () => {
      const mine = await Hub.start();
      const socket = await connected(mine, { transports });
      const closing = next(socket, 'closing');
      const gone = next(socket, 'disconnect');
      const back = next(socket, 'connect', 10_000);
      await mine.drain();
      assert.equal((await closing)[0].reason, 'draining');
      assert.match((await gone)[0], /^transport (close|error)$/);
      await mine.start();
      await back;
      socket.close();
      await mine.close();
    });

    test(`a session that is replaced stays away (${how})`, async () => {
      const mine = await Hub.start({ LIMITS__MAX_SESSIONS_PER_USER: 1 });
      const socket = await connected(mine, { transports });
      const gone = next(socket, 'disconnect');
      const second = await connected(mine, { transports });
      assert.equal((await gone)[0], 'io server disconnect');
      assert.equal(socket.active, false);
      assert.equal((await ask(second, 'ping', {})).ok, true);
      socket.close();
      second.close();
      await mine.close();
    });
  }

  test('a token that ends closes the session', async () => {
    const auth = { token: token('ada', { exp: Math.floor(Date.now() / 1000) + 2 }) };
    const socket = client(hub, { auth });
    await next(socket, 'token_expiring');
    assert.equal((await next(socket, 'disconnect'))[0], 'io server disconnect');
    socket.close();
  });

  test('a flood is limited, then closed', async () => {
    const mine = await Hub.start({ LIMITS__MESSAGES_PER_SECOND: 5, LIMITS__BURST: 10 });
    const socket = await connected(mine, { transports: ['websocket'] });
    const gone = next(socket, 'disconnect');
    let limited = 0;
    for (let i = 0; i < 200; i += 1) {
      socket.emit('ping', {}, (answer) => {
        limited += answer.code === 'rate_limited' ? 1 : 0;
      });
    }
    assert.equal((await gone)[0], 'io server disconnect');
    assert.ok(limited > 0);
    socket.close();
    // A flood of what is no event is closed too.
    const raw = new EngineClient(`${mine.origin}`, { path: '/socket.io/', transports: ['websocket'] });
    await next(raw, 'open');
    const closed = next(raw, 'close');
    for (let i = 0; i < 200; i += 1) raw.send('0/nowhere,{}');
    await closed;
    await mine.close();
  });

  test('members of one room are rendered once per wire', async () => {
    const mine = await Hub.start({ SERVER__WORKERS: 1 });
    const json = await JsonMember.enter(mine, 'jo', 'both');
    const others = [];
    for (let i = 0; i < 4; i += 1) {
      const transports = i % 2 ? ['polling'] : ['websocket'];
      const socket = await connected(mine, { user: `u${i}`, transports });
      await ask(socket, 'join', { roomId: 'both' });
      others.push(socket);
    }
    const quiet = async () => {
      const now = await mine.metric('hubbub_encodings_total');
      await new Promise((resolve) => setTimeout(resolve, 100));
      return now === (await mine.metric('hubbub_encodings_total'));
    };
    await until(quiet, 'the joins are over');
    const before = await mine.metric('hubbub_encodings_total');
    const heard = others.map((socket) => next(socket, 'message'));
    json.send({ type: 'message', roomId: 'both', content: 'once' });
    await Promise.all(heard);
    await json.sees('once');
    assert.equal((await mine.metric('hubbub_encodings_total')) - before, 2);
    for (const socket of others) socket.close();
    json.close();
    await mine.close();
  });
});
