// Two editions of one client: a class, and a React hook.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch } from '../browser/support.mjs';
import { Hub, connected, next, token, until } from '../socketio/support.mjs';
import { bundle, code, evaluate, page, skip } from './documents.mjs';

const KEY = 'a key for backends, and no other';
const EDITIONS = {
  '000': ['Client Implementation\n', '\nReact Hook', 'React Hook\n', 'Message Protocol'],
  '002': ['## Client Implementation\n', '## React Hook', '## React Hook\n', '## Message Protocol'],
};

const APP = `
const getToken = () => globalThis.TOKEN;
function App() {
  const { connected, messages, send } = useWebSocket(globalThis.HUB);
  globalThis.send = send;
  return <div>
    <p id="state">{connected ? 'here' : 'away'}</p>
    <ul>{messages.map((m, at) => <li key={at}>{m.userId}: {m.content}</li>)}</ul>
  </div>;
}
createRoot(document.getElementById('root')).render(<App />);`;

for (const [number, [classAt, classEnd, hookAt, hookEnd]] of Object.entries(EDITIONS)) {
  describe(`document ${number}`, { skip }, () => {
    let hub, browser;
    const sockets = [];
    const keep = (client) => {
      sockets.push(client.socket);
      return client;
    };
    before(async () => {
      hub = await Hub.start({ SERVER__ALLOWED_ORIGINS: '*', SOCKETIO__VOCABULARY: 'join-room', AUTH__API_KEY: KEY });
    });
    after(async () => {
      sockets.forEach((socket) => socket.close());
      await browser?.close();
      await hub?.close();
    });

    test('its class: rooms, messages, what waits until it is connected', async () => {
      const WebSocketClient = evaluate(code(number, classAt, classEnd), 'WebSocketClient');
      const [ann, bob] = ['ann', 'bob'].map((user) => {
        const client = keep(new WebSocketClient(hub.origin, token(user)));
        client.seen = [];
        client.onMessage = (message) => client.seen.push(message);
        return client;
      });
      // Not connected yet: the client keeps the message and sends it then.
      ann.joinRoom('general');
      ann.send('general', 'early');
      await until(() => ann.seen.length === 1, 'the early message is back');
      const came = next(ann.socket, 'user-joined');
      bob.joinRoom('general');
      assert.equal((await came)[0].id, 'bob');
      bob.send('general', 'hello');
      await until(() => ann.seen.length === 2 && bob.seen.length >= 1, 'both have it');
      for (const message of [ann.seen[1], bob.seen.at(-1)]) {
        assert.deepEqual([message.userId, message.content], ['bob', 'hello']);
        assert.ok(Math.abs(message.timestamp - Date.now()) < 60_000);
      }
      // As its section on acknowledgements has it.
      const ack = await bob.socket.timeout(5000).emitWithAck('message', { roomId: 'general', content: 'acked' });
      assert.equal(ack.success, true);
    });

    test('its server functions, through HTTP', async () => {
      const ann = await connected(hub, { user: 'cleo' });
      sockets.push(ann);
      await ann.timeout(5000).emitWithAck('join-room', 'news');
      const post = (path, body) =>
        fetch(`${hub.origin}/api/${path}`, {
          method: 'POST', headers: { Authorization: `Bearer ${KEY}` }, body: JSON.stringify(body),
        });
      for (const [path, event, data] of [
        ['users/cleo/messages', 'user-update', { plan: 'pro' }],
        ['users/cleo/messages', 'direct-message', { text: 'psst', from: 'sales' }],
        ['rooms/news/messages', 'price-changed', { item: 7, price: 1.5 }],
      ]) {
        const heard = next(ann, event);
        assert.equal((await post(path, { event, data })).status, 202);
        assert.deepEqual((await heard)[0], data);
      }
    });

    test('who brings a wrong token hears it in the words of its server', async () => {
      const WebSocketClient = evaluate(code(number, classAt, classEnd), 'WebSocketClient');
      const eve = keep(new WebSocketClient(hub.origin, 'no token'));
      const [error] = await next(eve.socket, 'connect_error');
      assert.equal(error.message, 'Authentication failed');
    });

    test('its React hook, in a page', async () => {
      browser = await launch();
      const script = bundle(code(number, hookAt, hookEnd), APP);
      const pages = [];
      for (const user of ['ann', 'bob']) {
        const context = await browser.newContext();
        pages.push(await page(context, hub, script, { TOKEN: token(user) }));
      }
      const [ann, bob] = pages;
      for (const one of pages) await one.waitForSelector('#state:has-text("here")');
      // The hook never joins a room: who writes to one is in it from then on.
      await ann.evaluate(() => globalThis.send('general', 'from ann'));
      await ann.waitForSelector('li:has-text("ann: from ann")');
      await bob.evaluate(() => globalThis.send('general', 'from bob'));
      await ann.waitForSelector('li:has-text("bob: from bob")');
      await bob.waitForSelector('li:has-text("bob: from bob")');
      assert.equal(await ann.locator('li').count(), 2);
      for (const one of pages) assert.deepEqual(one.errors, []);
    });
  });
}
