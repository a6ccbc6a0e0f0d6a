import type { HubbubError } from '@hubbub/client';

const timeFormat = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const dayFormat = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const fullFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });

/** Local time of day. */
export const timeOf = (date: Date): string => timeFormat.format(date);

/** Local date and time, for those who want it exactly. */
export const fullTimeOf = (date: Date): string => fullFormat.format(date);

/** The day in words, seen from `now`. */
export function dayOf(date: Date, now: Date): string {
  const days = Math.round((startOfDay(now) - startOfDay(date)) / 86_400_000);
  return days === 0 ? 'Today' : days === 1 ? 'Yesterday' : dayFormat.format(date);
}

export function startOfDay(date: Date): number {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

/** What to call somebody: by name, else by user id; a backend that named nobody is the hub. */
export function nameOf({ username, userId }: { username?: string | undefined; userId?: string | undefined }): string {
  return username || userId || 'The hub';
}

/** One or two letters for an avatar. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words;
  return letters.map((word) => [...(word ?? '')][0]?.toUpperCase() ?? '').join('') || '?';
}

/** A colour class that stays with a name. */
export function hue(name: string): string {
  let hash = 7;
  for (const char of name) hash = (hash * 31 + char.charCodeAt(0)) >>> 0;
  return `hue-${((hash ^ (hash >>> 16)) >>> 0) % 8}`;
}

/** "Ada", "Ada and Bo", "Ada, Bo and 3 others". */
export function listNames(names: string[]): string {
  if (names.length <= 1) return names[0] ?? '';
  if (names.length === 2) return `${names[0]} and ${names[1]}`;
  const others = names.length - 2;
  return `${names[0]}, ${names[1]} and ${others} ${others === 1 ? 'other' : 'others'}`;
}

const WORDS: Record<string, string> = {
  bad_request: 'the hub could not read it',
  unauthorized: 'you are not signed in',
  forbidden: 'you are not allowed to',
  not_found: 'it does not exist',
  not_a_member: 'you are not in this room',
  too_large: 'it is too long',
  rate_limited: 'you are sending too fast, wait a moment',
  too_many_rooms: 'you are in too many rooms, leave one first',
  unavailable: 'the hub cannot store messages right now',
  gone: 'it is no longer there',
  timeout: 'the hub did not answer in time',
  not_connected: 'there is no connection',
  connection_lost: 'the connection broke',
  queue_full: 'too many messages are waiting already',
  expired: 'there was no connection for too long',
  closed: 'the connection was closed',
};

/** Why something failed, as the end of a sentence. */
export function errorWords(error: HubbubError): string {
  return WORDS[error.code] ?? error.message;
}
