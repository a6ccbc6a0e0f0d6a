/** What came is told so long after the first of it, in one frame for each room. */
const TELL_MS = 250;

/** Tells the hub what has come, as positions, where it keeps receipts. */
export class Delivered {
  /** The hub keeps receipts for this session. */
  on = false;
  readonly #ready: () => boolean;
  readonly #send: (roomId: string, offset: number) => void;
  /** The highest offset that came, and the highest that the hub was told. */
  readonly #rooms = new Map<string, { came: number; told: number }>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(ready: () => boolean, send: (roomId: string, offset: number) => void) {
    this.#ready = ready;
    this.#send = send;
  }

  /** Everything up to `offset` came; `told`: the hub knows it already. */
  came(roomId: string, offset: number, told = false): void {
    if (!this.on) return;
    const room = this.#rooms.get(roomId) ?? { came: 0, told: 0 };
    this.#rooms.set(roomId, room);
    room.came = Math.max(room.came, offset);
    if (told) room.told = Math.max(room.told, offset);
    else this.#timer ??= setTimeout(() => this.tell(), TELL_MS);
  }

  /** Tells what the hub does not know yet, unless there is no connection. */
  tell(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.on || !this.#ready()) return;
    for (const [roomId, room] of this.#rooms) {
      if (room.told < room.came) this.#send(roomId, (room.told = room.came));
    }
  }

  /** The connection is gone: what was told last may not have come. */
  down(): void {
    for (const room of this.#rooms.values()) room.told = 0;
  }

  /** A room was left, or starts over. */
  forget(roomId: string): void {
    this.#rooms.delete(roomId);
  }
}
