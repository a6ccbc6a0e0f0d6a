import { Connection } from './connection.js';
import { Delivered } from './delivered.js';
import { Emitter } from './emitter.js';
import { HubbubError } from './errors.js';
import { Outbox } from './outbox.js';
import { frameError, Requests } from './requests.js';
import { Rooms } from './rooms.js';
import { Throttle } from './throttle.js';
import { TypingNotifier } from './typing.js';
import type {
  ClientOptions,
  ConnectionState,
  CustomEvent,
  EventMap,
  Events,
  Frame,
  HistoryPage,
  Joined,
  MembersPage,
  Position,
  PresenceStatus,
  Receipt,
  ReceiptsPage,
  SendOptions,
  Sent,
  TokenSource,
} from './types.js';
import { newKey } from './util.js';

/**
 * A client of one hub. Nothing happens before `connect()`; listeners and joins may come first.
 * `E` says what the custom events of your application carry, by name.
 */
export class HubbubClient<E extends object = Events> extends Emitter<EventMap> {
  readonly #options: ClientOptions;
  readonly #connection: Connection;
  readonly #requests = new Requests();
  readonly #outbox: Outbox;
  readonly #rooms: Rooms;
  readonly #throttle: Throttle;
  readonly #typing = new Map<string, TypingNotifier>();
  /** Highest offset read per room that the hub has not confirmed. */
  readonly #reads = new Map<string, number>();
  readonly #delivered = new Delivered(
    () => this.#ready,
    (roomId, offset) => this.#trySend({ type: 'delivered', roomId, offset }),
  );
  /** The session that has the rooms, until another one took them over. */
  #session: string | undefined;
  #presence: PresenceStatus = 'online';
  #ready = false;

  constructor(options: ClientOptions = {}) {
    super();
    this.#options = options;
    this.#connection = new Connection(options, {
      stateChanged: (state) => this.emit('state', state),
      frame: (frame) => this.#frame(frame),
      up: () => void this.#up(),
      down: (code, final, reason) => this.#down(code, final, reason),
    });
    this.#throttle = new Throttle(options.throttle ?? {}, (frame) => this.#trySend(frame));
    const request = (frame: Frame) => this.request(frame);
    this.#outbox = new Outbox(
      { ready: () => this.#ready, request, joining: (roomId) => this.#rooms.joining(roomId) },
      options.queue,
    );
    this.#rooms = new Rooms({
      up: () => this.#connection.isUp,
      request,
      deliver: (frame) => this.#deliver(frame),
      lost: (roomId, error) => this.emit('room_lost', { roomId, error }),
      joined: () => this.#outbox.pump(),
      unresponsive: () => this.#connection.restart('the hub did not answer'),
    });
  }

  /** Where the connection stands; the same object until the `state` event brings another. */
  get state(): ConnectionState {
    return this.#connection.state;
  }

  /** The rooms joined or being joined. */
  get rooms(): string[] {
    return this.#rooms.ids;
  }

  /** Connects, and stays connected until `close()` or a terminal close code. */
  connect(): this {
    this.#connection.open();
    return this;
  }

  /** Leaves for good: whatever is under way or queued is rejected with `closed`, rooms are forgotten. */
  close(): void {
    this.#connection.close('closed by this client');
  }

  /** Tries at once instead of after the pause that `state.retryAt` tells. */
  retryNow(): void {
    this.#connection.retryNow();
  }

  /** Replaces the token; an open session takes it over without a new connection. */
  async setToken(token: TokenSource): Promise<void> {
    this.#connection.token = token;
    if (this.#connection.isUp) await this.#authenticate();
  }

  /**
   * Joins a room and stays in it across reconnects. Resolves when the hub took the session in, waits
   * while there is no connection, rejects with the hub's reason (`forbidden`, `too_many_rooms`).
   * With `since`, what came after that position is delivered too.
   */
  join(roomId: string, since?: Position): Promise<Joined> {
    return this.#rooms.join(roomId, since);
  }

  /** Leaves a room; without a connection it is only not joined again. */
  async leave(roomId: string): Promise<void> {
    this.#typing.get(roomId)?.stop();
    this.#typing.delete(roomId);
    this.#reads.delete(roomId);
    this.#delivered.forget(roomId);
    this.#throttle.clear(roomId);
    this.#rooms.forget(roomId, new HubbubError('closed', 'The room was left before it was joined.'));
    if (this.#connection.isUp) await this.request({ type: 'leave', roomId });
  }

  /**
   * Sends a message; resolves when the hub has stored it. Without a connection it waits in the queue.
   * The key makes the hub store it once however often it is sent; give the key of a message that
   * failed to try it again.
   */
  send(roomId: string, content: string, { data, key = newKey() }: SendOptions = {}): Promise<Sent> {
    const typing = this.#typing.get(roomId);
    if (this.#ready) typing?.sent();
    else typing?.stop();
    return this.#outbox.send({ type: 'message', roomId, content, data, key });
  }

  /** Sends to one user: queued, repeated and stored once like `send`. The sender gets no copy. */
  sendDirect(userId: string, content: string, { data, key = newKey() }: SendOptions = {}): Promise<Sent> {
    return this.#outbox.send({ type: 'direct', userId, content, data, key });
  }

  /**
   * Publishes a custom event: queued, repeated and stored once like `send`. `volatile` ones are
   * dropped without a connection, never stored, and kept apart by `throttle`.
   */
  async publish<K extends keyof E & string>(
    roomId: string,
    name: K,
    data?: E[K],
    { volatile = false, key = newKey() }: { volatile?: boolean; key?: string } = {},
  ): Promise<void> {
    const frame: Frame = { type: 'event', roomId, name, data };
    if (volatile) this.#throttle.offer({ ...frame, volatile });
    else await this.#outbox.send({ ...frame, key });
  }

  /** Calls `listener` with the data of each custom event of this name, from any room. */
  onEvent<K extends keyof E & string>(name: K, listener: (data: E[K], event: CustomEvent) => void): () => void {
    return this.on('event', (event) => event.name === name && listener(event.data as E[K], event));
  }

  /** The typing helper of a room: call `keystroke()` on input, it stops by itself. */
  typing(roomId: string): TypingNotifier {
    let notifier = this.#typing.get(roomId);
    if (!notifier) {
      notifier = new TypingNotifier((isTyping) => this.#trySend({ type: 'typing', roomId, isTyping }));
      this.#typing.set(roomId, notifier);
    }
    return notifier;
  }

  /** Shows this session as online, away or offline; remembered across reconnects. */
  setPresence(status: PresenceStatus): void {
    if (status === this.#presence) return;
    this.#presence = status;
    this.#trySend({ type: 'presence', status });
  }

  /** Marks everything up to `offset` as read; the highest is sent again after a reconnect. */
  read(roomId: string, offset: number): void {
    if (offset <= (this.#reads.get(roomId) ?? -1)) return;
    this.#reads.set(roomId, offset);
    // What is read is delivered.
    this.#delivered.came(roomId, offset, this.#ready);
    if (this.#ready) this.#sendRead(roomId, offset);
  }

  /** The hub keeps receipts for this session: `delivered` is told by itself, and `receipts` answers. */
  get keepsReceipts(): boolean {
    return this.#delivered.on;
  }

  /**
   * Says that this client has everything up to `offset`. For what was fetched: what comes by itself is
   * told by itself, together and at most four times a second.
   */
  delivered(roomId: string, offset: number): void {
    this.#delivered.came(roomId, offset);
  }

  /** Calls `listener` when somebody has got (own messages) or read (all) more of a room. */
  onReceipt(roomId: string, listener: (receipt: Receipt) => void): () => void {
    return this.on('receipt', (receipt) => receipt.roomId === roomId && listener(receipt));
  }

  /** A page of how far the users of a room are; `after` is the last `userId` of the page before. */
  async receipts(roomId: string, page: { after?: string; limit?: number } = {}): Promise<ReceiptsPage> {
    return (await this.request({ type: 'receipts', roomId, ...page })) as unknown as ReceiptsPage;
  }

  /** A page of a room's history, oldest first: before or after an offset, the newest without either. */
  async history(roomId: string, page: { before?: number; after?: number; limit?: number } = {}): Promise<HistoryPage> {
    return (await this.request({ type: 'history', roomId, ...page })) as unknown as HistoryPage;
  }

  /** A page of a room's members; `after` is the last `userId` of the page before. */
  async members(roomId: string, page: { after?: string; limit?: number } = {}): Promise<MembersPage> {
    return (await this.request({ type: 'members', roomId, ...page })) as unknown as MembersPage;
  }

  /** Sends any request, also one of a vocabulary of your own, and resolves with its `ack`. Never queued. */
  request(frame: Frame, timeoutMs = this.#options.requestTimeoutMs ?? 10_000): Promise<Frame> {
    return this.#requests.start(frame, timeoutMs, (withId) => this.#connection.send(withId));
  }

  async #up(): Promise<void> {
    if (this.#presence !== 'online') this.#trySend({ type: 'presence', status: this.#presence });
    const { state } = this;
    const before = this.#session;
    if (state.status === 'connected') this.#session = state.sessionId;
    await this.#rooms.rejoin(before);
    // The connection may have gone, and even come back, meanwhile.
    if (this.state !== state || !this.#connection.isUp) return;
    this.#ready = true;
    this.#outbox.pump();
    for (const [roomId, offset] of this.#reads) this.#sendRead(roomId, offset);
    this.#delivered.tell();
  }

  #down(code: number, final: boolean, reason: string): void {
    this.#ready = false;
    if (final) this.#session = undefined;
    this.#delivered.down();
    this.#throttle.clear();
    this.#rooms.down();
    if (code === 1009) this.#outbox.refuseInFlight(new HubbubError('too_large', 'The frame was too big for the hub.'));
    if (final) this.#outbox.clear(new HubbubError('closed', reason));
    else this.#outbox.down();
    this.#requests.clear(new HubbubError('connection_lost', 'The connection broke before the hub answered.'));
    if (final) this.#rooms.clear(new HubbubError('closed', reason));
  }

  #frame(frame: Frame): void {
    if (frame.type === 'ack' || (frame.type === 'error' && frame.id !== undefined)) {
      // At once: the next frame may be a message of one of these rooms.
      this.#rooms.resumed(frame);
      this.#requests.answer(frame);
    } else if (frame.type === 'error') {
      this.emit('error', frameError(frame));
    } else if (frame.type === 'joined') {
      this.#rooms.joinedFrame(frame);
    } else if (frame.type === 'authenticated') {
      this.#delivered.on = frame.receipts === true;
      this.#deliver(frame);
    } else if ((frame.type !== 'message' && frame.type !== 'event') || this.#rooms.advance(frame)) {
      this.#deliver(frame);
      if (frame.type === 'token_expiring' && typeof this.#connection.token === 'function') void this.#authenticate();
    }
  }

  #deliver(frame: Frame): void {
    const { type, roomId, offset, userId } = frame;
    if (type === 'joined' && !frame.recovered) this.#delivered.forget(roomId as string);
    if ((type === 'message' || type === 'event') && offset && userId !== this.#userId) {
      this.#delivered.came(roomId as string, offset as number);
    }
    this.emit('frame', frame);
    // `state`, `room_lost` and `frame` are this client's own words, not the hub's.
    if (!/^(state|room_lost|frame)$/.test(frame.type)) this.emit(frame.type as keyof EventMap, frame as never);
  }

  get #userId(): string | undefined {
    return this.state.status === 'connected' ? this.state.userId : undefined;
  }

  async #authenticate(): Promise<void> {
    try {
      const token = await this.#connection.currentToken();
      if (this.#connection.isUp) await this.request({ type: 'auth', token });
    } catch (error) {
      this.emit('error', error instanceof HubbubError ? error : new HubbubError('unauthorized', String(error)));
    }
  }

  #sendRead(roomId: string, offset: number): void {
    this.request({ type: 'read', roomId, offset }).then(
      () => this.#reads.get(roomId) === offset && this.#reads.delete(roomId),
      () => {}, // Sent again after the next reconnect.
    );
  }

  /** For what may be lost: nothing happens without a connection. */
  #trySend(frame: Frame): void {
    try {
      this.#connection.send(frame);
    } catch {
      /* at most once */
    }
  }
}
