import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HubbubError } from '../src/index.js';
import { connected, message, newClient, socket, sockets, tick } from './fake.js';

beforeEach(() => {
  vi.useFakeTimers();
  sockets.length = 0;
});
afterEach(() => vi.useRealTimers());

/** The code a promise was rejected with, or 'pending' or 'resolved'. */
function outcome(promise: Promise<unknown>): () => string {
  let now = 'pending';
  promise.then(
    () => (now = 'resolved'),
    (error: HubbubError) => (now = error.code),
  );
  return () => now;
}

describe('requests', () => {
  it('settle with their own answer', async () => {
    const client = await connected();
    const first = client.history('r', { before: 5, limit: 2 });
    const [request] = socket().of('history');
    const second = client.members('r');
    await socket().ack('members', { roomId: 'r', members: [], memberCount: 0, hasMore: false });
    expect(await second).toMatchObject({ memberCount: 0 });
    socket().receive({ type: 'ack', id: request?.id, ok: true, messages: [message(3), message(4)], hasMore: true });
    expect(await first).toMatchObject({ hasMore: true });
    expect(request).toMatchObject({ before: 5, limit: 2 });
  });

  it('carry the code of the hub', async () => {
    const client = await connected();
    const asked = client.history('secret');
    socket().receive({ type: 'error', id: socket().last('history').id, code: 'forbidden', message: 'Not yours.', retryAfterMs: 5 });
    const error: unknown = await asked.catch((e: unknown) => e);
    expect(error).toBeInstanceOf(HubbubError);
    expect(error).toMatchObject({ code: 'forbidden', message: 'Not yours.', retryAfterMs: 5 });
  });

  it('time out, end with the connection, and need one', async () => {
    const client = await connected({ requestTimeoutMs: 1_000 });
    const late = outcome(client.history('r'));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(late()).toBe('timeout');
    await socket().ack('history');
    const broken = outcome(client.history('r'));
    socket().drop();
    await tick();
    expect(broken()).toBe('connection_lost');
    const offline = outcome(client.history('r'));
    await tick();
    expect(offline()).toBe('not_connected');
  });

  it('tell errors that belong to none of them', async () => {
    const client = await connected();
    const told = vi.fn();
    client.on('error', told);
    socket().receive({ type: 'error', code: 'rate_limited', message: 'Slow down.' });
    expect(told.mock.calls[0]?.[0]).toMatchObject({ code: 'rate_limited' });
  });

  it('refuse a frame that the hub would close for', async () => {
    const client = await connected({ maxFrameBytes: 200 });
    const big = outcome(client.send('r', 'é'.repeat(100)));
    await tick();
    expect(big()).toBe('too_large');
    expect(socket().of('message')).toHaveLength(0);
  });
});

describe('messages', () => {
  it('go out side by side while all is well', async () => {
    const client = await connected();
    const sent = client.send('r', 'a');
    void client.send('r', 'b');
    expect(socket().of('message').map((m) => m.content)).toEqual(['a', 'b']);
    socket().receive({ type: 'ack', id: socket().of('message')[0]?.id, ok: true, messageId: 'm1', epoch: 'e1', offset: 1 });
    expect(await sent).toMatchObject({ messageId: 'm1', offset: 1 });
  });

  it('wait for a connection and its rooms, then go one by one in order', async () => {
    const client = newClient();
    void client.join('r');
    const outcomes = ['a', 'b', 'c'].map((text) => outcome(client.send('r', text)));
    client.connect();
    await tick();
    socket().authenticate();
    await tick();
    expect(socket().of('message')).toHaveLength(0);
    await socket().joined('r', 0);
    const late = outcome(client.send('r', 'd'));
    for (const text of ['a', 'b', 'c', 'd']) {
      expect(socket().last('message').content).toBe(text);
      await socket().ack('message', { messageId: text });
    }
    expect([...outcomes.map((o) => o()), late()]).toEqual(['resolved', 'resolved', 'resolved', 'resolved']);
    expect(socket().of('message')).toHaveLength(4);
  });

  it('keep key and order when the connection breaks before the answer', async () => {
    const client = await connected();
    const first = outcome(client.send('r', 'a'));
    void client.send('r', 'b');
    const keys = socket().of('message').map((m) => m.key);
    socket().drop();
    void client.send('r', 'c');
    await vi.advanceTimersByTimeAsync(1_000);
    socket().authenticate();
    await tick();
    for (const text of ['a', 'b', 'c']) {
      expect(socket().last('message').content).toBe(text);
      await socket().ack('message');
    }
    expect(first()).toBe('resolved');
    expect(socket().of('message').slice(0, 2).map((m) => m.key)).toEqual(keys);
    expect(new Set(socket().of('message').map((m) => m.key)).size).toBe(3);
  });

  it('are tried again when the hub refuses for now, without overtaking', async () => {
    const client = newClient();
    const first = outcome(client.send('r', 'a'));
    void client.send('r', 'b');
    client.connect();
    await tick();
    socket().authenticate();
    await tick();
    await socket().refuse('message', 'unavailable', { retryAfterMs: 3_000 });
    await vi.advanceTimersByTimeAsync(2_999);
    expect(socket().of('message').map((m) => m.content)).toEqual(['a']);
    await vi.advanceTimersByTimeAsync(1);
    expect(socket().of('message').map((m) => m.content)).toEqual(['a', 'a']);
    await socket().ack('message');
    expect(first()).toBe('resolved');
    expect(socket().last('message').content).toBe('b');
  });

  it('are bounded in number and age', async () => {
    const client = newClient({ queue: { maxMessages: 2, maxAgeMs: 5_000 } });
    const first = outcome(client.send('r', 'a'));
    await vi.advanceTimersByTimeAsync(2_000);
    const second = outcome(client.send('r', 'b'));
    const third = outcome(client.send('r', 'c'));
    await vi.advanceTimersByTimeAsync(3_000);
    expect([first(), second(), third()]).toEqual(['expired', 'pending', 'queue_full']);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(second()).toBe('expired');
  });

  it('are given back when the client closes for good', async () => {
    const client = await connected();
    const sent = outcome(client.send('r', 'a'));
    socket().drop(4403);
    await tick();
    expect(sent()).toBe('closed');
  });

  it('that were too big for the hub are not sent again', async () => {
    const client = await connected();
    const sent = outcome(client.send('r', 'a'));
    socket().drop(1009);
    await tick();
    expect(sent()).toBe('too_large');
  });

  it('are sent again with their keys when the connection broke, direct ones and events too', async () => {
    const client = await connected();
    void client.sendDirect('u', 'hi', { data: 1, key: 'k' });
    void client.publish('r', 'move', { x: 1 });
    const { key } = socket().last('event');
    expect(key).toMatch(/^[0-9a-f]{32}$/);
    socket().drop();
    await vi.advanceTimersByTimeAsync(20_000);
    socket().authenticate();
    await tick();
    expect(socket().last('direct')).toMatchObject({ userId: 'u', content: 'hi', data: 1, key: 'k' });
    expect(socket().of('event')).toHaveLength(0);
    await socket().ack('direct');
    expect(socket().last('event')).toMatchObject({ name: 'move', key });
  });
});
