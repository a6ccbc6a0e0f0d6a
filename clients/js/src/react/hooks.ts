import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from 'react';
import type { ConnectionState, EventMap } from '../index.js';
import type { DirectStart, DirectState, DirectStore } from './direct-store.js';
import type { UserPresence } from './presence-store.js';
import { useHubbub } from './provider.js';
import type { RoomState, RoomStore } from './room-store.js';
import type { Store } from './store.js';
import { storesOf } from './stores.js';

const BEFORE: ConnectionState = { status: 'closed', reason: 'not connected yet' };

/** Where the connection stands. */
export function useConnection(): ConnectionState {
  const client = useHubbub();
  const subscribe = useCallback((changed: () => void) => client.on('state', changed), [client]);
  return useSyncExternalStore(subscribe, () => client.state, () => BEFORE);
}

/** What can be done in a room. The functions stay the same for a room. */
export type RoomActions = Pick<
  RoomStore,
  'send' | 'retry' | 'discard' | 'loadOlder' | 'markRead' | 'keystroke' | 'stopTyping' | 'rejoin'
>;

/**
 * A room: joined while a component uses it, followed across reconnects, left a second after the last
 * one is gone. The newest page of its history is fetched at once, older ones by `loadOlder`.
 * While `watching`, messages count as read when they come; else they are unread until `markRead`.
 */
export function useRoom(roomId: string, { watching = false } = {}): RoomState & RoomActions {
  const room = useRoomStore(roomId);
  useEffect(() => (watching ? room.watch() : undefined), [room, watching]);
  const state = useStore(room);
  return useMemo(() => {
    const { send, retry, discard, loadOlder, markRead, keystroke, stopTyping, rejoin } = room;
    return { ...state, send, retry, discard, loadOlder, markRead, keystroke, stopTyping, rejoin };
  }, [room, state]);
}

/** One part of a room's state, such as `(room) => room.unread`: renders only when that part changes. */
export function useRoomState<T>(roomId: string, select: (state: RoomState) => T): T {
  const room = useRoomStore(roomId);
  return useSyncExternalStore(room.subscribe, () => select(room.get()), () => select(room.initial));
}

/** How far an own message has come. */
export interface ReceiptState {
  /** `delivered` only where the hub keeps receipts. */
  readonly status: 'sent' | 'delivered' | 'read';
  /** Who has it, those who have read it too: user ids. */
  readonly deliveredTo: readonly string[];
  readonly readBy: readonly string[];
}

/** How far the message at `offset` of a room has come; the room is joined meanwhile. */
export function useReceipt(roomId: string, offset: number): ReceiptState {
  const deliveredMap = useRoomState(roomId, (room) => room.deliveredTo);
  const readMap = useRoomState(roomId, (room) => room.readBy);
  return useMemo(() => {
    const upTo = (map: ReadonlyMap<string, number>): string[] => [...map].filter(([, at]) => at >= offset).map(([userId]) => userId);
    const [deliveredTo, readBy] = [upTo(deliveredMap), upTo(readMap)];
    return { status: readBy.length ? 'read' : deliveredTo.length ? 'delivered' : 'sent', deliveredTo, readBy };
  }, [deliveredMap, readMap, offset]);
}

/** How many messages are unread in all of these rooms, which are joined meanwhile. */
export function useUnread(roomIds: readonly string[]): number {
  const stores = storesOf(useHubbub());
  const names = JSON.stringify(roomIds);
  const rooms = useMemo(() => (JSON.parse(names) as string[]).map((id) => stores.room(id)), [stores, names]);
  const subscribe = useCallback(
    (changed: () => void) => {
      const ends = rooms.map((room) => room.subscribe(changed));
      return () => ends.forEach((end) => end());
    },
    [rooms],
  );
  return useSyncExternalStore(subscribe, () => rooms.reduce((sum, room) => sum + room.get().unread, 0), () => 0);
}

/** A user's presence; `undefined` as long as nothing is known of the user. */
export function usePresence(userId: string): UserPresence | undefined {
  const { presence } = storesOf(useHubbub());
  const subscribe = useCallback((changed: () => void) => presence.subscribe(userId, changed), [presence, userId]);
  return useSyncExternalStore(subscribe, () => presence.get(userId), () => undefined);
}

/** What can be done in a conversation. */
export type DirectActions = Pick<DirectStore, 'send' | 'retry' | 'discard' | 'markRead'>;

/** The conversation with one user, as far as this window has seen it. */
export function useDirect(userId: string): DirectState & DirectActions {
  const { directs } = storesOf(useHubbub());
  const direct = useMemo(() => directs.open(userId), [directs, userId]);
  const state = useStore(direct);
  return useMemo(() => {
    const { send, retry, discard, markRead } = direct;
    return { ...state, send, retry, discard, markRead };
  }, [direct, state]);
}

/** All conversations of this window. */
export function useDirects(): {
  readonly directs: readonly DirectState[];
  /** Begins a conversation, or does nothing when it is there. */
  open(userId: string, start?: DirectStart): void;
  /** Forgets one. */
  close(userId: string): void;
} {
  const { directs } = storesOf(useHubbub());
  const state = useStore(directs);
  return useMemo(() => ({ directs: state, open: (id, start) => void directs.open(id, start), close: directs.close }), [directs, state]);
}

/** Calls `listener`, always the newest one, for each event of the client. */
export function useHubbubEvent<K extends keyof EventMap>(event: K, listener: (value: EventMap[K]) => void): void {
  const client = useHubbub();
  const newest = useRef(listener);
  useEffect(() => {
    newest.current = listener;
  });
  useEffect(() => client.on(event, (value) => newest.current(value)), [client, event]);
}

function useRoomStore(roomId: string): RoomStore {
  return storesOf(useHubbub()).room(roomId);
}

function useStore<S>(store: Store<S>): S {
  return useSyncExternalStore(store.subscribe, store.get, () => store.initial);
}
