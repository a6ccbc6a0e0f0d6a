import { useCallback, useEffect, useState } from 'preact/compat';
import { read, write } from '../identity.js';

/** What is shown: a room, or the conversation with a user. */
export type Place = { readonly room: string; readonly user?: undefined } | { readonly user: string; readonly room?: undefined };

const ROOMS = 'hubbub.rooms';
export const DEFAULT_ROOM = 'lobby';
const MAX_ROOM = 64;
/** Control characters have no place in a room's name. */
const BAD_ROOM = /[\u0000-\u001f\u007f]/u;

/** The name of a room as it was written, made fit; `undefined` when nothing is left of it. */
export function roomName(written: string): string | undefined {
  const room = written.trim().replace(/^#\s*/u, '').replace(/\s+/gu, '-').slice(0, MAX_ROOM);
  return !room || BAD_ROOM.test(room) ? undefined : room;
}

export function hashOf(place: Place): string {
  return place.user === undefined ? `#${encodeURIComponent(place.room)}` : `#@${encodeURIComponent(place.user)}`;
}

function placeInHash(): Place | undefined {
  try {
    const text = decodeURIComponent(location.hash.slice(1));
    if (text.startsWith('@')) return text.length > 1 ? { user: text.slice(1) } : undefined;
    const room = roomName(text);
    return room ? { room } : undefined;
  } catch {
    return undefined;
  }
}

/** The place in the address: it can be gone back to, and opened anew. */
export function usePlace(): [Place, (place: Place) => void] {
  const [place, setPlace] = useState<Place>(() => placeInHash() ?? { room: storedRooms()[0] ?? DEFAULT_ROOM });
  useEffect(() => {
    history.replaceState(null, '', hashOf(place));
    const changed = (): void => {
      const now = placeInHash();
      if (now) setPlace(now);
    };
    addEventListener('hashchange', changed);
    return () => removeEventListener('hashchange', changed);
  }, []);
  const open = useCallback((to: Place) => {
    if (location.hash !== hashOf(to)) history.pushState(null, '', hashOf(to));
    setPlace(to);
  }, []);
  return [place, open];
}

/** The rooms this window is in; the one shown is always among them. */
export function useRooms(place: Place): { rooms: readonly string[]; forget: (room: string) => void } {
  const [rooms, setRooms] = useState<readonly string[]>(() => withRoom(storedRooms(), place));
  const all = withRoom(rooms, place);
  useEffect(() => {
    if (all !== rooms) setRooms(all);
    write(sessionStorage, ROOMS, JSON.stringify(all));
  });
  const forget = useCallback((room: string) => setRooms((now) => now.filter((one) => one !== room)), []);
  return { rooms: all, forget };
}

export function forgetRooms(): void {
  sessionStorage.removeItem(ROOMS);
}

function withRoom(rooms: readonly string[], { room }: Place): readonly string[] {
  const all = rooms.length ? rooms : [DEFAULT_ROOM];
  return room === undefined || all.includes(room) ? all : [...all, room];
}

function storedRooms(): readonly string[] {
  try {
    const rooms: unknown = JSON.parse(read(sessionStorage, ROOMS) || '[]');
    return Array.isArray(rooms) ? rooms.filter((room): room is string => typeof room === 'string') : [];
  } catch {
    return [];
  }
}
