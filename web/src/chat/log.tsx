import type { ComponentChildren, JSX } from 'preact';
import { memo, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/compat';
import type { Outgoing } from '@hubbub/client/react';
import { errorWords, fullTimeOf, nameOf, timeOf } from '../format.js';
import { Avatar, Icon } from './parts.js';
import { rowsOf, type Row, type Talk } from './rows.js';

/** This near to the end counts as reading the newest message. */
const NEAR_END_PX = 80;
/** This near to the beginning the page before is fetched. */
const NEAR_TOP_PX = 240;
/** More rows at once are a page, not news, and are not read aloud. */
const BULK = 5;

interface LogProps {
  talk: Talk;
  me: string;
  name: string;
  connected: boolean;
  start: (empty: boolean) => ComponentChildren;
  /** How far the newest own message has come. */
  receipt?: (offset: number) => { words: string; read: boolean; delivered: boolean };
  loading?: boolean;
  /** The last fetch failed; the next one waits for the reader to ask. */
  failed?: boolean;
  loadOlder?: () => void;
  retry: (key: string) => void;
  discard: (key: string) => void;
}

/** The messages of one place; made anew for another one. */
export function Log({ talk, me, name, connected, start, receipt, loading = false, failed = false, loadOlder, retry, discard }: LogProps): JSX.Element {
  const log = useRef<HTMLDivElement>(null);
  const today = new Date().toDateString();
  const rows = useMemo(() => rowsOf(talk, me, new Date()), [talk, me, today]);
  const last = rows.at(-1);
  const { scrolledUp, below, toEnd, onScroll } = useScroll(log, rows);

  const near = useCallback(() => {
    const top = log.current?.scrollTop ?? NEAR_TOP_PX;
    if (top < NEAR_TOP_PX && talk.hasOlder && !loading && !failed) loadOlder?.();
  }, [talk.hasOlder, loading, failed, loadOlder]);
  useEffect(near);

  const row = (one: Row): JSX.Element => {
    switch (one.kind) {
      case 'older':
        return (
          <div key={one.key} class="older">
            <button type="button" class="quiet" aria-disabled={loading} onClick={loadOlder}>
              {loading ? 'Loading older messages…' : 'Show older messages'}
            </button>
          </div>
        );
      case 'start':
        return <div key="start" class={one.empty ? 'start empty' : 'start'}>{start(one.empty)}</div>;
      case 'day':
        return <div key={one.key} class="day"><span>{one.words}</span></div>;
      case 'new':
        return <div key={one.key} class="day mark-new"><span>New</span></div>;
      case 'message': {
        const { line, date, first, mine, lastOwn } = one;
        const told = lastOwn && line.offset !== undefined ? receipt?.(line.offset) : undefined;
        return (
          <Message key={one.key} first={first} mine={mine} name={nameOf(line)} at={date.getTime()} content={line.content}>
            {told && (
              <p class={told.read ? 'receipt read' : 'receipt'} aria-live="off">
                <Icon name={told.delivered ? 'checks' : 'check'} />
                {told.words}
              </p>
            )}
          </Message>
        );
      }
      case 'outgoing':
        return (
          <Message
            key={one.key}
            first={one.first}
            mine
            name={name}
            at={one.date.getTime()}
            content={one.message.content}
            state={one.message.status === 'failed' ? 'failed' : 'pending'}
          >
            <Note message={one.message} last={one.last} connected={connected} retry={retry} discard={discard} />
          </Message>
        );
    }
  };

  return (
    <>
      <div
        ref={log}
        id="log"
        class="log"
        role="log"
        aria-label="Messages"
        tabIndex={0}
        onScroll={() => {
          onScroll();
          near();
        }}
      >
        {rows.map(row)}
      </div>
      <div class="latest-place">
        {scrolledUp && last && (
          <button
            type="button"
            id="to-latest"
            class="latest"
            onClick={() => {
              toEnd();
              log.current?.focus({ preventScroll: true });
            }}
          >
            {below ? (below === 1 ? '1 new message' : `${below} new messages`) : 'Latest messages'}
            <Icon name="down" />
          </button>
        )}
      </div>
    </>
  );
}

/** Keeps the end in sight while it was in sight, and else what is being read where it is. */
function useScroll(log: { current: HTMLDivElement | null }, rows: readonly Row[]) {
  const [scrolledUp, setScrolledUp] = useState(false);
  const [below, setBelow] = useState(0);
  const anchor = useRef<{ element: Element; top: number } | undefined>(undefined);
  const before = useRef<{ lastKey: string | undefined; count: number } | undefined>(undefined);
  const up = useRef(false);

  const onScroll = (): void => {
    const box = log.current;
    if (!box) return;
    up.current = box.scrollHeight - box.scrollTop - box.clientHeight > NEAR_END_PX;
    anchor.current = up.current ? firstInSight(box) : undefined;
    setScrolledUp(up.current);
    if (!up.current) setBelow(0);
  };
  const toEnd = (): void => {
    if (log.current) log.current.scrollTop = log.current.scrollHeight;
    onScroll();
  };

  useLayoutEffect(() => {
    const box = log.current;
    if (!box) return;
    const last = rows.at(-1);
    const known = before.current;
    const grew = last?.key !== known?.lastKey;
    if (!known || rows.length - known.count > BULK) muteFor(box, 300);
    before.current = { lastKey: last?.key, count: rows.length };
    // The first messages of a place: from where the unread ones begin, or at the end.
    if (!known || known.count <= 1) {
      const mark = box.querySelector<HTMLElement>('.mark-new');
      if (mark) box.scrollTop = mark.offsetTop - box.offsetTop - 40;
      else box.scrollTop = box.scrollHeight;
      return onScroll();
    }
    if (grew && last?.kind === 'outgoing') return toEnd();
    if (!up.current) {
      box.scrollTop = box.scrollHeight;
      return;
    }
    const held = anchor.current;
    if (held?.element.isConnected) box.scrollTop += held.element.getBoundingClientRect().top - held.top;
    if (grew && last?.kind === 'message') setBelow((count) => count + 1);
    onScroll();
  }, [rows]);

  // A smaller window, such as above a phone's keyboard, keeps the end in sight.
  useEffect(() => {
    const box = log.current;
    if (!box || typeof ResizeObserver === 'undefined') return;
    const observer = new ResizeObserver(() => {
      if (!up.current) box.scrollTop = box.scrollHeight;
    });
    observer.observe(box);
    return () => observer.disconnect();
  }, []);

  return { scrolledUp, below, toEnd, onScroll };
}

function firstInSight(box: HTMLElement): { element: Element; top: number } | undefined {
  const { top } = box.getBoundingClientRect();
  for (const element of box.querySelectorAll('.message')) {
    const place = element.getBoundingClientRect();
    if (place.bottom > top) return { element, top: place.top };
  }
  return undefined;
}

/** Only what is new is read aloud, not a whole room or an old page. */
function muteFor(box: HTMLElement, ms: number): void {
  box.ariaLive = 'off';
  setTimeout(() => (box.ariaLive = 'polite'), ms);
}

interface MessageProps {
  first: boolean;
  mine: boolean;
  name: string;
  at: number;
  content: string;
  state?: 'pending' | 'failed';
  children?: ComponentChildren;
}

const Message = memo(function Message({ first, mine, name, at, content, state, children }: MessageProps): JSX.Element {
  const date = new Date(at);
  const full = fullTimeOf(date);
  return (
    <div class={['message', first && 'first', mine && 'mine', state].filter(Boolean).join(' ')}>
      {first && !mine && <Avatar name={name} />}
      <div class="body">
        {/* Own messages are known by their side and colour; who listens hears it. */}
        <p class={first ? 'head' : 'head sr'}>
          <strong class={mine ? 'sr' : ''}>{mine ? 'You' : name}</strong>{' '}
          <time dateTime={date.toISOString()} title={full}>{timeOf(date)}</time>
        </p>
        <p class="bubble" title={full}>{linked(content)}</p>
        {children}
      </div>
    </div>
  );
});

interface NoteProps {
  message: Outgoing;
  last: boolean;
  connected: boolean;
  retry: (key: string) => void;
  discard: (key: string) => void;
}

/** What is wrong stands at each message, what all wait for only at the last. */
function Note({ message, last, connected, retry, discard }: NoteProps): JSX.Element | null {
  if (message.status === 'failed') {
    return (
      <p class="note">
        Not sent: {message.error ? errorWords(message.error) : 'it failed'}.{' '}
        <button type="button" class="link" onClick={() => retry(message.key)}>Try again</button>{' '}
        <button type="button" class="link" onClick={() => discard(message.key)}>Discard</button>
      </p>
    );
  }
  return last ? <p class="note">{connected ? 'Sending…' : 'Waiting for the connection'}</p> : null;
}

/** Text with its web addresses made into links. */
function linked(text: string): ComponentChildren {
  return text.split(/(https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]])/u).map((part, index) =>
    index % 2 === 0 ? part : <a href={part} target="_blank" rel="noopener noreferrer">{part}</a>,
  );
}
