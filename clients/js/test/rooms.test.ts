import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { HubbubClient, Message } from '../src/index.js';
import { connected, message, newClient, socket, sockets, tick } from './fake.js';

beforeEach(() => {
  vi.useFakeTimers();
  sockets.length = 0;
});
afterEach(() => vi.useRealTimers());

function offsets(client: HubbubClient): number[] {
  const seen: number[] = [];
  client.on('message', (m: Message) => seen.push(m.offset));
  return seen;
}

async function reconnect(): Promise<void> {
  socket().drop();
  await vi.advanceTimersByTimeAsync(20_000);
  socket().authenticate('s2');
  await tick();
  await socket().forgot();
}

describe('rooms', () => {
  it('are joined with a promise and an event', async () => {
    const client = await connected();
    const told = vi.fn();
    client.on('joined', told);
    const joined = client.join('r');
    expect(socket().last('join')).not.toHaveProperty('since');
    await socket().joined('r', 7, { memberCount: 3 });
    expect(await joined).toMatchObject({ roomId: 'r', offset: 7, memberCount: 3 });
    expect(told).toHaveBeenCalledOnce();
    await client.join('r');
    expect(socket().of('join')).toHaveLength(1);
  });

  it('are joined again from the last frame seen', async () => {
    const client = await connected();
    void client.join('r');
    void client.join('quiet');
    await socket().joined('r', 7);
    await socket().joined('quiet', 2);
    socket().receive(message(8));
    socket().receive(message(9));
    await reconnect();
    expect(socket().of('join').map(({ roomId, since }) => ({ roomId, since }))).toEqual([
      { roomId: 'r', since: { epoch: 'e1', offset: 9 } },
      { roomId: 'quiet', since: { epoch: 'e1', offset: 2 } },
    ]);
  });

  it('deliver each message once, missed ones too', async () => {
    const client = await connected();
    const seen = offsets(client);
    void client.join('r');
    await socket().joined('r', 2, { messages: [message(1), message(2)] });
    socket().receive(message(3));
    socket().receive(message(3));
    await reconnect();
    await socket().joined('r', 5, { recovered: true, messages: [message(3), message(4), message(5)] });
    socket().receive(message(5));
    socket().receive(message(6));
    expect(seen).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('start over when the hub could not recover', async () => {
    const client = await connected();
    const seen = offsets(client);
    void client.join('r');
    await socket().joined('r', 40);
    await reconnect();
    await socket().joined('r', 2, { epoch: 'e2', messages: [message(1, { epoch: 'e2' }), message(2, { epoch: 'e2' })] });
    socket().receive(message(3, { epoch: 'e2' }));
    expect(seen).toEqual([1, 2, 3]);
    await reconnect();
    expect(socket().last('join')).toMatchObject({ since: { epoch: 'e2', offset: 3 } });
  });

  it('take volatile events as they come', async () => {
    const client = await connected();
    const told = vi.fn();
    client.on('event', told);
    void client.join('r');
    await socket().joined('r', 5);
    const event = { type: 'event', roomId: 'r', userId: 'u', name: 'move' };
    socket().receive(event);
    socket().receive({ ...event, epoch: 'e1', offset: 5 });
    socket().receive({ ...event, epoch: 'e1', offset: 6 });
    expect(told).toHaveBeenCalledTimes(2);
  });

  it('that refuse the session reject the join and are forgotten', async () => {
    const client = await connected();
    const joined = client.join('r').catch((e: { code: string }) => e.code);
    await socket().refuse('join', 'forbidden');
    expect(await joined).toBe('forbidden');
    await reconnect();
    expect(socket().of('join')).toHaveLength(0);
  });

  it('that are lost at a reconnect are told', async () => {
    const client = await connected();
    const lost = vi.fn();
    client.on('room_lost', lost);
    void client.join('r');
    await socket().joined('r', 1);
    await reconnect();
    await socket().refuse('join', 'gone');
    expect(lost.mock.calls[0]?.[0]).toMatchObject({ roomId: 'r', error: { code: 'gone' } });
    expect(client.rooms).toEqual([]);
  });

  it('are asked for again when the hub cannot serve them now', async () => {
    const client = await connected();
    void client.join('r');
    await socket().refuse('join', 'unavailable');
    await vi.advanceTimersByTimeAsync(2_000);
    expect(socket().of('join')).toHaveLength(2);
    expect(client.rooms).toEqual(['r']);
  });

  it('are not joined again after leaving', async () => {
    const client = await connected();
    void client.join('r');
    await socket().joined('r', 1);
    const left = client.leave('r');
    await socket().ack('leave');
    await left;
    await reconnect();
    expect(socket().of('join')).toHaveLength(0);
  });

  it('many of them are joined in windows', async () => {
    const client = newClient();
    for (let i = 0; i < 40; i++) void client.join(`r${i}`);
    client.connect();
    await tick();
    socket().authenticate();
    await tick();
    expect(socket().of('join')).toHaveLength(32);
    for (let i = 0; i < 32; i++) await socket().joined(`r${i}`, 0);
    expect(socket().of('join')).toHaveLength(40);
  });
});

describe('signals', () => {
  it('typing is sent sparingly and stops by itself', async () => {
    const client = await connected();
    const typing = client.typing('r');
    const sent = () => socket().of('typing').map((t) => t.isTyping);
    typing.keystroke();
    typing.keystroke();
    expect(sent()).toEqual([true]);
    await vi.advanceTimersByTimeAsync(2_500);
    typing.keystroke();
    expect(sent()).toEqual([true, true]);
    await vi.advanceTimersByTimeAsync(4_000);
    expect(sent()).toEqual([true, true, false]);
    await vi.advanceTimersByTimeAsync(10_000);
    typing.stop();
    expect(sent()).toEqual([true, true, false]);
  });

  it('typing stops with the message, which says it by itself', async () => {
    const client = await connected();
    client.typing('r').keystroke();
    void client.send('r', 'done');
    expect(socket().sent.map((f) => f.type)).toEqual(['typing', 'message']);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(socket().of('typing')).toHaveLength(1);
    client.typing('r').keystroke();
    expect(socket().last('typing')).toMatchObject({ isTyping: true });
  });

  it('typing is ended by hand when the message must wait', async () => {
    const client = await connected();
    void client.join('r');
    await socket().joined('r', 0);
    await reconnect();
    client.typing('r').keystroke();
    void client.send('r', 'waits for the room');
    expect(socket().sent.map((f) => f.type)).toEqual(['resume', 'join', 'typing', 'typing']);
  });

  it('presence is remembered across reconnects', async () => {
    const client = await connected();
    client.setPresence('away');
    client.setPresence('away');
    expect(socket().of('presence')).toHaveLength(1);
    await reconnect();
    expect(socket().last('presence')).toMatchObject({ status: 'away' });
  });

  it('only the highest read position is sent again', async () => {
    const client = await connected();
    client.read('r', 4);
    client.read('r', 3);
    await socket().ack('read');
    client.read('r', 6);
    await reconnect();
    expect(socket().of('read').map((r) => r.offset)).toEqual([6]);
  });

  it('a listener that throws disturbs nobody', async () => {
    const client = await connected();
    const thrown: (() => void)[] = [];
    const spy = vi.spyOn(globalThis, 'queueMicrotask').mockImplementation((task) => void thrown.push(task));
    const told = vi.fn();
    client.on('notification', () => {
      throw new Error('mine');
    });
    const off = client.on('notification', told);
    socket().receive({ type: 'notification', title: 't', body: 'b' });
    off();
    socket().receive({ type: 'notification', title: 't', body: 'b' });
    spy.mockRestore();
    expect(told).toHaveBeenCalledOnce();
    expect(thrown[0]).toThrow('mine');
  });

  it('frames of another vocabulary come through by name', async () => {
    const client = await connected();
    const told = vi.fn();
    client.on('frame', told);
    socket().receive({ type: 'score', points: 3 });
    expect(told).toHaveBeenCalledWith({ type: 'score', points: 3 });
  });
});
