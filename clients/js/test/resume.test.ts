import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { HubbubClient, Joined, Message } from '../src/index.js';
import { connected, message, socket, sockets, tick } from './fake.js';

beforeEach(() => {
  vi.useFakeTimers();
  sockets.length = 0;
});
afterEach(() => vi.useRealTimers());

/** What a client's listeners hear, in order. */
function heard(client: HubbubClient): string[] {
  const seen: string[] = [];
  client.on('message', (m: Message) => seen.push(`${m.roomId}${m.offset}`));
  client.on('joined', (joined: Joined) => seen.push(`joined ${joined.roomId} ${joined.recovered}`));
  return seen;
}

async function back(sessionId = 's2'): Promise<void> {
  socket().drop();
  await vi.advanceTimersByTimeAsync(20_000);
  socket().authenticate(sessionId);
  await tick();
}

async function inRooms(...rooms: [string, number][]): Promise<HubbubClient> {
  const client = await connected();
  for (const [roomId, offset] of rooms) {
    void client.join(roomId);
    await socket().joined(roomId, offset, { members: [{ userId: 'u', status: 'online', socketCount: 1 }] });
  }
  return client;
}

describe('a session that comes back', () => {
  it('asks for all its rooms in one frame, each from the last frame seen', async () => {
    const client = await inRooms(['r', 7], ['quiet', 2]);
    const seen = heard(client);
    socket().receive(message(8));
    await back();
    expect(socket().sent.map(({ type }) => type)).toEqual(['resume']);
    expect(socket().last('resume')).toMatchObject({
      sessionId: 's1',
      positions: { r: { epoch: 'e1', offset: 8 }, quiet: { epoch: 'e1', offset: 2 } },
    });
    await socket().ack('resume', {
      recovered: true,
      rooms: [
        { roomId: 'r', recovered: true, epoch: 'e1', offset: 8 },
        { roomId: 'quiet', recovered: true, epoch: 'e1', offset: 2 },
      ],
    });
    for (const offset of [8, 9, 10]) socket().receive(message(offset));
    expect(seen).toEqual(['r8', 'joined r true', 'joined quiet true', 'r9', 'r10']);
    expect(socket().of('join')).toHaveLength(0);
    // What waited goes out now, and the next time the newer session counts.
    void client.send('r', 'x');
    expect(socket().of('message')).toHaveLength(1);
    await back('s3');
    expect(socket().last('resume')).toMatchObject({ sessionId: 's2', positions: { r: { offset: 10 } } });
  });

  it('tells each room that came back with what was known of it', async () => {
    const client = await inRooms(['r', 7]);
    const told: Joined[] = [];
    client.on('joined', (joined) => told.push(joined));
    await back();
    await socket().ack('resume', { recovered: true, rooms: [{ roomId: 'r', recovered: true, epoch: 'e1', offset: 7 }] });
    expect(told).toMatchObject([{ roomId: 'r', resumed: true, recovered: true, messages: [], members: [{ userId: 'u' }] }]);
    expect(await client.join('r')).toMatchObject({ roomId: 'r', offset: 7 });
  });

  it('starts over where the hub has a hole, before anything newer', async () => {
    const client = await inRooms(['r', 7]);
    const seen = heard(client);
    await back();
    const room = { roomId: 'r', recovered: false, epoch: 'e2', offset: 2, messages: [message(1, { epoch: 'e2' }), message(2, { epoch: 'e2' })] };
    // Both frames come in one go, as some sockets hand them over.
    socket().receive({ type: 'ack', id: socket().last('resume').id, ok: true, recovered: false, rooms: [room] });
    socket().receive(message(3, { epoch: 'e2' }));
    await tick();
    expect(seen).toEqual(['joined r false', 'r1', 'r2', 'r3']);
  });

  it('joins room by room when the hub does not know it, or does not know how', async () => {
    const client = await inRooms(['r', 7]);
    await back();
    await socket().ack('resume', { recovered: false, rooms: [] });
    expect(socket().last('join')).toMatchObject({ roomId: 'r', since: { epoch: 'e1', offset: 7 } });
    await socket().joined('r', 7, { recovered: true });
    await back('s3');
    await socket().refuse('resume', 'bad_request');
    expect(socket().last('join')).toMatchObject({ roomId: 'r', since: { epoch: 'e1', offset: 7 } });
    expect(client.rooms).toEqual(['r']);
  });

  it('joins what the answer does not have, and hears why it may not', async () => {
    const client = await inRooms(['r', 7], ['secret', 3]);
    const lost = vi.fn();
    client.on('room_lost', lost);
    socket().drop();
    void client.join('new');
    await vi.advanceTimersByTimeAsync(20_000);
    socket().authenticate('s2');
    await tick();
    await socket().ack('resume', {
      recovered: false,
      rooms: [
        { roomId: 'r', recovered: true, epoch: 'e1', offset: 7 },
        { roomId: 'secret', recovered: false, code: 'forbidden' },
      ],
    });
    expect(socket().of('join').map(({ roomId }) => roomId)).toEqual(['secret', 'new']);
    const secret = socket().of('join')[0];
    socket().receive({ type: 'error', id: secret?.id, code: 'forbidden', message: 'no' });
    await socket().joined('new', 0);
    expect(lost.mock.calls[0]?.[0]).toMatchObject({ roomId: 'secret', error: { code: 'forbidden' } });
    expect(client.rooms).toEqual(['r', 'new']);
  });

  it('leaves rooms that were left while there was no connection', async () => {
    const client = await inRooms(['r', 7], ['left', 3]);
    socket().drop();
    await client.leave('left');
    await vi.advanceTimersByTimeAsync(20_000);
    socket().authenticate('s2');
    await tick();
    expect(socket().last('resume').positions).toEqual({ r: { epoch: 'e1', offset: 7 } });
    await socket().ack('resume', {
      recovered: false,
      rooms: [
        { roomId: 'r', recovered: true, epoch: 'e1', offset: 7 },
        { roomId: 'left', recovered: false, epoch: 'e1', offset: 3, messages: [] },
      ],
    });
    expect(socket().last('leave')).toMatchObject({ roomId: 'left' });
  });

  it('keeps messages until its rooms are back', async () => {
    const client = await inRooms(['r', 7]);
    await back();
    void client.send('r', 'waits');
    expect(socket().of('message')).toHaveLength(0);
    await socket().ack('resume', { recovered: true, rooms: [{ roomId: 'r', recovered: true, epoch: 'e1', offset: 7 }] });
    expect(socket().of('message')).toHaveLength(1);
  });

  it('starts a new connection when the hub does not answer', async () => {
    const client = await inRooms(['r', 7]);
    await back();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(client.state.status).toBe('reconnecting');
    await vi.advanceTimersByTimeAsync(20_000);
    socket().authenticate('s3');
    await tick();
    // What became of the first request is not known: the hub knows by now.
    expect(socket().last('resume')).toMatchObject({ sessionId: 's2' });
    await socket().ack('resume', { recovered: false, rooms: [] });
    expect(socket().last('join')).toMatchObject({ since: { offset: 7 } });
  });

  it('does not come back after it was closed', async () => {
    const client = await inRooms(['r', 7]);
    client.close();
    client.connect();
    await tick();
    socket().authenticate('s2');
    await tick();
    expect(socket().sent).toEqual([]);
    expect(client.rooms).toEqual([]);
  });
});
