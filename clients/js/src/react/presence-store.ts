import type { Joined, Presence, PresenceStatus, UserChange } from '../index.js';

/** What is known of a user's presence. */
export interface UserPresence {
  readonly status: PresenceStatus;
  /** Open sessions of the user. */
  readonly socketCount: number;
}

/** Users remembered; the one not heard of for longest goes. */
const KEEP = 5_000;

/** The presence of every user who shares, or shared, a room with this client. */
export class PresenceStore {
  readonly #users = new Map<string, UserPresence>();
  readonly #listeners = new Map<string, Set<() => void>>();

  /** The presence of a user, `undefined` while nothing is known; the same object until it changes. */
  get(userId: string): UserPresence | undefined {
    return this.#users.get(userId);
  }

  subscribe(userId: string, listener: () => void): () => void {
    const set = this.#listeners.get(userId) ?? new Set();
    this.#listeners.set(userId, set.add(listener));
    return () => {
      if (set.delete(listener) && !set.size && this.#listeners.get(userId) === set) this.#listeners.delete(userId);
    };
  }

  told({ userId, status, socketCount }: Presence): void {
    this.#set(userId, { status, socketCount });
  }

  entered({ members }: Pick<Joined, 'members'>): void {
    for (const { userId, status, socketCount } of members) this.#set(userId, { status, socketCount });
  }

  userJoined({ userId }: UserChange): void {
    if (!this.#users.has(userId)) this.#set(userId, { status: 'online', socketCount: 1 });
  }

  #set(userId: string, now: UserPresence): void {
    const before = this.#users.get(userId);
    this.#users.delete(userId);
    const same = before?.status === now.status && before.socketCount === now.socketCount;
    this.#users.set(userId, same ? before : now);
    const [oldest] = this.#users.keys();
    if (this.#users.size > KEEP && oldest !== undefined) this.#users.delete(oldest);
    if (!same) for (const listener of [...(this.#listeners.get(userId) ?? [])]) listener();
  }
}
