import type { Frame } from './types.js';
import { byteLength } from './util.js';

/** Most frames in one batch; the hub takes 100. */
const MAX_FRAMES = 100;
/** Larger frames gain nothing from company. */
const SMALL_BYTES = 1_024;
/** Room for `{"type":"batch","messages":[]}`. */
const WRAP_BYTES = 64;
/** What may wait a moment. The rest is asked for its answer and goes at once. */
const BATCHED = /^(message|event|typing|read|delivered)$/;

/** Collects small frames for a moment and sends them as one `batch`, never out of order. */
export class Batcher {
  readonly #windowMs: number;
  readonly #maxBytes: number;
  readonly #send: (text: string) => void;
  #texts: string[] = [];
  #bytes = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** With a `windowMs` of 0 every frame goes at once. `maxBytes` bounds the whole batch. */
  constructor(windowMs: number, maxBytes: number, send: (text: string) => void) {
    this.#windowMs = windowMs;
    this.#maxBytes = maxBytes;
    this.#send = send;
  }

  /** Takes a frame and its JSON text. */
  add({ type }: Frame, text: string): void {
    const bytes = byteLength(text);
    if (!this.#windowMs || bytes > SMALL_BYTES || !BATCHED.test(type)) {
      this.flush();
      this.#send(text);
      return;
    }
    if (this.#bytes + bytes + 1 + WRAP_BYTES > this.#maxBytes) this.flush();
    this.#texts.push(text);
    this.#bytes += bytes + 1;
    if (this.#texts.length >= MAX_FRAMES) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), this.#windowMs);
  }

  /** Sends what was collected. */
  flush(): void {
    const texts = this.#texts;
    this.clear();
    const [first] = texts;
    if (first) this.#send(texts.length > 1 ? `{"type":"batch","messages":[${texts}]}` : first);
  }

  /** Forgets what was collected: the connection it was meant for is gone. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#texts = [];
    this.#bytes = 0;
  }
}
