import {
  HubbubError,
  type ConnectionState,
  type HistoryPage,
  type HubbubClient,
  type Joined,
  type Member,
  type Message,
  type Presence,
  type Receipt,
  type Sent,
  type Typing,
  type UserChange,
} from '../index.js';
import { OutgoingList, type Outgoing } from './outgoing.js';
import { Store } from './store.js';

/** What is known of a room. Every change is a new object; what did not change in it stays the same. */
export interface RoomState {
  readonly roomId: string;
  /** `away`: joined before and not connected now; `refused`: the hub does not let this user in, see `error`. */
  readonly status: 'joining' | 'joined' | 'away' | 'refused';
  readonly error: HubbubError | undefined;
  /** Stored messages, oldest first. At most 600, or 3000 once older ones were fetched. */
  readonly messages: readonly Message[];
  /** Own messages that are not yet among `messages`: show them below. */
  readonly outgoing: readonly Outgoing[];
  /** At most 200 of the members. */
  readonly members: readonly Member[];
  readonly memberCount: number;
  /** Who types now, without the own user. */
  readonly typing: readonly { readonly userId: string; readonly username?: string | undefined }[];
  /** Messages of others that came since somebody looked. */
  readonly unread: number;
  /** The offset of the first of them. It stays, for a line above it, until nobody looks any more. */
  readonly firstUnread: number | undefined;
  /** How far others have read: user id and offset. As they say, and where the hub keeps receipts also before. */
  readonly readBy: ReadonlyMap<string, number>;
  /** The same for what has reached them, where the hub keeps receipts. */
  readonly deliveredTo: ReadonlyMap<string, number>;
  readonly history: {
    /** Older messages exist. */
    readonly hasOlder: boolean;
    readonly loading: boolean;
    /** Why the last page did not come. */
    readonly error: HubbubError | undefined;
  };
}

/** Kept while the end of the room is shown; older ones come back from the hub. */
const KEEP = 600;
/** Kept once somebody reads back. */
const KEEP_READING = 3_000;
const KEEP_MEMBERS = 200;
const KEEP_TYPING = 50;
const KEEP_READERS = 1_000;
/** Someone whose "stopped typing" got lost stops after this long. */
const TYPING_MS = 8_000;
const PAGE = 50;
/** While somebody looks, the others are told so often what was read. */
const READ_MS = 1_000;
/** A room without listeners is left after this long: not when a component is mounted anew. */
const LINGER_MS = 1_000;

/** One room of a client, followed while somebody listens. */
export class RoomStore extends Store<RoomState> {
  readonly roomId: string;
  readonly #client: HubbubClient;
  readonly #follow: (on: boolean) => void;
  readonly #outgoing: OutgoingList;
  #lingerTimer: ReturnType<typeof setTimeout> | undefined;
  #status: RoomState['status'] = 'joining';
  #error: HubbubError | undefined;
  #asking = false;
  #epoch = '';
  #messages: Message[] = [];
  #members = new Map<string, Member>();
  #memberCount = 0;
  #typing = new Map<string, { username: string | undefined; timer: ReturnType<typeof setTimeout> }>();
  readonly #readBy = new Map<string, number>();
  readonly #deliveredTo = new Map<string, number>();
  #watchers = 0;
  #readTimer: ReturnType<typeof setTimeout> | undefined;
  #unread = 0;
  #firstUnread: number | undefined;
  /** Messages up to here were there before this window. */
  #oldNews = -1;
  /** The lowest offset known, of a message or an event; older ones lie before it. */
  #oldest: number | undefined;
  #hasOlder = false;
  #loading = false;
  #loadError: HubbubError | undefined;
  #keep = KEEP;

  /** `follow` is told when events of the room are wanted, and when no longer. */
  constructor(client: HubbubClient, roomId: string, follow: (on: boolean) => void) {
    super(EMPTY(roomId));
    this.#client = client;
    this.roomId = roomId;
    this.#follow = follow;
    this.#outgoing = new OutgoingList(
      ({ content, data, key }) => client.send(roomId, content, { data, key }),
      (_, sent) => this.#has(sent),
      () => this.changed(),
    );
  }

  /** Sends a message: it is in `outgoing` at once. What the promise rejects with stands there too. */
  readonly send = (content: string, data?: unknown): Promise<Sent> => {
    this.#firstUnread = undefined;
    const sent = this.#outgoing.send(content, data);
    sent.catch(() => {});
    return sent;
  };

  /** Sends a failed message again, stored once in any case. */
  readonly retry = (key: string): void => this.#outgoing.retry(key);

  /** Takes a failed message out of `outgoing`. */
  readonly discard = (key: string): void => this.#outgoing.remove(key);

  /** Fetches the page before the oldest message. Does nothing while one is under way or none is left. */
  readonly loadOlder = async (): Promise<void> => {
    if (this.#loading || !this.#hasOlder || this.#status !== 'joined') return;
    this.#loading = true;
    this.#loadError = undefined;
    this.changed();
    const before = this.#oldest;
    const had = this.#messages.length > 0;
    try {
      const page = await this.#client.history(this.roomId, { before, limit: PAGE });
      // The room may have started over meanwhile.
      if (this.#oldest === before) this.#prepend(page, had);
    } catch (error) {
      this.#loadError = asError(error);
    }
    this.#loading = false;
    if (this.#watchers && !had) this.markRead();
    this.changed();
  };

  /** Everything shown is read; the others are told. */
  readonly markRead = (): void => {
    clearTimeout(this.#readTimer);
    this.#readTimer = undefined;
    const last = this.#messages.at(-1);
    if (last) this.#client.read(this.roomId, last.offset);
    if (!this.#unread) return;
    this.#unread = 0;
    this.changed();
  };

  /** Somebody looks at the room until the returned function is called: what comes is read at once. */
  readonly watch = (): (() => void) => {
    this.#watchers++;
    this.markRead();
    return () => {
      if (--this.#watchers || this.#firstUnread === undefined) return;
      this.#firstUnread = undefined;
      this.changed();
    };
  };

  /** Call on every change of the input. */
  readonly keystroke = (): void => this.#client.typing(this.roomId).keystroke();

  /** Call when the input is emptied or left. */
  readonly stopTyping = (): void => this.#client.typing(this.roomId).stop();

  /** Asks again to be let in, after `refused`. */
  readonly rejoin = (): void => {
    if (this.#status === 'refused') this.#join();
  };

  protected override opened(): void {
    clearTimeout(this.#lingerTimer);
    this.#follow(true);
    if (this.#status !== 'refused') this.#join();
  }

  protected override closed(): void {
    this.#lingerTimer = setTimeout(() => {
      clearTimeout(this.#readTimer);
      this.#readTimer = undefined;
      for (const userId of [...this.#typing.keys()]) this.#stopped(userId);
      this.#follow(false);
      this.#status = 'joining';
      this.#client.leave(this.roomId).catch(() => {}); // Not joined again in any case.
    }, LINGER_MS);
  }

  stateChanged({ status }: ConnectionState): void {
    if (status === 'connected') return this.#join();
    if (this.#status !== 'joined') return;
    this.#status = 'away';
    for (const userId of [...this.#typing.keys()]) this.#stopped(userId);
    this.changed();
  }

  entered({ epoch, offset, members, memberCount, messages, recovered, resumed }: Joined): void {
    this.#status = 'joined';
    this.#error = undefined;
    if (epoch !== this.#epoch) {
      this.#readBy.clear();
      this.#deliveredTo.clear();
    }
    this.#epoch = epoch;
    if (!resumed) this.people({ members, memberCount });
    this.changed();
    if (this.#client.keepsReceipts) void this.#loadReceipts();
    if (recovered) return;
    this.#messages = [];
    this.#oldest = messages[0]?.offset;
    this.#hasOlder = (this.#oldest ?? offset + 1) > 1;
    this.#loadError = undefined;
    this.#oldNews = offset;
    this.#unread = 0;
    this.#firstUnread = undefined;
    this.#outgoing.forgetSent();
    if (!messages.length) queueMicrotask(() => void this.loadOlder());
  }

  /** Who is in the room. */
  people({ members, memberCount }: Pick<Joined, 'members' | 'memberCount'>): void {
    this.#members = new Map(members.map((member) => [member.userId, member]));
    this.#memberCount = memberCount;
    for (const userId of [...this.#typing.keys()]) if (!this.#members.has(userId)) this.#stopped(userId);
    this.changed();
  }

  message(message: Message): void {
    const mine = message.userId !== undefined && message.userId === this.#me;
    this.#messages.push(message);
    if (message.userId !== undefined) this.#stopped(message.userId);
    if (mine) {
      this.#outgoing.came(message.content);
    } else if (this.#watchers) {
      this.#readTimer ??= setTimeout(this.markRead, READ_MS);
    } else if (message.offset > this.#oldNews) {
      this.#unread++;
      this.#firstUnread ??= message.offset;
    }
    if (this.#messages.length > this.#keep) {
      this.#keep = KEEP;
      this.#messages.splice(0, this.#messages.length - KEEP);
      this.#hasOlder = true;
      this.#oldest = this.#messages[0]?.offset;
    }
    this.changed();
  }

  userJoined({ userId, username }: UserChange): void {
    if (this.#members.has(userId)) return;
    this.#memberCount++;
    if (this.#members.size < KEEP_MEMBERS) this.#members.set(userId, { userId, username, status: 'online', socketCount: 1 });
    this.changed();
  }

  userLeft({ userId }: UserChange): void {
    this.#members.delete(userId);
    this.#memberCount = Math.max(this.#members.size, this.#memberCount - 1);
    this.#stopped(userId);
    this.changed();
  }

  presence({ userId, status, socketCount }: Presence): void {
    const member = this.#members.get(userId);
    if (!member) return;
    this.#members.set(userId, { ...member, status, socketCount });
    if (status === 'offline') this.#stopped(userId);
    this.changed();
  }

  typed({ userId, username, isTyping }: Typing): void {
    this.#stopped(userId);
    this.changed();
    if (!isTyping || userId === this.#me || this.#typing.size >= KEEP_TYPING) return;
    const timer = setTimeout(() => {
      this.#typing.delete(userId);
      this.changed();
    }, TYPING_MS);
    this.#typing.set(userId, { username, timer });
  }

  receipt({ userId, offset, status }: Receipt): void {
    if (userId !== this.#me) {
      higher(this.#deliveredTo, userId, offset);
      if (status === 'read') higher(this.#readBy, userId, offset);
    } else if (status === 'read' && offset >= (this.#messages.at(-1)?.offset ?? 0)) {
      // In another window of the same user.
      this.#unread = 0;
    }
    this.changed();
  }

  /** The hub no longer lets this user in. */
  refused(error: HubbubError): void {
    this.#status = 'refused';
    this.#error = error;
    this.changed();
  }

  protected override snapshot(): RoomState {
    const before = this.get();
    return {
      roomId: this.roomId,
      status: this.#status,
      error: this.#error,
      messages: same(before.messages, this.#messages),
      outgoing: this.#outgoing.list,
      members: same(before.members, [...this.#members.values()]),
      memberCount: this.#memberCount,
      typing: this.#typing.size ? [...this.#typing].map(([userId, { username }]) => ({ userId, username })) : NOBODY,
      unread: this.#unread,
      firstUnread: this.#firstUnread,
      readBy: sameMap(before.readBy, this.#readBy),
      deliveredTo: sameMap(before.deliveredTo, this.#deliveredTo),
      history: { hasOlder: this.#hasOlder, loading: this.#loading, error: this.#loadError },
    };
  }

  get #me(): string | undefined {
    const { state } = this.#client;
    return state.status === 'connected' ? state.userId : undefined;
  }

  #has({ epoch, offset }: Sent): boolean {
    return epoch === this.#epoch && offset <= (this.#messages.at(-1)?.offset ?? 0);
  }

  #join(): void {
    if (this.#asking || this.#status === 'joined') return;
    this.#asking = true;
    if (this.#status === 'refused') this.#status = 'joining';
    this.changed();
    this.#client
      .join(this.roomId)
      // A room that was joined all along tells by the answer alone.
      .then((joined) => this.#status !== 'joined' && this.entered({ ...joined, recovered: false, messages: [] }))
      .catch((error: unknown) => {
        // After `close()` the next connection asks again.
        if (asError(error).code !== 'closed') this.refused(asError(error));
      })
      .finally(() => (this.#asking = false));
  }

  #prepend({ messages, hasMore }: HistoryPage, reading: boolean): void {
    const first = this.#messages[0];
    const older = messages.filter((message): message is Message => message.type === 'message');
    this.#messages.unshift(...older.filter((message) => !first || message.offset < first.offset));
    this.#oldest = messages[0]?.offset ?? this.#oldest;
    this.#hasOlder = hasMore && messages.length > 0;
    const last = this.#messages.at(-1);
    if (last && !first) this.#client.delivered(this.roomId, last.offset);
    if (reading) this.#keep = KEEP_READING;
  }

  /** What others have said before, or while there was no connection. */
  async #loadReceipts(): Promise<void> {
    try {
      const { epoch, receipts } = await this.#client.receipts(this.roomId);
      if (epoch !== this.#epoch) return;
      for (const { userId, delivered, read } of receipts) {
        if (userId === this.#me) continue;
        higher(this.#deliveredTo, userId, delivered);
        if (read) higher(this.#readBy, userId, read);
      }
      this.changed();
    } catch {
      /* What is said from now on comes by itself. */
    }
  }

  #stopped(userId: string): void {
    clearTimeout(this.#typing.get(userId)?.timer);
    this.#typing.delete(userId);
  }
}

const NOBODY: RoomState['typing'] = [];

const EMPTY = (roomId: string): RoomState => ({
  roomId,
  status: 'joining',
  error: undefined,
  messages: [],
  outgoing: [],
  members: [],
  memberCount: 0,
  typing: NOBODY,
  unread: 0,
  firstUnread: undefined,
  readBy: new Map(),
  deliveredTo: new Map(),
  history: { hasOlder: false, loading: false, error: undefined },
});

/** The list shown before if the new one has the same elements, else a copy of it. */
function same<T>(before: readonly T[], now: readonly T[]): readonly T[] {
  return before.length === now.length && before.every((one, at) => one === now[at]) ? before : [...now];
}

/** Notes how far a user is; who was not heard of for longest goes. */
function higher(offsets: Map<string, number>, userId: string, offset: number): void {
  if (offset <= (offsets.get(userId) ?? -1)) return;
  offsets.delete(userId);
  offsets.set(userId, offset);
  const [oldest] = offsets.keys();
  if (offsets.size > KEEP_READERS && oldest !== undefined) offsets.delete(oldest);
}

function sameMap(before: ReadonlyMap<string, number>, now: ReadonlyMap<string, number>): ReadonlyMap<string, number> {
  return before.size === now.size && [...now].every(([key, value]) => before.get(key) === value) ? before : new Map(now);
}

function asError(error: unknown): HubbubError {
  return error instanceof HubbubError ? error : new HubbubError('bad_request', String(error));
}
