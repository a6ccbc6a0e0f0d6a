import { HubbubError } from './errors.js';
import type { Frame, Joined, Position } from './types.js';

interface Waiter {
  resolve: (joined: Joined) => void;
  reject: (error: HubbubError) => void;
}

interface Room {
  roomId: string;
  /** The last frame seen, or the place the hub named at the join. */
  position: Position | undefined;
  joined: Joined | undefined;
  /** The hub confirmed the membership on the present connection. */
  member: boolean;
  /** A join is under way. */
  asking: boolean;
  waiters: Waiter[];
  retryTimer: ReturnType<typeof setTimeout> | undefined;
}

export interface RoomsPort {
  up(): boolean;
  request(frame: Frame): Promise<Frame>;
  /** Hands a frame to the listeners. */
  deliver(frame: Frame): void;
  lost(roomId: string, error: HubbubError): void;
  /** A room is joined; messages that waited for it may go. */
  joined(): void;
  /** The hub does not answer joins any more. */
  unresponsive(): void;
}

/** Joins sent at once after a reconnect, below the hub's default burst of 100. */
const JOIN_WINDOW = 32;
const RETRY_MS = 2_000;
const PASSING = /^(unavailable|rate_limited|internal)$/;

/** The rooms this client wants to be in, and how far it has read each. */
export class Rooms {
  readonly #port: RoomsPort;
  readonly #rooms = new Map<string, Room>();
  #resuming = false;

  constructor(port: RoomsPort) {
    this.#port = port;
  }

  get ids(): string[] {
    return [...this.#rooms.keys()];
  }

  /** True while a wanted room has not been joined on this connection. */
  joining(roomId: unknown): boolean {
    return this.#rooms.get(roomId as string)?.member === false;
  }

  /** Settles when the hub took or refused the session; waits for a connection while there is none. */
  join(roomId: string, since?: Position): Promise<Joined> {
    const room = this.#rooms.get(roomId) ?? {
      roomId,
      position: since,
      joined: undefined,
      member: false,
      asking: false,
      waiters: [],
      retryTimer: undefined,
    };
    if (room.member && room.joined) return Promise.resolve(room.joined);
    const first = !this.#rooms.has(roomId);
    this.#rooms.set(roomId, room);
    return new Promise((resolve, reject) => {
      room.waiters.push({ resolve, reject });
      if (first && this.#port.up()) void this.#send(room);
    });
  }

  /** Forgets the room; its frames are no longer asked for after a reconnect. */
  forget(roomId: string, error: HubbubError): void {
    const room = this.#rooms.get(roomId);
    if (!room) return;
    this.#rooms.delete(roomId);
    clearTimeout(room.retryTimer);
    for (const waiter of room.waiters.splice(0)) waiter.reject(error);
  }

  clear(error: HubbubError): void {
    for (const roomId of this.ids) this.forget(roomId, error);
  }

  /** The connection is gone: every membership must be asked for again. */
  down(): void {
    this.#resuming = false;
    for (const room of this.#rooms.values()) {
      room.member = false;
      clearTimeout(room.retryTimer);
    }
  }

  /** Takes all rooms back, each from where it was left: those of an earlier session in one frame. */
  async rejoin(sessionId: string | undefined): Promise<void> {
    const left = [...this.#rooms.values()].filter(({ joined, position }) => joined && position);
    if (sessionId && left.length) {
      const positions = Object.fromEntries(left.map(({ roomId, position }) => [roomId, position]));
      this.#resuming = true;
      try {
        await this.#port.request({ type: 'resume', sessionId, positions });
      } catch (error) {
        if ((error as HubbubError).code === 'timeout') return this.#port.unresponsive();
        // A hub that knows no `resume`, or not now: room by room.
      }
      this.#resuming = false;
    }
    const rooms = [...this.#rooms.values()].filter(({ member }) => !member);
    for (let at = 0; at < rooms.length; at += JOIN_WINDOW) {
      await Promise.all(rooms.slice(at, at + JOIN_WINDOW).map((room) => this.#send(room)));
    }
  }

  /** Takes a frame with a position; false when it has been seen before. */
  advance(frame: Frame): boolean {
    const { roomId, epoch, offset } = frame as Frame & Position;
    const room = this.#rooms.get(roomId as string);
    if (!room || typeof offset !== 'number') return true;
    const known = room.position;
    if (known && (epoch === undefined || epoch === known.epoch) && offset <= known.offset) return false;
    room.position = { epoch: epoch ?? known?.epoch ?? '', offset };
    return true;
  }

  /** Takes a `joined` frame: first the frame itself, then what was missed, each as if it had just come. */
  joinedFrame(frame: Frame): void {
    const joined = frame as unknown as Joined;
    const room = this.#rooms.get(joined.roomId);
    if (!room) return;
    room.joined = joined;
    const { epoch, offset, messages = [] } = joined;
    if (!joined.recovered || room.position?.epoch !== epoch) room.position = undefined;
    this.#port.deliver(frame);
    for (const missed of messages) {
      const one = missed as unknown as Frame;
      if (this.advance(one)) this.#port.deliver(one);
    }
    room.position = { epoch, offset: Math.max(offset, room.position?.offset ?? 0) };
  }

  /** Takes the answer to `resume`, if it is one: each room as if it had been joined. */
  resumed({ type, rooms }: Frame): void {
    if (!this.#resuming || type !== 'ack' || !Array.isArray(rooms)) return;
    this.#resuming = false;
    for (const { code, roomId, messages = [], ...at } of rooms as (Joined & { code?: string })[]) {
      const room = this.#rooms.get(roomId);
      if (code) continue; // Asked for by itself, and told why not.
      if (!room) {
        // Left while there was no connection.
        this.#port.request({ type: 'leave', roomId }).catch(() => {});
        continue;
      }
      room.member = true;
      this.joinedFrame({ ...room.joined, ...at, type: 'joined', roomId, messages, resumed: true });
      for (const waiter of room.waiters.splice(0)) waiter.resolve(room.joined as Joined);
    }
  }

  async #send(room: Room): Promise<void> {
    if (room.asking || this.#rooms.get(room.roomId) !== room) return;
    room.asking = true;
    const frame: Frame = { type: 'join', roomId: room.roomId };
    if (room.position) frame.since = room.position;
    try {
      const ack = await this.#port.request(frame);
      room.member = true;
      const joined = room.joined ?? ({ members: [], memberCount: 0, messages: [], ...ack } as unknown as Joined);
      for (const waiter of room.waiters.splice(0)) waiter.resolve(joined);
      this.#port.joined();
    } catch (error) {
      this.#refused(room, error as HubbubError);
    } finally {
      room.asking = false;
    }
  }

  #refused(room: Room, error: HubbubError): void {
    if (this.#rooms.get(room.roomId) !== room) return;
    if (/^(connection_lost|not_connected|closed)$/.test(error.code)) return; // `rejoin` asks again.
    if (error.code === 'timeout') return this.#port.unresponsive();
    if (PASSING.test(error.code)) {
      clearTimeout(room.retryTimer);
      room.retryTimer = setTimeout(() => void this.#send(room), error.retryAfterMs ?? RETRY_MS);
      return;
    }
    const waited = room.waiters.length > 0;
    this.forget(room.roomId, error);
    if (!waited) this.#port.lost(room.roomId, error);
  }
}
