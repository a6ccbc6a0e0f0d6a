// The store and the hook of a React application, in a page.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch } from '../browser/support.mjs';
import { Hub, connected, next, token, until } from '../socketio/support.mjs';
import { bundle, code, page, skip } from './documents.mjs';

const APP = `
type Message = any;
function Room() {
  const [room, setRoom] = useState('r1');
  globalThis.enter = setRoom;
  const { messages, sendMessage } = useMessages(room);
  globalThis.say = sendMessage;
  return <ul>{messages.map((m) => <li key={m.id}>{m.userId}: {m.content}</li>)}</ul>;
}
function App() {
  const { connected, connect, disconnect } = useSocketStore();
  useEffect(() => { connect(globalThis.TOKEN); return disconnect; }, []);
  globalThis.leave = disconnect;
  return <div><p id="state">{connected ? 'here' : 'away'}</p>{connected && <Room />}</div>;
}
createRoot(document.getElementById('root')).render(<App />);`;

describe('document 003', { skip }, () => {
  let hub, browser;
  const sockets = [];
  before(async () => {
    hub = await Hub.start({ SERVER__ALLOWED_ORIGINS: '*', SOCKETIO__VOCABULARY: 'message-new', PRESENCE__OFFLINE_GRACE_MS: 0 });
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    sockets.forEach((socket) => socket.close());
    await hub?.close();
  });

  test('its store and its hook: two people in two windows', async () => {
    const script = bundle(code('003', 'Client Implementation', 'Scaling Strategies'), APP);
    const watcher = await connected(hub, { user: 'watcher' });
    sockets.push(watcher);
    const heard = [];
    watcher.onAny((event, data) => heard.push([event, data]));
    const told = (event, userId) =>
      until(() => heard.some(([name, data]) => name === event && data.userId === userId), `${event} ${userId}`);
    const open = async (user) => {
      const context = await browser.newContext();
      const one = await page(context, hub, script, { TOKEN: token(user) });
      await one.waitForSelector('#state:has-text("here")');
      return one;
    };
    watcher.emit('room:join', 'r1');
    const ann = await open('ann');
    // Everybody is told, whatever rooms they share.
    await told('user:online', 'ann');
    await told('room:user-joined', 'ann');
    const bob = await open('bob');
    await told('room:user-joined', 'bob');
    await bob.evaluate(() => globalThis.say('hello'));
    for (const one of [ann, bob]) {
      await one.waitForSelector('li:has-text("bob: hello")');
      assert.equal(await one.locator('li').count(), 1);
    }
    // Another room: what is said in the old one is not heard any more.
    await ann.evaluate(() => globalThis.enter('r2'));
    await told('room:user-left', 'ann');
    await bob.evaluate(() => globalThis.say('still here'));
    await bob.waitForSelector('li:has-text("still here")');
    await ann.evaluate(() => globalThis.say('in r2'));
    await ann.waitForSelector('li:has-text("ann: in r2")');
    assert.equal(await ann.locator('li:has-text("still here")').count(), 0);
    await ann.evaluate(() => globalThis.leave());
    await told('user:offline', 'ann');
    for (const one of [ann, bob]) assert.deepEqual(one.errors, []);
  });

  test('who may not join is denied; who has no token is told so', async () => {
    const eve = await connected(hub, { user: 'eve', auth: { token: token('eve', { rooms: ['lobby'] }) } });
    sockets.push(eve);
    const error = next(eve, 'error');
    eve.emit('room:join', 'r1');
    assert.equal((await error)[0].message, 'Access denied');
    const script = bundle(code('003', 'Client Implementation', 'Scaling Strategies'), APP);
    const context = await browser.newContext();
    const errors = [];
    context.on('console', (line) => line.type() === 'error' && errors.push(line.text()));
    await page(context, hub, script, { TOKEN: '' });
    await until(() => errors.some((text) => text.includes('Authentication required')), 'no token');
    await page(context, hub, script, { TOKEN: 'nonsense' });
    await until(() => errors.some((text) => text.includes('Invalid token')), 'a wrong token');
  });
});
