// Which vocabulary a client speaks; what several of them share; what is stored once.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import WebSocketOfNode from 'ws';
import { Hub, JsonMember, client, connected, next, token, until } from './support.mjs';

// Node 20 has no WebSocket of its own.
globalThis.WebSocket ??= WebSocketOfNode;

const KEY = 'a key for backends, and no other';
const ask = (socket, ...args) => socket.timeout(5000).emitWithAck(...args);

describe('a vocabulary for each', () => {
  let hub;
  const sockets = [];
  const open = async (user, options = {}) => {
    const { vocabulary, ...rest } = options;
    const auth = { token: token(user), ...(vocabulary ? { vocabulary } : {}) };
    const socket = await connected(hub, { user, auth, ...rest });
    sockets.push(socket);
    return socket;
  };
  before(async () => {
    hub = await Hub.start({
      SERVER__WORKERS: 1,
      AUTH__API_KEY: KEY,
      SOCKETIO__NAMESPACES: '/,/team-*=chat-ack',
      SOCKETIO__ALLOW_VOCABULARIES: 'message-new,join-room',
      JSON__ALLOW_VOCABULARIES: 'typed-json',
      LIMITS__MESSAGES_PER_SECOND: 0,
    });
  });
  after(async () => {
    sockets.forEach((socket) => socket.close());
    await hub.close();
  });

  test('of the namespace, of the payload, of the query, of the wire', async () => {
    const team = await open('ann', { namespace: '/team-1' });
    assert.equal((await ask(team, 'room:join', 'all')).success, true);
    const chosen = await open('bob', { vocabulary: 'message-new' });
    assert.equal((await ask(chosen, 'room:join', 'all')).success, true);
    const queried = await open('cleo', { query: { vocabulary: 'join-room' } });
    assert.equal((await ask(queried, 'join-room', 'all')).success, true);
    const usual = await open('dan');
    assert.equal((await ask(usual, 'join', { roomId: 'all' })).ok, true);
    const heard = [
      next(team, 'chat:message'), next(chosen, 'message:new'), next(queried, 'message'), next(usual, 'message'),
    ];
    const json = await JsonMember.enter(hub, 'jo', 'all');
    json.send({ type: 'message', roomId: 'all', content: 'one room' });
    const messages = (await Promise.all(heard)).map(([message]) => message);
    assert.deepEqual(messages.map((m) => m.content), Array(4).fill('one room'));
    assert.equal(new Set(messages.map((m) => m.id)).size, 1);
    json.close();
  });

  test('none that the configuration does not name', async () => {
    for (const options of [
      { auth: { token: token('eve'), vocabulary: 'chat-auth' } },
      { query: { vocabulary: './mine.toml' } },
    ]) {
      const socket = client(hub, { user: 'eve', reconnection: false, ...options });
      sockets.push(socket);
      const [error] = await next(socket, 'connect_error');
      assert.equal(error.data.code, 'bad_request');
      assert.match(error.message, /socketio\.allow_vocabularies/);
    }
    for (const [name, status] of [['typed-json', undefined], ['plain-chat', 400]]) {
      const socket = new WebSocketOfNode(
        `${hub.origin.replace('http', 'ws')}/ws?vocabulary=${name}&token=${token('eve')}`,
      );
      socket.on('error', () => {});
      const refused = await new Promise((resolve) => {
        socket.once('open', () => resolve(undefined));
        socket.once('unexpected-response', (_, response) => resolve(response.statusCode));
      });
      assert.equal(refused, status, name);
      socket.terminate();
    }
  });

  test('one broadcast is rendered once per wire and vocabulary, however many members', async () => {
    const MEMBERS = 6;
    const all = [];
    for (let i = 0; i < MEMBERS; i += 1) {
      for (const [vocabulary, event, room] of [
        [undefined, 'join', { roomId: 'many' }],
        ['message-new', 'room:join', 'many'],
        ['join-room', 'join-room', 'many'],
      ]) {
        const transports = i % 2 ? ['polling'] : ['websocket'];
        const socket = await open(`m${i}`, { vocabulary, transports });
        await ask(socket, event, room);
        all.push([socket, vocabulary === 'message-new' ? 'message:new' : 'message']);
      }
    }
    const json = [];
    for (let i = 0; i < MEMBERS; i += 1) json.push(await JsonMember.enter(hub, `j${i}`, 'many'));
    const metrics = async () => {
      const text = await (await fetch(`${hub.origin}/metrics`)).text();
      return Object.fromEntries(
        [...text.matchAll(/^hubbub_encodings_total\{vocabulary="(.*?)",wire="(.*?)"\} (\d+)$/gm)]
          .map(([, vocabulary, wire, count]) => [`${wire} ${vocabulary}`, Number(count)]),
      );
    };
    let before = await metrics();
    await until(async () => {
      const now = await metrics();
      const quiet = JSON.stringify(now) === JSON.stringify(before);
      before = now;
      await new Promise((resolve) => setTimeout(resolve, 50));
      return quiet;
    }, 'the joins are over');
    const heard = all.map(([socket, event]) => next(socket, event));
    json[0].send({ type: 'message', roomId: 'many', content: 'counted' });
    await Promise.all(heard);
    for (const member of json) await member.sees('counted');
    const now = await metrics();
    const made = Object.fromEntries(
      Object.entries(now).map(([key, count]) => [key, count - (before[key] ?? 0)]).filter(([, count]) => count),
    );
    assert.deepEqual(made, {
      'json hubbub': 1, 'socketio hubbub': 1, 'socketio message-new': 1, 'socketio join-room': 1,
    });
    json.forEach((member) => member.close());
  });

  test('what a backend says by any name reaches both wires', async () => {
    const ann = await open('ann2', { vocabulary: 'join-room' });
    await ask(ann, 'join-room', 'shop');
    const jo = await JsonMember.enter(hub, 'ann2', 'shop');
    const post = (path, body) =>
      fetch(`${hub.origin}/api/${path}`, {
        method: 'POST', headers: { Authorization: `Bearer ${KEY}` }, body: JSON.stringify(body),
      });
    for (const [path, event] of [
      ['rooms/shop/messages', 'price-changed'],
      ['users/ann2/messages', 'user-update'],
      ['broadcast', 'maintenance'],
    ]) {
      const data = { about: event, list: [1, 2] };
      const heard = next(ann, event);
      assert.equal((await post(path, { event, data })).status, 202);
      assert.deepEqual((await heard)[0], data);
      const seen = await until(() => jo.messages.find((m) => m.type === 'event' && m.name === event), event);
      assert.deepEqual(seen.data, data);
    }
    jo.close();
  });

  test('retries of the client are stored once if they bring a key', async () => {
    const socket = await open('rita', { retries: 100, ackTimeout: 5 });
    // A hub that stands still acknowledges nothing: the client sends again, each time under a
    // new id.
    const slowly = async (content, key) => {
      let sent;
      await hub.frozen(() => {
        sent = send(content, key);
        return new Promise((resolve) => setTimeout(resolve, 20));
      });
      return sent;
    };
    const send = (content, key) =>
      new Promise((resolve) => {
        socket.emit('message', { roomId: 'retry', content, ...(key ? { key } : {}) }, (error, ack) => resolve([error, ack]));
      });
    const reader = await JsonMember.enter(hub, 'reader', 'retry');
    await new Promise((resolve) => socket.emit('join', { roomId: 'retry' }, resolve));
    await until(async () => {
      reader.send({ type: 'members', roomId: 'retry', id: 'm' });
      return reader.messages.some((m) => m.members?.some((member) => member.userId === 'rita'));
    }, 'rita is in');
    const kept = [];
    for (let i = 0; i < 10; i += 1) {
      await slowly(`keyed ${i}`, `key-${i}`);
      kept.push(`keyed ${i}`);
    }
    for (let i = 0; i < 10; i += 1) await slowly(`bare ${i}`);
    await send('end', 'end');
    await reader.sees('end');
    const contents = reader.messages.filter((m) => m.type === 'message').map((m) => m.content);
    assert.deepEqual(contents.filter((c) => c.startsWith('keyed')), kept);
    // Without a key the attempts are messages of their own: the client did send again.
    assert.ok(contents.filter((c) => c.startsWith('bare')).length > 10, contents.join(', '));
    reader.close();
  });
});

describe('presence, receipts and joins in vocabularies', () => {
  let hub;
  const sockets = [];
  before(async () => {
    hub = await Hub.start({
      SOCKETIO__ALLOW_VOCABULARIES: '*', PRESENCE__OFFLINE_GRACE_MS: 0, AUTH__ANONYMOUS: true,
    });
  });
  after(async () => {
    sockets.forEach((socket) => socket.close());
    await hub.close();
  });
  const open = async (user, vocabulary) => {
    const socket = client(hub, { auth: { token: token(user), vocabulary } });
    socket.seen = [];
    socket.onAny((event, data) => socket.seen.push([event, data]));
    socket.heard = (event) => socket.seen.filter(([name]) => name === event).map(([, data]) => data);
    sockets.push(socket);
    await next(socket, 'connect');
    return socket;
  };

  test('who hears of everybody hears of those with whom it shares no room; others do not', async () => {
    const wide = await open('wide', 'chat-ack');
    const narrow = await open('narrow', 'hubbub');
    const one = await open('one', 'hubbub');
    await until(() => wide.heard('user:online').some((u) => u.userId === 'one' && u.socketCount === 1), 'one');
    const two = await open('one', 'message-new');
    await until(() => wide.heard('user:online').some((u) => u.userId === 'one' && u.socketCount === 2), 'two');
    await until(() => two.heard('user:online').some((u) => u.userId === 'one'), 'its own coming');
    one.close();
    two.close();
    await until(() => wide.heard('user:offline').some((u) => u.userId === 'one'), 'offline');
    assert.equal(wide.heard('user:offline').filter((u) => u.userId === 'one').length, 1);
    assert.deepEqual(narrow.heard('presence'), []);
  });

  test('a receipt for the author alone, for everybody where the vocabulary has it so', async () => {
    const ann = await open('ann', 'chat-auth');
    const bob = await open('bob', 'chat-auth');
    const cleo = await open('cleo', 'chat-auth');
    const native = await open('native', 'hubbub');
    for (const socket of [ann, bob, cleo]) assert.equal((await ask(socket, 'room:join', 'r')).success, true);
    assert.equal((await ask(native, 'join', { roomId: 'r' })).ok, true);
    // The first message that each hears says that it is live.
    ann.emit('chat:message', { roomId: 'r', text: 'hello' });
    await until(() => bob.heard('chat:message').length === 1 && cleo.heard('chat:message').length === 1, 'heard');
    const [message] = bob.heard('chat:message');
    // Who reads its own message tells nobody.
    assert.equal((await ask(ann, 'chat:message:read', { roomId: 'r', offset: message.offset })).success, true);
    assert.equal((await ask(bob, 'chat:message:read', { roomId: 'r', offset: message.offset })).success, true);
    await until(() => ann.heard('chat:message:ack').length === 1, 'ann hears it');
    assert.deepEqual([ann.heard('chat:message:ack')[0].userId, ann.heard('chat:message:ack')[0].messageId], ['bob', message.id]);
    await until(() => native.heard('receipt').some((r) => r.userId === 'bob' && r.status === 'read'), 'receipt');
    assert.deepEqual([cleo.heard('chat:message:ack'), bob.heard('chat:message:ack')], [[], []]);
  });

  test('a message may join its room, and only a room that may be joined', async () => {
    const ann = await open('ann', 'join-room');
    const heard = next(ann, 'message');
    assert.equal((await ask(ann, 'message', { roomId: 'new', content: 'x' })).success, true);
    assert.equal((await heard)[0].content, 'x');
    const eve = await connected(hub, { auth: { token: token('eve', { rooms: ['lobby'] }), vocabulary: 'join-room' } });
    sockets.push(eve);
    const refused = await ask(eve, 'message', { roomId: 'new', content: 'x' });
    assert.deepEqual([refused.success, refused.code], [false, 'forbidden']);
  });
});
