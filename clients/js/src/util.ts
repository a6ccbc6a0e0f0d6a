/** The WebSocket address for what the user wrote, the page's origin when nothing was written. */
export function hubUrl(url?: string): string {
  const here = typeof location === 'undefined' ? undefined : location.href;
  const full = new URL(url ?? '/ws', here);
  full.protocol = full.protocol.replace('http', 'ws');
  if (full.pathname === '/') full.pathname = '/ws';
  full.hash = '';
  return full.href;
}

/** A random idempotency key. `crypto.randomUUID` is missing on pages without TLS, this is not. */
export function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

const encoder = new TextEncoder();

/** Length in UTF-8, which is what the hub counts. */
export function byteLength(text: string): number {
  return encoder.encode(text).length;
}
