// Dialects as their own clients speak them, on a stock client.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import WebSocketOfNode from 'ws';
import { Hub, JsonMember, TRANSPORTS, client, connected, next, token } from './support.mjs';

// Node 20 has no WebSocket of its own.
globalThis.WebSocket ??= WebSocketOfNode;

const ask = (socket, ...args) => socket.timeout(5000).emitWithAck(...args);

/** A hub of one vocabulary for the tests of a suite. */
function hubOf(vocabulary, env = {}) {
  const held = {};
  before(async () => {
    held.hub = await Hub.start({ SOCKETIO__VOCABULARY: vocabulary, ...env });
  });
  after(() => held.hub?.close());
  return held;
}

for (const [how, transports] of Object.entries(TRANSPORTS)) {
  describe(`join-room, ${how}`, () => {
    const held = hubOf('join-room', { AUTH__API_KEY: 'a key for backends, and no other' });
    let ann, bob;
    before(async () => {
      ann = await connected(held.hub, { transports, user: 'ann' });
      bob = await connected(held.hub, { transports, user: 'bob' });
    });
    after(() => [ann, bob].forEach((socket) => socket?.close()));

    test('who joins is told to the others, messages reach everybody', async () => {
      assert.deepEqual(await ask(ann, 'join-room', 'general'), { success: true });
      const came = next(ann, 'user-joined');
      bob.emit('join-room', 'general');
      const [user] = await came;
      assert.deepEqual([user.id, user.userId, user.roomId], ['bob', 'bob', 'general']);
      const heard = [ann, bob].map((socket) => next(socket, 'message'));
      const ack = await ask(bob, 'message', { roomId: 'general', content: 'Hello ✓' });
      assert.equal(ack.success, true);
      for (const [message] of await Promise.all(heard)) {
        assert.deepEqual([message.userId, message.content], ['bob', 'Hello ✓']);
        assert.equal(message.id, ack.id);
        assert.ok(Math.abs(message.timestamp - Date.now()) < 60_000, message.timestamp);
        assert.equal(message.offset, undefined);
      }
    });

    test('typing reaches the others, direct messages their user', async () => {
      const typing = next(ann, 'typing');
      bob.emit('typing', { roomId: 'general' });
      assert.deepEqual(
        [(await typing)[0].userId, (await typing)[0].isTyping],
        ['bob', true],
      );
      const direct = next(ann, 'direct-message');
      assert.equal((await ask(bob, 'direct-message', { userId: 'ann', content: 'psst' })).success, true);
      assert.deepEqual([(await direct)[0].userId, (await direct)[0].content], ['bob', 'psst']);
    });

    test('a refusal is an ack that is no success, or the event `error`', async () => {
      const ack = await ask(ann, 'message', { roomId: 'user:', content: 'x' });
      assert.equal(ack.success, false);
      assert.equal(ack.code, 'forbidden');
      assert.ok(ack.error.length > 5, ack.error);
      const error = next(ann, 'error');
      ann.emit('no such event', 1);
      assert.equal((await error)[0].code, 'bad_request');
      assert.equal(ann.connected, true);
    });
  });
}

describe('message-new', () => {
  const held = hubOf('message-new', { SOCKETIO__NAMESPACES: '/,/chat' });
  const sockets = [];
  const open = async (user, options) => {
    const socket = await connected(held.hub, { user, ...options });
    sockets.push(socket);
    return socket;
  };
  after(() => sockets.forEach((socket) => socket.close()));

  test('members of one room may be in different namespaces and on the JSON wire', async () => {
    const ann = await open('ann');
    const bob = await open('bob', { namespace: '/chat' });
    const jo = await JsonMember.enter(held.hub, 'jo', 'r');
    assert.deepEqual(await ask(ann, 'room:join', 'r'), { success: true });
    const came = next(ann, 'room:user-joined');
    assert.equal((await ask(bob, 'room:join', 'r')).success, true);
    assert.deepEqual((await came)[0], { userId: 'bob', roomId: 'r' });
    const heard = [ann, bob].map((socket) => next(socket, 'message:new'));
    bob.emit('message:send', { roomId: 'r', content: 'to all' });
    for (const [message] of await Promise.all(heard)) {
      assert.deepEqual([message.userId, message.content], ['bob', 'to all']);
      assert.equal(message.createdAt, message.timestamp);
    }
    assert.equal((await jo.sees('to all')).userId, 'bob');
    const other = [ann, bob].map((socket) => next(socket, 'message:new'));
    jo.send({ type: 'message', roomId: 'r', content: 'from JSON' });
    for (const [message] of await Promise.all(other)) assert.equal(message.content, 'from JSON');
    jo.close();
  });

  test('a room that may not be joined is denied', async () => {
    const eve = await open('eve', { auth: { token: token('eve', { rooms: ['lobby'] }) } });
    const error = next(eve, 'error');
    eve.emit('room:join', 'r');
    assert.deepEqual((await error)[0], { message: 'Access denied', code: 'forbidden' });
    const ack = await ask(eve, 'room:join', 'r');
    assert.deepEqual([ack.success, ack.code], [false, 'forbidden']);
  });

  test('without a token nobody connects', async () => {
    const socket = client(held.hub, { auth: {}, reconnection: false });
    sockets.push(socket);
    const [error] = await next(socket, 'connect_error');
    assert.equal(error.data.code, 'unauthorized');
  });
});

describe('chat-ack', () => {
  const held = hubOf('chat-ack');
  const sockets = [];
  after(() => sockets.forEach((socket) => socket.close()));

  test("the sender's own copy has a name of its own", async () => {
    for (const user of ['ann', 'bob']) sockets.push(await connected(held.hub, { user }));
    const [ann, bob] = sockets;
    for (const socket of sockets) assert.equal((await ask(socket, 'join:global', 'g')).success, true);
    const own = next(ann, 'chat:message:sent');
    const theirs = next(bob, 'chat:message');
    const ack = await ask(ann, 'chat:message', { roomId: 'global:g', content: 'hi' });
    assert.equal(ack.success, true);
    assert.deepEqual([ack.message.content, ack.message.roomId], ['hi', 'g']);
    for (const [message] of [await own, await theirs]) {
      assert.deepEqual([message.id, message.content, message.roomId], [ack.message.id, 'hi', 'g']);
    }
  });
});

describe('chat-auth', () => {
  const held = hubOf('chat-auth', { AUTH__ANONYMOUS: true, AUTH__TIMEOUT_MS: 1000 });
  const sockets = [];
  const open = async () => {
    const socket = await connected(held.hub, { auth: {}, reconnection: false });
    sockets.push(socket);
    return socket;
  };
  after(() => sockets.forEach((socket) => socket.close()));

  test('a client says who it is after it has connected', async () => {
    const [ann, bob] = [await open(), await open()];
    const early = next(ann, 'error');
    ann.emit('room:join', 'r');
    assert.deepEqual((await early)[0], { message: 'Not authenticated', code: 'unauthorized' });
    assert.equal((await ask(ann, 'auth', { id: 'ann', username: 'Ann' })).success, true);
    assert.equal((await ask(bob, 'auth', { id: 7, username: 'Bob' })).success, true);
    for (const socket of [ann, bob]) {
      assert.equal((await ask(socket, 'room:join', 'r')).success, true);
    }
    const heard = next(ann, 'chat:message');
    const ack = await ask(bob, 'chat:message', { roomId: 'r', text: 'hello' });
    assert.match(ack.messageId, /^msg_/);
    const [message] = await heard;
    assert.deepEqual(
      [message.id, message.senderId, message.senderName, message.text],
      [ack.messageId, '7', 'Bob', 'hello'],
    );
    const typing = next(ann, 'typing:indicator');
    bob.emit('typing:start', 'r');
    assert.equal((await typing)[0].isTyping, true);
    const read = next(bob, 'chat:message:ack');
    ann.emit('chat:message:read', { roomId: 'r', offset: message.offset });
    assert.deepEqual([(await read)[0].messageId, (await read)[0].status], [ack.messageId, 'read']);
  });

  test('who does not is sent away in time', async () => {
    const socket = await open();
    const [why] = await next(socket, 'disconnect');
    assert.equal(why, 'io server disconnect');
  });
});
