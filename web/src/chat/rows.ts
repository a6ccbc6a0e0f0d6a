import type { Outgoing } from '@hubbub/client/react';
import { dayOf, startOfDay } from '../format.js';

/** Messages of one author this close together share one heading. */
const GROUP_MS = 5 * 60_000;

/** A stored message, of a room or of a conversation. */
export interface Line {
  readonly id: string;
  /** None of a backend that named nobody. */
  readonly userId?: string;
  readonly username?: string | undefined;
  readonly content: string;
  readonly timestamp: string;
  readonly epoch?: string;
  readonly offset?: number;
}

/** What the log shows. */
export interface Talk {
  readonly messages: readonly Line[];
  readonly outgoing: readonly Outgoing[];
  readonly firstUnread?: number | undefined;
  /** Older messages exist, and can be fetched. */
  readonly hasOlder: boolean;
  /** Nothing is known yet, so nothing can be said of its beginning. */
  readonly unknown: boolean;
}

/** One row of the log. */
export type Row =
  | { kind: 'older'; key: string }
  | { kind: 'start'; key: string; empty: boolean }
  | { kind: 'day'; key: string; words: string }
  | { kind: 'new'; key: string }
  | { kind: 'message'; key: string; line: Line; date: Date; first: boolean; mine: boolean; lastOwn: boolean }
  | { kind: 'outgoing'; key: string; message: Outgoing; date: Date; first: boolean; last: boolean };

/** The log as rows: days, the mark where the news begin, messages grouped by author. */
export function rowsOf(talk: Talk, me: string, now: Date): Row[] {
  const rows: Row[] = [];
  if (talk.hasOlder) rows.push({ kind: 'older', key: 'top' });
  else if (!talk.unknown) rows.push({ kind: 'start', key: 'top', empty: !talk.messages.length && !talk.outgoing.length });

  let lastAuthor: string | undefined;
  let lastAt = 0;
  let lastDay = 0;
  const group = (author: string, date: Date): boolean => {
    const at = date.getTime();
    const day = startOfDay(date);
    if (day !== lastDay) {
      rows.push({ kind: 'day', key: `day ${day}`, words: dayOf(date, now) });
      lastAuthor = undefined;
    }
    const first = author !== lastAuthor || at - lastAt > GROUP_MS;
    [lastAuthor, lastAt, lastDay] = [author, at, day];
    return first;
  };

  const lastOwn = talk.outgoing.some(({ status }) => status !== 'failed') ? -1 : talk.messages.findLastIndex(({ userId }) => userId === me);
  talk.messages.forEach((line, at) => {
    const date = new Date(line.timestamp);
    if (line.offset !== undefined && line.offset === talk.firstUnread) {
      rows.push({ kind: 'new', key: 'new' });
      lastAuthor = undefined;
    }
    const first = group(line.userId ?? '', date);
    const key = line.offset === undefined ? `m ${line.id}` : `m ${line.epoch} ${line.offset}`;
    rows.push({ kind: 'message', key, line, date, first, mine: line.userId === me, lastOwn: at === lastOwn });
  });
  for (const message of talk.outgoing) {
    const date = new Date(message.at);
    const first = group(me, date);
    rows.push({ kind: 'outgoing', key: `p ${message.key}`, message, date, first, last: message === talk.outgoing.at(-1) });
  }
  return rows;
}

/** How far an own message has come, in words. */
export function receiptWords(
  offset: number,
  readBy: ReadonlyMap<string, number>,
  deliveredTo: ReadonlyMap<string, number>,
  names: ReadonlyMap<string, string>,
  others: number,
): { words: string; read: boolean; delivered: boolean } {
  const reached = (map: ReadonlyMap<string, number>): string[] =>
    [...map].filter(([, upTo]) => upTo >= offset).map(([userId]) => names.get(userId) ?? 'somebody');
  const list = (found: string[]): string => (others > 1 && found.length >= others ? 'everyone' : listed(found));
  const read = reached(readBy);
  if (read.length) return { words: `Read by ${list(read)}`, read: true, delivered: true };
  const delivered = reached(deliveredTo);
  return { words: delivered.length ? `Delivered to ${list(delivered)}` : 'Sent', read: false, delivered: delivered.length > 0 };
}

function listed(names: string[]): string {
  const sorted = [...names].sort((a, b) => a.localeCompare(b));
  if (sorted.length <= 2) return sorted.join(' and ');
  const more = sorted.length - 2;
  return `${sorted[0]}, ${sorted[1]} and ${more} ${more === 1 ? 'other' : 'others'}`;
}
