/** Codes the hub itself answers with; the same words on every wire and in HTTP. */
export type HubCode =
  | 'bad_request'
  | 'unauthorized'
  | 'forbidden'
  | 'not_found'
  | 'not_a_member'
  | 'too_large'
  | 'rate_limited'
  | 'too_many_rooms'
  | 'unavailable'
  | 'gone';

/** Codes this client adds for what happens before or without an answer of the hub. */
export type ClientCode =
  /** No answer within the request's time-out. A message may have been stored: retry with the same key. */
  | 'timeout'
  /** The call needs a connection and there is none. Nothing was sent. */
  | 'not_connected'
  /** The connection broke after the request was sent; whether it took effect is not known. */
  | 'connection_lost'
  /** The offline queue holds `queue.maxMessages` already. Nothing was sent. */
  | 'queue_full'
  /** The message waited longer than `queue.maxAgeMs`. */
  | 'expired'
  /** The client was closed, by `close()` or by a terminal close code. */
  | 'closed';

/** Every code an error can carry. A newer hub may send words that are not listed here. */
export type ErrorCode = HubCode | ClientCode | (string & {});

/** What a request is rejected with, and what the `error` event carries. */
export class HubbubError extends Error {
  override readonly name = 'HubbubError';
  /** The stable word to branch on. */
  readonly code: ErrorCode;
  /** How long to wait before trying again, in milliseconds, when the hub said so. */
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, retryAfterMs?: number) {
    super(message);
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}
