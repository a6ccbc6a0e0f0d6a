//! Removes in the background what is expired, in small slices between the batches.

use std::time::Duration;

use rusqlite::{Connection, Result};

use super::{
    keys,
    rooms::{Rooms, SLICE, is_archived},
    rows,
};
use crate::history::HistoryConfig;

/// Rooms looked at in one slice.
const ROOMS: usize = 256;
/// Until the next slice while there is more to look at.
const BETWEEN: Duration = Duration::from_millis(100);

/// Goes round all the rooms, a slice at a time.
#[derive(Default)]
pub(super) struct Sweep {
    /// The last room that was looked at.
    cursor: i64,
}

/// A room as a slice finds it.
struct Found {
    id: i64,
    name: String,
    touched: u64,
}

impl Sweep {
    /// Does one slice, inside a transaction of the caller. Returns how long to
    /// wait for the next.
    pub(super) fn slice(
        &mut self,
        db: &Connection,
        rooms: &mut Rooms,
        config: &HistoryConfig,
        now: u64,
    ) -> Result<Duration> {
        let found = db
            .prepare_cached(
                "SELECT id, name, touched FROM rooms WHERE id > ?1 ORDER BY id LIMIT ?2",
            )?
            .query_map((self.cursor, ROOMS as i64), |row| {
                Ok(Found {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    touched: row.get::<_, i64>(2)?.cast_unsigned(),
                })
            })?
            .collect::<Result<Vec<_>>>()?;
        let mut more = found.len() == ROOMS;
        let mut budget = SLICE;
        let mut cursor = self.cursor;
        for room in found {
            let deleted = trim(db, rooms, config, &room, now, budget)?;
            budget -= deleted.min(budget);
            if budget == 0 {
                // Perhaps there is more of the same room.
                more = true;
                break;
            }
            cursor = room.id;
        }
        let more_keys = keys::sweep(db, ROOMS, now)?;
        self.cursor = if more { cursor } else { 0 };
        let round = Duration::from_millis(config.ttl_ms / 16)
            .clamp(Duration::from_millis(250), Duration::from_secs(60));
        Ok(if more || more_keys { BETWEEN } else { round })
    }
}

/// Deletes at most `budget` rows of a room that are expired or too many, and the
/// room if it is idle and nothing is left. Returns how many rows.
fn trim(
    db: &Connection,
    rooms: &mut Rooms,
    config: &HistoryConfig,
    room: &Found,
    now: u64,
    budget: u64,
) -> Result<u64> {
    let (Some(first), Some((head, at))) = (rows::first(db, room.id)?, rows::last(db, room.id)?)
    else {
        if room.touched <= config.idle_at(now) {
            rooms.remove(db, room.id, &room.name)?;
        }
        return Ok(0);
    };
    if is_archived(config, &room.name) {
        return Ok(0);
    }
    let kept = rows::first_unexpired(db, room.id, first, head, config.expired_at(now))?;
    let oldest = kept.max((head + 1).saturating_sub(config.kept()));
    // The bound in number is the appends' work as long as it is only a little over.
    let over = head + 1 - first.0 > config.kept().saturating_add(config.kept() / 10);
    if kept == first.0 && !over {
        return Ok(0);
    }
    let upto = (oldest - 1).min(first.0 + budget - 1);
    rows::delete_to(db, room.id, upto)?;
    rooms.forget_room(&room.name);
    if upto == head {
        // Nothing is left that says where the room stands.
        db.prepare_cached("UPDATE rooms SET head = ?2, touched = max(touched, ?3) WHERE id = ?1")?
            .execute((room.id, head.cast_signed(), at.cast_signed()))?;
        if room.touched.max(at) <= config.idle_at(now) {
            rooms.remove(db, room.id, &room.name)?;
        }
    }
    Ok(upto + 1 - first.0)
}
