import type { HubbubError } from './errors.js';

/** A place in a room's history. Offsets grow by one within an epoch and mean nothing across epochs. */
export interface Position {
  epoch: string;
  offset: number;
}

/** What a user shows to others. */
export type PresenceStatus = 'online' | 'away' | 'offline';

/** A user in a room, however many sessions (tabs, devices) they have. */
export interface Member {
  userId: string;
  /** The display name, where a token brought one. */
  username?: string;
  status: PresenceStatus;
  /** Open sessions of this user. */
  socketCount: number;
}

/** The first frame of a session. */
export interface Authenticated {
  sessionId: string;
  userId: string;
  nodeId: string;
  timestamp: string;
  /** True where the hub keeps receipts for this session. */
  receipts?: boolean;
}

/** A chat message, also the sender's own copy. `timestamp` is RFC 3339 in UTC. */
export interface Message extends Position {
  type: 'message';
  id: string;
  roomId: string;
  /** Left out when a backend named nobody. */
  userId?: string;
  /** The display name, where a token brought one. */
  username?: string;
  content: string;
  data?: unknown;
  timestamp: string;
}

/** A custom event. Without an `offset` it is volatile: delivered at most once and never stored. */
export interface CustomEvent {
  type: 'event';
  roomId: string;
  /** Left out when a backend named nobody. */
  userId?: string;
  name: string;
  data?: unknown;
  epoch?: string;
  offset?: number;
}

/** The answer to a join, first or after a reconnect. */
export interface Joined extends Position {
  roomId: string;
  /** At most 100 of the room's members; `memberCount` is the true number. */
  members: Member[];
  memberCount: number;
  /** True when `messages` continues without a gap where this client stopped. */
  recovered: boolean;
  /** What was missed, oldest first; the client emits each of them again as `message` or `event`. */
  messages: (Message | CustomEvent)[];
  /** The room came back with its session: `members` and `memberCount` are those of before; ask `members`. */
  resumed?: boolean;
}

/** A user came to, or went from, a room (with their first or last session). */
export interface UserChange {
  roomId: string;
  userId: string;
  /** The display name, where a token brought one. */
  username?: string;
  timestamp: string;
}

export interface Typing {
  roomId: string;
  userId: string;
  /** The display name, where a token brought one. */
  username?: string;
  isTyping: boolean;
}

export interface Presence {
  userId: string;
  status: PresenceStatus;
  socketCount: number;
  timestamp: string;
}

/** A user has got, or read, everything up to an offset. */
export interface Receipt {
  roomId: string;
  userId: string;
  offset: number;
  /** `delivered` is told to those who wrote what has come, where the hub keeps receipts. */
  status: 'delivered' | 'read';
}

/** A message to one user, outside any room. Its position is that in the receiver's own history. */
export interface Direct extends Position {
  id: string;
  /** Left out when a backend named nobody. */
  userId?: string;
  /** The display name, where a token brought one. */
  username?: string;
  content: string;
  data?: unknown;
  timestamp: string;
}

export interface Notification {
  title: string;
  body: string;
  data?: unknown;
}

/** The hub is about to close the connection; the client comes back after `retryAfterMs`. */
export interface Closing {
  reason: string;
  retryAfterMs?: number;
}

/** Where the connection stands. Each change is a new object. */
export type ConnectionState =
  | { readonly status: 'connecting' }
  | { readonly status: 'connected'; readonly sessionId: string; readonly userId: string }
  | {
      readonly status: 'reconnecting';
      /** Attempts made since the connection was lost, 0 before the first. */
      readonly attempt: number;
      /** When the next attempt starts, as epoch milliseconds; null while one is under way. */
      readonly retryAt: number | null;
      /** Why the last connection or attempt ended, in words. */
      readonly reason: string;
      /** The WebSocket close code it ended with, 1006 when there was none; 1012: the hub restarts. */
      readonly code: number;
    }
  | {
      readonly status: 'closed';
      readonly reason: string;
      /** The WebSocket close code when the hub closed for good, such as 4403. */
      readonly code?: number;
    };

/** Events of a client and what their listeners get. */
export interface EventMap {
  state: ConnectionState;
  authenticated: Authenticated;
  joined: Joined;
  left: { roomId: string };
  message: Message;
  event: CustomEvent;
  user_joined: UserChange;
  user_left: UserChange;
  typing: Typing;
  presence: Presence;
  receipt: Receipt;
  direct: Direct;
  notification: Notification;
  /** `at` is when the token ends; with a token function the client renews it by itself. */
  token_expiring: { at: string };
  closing: Closing;
  /** An error that belongs to no request. */
  error: HubbubError;
  /** A room could not be joined again after a reconnect and is no longer followed. */
  room_lost: { roomId: string; error: HubbubError };
  /** Every frame that is not an answer, also those of a vocabulary of your own. */
  frame: Frame;
}

/** One JSON object on the wire. */
export interface Frame {
  type: string;
  [field: string]: unknown;
}

/** What custom events carry, by name, as long as nobody says it more exactly. */
export type Events = Record<string, unknown>;

/** What may go along with a message. */
export interface SendOptions {
  /** Any JSON for the application. */
  data?: unknown;
  /** Makes the hub store it once however often it is sent. Default: a random one. */
  key?: string;
}

/** Where a message landed. */
export interface Sent extends Position {
  messageId: string;
}

/** A page of history, oldest first. */
export interface HistoryPage {
  roomId: string;
  epoch: string;
  messages: (Message | CustomEvent)[];
  /** True when more lies beyond the page in the direction asked for. */
  hasMore: boolean;
}

/** A page of a room's members. */
export interface MembersPage {
  roomId: string;
  members: Member[];
  memberCount: number;
  hasMore: boolean;
}

/** A page of how far the users of a room are. */
export interface ReceiptsPage {
  roomId: string;
  epoch: string;
  /** Offsets: everything up to them; 0 for nothing. */
  receipts: { userId: string; delivered: number; read: number }[];
  hasMore: boolean;
}

/** The part of the browser's WebSocket this client uses. */
export interface WebSocketLike {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

export type WebSocketConstructor = new (url: string, protocols?: string[]) => WebSocketLike;

/** A token, or how to get a fresh one. Called before each attempt and when a token is about to expire. */
export type TokenSource = string | (() => string | Promise<string>);

export interface ClientOptions {
  /** `ws:`, `wss:`, `http:` or `https:`, with the path if it is not `/ws`. Default: the page's own origin. */
  url?: string;
  /** Left out for a hub that lets clients in anonymously. */
  token?: TokenSource;
  /** Default: the global one. Needed on Node 20, which has none. */
  WebSocket?: WebSocketConstructor;
  /** Time an attempt has, from the token to `authenticated`. Default 10000 ms. */
  connectTimeoutMs?: number;
  /** Time a request waits for its answer. Default 10000 ms. */
  requestTimeoutMs?: number;
  /** The connection is probed after this long without a frame. Default 25000 ms. */
  heartbeatMs?: number;
  /** Largest frame to send in UTF-8 bytes; keep it equal to the hub's `limits.max_frame_bytes`. Default 65536. */
  maxFrameBytes?: number;
  /** Attempt n waits a random time up to min(capMs, baseMs * 2^n). Default 500 and 30000 ms. */
  backoff?: { baseMs?: number; capMs?: number };
  /**
   * Messages that wait for a connection. Default 100 of at most 300000 ms; keep the age below the
   * 10 minutes for which the hub remembers keys.
   */
  queue?: { maxMessages?: number; maxAgeMs?: number };
  /**
   * Collects small messages and events for so many milliseconds and sends them in one frame: fewer
   * frames for many small events, for so much more delay. Default 0: each goes at once.
   */
  batchMs?: number;
  /**
   * Shortest time between two volatile events of a name in a room, in milliseconds, such as
   * `{ cursor: 50 }`. Of those that come sooner only the newest is sent. Default: none.
   */
  throttle?: Record<string, number>;
  /** A number in [0, 1) for the jitter. Default `Math.random`. */
  random?: () => number;
}
