/** Listeners by event name, typed by `M`. A listener that throws does not disturb the others. */
export class Emitter<M> {
  readonly #listeners = new Map<keyof M, Set<(value: never) => void>>();

  /** Calls `listener` for each event until the returned function is called. */
  on<K extends keyof M>(event: K, listener: (value: M[K]) => void): () => void {
    let set = this.#listeners.get(event);
    if (!set) this.#listeners.set(event, (set = new Set()));
    set.add(listener);
    return () => this.off(event, listener);
  }

  /** Takes a listener away; nothing happens when it is not there. */
  off<K extends keyof M>(event: K, listener: (value: M[K]) => void): void {
    this.#listeners.get(event)?.delete(listener);
  }

  protected emit<K extends keyof M>(event: K, value: M[K]): void {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        (listener as (value: M[K]) => void)(value);
      } catch (error) {
        // Reported like an uncaught exception, after the frame has been dealt with.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
