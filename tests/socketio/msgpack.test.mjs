// The msgpack parser of Socket.IO: stock clients with the package of npm, on every transport,
// in every vocabulary, with recovery; and what is no packet of it.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import parser from 'socket.io-msgpack-parser';
import WebSocketOfNode from 'ws';
import { example } from './example.mjs';
import { Hub, JsonMember, TRANSPORTS, client, connected, next, token, until } from './support.mjs';

// Node 20 has no WebSocket of its own.
globalThis.WebSocket ??= WebSocketOfNode;

const MSGPACK = { SOCKETIO__PARSER: 'msgpack', LIMITS__MESSAGES_PER_SECOND: 0 };
const ask = (socket, ...args) => socket.timeout(8000).emitWithAck(...args);
const pack = (packet) => new parser.Encoder().encode(packet)[0];
const unpack = (message) => {
  const decoder = new parser.Decoder();
  let packet;
  decoder.on('decoded', (decoded) => (packet = decoded));
  decoder.add(message);
  return packet;
};

describe('a hub that speaks msgpack', () => {
  let hub;
  before(async () => {
    hub = await Hub.start({
      ...MSGPACK,
      SOCKETIO__NAMESPACES: '/,/team-*=chat-ack',
      SOCKETIO__ALLOW_VOCABULARIES: 'message-new,join-room',
      LIMITS__MAX_FRAME_BYTES: 4096,
    });
  });
  after(() => hub.close());

  for (const [how, transports] of Object.entries(TRANSPORTS)) {
    test(`messages, acks and errors, both ways (${how})`, async () => {
      const room = `room of ${how}`;
      const socket = await connected(hub, { parser, transports });
      const json = await JsonMember.enter(hub, 'jo', room);
      try {
        const joined = next(socket, 'joined');
        assert.equal((await ask(socket, 'join', { roomId: room })).ok, true);
        assert.equal((await joined)[0].roomId, room);
        const data = {
          list: Array.from({ length: 300 }, (_, i) => i - 150),
          numbers: [0.5, -7, 255, 65_536, 2 ** 32, -(2 ** 40), Number.MAX_SAFE_INTEGER],
          text: `"é€😀\n${'x'.repeat(300)}`,
          nothing: null,
          left: undefined,
          yes: true,
        };
        const own = next(socket, 'message');
        const answer = await ask(socket, 'message', { roomId: room, content: 'grüße', data });
        assert.equal(answer.ok, true);
        const { left: _, ...kept } = data;
        const heard = await json.sees('grüße');
        assert.deepEqual(heard.data, kept);
        assert.deepEqual((await own)[0].data, kept);
        const back = next(socket, 'message');
        json.send({ type: 'message', roomId: room, content: 'back', data: kept });
        const [message] = await back;
        assert.deepEqual([message.content, message.data], ['back', kept]);
        const refused = await ask(socket, 'message', { roomId: 'elsewhere', content: 'x' });
        assert.deepEqual([refused.ok, refused.code], [false, 'not_a_member']);
        const large = await ask(socket, 'message', { roomId: room, content: 'x'.repeat(5000) });
        assert.equal(large.code, 'too_large');
        const date = await ask(socket, 'message', { roomId: room, content: 'when', data: { at: new Date(7) } });
        assert.equal(date.ok, true);
        assert.equal((await json.sees('when')).data.at, '1970-01-01T00:00:00.007Z');
        for (const binary of [Buffer.from('b'), new Uint8Array(4).buffer]) {
          const no = await ask(socket, 'message', { roomId: room, content: 'x', data: { binary } });
          assert.equal(no.code, 'bad_request');
        }
        assert.equal(socket.connected, true);
      } finally {
        json.close();
        socket.close();
      }
    });
  }

  test('every vocabulary is spoken on it, and namespaces share a connection', async () => {
    const team = await connected(hub, { parser, namespace: '/team-1' });
    assert.equal((await ask(team, 'room:join', 'all')).success, true);
    const chosen = await connected(hub, { parser, user: 'bob', auth: { token: token('bob'), vocabulary: 'message-new' } });
    assert.equal((await ask(chosen, 'room:join', 'all')).success, true);
    const usual = team.io.socket('/', { auth: { token: token('dan') } });
    await next(usual, 'connect');
    assert.equal((await ask(usual, 'join', { roomId: 'all' })).ok, true);
    const heard = [next(team, 'chat:message'), next(chosen, 'message:new'), next(usual, 'message')];
    const json = await JsonMember.enter(hub, 'jo', 'all');
    json.send({ type: 'message', roomId: 'all', content: 'one room' });
    const messages = (await Promise.all(heard)).map(([message]) => message.content);
    assert.deepEqual(messages, Array(3).fill('one room'));
    json.close();
    for (const socket of [team, usual, chosen]) socket.close();
  });

  test('a refusal is a connect_error with its code', async () => {
    for (const [options, message, code] of [
      [{ namespace: '/nowhere' }, 'Invalid namespace', undefined],
      [{ auth: { token: 'none' } }, undefined, 'unauthorized'],
    ]) {
      const socket = client(hub, { parser, ...options });
      const [error] = await next(socket, 'connect_error');
      if (message) assert.equal(error.message, message);
      assert.equal(error.data?.code, code);
      socket.close();
    }
  });

  test('an operator who sends a session away is heard', async () => {
    const other = await Hub.start({ ...MSGPACK, AUTH__API_KEY: 'an api key of these tests' });
    const socket = await connected(other, { parser, user: 'eve' });
    const gone = next(socket, 'disconnect');
    await fetch(`${other.origin}/api/users/eve/sessions`, {
      method: 'DELETE',
      headers: { authorization: 'Bearer an api key of these tests' },
    });
    assert.equal((await gone)[0], 'io server disconnect');
    socket.close();
    await other.close();
  });

  test('what is no packet closes the connection', async () => {
    const good = pack({ type: 0, nsp: '/', data: { token: token('mallory') } });
    const event = (value) => Buffer.concat([Buffer.from('\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1e', 'latin1'), value]);
    for (const [what, message] of [
      ['a text', '40'],
      ['nothing', Buffer.alloc(0)],
      ['cut off', good.subarray(0, -1)],
      ['something behind it', Buffer.concat([good, Buffer.from([0])])],
      ['deep', event(Buffer.alloc(1000, 0x91))],
      ['a length that lies', event(Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff]))],
      ['an unknown extension', event(Buffer.from([0xd4, 7, 0]))],
      ['an event before CONNECT', event(Buffer.from([0]))],
      ['a reserved name', pack({ type: 2, nsp: '/', data: ['connect'] })],
    ]) {
      const socket = new WebSocketOfNode(`${hub.origin.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`);
      const closed = next(socket, 'close');
      await next(socket, 'message');
      socket.send(message);
      await closed.catch(() => assert.fail(`open after ${what}`));
      const polling = await hub.sid();
      const body = typeof message === 'string' ? `4${message}` : `b${message.toString('base64')}`;
      assert.equal((await hub.engine(`&sid=${polling}`, { method: 'POST', body })).status, 400, what);
    }
    const stock = client(hub, { transports: ['websocket'], reconnection: false });
    await until(() => stock.io.engine?.readyState === 'closed', 'a client with the text parser is closed');
    stock.close();
  });

  test('a packet by hand: one binary message, data last, no text', async () => {
    const socket = new WebSocketOfNode(`${hub.origin.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`);
    const got = [];
    socket.on('message', (data, isBinary) => got.push([data, isBinary]));
    await until(() => got.length === 1, 'open packet');
    socket.send(pack({ type: 0, nsp: '/', data: { token: token('hand') } }));
    await until(() => got.length === 3, 'connected and authenticated');
    assert.deepEqual(got.map(([, isBinary]) => isBinary), [false, true, true]);
    const [connect, authenticated] = got.slice(1).map(([data]) => unpack(data));
    assert.deepEqual([connect.type, connect.nsp, typeof connect.data.sid], [0, '/', 'string']);
    assert.deepEqual([authenticated.type, authenticated.data[0]], [2, 'authenticated']);
    assert.deepEqual(Object.keys(authenticated), ['type', 'nsp', 'data']);
    socket.close();
  });
});

describe('connection state recovery over msgpack', () => {
  for (const [how, transports] of Object.entries(TRANSPORTS)) {
    test(`cuts and a kill lose and double nothing (${how})`, async () => {
      const hub = await Hub.start({ ...MSGPACK, HISTORY__STORE: 'embedded' });
      const rooms = ['a', 'b', 'c'];
      const socket = client(hub, { parser, transports });
      const heard = [];
      const recovered = [];
      let joined = false;
      socket.on('message', (m) => heard.push(`${m.roomId} ${m.content}`));
      socket.on('connect', async () => {
        recovered.push(socket.recovered);
        if (socket.recovered) return;
        for (const roomId of rooms) await ask(socket, 'join', { roomId });
        joined = true;
      });
      const enter = async () => {
        const json = await JsonMember.enter(hub, 'jo', 'a');
        for (const roomId of ['b', 'c']) json.send({ type: 'join', roomId });
        await until(() => json.messages.filter((m) => m.type === 'joined').length === 3, 'joined');
        return json;
      };
      let json = await enter();
      await until(() => joined, 'the client joined');
      let sent = 0;
      const send = (count) => {
        for (let i = 0; i < count; i += 1) {
          sent += 1;
          for (const roomId of rooms) json.send({ type: 'message', roomId, content: `${sent}` });
        }
      };
      for (let round = 1; round <= 3; round += 1) {
        send(20);
        await until(() => heard.length > (round - 1) * 90 + 7, 'some arrive');
        socket.io.engine.close();
        send(10);
        await until(() => recovered.length === round + 1, 'it comes back');
        await until(() => heard.length >= sent * 3, 'all of them');
      }
      await hub.kill();
      await hub.start();
      await until(() => recovered.length === 5, 'it comes back', 10_000);
      json = await enter();
      send(5);
      await until(() => heard.length >= sent * 3, 'all of them');
      assert.deepEqual(recovered, [false, true, true, true, true]);
      for (const room of rooms) {
        const got = heard.filter((line) => line.startsWith(room));
        assert.deepEqual(got, Array.from({ length: sent }, (_, i) => `${room} ${i + 1}`));
      }
      json.close();
      socket.close();
      await hub.close();
    });
  }
});

test('an application gets and sends binary values where they belong', async () => {
  const server = await example('--msgpack', 'socket-client');
  try {
    for (const transports of Object.values(TRANSPORTS)) {
      const socket = await connected(server, { parser, transports });
      const told = next(socket, 'jsonbuff-ack');
      socket.emit('jsonbuff', { hello: 'lol', message: Buffer.from([1, 2]), goodbye: 'gotcha' });
      await told;
      const doge = next(socket, 'doge');
      socket.emit('doge');
      assert.deepEqual(Buffer.from((await doge)[0]).toString(), 'asdfasdf');
      assert.deepEqual(await ask(socket, 'echo', { a: [1.5] }), { a: [1.5] });
      const got = next(socket, 'got it');
      socket.on('ack', (answer) => answer(5, { test: true }));
      socket.emit('ack');
      await got;
      socket.close();
    }
  } finally {
    await server.stop();
  }
});
