// The Socket.IO client and the native WebSocket clients of one document.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { io } from 'socket.io-client';
import WebSocketOfNode from 'ws';
import { launch } from '../browser/support.mjs';
import { Hub, connected, next, token, until } from '../socketio/support.mjs';
import { bundle, evaluate, numbered, page, skip } from './documents.mjs';

const NATIVE = ['004', 'Native WebSocket API', 'Socket.io Implementation'];
const CLIENT = ['004', 'Client-side with Socket.io', 'Scaling WebSocket Servers'];
const BATCHES = ['004', 'Performance Optimization', 'Monitoring and Analytics'];
const quiet = { log() {}, error() {} };

describe('document 004, its Socket.IO client', { skip }, () => {
  let hub, browser, RealTimeClient;
  const sockets = [];
  const thrown = [];
  // On `connect` this client emits an event of that name, which its library refuses: it throws each
  // time it connects. A page logs that and goes on; here it must not end the process.
  const patient = (...args) => {
    const socket = io(...args);
    const on = socket.on.bind(socket);
    socket.on = (event, handler) =>
      on(event, (...told) => {
        try {
          handler.apply(socket, told);
        } catch (error) {
          thrown.push(error.message);
        }
      });
    return socket;
  };
  before(async () => {
    const source = numbered(...CLIENT);
    RealTimeClient = evaluate(source.slice(0, source.indexOf('// Usage with React')), 'RealTimeClient', { io: patient });
    hub = await Hub.start({ SERVER__ALLOWED_ORIGINS: '*', SOCKETIO__VOCABULARY: 'chat-ack', NODE__ID: 'worker-1', PRESENCE__OFFLINE_GRACE_MS: 0 });
  });
  after(async () => {
    sockets.forEach((socket) => socket.close());
    await browser?.close();
    await hub?.close();
  });
  const make = async (user) => {
    const client = new RealTimeClient({ url: hub.origin });
    const socket = client.connect(token(user));
    sockets.push(socket);
    client.seen = [];
    // Before its own listener for everything, which sends each event back.
    socket.prependAny((event, ...args) => client.seen.push([event, ...args]));
    client.heard = (event) => client.seen.filter(([name]) => name === event).map(([, data]) => data);
    await until(() => client.isConnected, `${user} is connected`);
    return client;
  };
  const ask = (client, event, data) => new Promise((resolve) => client.emit(event, data, resolve));

  test('acknowledged messages, the own copy, typing, coming and going', async () => {
    const [ann, bob] = [await make('ann'), await make('bob')];
    assert.deepEqual(new Set(thrown), new Set(['"connect" is a reserved event name']));
    await until(() => ann.heard('user:online').some((u) => u.userId === 'bob' && u.socketCount === 1), 'bob');
    // Its own coming too, with the number of sockets.
    assert.ok(bob.heard('user:online').some((u) => u.userId === 'bob'));
    ann.emit('room:join', 'r1');
    assert.equal((await ask(ann, 'room:join', 'r1')).success, true);
    bob.emit('room:join', 'r1');
    await until(() => ann.heard('room:user_joined').length === 1, 'bob came');
    assert.deepEqual(ann.heard('room:user_joined')[0], { userId: 'bob', username: 'bob' });
    const ack = await ask(ann, 'chat:message', { content: 'hi', roomId: 'r1' });
    assert.equal(ack.success, true);
    await until(() => bob.heard('chat:message').length === 1, 'bob has it');
    await until(() => ann.heard('chat:message:sent').length === 1, 'the own copy');
    for (const message of [bob.heard('chat:message')[0], ann.heard('chat:message:sent')[0]]) {
      assert.deepEqual(message, ack.message);
    }
    bob.emit('chat:typing', { roomId: 'r1', isTyping: true });
    await until(() => ann.heard('chat:typing').length === 1, 'typing');
    assert.deepEqual(ann.heard('chat:typing')[0], { userId: 'bob', username: 'bob', isTyping: true });
    // It sends back all that it hears. None of it is new: once it is quiet, there is one message.
    const last = await ask(ann, 'chat:message', { content: 'last', roomId: 'r1' });
    await until(() => bob.heard('chat:message').some((m) => m.id === last.message.id), 'the last');
    assert.deepEqual(bob.heard('chat:message').map((m) => m.content), ['hi', 'last']);
    assert.deepEqual(ann.heard('chat:message'), []);
    assert.deepEqual([...ann.heard('error'), ...bob.heard('error')], []);
    const failed = await ask(ann, 'chat:message', { roomId: 'r1' });
    assert.equal(failed.success, false);
    assert.match(failed.error, /content/);
    // Two windows of one user count as two.
    const second = await make('bob');
    await until(() => ann.heard('user:online').some((u) => u.userId === 'bob' && u.socketCount === 2), 'two');
    second.disconnect();
    bob.disconnect();
    await until(() => ann.heard('user:offline').some((u) => u.userId === 'bob'), 'offline');
    await until(() => ann.heard('room:user_left').length === 1, 'left');
    ann.disconnect();
  });

  test('across nodes: who joined where, and what is for all', async () => {
    const [ann, bob] = [await make('ann'), await make('bob')];
    await ask(ann, 'join:global', 'g');
    // The one who joins hears it too, with the name of the node.
    await until(() => ann.heard('user:joined').length === 1, 'its own joining');
    assert.deepEqual(ann.heard('user:joined')[0], { userId: 'ann', workerId: 'worker-1' });
    bob.emit('join:global', 'g');
    await until(() => ann.heard('user:joined').length === 2, 'bob came');
    bob.emit('broadcast:global', { text: 'to all', fromWorker: 'forged' });
    for (const client of [ann, bob]) {
      await until(() => client.heard('global:message').length === 1, 'to all');
      assert.deepEqual(client.heard('global:message')[0], { text: 'to all', fromWorker: 'worker-1' });
    }
    ann.disconnect();
    bob.disconnect();
  });

  test('refusals have the words of its server', async () => {
    for (const [wrong, words] of [[undefined, 'Authentication error'], ['nonsense', 'Authentication failed']]) {
      const client = new RealTimeClient({ url: hub.origin });
      const socket = client.connect(wrong);
      sockets.push(socket);
      assert.equal((await next(socket, 'connect_error'))[0].message, words);
      socket.close();
    }
  });

  test('its React provider and chat room, in a page', async () => {
    browser = await launch();
    const app = `
      globalThis.Message = ({ message }) => <p>{message.content}</p>;
      globalThis.MessageInput = ({ onSend, onTyping }) => {
        globalThis.say = onSend;
        globalThis.types = onTyping;
        return null;
      };
      function Probe() { globalThis.seat = useSocket(); return null; }
      createRoot(document.getElementById('root')).render(
        <SocketProvider token={globalThis.TOKEN}><Probe /><ChatRoom roomId="r9" /></SocketProvider>);`;
    const bob = await connected(hub, { user: 'bob' });
    sockets.push(bob);
    await bob.timeout(5000).emitWithAck('room:join', 'r9');
    const context = await browser.newContext();
    const one = await page(context, hub, bundle(numbered(...CLIENT), app), { TOKEN: token('ann') });
    await one.waitForFunction(() => globalThis.seat?.socket?.isConnected);
    const heard = next(bob, 'chat:message');
    await one.evaluate(() => globalThis.say('from the page'));
    const [message] = await heard;
    assert.deepEqual([message.userId, message.content, message.roomId], ['ann', 'from the page', 'r9']);
    const typing = next(bob, 'chat:typing');
    await one.evaluate(() => globalThis.types(true));
    assert.equal((await typing)[0].isTyping, true);
    // Its provider hears nothing of its own client, wherever it runs: that is how it is written.
    assert.equal(await one.evaluate(() => globalThis.seat.isConnected), false);
    assert.ok(one.errors.every((text) => /reserved event name/.test(text)), one.errors.join('\n'));
  });
});

describe('document 004, its native WebSocket clients', { skip }, () => {
  let hub;
  const open = [];
  before(async () => {
    hub = await Hub.start({ JSON__VOCABULARY: 'plain-chat' });
  });
  after(async () => {
    open.forEach((client) => client.close());
    await hub?.close();
  });
  const native = numbered.bind(null, ...NATIVE);
  const make = async (user) => {
    const source = native();
    const scope = { WebSocket: WebSocketOfNode, console: quiet };
    const Client = evaluate(source.slice(0, source.indexOf('// Usage')), 'WebSocketClient', scope);
    const client = new Client(`${hub.origin.replace('http', 'ws')}/ws?token=${token(user)}`);
    open.push(client);
    client.seen = [];
    client.on('chat', (data) => client.seen.push(data));
    const connection = new Promise((resolve) => client.on('connect', resolve));
    client.connect();
    await connection;
    // It is in its room once it hears itself.
    client.send({ type: 'chat', message: `${user} is here` });
    await until(() => client.seen.some((m) => m.message === `${user} is here`), 'its own');
    client.seen.length = 0;
    return client;
  };

  test('chat, and back after the hub went', async () => {
    const [ann, bob] = [await make('ann'), await make('bob')];
    ann.seen.length = 0;
    assert.equal(ann.send({ type: 'chat', message: 'Hello World' }), true);
    for (const client of [ann, bob]) {
      await until(() => client.seen.length === 1, 'both have it');
      assert.deepEqual([client.seen[0].message, client.seen[0].userId], ['Hello World', 'ann']);
    }
    const gone = new Promise((resolve) => ann.on('disconnect', resolve));
    const back = new Promise((resolve) => ann.on('connect', resolve));
    await hub.kill();
    assert.notEqual((await gone).code, 1000);
    await hub.start();
    await back;
    const errors = [];
    ann.on('error', (error) => errors.push(error));
    ann.send({ type: 'chat', message: 'again' });
    await until(() => ann.seen.some((m) => m.message === 'again'), 'again');
    assert.deepEqual(errors, []);
  });

  test('its batches', async () => {
    const ann = await make('ann');
    const Batching = evaluate(numbered(...BATCHES), 'OptimizedWebSocketClient');
    // What the document leaves to its reader: the short names, and how a text is sent.
    const sender = Object.assign(new Batching(), { keyMap: {}, sendRaw: (text) => ann.send(text) });
    for (let i = 0; i < 25; i += 1) sender.sendOptimized('chat', { message: `batch ${i}`, nothing: null });
    const mine = () => ann.seen.filter((m) => m.message.startsWith('batch ')).map((m) => m.message);
    await until(() => mine().length === 25, 'all of them');
    assert.deepEqual(mine(), Array.from({ length: 25 }, (_, i) => `batch ${i}`));
    assert.equal(sender.stats.batchesSent, 3);
  });
});
