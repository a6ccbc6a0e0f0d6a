// permessage-deflate with stock clients: `ws`, and socket.io-client from polling and on WebSocket.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { io } from 'socket.io-client';
import { WebSocket } from 'ws';
import { Hub, token, until } from './support.mjs';

const LONG = 'what is said again and again, '.repeat(200);
const sent = (hub) => hub.metric('hubbub_compressed_messages_total{direction="out"}');
const got = (hub) => hub.metric('hubbub_compressed_messages_total{direction="in"}');

let hub;
before(async () => {
  hub = await Hub.start({ SESSION__COMPRESSION: true, LIMITS__MESSAGES_PER_SECOND: 0 });
});

/** A client on the JSON wire that is in a room. */
async function member(user, options) {
  const url = `${hub.origin.replace('http', 'ws')}/ws`;
  const ws = new WebSocket(url, ['hubbub', token(user)], options);
  after(() => ws.terminate());
  ws.events = [];
  ws.on('message', (data) => ws.events.push(JSON.parse(data)));
  await once(ws, 'open');
  ws.send(JSON.stringify({ type: 'join', roomId: 'r', id: 1 }));
  await until(() => ws.events.some((event) => event.type === 'joined'));
  return ws;
}

const heard = (ws, content) => ws.events.some((event) => event.type === 'message' && event.content === content);

test('ws: whatever it offers, both sides compress and understand each other', async () => {
  const offers = [
    { threshold: 0 },
    { threshold: 0, clientNoContextTakeover: true, serverNoContextTakeover: true },
    { threshold: 0, serverMaxWindowBits: 15, clientMaxWindowBits: 9 },
    { threshold: 0, serverMaxWindowBits: 9 },
  ];
  const all = [];
  for (const [n, perMessageDeflate] of offers.entries()) {
    const ws = await member(`ws${n}`, { perMessageDeflate });
    assert.match(ws.extensions, /permessage-deflate/, JSON.stringify(perMessageDeflate));
    all.push(ws);
  }
  const plain = await member('plain', { perMessageDeflate: false });
  assert.equal(plain.extensions, '');
  for (const [n, ws] of [...all, plain].entries()) {
    const [before, read] = [await sent(hub), await got(hub)];
    const content = `${n} ${LONG}`;
    ws.send(JSON.stringify({ type: 'message', roomId: 'r', content, id: `m${n}` }));
    for (const other of [...all, plain]) await until(() => heard(other, content));
    // Not to the last of them, whose window is smaller than the message.
    assert.equal((await sent(hub)) - before, 3);
    assert.equal((await got(hub)) - read, ws === plain ? 0 : 1);
  }
  // In fragments, as a stream would send it.
  const text = JSON.stringify({ type: 'message', roomId: 'r', content: `cut ${LONG}`, id: 'cut' });
  for (let at = 0; at < text.length; at += 700) {
    all[0].send(text.slice(at, at + 700), { fin: at + 700 >= text.length });
    all[0].ping();
  }
  await until(() => heard(plain, `cut ${LONG}`));
});

for (const transports of [['websocket'], ['polling', 'websocket']]) {
  test(`socket.io-client over ${transports.join(', then ')}`, async () => {
    // Without a threshold the probe of the upgrade is compressed too.
    const socket = io(hub.origin, {
      transports,
      auth: { token: token('ann') },
      perMessageDeflate: { threshold: 0 },
      forceNew: true,
    });
    after(() => socket.close());
    await once(socket, 'connect');
    await until(() => socket.io.engine.transport.name === 'websocket' && socket.io.engine.transport.writable);
    assert.match(socket.io.engine.transport.ws.extensions, /permessage-deflate/);
    const room = transports.join('-');
    assert.equal((await socket.emitWithAck('join', { roomId: room })).ok, true);
    const [before, read] = [await sent(hub), await got(hub)];
    const seen = [];
    socket.on('message', (message) => seen.push(message.content));
    for (let n = 0; n < 20; n += 1) {
      const ack = await socket.emitWithAck('message', { roomId: room, content: `${n} ${LONG}` });
      assert.equal(ack.ok, true);
    }
    await until(() => seen.length === 20);
    assert.deepEqual(seen, [...Array(20).keys()].map((n) => `${n} ${LONG}`));
    assert.equal((await sent(hub)) - before, 20);
    assert.ok((await got(hub)) - read >= 20);
  });
}
