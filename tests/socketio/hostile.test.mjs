// What no client sends: each is answered as the reference answers it, or the connection is
// closed, counted, and nothing of it stays.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { after, afterEach, before, describe, test } from 'node:test';
import WebSocketOfNode from 'ws';
import { Hub, connected, next, token, until } from './support.mjs';

globalThis.WebSocket ??= WebSocketOfNode;

let hub;
before(async () => {
  hub = await Hub.start({ SOCKETIO__NAMESPACES: '/,/n*', SOCKETIO__CONNECT_TIMEOUT_MS: 60_000 });
});
after(() => hub.close());
// Whatever was done to it: the hub lives, and nothing of it panicked.
afterEach(async () => {
  assert.equal((await fetch(`${hub.origin}/healthz`)).status, 200);
  const text = await (await fetch(`${hub.origin}/metrics`)).text();
  for (const line of text.split('\n').filter((l) => l.startsWith('hubbub_panics_total'))) {
    assert.match(line, / 0$/);
  }
});

const closed = (reason) => hub.metric(`hubbub_closed_total{reason="${reason}"}`);
const post = (sid, body, headers) => hub.engine(`&sid=${sid}`, { method: 'POST', body, headers });
const CONNECT = (user = 'ada') => `40${JSON.stringify({ token: token(user) })}`;

async function answer(response) {
  return [response.status, (await response.json()).code];
}

/** A WebSocket by hand, past its open packet. */
async function open() {
  const socket = new WebSocketOfNode(`${hub.origin.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`);
  socket.on('error', () => {});
  await next(socket, 'message');
  return socket;
}

describe('sessions that are not the client’s', () => {
  test('an unknown sid, on every way in', async () => {
    for (const sid of ['abc', '0'.repeat(32), randomBytes(16).toString('hex'), '../../etc', '%00', 'é']) {
      const query = `&sid=${encodeURIComponent(sid)}`;
      assert.deepEqual(await answer(await hub.engine(query)), [400, 1], sid);
      assert.deepEqual(await answer(await hub.engine(query, { method: 'POST', body: '4x' })), [400, 1], sid);
      const url = `${hub.origin.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket${query}`;
      const socket = new WebSocketOfNode(url);
      const [, response] = await next(socket.on('error', () => {}), 'unexpected-response');
      assert.equal(response.statusCode, 400);
      response.destroy();
    }
  });

  test('a sid of a WebSocket takes no polls and no second WebSocket', async () => {
    const socket = new WebSocketOfNode(`${hub.origin.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`);
    const [data] = await next(socket, 'message');
    const { sid } = JSON.parse(data.toString().slice(1));
    assert.deepEqual(await answer(await hub.engine(`&sid=${sid}`)), [400, 3]);
    assert.deepEqual(await answer(await post(sid, '4x')), [400, 3]);
    const second = new WebSocketOfNode(`${hub.origin.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket&sid=${sid}`);
    second.on('error', () => {});
    await next(second, 'close');
    socket.send(CONNECT());
    assert.match((await next(socket, 'message'))[0].toString(), /^40\{/);
    socket.close();
  });

  test('a session’s own id opens nothing: it is not the connection’s', async () => {
    const socket = await connected(hub, { transports: ['websocket'] });
    assert.deepEqual(await answer(await hub.engine(`&sid=${socket.id}`)), [400, 1]);
    socket.close();
  });

  test('a body without a session', async () => {
    assert.deepEqual(await answer(await hub.engine('', { method: 'POST', body: '4x' })), [400, 2]);
    for (const method of ['PUT', 'DELETE', 'PATCH']) {
      assert.deepEqual(await answer(await hub.engine('', { method })), [400, 2]);
      assert.deepEqual(await answer(await hub.engine(`&sid=${await hub.sid()}`, { method })), [400, 3]);
    }
  });
});

describe('bodies', () => {
  test('a batch of a hundred thousand packets is one body, taken or counted, and the hub goes on', async () => {
    const sid = await hub.sid();
    const pongs = Array.from({ length: 100_000 }, () => '3').join('\u001e');
    assert.equal(await (await post(sid, pongs)).text(), 'ok');
    const before = await closed('rate_limited');
    const flood = Array.from({ length: 20_000 }, () => '420["ping"]').join('\u001e');
    const sent = await post(sid, `${CONNECT()}\u001e${flood}`);
    assert.ok([200, 400].includes(sent.status));
    // Who polls on hears it.
    await until(async () => (await hub.engine(`&sid=${sid}`)).status === 400, 'the session is gone');
    assert.equal(await closed('rate_limited'), before + 1);
  });

  for (const [what, body] of Object.entries({
    'wrong base64': 'b!!!!',
    'base64 with a space': 'bAA AA',
    'nothing': '',
    'two separators': '3\u001e\u001e3',
    'an unknown type': '9',
    'no UTF-8': Buffer.from([0x34, 0xff, 0xfe]),
  })) {
    test(`${what} ends the session`, async () => {
      const sid = await hub.sid();
      const poll = hub.engine(`&sid=${sid}`);
      await until(async () => (await hub.metric('hubbub_transport_connections{transport="polling"}')) > 0, 'polls');
      const sent = await post(sid, body);
      assert.deepEqual(await answer(sent), [400, 3]);
      const released = await poll;
      assert.ok([200, 400].includes(released.status));
      await until(async () => (await hub.engine(`&sid=${sid}`)).status === 400, 'the session is gone');
    });
  }

  test('a body that never ends is cut at its bound', async () => {
    const sid = await hub.sid();
    const socket = connect(new URL(hub.origin).port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(
      `POST /socket.io/?EIO=4&transport=polling&sid=${sid} HTTP/1.1\r\nHost: h\r\n` +
        'Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n',
    );
    const chunk = `10000\r\n${'x'.repeat(65_536)}\r\n`;
    let status = '';
    socket.on('data', (data) => (status ||= data.toString().split('\r\n')[0]));
    for (let i = 0; i < 64 && !status && !socket.destroyed; i += 1) {
      if (!socket.write(chunk)) await Promise.race([next(socket, 'drain').catch(() => {}), next(socket, 'close').catch(() => {})]);
    }
    await until(() => status !== '' || socket.destroyed, 'an answer');
    assert.match(status, /413|^$/);
    socket.destroy();
  });
});

describe('packets', () => {
  test('attachments that were not announced, or are too large together, close the connection', async () => {
    const before = await closed('parse_error');
    const socket = await open();
    socket.send(CONNECT());
    await next(socket, 'message');
    socket.send(Buffer.from('not announced'));
    await next(socket, 'close');
    const heavy = await open();
    heavy.send(CONNECT('bob'));
    await next(heavy, 'message');
    heavy.send('4510-["event",{"_placeholder":true,"num":0}]');
    for (let i = 0; i < 10 && heavy.readyState === 1; i += 1) heavy.send(Buffer.alloc(200_000));
    await next(heavy, 'close');
    await until(async () => (await closed('parse_error')) >= before + 2, 'both are counted');
  });

  test('attachments that never come keep nothing else waiting for ever', async () => {
    const socket = await open();
    socket.send(CONNECT());
    await next(socket, 'message');
    socket.send('452-["event",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
    socket.send(Buffer.alloc(10));
    // The next text is out of place.
    socket.send('420["ping"]');
    await next(socket, 'close');
  });

  test('acks that nobody asked for are ignored, many of them are a flood', async () => {
    const before = await closed('rate_limited');
    const socket = await open();
    socket.send(CONNECT());
    await next(socket, 'message');
    const texts = [];
    socket.on('message', (data) => texts.push(data.toString()));
    for (const id of ['0', '1', '18446744073709551615']) socket.send(`43${id}["x"]`);
    socket.send('427["ping"]');
    await until(() => texts.includes('437[{"ok":true}]'), 'the session goes on');
    const end = next(socket, 'close');
    for (let i = 0; i < 5000 && socket.readyState === 1; i += 1) socket.send('43123[]');
    await end;
    await until(async () => (await closed('rate_limited')) > before, 'counted');
  });

  test('leaving a namespace and coming back gives no new burst', async () => {
    const socket = await open();
    const texts = [];
    socket.on('message', (data) => texts.push(data.toString()));
    const answered = () => texts.filter((t) => /^43\d+\[/.test(t));
    const passed = () => answered().filter((t) => t.endsWith('[{"ok":true}]')).length;
    const began = Date.now();
    for (const round of [1, 2]) {
      socket.send(CONNECT());
      await until(() => texts.filter((t) => t.startsWith('40')).length === round, 'connected');
      for (let i = 0; i < 150; i += 1) socket.send(`42${i}["ping"]`);
      await until(() => answered().length === 150 * round, 'answered', 8000);
      socket.send('41');
    }
    const most = 100 + 50 * ((Date.now() - began) / 1000 + 0.2);
    assert.ok(passed() <= most, `${passed()} passed, at most ${most} may`);
    socket.close();
  });

  test('packets before CONNECT, and a thousand namespaces', async () => {
    const socket = await open();
    socket.send('42["join",{"roomId":"x"}]');
    await next(socket, 'close');
    const before = await closed('rate_limited');
    const flood = await open();
    const answers = [];
    flood.on('message', (data) => answers.push(data.toString()));
    const end = next(flood, 'close');
    for (let i = 0; i < 1000 && flood.readyState === 1; i += 1) flood.send(`40/n${i},${JSON.stringify({ token: token(`u${i}`) })}`);
    await end;
    await until(async () => (await closed('rate_limited')) > before, 'counted');
    assert.ok(answers.filter((a) => /^40\/n/.test(a)).length <= 16);
    await until(async () => (await hub.metric('hubbub_sessions')) === 0, 'no session stays');
  });

  test('deep nesting, long names and numbers at the edges', async () => {
    for (const packet of [
      `42${'['.repeat(100)}${']'.repeat(100)}`,
      `42["x",${'{"a":'.repeat(200)}1${'}'.repeat(200)}]`,
      `40/${'n'.repeat(10_000)},`,
      '4299999999999999999999["ping"]',
      '42["ping",1e999999]'.replace('42', '42/n,'),
      `42["x"${',1'.repeat(300)}]`,
    ]) {
      const socket = await open();
      socket.send(CONNECT());
      await next(socket, 'message');
      socket.send(packet);
      await next(socket, 'close');
    }
  });
});
