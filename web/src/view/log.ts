import { fullTimeOf, timeOf } from '../format.js';
import type { Chat } from '../model/chat.js';
import type { Pending, Room } from '../model/room.js';
import { rowsOf, type Row } from '../model/rows.js';
import { avatar, button, byId, el, reconcile, setHidden, setText } from './dom.js';

/** This near to the end counts as reading the newest message. */
const NEAR_END_PX = 80;
/** This near to the beginning the page before is fetched. */
const NEAR_TOP_PX = 240;

/** The messages of the active room. */
export class LogView {
  readonly #log = byId('log');
  readonly #latest = byId<HTMLButtonElement>('to-latest');
  readonly #chat: Chat;
  #shown: Room | undefined;
  #lastKey = '';
  #below = 0;

  constructor(chat: Chat) {
    this.#chat = chat;
    this.#log.replaceChildren();
    this.#log.onscroll = () => this.#scrolled();
    this.#latest.onclick = () => {
      this.#toEnd();
      this.#log.focus({ preventScroll: true });
    };
  }

  render(): void {
    const chat = this.#chat;
    const room = chat.active;
    const rows = rowsOf(room, chat.me.sub, chat.state.status === 'connected', new Date());
    const switched = room !== this.#shown;
    const last = rows.at(-1);
    const grew = last !== undefined && last.key !== this.#lastKey;
    const anchor = chat.scrolledUp && !switched ? this.#anchor() : undefined;
    // Only what is new is read aloud, not a whole room or an old page.
    const bulk = switched || rows.length - this.#log.children.length > 5;
    if (bulk) this.#log.ariaLive = 'off';
    reconcile(this.#log, rows, (row) => this.#row(row));
    if (bulk) setTimeout(() => (this.#log.ariaLive = 'polite'), 300);

    this.#shown = room;
    this.#lastKey = last?.key ?? '';
    if (switched) this.#enter();
    else if (grew && last.kind === 'pending') this.#toEnd();
    else if (anchor) this.#log.scrollTop += anchor.element.getBoundingClientRect().top - anchor.top;
    else this.#log.scrollTop = this.#log.scrollHeight;
    if (grew && anchor && last.kind === 'message') this.#below++;
    this.#renderLatest();
    if (this.#nearTop()) void chat.loadOlder();
  }

  /** Starts at the first unread message, or at the end. */
  #enter(): void {
    const mark = this.#log.querySelector<HTMLElement>('.mark-new');
    this.#log.scrollTop = mark ? mark.offsetTop - 40 : this.#log.scrollHeight;
    this.#below = 0;
    this.#scrolled();
  }

  #toEnd(): void {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#scrolled();
  }

  #scrolled(): void {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    this.#chat.scrolledUp = scrollHeight - scrollTop - clientHeight > NEAR_END_PX;
    if (!this.#chat.scrolledUp) this.#below = 0;
    this.#renderLatest();
    if (this.#nearTop()) void this.#chat.loadOlder();
  }

  #nearTop(): boolean {
    const { hasOlder, loading, olderFailed } = this.#chat.active;
    return this.#log.scrollTop < NEAR_TOP_PX && hasOlder && !loading && !olderFailed;
  }

  #renderLatest(): void {
    setHidden(this.#latest, !this.#chat.scrolledUp);
    const news = this.#below === 1 ? '1 new message' : `${this.#below} new messages`;
    setText(this.#latest, `${this.#below ? news : 'Latest messages'} ↓`);
  }

  /** The first message in sight, to keep it where it is when the log grows above it. */
  #anchor(): { element: Element; top: number } | undefined {
    const { top } = this.#log.getBoundingClientRect();
    for (const element of this.#log.querySelectorAll('.message')) {
      const box = element.getBoundingClientRect();
      if (box.bottom > top) return { element, top: box.top };
    }
    return undefined;
  }

  #row(row: Row): HTMLElement {
    switch (row.kind) {
      case 'older': {
        const load = button(row.loading ? 'Loading older messages…' : 'Show older messages', 'quiet', () => void this.#chat.loadOlder());
        load.ariaDisabled = String(row.loading);
        return el('div', 'older', load);
      }
      case 'start':
        return startOf(row.room, row.empty);
      case 'day':
        return el('div', 'day', el('span', '', row.words));
      case 'new':
        return el('div', 'day mark-new', el('span', '', 'New'));
      case 'message': {
        const { message, date, first, mine } = row;
        return this.#message(first, mine, message.username, date, message.content);
      }
      case 'pending':
        return this.#pending(row.pending, row.first, row.waiting, row.last);
    }
  }

  #message(first: boolean, mine: boolean, name: string, date: Date, content: string): HTMLElement {
    const time = el('time', '', timeOf(date));
    time.dateTime = date.toISOString();
    time.title = fullTimeOf(date);
    // Own messages are known by their side and colour; who listens hears it.
    const head = el('p', first ? 'head' : 'head sr', el('strong', mine ? 'sr' : '', mine ? 'You' : name), ' ', time);
    const bubble = el('p', 'bubble', ...linked(content));
    bubble.title = fullTimeOf(date);
    return el(
      'div',
      `message${first ? ' first' : ''}${mine ? ' mine' : ''}`,
      first && !mine && avatar(name),
      el('div', 'body', head, bubble),
    );
  }

  /** What is wrong stands at each message, what all wait for only at the last. */
  #pending(pending: Pending, first: boolean, waiting: boolean, last: boolean): HTMLElement {
    const { me } = this.#chat;
    const element = this.#message(first, true, me.name, pending.at, pending.content);
    element.classList.add(pending.failed ? 'failed' : 'pending');
    const body = element.lastElementChild;
    if (pending.failed) {
      const again = button('Try again', 'link', () => this.#chat.retry(pending));
      const discard = button('Discard', 'link', () => this.#chat.discard(pending));
      body?.append(el('p', 'note', `Not sent: ${pending.failed}. `, again, ' ', discard));
    } else if (last) {
      body?.append(el('p', 'note', waiting ? 'Waiting for the connection' : 'Sending…'));
    }
    return element;
  }
}

/** The beginning of a room: a word of welcome, and what to do while it is empty. */
function startOf(room: string, empty: boolean): HTMLElement {
  const tile = el('span', 'tile', '#');
  tile.ariaHidden = 'true';
  const words = empty
    ? 'Nothing has been said here yet. Write the first message, or open a second window to answer yourself.'
    : 'This is where the conversation begins.';
  return el('div', empty ? 'start empty' : 'start', tile, el('strong', '', room), el('span', '', words));
}

/** Text with its web addresses made into links. */
function linked(text: string): (Node | string)[] {
  return text.split(/(https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]])/u).map((part, index) => {
    if (index % 2 === 0) return part;
    const link = el('a', '', part);
    link.href = part;
    link.target = '_blank';
    link.rel = 'noopener noreferrer';
    return link;
  });
}
