// Chromium offers permessage-deflate by itself.
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { Hub, launch } from './support.mjs';

let browser;
let hub;
before(async () => {
  browser = await launch();
  hub = await Hub.start({ HUBBUB__SESSION__COMPRESSION: 'true' });
});
after(async () => {
  await browser?.close();
  await hub?.close();
});

it('Chromium and the hub compress and understand each other', async () => {
  const page = await browser.newPage();
  await page.goto(hub.origin);
  const said = await page.evaluate(async () => {
    const body = JSON.stringify({ sub: 'ann', name: 'Ann' });
    const { token } = await (await fetch('/dev/token', { method: 'POST', body })).json();
    const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/ws`, ['hubbub', token]);
    const send = (frame) => socket.send(JSON.stringify(frame));
    const content = 'what is said again and again, größer 🦀 '.repeat(200);
    socket.onopen = () => {
      send({ type: 'join', roomId: 'compressed', id: 1 });
      for (let n = 0; n < 20; n += 1) send({ type: 'message', roomId: 'compressed', content: `${n} ${content}`, id: `m${n}` });
    };
    const heard = [];
    return new Promise((resolve) => {
      socket.onclose = ({ code }) => resolve({ code });
      socket.onmessage = ({ data }) => {
        const frame = JSON.parse(data);
        if (frame.type === 'message') heard.push(frame.content);
        if (heard.length < 20) return;
        resolve({ extensions: socket.extensions, right: heard.every((text, n) => text === `${n} ${content}`) });
      };
    });
  });
  assert.match(said.extensions ?? JSON.stringify(said), /permessage-deflate/);
  assert.equal(said.right, true);
  const metrics = await (await fetch(`${hub.origin}/metrics`)).text();
  const count = (direction) => Number(metrics.match(new RegExp(`hubbub_compressed_messages_total\\{direction="${direction}"\\} (\\d+)`))[1]);
  assert.ok(count('in') >= 21, `${count('in')} from the browser`);
  assert.ok(count('out') >= 20, `${count('out')} to it`);
});
