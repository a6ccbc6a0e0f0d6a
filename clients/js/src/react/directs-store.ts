import type { Direct, HubbubClient } from '../index.js';
import { DirectStore, type DirectStart, type DirectState } from './direct-store.js';
import { Store } from './store.js';

/** Conversations kept; the one opened first goes, those with unread messages last. */
const KEEP = 200;

/** All conversations of this window, in the order they began. */
export class DirectsStore extends Store<readonly DirectState[]> {
  readonly #client: HubbubClient;
  readonly #directs = new Map<string, DirectStore>();

  constructor(client: HubbubClient) {
    super([]);
    this.#client = client;
  }

  /** The conversation with a user, begun if it is not there. */
  readonly open = (userId: string, start: DirectStart = {}): DirectStore => {
    const known = this.#directs.get(userId);
    if (known) return known;
    const made = new DirectStore(this.#client, userId, start, () => this.changed());
    this.#directs.set(userId, made);
    if (this.#directs.size > KEEP) {
      const all = [...this.#directs].filter(([id]) => id !== userId);
      const [id] = all.find(([, direct]) => !direct.get().unread) ?? all[0] ?? [userId];
      this.#directs.delete(id);
    }
    this.changed();
    return made;
  };

  /** Forgets a conversation; it begins anew when the other one writes. */
  readonly close = (userId: string): void => {
    if (this.#directs.delete(userId)) this.changed();
  };

  received(direct: Direct): void {
    // A backend that names no user is heard by `useHubbubEvent('direct', ...)`.
    if (direct.userId) this.open(direct.userId, { username: direct.username }).received(direct);
  }

  protected override snapshot(): readonly DirectState[] {
    return [...this.#directs.values()].map((direct) => direct.get());
  }
}
