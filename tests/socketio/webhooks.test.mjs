// A backend in Node that is told what happens, with the function of docs/webhooks.md.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Hub, client, connected, next, until } from './support.mjs';

const WEBHOOK_SECRET = 'a secret for webhooks, long enough';
const page = readFileSync(join(import.meta.dirname, '../../docs/webhooks.md'), 'utf8');
const source = page.match(/```js\n([\s\S]*?)```/)[1];
const { isFromHub } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

const events = [];
const requests = [];
let backend;
let hub;

before(async () => {
  backend = createServer((request, response) => {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => {
      const body = Buffer.concat(pieces);
      requests.push({ header: request.headers['hubbub-signature'], body });
      if (!isFromHub(request.headers['hubbub-signature'], body, WEBHOOK_SECRET)) {
        return response.writeHead(401).end();
      }
      events.push(...JSON.parse(body).events);
      return response.writeHead(204).end();
    });
  });
  await once(backend.listen(0, '127.0.0.1'), 'listening');
  hub = await Hub.start({
    WEBHOOKS__URL: `http://127.0.0.1:${backend.address().port}/`,
    WEBHOOKS__SECRET: WEBHOOK_SECRET,
    WEBHOOKS__EVENTS: '*',
    SOCKETIO__NAMESPACES: '/,/side',
    PRESENCE__OFFLINE_GRACE_MS: 100,
  });
});

after(() => backend?.close());

const told = (type, user) => events.filter((event) => event.type === type && event.data.userId === user);

test('sessions of stock clients, those that come back too', async () => {
  const ada = await connected(hub, { user: 'ada', transports: ['websocket'] });
  await ada.timeout(5000).emitWithAck('join', { roomId: 'r' });
  const { messageId } = await ada.timeout(5000).emitWithAck('message', { roomId: 'r', content: 'hello' });
  await until(() => told('message.published', 'ada').length === 1, 'the message is told');
  assert.equal(told('message.published', 'ada')[0].id, messageId);
  const [opened] = told('session.opened', 'ada');
  assert.equal(opened.data.wire, 'socketio');

  // Its connection breaks, and it recovers: the same session, opened again.
  const back = next(ada, 'connect');
  ada.io.engine.close();
  await back;
  assert.equal(ada.recovered, true);
  await until(() => told('session.opened', 'ada').length === 2, 'it is open again');
  assert.equal(told('session.opened', 'ada')[1].data.sessionId, opened.data.sessionId);
  assert.equal(told('session.closed', 'ada').length, 1);
  assert.equal(told('member.left', 'ada').length, 0, 'a grace is no end');

  // A namespace is a session of its own.
  const side = client(hub, { user: 'bob', namespace: '/side' });
  await next(side, 'connect');
  await until(() => told('session.opened', 'bob').length === 1, 'the namespace is told');
  side.disconnect();
  await until(() => told('session.closed', 'bob').length === 1, 'its end is told');
  assert.equal(told('session.closed', 'bob')[0].data.reason, 'client_left');

  ada.disconnect();
  await until(() => events.some((event) => event.type === 'room.vacated'), 'the room is empty');
  const closed = told('session.closed', 'ada');
  assert.equal(closed.length, 2);
  assert.equal(closed[1].data.reason, 'client_left');
  const ids = events.map((event) => event.id);
  assert.equal(new Set(ids).size, ids.length);
});

test('the documented function refuses what is not the hub', () => {
  const { header, body } = requests[0];
  assert.equal(isFromHub(header, body, WEBHOOK_SECRET), true);
  assert.equal(isFromHub(header, body, `${WEBHOOK_SECRET}.`), false);
  assert.equal(isFromHub(header, Buffer.concat([body, Buffer.from(' ')]), WEBHOOK_SECRET), false);
  assert.equal(isFromHub(header, body, WEBHOOK_SECRET, Date.now() / 1000 + 400), false);
  const t = header.match(/t=(\d+)/)[1];
  assert.equal(isFromHub(header.replace(t, String(Number(t) + 1)), body, WEBHOOK_SECRET), false);
  for (const bad of ['', 't=1', 'v1=00', `t=x,v1=${'0'.repeat(64)}`, `t=${t},v1=zz`]) {
    assert.equal(isFromHub(bad, body, WEBHOOK_SECRET), false, bad);
  }
  // The example of the page.
  const [, example, signature] = page.match(/hubbub-signature: t=(\d+),v1=([0-9a-f]{64})/);
  const mac = createHmac('sha256', 'secret').update(`${example}.{"events":[]}`).digest('hex');
  assert.equal(signature, mac);
});
