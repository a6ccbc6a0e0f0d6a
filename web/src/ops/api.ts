import { read, write } from '../identity.js';

const KEY = 'hubbub.key';
const TIMEOUT_MS = 8_000;

/** What the hub refused, with its code and sentence. */
export class ApiError extends Error {
  override readonly name = 'ApiError';

  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** The API key of this window: it is gone with the window. */
export const storedKey = (): string => read(sessionStorage, KEY);
export const storeKey = (key: string): void => write(sessionStorage, KEY, key);
export const forgetKey = (): void => sessionStorage.removeItem(KEY);

/** The calls of one holder of the key. */
export class Api {
  constructor(readonly key: string) {}

  async text(path: string): Promise<string> {
    return (await this.#call('GET', path)).text();
  }

  async get<T>(path: string): Promise<T> {
    return (await this.#call('GET', path)).json() as Promise<T>;
  }

  async do<T>(method: 'POST' | 'DELETE', path: string): Promise<T> {
    return (await this.#call(method, path)).json() as Promise<T>;
  }

  async #call(method: string, path: string): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(path, { method, headers: { authorization: `Bearer ${this.key}` }, signal: AbortSignal.timeout(TIMEOUT_MS) });
    } catch {
      throw new ApiError(0, 'no_answer', 'The hub does not answer.');
    }
    if (response.ok) return response;
    const body = (await response.json().catch(() => undefined)) as { error?: { code?: string; message?: string } } | undefined;
    const { code = 'unavailable', message = `status ${response.status}` } = body?.error ?? {};
    throw new ApiError(response.status, code, sentence(message));
  }
}

/** Encodes a name for a path. */
export const segment = (name: string): string => encodeURIComponent(name);

function sentence(words: string): string {
  const text = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

export interface NodeInfo {
  nodeId: string;
  instance: string;
  own: boolean;
  state: 'ready' | 'draining' | 'gone';
  version: string;
  startedAt: string;
  seenAt: string;
  connections: number;
  sessions: number;
  rooms: number;
  publishes: number;
  volatile: number;
  deliveries: number;
}

export interface NodeList {
  nodes: NodeInfo[];
  nodeCount: number;
  users: number;
  roomCount: number;
}

export interface SessionInfo {
  id: string;
  userId: string;
  username?: string;
  ip: string;
  wire: string;
  status: string;
  openedAt: string;
  seenAt: string;
  tokenEndsAt?: string;
  waitingBytes: number;
  unacknowledged: number;
  receivedFrames: number;
  lastError?: { code: string; at: string };
  roomCount: number;
  rooms?: string[];
}

export interface SessionList {
  sessions: SessionInfo[];
  sessionCount: number;
  nodeId: string;
}

export interface RoomList {
  rooms: { roomId: string; memberCount: number }[];
  roomCount: number;
  hasMore: boolean;
}

export interface RoomInfo {
  roomId: string;
  memberCount: number;
  epoch: string;
  offset: number;
  oldestOffset: number;
}

export interface UserInfo {
  userId: string;
  username?: string;
  status: 'online' | 'away' | 'offline';
  since: string;
  socketCount: number;
  sessions: { id: string; ip: string; openedAt: string; waitingBytes: number }[];
  rooms: string[];
}

export interface TraceInfo {
  id: string;
  roomId: string;
  userId?: string;
  epoch: string;
  offset: number;
  takenAt: string;
  newestOffset: number;
  sessions: {
    sessionId: string;
    userId: string;
    username?: string;
    state: 'written' | 'waiting' | 'catching_up' | 'behind' | 'came_later';
    waitingBytes: number;
    queuedOffset: number;
  }[];
  written: number;
  /** Left out while receipts are off. */
  acknowledged?: { userId: string; status: 'delivered' | 'read' }[];
  answer?: string;
  nodeId: string;
}
