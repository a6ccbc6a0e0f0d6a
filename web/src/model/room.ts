import type { HistoryPage, Joined, Member, Message, Presence, Typing, UserChange } from '@hubbub/client';

/** A message of this window that the hub has not confirmed. */
export interface Pending {
  key: string;
  content: string;
  at: Date;
  /** Why it was given up, in words. */
  failed: string | undefined;
}

/** Kept in memory per room; older ones come back from the hub when scrolled to. */
const KEEP = 600;
const KEEP_MEMBERS = 200;
/** Someone whose "stopped typing" got lost stops after this long. */
const TYPING_MS = 8_000;

/** What this window knows of one room. */
export class Room {
  messages: Message[] = [];
  pending: Pending[] = [];
  members = new Map<string, Member>();
  memberCount = 0;
  typing = new Map<string, { name: string; timer: ReturnType<typeof setTimeout> }>();
  unread = 0;
  /** The first message that came while nobody looked. */
  unreadFrom: number | undefined;
  hasOlder = false;
  loading = false;
  /** The last fetch of older messages failed; the next one waits for the reader to ask. */
  olderFailed = false;
  /** The lowest offset known, of a message or another event; older ones lie before it. */
  oldest: number | undefined;
  joined = false;
  /** Was joined at least once. */
  known = false;
  draft = '';
  /** Messages up to here were there before this window and are not news. */
  #oldNews = -1;
  readonly #changed: () => void;

  constructor(
    readonly id: string,
    changed: () => void,
  ) {
    this.#changed = changed;
  }

  enter(joined: Joined): void {
    this.joined = this.known = true;
    this.members = new Map(joined.members.map((member) => [member.userId, member]));
    this.memberCount = joined.memberCount;
    for (const userId of [...this.typing.keys()]) if (!this.members.has(userId)) this.stopTyping(userId);
    if (joined.recovered) return;
    this.messages = [];
    this.oldest = joined.messages.find((message) => message.offset !== undefined)?.offset;
    this.hasOlder = (this.oldest ?? joined.offset + 1) > 1;
    this.olderFailed = false;
    this.#oldNews = joined.offset;
    this.unreadFrom = undefined;
  }

  /** Takes a message; `seen` when somebody looks at the room, `scrolledUp` keeps what is being read. */
  add(message: Message, mine: boolean, seen: boolean, scrolledUp: boolean): void {
    this.messages.push(message);
    this.stopTyping(message.userId);
    if (mine) {
      const at = this.pending.findIndex((p) => p.content === message.content && !p.failed);
      if (at >= 0) this.pending.splice(at, 1);
    } else if (!seen && message.offset > this.#oldNews) {
      this.unread++;
      this.unreadFrom ??= message.offset;
    }
    if (this.messages.length > (scrolledUp ? KEEP * 5 : KEEP)) {
      this.messages.splice(0, this.messages.length - KEEP);
      this.hasOlder = true;
      this.oldest = this.messages[0]?.offset;
    }
  }

  /** Takes a page of history that ends before `oldest`. */
  prepend({ messages, hasMore }: HistoryPage): void {
    const first = this.messages[0];
    const older = messages.filter((message): message is Message => message.type === 'message');
    this.messages.unshift(...older.filter((message) => !first || message.offset < first.offset));
    this.oldest = messages[0]?.offset ?? this.oldest;
    this.hasOlder = hasMore && messages.length > 0;
  }

  confirm(key: string): void {
    this.pending = this.pending.filter((pending) => pending.key !== key);
  }

  userJoined({ userId, username }: UserChange): void {
    if (this.members.has(userId)) return;
    this.memberCount++;
    if (this.members.size < KEEP_MEMBERS) this.members.set(userId, { userId, username, status: 'online', socketCount: 1 });
  }

  userLeft({ userId }: UserChange): void {
    this.members.delete(userId);
    this.memberCount = Math.max(this.members.size, this.memberCount - 1);
    this.stopTyping(userId);
  }

  presence({ userId, status, socketCount }: Presence): void {
    const member = this.members.get(userId);
    if (member) this.members.set(userId, { ...member, status, socketCount });
    if (status === 'offline') this.stopTyping(userId);
  }

  setTyping({ userId, username, isTyping }: Typing): void {
    this.stopTyping(userId);
    if (!isTyping || this.typing.size >= 50) return;
    const timer = setTimeout(() => {
      this.typing.delete(userId);
      this.#changed();
    }, TYPING_MS);
    this.typing.set(userId, { name: username, timer });
  }

  stopTyping(userId: string): void {
    clearTimeout(this.typing.get(userId)?.timer);
    this.typing.delete(userId);
  }

  /** The connection is gone: who types is no longer known. */
  away(): void {
    this.joined = false;
    for (const userId of [...this.typing.keys()]) this.stopTyping(userId);
  }
}
