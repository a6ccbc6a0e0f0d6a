// The client that says who it is after it has connected, and the JSON messages of the same document.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import WebSocketOfNode from 'ws';
import { Hub, next, token, until } from '../socketio/support.mjs';
import { code, evaluate, objects, skip } from './documents.mjs';

const KEY = 'a key for backends, and no other';
const CLIENT = ['001', '### 2. **Browser WebSocket Client**', '### 3.'];

describe('document 001, its Socket.IO client', { skip }, () => {
  let hub, WebSocketClient;
  const clients = [];
  /** Its code up to where it uses itself, against a hub. */
  const make = (at = hub) => {
    const client = new WebSocketClient(at.origin);
    clients.push(client);
    client.seen = [];
    client.socket.onAny((event, data) => client.seen.push([event, data]));
    client.heard = (event) => client.seen.filter(([name]) => name === event).map(([, data]) => data);
    return client;
  };
  before(async () => {
    const source = code(...CLIENT);
    WebSocketClient = evaluate(source.slice(0, source.indexOf('// Usage')), 'WebSocketClient');
    hub = await Hub.start({
      SOCKETIO__VOCABULARY: 'chat-auth', AUTH__ANONYMOUS: true, AUTH__API_KEY: KEY, PRESENCE__OFFLINE_GRACE_MS: 0,
    });
  });
  after(async () => {
    clients.forEach((client) => client.disconnect());
    await hub?.close();
  });

  test('its own usage, from beginning to end', async () => {
    // Everything at once, before it is connected, as the document does.
    const source = code(...CLIENT);
    const usage = source.slice(source.indexOf('// Usage')).replace(/'http:\/\/localhost:3000'/, 'url');
    const shown = { messages: [], typing: [], online: [] };
    const run = new Function(
      'WebSocketClient', 'url', 'console', 'displayMessage', 'updateTypingIndicator', 'updateUserStatus',
      `${usage}\nreturn client;`,
    );
    const client = run(
      WebSocketClient, hub.origin, { log() {} },
      (message) => shown.messages.push(message),
      (data) => shown.typing.push(data),
      (user, status) => shown.online.push([user, status]),
    );
    clients.push(client);
    const authenticated = until(() => client.isAuthenticated, 'it is authenticated');
    await authenticated;
    await until(() => shown.messages.length === 1, 'its message is back');
    const [message] = shown.messages;
    assert.deepEqual(
      [message.senderId, message.senderName, message.roomId, message.status],
      ['user123', 'john', 'room1', 'delivered'],
    );
    assert.equal(message.text, usage.match(/sendMessage\('room1', '([^']*)'\)/)[1]);
    assert.match(message.id, /^msg_/);
    // It is told of itself as of anybody.
    await until(() => shown.online.some(([user, status]) => user === 'user123' && status === 'online'), 'online');
    client.setTypingIndicator('room1', true);
    await until(() => shown.typing.at(-1)?.isTyping === true, 'its own typing');
    client.setTypingIndicator('room1', false);
    await until(() => shown.typing.at(-1)?.isTyping === false, 'its own typing ends');
    client.disconnect();
  });

  test('two users: rooms, typing, reading, coming and going', async () => {
    const [ann, bob] = [make(), make()];
    ann.authenticate({ id: 'ann', username: 'Ann' });
    await until(() => ann.isAuthenticated, 'ann is in');
    ann.joinRoom('r');
    await until(() => ann.heard('room:user:joined').length === 1, 'ann hears her own joining');
    assert.deepEqual([ann.heard('room:user:joined')[0].userId, ann.heard('room:user:joined')[0].username], ['ann', 'Ann']);
    bob.authenticate({ id: 'bob', username: 'Bob' });
    await until(() => ann.heard('user:online').some((user) => user.userId === 'bob'), 'ann hears of bob');
    assert.equal(ann.heard('user:online').at(-1).username, 'Bob');
    bob.joinRoom('r');
    await until(() => ann.heard('room:user:joined').length === 2, 'ann hears of bob in the room');
    ann.sendMessage('r', 'hello');
    await until(() => bob.heard('chat:message').length === 1, 'bob has it');
    const [message] = bob.heard('chat:message');
    assert.equal(message.senderName, 'Ann');
    // Read means read: bob's page says so, and only the author hears it.
    assert.deepEqual(ann.heard('chat:message:ack'), []);
    bob.emit('chat:message:read', { roomId: 'r', offset: message.offset });
    await until(() => ann.heard('chat:message:ack').length === 1, 'ann hears that it was read');
    const [ack] = ann.heard('chat:message:ack');
    assert.deepEqual([ack.messageId, ack.status, ack.userId], [message.id, 'read', 'bob']);
    bob.leaveRoom('r');
    await until(() => ann.heard('room:user:left').length === 1, 'ann hears that bob left');
    assert.equal(ann.heard('room:user:left')[0].userId, 'bob');
    assert.deepEqual(bob.heard('chat:message:ack'), []);
    bob.disconnect();
    await until(() => ann.heard('user:offline').some((user) => user.userId === 'bob'), 'bob is offline');
    assert.deepEqual(ann.heard('error'), []);
  });

  test('its error handler answers an error with an error: that ends there', async () => {
    const eve = make();
    await next(eve.socket, 'connect');
    eve.joinRoom('r');
    await until(() => eve.heard('error').length === 1, 'not authenticated');
    assert.equal(eve.heard('error')[0].message, 'Not authenticated');
    eve.authenticate({ id: 'eve', username: 'Eve' });
    await until(() => eve.isAuthenticated, 'eve is in');
    assert.equal(await eve.socket.timeout(5000).emitWithAck('room:join', 'r').then((ack) => ack.success), true);
    assert.equal(eve.heard('error').length, 1);
  });

  test('its server functions, through HTTP', async () => {
    const ann = make();
    ann.authenticate({ id: 'ann', username: 'Ann' });
    ann.joinRoom('r');
    await until(() => ann.heard('room:user:joined').length === 1, 'ann is in');
    const post = (path, body) =>
      fetch(`${hub.origin}/api/${path}`, {
        method: 'POST', headers: { Authorization: `Bearer ${KEY}` }, body: JSON.stringify(body),
      });
    for (const [path, event, data] of [
      ['users/ann/messages', 'user:update', { name: 'Ann B.' }],
      ['users/ann/messages', 'invoice', { id: 7 }],
      ['rooms/r/messages', 'score', { home: 1 }],
      ['broadcast', 'user:action', { userId: 123, action: 'login' }],
    ]) {
      assert.equal((await post(path, { event, data })).status, 202);
      await until(() => ann.heard(event).length === 1, event);
      assert.deepEqual(ann.heard(event)[0], data);
    }
    const notification = { title: 'New message', body: 'You have one', data: { n: 1 } };
    assert.equal((await post('users/ann/notifications', notification)).status, 202);
    await until(() => ann.heard('notification').length === 1, 'notification');
    assert.deepEqual(ann.heard('notification')[0], notification);
  });

  test('it works with auth.anonymous only, and the log says so', async () => {
    const says = (at) => at.log().some((line) => line.msg?.includes('auth.anonymous is on'));
    await until(() => says(hub), 'the line in the log');
    const strict = await Hub.start({ SOCKETIO__VOCABULARY: 'chat-auth' });
    const said = () => strict.log().find((fact) => fact.msg?.includes('say themselves who they are'));
    const line = await until(said, 'the line in the log');
    assert.equal(line.vocabularies, 'chat-auth');
    assert.equal(says(strict), false);
    const mallory = make(strict);
    mallory.authenticate({ id: 'root', username: 'Root' });
    assert.equal((await next(mallory.socket, 'disconnect'))[0], 'io server disconnect');
    assert.equal(mallory.isAuthenticated, false);
    await strict.close();
  });
});

describe('document 001, its JSON messages', { skip }, () => {
  let hub;
  const sockets = [];
  const open = async (query = '') => {
    const socket = new WebSocketOfNode(`${hub.origin.replace('http', 'ws')}/ws${query}`);
    sockets.push(socket);
    socket.seen = [];
    socket.on('message', (text) => socket.seen.push(JSON.parse(text)));
    socket.tell = (object) => socket.send(JSON.stringify(object));
    socket.heard = (type) => until(() => socket.seen.find((m) => m.type === type), type);
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    return socket;
  };
  before(async () => {
    hub = await Hub.start({ JSON__VOCABULARY: 'typed-json', AUTH__ANONYMOUS: true, AUTH__API_KEY: KEY });
  });
  after(async () => {
    sockets.forEach((socket) => socket.terminate());
    await hub?.close();
  });

  test('each of its five types, as they stand there', async () => {
    const [auth, message, typing, presence, notification] = objects('001', '### 4. **Message Types', '### 5.');
    assert.deepEqual([auth.type, message.type, typing.type, presence.type, notification.type],
      ['auth', 'message', 'typing', 'presence', 'notification']);
    const ann = await open();
    ann.tell({ ...auth, token: token(auth.userId) });
    assert.ok(Date.parse((await ann.heard('authenticated')).timestamp));
    const bob = await open();
    bob.tell({ type: 'auth', userId: 'bob' });
    await bob.heard('authenticated');
    ann.tell({ type: 'join_room', roomId: message.roomId });
    // It is in once it hears itself.
    ann.tell({ type: 'message', text: 'first' });
    await ann.heard('message');
    bob.tell({ type: 'join_room', roomId: message.roomId });
    assert.equal((await ann.heard('user_joined')).userId, 'bob');
    bob.tell({ type: 'message', text: 'second' });
    await bob.heard('message');
    bob.seen.length = 0;
    ann.tell(typing);
    const types = await bob.heard('typing');
    assert.deepEqual([types.roomId, types.userId, types.isTyping], [typing.roomId, auth.userId, true]);
    ann.tell(message);
    const heard = await bob.heard('message');
    assert.deepEqual([heard.text, heard.roomId, heard.userId], [message.text, message.roomId, auth.userId]);
    const words = presence.status.split('|');
    assert.deepEqual(words, ['online', 'away', 'offline']);
    for (const status of words.slice(1)) {
      ann.tell({ ...presence, status });
      await until(() => bob.seen.some((m) => m.type === 'presence' && m.status === status), status);
    }
    const post = (path, body) => fetch(`${hub.origin}/api/${path}`, {
      method: 'POST', headers: { Authorization: `Bearer ${KEY}` }, body: JSON.stringify(body),
    });
    const { type, ...body } = notification;
    assert.equal((await post('users/bob/notifications', body)).status, 202);
    assert.deepEqual(await bob.heard(type), notification);
    // The one call of its server.
    const sent = await post('message', { roomId: message.roomId, text: 'from a backend' });
    assert.deepEqual([sent.status, await sent.json()], [200, { sent: true }]);
    await until(() => bob.seen.some((m) => m.type === 'message' && m.text === 'from a backend'), 'a backend');
    bob.tell({ type: 'leave_room', roomId: message.roomId });
    bob.tell({ type: 'message', text: 'nowhere' });
    assert.match((await bob.heard('error')).code, /^(not_a_member|bad_request)$/);
  });
});
