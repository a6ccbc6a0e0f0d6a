import type { Frame } from './types.js';

interface Slot {
  timer: ReturnType<typeof setTimeout>;
  /** The newest event that came too early. */
  next: Frame | undefined;
}

/**
 * Keeps volatile events of one name and room apart: the first goes at once, of those that follow too
 * early only the newest, when its time has come.
 */
export class Throttle {
  readonly #everyMs: Record<string, number>;
  readonly #send: (frame: Frame) => void;
  readonly #slots = new Map<string, Slot>();

  /** `everyMs` is the shortest time between two events by name; others are not held back. */
  constructor(everyMs: Record<string, number>, send: (frame: Frame) => void) {
    this.#everyMs = everyMs;
    this.#send = send;
  }

  offer(frame: Frame): void {
    const ms = Number(this.#everyMs[frame.name as string]);
    if (!(ms > 0)) return this.#send(frame);
    const key = JSON.stringify([frame.roomId, frame.name]);
    const held = this.#slots.get(key);
    if (held) {
      held.next = frame;
      return;
    }
    const slot: Slot = { next: undefined, timer: setTimeout(() => this.#due(key, slot), ms) };
    this.#slots.set(key, slot);
    this.#send(frame);
  }

  /** Drops what is held back, of one room or of all. */
  clear(roomId?: string): void {
    for (const [key, slot] of this.#slots) {
      if (roomId !== undefined && (JSON.parse(key) as string[])[0] !== roomId) continue;
      clearTimeout(slot.timer);
      this.#slots.delete(key);
    }
  }

  #due(key: string, { next }: Slot): void {
    this.#slots.delete(key);
    if (next) this.offer(next);
  }
}
