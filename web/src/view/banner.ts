import type { ConnectionState } from '@hubbub/client';
import { byId, setHidden, setText } from './dom.js';

const BACK_MS = 3_000;
/** For so long after the hub said that it restarts, failing attempts are no news. */
const RESTART_MS = 30_000;

/** The connection in words, with what can be done about it. */
export class Banner {
  readonly #banner = byId('banner');
  readonly #text = byId('banner-text');
  readonly #countdown = byId('banner-countdown');
  readonly #action = byId<HTMLButtonElement>('banner-action');
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wasDown = false;
  #restartingUntil = 0;
  #state: ConnectionState | undefined;

  /** `again` opens a connection after a terminal close. */
  constructor(
    readonly retryNow: () => void,
    readonly again: () => void,
  ) {}

  render(state: ConnectionState): void {
    if (state === this.#state) return;
    this.#state = state;
    clearTimeout(this.#timer);
    switch (state.status) {
      case 'connecting':
        // A quick connection needs no words.
        this.#timer = setTimeout(() => this.#show('busy', 'Connecting…'), 400);
        break;
      case 'reconnecting':
        this.#wasDown = true;
        if (state.code === 1012) this.#restartingUntil = Date.now() + RESTART_MS;
        this.#renderWaiting(state.reason, state.retryAt);
        break;
      case 'closed':
        this.#wasDown = true;
        this.#show('bad', closedWords(state.code, state.reason), 'Connect again', this.again);
        break;
      case 'connected':
        if (this.#wasDown) {
          this.#show('good', 'Connected again.');
          this.#timer = setTimeout(() => setHidden(this.#banner, true), BACK_MS);
        } else {
          setHidden(this.#banner, true);
        }
        this.#wasDown = false;
        this.#restartingUntil = 0;
    }
  }

  /** The sentence is read aloud once; the seconds beside it are not. */
  #renderWaiting(reason: string, retryAt: number | null): void {
    this.#show('busy', this.#why(reason), 'Try now', this.retryNow);
    if (retryAt === null) {
      setText(this.#countdown, 'Connecting…');
      this.#action.disabled = true;
      return;
    }
    const tick = (): void => {
      const seconds = Math.ceil((retryAt - Date.now()) / 1_000);
      setText(this.#countdown, seconds > 0 ? `Next try in ${seconds} s.` : 'Connecting…');
      if (seconds > 0) this.#timer = setTimeout(tick, 250);
    };
    tick();
  }

  #why(reason: string): string {
    if (!navigator.onLine) return 'You are offline.';
    return Date.now() < this.#restartingUntil ? 'The hub is restarting.' : `No connection: ${reason}.`;
  }

  #show(tone: 'busy' | 'good' | 'bad', text: string, action?: string, act?: () => void): void {
    this.#banner.className = `banner ${tone}`;
    setHidden(this.#banner, false);
    setText(this.#text, text);
    setText(this.#countdown, '');
    setHidden(this.#action, !action);
    setText(this.#action, action ?? '');
    this.#action.disabled = false;
    this.#action.onclick = act ?? null;
  }
}

function closedWords(code: number | undefined, reason: string): string {
  switch (code) {
    case 4401:
    case 4403:
      return `You are signed out: ${reason.replace(/\.$/, '')}.`;
    case 4409:
      return 'You are signed in from too many other windows, so this one was disconnected.';
    case 4429:
      return 'This window sent too much and was disconnected. Wait a moment before you connect again.';
    default:
      return `You are disconnected: ${reason.replace(/\.$/, '')}.`;
  }
}
