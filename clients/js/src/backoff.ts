/**
 * Exponential backoff with full jitter: a random time in [0, min(cap, base * 2^attempt)), so that
 * clients of a hub that went away do not come back in step.
 */
export function backoffMs(attempt: number, baseMs: number, capMs: number, random: () => number): number {
  return Math.floor(random() * Math.min(capMs, baseMs * 2 ** Math.min(attempt, 30)));
}

/** 44xx close codes end the session for good, but for a missed heartbeat and a client that was too slow. */
export function isTerminal(code: number): boolean {
  return code >= 4400 && code < 4500 && code !== 4408 && code !== 4413;
}

const REASONS: Record<number, string> = {
  1000: 'the hub closed the connection',
  1001: 'the hub went away',
  1006: 'the connection was lost',
  1009: 'a frame was too big for the hub',
  1011: 'the hub failed',
  1012: 'the hub is restarting',
  4400: 'the hub could not read a frame',
  4401: 'the token is missing, wrong or expired',
  4403: 'not allowed, or removed by an operator',
  4408: 'a heartbeat was missed',
  4409: 'replaced by a newer session of the same user',
  4413: 'this client was too slow',
  4429: 'too many requests',
};

/** A close in words: what the code means, or the reason that came with a code unknown here. */
export function closeReason(code: number, reason: string): string {
  return REASONS[code] || reason || `closed with code ${code}`;
}
