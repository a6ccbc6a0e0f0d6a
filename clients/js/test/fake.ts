import { vi } from 'vitest';
import { HubbubClient, type ClientOptions, type Frame, type WebSocketConstructor } from '../src/index.js';

/** A WebSocket whose other end is the test. */
export class FakeSocket {
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  sent: Frame[] = [];
  closedByClient = false;

  constructor(
    readonly url: string,
    readonly protocols?: string[],
  ) {
    sockets.push(this);
  }

  send(data: string): void {
    this.sent.push(JSON.parse(data) as Frame);
  }

  close(): void {
    this.closedByClient = true;
  }

  /** The hub sends a frame. */
  receive(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) } as never);
  }

  raw(data: unknown): void {
    this.onmessage?.({ data } as never);
  }

  /** The hub, or the network, closes. */
  drop(code = 1006, reason = ''): void {
    this.onclose?.({ code, reason } as never);
  }

  authenticate(sessionId = 's1'): void {
    this.receive({ type: 'authenticated', sessionId, userId: 'me', nodeId: 'n', timestamp: '2026-01-01T00:00:00.000Z' });
  }

  /** A hub that does not know the earlier session, or only that it is over. */
  async forgot(): Promise<void> {
    if (this.of('resume').length) await this.ack('resume', { recovered: false, rooms: [] });
  }

  of(type: string): Frame[] {
    return this.sent.filter((frame) => frame.type === type);
  }

  last(type: string): Frame {
    const frame = this.of(type).at(-1);
    if (!frame) throw new Error(`no ${type} was sent`);
    return frame;
  }

  async ack(type: string, fields: object = {}): Promise<void> {
    this.receive({ type: 'ack', id: this.last(type).id, ok: true, ...fields });
    await tick();
  }

  async refuse(type: string, code: string, fields: object = {}): Promise<void> {
    this.receive({ type: 'error', id: this.last(type).id, code, message: code, ...fields });
    await tick();
  }

  async joined(roomId: string, offset: number, more: object = {}): Promise<void> {
    const frame = this.of('join').find((join) => join.roomId === roomId);
    if (!frame) throw new Error(`no join of ${roomId}`);
    const fields = { roomId, epoch: 'e1', offset, recovered: false, ...more };
    this.receive({ type: 'joined', members: [], memberCount: 1, messages: [], ...fields });
    this.receive({ type: 'ack', id: frame.id, ok: true, ...fields });
    await tick();
  }
}

export const sockets: FakeSocket[] = [];

export function socket(): FakeSocket {
  const last = sockets.at(-1);
  if (!last) throw new Error('no socket was opened');
  return last;
}

/** Lets promises settle without moving the clock. */
export async function tick(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

export function newClient(options: ClientOptions = {}): HubbubClient {
  return new HubbubClient({
    url: 'http://hub.test',
    WebSocket: FakeSocket as unknown as WebSocketConstructor,
    random: () => 0.5,
    ...options,
  });
}

/** A client with an open session. */
export async function connected(options: ClientOptions = {}): Promise<HubbubClient> {
  const client = newClient(options).connect();
  await tick();
  socket().authenticate();
  await tick();
  return client;
}

export function message(offset: number, more: object = {}): object {
  return { type: 'message', id: `m${offset}`, roomId: 'r', userId: 'u', username: 'U', content: `c${offset}`, epoch: 'e1', offset, timestamp: '', ...more };
}
