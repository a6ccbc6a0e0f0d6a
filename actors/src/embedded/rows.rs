//! Questions to the `messages` table that writer and readers share.

use rusqlite::{Connection, OptionalExtension, Result};

use super::schema::{MAX_OFFSET, key_of, offset_of};

/// An end of what is stored of a room: the offset, and when it was taken.
pub(super) type End = (u64, u64);

/// The oldest message stored of a room.
pub(super) fn first(db: &Connection, room: i64) -> Result<Option<End>> {
    end(db, room, "SELECT key, at FROM messages WHERE key BETWEEN ?1 AND ?2 ORDER BY key LIMIT 1")
}

/// The newest message stored of a room.
pub(super) fn last(db: &Connection, room: i64) -> Result<Option<End>> {
    end(
        db,
        room,
        "SELECT key, at FROM messages WHERE key BETWEEN ?1 AND ?2 ORDER BY key DESC LIMIT 1",
    )
}

fn end(db: &Connection, room: i64, sql: &str) -> Result<Option<End>> {
    db.prepare_cached(sql)?
        .query_row([key_of(room, 0), key_of(room, MAX_OFFSET)], |row| {
            Ok((offset_of(row.get(0)?), row.get::<_, i64>(1)?.cast_unsigned()))
        })
        .optional()
}

/// The first offset of `first.0..=head` that is not expired; `head + 1` if all
/// are. Times rise with the offsets of a room, so halving finds it.
pub(super) fn first_unexpired(
    db: &Connection,
    room: i64,
    first: End,
    head: u64,
    expired_at: u64,
) -> Result<u64> {
    if first.1 > expired_at {
        return Ok(first.0);
    }
    let mut at = db.prepare_cached("SELECT at FROM messages WHERE key = ?1")?;
    let (mut low, mut high) = (first.0 + 1, head + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let taken: i64 = at.query_row([key_of(room, middle)], |row| row.get(0))?;
        if taken.cast_unsigned() > expired_at {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

/// Deletes a room's messages up to an offset.
pub(super) fn delete_to(db: &Connection, room: i64, offset: u64) -> Result<usize> {
    db.prepare_cached("DELETE FROM messages WHERE key BETWEEN ?1 AND ?2")?
        .execute([key_of(room, 0), key_of(room, offset)])
}
