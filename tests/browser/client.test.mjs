// The client library in a real browser against a real hub, without the page: batches and throttling.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import WebSocket from 'ws';
import { Hub, clientBundle, launch } from './support.mjs';

describe('the client library', () => {
  let hub, browser, page;
  const sent = [];

  before(async () => {
    hub = await Hub.start();
    browser = await launch();
    page = await browser.newPage();
    page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => sent.push(JSON.parse(payload))));
    await page.goto(hub.origin);
    await page.evaluate(await clientBundle());
    await page.evaluate(() => {
      /** A client in the room `lab`, with what it hears. */
      globalThis.enter = async (sub, options) => {
        const token = async () => {
          const headers = { 'content-type': 'application/json' };
          const answer = await fetch('/dev/token', { method: 'POST', headers, body: JSON.stringify({ sub, name: sub }) });
          return (await answer.json()).token;
        };
        const client = new globalThis.hubbub.HubbubClient({ token, ...options });
        const heard = [];
        client.on('message', ({ content }) => heard.push(content));
        client.on('event', ({ name, data }) => heard.push(`${name} ${data}`));
        await client.connect().join('lab');
        return { client, heard };
      };
      /** Waits until `heard` has `count` entries, then gives them. */
      globalThis.hears = async (heard, count) => {
        for (const end = Date.now() + 5_000; heard.length < count && Date.now() < end; ) {
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
        return heard;
      };
    });
  });
  after(async () => {
    await browser?.close();
    await hub?.close();
  });

  it('sends many small things in few frames, and the hub takes them in order', async () => {
    const { acks, heard } = await page.evaluate(async () => {
      const writer = await globalThis.enter('writer', { batchMs: 10 });
      const reader = await globalThis.enter('reader');
      const sends = [];
      for (let i = 0; i < 20; i++) {
        sends.push(writer.client.send('lab', `m${i}`));
        void writer.client.publish('lab', 'tick', i, { volatile: true });
      }
      const acks = (await Promise.all(sends)).map(({ offset }) => offset);
      const heard = await globalThis.hears(reader.heard, 40);
      for (const { client } of [writer, reader]) client.close();
      return { acks, heard };
    });
    const twenty = Array.from({ length: 20 }, (_, i) => i);
    assert.deepEqual(acks, twenty.map((i) => acks[0] + i));
    assert.deepEqual(heard.filter((entry) => entry.startsWith('m')), twenty.map((i) => `m${i}`));
    assert.deepEqual(heard.filter((entry) => entry.startsWith('tick')), twenty.map((i) => `tick ${i}`));
    assert.deepEqual(sent.filter(({ type }) => type === 'batch').map(({ messages }) => messages.length), [40]);
    assert.equal(sent.filter(({ type }) => type === 'message' || type === 'event').length, 0);
  });

  it('sends the first and the newest of events that come too fast', async () => {
    const heard = await page.evaluate(async () => {
      const writer = await globalThis.enter('writer', { throttle: { cursor: 100 } });
      const reader = await globalThis.enter('reader');
      for (let i = 0; i <= 50; i++) void writer.client.publish('lab', 'cursor', i, { volatile: true });
      const heard = (await globalThis.hears(reader.heard, 2)).slice();
      for (const { client } of [writer, reader]) client.close();
      return heard;
    });
    assert.deepEqual(heard, ['cursor 0', 'cursor 50']);
  });

  it('works in a worker', async () => {
    // The hub's pages allow no workers; any other page of it has no such policy.
    const plain = await browser.newPage();
    await plain.goto(`${hub.origin}/healthz`);
    const script = `${await clientBundle()};
      onmessage = async ({ data: { url, token } }) => {
        const client = new hubbub.HubbubClient({ url, token });
        client.on('message', ({ content }) => postMessage(content));
        await client.connect().join('workshop');
        await client.send('workshop', 'from a worker');
      };`;
    const heard = await plain.evaluate(async (code) => {
      const answer = await fetch('/dev/token', { method: 'POST', body: JSON.stringify({ sub: 'worker' }) });
      const { token } = await answer.json();
      const worker = new Worker(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })));
      worker.postMessage({ url: location.origin, token });
      return new Promise((resolve, reject) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = ({ message }) => reject(new Error(message));
      });
    }, script);
    assert.equal(heard, 'from a worker');
    await plain.close();
  });

  it('works in Node, with a WebSocket of its own where there is none', async () => {
    const { HubbubClient } = new Function(`${await clientBundle()}; return hubbub;`)();
    const answer = await fetch(`${hub.origin}/dev/token`, { method: 'POST', body: JSON.stringify({ sub: 'node' }) });
    const { token } = await answer.json();
    const client = new HubbubClient({ url: hub.origin, token, WebSocket });
    const heard = new Promise((resolve) => client.on('message', ({ content }) => resolve(content)));
    await client.connect().join('engine-room');
    await client.send('engine-room', 'from Node');
    assert.equal(await heard, 'from Node');
    client.close();
  });
});
