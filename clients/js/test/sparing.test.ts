import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { connected, socket, sockets, tick } from './fake.js';

beforeEach(() => {
  vi.useFakeTimers();
  sockets.length = 0;
});
afterEach(() => vi.useRealTimers());

const volatile = { volatile: true };
const contents = (frames: unknown): unknown[] => (frames as { content?: string; name?: string }[]).map((f) => f.content ?? f.name);

describe('batches', () => {
  it('are off unless asked for', async () => {
    const client = await connected();
    void client.publish('r', 'a', 1, volatile);
    void client.publish('r', 'b', 2, volatile);
    expect(socket().of('event')).toHaveLength(2);
  });

  it('carry what comes within the window, in order, each with its own id', async () => {
    const client = await connected({ batchMs: 5 });
    void client.publish('r', 'a', 1, volatile);
    const sent = client.send('r', 'hello');
    client.typing('r').keystroke();
    await vi.advanceTimersByTimeAsync(4);
    expect(socket().sent).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(socket().sent).toHaveLength(1);
    const { type, messages } = socket().sent[0] as { type: string; messages: { type: string; id?: string }[] };
    expect(type).toBe('batch');
    expect(messages.map((m) => m.type)).toEqual(['event', 'message', 'typing']);
    socket().receive({ type: 'ack', id: messages[1]?.id, ok: true, messageId: 'm1', epoch: 'e1', offset: 1 });
    expect(await sent).toMatchObject({ offset: 1 });
  });

  it('are not made of one', async () => {
    const client = await connected({ batchMs: 5 });
    void client.publish('r', 'a', 1, volatile);
    await vi.advanceTimersByTimeAsync(5);
    expect(socket().sent.map((f) => f.type)).toEqual(['event']);
  });

  it('are never overtaken by what goes at once', async () => {
    const client = await connected({ batchMs: 5 });
    void client.send('r', 'a');
    void client.send('r', 'b');
    void client.send('r', 'c'.repeat(1_100));
    void client.send('r', 'd');
    client.history('r').catch(() => {});
    expect(socket().sent.map((f) => f.type)).toEqual(['batch', 'message', 'message', 'history']);
    expect(contents(socket().sent[0]?.messages)).toEqual(['a', 'b']);
    expect(contents(socket().sent.slice(1, 3))).toEqual(['c'.repeat(1_100), 'd']);
  });

  it('stay within the number and the bytes that the hub takes', async () => {
    const client = await connected({ batchMs: 5, maxFrameBytes: 2_000 });
    for (let i = 0; i < 250; i++) void client.publish('r', `${i}`, 'é'.repeat(20), volatile);
    await vi.advanceTimersByTimeAsync(5);
    const encoder = new TextEncoder();
    for (const frame of socket().sent) expect(encoder.encode(JSON.stringify(frame)).length).toBeLessThanOrEqual(2_000);
    expect(socket().sent.flatMap((f) => contents(f.messages ?? [f]))).toEqual(Array.from({ length: 250 }, (_, i) => `${i}`));

    const other = await connected({ batchMs: 5 });
    for (let i = 0; i < 250; i++) void other.publish('r', `${i}`, 0, volatile);
    await vi.advanceTimersByTimeAsync(5);
    expect(socket().sent.map((f) => (f.messages as unknown[]).length)).toEqual([100, 100, 50]);
  });

  it('that the connection took along: messages come again, volatile events do not', async () => {
    const client = await connected({ batchMs: 5 });
    void client.send('r', 'kept');
    void client.publish('r', 'gone', 1, volatile);
    socket().drop();
    await vi.advanceTimersByTimeAsync(1_000);
    socket().authenticate();
    await vi.advanceTimersByTimeAsync(5);
    expect(sockets[0]?.sent).toHaveLength(0);
    expect(contents(socket().sent)).toEqual(['kept']);
  });

  it('are sent before the client closes', async () => {
    const client = await connected({ batchMs: 5 });
    void client.publish('r', 'last', 1, volatile);
    client.close();
    expect(contents(socket().sent)).toEqual(['last']);
  });
});

describe('throttled events', () => {
  it('go at once, then only the newest when its time has come', async () => {
    const client = await connected({ throttle: { cursor: 50 } });
    const seen = (): unknown[] => socket().of('event').map((f) => f.data);
    for (let i = 0; i < 5; i++) {
      void client.publish('r', 'cursor', i, volatile);
      await vi.advanceTimersByTimeAsync(5);
    }
    expect(seen()).toEqual([0]);
    await vi.advanceTimersByTimeAsync(25);
    expect(seen()).toEqual([0, 4]);
    void client.publish('r', 'cursor', 5, volatile);
    expect(seen()).toEqual([0, 4]);
    await vi.advanceTimersByTimeAsync(50);
    expect(seen()).toEqual([0, 4, 5]);
    await vi.advanceTimersByTimeAsync(50);
    void client.publish('r', 'cursor', 6, volatile);
    expect(seen()).toEqual([0, 4, 5, 6]);
  });

  it('do not hold back another name, another room or what must be stored', async () => {
    const client = await connected({ throttle: { cursor: 50 } });
    void client.publish('r', 'cursor', 1, volatile);
    void client.publish('r', 'wave', 2, volatile);
    void client.publish('q', 'cursor', 3, volatile);
    void client.publish('r', 'constructor', 4, volatile);
    void client.publish('r', 'cursor', 5);
    expect(socket().of('event').map((f) => f.data)).toEqual([1, 2, 3, 4, 5]);
  });

  it('are forgotten with their room and with the connection', async () => {
    const client = await connected({ throttle: { cursor: 50 } });
    for (const room of ['r', 'q']) for (const data of [1, 2]) void client.publish(room, 'cursor', data, volatile);
    client.leave('r').catch(() => {}); // Not answered here.
    await vi.advanceTimersByTimeAsync(50);
    expect(socket().of('event').map((f) => [f.roomId, f.data])).toEqual([['r', 1], ['q', 1], ['q', 2]]);
    void client.publish('q', 'cursor', 3, volatile);
    socket().drop();
    await vi.advanceTimersByTimeAsync(1_000);
    socket().authenticate();
    await tick();
    expect(socket().of('event')).toHaveLength(0);
  });
});
