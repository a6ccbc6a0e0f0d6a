import { HubbubError } from './errors.js';
import type { Frame, Sent } from './types.js';

/** A message on its way: waiting for a connection, or sent and not yet acknowledged. */
interface Entry {
  /** Has a key, so it can be sent again without harm. */
  frame: Frame;
  enqueuedAt: number;
  /** Waited in the queue, so the ones behind it wait for its answer: order before speed. */
  queued: boolean;
  resolve: (sent: Sent) => void;
  reject: (error: HubbubError) => void;
}

/** What the outbox needs from its client. */
export interface OutboxPort {
  /** Messages may be sent: connected, and the rooms are joined again. */
  ready(): boolean;
  /** Sends the frame and settles with its answer. */
  request(frame: Frame): Promise<Frame>;
  /** The room is wanted, but not joined yet. */
  joining(roomId: unknown): boolean;
}

/** Time before a refused message from the queue is tried again. */
const RETRY_MS = 1_000;

/**
 * Messages in the order they were sent, across reconnects. Fresh messages go out at once and side by
 * side; those that had to wait go one by one, each after the answer to the one before.
 */
export class Outbox {
  readonly #port: OutboxPort;
  readonly #maxMessages: number;
  readonly #maxAgeMs: number;
  #waiting: Entry[] = [];
  #inFlight: Entry[] = [];
  #ageTimer: ReturnType<typeof setTimeout> | undefined;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(port: OutboxPort, { maxMessages = 100, maxAgeMs = 300_000 } = {}) {
    this.#port = port;
    this.#maxMessages = maxMessages;
    this.#maxAgeMs = maxAgeMs;
  }

  send(frame: Frame): Promise<Sent> {
    return new Promise((resolve, reject) => {
      const entry: Entry = { frame, enqueuedAt: Date.now(), queued: false, resolve, reject };
      if (this.#port.ready() && !this.#waiting.length && !this.#inFlight.some((e) => e.queued)) {
        void this.#transmit(entry);
      } else if (this.#waiting.length >= this.#maxMessages) {
        reject(new HubbubError('queue_full', `${this.#maxMessages} messages wait for a connection already.`));
      } else {
        entry.queued = true;
        this.#waiting.push(entry);
        this.#watchAge();
        this.pump();
      }
    });
  }

  /** Sends the next waiting message, if it may go. */
  pump(): void {
    if (!this.#port.ready() || this.#inFlight.length || this.#retryTimer) return;
    const entry = this.#waiting.shift();
    if (entry) void this.#transmit(entry);
  }

  /** The connection is gone: what had no answer goes back to the front of the queue, in order. */
  down(): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    for (const entry of this.#inFlight) entry.queued = true;
    this.#waiting.unshift(...this.#inFlight);
    this.#inFlight = [];
    this.#watchAge();
  }

  /** Rejects everything. */
  clear(error: HubbubError): void {
    const all = [...this.#inFlight, ...this.#waiting];
    this.#inFlight = [];
    this.#waiting = [];
    clearTimeout(this.#ageTimer);
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    for (const entry of all) entry.reject(error);
  }

  /** A frame was too big for the hub: whatever was under way must not be sent again. */
  refuseInFlight(error: HubbubError): void {
    const lost = this.#inFlight;
    this.#inFlight = [];
    for (const entry of lost) entry.reject(error);
  }

  async #transmit(entry: Entry): Promise<void> {
    this.#inFlight.push(entry);
    try {
      const ack = await this.#port.request(entry.frame);
      if (this.#take(entry)) entry.resolve(ack as unknown as Sent);
    } catch (error) {
      // Not ours any more: the connection went and `down` decided already.
      if (!this.#take(entry)) return;
      this.#failed(entry, error as HubbubError);
    }
    this.pump();
  }

  #failed(entry: Entry, error: HubbubError): void {
    const passes =
      error.code === 'rate_limited' ||
      error.code === 'unavailable' ||
      (error.code === 'not_a_member' && this.#port.joining(entry.frame.roomId));
    if (!entry.queued || !passes) return entry.reject(error);
    this.#waiting.unshift(entry);
    this.#watchAge();
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      this.pump();
    }, error.retryAfterMs ?? RETRY_MS);
  }

  #take(entry: Entry): boolean {
    const at = this.#inFlight.indexOf(entry);
    if (at >= 0) this.#inFlight.splice(at, 1);
    return at >= 0;
  }

  /** One timer for the oldest entry; the queue is in order of age. */
  #watchAge(): void {
    clearTimeout(this.#ageTimer);
    const oldest = this.#waiting[0];
    if (!oldest) return;
    this.#ageTimer = setTimeout(
      () => {
        const limit = Date.now() - this.#maxAgeMs;
        while (this.#waiting[0] && this.#waiting[0].enqueuedAt <= limit) {
          this.#waiting.shift()?.reject(new HubbubError('expired', 'The message waited too long for a connection.'));
        }
        this.#watchAge();
      },
      Math.max(0, oldest.enqueuedAt + this.#maxAgeMs - Date.now()),
    );
  }
}
