import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { HubbubClient, Receipt } from '../src/index.js';
import { message, newClient, socket, sockets, tick } from './fake.js';

beforeEach(() => {
  vi.useFakeTimers();
  sockets.length = 0;
});
afterEach(() => vi.useRealTimers());

const hello = (receipts: boolean, sessionId = 's1'): object => ({
  type: 'authenticated', sessionId, userId: 'me', nodeId: 'n', timestamp: '', ...(receipts ? { receipts } : {}),
});

async function enter(receipts = true): Promise<HubbubClient> {
  const client = newClient().connect();
  await tick();
  socket().receive(hello(receipts));
  await tick();
  for (const roomId of ['r', 's']) {
    void client.join(roomId);
    await socket().joined(roomId, 0);
  }
  return client;
}

const told = (): unknown[] => socket().of('delivered').map(({ roomId, offset }) => [roomId, offset]);

describe('receipts', () => {
  it('say what came, one frame for each room and moment, without asking for an answer', async () => {
    await enter();
    for (let offset = 1; offset <= 50; offset++) socket().receive(message(offset));
    socket().receive(message(1, { roomId: 's' }));
    expect(told()).toEqual([]);
    await vi.advanceTimersByTimeAsync(250);
    expect(told()).toEqual([['r', 50], ['s', 1]]);
    expect(socket().last('delivered')).not.toHaveProperty('id');
    socket().receive(message(50));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(told()).toHaveLength(2);
    socket().receive(message(51));
    await vi.advanceTimersByTimeAsync(250);
    expect(told().slice(2)).toEqual([['r', 51]]);
  });

  it('are not sent where the hub keeps none, and none for own or volatile ones', async () => {
    const client = await enter(false);
    socket().receive(message(1));
    await vi.advanceTimersByTimeAsync(1_000);
    expect([told(), client.keepsReceipts]).toEqual([[], false]);
    sockets.length = 0;
    await enter();
    socket().receive(message(1, { userId: 'me' }));
    socket().receive({ type: 'event', roomId: 'r', userId: 'u', name: 'move' });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(told()).toEqual([]);
  });

  it('are spared when the message is read at once', async () => {
    const client = await enter();
    socket().receive(message(1));
    client.read('r', 1);
    await vi.advanceTimersByTimeAsync(1_000);
    expect([told(), socket().of('read')]).toMatchObject([[], [{ offset: 1 }]]);
    // For what was fetched.
    client.delivered('r', 4);
    await vi.advanceTimersByTimeAsync(250);
    expect(told()).toEqual([['r', 4]]);
  });

  it('are said again on the next connection, once the rooms are back', async () => {
    await enter();
    socket().receive(message(3));
    await vi.advanceTimersByTimeAsync(250);
    socket().receive(message(4));
    socket().drop();
    await vi.advanceTimersByTimeAsync(20_000);
    socket().receive(hello(true, 's2'));
    await tick();
    expect(told()).toEqual([]);
    const room = { recovered: true, epoch: 'e1' };
    await socket().ack('resume', { recovered: true, rooms: [{ roomId: 'r', offset: 4, ...room }, { roomId: 's', offset: 0, ...room }] });
    expect(told()).toEqual([['r', 4]]);
  });

  it('begin anew with the room', async () => {
    await enter();
    socket().receive(message(40));
    await vi.advanceTimersByTimeAsync(250);
    socket().receive({ type: 'joined', roomId: 'r', epoch: 'e2', offset: 1, recovered: false, members: [], memberCount: 1, messages: [message(1, { epoch: 'e2' })] });
    await vi.advanceTimersByTimeAsync(250);
    expect(told()).toEqual([['r', 40], ['r', 1]]);
  });

  it('of others are heard by room and asked for', async () => {
    const client = await enter();
    const heard: Receipt[] = [];
    const end = client.onReceipt('r', (receipt) => heard.push(receipt));
    socket().receive({ type: 'receipt', roomId: 'r', userId: 'u', offset: 3, status: 'delivered' });
    socket().receive({ type: 'receipt', roomId: 's', userId: 'u', offset: 3, status: 'read' });
    end();
    socket().receive({ type: 'receipt', roomId: 'r', userId: 'u', offset: 4, status: 'read' });
    expect(heard).toMatchObject([{ roomId: 'r', offset: 3, status: 'delivered' }]);
    const asked = client.receipts('r', { after: 'a' });
    expect(socket().last('receipts')).toMatchObject({ roomId: 'r', after: 'a' });
    const receipts = [{ userId: 'u', delivered: 3, read: 0 }];
    await socket().ack('receipts', { roomId: 'r', epoch: 'e1', receipts, hasMore: false });
    expect(await asked).toMatchObject({ receipts, hasMore: false });
  });
});
