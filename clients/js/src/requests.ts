import { HubbubError } from './errors.js';
import type { Frame } from './types.js';

interface Pending {
  resolve: (frame: Frame) => void;
  reject: (error: HubbubError) => void;
  timer: ReturnType<typeof setTimeout>;
}

/** Requests by id, each settled once: by its answer, its time-out, or the end of the connection. */
export class Requests {
  readonly #pending = new Map<string, Pending>();
  #lastId = 0;

  /** Sends `frame` with a new id through `send`; resolves with the `ack`. */
  start(frame: Frame, timeoutMs: number, send: (frame: Frame) => void): Promise<Frame> {
    return new Promise((resolve, reject) => {
      const id = String(++this.#lastId);
      try {
        send({ ...frame, id });
      } catch (error) {
        reject(error as HubbubError);
        return;
      }
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new HubbubError('timeout', `The hub did not answer "${frame.type}" within ${timeoutMs} ms.`));
      }, timeoutMs);
      this.#pending.set(id, { resolve, reject, timer });
    });
  }

  /** Takes an `ack`, or an `error` with an id. Late answers are dropped. */
  answer(frame: Frame): void {
    const pending = this.#pending.get(frame.id as string);
    if (!pending) return;
    this.#pending.delete(frame.id as string);
    clearTimeout(pending.timer);
    if (frame.type === 'ack') pending.resolve(frame);
    else pending.reject(frameError(frame));
  }

  /** Rejects everything under way. */
  clear(error: HubbubError): void {
    const all = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject, timer } of all) {
      clearTimeout(timer);
      reject(error);
    }
  }
}

/** The error an `error` frame speaks of. */
export function frameError({ code, message, retryAfterMs }: Frame): HubbubError {
  return new HubbubError(String(code), String(message), retryAfterMs as number | undefined);
}
