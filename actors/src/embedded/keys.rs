//! Idempotency keys in the file. Their number is bounded by their age: every batch
//! with keys deletes up to twice as many expired ones.

use hubbub_protocol::{
    id::{MessageId, UserId},
    position::Position,
};
use rusqlite::{Connection, OptionalExtension, Result};
use uuid::Uuid;

use super::rooms::Room;
use crate::{
    history::KEY_TTL_MS,
    ports::{Appended, IdempotencyKey},
};

/// Expired keys deleted in one step at least.
const SLICE: usize = 64;

/// Names are never empty, so that the empty one means none.
fn user(key: &IdempotencyKey) -> &str {
    key.user.as_ref().map_or("", UserId::as_str)
}

/// The newest time at which a key taken is expired.
fn expired_at(now: u64) -> i64 {
    now.saturating_sub(KEY_TTL_MS).cast_signed()
}

/// What the key was used for in this room, unless that is too long ago.
pub(super) fn find(
    db: &Connection,
    room: &Room,
    key: &IdempotencyKey,
    now: u64,
) -> Result<Option<Appended>> {
    db.prepare_cached(
        "SELECT id, head FROM keys WHERE room = ?1 AND user = ?2 AND key = ?3 AND at > ?4",
    )?
    .query_row((room.id, user(key), &*key.key, expired_at(now)), |row| {
        Ok(Appended {
            id: MessageId(Uuid::from_bytes(row.get(0)?)),
            position: Position { epoch: room.epoch, offset: row.get::<_, i64>(1)?.cast_unsigned() },
            duplicate: true,
        })
    })
    .optional()
}

/// Remembers what a key was used for.
pub(super) fn insert(
    db: &Connection,
    room: &Room,
    key: &IdempotencyKey,
    id: MessageId,
    now: u64,
) -> Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO keys (room, user, key, id, head, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        room.id,
        user(key),
        &*key.key,
        id.0.as_bytes(),
        room.head.cast_signed(),
        now.cast_signed(),
    ))?;
    Ok(())
}

/// Deletes expired keys: some more than `used` new ones, so that they never pile
/// up. Whether some may be left.
pub(super) fn sweep(db: &Connection, used: usize, now: u64) -> Result<bool> {
    let expired = expired_at(now);
    let most = used.saturating_mul(2) + SLICE;
    let keys = db
        .prepare_cached("SELECT room, user, key FROM keys WHERE at <= ?1 ORDER BY at LIMIT ?2")?
        .query_map((expired, most as i64), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        })?
        .collect::<Result<Vec<_>>>()?;
    let mut delete =
        db.prepare_cached("DELETE FROM keys WHERE room = ?1 AND user = ?2 AND key = ?3")?;
    for (room, user, key) in &keys {
        delete.execute((room, user, key))?;
    }
    Ok(keys.len() == most)
}
