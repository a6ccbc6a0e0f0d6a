// The Engine.IO and Socket.IO profiles of the conformance example: what outside suites
// look at, with binary in both directions.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Socket as Engine } from 'engine.io-client';
import { io } from 'socket.io-client';
import { io as io40 } from 'socket.io-client-4.0';
import { example } from './example.mjs';
import { next, until } from './support.mjs';

const TRANSPORTS = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] };
const bytes = (n) => Buffer.from(Array.from({ length: n }, (_, i) => (i * 7) & 255));

describe('profile engine', () => {
  let server;
  before(async () => {
    server = await example('engine');
  });
  after(() => server.stop());

  for (const [how, transports] of Object.entries(TRANSPORTS)) {
    test(`texts and binaries come back in order (${how})`, async () => {
      const socket = new Engine(`${server.origin}/`, { transports });
      socket.binaryType = 'nodebuffer';
      const got = [];
      socket.on('message', (message) => got.push(message));
      await next(socket, 'open');
      const sent = [];
      for (let i = 0; i < 200; i += 1) {
        const message = i % 3 ? `€${i}` : bytes(i);
        sent.push(message);
        socket.send(message);
        if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      await until(() => got.length === sent.length, 'everything came back');
      assert.deepEqual(got.map((m) => (typeof m === 'string' ? m : Buffer.from(m))), sent);
      if (transports.length === 2) await until(() => socket.transport.name === 'websocket', 'upgraded');
      socket.close();
    });
  }

  test('base64 with and without padding; wrong base64 ends the session', async () => {
    const session = async () => {
      const body = await (await fetch(`${server.origin}/engine.io/?EIO=4&transport=polling`)).text();
      return `${server.origin}/engine.io/?EIO=4&transport=polling&sid=${JSON.parse(body.slice(1)).sid}`;
    };
    const url = await session();
    const sent = await fetch(url, { method: 'POST', body: 'bAQIDBA==\u001ebAQIDBA\u001eb\u001e4x' });
    assert.equal(await sent.text(), 'ok');
    assert.equal(await (await fetch(url)).text(), 'bAQIDBA==\u001ebAQIDBA==\u001eb\u001e4x');
    for (const wrong of ['b!', 'bA', 'b AQI=', 'bAQ=D']) {
      const other = await session();
      assert.equal((await fetch(other, { method: 'POST', body: wrong })).status, 400, wrong);
      const late = await fetch(other);
      assert.deepEqual([late.status, (await late.json()).code], [400, 1], wrong);
    }
  });

  test('messages up to maxPayload come back; larger ones end the connection', async () => {
    for (const [how, transports] of Object.entries(TRANSPORTS).slice(0, 2)) {
      const socket = new Engine(`${server.origin}/`, { transports });
      await next(socket, 'open');
      const largest = 'x'.repeat(999_999);
      socket.send(largest);
      assert.equal((await next(socket, 'message', 10_000))[0], largest, how);
      const closed = next(socket, 'close', 10_000);
      socket.on('error', () => {});
      socket.send(`${largest}xx`);
      const [, details] = await closed;
      if (how === 'polling') assert.equal(details.description, 413);
      else assert.equal(details.context.code, 1009);
    }
  });
});

test('profile engine-client: greets, refuses, and tells headers', async () => {
  const server = await example('engine-client');
  try {
    const denied = await fetch(`${server.origin}/engine.io/?EIO=4&transport=polling&deny=1`);
    assert.deepEqual([denied.status, await denied.json()], [403, { code: 4, message: 'Forbidden' }]);
    const first = await fetch(`${server.origin}/engine.io/?EIO=4&transport=polling`);
    assert.equal(first.headers.getSetCookie().length, 4);
    const { sid, maxPayload } = JSON.parse((await first.text()).slice(1));
    assert.equal(maxPayload, 100);
    const url = `${server.origin}/engine.io/?EIO=4&transport=polling&sid=${sid}`;
    const hi = await fetch(url);
    assert.equal(await hi.text(), '4hi');
    assert.equal(hi.headers.getSetCookie().length, 0);
    const body = '4give binary\u001e4give utf8\u001e4sendHeaders';
    await fetch(url, { method: 'POST', body, headers: { 'X-Mine': 'yes' } });
    const answers = [];
    // A body of the hub is no larger than one of a client.
    while (answers.length < 3) answers.push(...(await (await fetch(url)).text()).split('\u001e'));
    const [binary, utf8, headers] = answers;
    assert.equal(binary, 'bAAECAwQ=');
    assert.match(utf8, /^4пойду/);
    assert.equal(JSON.parse(headers.slice(1))['x-mine'], 'yes');
    assert.equal((await fetch(url, { method: 'POST', body: `4${'x'.repeat(100)}` })).status, 413);
  } finally {
    await server.stop();
  }
});

describe('profile socket', () => {
  let server;
  before(async () => {
    server = await example('socket', '--slow-ping');
  });
  after(() => server.stop());

  for (const [how, transports] of Object.entries(TRANSPORTS)) {
    for (const [version, make] of [['latest', io], ['4.0', io40]]) {
      test(`events and acks with binary (${how}, client ${version})`, async () => {
        const socket = make(server.origin, { forceNew: true, transports, auth: { token: '123' } });
        assert.deepEqual(await next(socket, 'auth'), [{ token: '123' }]);
        const args = [1, '2', { 3: [true, bytes(3)] }, bytes(70_000), 'last', bytes(0)];
        const plain = (values) => JSON.parse(JSON.stringify(values));
        for (let round = 0; round < 20; round += 1) {
          const back = next(socket, 'message-back');
          const acked = new Promise((resolve) => {
            socket.emit('message-with-ack', ...args, (...answer) => resolve(answer));
          });
          socket.emit('message', ...args);
          assert.deepEqual(plain(await back), plain(args));
          assert.deepEqual(plain(await acked), plain(args));
        }
        if (transports.length === 2) {
          await until(() => socket.io.engine.transport.name === 'websocket', 'upgraded');
        }
        socket.close();
      });
    }
  }

  test('ten attachments pass, eleven close the connection', async () => {
    const socket = io(server.origin, { forceNew: true, transports: ['websocket'], reconnection: false });
    await next(socket, 'auth');
    const ten = Array.from({ length: 10 }, (_, i) => bytes(i));
    const back = next(socket, 'message-back');
    socket.emit('message', ...ten);
    assert.equal((await back).length, 10);
    const gone = next(socket, 'disconnect');
    socket.emit('message', ...ten, bytes(1));
    assert.equal((await gone)[0], 'transport close');
  });

  test('a namespace refuses, another one joins and leaves', async () => {
    const socket = io(server.origin, { forceNew: true });
    await next(socket, 'auth');
    const other = socket.io.socket('/random');
    assert.equal((await next(other, 'connect_error'))[0].message, 'Invalid namespace');
    const custom = socket.io.socket('/custom', { auth: { a: 1 } });
    assert.deepEqual(await next(custom, 'auth'), [{ a: 1 }]);
    custom.disconnect();
    const back = next(socket, 'message-back');
    socket.emit('message', 'still here');
    assert.deepEqual(await back, ['still here']);
    socket.close();
  });
});

describe('profile socket-client', () => {
  let server;
  before(async () => {
    server = await example('socket-client');
  });
  after(() => server.stop());
  const open = (path = '', options = {}) => io(`${server.origin}${path}`, { forceNew: true, ...options });

  test('asks the client, and hears its answer', async () => {
    const socket = open();
    socket.on('ack', (answer) => answer(5, { test: true }));
    socket.emit('ack');
    await next(socket, 'got it');
    socket.close();
  });

  test('a lost connection comes back as itself, once it was told something', async () => {
    const socket = open('', { reconnectionDelay: 10 });
    socket.emit('hi');
    await next(socket, 'hi');
    const { id } = socket;
    socket.io.engine.close();
    await next(socket, 'connect');
    assert.deepEqual([socket.id, socket.recovered], [id, true]);
    // Who leaves by itself starts anew.
    socket.disconnect().connect();
    await next(socket, 'connect');
    assert.notEqual(socket.id, id);
    assert.equal(socket.recovered, false);
    socket.close();
  });

  test('refuses in its own words', async () => {
    for (const [path, query, message] of [
      ['/no', {}, 'Auth failed (custom namespace)'],
      ['/', { fail: 'yes' }, 'Auth failed (main namespace)'],
      ['/elsewhere', {}, 'Invalid namespace'],
    ]) {
      const socket = open(path, { query });
      assert.equal((await next(socket, 'connect_error'))[0].message, message);
      socket.close();
    }
  });

  test('shows the handshake', async () => {
    const socket = open('/abc', { query: { '&a': '&=?a' }, auth: { c: 'd' } });
    const [handshake] = await next(socket, 'handshake');
    assert.equal(handshake.query['&a'], '&=?a');
    assert.equal(handshake.auth.c, 'd');
    socket.close();
  });
});
