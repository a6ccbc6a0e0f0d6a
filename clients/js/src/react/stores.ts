import type { HubbubClient } from '../index.js';
import { DirectsStore } from './directs-store.js';
import { PresenceStore } from './presence-store.js';
import { RoomStore } from './room-store.js';

/** Rooms that were looked at and never followed, such as by a render that was given up, are forgotten beyond this. */
const KEEP_IDLE = 256;

/** What the hooks know of a client: its rooms, conversations and users. */
export class Stores {
  readonly presence = new PresenceStore();
  readonly directs: DirectsStore;
  readonly #client: HubbubClient;
  readonly #rooms = new Map<string, RoomStore>();

  constructor(client: HubbubClient) {
    this.#client = client;
    this.directs = new DirectsStore(client);
    const inRoom = <E extends { roomId: string }>(tell: (room: RoomStore, event: E) => void) => (event: E): void => {
      const room = this.#rooms.get(event.roomId);
      if (room) tell(room, event);
    };
    client.on('state', (state) => {
      for (const room of this.#rooms.values()) if (room.isOpen) room.stateChanged(state);
    });
    client.on('joined', (joined) => joined.resumed || this.presence.entered(joined));
    client.on('joined', inRoom((room, joined) => room.entered(joined)));
    client.on('joined', inRoom((room, joined) => joined.resumed && void this.#people(room)));
    client.on('message', inRoom((room, message) => room.message(message)));
    client.on('user_joined', (change) => this.presence.userJoined(change));
    client.on('user_joined', inRoom((room, change) => room.userJoined(change)));
    client.on('user_left', inRoom((room, change) => room.userLeft(change)));
    client.on('typing', inRoom((room, typing) => room.typed(typing)));
    client.on('receipt', inRoom((room, receipt) => room.receipt(receipt)));
    client.on('room_lost', inRoom((room, { error }) => room.refused(error)));
    client.on('presence', (presence) => {
      this.presence.told(presence);
      for (const room of this.#rooms.values()) room.presence(presence);
    });
    client.on('direct', (direct) => this.directs.received(direct));
  }

  /** Asks who is in a room that came back with its session. */
  async #people(room: RoomStore): Promise<void> {
    try {
      const page = await this.#client.members(room.roomId);
      this.presence.entered(page);
      room.people(page);
    } catch {
      /* The next reconnect asks again; who comes and goes is told. */
    }
  }

  /** The store of a room; it joins when somebody subscribes. */
  room(roomId: string): RoomStore {
    const known = this.#rooms.get(roomId);
    if (known) return known;
    if (this.#rooms.size >= KEEP_IDLE) {
      for (const [id, room] of this.#rooms) if (!room.isOpen) this.#rooms.delete(id);
    }
    const made: RoomStore = new RoomStore(this.#client, roomId, (on) => {
      if (on) this.#rooms.set(roomId, made);
      else if (this.#rooms.get(roomId) === made) this.#rooms.delete(roomId);
    });
    this.#rooms.set(roomId, made);
    return made;
  }
}

const known = new WeakMap<HubbubClient, Stores>();

/** The stores of a client, made at first use. */
export function storesOf(client: HubbubClient): Stores {
  let stores = known.get(client);
  if (!stores) known.set(client, (stores = new Stores(client)));
  return stores;
}
