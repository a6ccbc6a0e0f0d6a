import { HubbubError, newKey, type Sent } from '../index.js';

/** A message of this window that is not yet among the others. */
export interface Outgoing {
  /** Its idempotency key, and its key in a list. */
  readonly key: string;
  readonly content: string;
  readonly data?: unknown;
  /** When it was written, epoch milliseconds. */
  readonly at: number;
  /** `sent`: stored, and its copy is on the way. `failed`: given up, see `error`. */
  readonly status: 'sending' | 'sent' | 'failed';
  readonly error?: HubbubError;
}

/** Messages on their way, in the order they were written. */
export class OutgoingList {
  list: readonly Outgoing[] = [];
  readonly #transmit: (message: Outgoing) => Promise<Sent>;
  readonly #arrived: (message: Outgoing, sent: Sent) => boolean;
  readonly #changed: () => void;

  /** `arrived` says whether a stored message is shown already, so that it need not be kept here. */
  constructor(
    transmit: (message: Outgoing) => Promise<Sent>,
    arrived: (message: Outgoing, sent: Sent) => boolean,
    changed: () => void,
  ) {
    this.#transmit = transmit;
    this.#arrived = arrived;
    this.#changed = changed;
  }

  send(content: string, data?: unknown): Promise<Sent> {
    const message: Outgoing = { key: newKey(), content, at: Date.now(), status: 'sending', ...(data === undefined ? {} : { data }) };
    this.list = [...this.list, message];
    return this.#start(message);
  }

  /** Sends a message again that was given up; its key makes the hub store it once. */
  retry(key: string): void {
    const failed = this.list.find((one) => one.key === key && one.status === 'failed');
    if (!failed) return;
    const { error: _, ...message } = failed;
    this.#replace(key, { ...message, status: 'sending' });
    this.#start(failed).catch(() => {}); // Told by its status.
  }

  remove(key: string): void {
    this.#replace(key, undefined);
  }

  /** The first message of this content that is not given up has come back from the hub. */
  came(content: string): void {
    const first = this.list.find((one) => one.content === content && one.status !== 'failed');
    if (first) this.remove(first.key);
  }

  /** Copies are no longer to be expected. */
  forgetSent(): void {
    this.list = this.list.filter((one) => one.status !== 'sent');
  }

  async #start(message: Outgoing): Promise<Sent> {
    this.#changed();
    try {
      const sent = await this.#transmit(message);
      if (this.#arrived(message, sent)) this.remove(message.key);
      else this.#replace(message.key, { ...message, status: 'sent' });
      return sent;
    } catch (error) {
      const why = error instanceof HubbubError ? error : new HubbubError('bad_request', String(error));
      this.#replace(message.key, { ...message, status: 'failed', error: why });
      throw why;
    }
  }

  #replace(key: string, by: Outgoing | undefined): void {
    this.list = this.list.flatMap((one) => (one.key === key ? (by ?? []) : one));
    this.#changed();
  }
}
