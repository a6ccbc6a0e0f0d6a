// Stock clients at their edges: many acks, large payloads, every order of transports, two
// tabs of one browser, and a page that is closed in the middle of a poll.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { chromium } from 'playwright-core';
import { io as io40 } from 'socket.io-client-4.0';
import WebSocketOfNode from 'ws';
import { Hub, JsonMember, client, connected, next, token, until } from './support.mjs';

globalThis.WebSocket ??= WebSocketOfNode;

const BROWSER = process.env.CHROMIUM_BIN ?? '/usr/bin/chromium';

let hub;
before(async () => {
  hub = await Hub.start({ LIMITS__MESSAGES_PER_SECOND: 0, SERVER__ALLOWED_ORIGINS: '*' });
});
after(() => hub.close());

const ask = (socket, event, fields) => socket.timeout(20_000).emitWithAck(event, fields);
const transports = (name) => `hubbub_transport_connections{transport="${name}"}`;

for (const order of [['polling'], ['websocket'], ['polling', 'websocket'], ['websocket', 'polling']]) {
  describe(order.join(', then '), () => {
    let socket;
    before(async () => {
      socket = client(hub, { transports: order });
      await next(socket, 'connect');
    });
    after(() => socket.close());

    test('ten thousand acks come back once each, in order', async () => {
      const COUNT = 10_000;
      const got = [];
      for (let i = 0; i < COUNT; i += 1) {
        socket.emit(i % 2 ? 'ping' : 'no such event', {}, ({ ok }) => got.push(ok ? i : -i));
        if (i % 500 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      await until(() => got.length === COUNT, 'all are answered', 30_000);
      assert.deepEqual(got, Array.from({ length: COUNT }, (_, i) => (i % 2 ? i : -i)));
    });

    test('a message as large as one may be arrives, a larger one is refused', async () => {
      const room = `large-${order.join('-')}`;
      await ask(socket, 'join', { roomId: room });
      const content = '€'.repeat(10_000);
      const heard = next(socket, 'message');
      assert.equal((await ask(socket, 'message', { roomId: room, content })).ok, true);
      assert.equal((await heard)[0].content, content);
      const refused = await ask(socket, 'message', { roomId: room, content: 'x'.repeat(65_536) });
      assert.deepEqual([refused.ok, refused.code], [false, 'too_large']);
    });

    test('what is too large for the transport closes it, and the client comes back', async () => {
      const gone = next(socket, 'disconnect', 10_000);
      socket.emit('message', { roomId: 'x', content: 'x'.repeat(1_100_000) });
      assert.match((await gone)[0], /transport (close|error)/);
      await next(socket, 'connect', 10_000);
      assert.equal((await ask(socket, 'ping', {})).ok, true);
    });
  });
}

test('client 4.0 answers and asks ten thousand times too', async () => {
  const socket = await connected(hub, { make: io40, transports: ['polling', 'websocket'] });
  let got = 0;
  for (let i = 0; i < 10_000; i += 1) socket.emit('ping', {}, () => (got += 1));
  await until(() => got === 10_000, 'all are answered', 30_000);
  socket.close();
});

describe('a real browser', () => {
  let browser;
  before(async () => {
    browser = await chromium.launch({ executablePath: BROWSER, args: ['--no-sandbox'] });
  });
  after(() => browser.close());

  /** A tab with a stock client, loaded from the hub, in a room. */
  async function tab(context, user, order) {
    const page = await context.newPage();
    await page.goto(`${hub.origin}/healthz`);
    await page.addScriptTag({ url: `${hub.origin}/socket.io/socket.io.js` });
    await page.evaluate(
      async ([auth, order_]) => {
        window.got = [];
        window.socket = window.io({ auth, transports: order_, reconnectionDelay: 50 });
        socket.on('message', ({ content }) => got.push(content));
        socket.on('user_joined', ({ userId }) => got.push(`+${userId}`));
        await new Promise((resolve) => socket.once('connect', resolve));
        await socket.emitWithAck('join', { roomId: 'tabs' });
      },
      [{ token: token(user) }, order],
    );
    return page;
  }

  test('two tabs of one user are two sessions of one member', async () => {
    const context = await browser.newContext();
    const json = await JsonMember.enter(hub, 'jo', 'tabs');
    const one = await tab(context, 'ada', ['polling', 'websocket']);
    const two = await tab(context, 'ada', ['websocket']);
    await one.evaluate(() => socket.emitWithAck('message', { roomId: 'tabs', content: 'from one' }));
    for (const page of [one, two]) await page.waitForFunction(() => got.includes('from one'));
    await json.sees('from one');
    // One goes, the user stays.
    await one.close();
    json.send({ type: 'message', roomId: 'tabs', content: 'still there?' });
    await two.waitForFunction(() => got.includes('still there?'));
    const presence = json.messages.filter((m) => m.type === 'user_left' && m.userId === 'ada');
    assert.equal(presence.length, 0);
    json.close();
    await context.close();
  });

  test('a page that is closed in the middle of a poll ends its session at once', async () => {
    await until(async () => (await hub.metric(transports('polling'))) === 0, 'nobody polls', 10_000);
    const context = await browser.newContext();
    const page = await tab(context, 'eve', ['polling']);
    await until(async () => (await hub.metric(transports('polling'))) === 1, 'it polls');
    const json = await JsonMember.enter(hub, 'jo', 'tabs');
    await page.close({ runBeforeUnload: false });
    await until(async () => (await hub.metric(transports('polling'))) === 0, 'it is gone', 3000);
    await until(() => json.messages.some((m) => m.type === 'user_left' && m.userId === 'eve'), 'the room hears it', 8000);
    json.close();
    await context.close();
  });

  test('a page of another origin connects where it may, polling first', async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    const other = hub.origin.replace('127.0.0.1', 'localhost');
    await page.goto(`${other}/healthz`);
    await page.addScriptTag({ url: `${other}/socket.io/socket.io.js` });
    const transport = await page.evaluate(
      async ([origin, auth]) => {
        const socket = window.io(origin, { auth });
        await new Promise((resolve, reject) => {
          socket.once('connect', resolve);
          socket.once('connect_error', reject);
        });
        if (socket.io.engine.transport.name !== 'websocket') {
          await new Promise((resolve) => socket.io.engine.once('upgrade', resolve));
        }
        return socket.io.engine.transport.name;
      },
      [hub.origin, { token: token('zoe') }],
    );
    assert.equal(transport, 'websocket');
    await context.close();
  });
});
