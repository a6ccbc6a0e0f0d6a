import { HubbubClient, HubbubError, newKey, type ConnectionState, type Message } from '@hubbub/client';
import { errorWords } from '../format.js';
import { fetchToken, read, write, type Identity } from '../identity.js';
import { Room, type Pending } from './room.js';

const ROOMS = 'hubbub.rooms';
export const DEFAULT_ROOM = 'lobby';
const HISTORY_PAGE = 50;

/** All the page shows, and all it can do. Views read the fields and are told when they changed. */
export class Chat {
  readonly client: HubbubClient;
  readonly rooms = new Map<string, Room>();
  active: Room;
  /** Set by the log view: the reader is not at the newest message. */
  scrolledUp = false;
  /** Told in passing, in words. */
  onNotice: (words: string) => void = () => {};

  readonly #render: () => void;
  #scheduled = false;

  constructor(
    readonly me: Identity,
    render: () => void,
  ) {
    this.#render = render;
    this.client = new HubbubClient({ token: () => fetchToken(me), backoff: { capMs: 10_000 } });
    this.#listen();
    for (const id of storedRooms()) this.#add(id);
    this.active = this.rooms.get(DEFAULT_ROOM) ?? this.#add(DEFAULT_ROOM);
    this.client.connect();
  }

  get state(): ConnectionState {
    return this.client.state;
  }

  /** Shows a room, joining it first when it is new. */
  open(id: string): void {
    const before = this.active;
    this.active = this.rooms.get(id) ?? this.#add(id);
    if (before !== this.active) {
      before.unreadFrom = undefined;
      this.client.typing(before.id).stop();
      this.scrolledUp = false;
    }
    this.look();
  }

  /** Leaves a room; the last one stays. */
  leave(id: string): void {
    if (this.rooms.size < 2) return;
    this.#remove(id);
    this.client.leave(id).catch(() => {}); // Not joined again in any case.
  }

  /** Somebody looks at the active room. */
  look(): void {
    if (!document.hidden) this.active.unread = 0;
    this.changed();
  }

  send(content: string): void {
    const pending: Pending = { key: newKey(), content, at: new Date(), failed: undefined };
    this.active.pending.push(pending);
    this.active.unreadFrom = undefined;
    this.#transmit(this.active, pending);
  }

  /** Sends a message again that was given up; the key makes sure it is stored once. */
  retry(pending: Pending): void {
    pending.failed = undefined;
    this.#transmit(this.active, pending);
  }

  discard(pending: Pending): void {
    this.active.confirm(pending.key);
    this.changed();
  }

  /** Fetches the page before the oldest message. */
  async loadOlder(room = this.active): Promise<void> {
    if (room.loading || !room.hasOlder || this.state.status !== 'connected') return;
    room.loading = true;
    room.olderFailed = false;
    const before = room.oldest;
    try {
      const page = await this.client.history(room.id, { before, limit: HISTORY_PAGE });
      // The room may have started over meanwhile.
      if (room.oldest === before) room.prepend(page);
    } catch (error) {
      room.olderFailed = true;
      if (this.state.status === 'connected') this.onNotice(`Older messages could not be loaded: ${words(error)}.`);
    }
    room.loading = false;
    this.changed();
  }

  close(): void {
    this.client.close();
    sessionStorage.removeItem(ROOMS);
  }

  /** Renders once after all that happens now. */
  changed(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#render();
    });
  }

  #transmit(room: Room, pending: Pending): void {
    this.client.send(room.id, pending.content, { key: pending.key }).then(
      () => room.confirm(pending.key),
      (error: unknown) => (pending.failed = words(error)),
    ).finally(() => this.changed());
    this.changed();
  }

  #add(id: string): Room {
    const room = new Room(id, () => this.changed());
    this.rooms.set(id, room);
    this.#store();
    this.client.join(id).catch((error: unknown) => {
      if (error instanceof HubbubError && error.code !== 'closed') this.#lost(id, error);
    });
    return room;
  }

  #remove(id: string): void {
    this.rooms.delete(id);
    if (this.active.id === id) this.active = [...this.rooms.values()][0] ?? this.#add(DEFAULT_ROOM);
    this.#store();
    this.changed();
  }

  #lost(id: string, error: HubbubError): void {
    if (!this.rooms.has(id)) return;
    if (this.rooms.size > 1) this.#remove(id);
    this.onNotice(`You cannot enter “${id}”: ${errorWords(error)}.`);
  }

  #store(): void {
    write(sessionStorage, ROOMS, JSON.stringify([...this.rooms.keys()]));
  }

  #listen(): void {
    const { client } = this;
    const inRoom = <T extends { roomId: string }>(take: (room: Room, event: T) => void) => (event: T): void => {
      const room = this.rooms.get(event.roomId);
      if (room) take(room, event);
      this.changed();
    };
    client.on('state', (state) => {
      if (state.status === 'reconnecting') for (const room of this.rooms.values()) room.away();
      this.changed();
    });
    client.on('joined', inRoom((room, joined) => {
      room.enter(joined);
      if (!joined.messages.length && room.hasOlder && !room.messages.length) queueMicrotask(() => void this.loadOlder(room));
    }));
    client.on('message', inRoom((room, message: Message) => {
      const seen = room === this.active && !document.hidden;
      room.add(message, message.userId === this.me.sub, seen, room === this.active && this.scrolledUp);
    }));
    client.on('user_joined', inRoom((room, change) => room.userJoined(change)));
    client.on('user_left', inRoom((room, change) => room.userLeft(change)));
    client.on('typing', inRoom((room, typing) => room.setTyping(typing)));
    client.on('presence', (presence) => {
      for (const room of this.rooms.values()) room.presence(presence);
      this.changed();
    });
    client.on('notification', ({ title, body }) => this.onNotice(`${title}: ${body}`));
    client.on('direct', ({ username, content }) => this.onNotice(`${username} to you: ${content}`));
    client.on('room_lost', ({ roomId, error }) => this.#lost(roomId, error));
    client.on('error', (error) => this.onNotice(`The hub says: ${errorWords(error)}.`));
  }
}

function storedRooms(): string[] {
  try {
    const rooms: unknown = JSON.parse(read(sessionStorage, ROOMS) || '[]');
    return Array.isArray(rooms) ? rooms.filter((room): room is string => typeof room === 'string') : [];
  } catch {
    return [];
  }
}

function words(error: unknown): string {
  return error instanceof HubbubError ? errorWords(error) : String(error);
}
