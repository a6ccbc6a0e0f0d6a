// Connection state recovery with stock clients: what comes back, what cannot, and what
// arrives in between, audited by content.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Hub, JsonMember, TRANSPORTS, client, connected, next, until } from './support.mjs';
import WebSocketOfNode from 'ws';

globalThis.WebSocket ??= WebSocketOfNode;

const KEY = 'an api key of these tests alone';
const EMBEDDED = { HISTORY__STORE: 'embedded', LIMITS__MESSAGES_PER_SECOND: 0 };
const ask = (socket, event, fields) => socket.timeout(8000).emitWithAck(event, fields);

/** Keeps every message of a socket by room, and joins the rooms where it must. */
function listen(socket, rooms = []) {
  const heard = { messages: [], directs: [], recovered: [], joins: 0 };
  socket.on('message', (m) => heard.messages.push(m));
  socket.on('direct', (m) => heard.directs.push(m));
  socket.on('connect', async () => {
    heard.recovered.push(socket.recovered);
    if (socket.recovered) return;
    for (const roomId of rooms) {
      const answer = await ask(socket, 'join', { roomId }).catch(() => undefined);
      if (!answer) return;
    }
    heard.joins += 1;
  });
  return heard;
}

/** Asserts that a client got 1..count of each room, in order, each once. */
function assertWhole(heard, rooms, count, what) {
  for (const room of rooms) {
    const got = heard.messages.filter((m) => m.roomId === room).map((m) => m.content);
    assert.deepEqual(got, Array.from({ length: count }, (_, i) => `${room} ${i + 1}`), `${what} in ${room}`);
  }
}

/** A JSON member of all rooms. */
async function writer(hub, [first, ...rest]) {
  const json = await JsonMember.enter(hub, 'jo', first);
  for (const roomId of rest) {
    json.send({ type: 'join', roomId });
    await until(() => json.messages.some((m) => m.type === 'joined' && m.roomId === roomId), 'joined');
  }
  return json;
}

/** Cuts the transport without a goodbye. */
const cut = (socket) => socket.io.engine.close();

describe('connection state recovery', () => {
  for (const [how, transports] of Object.entries(TRANSPORTS)) {
    test(`a cut connection goes on (${how})`, async () => {
      const hub = await Hub.start(EMBEDDED);
      const rooms = ['a', 'b', 'c'];
      const socket = client(hub, { transports });
      const heard = listen(socket, rooms);
      try {
        await until(() => heard.joins === 1, 'joined');
        const { id } = socket;
        const json = await writer(hub, rooms);
        let sent = 0;
        const send = (count) => {
          for (let i = 0; i < count; i += 1) {
            sent += 1;
            for (const roomId of rooms) json.send({ type: 'message', roomId, content: `${roomId} ${sent}` });
          }
        };
        for (let round = 1; round <= 5; round += 1) {
          send(20);
          await until(() => heard.messages.length > (round - 1) * 60 + 7, 'some arrive');
          cut(socket);
          send(20);
          await until(() => heard.recovered.length === round + 1, 'it comes back');
          send(10);
          await until(() => heard.messages.length >= sent * 3, `${sent} of each`);
        }
        assert.deepEqual(heard.recovered, [false, true, true, true, true, true]);
        assert.equal(socket.id, id, 'the session is the same');
        assertWhole(heard, rooms, sent, 'after five cuts');
        // It is a member as before: it may publish, and hears itself.
        const answer = await ask(socket, 'message', { roomId: 'b', content: `b ${sent + 1}` });
        assert.equal(answer.ok, true);
        await until(() => heard.messages.at(-1).content === `b ${sent + 1}`, 'its own');
        json.close();
      } finally {
        socket.close();
        await hub.close();
      }
    });

    test(`a killed hub that comes back goes on (${how})`, async () => {
      const hub = await Hub.start(EMBEDDED);
      const rooms = ['a', 'b'];
      const socket = client(hub, { transports });
      const heard = listen(socket, rooms);
      try {
        await until(() => heard.joins === 1, 'joined');
        const json = await writer(hub, rooms);
        for (let i = 1; i <= 200; i += 1) {
          for (const roomId of rooms) {
            json.send({ type: 'message', roomId, content: `${roomId} ${i}`, key: `${i}` });
          }
        }
        await until(() => heard.messages.length > 50, 'some arrive');
        await hub.kill();
        await hub.start();
        await until(() => heard.recovered.length === 2, 'it comes back', 10_000);
        assert.deepEqual(heard.recovered, [false, true]);
        // The sender settles what it does not know by its keys.
        const again = await writer(hub, rooms);
        for (let i = 1; i <= 220; i += 1) {
          for (const roomId of rooms) again.send({ type: 'message', roomId, content: `${roomId} ${i}`, key: `${i}` });
        }
        await until(() => heard.messages.length >= 440, 'all arrive', 10_000);
        assertWhole(heard, rooms, 220, 'after a kill');
        again.close();
      } finally {
        socket.close();
        await hub.close();
      }
    });
  }

  test('direct messages and what was told before are not lost', async () => {
    const hub = await Hub.start({ ...EMBEDDED, AUTH__API_KEY: KEY });
    const socket = await connected(hub, { transports: ['websocket'] });
    const heard = listen(socket);
    const direct = async (content) => {
      const answer = await fetch(`${hub.origin}/api/users/ada/messages`, {
        method: 'POST',
        headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' },
        body: JSON.stringify({ content }),
      });
      assert.equal(answer.status, 202);
    };
    try {
      for (let i = 0; i < 3; i += 1) await direct(`before ${i}`);
      await until(() => heard.directs.length === 3, 'live');
      for (let round = 0; round < 3; round += 1) {
        cut(socket);
        await direct(`away ${round}`);
        await until(() => heard.recovered.length === round + 1, 'back');
        await until(() => heard.directs.length === 4 + round, 'the missed one');
      }
      assert.deepEqual(heard.recovered, [true, true, true]);
      assert.deepEqual(
        heard.directs.map((m) => m.content),
        ['before 0', 'before 1', 'before 2', 'away 0', 'away 1', 'away 2'],
      );
    } finally {
      socket.close();
      await hub.close();
    }
  });

  test('a key counts once through every door, before and after a kill', async () => {
    const hub = await Hub.start({ ...EMBEDDED, AUTH__API_KEY: KEY });
    const socket = await connected(hub, { transports: ['websocket'] });
    const message = { roomId: 'a', content: 'once', key: 'k 1' };
    const byHttp = async () => {
      const answer = await fetch(`${hub.origin}/api/rooms/a/messages`, {
        method: 'POST',
        headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' },
        body: JSON.stringify({ content: 'by HTTP', userId: 'ada', key: message.key }),
      });
      const { id, offset } = await answer.json();
      return { messageId: id, offset };
    };
    const byJson = async () => {
      const json = await JsonMember.enter(hub, 'ada', 'a');
      json.send({ type: 'message', ...message, id: 'x' });
      const ack = await until(() => json.messages.find((m) => m.id === 'x'), 'an ack');
      json.close();
      return ack;
    };
    const bySocket = async () => {
      await ask(socket, 'join', { roomId: 'a' });
      return ask(socket, 'message', message);
    };
    try {
      const { messageId, offset } = await bySocket();
      assert.equal(offset, 1);
      const doors = [bySocket, byJson, byHttp];
      for (const door of doors) {
        const again = await door();
        assert.deepEqual([again.messageId, again.offset], [messageId, 1], door.name);
      }
      await hub.kill();
      await hub.start();
      await until(() => socket.connected, 'it comes back');
      for (const door of doors) {
        const again = await door();
        assert.deepEqual([again.messageId, again.offset], [messageId, 1], door.name);
      }
      const next = await ask(socket, 'message', { ...message, key: 'k 2' });
      assert.equal(next.offset, 2);
    } finally {
      socket.close();
      await hub.close();
    }
  });

  test('retries of the stock client store once what has a key', async () => {
    const hub = await Hub.start(EMBEDDED);
    const socket = await connected(hub, { transports: ['websocket'], retries: 10, ackTimeout: 300 });
    const heard = listen(socket, ['a']);
    try {
      await new Promise((resolve) => socket.emit('join', { roomId: 'a' }, resolve));
      const answers = [];
      const sent = [];
      for (let i = 0; i < 20; i += 1) {
        sent.push(new Promise((resolve) => {
          socket.emit('message', { roomId: 'a', content: `${i}`, key: `${i}` }, (error, answer) => {
            answers.push(answer);
            resolve();
          });
        }));
        if (i === 5) cut(socket);
        if (i === 12) await hub.kill().then(() => hub.start());
      }
      await Promise.all(sent);
      assert.deepEqual(answers.map((a) => a?.offset), Array.from({ length: 20 }, (_, i) => i + 1));
      await until(() => heard.messages.length === 20, 'all arrive');
      assert.deepEqual(heard.messages.map((m) => m.content), Array.from({ length: 20 }, (_, i) => `${i}`));
    } finally {
      socket.close();
      await hub.close();
    }
  });

  test('beyond the window a session is new', async () => {
    const hub = await Hub.start({ ...EMBEDDED, SESSION__RECOVERY_MS: 300 });
    const socket = await connected(hub, { transports: ['websocket'], reconnectionDelay: 900, reconnectionDelayMax: 1000 });
    const heard = listen(socket, ['a']);
    try {
      await ask(socket, 'join', { roomId: 'a' });
      await ask(socket, 'message', { roomId: 'a', content: 'one' });
      const { id } = socket;
      cut(socket);
      await until(() => heard.recovered.length === 1, 'back');
      assert.deepEqual(heard.recovered, [false]);
      assert.notEqual(socket.id, id);
    } finally {
      socket.close();
      await hub.close();
    }
  });

  test('where the history has a hole nothing is said to be recovered', async () => {
    const hub = await Hub.start({ ...EMBEDDED, HISTORY__MAX_MESSAGES: 10 });
    const socket = await connected(hub, { transports: ['websocket'], reconnectionDelay: 500, reconnectionDelayMax: 600 });
    const heard = listen(socket, ['a']);
    const json = await JsonMember.enter(hub, 'jo', 'a');
    try {
      await ask(socket, 'join', { roomId: 'a' });
      await ask(socket, 'message', { roomId: 'a', content: 'one' });
      cut(socket);
      for (let i = 0; i < 200; i += 1) json.send({ type: 'message', roomId: 'a', content: `${i}` });
      await json.sees('199');
      await until(() => heard.recovered.length === 1, 'back');
      assert.deepEqual(heard.recovered, [false]);
    } finally {
      json.close();
      socket.close();
      await hub.close();
    }
  });

  test('who may not be in the room any more does not come back into it', async () => {
    const { token } = await import('./support.mjs');
    const hub = await Hub.start(EMBEDDED);
    let rooms = ['*'];
    const socket = await connected(hub, { transports: ['websocket'], auth: (give) => give({ token: token('ada', { rooms }) }) });
    const heard = listen(socket);
    const json = await JsonMember.enter(hub, 'jo', 'a');
    try {
      await ask(socket, 'join', { roomId: 'a' });
      await ask(socket, 'message', { roomId: 'a', content: 'one' });
      rooms = ['other'];
      cut(socket);
      await until(() => heard.recovered.length === 1, 'back');
      assert.deepEqual(heard.recovered, [false]);
      json.send({ type: 'message', roomId: 'a', content: 'secret' });
      await json.sees('secret');
      await ask(socket, 'ping', {});
      assert.deepEqual(heard.messages.map((m) => m.content), ['one']);
    } finally {
      json.close();
      socket.close();
      await hub.close();
    }
  });

  test('the newer connection wins; the older one is sent away', async () => {
    const hub = await Hub.start(EMBEDDED);
    const a = await connected(hub, { transports: ['websocket'] });
    const heardA = listen(a);
    let b;
    try {
      await ask(a, 'join', { roomId: 'r' });
      await ask(a, 'message', { roomId: 'r', content: 'one' });
      await until(() => heardA.messages.length === 1, 'heard');
      const gone = next(a, 'disconnect');
      // What the same client would send from its next connection.
      b = client(hub, { transports: ['websocket'] });
      b._pid = a._pid;
      b._lastOffset = a._lastOffset;
      const heardB = listen(b);
      const { id } = a;
      await next(b, 'connect');
      assert.equal(b.recovered, true);
      assert.equal(b.id, id);
      assert.equal((await gone)[0], 'io server disconnect');
      await ask(b, 'message', { roomId: 'r', content: 'two' });
      await until(() => heardB.messages.length === 1, 'heard');
      assert.equal(heardB.messages[0].content, 'two');
      // And again, so that the old one's end has not taken the new one along.
      cut(b);
      await until(() => heardB.recovered.length === 2, 'back');
      assert.deepEqual(heardB.recovered, [true, true]);
    } finally {
      a.close();
      b?.close();
      await hub.close();
    }
  });

  test('a namespace that is left, and a wrong secret, start anew', async () => {
    const hub = await Hub.start(EMBEDDED);
    const socket = await connected(hub, { transports: ['websocket'] });
    try {
      await ask(socket, 'join', { roomId: 'r' });
      await ask(socket, 'message', { roomId: 'r', content: 'one' });
      const pid = socket._pid;
      socket.disconnect();
      socket.connect();
      await next(socket, 'connect');
      assert.equal(socket.recovered, false);
      await ask(socket, 'join', { roomId: 'r' });
      socket._pid = socket._pid.slice(0, -4) + (socket._pid.endsWith('0000') ? '1111' : '0000');
      cut(socket);
      await next(socket, 'connect');
      assert.equal(socket.recovered, false);
      assert.notEqual(pid, socket._pid);
    } finally {
      socket.close();
      await hub.close();
    }
  });
});
