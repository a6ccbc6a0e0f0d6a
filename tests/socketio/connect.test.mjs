import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { io as io40 } from 'socket.io-client-4.0';
import { Hub, JsonMember, TRANSPORTS, client, connected, next, token, until } from './support.mjs';
import WebSocketOfNode from 'ws';

// Node 20 has no WebSocket of its own.
globalThis.WebSocket ??= WebSocketOfNode;

let hub;
before(async () => {
  hub = await Hub.start({
    SOCKETIO__NAMESPACES: '/,/chat,/team-*',
    LIMITS__MESSAGES_PER_SECOND: 0,
  });
});
after(() => hub.close());

for (const [how, transports] of Object.entries(TRANSPORTS)) {
  for (const [version, make] of [['latest', undefined], ['4.0', io40]]) {
    describe(`${how}, client ${version}`, () => {
      let socket;
      before(async () => {
        socket = await connected(hub, { transports, ...(make && { make }) });
      });
      after(() => socket.close());

      test('chats with a member of the JSON wire', async () => {
        const room = `room-${how}-${version}`.replaceAll(/[^a-z0-9-]/g, '-');
        const json = await JsonMember.enter(hub, 'jo', room);
        const joined = next(socket, 'joined');
        const ack = await ask(socket, 'join', { roomId: room });
        assert.equal(ack.ok, true);
        assert.equal((await joined)[0].roomId, room);
        const own = next(socket, 'message');
        const sent = await ask(socket, 'message', { roomId: room, content: 'from Socket.IO' });
        assert.equal(sent.ok, true);
        assert.equal(typeof sent.offset, 'number');
        const [mine] = await own;
        const theirs = await json.sees('from Socket.IO');
        assert.equal(mine.content, theirs.content);
        assert.equal(mine.offset, theirs.offset);
        assert.equal(mine.type, undefined);
        const heard = next(socket, 'message');
        json.send({ type: 'message', roomId: room, content: 'from JSON ✓' });
        assert.equal((await heard)[0].content, 'from JSON ✓');
        const typing = next(socket, 'typing');
        json.send({ type: 'typing', roomId: room, isTyping: true });
        assert.equal((await typing)[0].userId, 'jo');
        json.close();
      });

      test('answers a thousand acks, each its own', async () => {
        const offsets = await Promise.all(
          Array.from({ length: 1000 }, (_, i) =>
            ask(socket, i % 2 ? 'ping' : 'nonsense', i % 2 ? {} : { i }),
          ),
        );
        assert.ok(offsets.every((ack, i) => (i % 2 ? ack.ok === true : ack.code === 'bad_request')));
      });

      test('tells errors in the ack, and without one as an event', async () => {
        const ack = await ask(socket, 'message', { roomId: 'not-joined', content: 'x' });
        assert.deepEqual([ack.ok, ack.code], [false, 'not_a_member']);
        assert.match(ack.message, /join the room/);
        const error = next(socket, 'error');
        socket.emit('join', 1, 2, 3);
        assert.equal((await error)[0].code, 'bad_request');
      });

      test('refuses binary data per event and stays', async () => {
        const ack = await ask(socket, 'message', { roomId: 'a', content: 'x', data: Buffer.from('ab') });
        assert.deepEqual([ack.ok, ack.code], [false, 'bad_request']);
        assert.equal((await ask(socket, 'ping', {})).ok, true);
      });

      test('refuses an event that is larger than a message may be, and stays', async () => {
        const big = 'x'.repeat(100_000);
        const ack = await ask(socket, 'message', { roomId: 'a', content: big });
        assert.deepEqual([ack.ok, ack.code], [false, 'too_large']);
        assert.equal((await ask(socket, 'ping', {})).ok, true);
      });
    });
  }
}

test('the first event names the session', async () => {
  const socket = client(hub, { transports: ['websocket'] });
  const [who] = await next(socket, 'authenticated');
  assert.equal(who.userId, 'ada');
  assert.equal(who.sessionId, socket.id);
  socket.close();
});

test('namespaces of one connection are sessions of their own', async () => {
  const main = await connected(hub, { transports: ['websocket'] });
  const chat = main.io.socket('/chat', { auth: { token: token('bob') } });
  const team = main.io.socket('/team-7', { auth: { token: token('cy') } });
  const who = next(chat, 'authenticated');
  assert.equal((await who)[0].userId, 'bob');
  await until(() => team.connected, 'joined /team-7');
  for (const socket of [main, chat, team]) await ask(socket, 'join', { roomId: 'shared' });
  const heard = [main, chat, team].map((socket) => next(socket, 'message'));
  await ask(team, 'message', { content: 'hello' });
  for (const [message] of await Promise.all(heard)) assert.equal(message.content, 'hello');
  // Leaving one leaves the others.
  chat.disconnect();
  assert.equal((await ask(main, 'ping', {})).ok, true);
  chat.connect();
  await next(chat, 'connect');
  for (const socket of [main, chat, team]) socket.close();
});

test('an unknown namespace is refused in the words of the reference', async () => {
  const socket = client(hub, { namespace: '/nowhere' });
  const [error] = await next(socket, 'connect_error');
  assert.equal(error.message, 'Invalid namespace');
  socket.close();
});

for (const [how, transports] of Object.entries(TRANSPORTS)) {
  test(`who brings no token, or a wrong one, hears why (${how})`, async () => {
    for (const [auth, text] of [
      [{}, /token is needed/],
      [{ token: 'nonsense' }, /./],
      [{ token: token('ada', { exp: 1 }) }, /expired/],
      [{ userId: 'mallory' }, /token is needed/],
    ]) {
      const socket = client(hub, { transports, auth });
      const [error] = await next(socket, 'connect_error');
      assert.match(error.message, text);
      assert.equal(error.data.code, 'unauthorized');
      assert.equal(socket.active, false);
      socket.close();
    }
  });
}

test('the token may come in the query or in a header', async () => {
  for (const options of [
    { query: { token: token('quentin') } },
    { extraHeaders: { Authorization: `Bearer ${token('quentin')}` } },
  ]) {
    const socket = client(hub, { auth: {}, ...options });
    const [who] = await next(socket, 'authenticated');
    assert.equal(who.userId, 'quentin');
    socket.close();
  }
});

test('an anonymous client names itself where that is allowed', async () => {
  const open = await Hub.start({ AUTH__ANONYMOUS: true });
  const socket = client(open, { auth: { userId: 'zoe', username: 'Zoë' } });
  assert.equal((await next(socket, 'authenticated'))[0].userId, 'zoe');
  socket.close();
  await open.close();
});

function ask(socket, event, fields) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ack for ${event}`)), 5000);
    socket.emit(event, fields, (answer) => {
      clearTimeout(timer);
      resolve(answer);
    });
  });
}
