// Engine.IO by hand: every answer as the reference gives it.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { Hub, next, token, until } from './support.mjs';

const INTERVAL = 300;
const TIMEOUT = 200;
const SEPARATOR = '\x1e';

let hub;
let quiet;
before(async () => {
  hub = await Hub.start({ SOCKETIO__PING_INTERVAL_MS: INTERVAL, SOCKETIO__PING_TIMEOUT_MS: TIMEOUT });
  quiet = await Hub.start({
    SOCKETIO__CONNECT_TIMEOUT_MS: 700,
    SOCKETIO__NAMESPACES: '/,/n*',
    SERVER__ALLOWED_ORIGINS: 'https://chat.example',
    LIMITS__MAX_CONNECTIONS_PER_IP: 40,
  });
});
after(async () => {
  await hub.close();
  await quiet.close();
});

test('polling opens with the packet of the reference', async () => {
  const response = await hub.engine('');
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-type'), 'text/plain; charset=UTF-8');
  assert.equal(response.headers.get('cache-control'), 'no-store');
  const body = await response.text();
  assert.equal(body[0], '0');
  const { sid, ...rest } = JSON.parse(body.slice(1));
  assert.match(sid, /^[0-9a-f]{32}$/);
  assert.deepEqual(rest, {
    upgrades: ['websocket'],
    pingInterval: INTERVAL,
    pingTimeout: TIMEOUT,
    maxPayload: 1_000_000,
  });
});

test('refusals over HTTP have their code and status', async () => {
  const cases = [
    ['GET', '', 0],
    ['GET', '?EIO=4', 0],
    ['GET', '?EIO=4&transport=abc', 0],
    ['GET', '?EIO=4&transport=polling&sid=abc', 1],
    ['POST', '?EIO=4&transport=polling&sid=abc', 1],
    ['POST', '?EIO=4&transport=polling', 2],
    ['PUT', '?EIO=4&transport=polling', 2],
    ['GET', '?EIO=4&transport=websocket', 3],
    ['GET', '?EIO=3&transport=polling', 5],
    ['GET', '?transport=polling', 5],
  ];
  for (const [method, query, code] of cases) {
    const response = await fetch(`${hub.origin}/socket.io/${query}`, { method });
    assert.equal(response.status, 400, `${method} ${query}`);
    assert.equal((await response.json()).code, code, `${method} ${query}`);
  }
  const sid = await hub.sid();
  const put = await hub.engine(`&sid=${sid}`, { method: 'PUT', body: '3' });
  assert.equal(put.status, 400);
  assert.equal((await put.json()).code, 3);
});

test('a refused WebSocket gets 400 and a sentence', async () => {
  const cases = [
    ['?EIO=4&transport=abc', 'Transport unknown'],
    ['?EIO=4&transport=websocket&sid=abc', 'Session ID unknown'],
    ['?EIO=3&transport=websocket', 'Unsupported protocol version'],
    ['?EIO=4&transport=polling', 'Bad request'],
  ];
  for (const [query, text] of cases) {
    const socket = new WebSocket(`${hub.origin}/socket.io/${query}`);
    const [, response] = await next(socket, 'unexpected-response');
    assert.equal(response.statusCode, 400);
    let body = '';
    for await (const piece of response) body += piece;
    assert.equal(body, text);
    socket.on('error', () => {});
    socket.terminate();
  }
});

test('pages of listed origins get their headers, on errors and preflights too', async () => {
  const Origin = 'https://chat.example';
  for (const query of ['', '&sid=unknown']) {
    const response = await quiet.engine(query, { headers: { Origin } });
    assert.equal(response.headers.get('access-control-allow-origin'), Origin);
    assert.equal(response.headers.get('access-control-allow-credentials'), 'true');
    assert.match(response.headers.get('vary'), /Origin/);
    await response.text();
  }
  const preflight = await quiet.engine('', {
    method: 'OPTIONS',
    headers: {
      Origin,
      'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': 'x-custom',
    },
  });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers.get('access-control-allow-credentials'), 'true');
  assert.equal(preflight.headers.get('access-control-allow-headers'), 'x-custom');
  const foreign = await quiet.engine('', { headers: { Origin: 'https://evil.example' } });
  assert.equal(foreign.status, 403);
  assert.equal((await foreign.json()).code, 4);
  assert.equal(foreign.headers.get('access-control-allow-origin'), null);
});

test('a session that does not answer pings is gone, sharply', async () => {
  const sid = await hub.sid();
  const opened = performance.now();
  const body = await (await hub.engine(`&sid=${sid}`)).text();
  assert.equal(body, '2');
  assert.ok(performance.now() - opened >= INTERVAL - 5, 'no ping before its time');
  await until(() => performance.now() - opened > INTERVAL + TIMEOUT + 1, 'the time-out');
  const gone = await hub.engine(`&sid=${sid}`);
  assert.equal(gone.status, 400);
});

test('a session that answers pings stays', async () => {
  const sid = await hub.sid();
  for (let i = 0; i < 4; i += 1) {
    assert.equal(await (await hub.engine(`&sid=${sid}`)).text(), '2');
    const pong = await hub.engine(`&sid=${sid}`, { method: 'POST', body: '3' });
    assert.equal(pong.headers.get('content-type'), 'text/html');
    assert.equal(await pong.text(), 'ok');
  }
});

test('over WebSocket a missed ping ends the connection', async () => {
  const missed = 'hubbub_closed_total{reason="ping_timeout"}';
  const count = await hub.metric(missed);
  const socket = new WebSocket(`${hub.origin}/socket.io/?EIO=4&transport=websocket`);
  const texts = collect(socket);
  const began = performance.now();
  await next(socket, 'close');
  const took = performance.now() - began;
  assert.ok(took >= INTERVAL + TIMEOUT - 20 && took < INTERVAL + TIMEOUT + 300, `${took} ms`);
  assert.deepEqual(texts.slice(1), ['2']);
  await until(async () => (await hub.metric(missed)) > count, 'counted');
});

test('overlapping polls: the first is released, the second refused, the session gone', async () => {
  const sid = await quiet.sid();
  const first = quiet.engine(`&sid=${sid}`);
  await pause();
  const second = await quiet.engine(`&sid=${sid}`);
  assert.equal(second.status, 400);
  assert.equal(await (await first).text(), '1');
  assert.equal((await quiet.engine(`&sid=${sid}`)).status, 400);
});

test('overlapping bodies: 400, and the session gone', async () => {
  const sid = await quiet.sid();
  const url = new URL(`${quiet.origin}/socket.io/?EIO=4&transport=polling&sid=${sid}`);
  const slow = http.request(url, { method: 'POST', headers: { 'Content-Length': 10 } });
  slow.on('error', () => {});
  slow.write('4');
  await until(async () => {
    const second = await quiet.engine(`&sid=${sid}`, { method: 'POST', body: '3' });
    return second.status === 400;
  }, 'the second body is refused');
  assert.equal((await quiet.engine(`&sid=${sid}`)).status, 400);
  slow.destroy();
});

test('bodies that are no packets end the session with 400', async () => {
  for (const body of ['abc', '', 'b!!!', `3${SEPARATOR}`, '2']) {
    const sid = await quiet.sid();
    const response = await quiet.engine(`&sid=${sid}`, { method: 'POST', body });
    assert.equal(response.status, 400, JSON.stringify(body));
    assert.equal((await quiet.engine(`&sid=${sid}`)).status, 400);
  }
  const sid = await quiet.sid();
  const headers = { 'Content-Type': 'application/octet-stream' };
  const response = await quiet.engine(`&sid=${sid}`, { method: 'POST', body: '3', headers });
  assert.equal(response.status, 400);
  assert.equal((await quiet.engine(`&sid=${sid}`)).status, 400);
});

test('too large a body is answered 413 and nothing else', async () => {
  const sid = await quiet.sid();
  const body = `4${'x'.repeat(1_000_000)}`;
  const response = await quiet.engine(`&sid=${sid}`, { method: 'POST', body });
  assert.equal(response.status, 413);
  assert.equal(await response.text(), '');
});

test('too large a message over WebSocket is 1009 without a reason', async () => {
  const socket = new WebSocket(`${quiet.origin}/socket.io/?EIO=4&transport=websocket`);
  await next(socket, 'message');
  socket.on('error', () => {});
  socket.send(`4${'x'.repeat(1_000_000)}`);
  const [code, reason] = await next(socket, 'close');
  assert.deepEqual([code, reason.toString()], [1009, '']);
});

test('a close from the client releases the poll', async () => {
  const sid = await quiet.sid();
  const poll = quiet.engine(`&sid=${sid}`);
  await pause();
  assert.equal(await (await quiet.engine(`&sid=${sid}`, { method: 'POST', body: '1' })).text(), 'ok');
  assert.equal(await (await poll).text(), '6');
  assert.equal((await quiet.engine(`&sid=${sid}`)).status, 400);
});

test('a page that goes away in a poll ends its session', async () => {
  const gauge = 'hubbub_transport_connections{transport="polling"}';
  await until(async () => (await quiet.metric(gauge)) === 0, 'no polling connection is left', 8000);
  const sid = await quiet.sid();
  assert.equal(await quiet.metric(gauge), 1);
  const abort = new AbortController();
  const poll = quiet.engine(`&sid=${sid}`, { signal: abort.signal });
  await pause();
  abort.abort();
  await assert.rejects(poll);
  await until(async () => (await quiet.metric(gauge)) === 0, 'the session ended');
});

test('the upgrade by hand', async () => {
  const sid = await quiet.sid();
  const poll = quiet.engine(`&sid=${sid}`);
  const url = `${quiet.origin}/socket.io/?EIO=4&transport=websocket&sid=${sid}`;
  const socket = new WebSocket(url);
  const texts = collect(socket);
  await next(socket, 'open');
  socket.send('2probe');
  await until(() => texts.length === 1, 'the probe is answered');
  assert.equal(texts[0], '3probe');
  assert.equal(await (await poll).text(), '6');
  // A second WebSocket is closed, before and after.
  const second = new WebSocket(url);
  await next(second, 'close');
  // What comes right behind the upgrade, in one piece, is not lost.
  socket.send('5');
  socket.send(`40${JSON.stringify({ token: token('ada') })}`);
  await until(() => texts.length === 3, 'CONNECT is answered');
  assert.match(texts[1], /^40\{"sid":"/);
  assert.match(texts[2], /^42\["authenticated",/);
  for (const method of ['GET', 'POST']) {
    const late = await quiet.engine(`&sid=${sid}`, { method, ...(method === 'POST' && { body: '3' }) });
    assert.equal(late.status, 400);
    assert.equal((await late.json()).code, 3);
  }
  const third = new WebSocket(url);
  await next(third, 'close');
  socket.send('420["ping"]');
  await until(() => texts.at(-1) === '430[{"ok":true}]', 'the connection lives');
  socket.close();
  await until(async () => (await quiet.engine(`&sid=${sid}`)).status === 400, 'gone');
});

test('a WebSocket that does not upgrade leaves the session polling', async () => {
  const sid = await quiet.sid();
  const url = `${quiet.origin}/socket.io/?EIO=4&transport=websocket&sid=${sid}`;
  for (const first of ['2probe', 'nonsense']) {
    const socket = new WebSocket(url);
    await next(socket, 'open');
    socket.send(first);
    if (first === '2probe') await next(socket, 'message');
    socket.close();
    await next(socket, 'close');
  }
  const body = `40${JSON.stringify({ token: token('ada') })}`;
  assert.equal((await quiet.engine(`&sid=${sid}`, { method: 'POST', body })).status, 200);
  let answer = '';
  await until(async () => {
    answer = await (await quiet.engine(`&sid=${sid}`)).text();
    return answer !== '6';
  }, 'an answer');
  assert.match(answer, /^40\{"sid"/);
  await quiet.engine(`&sid=${sid}`, { method: 'POST', body: '1' });
});

const CONNECT = `40${JSON.stringify({ token: token('ada') })}`;
for (const [what, packets] of Object.entries({
  'an event before CONNECT': ['42["ping"]'],
  'an ack before CONNECT': ['430[]'],
  'a disconnect before CONNECT': ['41'],
  'an event in a namespace that was not joined': [CONNECT, '42/n1,["ping"]'],
  'a second CONNECT': [CONNECT, CONNECT],
  'a malformed packet': [CONNECT, '4nonsense'],
  'an unknown packet type': [CONNECT, '49'],
  'an auth payload that is no object': ['40"token"'],
  'an auth payload that is a list': ['40[]'],
  'a reserved event': [CONNECT, '42["disconnect"]'],
  'a CONNECT_ERROR from the client': [CONNECT, '44{"message":"x"}'],
  'text between attachments': [CONNECT, '451-["a",{"_placeholder":true,"num":0}]', '42["ping"]'],
  'a wrong placeholder': [CONNECT, '451-["a",{"_placeholder":true,"num":3}]'],
  'too many attachments': [CONNECT, '4511-["a"]'],
  'a ping from the client': [CONNECT, '2'],
})) {
  test(`closes the connection: ${what}`, async () => {
    const socket = new WebSocket(`${quiet.origin}/socket.io/?EIO=4&transport=websocket`);
    await next(socket, 'message');
    for (const packet of packets) socket.send(packet);
    await next(socket, 'close');
    // Also inside one batch.
    const sid = await quiet.sid();
    const body = packets.join(SEPARATOR);
    await quiet.engine(`&sid=${sid}`, { method: 'POST', body });
    assert.equal((await quiet.engine(`&sid=${sid}`)).status, 400);
  });
}

test('ack ids that nobody asked for are ignored', async () => {
  const socket = new WebSocket(`${quiet.origin}/socket.io/?EIO=4&transport=websocket`);
  const texts = collect(socket);
  await next(socket, 'message');
  for (const packet of [CONNECT, '43999[]', '43[]', '421["ping"]']) socket.send(packet);
  await until(() => texts.includes('431[{"ok":true}]'), 'the connection lives');
  socket.close();
});

test('who joins no namespace in time is closed', async () => {
  for (const packets of [[], ['40{}'], [CONNECT, '41']]) {
    const socket = new WebSocket(`${quiet.origin}/socket.io/?EIO=4&transport=websocket`);
    const began = performance.now();
    await next(socket, 'message');
    for (const packet of packets) socket.send(packet);
    await next(socket, 'close');
    assert.ok(performance.now() - began >= 600);
  }
});

test('a connection joins sixteen namespaces and no more', async () => {
  const socket = new WebSocket(`${quiet.origin}/socket.io/?EIO=4&transport=websocket`);
  const texts = collect(socket);
  await next(socket, 'message');
  for (let i = 0; i < 17; i += 1) socket.send(`40/n${i},${JSON.stringify({ token: token(`u${i}`) })}`);
  await until(() => texts.some((t) => t.startsWith('44/n16,')), 'the last is refused');
  assert.equal(texts.filter((t) => t.startsWith('40/')).length, 16);
  assert.match(texts.find((t) => t.startsWith('44')), /"code":"rate_limited"/);
  socket.close();
});

test('polling connections count against the limit of an address', async () => {
  await until(async () => (await quiet.metric('hubbub_connections')) === 0, 'nobody is left', 8000);
  const sids = [];
  for (let i = 0; i < 40; i += 1) sids.push(await quiet.sid());
  const refused = await quiet.engine('');
  assert.equal(refused.status, 429);
  await quiet.engine(`&sid=${sids[0]}`, { method: 'POST', body: '1' });
  assert.equal((await quiet.engine('')).status, 200);
});

function collect(socket) {
  const texts = [];
  socket.on('message', (data) => texts.push(data.toString()));
  return texts;
}

/** Long enough for a request to reach the hub; nothing fails if it is not. */
function pause() {
  return new Promise((resolve) => setTimeout(resolve, 50));
}

test('pages load the client from the hub', async () => {
  const url = `${hub.origin}/socket.io/socket.io.js`;
  const script = await fetch(url, { headers: { 'Accept-Encoding': 'gzip' } });
  assert.equal(script.status, 200);
  assert.match(script.headers.get('content-type'), /^application\/javascript/);
  assert.equal(script.headers.get('content-encoding'), 'gzip');
  assert.match(await script.text(), /Socket\.IO v4\./);
  const tag = script.headers.get('etag');
  for (const known of [tag, `W/${tag}`]) {
    const again = await fetch(url, { headers: { 'If-None-Match': known } });
    assert.equal(again.status, 304);
    assert.equal(await again.text(), '');
  }
  assert.equal((await fetch(`${hub.origin}/socket.io/socket.io.esm.min.js`)).status, 200);
});
