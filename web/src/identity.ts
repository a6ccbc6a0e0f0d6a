import { HubbubError } from '@hubbub/client';

/** Who sits at this window: the id belongs to the window, the name is remembered by the browser. */
export interface Identity {
  sub: string;
  name: string;
}

const SUB = 'hubbub.sub';
const NAME = 'hubbub.name';

/** The name to offer at the sign-in. */
export function rememberedName(): string {
  return read(localStorage, NAME);
}

/** This window's user, when it has signed in before and was only reloaded. */
export function currentIdentity(): Identity | undefined {
  const sub = read(sessionStorage, SUB);
  const name = read(sessionStorage, NAME);
  return sub && name ? { sub, name } : undefined;
}

export function newIdentity(name: string): Identity {
  const random = crypto.getRandomValues(new Uint8Array(9));
  const sub = `guest-${Array.from(random, (byte) => byte.toString(36).padStart(2, '0')).join('')}`;
  const identity = { sub, name };
  write(sessionStorage, SUB, sub);
  write(sessionStorage, NAME, name);
  write(localStorage, NAME, name);
  return identity;
}

export function forgetIdentity(): void {
  for (const key of [SUB, NAME]) sessionStorage.removeItem(key);
}

/** A token of the development mode. */
export async function fetchToken(identity: Identity): Promise<string> {
  let response: Response;
  try {
    response = await fetch('/dev/token', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(identity),
      signal: AbortSignal.timeout(8_000),
    });
  } catch {
    throw new Error('the hub does not answer');
  }
  if (response.status === 404 || response.status === 403) {
    throw new HubbubError('forbidden', 'This hub is not in development mode, so this page cannot sign you in.');
  }
  if (!response.ok) throw new Error(`the hub answered with status ${response.status}`);
  return ((await response.json()) as { token: string }).token;
}

/** Storage may be switched off; the page then works without memory. */
export function read(storage: Storage, key: string): string {
  try {
    return storage.getItem(key) ?? '';
  } catch {
    return '';
  }
}

export function write(storage: Storage, key: string, value: string): void {
  try {
    storage.setItem(key, value);
  } catch {
    /* full or switched off */
  }
}
