import type { Message } from '@hubbub/client';
import { dayOf, startOfDay } from '../format.js';
import type { Pending, Room } from './room.js';

/** Messages of one author this close together share one heading. */
const GROUP_MS = 5 * 60_000;

/** One line of the log. Rows with an equal `key` and `version` look the same. */
export type Row =
  | { kind: 'older'; key: string; version: string; loading: boolean }
  | { kind: 'start'; key: string; version: string; room: string; empty: boolean }
  | { kind: 'day'; key: string; version: string; words: string }
  | { kind: 'new'; key: string; version: string }
  | { kind: 'message'; key: string; version: string; message: Message; date: Date; first: boolean; mine: boolean }
  | { kind: 'pending'; key: string; version: string; pending: Pending; first: boolean; waiting: boolean; last: boolean };

/** The log of a room as rows: days, the mark where the news begin, messages grouped by author. */
export function rowsOf(room: Room, me: string, connected: boolean, now: Date): Row[] {
  const rows: Row[] = [];
  const empty = !room.messages.length && !room.pending.length;
  if (room.hasOlder) rows.push({ kind: 'older', key: 'top', version: `older ${room.loading}`, loading: room.loading });
  else if (room.known) rows.push({ kind: 'start', key: `top ${room.id}`, version: `${empty}`, room: room.id, empty });

  let lastAuthor = '';
  let lastAt = 0;
  let lastDay = 0;
  const group = (author: string, date: Date): boolean => {
    const at = date.getTime();
    const day = startOfDay(date);
    if (day !== lastDay) {
      const words = dayOf(date, now);
      rows.push({ kind: 'day', key: `day ${day}`, version: words, words });
      lastAuthor = '';
    }
    const first = author !== lastAuthor || at - lastAt > GROUP_MS;
    [lastAuthor, lastAt, lastDay] = [author, at, day];
    return first;
  };

  for (const message of room.messages) {
    const date = new Date(message.timestamp);
    if (message.offset === room.unreadFrom) {
      rows.push({ kind: 'new', key: 'new', version: '' });
      lastAuthor = '';
    }
    const first = group(message.userId, date);
    const mine = message.userId === me;
    rows.push({ kind: 'message', key: `m ${message.epoch} ${message.offset}`, version: `${first}`, message, date, first, mine });
  }
  for (const pending of room.pending) {
    const first = group(me, pending.at);
    const waiting = !connected;
    const last = pending === room.pending.at(-1);
    const version = `${first} ${waiting} ${last} ${pending.failed}`;
    rows.push({ kind: 'pending', key: `p ${pending.key}`, version, pending, first, waiting, last });
  }
  return rows;
}
