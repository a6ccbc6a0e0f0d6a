// Two people at two nodes behind nginx; the node of one of them is killed while both write.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { Nginx, request } from '../deploy/nginx.mjs';
import { Redis } from '../node/redis.mjs';
import { Hub, Person, launch } from './support.mjs';

const numbered = (word, count) => Array.from({ length: count }, (_, i) => `${word} ${i}.`);

/** A way to nginx that comes from an address: a browser on this machine always has the same one. */
async function wayFrom(address, nginx) {
  const sockets = new Set();
  const server = createServer((near) => {
    const far = connect({ port: nginx.port, host: '127.0.0.1', localAddress: address });
    for (const [socket, other] of [[near, far], [far, near]]) {
      sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => sockets.delete(socket) && other.destroy());
      socket.pipe(other);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** For each hub an address whose requests nginx gives to it. */
async function addresses(nginx, hubs) {
  const nodes = hubs.map((hub) => new URL(hub.origin).host);
  const found = new Map();
  // nginx looks at the first three numbers.
  for (let n = 1; n < 100 && found.size < hubs.length; n += 1) {
    const from = `127.0.${n}.1`;
    const uri = `/from-${n}`;
    await request(nginx.origin, uri, { from });
    const lines = nginx.accessLog.trim().split('\n').map((line) => JSON.parse(line));
    found.set(lines.find((line) => line.uri === uri).node, from);
  }
  return nodes.map((node) => found.get(node) ?? assert.fail(`no address leads to ${node}`));
}

/** How many sessions a hub has. */
async function sessions(hub) {
  const text = await (await fetch(`${hub.origin}/metrics`)).text();
  return Number(text.match(/^hubbub_sessions (\d+)$/m)[1]);
}

describe('two people at two nodes', () => {
  let redis, hubs, nginx, ways, browser, ada, bo;

  before(async () => {
    redis = await Redis.start();
    hubs = await Promise.all([1, 2].map((n) => Hub.start({
      HUBBUB__NODE__ID: `n${n}`,
      HUBBUB__CLUSTER__REDIS_URL: redis.url,
    })));
    nginx = await Nginx.start(hubs);
    ways = await Promise.all((await addresses(nginx, hubs)).map((address) => wayFrom(address, nginx)));
    browser = await launch();
    ada = await Person.enter(browser, ways[0], 'Ada');
    bo = await Person.enter(browser, ways[1], 'Bo');
  });
  after(async () => {
    await browser?.close();
    for (const way of ways ?? []) way.close();
    await nginx?.close();
    await Promise.all((hubs ?? []).map((hub) => hub.close()));
    await redis?.close();
  });

  it('are in one room', async () => {
    assert.deepEqual(await Promise.all(hubs.map(sessions)), [1, 1], 'each at another node');
    await ada.say('from the first node');
    await bo.sees('from the first node');
    await bo.say('from the second node');
    await ada.sees('from the second node');
    assert.deepEqual(await ada.members(), ['Ada', 'Bo']);
    assert.deepEqual(await bo.members(), ['Ada', 'Bo']);
  });

  /** Both write `count` lines; `meanwhile` happens after the first of them. Then each page has all of it once. */
  async function write(words, count, meanwhile) {
    const all = words.map((word) => numbered(word, count));
    const before = (await ada.texts()).length;
    const talk = Promise.all([ada, bo].map(async (person, i) => {
      for (const line of all[i]) await person.say(line);
    }));
    await bo.sees(all[0][3]);
    await meanwhile();
    await talk;
    for (const person of [ada, bo]) {
      for (const lines of all) await person.sees(lines.at(-1));
      await person.page.locator('#banner').waitFor({ state: 'hidden' });
      await person.page.locator('.pending').waitFor({ state: 'detached' });
      const texts = await person.texts();
      for (const [i, word] of words.entries()) {
        assert.deepEqual(texts.filter((text) => text.startsWith(word)), all[i]);
      }
      assert.equal(texts.length, before + 2 * count, 'each message once');
      assert.equal(await person.page.locator('.failed').count(), 0);
      assert.deepEqual(await person.members(), ['Ada', 'Bo']);
      assert.deepEqual(person.errors, []);
    }
    assert.deepEqual(await ada.texts(), await bo.texts(), 'the same order for both');
  }

  it('lose no message and see none twice when the node of one is killed', async () => {
    await write(['ada', 'bo'], 20, () => hubs[0].kill());
    assert.equal(await sessions(hubs[1]), 2, 'both are at the node that is left');
  });

  it('go on when it is back, and move to it when the other one drains', async () => {
    await hubs[0].start();
    let code;
    await write(['Ada again', 'Bo again'], 20, async () => (code = await hubs[1].drain()));
    assert.equal(code, 0);
    assert.equal(await sessions(hubs[0]), 2);
    const cy = await Person.enter(browser, ways[0], 'Cy');
    await cy.sees('Bo again 19.');
    const found = await cy.texts();
    assert.ok(found.length >= 40, 'a page of what is stored');
    assert.deepEqual(found, (await ada.texts()).slice(-found.length));
    await cy.leave();
  });
});
