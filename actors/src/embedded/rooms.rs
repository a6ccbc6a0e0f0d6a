//! What the writer knows of each room: found in a bounded cache, else in the file.

use hashlink::LruCache;
use hubbub_protocol::{
    id::RoomName,
    position::{Epoch, Position},
};
use rusqlite::{Connection, OptionalExtension, Result};

use super::{
    receipts, rows,
    schema::{MAX_ROOM_ID, key_of},
};
use crate::history::{HistoryConfig, new_epoch};

/// Rooms whose state is kept in memory, about 150 bytes each.
const CACHED: usize = 1 << 16;
/// Most rows that one step of trimming deletes, so that no transaction is long.
pub(super) const SLICE: u64 = 2048;
/// Rooms looked at when a new one needs the place of an idle one.
const CANDIDATES: usize = 16;

/// A room's state as of the writer's transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Its number in the file.
    pub id: i64,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its newest offset.
    pub head: u64,
    /// The oldest offset stored; `head + 1` if none is.
    pub oldest: u64,
    /// When the newest message was taken; later ones are not taken earlier.
    pub at: u64,
    /// Whether its messages are kept for good; [`load`] does not say.
    pub archived: bool,
}

impl Room {
    /// Its epoch and newest offset.
    pub(super) fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.head }
    }

    /// Up to which offset to delete now for the bound in number. Some more than
    /// the bound are let stand, so that not every append has to delete.
    pub(super) fn overdue(&self, config: &HistoryConfig) -> Option<u64> {
        if self.archived {
            return None;
        }
        let kept = config.kept();
        let stored = (self.head + 1).saturating_sub(self.oldest);
        let due = stored > kept.saturating_add((kept / 10).max(64));
        due.then(|| (self.head - kept).min(self.oldest + SLICE - 1))
    }
}

/// The rooms of the file. After a transaction that failed, [`Rooms::forget`].
pub(super) struct Rooms {
    cache: LruCache<RoomName, Room>,
    /// How many rooms the file has; counted when it is first needed.
    count: Option<usize>,
    max: usize,
}

impl Rooms {
    /// Knows nothing yet.
    pub(super) fn new(config: &HistoryConfig) -> Self {
        let max = config.max_rooms.min(usize::try_from(MAX_ROOM_ID).unwrap_or(usize::MAX));
        Self { cache: LruCache::new(CACHED), count: None, max }
    }

    /// Forgets everything that it knows from the file.
    pub(super) fn forget(&mut self) {
        self.cache.clear();
        self.count = None;
    }

    /// The room, made if it is new. None if there are too many.
    pub(super) fn get_or_make(
        &mut self,
        db: &Connection,
        config: &HistoryConfig,
        name: &RoomName,
        now: u64,
    ) -> Result<Option<&mut Room>> {
        if !self.cache.contains_key(name) {
            let mut room = match load(db, name)? {
                Some(room) => room,
                None => match self.make(db, config, name, now)? {
                    Some(room) => room,
                    None => return Ok(None),
                },
            };
            room.archived = config.archived.contains(name);
            self.cache.insert(name.clone(), room);
        }
        Ok(self.cache.get_mut(name))
    }

    fn make(
        &mut self,
        db: &Connection,
        config: &HistoryConfig,
        name: &RoomName,
        now: u64,
    ) -> Result<Option<Room>> {
        if self.count(db)? >= self.max && !self.make_space(db, config, now)? {
            return Ok(None);
        }
        let epoch = new_epoch();
        db.prepare_cached(
            "INSERT INTO rooms (id, name, epoch, head, touched) VALUES (?1, ?2, ?3, 0, ?4)",
        )?
        .execute((
            free_id(db)?,
            name.as_str(),
            epoch.0.cast_signed(),
            now.cast_signed(),
        ))?;
        let id = db.last_insert_rowid();
        self.count = self.count.map(|n| n + 1);
        Ok(Some(Room { id, epoch, head: 0, oldest: 1, at: 0, archived: false }))
    }

    fn count(&mut self, db: &Connection) -> Result<usize> {
        if let Some(count) = self.count {
            return Ok(count);
        }
        let count: i64 = db.query_row("SELECT count(*) FROM rooms", [], |row| row.get(0))?;
        Ok(*self.count.insert(usize::try_from(count).unwrap_or(0)))
    }

    /// Removes one room that is idle and whose messages are all expired. Looks at
    /// a few; those that turn out to be in use, or archived, go to the end of the list.
    fn make_space(&mut self, db: &Connection, config: &HistoryConfig, now: u64) -> Result<bool> {
        let idle_at = config.idle_at(now);
        let candidates = db
            .prepare_cached(
                "SELECT id, name FROM rooms WHERE touched <= ?1 ORDER BY touched LIMIT ?2",
            )?
            .query_map((idle_at.cast_signed(), CANDIDATES as i64), |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
            })?
            .collect::<Result<Vec<_>>>()?;
        for (id, name) in candidates {
            match rows::last(db, id)? {
                Some(_) if is_archived(config, &name) => {
                    db.prepare_cached("UPDATE rooms SET touched = ?2 WHERE id = ?1")?
                        .execute((id, now.cast_signed()))?;
                }
                Some((_, at)) if at > idle_at => {
                    db.prepare_cached("UPDATE rooms SET touched = ?2 WHERE id = ?1")?
                        .execute((id, at.cast_signed()))?;
                }
                Some((head, at)) => {
                    let first = rows::first(db, id)?.map_or(head, |(offset, _)| offset);
                    if head - first < SLICE {
                        self.remove(db, id, &name)?;
                        return Ok(true);
                    }
                    // Too many rows for one step: the rest with the next room.
                    rows::delete_to(db, id, first + SLICE - 1)?;
                    log::debug!(room = name.as_str(), at = at; "an idle room is freed in steps");
                }
                None => {
                    self.remove(db, id, &name)?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Removes a room with all that is stored of it. If it comes back it has
    /// another epoch.
    pub(super) fn remove(&mut self, db: &Connection, id: i64, name: &str) -> Result<()> {
        rows::delete_to(db, id, super::schema::MAX_OFFSET)?;
        db.prepare_cached("DELETE FROM keys WHERE room = ?1")?.execute([id])?;
        receipts::forget(db, id)?;
        db.prepare_cached("DELETE FROM rooms WHERE id = ?1")?.execute([id])?;
        self.cache.remove(name);
        self.count = self.count.map(|n| n.saturating_sub(1));
        Ok(())
    }

    /// Forgets one room.
    pub(super) fn forget_room(&mut self, name: &str) {
        self.cache.remove(name);
    }
}

/// A number for a new room: the next one, or a free one when the last is taken.
fn free_id(db: &Connection) -> Result<i64> {
    let newest: Option<i64> =
        db.prepare_cached("SELECT max(id) FROM rooms")?.query_row([], |row| row.get(0))?;
    match newest {
        None => Ok(1),
        Some(newest) if newest < MAX_ROOM_ID => Ok(newest + 1),
        Some(_) => db.query_row(
            "SELECT min(n) FROM (SELECT 1 AS n UNION ALL SELECT id + 1 FROM rooms)
             WHERE n NOT IN (SELECT id FROM rooms)",
            [],
            |row| row.get(0),
        ),
    }
}

/// Whether a room by its name in the file is kept for good.
pub(super) fn is_archived(config: &HistoryConfig, name: &str) -> bool {
    !config.archived.is_empty()
        && RoomName::new(name).is_ok_and(|room| config.archived.contains(&room))
}

/// Reads a room's state.
pub(super) fn load(db: &Connection, name: &RoomName) -> Result<Option<Room>> {
    let row = db
        .prepare_cached("SELECT id, epoch, head FROM rooms WHERE name = ?1")?
        .query_row([name.as_str()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })
        .optional()?;
    let Some((id, epoch, head)) = row else {
        return Ok(None);
    };
    let epoch = Epoch(epoch.cast_unsigned());
    let (head, at) = rows::last(db, id)?.unwrap_or((head.cast_unsigned(), 0));
    let oldest = rows::first(db, id)?.map_or(head + 1, |(offset, _)| offset);
    Ok(Some(Room { id, epoch, head, oldest, at, archived: false }))
}

/// Whether the message at this place is this one: tells whether a transaction
/// whose end is unknown is in the file.
pub(super) fn is_stored(db: &Connection, room: i64, offset: u64, payload: &[u8]) -> Result<bool> {
    Ok(db
        .prepare_cached("SELECT payload = ?2 FROM messages WHERE key = ?1")?
        .query_row((key_of(room, offset), payload), |row| row.get(0))
        .optional()?
        .unwrap_or(false))
}
