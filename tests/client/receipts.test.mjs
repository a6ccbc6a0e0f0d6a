// Receipts with the client library, and with a stock Socket.IO client beside it.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { io } from 'socket.io-client';
import { HubProcess } from '../node/hub.mjs';
import { until } from '../node/until.mjs';
import { clientOf } from './support.mjs';

const KEY = 'a key for receipts';

describe('receipts', () => {
  let hub;
  const people = [];
  before(async () => {
    hub = new HubProcess({
      HUBBUB__RECEIPTS__VOCABULARIES: 'hubbub', HUBBUB__RECEIPTS__INTERVAL_MS: '20', HUBBUB__AUTH__API_KEY: KEY,
    });
    await hub.start();
  });
  after(async () => {
    for (const client of people) client.close();
    await hub?.close([KEY]);
  });

  const enter = async (sub, room) => {
    const person = clientOf(hub.origin, sub);
    people.push(person.client);
    await person.client.connect().join(room);
    return person;
  };
  const receiptsOf = async (room, message) => {
    const path = `${hub.origin}/api/rooms/${room}/messages/${message}/receipts`;
    return (await fetch(path, { headers: { authorization: `Bearer ${KEY}` } })).json();
  };

  it('are given by themselves and reach the author', async () => {
    const [ann, bob] = [await enter('ann', 'r'), await enter('bob', 'r')];
    const told = [];
    ann.client.onReceipt('r', ({ userId, offset, status }) => told.push(`${userId} ${status} ${offset}`));
    await Promise.all(Array.from({ length: 20 }, (_, n) => ann.client.send('r', `m${n}`)));
    await until(() => told.at(-1) === 'bob delivered 20', 'the author is told');
    assert.ok(told.length <= 5 && bob.sent.filter(({ type }) => type === 'delivered').length <= 5, told.join());
    assert.equal(ann.sent.filter(({ type }) => type === 'delivered').length, 0);
    const page = await ann.client.receipts('r');
    assert.deepEqual(page.receipts, [{ userId: 'bob', delivered: 20, read: 0 }]);
    bob.client.read('r', 20);
    await until(() => told.at(-1) === 'bob read 20', 'the author is told');
    await until(async () => (await receiptsOf('r', 20)).readCount === 1, 'it is kept');
  });

  it('are given by stock Socket.IO clients as an event', async () => {
    const ann = await enter('ann', 's');
    const answer = await fetch(`${hub.origin}/dev/token`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ sub: 'eve', name: 'Eve' }),
    });
    const socket = io(hub.origin, { auth: { token: (await answer.json()).token }, forceNew: true });
    people.push(socket);
    const hello = await new Promise((resolve) => socket.once('authenticated', resolve));
    assert.equal(hello.receipts, true);
    const told = [];
    socket.on('receipt', (receipt) => told.push(receipt));
    assert.equal((await socket.emitWithAck('join', { roomId: 's' })).ok, true);
    socket.on('message', ({ roomId, offset }) => socket.emit('delivered', { roomId, offset }));
    const heard = new Promise((resolve) => ann.client.onReceipt('s', resolve));
    const sent = await ann.client.send('s', 'hello');
    assert.deepEqual(
      (({ userId, offset, status }) => [userId, offset, status])(await heard), ['eve', sent.offset, 'delivered'],
    );
    assert.deepEqual((await receiptsOf('s', sent.messageId)).users, [{ userId: 'eve', status: 'delivered' }]);
    // And they hear of their own messages.
    await socket.emitWithAck('message', { roomId: 's', content: 'hi' });
    await until(() => told.length, 'the Socket.IO client is told');
    assert.deepEqual(told[0], { roomId: 's', userId: 'ann', offset: sent.offset + 1, status: 'delivered' });
  });
});
