import type { Direct, HubbubClient, Sent } from '../index.js';
import { OutgoingList, type Outgoing } from './outgoing.js';
import { Store } from './store.js';

/** A message of a conversation between this user and another. */
export interface DirectMessage {
  readonly id: string;
  /** Who wrote it. */
  readonly userId: string;
  readonly username?: string | undefined;
  readonly content: string;
  readonly data?: unknown;
  /** RFC 3339 in UTC; of own messages the time of this machine. */
  readonly timestamp: string;
}

/** What is known of a conversation with one user, as far as this window has seen it. */
export interface DirectState {
  readonly userId: string;
  /** The name the other one writes under, as far as known. */
  readonly username: string | undefined;
  /** At most 600, oldest first; own ones once they are stored. */
  readonly messages: readonly DirectMessage[];
  readonly outgoing: readonly Outgoing[];
  readonly unread: number;
}

/** What an application knows of a conversation that it opens. */
export interface DirectStart {
  username?: string | undefined;
  /** What it has kept of it, oldest first: the hub has no history of it for clients. */
  earlier?: readonly DirectMessage[];
}

const KEEP = 600;

/** The conversation with one user. */
export class DirectStore extends Store<DirectState> {
  readonly #userId: string;
  readonly #outgoing: OutgoingList;
  readonly #told: () => void;
  #username: string | undefined;
  #messages: DirectMessage[];
  #unread = 0;

  /** `told` is called after each change. */
  constructor(client: HubbubClient, userId: string, { username, earlier = [] }: DirectStart, told: () => void) {
    const kept = earlier.slice(-KEEP);
    super({ userId, username, messages: kept, outgoing: [], unread: 0 });
    this.#userId = userId;
    this.#username = username;
    this.#messages = [...kept];
    this.#told = told;
    this.#outgoing = new OutgoingList(
      ({ content, data, key }) => client.sendDirect(userId, content, { data, key }),
      // The sender gets no copy: the stored message itself takes its place.
      ({ content, data, at }, sent) => {
        const me = client.state.status === 'connected' ? client.state.userId : '';
        this.#add({ id: sent.messageId, userId: me, content, data, timestamp: new Date(at).toISOString() });
        return true;
      },
      () => this.changed(),
    );
  }

  /** Sends a message: it is in `outgoing` until it is stored. */
  readonly send = (content: string, data?: unknown): Promise<Sent> => {
    const sent = this.#outgoing.send(content, data);
    sent.catch(() => {});
    return sent;
  };

  readonly retry = (key: string): void => this.#outgoing.retry(key);

  readonly discard = (key: string): void => this.#outgoing.remove(key);

  readonly markRead = (): void => {
    if (!this.#unread) return;
    this.#unread = 0;
    this.changed();
  };

  received({ id, username, content, data, timestamp }: Direct): void {
    if (this.#messages.some((message) => message.id === id)) return;
    this.#username = username ?? this.#username;
    this.#unread++;
    this.#add({ id, userId: this.#userId, username, content, data, timestamp });
  }

  protected override snapshot(): DirectState {
    return {
      userId: this.#userId,
      username: this.#username,
      messages: [...this.#messages],
      outgoing: this.#outgoing.list,
      unread: this.#unread,
    };
  }

  protected override flush(): void {
    super.flush();
    this.#told();
  }

  #add(message: DirectMessage): void {
    this.#messages.push(message);
    if (this.#messages.length > KEEP) this.#messages.shift();
    this.changed();
  }
}
