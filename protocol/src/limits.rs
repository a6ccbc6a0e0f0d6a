//! Bounds that hold whatever the configuration says.

/// Longest room name, in bytes of UTF-8.
pub const MAX_ROOM_NAME: usize = 128;
/// Longest user id, in bytes of UTF-8.
pub const MAX_USER_ID: usize = 128;
/// Longest display name of a user, in bytes of UTF-8; longer ones are refused with the token.
pub const MAX_USER_NAME: usize = 128;
/// Longest idempotency key, in bytes of UTF-8.
pub const MAX_KEY: usize = 128;
/// Longest name of a custom event, in bytes of UTF-8.
pub const MAX_EVENT_NAME: usize = 128;
/// Longest request id, in bytes of its JSON text.
pub const MAX_REQUEST_ID: usize = 64;
/// Deepest nesting of arrays and objects inside `data`.
pub const MAX_DEPTH: usize = 32;
/// Most commands in one `batch`.
pub const MAX_BATCH: usize = 100;
/// Most messages in one page of history.
pub const MAX_PAGE: usize = 200;
/// Messages in a page of history when the request names no `limit`.
pub const DEFAULT_PAGE: usize = 50;
/// Bytes of message bodies after which a page of history ends early.
pub const MAX_PAGE_BYTES: usize = 256 * 1024;
/// Longest ban of a user, in milliseconds: 100 years of 365.25 days.
pub const MAX_BAN_MS: u64 = 100 * 31_557_600_000;
/// Most members listed in one `joined` event or one page of `members`.
pub const MAX_MEMBERS_PAGE: usize = 100;
