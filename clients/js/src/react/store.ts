/** A value that changes and tells: what `useSyncExternalStore` and a zustand store want of a source. */
export abstract class Store<S> {
  /** The state before anything happened: what a server renders. */
  readonly initial: S;
  #state: S;
  #stale = false;
  #scheduled = false;
  readonly #listeners = new Set<() => void>();

  protected constructor(state: S) {
    this.initial = this.#state = state;
  }

  /** Somebody listens. */
  get isOpen(): boolean {
    return this.#listeners.size > 0;
  }

  /** The state now; the same object until the listeners are called. */
  readonly get = (): S => this.#state;

  /** Calls `listener` after each change, once for all that change together, until the returned function is called. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) this.opened();
    return () => {
      if (this.#listeners.delete(listener) && this.#listeners.size === 0) this.closed();
    };
  };

  /** Somebody listens again. */
  protected opened(): void {}

  /** Nobody listens any more. */
  protected closed(): void {}

  /** Makes the state anew from the fields. */
  protected abstract snapshot(): S;

  /** The fields changed: the state follows when all that happens now has happened. */
  protected changed(): void {
    this.#stale = true;
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.flush();
    });
  }

  /** Takes a change over at once, for what is read right after it was written. */
  protected flush(): void {
    if (!this.#stale) return;
    this.#stale = false;
    this.#state = this.snapshot();
    for (const listener of [...this.#listeners]) listener();
  }
}
