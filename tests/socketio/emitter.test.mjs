// A backend that publishes with the stock `@socket.io/redis-emitter`: the hub hears it on every node.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Emitter } from '@socket.io/redis-emitter';
import IORedis from 'ioredis';
import WebSocketOfNode from 'ws';
import { Redis } from '../node/redis.mjs';
import { Hub, JsonMember, client, until } from './support.mjs';

globalThis.WebSocket ??= WebSocketOfNode;

describe('the stock redis-emitter', () => {
  let redis, publisher, emitter, stock;
  const hubs = [];
  const json = [];
  const heard = [];

  before(async () => {
    redis = await Redis.start();
    for (let i = 0; i < 2; i += 1) {
      const hub = await Hub.start({
        HISTORY__STORE: 'redis',
        CLUSTER__REDIS_URL: redis.url,
        CLUSTER__EMITTER_PREFIX: 'socket.io',
        NODE__ID: `n${i}`,
      });
      hubs.push(hub);
      await until(async () => (await fetch(`${hub.origin}/readyz`)).status === 200, 'ready', 10_000);
    }
    json.push(await JsonMember.enter(hubs[0], 'ann', 'lobby'));
    json.push(await JsonMember.enter(hubs[1], 'bob', 'lobby'));
    stock = client(hubs[1], { user: 'cid', transports: ['polling'] });
    stock.on('event', (event) => heard.push(event));
    await stock.timeout(8000).emitWithAck('join', { roomId: 'lobby' });
    publisher = new IORedis({ port: redis.port, host: '127.0.0.1' });
    emitter = new Emitter(publisher);
  });

  after(async () => {
    publisher?.disconnect();
    stock?.close();
    for (const member of json) member.close();
    for (const hub of hubs) await hub.close();
    await redis?.close();
  });

  const events = (member) => member.messages.filter((m) => m.type === 'event');
  const named = (list, name) => list.find((event) => event.name === name);
  const sees = (list, name) => until(() => named(list(), name), name);

  test('reaches a room on every node and both wires', async () => {
    emitter.to('lobby').emit('news', { at: new Date(5), list: [1, 'two', null] });
    const lists = [() => events(json[0]), () => events(json[1]), () => heard];
    for (const list of lists) {
      const event = await sees(list, 'news');
      assert.equal(event.roomId, 'lobby');
      assert.deepEqual(event.data.list, [1, 'two', null]);
    }
  });

  test('reaches one user, and all but one', async () => {
    emitter.to('user:bob').emit('for bob', 1);
    await sees(() => events(json[1]), 'for bob');
    emitter.to('lobby').except('user:bob').emit('not for bob', 2);
    await sees(() => events(json[0]), 'not for bob');
    emitter.emit('for all', 'a', 'b');
    const lists = [() => events(json[0]), () => events(json[1]), () => heard];
    for (const list of lists) {
      assert.deepEqual((await sees(list, 'for all')).data, ['a', 'b']);
    }
    // What came before is there, so what is missing was not sent.
    assert.equal(named(events(json[0]), 'for bob'), undefined);
    assert.equal(named(heard, 'for bob'), undefined);
    assert.equal(named(events(json[1]), 'not for bob'), undefined);
  });

  test('what is not for this hub is ignored', async () => {
    emitter.of('/other').to('lobby').emit('elsewhere', 1);
    emitter.to('lobby').emit('after', 1);
    await sees(() => heard, 'after');
    await sees(() => events(json[0]), 'after');
    assert.equal(named(heard, 'elsewhere'), undefined);
    assert.equal(named(events(json[0]), 'elsewhere'), undefined);
  });
});
