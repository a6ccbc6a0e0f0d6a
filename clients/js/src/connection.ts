import { backoffMs, closeReason, isTerminal } from './backoff.js';
import { Batcher } from './batcher.js';
import { HubbubError } from './errors.js';
import type { Authenticated, ClientOptions, ConnectionState, Frame, TokenSource, WebSocketLike } from './types.js';
import { byteLength, hubUrl } from './util.js';

/** A connection that lived this long starts the backoff from the beginning. */
const STABLE_MS = 5_000;
/** How long a probe waits for a sign of life before the connection counts as dead. */
const PROBE_MS = 5_000;
/** The same when the network says that it is gone. */
const OFFLINE_PROBE_MS = 2_000;

/** What the connection tells its owner. */
export interface ConnectionHandler {
  stateChanged(state: ConnectionState): void;
  /** Called for each frame, `authenticated` included. */
  frame(frame: Frame): void;
  /** The session is open; called once per connection. */
  up(): void;
  /** An open session is gone; with `final` the client is closed for good. */
  down(code: number, final: boolean, reason: string): void;
}

/** One WebSocket at a time: connects, watches it, and comes back when it breaks. */
export class Connection {
  state: ConnectionState = { status: 'closed', reason: 'not connected yet' };
  token: TokenSource | undefined;

  readonly #options: ClientOptions;
  readonly #handler: ConnectionHandler;
  readonly #maxFrameBytes: number;
  readonly #batcher: Batcher;
  #socket: WebSocketLike | undefined;
  #up = false;
  #upSince = 0;
  #attempt = 0;
  #renewed = false;
  /** Counts attempts and closes, so that a token that comes late is not used. */
  #generation = 0;
  #retryAfterMs: number | undefined;
  /** The pause under way was set by the hub, so the page coming back does not cut it short. */
  #patient = false;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #watchTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: ClientOptions, handler: ConnectionHandler) {
    this.#options = options;
    this.#handler = handler;
    this.#maxFrameBytes = options.maxFrameBytes ?? 65_536;
    this.#batcher = new Batcher(options.batchMs ?? 0, this.#maxFrameBytes, (text) => this.#socket?.send(text));
    this.token = options.token;
  }

  get isUp(): boolean {
    return this.#up;
  }

  open(): void {
    if (this.state.status !== 'closed') return;
    this.#watchPage(true);
    this.#attempt = 0;
    this.#renewed = false;
    this.#setState({ status: 'connecting' });
    void this.#dial();
  }

  close(reason: string): void {
    if (this.state.status !== 'closed') this.#end(1000, reason, true);
  }

  /** Starts the next attempt at once. Does nothing unless one is being waited for. */
  retryNow(): void {
    if (this.state.status !== 'reconnecting' || this.state.retryAt === null) return;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    this.#setState({ ...this.state, retryAt: null });
    void this.#dial();
  }

  /** Breaks the connection and starts over, for a hub that stopped answering. */
  restart(reason: string): void {
    if (this.#socket) this.#end(4408, reason, false);
  }

  /** Sends a frame; throws `too_large` or `not_connected`. */
  send(frame: Frame): void {
    const text = JSON.stringify(frame);
    if (byteLength(text) > this.#maxFrameBytes) {
      throw new HubbubError('too_large', `A frame may have ${this.#maxFrameBytes} bytes.`);
    }
    if (!this.#up || !this.#socket) throw new HubbubError('not_connected', 'There is no connection to the hub.');
    this.#batcher.add(frame, text);
  }

  async currentToken(): Promise<string | undefined> {
    return typeof this.token === 'function' ? await this.token() : this.token;
  }

  async #dial(): Promise<void> {
    const generation = ++this.#generation;
    this.#watch(this.#options.connectTimeoutMs ?? 10_000, () => this.#end(1006, 'the hub did not answer in time', false));
    let socket: WebSocketLike;
    try {
      const token = await this.currentToken();
      if (generation !== this.#generation) return;
      const Socket = this.#options.WebSocket ?? (globalThis.WebSocket as unknown as ClientOptions['WebSocket']);
      if (!Socket) throw new HubbubError('bad_request', 'No WebSocket here: pass one in the options.');
      const url = hubUrl(this.#options.url);
      socket = token ? new Socket(url, ['hubbub', token]) : new Socket(url);
    } catch (error) {
      if (generation !== this.#generation) return;
      const reason = error instanceof Error ? error.message : String(error);
      // Refused is refused; anything else (the token's server is away) may pass.
      const refused = error instanceof HubbubError && /^(unauthorized|forbidden|bad_request)$/.test(error.code);
      this.#end(refused ? 4401 : 1006, reason, refused);
      return;
    }
    this.#socket = socket;
    socket.onmessage = (event: { data: unknown }) => this.#receive(event.data);
    socket.onclose = (event: { code: number; reason: string }) => this.#end(event.code, closeReason(event.code, event.reason), false);
    socket.onerror = () => {};
  }

  #receive(data: unknown): void {
    let frame: Frame;
    try {
      frame = JSON.parse(data as string) as Frame;
    } catch {
      return;
    }
    if (typeof frame?.type !== 'string') return;
    if (!this.#up && frame.type === 'authenticated') {
      const { sessionId, userId } = frame as unknown as Authenticated;
      this.#up = true;
      this.#upSince = Date.now();
      this.#retryAfterMs = undefined;
      this.#setState({ status: 'connected', sessionId, userId });
      if (this.#up) this.#handler.frame(frame);
      if (this.#up) this.#handler.up();
    } else {
      if (frame.type === 'closing') this.#retryAfterMs = frame.retryAfterMs as number | undefined;
      this.#handler.frame(frame);
    }
    if (this.#up) this.#beat();
  }

  /** The one way a connection or an attempt ends. */
  #end(code: number, reason: string, final: boolean): void {
    const socket = this.#socket;
    const wasUp = this.#up;
    // What waits in the batch may still go when this side closes a connection that works.
    if (final && wasUp) this.#batcher.flush();
    this.#batcher.clear();
    this.#generation++;
    this.#up = false;
    this.#socket = undefined;
    clearTimeout(this.#watchTimer);
    clearTimeout(this.#retryTimer);
    if (socket) {
      // A dead connection can take long to report its end: stop listening before closing.
      socket.onmessage = socket.onclose = null;
      try {
        socket.close(1000);
      } catch {
        /* it was closing already */
      }
    }
    const why = reason || closeReason(code, '');
    const asked = this.#retryAfterMs;
    this.#retryAfterMs = undefined;
    this.#patient = asked !== undefined;
    // A token function may bring what the hub misses: one try, and another after each stable connection.
    const stable = wasUp && Date.now() - this.#upSince >= STABLE_MS;
    if (stable) this.#renewed = false;
    const renewable = code === 4401 && typeof this.token === 'function' && !this.#renewed;
    if (renewable) this.#renewed = true;
    if (final || (isTerminal(code) && !renewable)) {
      this.#watchPage(false);
      this.#setState(code === 1000 ? { status: 'closed', reason: why } : { status: 'closed', reason: why, code });
      this.#handler.down(code, true, why);
      return;
    }
    if (stable) this.#attempt = 0;
    const { baseMs = 500, capMs = 30_000 } = this.#options.backoff ?? {};
    const delay = asked ?? backoffMs(this.#attempt, baseMs, capMs, this.#options.random ?? Math.random);
    this.#setState({ status: 'reconnecting', attempt: this.#attempt++, retryAt: Date.now() + delay, reason: why, code });
    if (wasUp) this.#handler.down(code, false, why);
    // A listener may have closed or hurried the client meanwhile.
    if (this.state.status === 'reconnecting' && this.state.retryAt !== null) {
      this.#retryTimer = setTimeout(() => this.retryNow(), delay);
    }
  }

  /** Any frame is a sign of life; without one the hub is asked for it. */
  #beat(): void {
    this.#watch(this.#options.heartbeatMs ?? 25_000, () => this.#probe());
  }

  #probe(ms = PROBE_MS): void {
    this.#watch(ms, () => this.#end(1006, '', false));
    try {
      this.send({ type: 'ping' });
    } catch {
      /* the watch decides */
    }
  }

  #watch(ms: number, then: () => void): void {
    clearTimeout(this.#watchTimer);
    this.#watchTimer = setTimeout(then, ms);
  }

  #setState(state: ConnectionState): void {
    this.state = state;
    this.#handler.stateChanged(state);
  }

  /** The network or the page is back: look at once, unless the hub itself asked for patience. */
  readonly #wake = (): void => {
    if (typeof document !== 'undefined' && document.visibilityState === 'hidden') return;
    if (this.#up) this.#probe();
    else if (!this.#patient) this.retryNow();
  };

  /** The network is gone, or only one of several: the hub's answer tells. */
  readonly #offline = (): void => {
    if (this.#up) this.#probe(OFFLINE_PROBE_MS);
  };

  #watchPage(on: boolean): void {
    const change = on ? 'addEventListener' : 'removeEventListener';
    globalThis[change]?.('online', this.#wake);
    globalThis[change]?.('offline', this.#offline);
    if (typeof document !== 'undefined') document[change]('visibilitychange', this.#wake);
  }
}
