/** Repeats "is typing" this often while keys are hit, so that the hub's own time-out does not end it. */
const REPEAT_MS = 2_500;
/** "Is typing" ends this long after the last key. */
const IDLE_MS = 4_000;

/** Tells a room that the user types, sparingly, and that they stopped, even when nobody says so. */
export class TypingNotifier {
  readonly #send: (isTyping: boolean) => void;
  #sentAt = 0;
  #idleTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(send: (isTyping: boolean) => void) {
    this.#send = send;
  }

  /** Call on every change of the input. */
  keystroke(): void {
    clearTimeout(this.#idleTimer);
    this.#idleTimer = setTimeout(() => this.stop(), IDLE_MS);
    if (this.#sentAt && Date.now() - this.#sentAt < REPEAT_MS) return;
    this.#sentAt = Date.now();
    this.#send(true);
  }

  /** Call when the input is emptied. Does nothing when the user was not typing. */
  stop(): void {
    const wasTyping = this.#sentAt !== 0;
    this.sent();
    if (wasTyping) this.#send(false);
  }

  /** The message is on its way. The hub ends the typing with it, so nothing more is said. */
  sent(): void {
    clearTimeout(this.#idleTimer);
    this.#sentAt = 0;
  }
}
