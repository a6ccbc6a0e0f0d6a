//! The file of the queue, through SQLite: what it has, and one transaction for all that
//! came together.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Result, Transaction, params};
use uuid::Uuid;

use super::{QueueError, Waiting, file_path};
use crate::hooks::{HookBody, HookEvent, HookKinds};

/// The name of the file inside its folder.
pub(super) const NAME: &str = "webhooks.sqlite3";
/// `application_id` of the file: "HUBH".
const APPLICATION_ID: i64 = 0x4855_4248;
/// The format that this version writes.
const VERSION: i64 = 1;

/// `events` waits; `standing` is what was told and not told to be over: sessions
/// (kind 0: id, opening), members (kind 1: room, user) and rooms (kind 2).
const SCHEMA: &str = "
    CREATE TABLE events (
        seq    INTEGER PRIMARY KEY,
        queued INTEGER NOT NULL,
        json   BLOB    NOT NULL
    );
    CREATE TABLE standing (
        kind INTEGER NOT NULL,
        a    TEXT    NOT NULL,
        b    TEXT    NOT NULL,
        rest TEXT    NOT NULL,
        PRIMARY KEY (kind, a, b)
    ) WITHOUT ROWID;
    CREATE TABLE queue (
        one  INTEGER PRIMARY KEY CHECK (one = 1),
        id   TEXT    NOT NULL,
        next INTEGER NOT NULL
    );
";

/// The opened file, and how much waits in it.
pub(super) struct File {
    db: Connection,
    /// Events that wait.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The number of the next one.
    next: u64,
}

/// What becomes of an event.
pub(super) enum Taken {
    /// It waits.
    Kept,
    /// It is beyond the bounds.
    Full,
    /// Nobody wants to be told, or it cannot be said in JSON.
    Unwanted,
}

/// The bounds of what waits.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub kinds: HookKinds,
    pub events: u64,
    pub bytes: u64,
    /// Whether members and rooms are this node's to tell to be over.
    pub alone: bool,
}

impl File {
    /// Opens the file in a folder, or memory.
    pub(super) fn open(folder: Option<&Path>) -> Result<Self, QueueError> {
        let Some(folder) = folder else {
            let memory = Connection::open_in_memory().and_then(|db| {
                db.execute_batch(SCHEMA)?;
                Self::load(db)
            });
            return memory.map_err(|source| QueueError::File { path: ":memory:".into(), source });
        };
        std::fs::create_dir_all(folder)
            .map_err(|source| QueueError::Folder { path: folder.into(), source })?;
        let path = file_path(folder);
        let failed = |source: rusqlite::Error| match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                QueueError::InUse(path.clone())
            }
            Some(ErrorCode::NotADatabase) => QueueError::Foreign(path.clone()),
            _ => QueueError::File { path: path.clone(), source },
        };
        let db = Connection::open(&path).map_err(failed)?;
        db.busy_timeout(Duration::ZERO).map_err(failed)?;
        // Nobody else may have it: the lock is taken with the first write.
        let lock = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;
                    PRAGMA synchronous = FULL; BEGIN IMMEDIATE; COMMIT;";
        db.execute_batch(lock).map_err(failed)?;
        let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let tables = "SELECT count(*) FROM sqlite_schema";
        let found: i64 = db.query_row(tables, [], |row| row.get(0)).map_err(failed)?;
        if found == 0 {
            let make = format!(
                "BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};
                 {SCHEMA} COMMIT;"
            );
            db.execute_batch(&make).map_err(failed)?;
        } else if pragma("application_id").map_err(failed)? != APPLICATION_ID
            || pragma("user_version").map_err(failed)? != VERSION
        {
            return Err(QueueError::Foreign(path));
        }
        Self::load(db).map_err(failed)
    }

    fn load(db: Connection) -> Result<Self> {
        db.execute(
            "INSERT OR IGNORE INTO queue (one, id, next) VALUES (1, ?1, 1)",
            [Uuid::new_v4().to_string()],
        )?;
        let mut file = Self { db, count: 0, bytes: 0, next: 1 };
        file.count()?;
        Ok(file)
    }

    /// Looks how much waits.
    fn count(&mut self) -> Result<()> {
        let next: i64 = self.db.query_row("SELECT next FROM queue", [], |row| row.get(0))?;
        let all = "SELECT count(*), coalesce(sum(length(json)), 0) FROM events";
        let (count, bytes) =
            self.db.query_row(all, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        self.next = next.cast_unsigned();
        (self.count, self.bytes) = (count.cast_unsigned(), bytes.cast_unsigned());
        Ok(())
    }

    /// Names the queue.
    pub(super) fn id(&self) -> Result<String> {
        self.db.query_row("SELECT id FROM queue", [], |row| row.get(0))
    }

    /// One transaction; what it did is undone if it fails.
    pub(super) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Writing<'_>) -> Result<T>,
    ) -> Result<T> {
        let before = (self.count, self.bytes, self.next);
        let done = (|| {
            let tx = self.db.transaction()?;
            let mut writing = Writing {
                tx: &tx,
                count: &mut self.count,
                bytes: &mut self.bytes,
                next: &mut self.next,
            };
            let done = work(&mut writing)?;
            tx.execute("UPDATE queue SET next = ?1", [self.next.cast_signed()])?;
            tx.commit()?;
            Ok(done)
        })();
        if done.is_err() {
            (self.count, self.bytes, self.next) = before;
        }
        done
    }

    /// The oldest events.
    pub(super) fn peek(&self, max: usize, max_bytes: usize) -> Result<Vec<Waiting>> {
        let mut rows =
            self.db.prepare_cached("SELECT seq, queued, json FROM events ORDER BY seq LIMIT ?1")?;
        let mut rows = rows.query([i64::try_from(max).unwrap_or(i64::MAX)])?;
        let (mut events, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let seq = row.get::<_, i64>(0)?.cast_unsigned();
            let json = String::from_utf8_lossy(row.get_ref(2)?.as_blob()?).into_owned();
            bytes += json.len();
            if bytes > max_bytes && !events.is_empty() {
                break;
            }
            // The number goes before what is kept, which is an object.
            let json = format!("{{\"seq\":{seq},{}", json.strip_prefix('{').unwrap_or(&json));
            events.push(Waiting { seq, queued: row.get::<_, i64>(1)?.cast_unsigned(), json });
        }
        Ok(events)
    }

    /// When the oldest event was put into the queue.
    pub(super) fn oldest(&self) -> Result<Option<u64>> {
        let oldest = "SELECT queued FROM events ORDER BY seq LIMIT 1";
        let at = self.db.prepare_cached(oldest)?.query_row([], |row| row.get::<_, i64>(0));
        Ok(at.optional()?.map(i64::cast_unsigned))
    }
}

/// A transaction under way.
pub(super) struct Writing<'a> {
    tx: &'a Transaction<'a>,
    count: &'a mut u64,
    bytes: &'a mut u64,
    next: &'a mut u64,
}

impl Writing<'_> {
    /// So many events were dropped before they came here: their numbers are left out.
    pub(super) fn skip(&mut self, missed: u64) {
        *self.next += missed;
    }

    /// Takes an event.
    pub(super) fn add(&mut self, event: &HookEvent, bounds: &Bounds, now: u64) -> Result<Taken> {
        self.stand(event, bounds)?;
        if !bounds.kinds.has(event.kind()) {
            return Ok(Taken::Unwanted);
        }
        let Ok(json) = event.to_json() else { return Ok(Taken::Unwanted) };
        let size = json.len() as u64;
        let seq = *self.next;
        *self.next += 1;
        if *self.count >= bounds.events || *self.bytes + size > bounds.bytes {
            return Ok(Taken::Full);
        }
        self.tx
            .prepare_cached("INSERT INTO events (seq, queued, json) VALUES (?1, ?2, ?3)")?
            .execute(params![seq.cast_signed(), now.cast_signed(), json.as_bytes()])?;
        *self.count += 1;
        *self.bytes += size;
        Ok(Taken::Kept)
    }

    /// Notes what an event makes of what stands.
    fn stand(&self, event: &HookEvent, bounds: &Bounds) -> Result<()> {
        let put = |kind: i64, a: &str, b: &str, rest: &str| {
            let put = "INSERT OR REPLACE INTO standing (kind, a, b, rest) VALUES (?1, ?2, ?3, ?4)";
            self.tx.prepare_cached(put)?.execute((kind, a, b, rest)).map(drop)
        };
        let remove = |kind: i64, a: &str, b: &str| {
            let remove = "DELETE FROM standing WHERE kind = ?1 AND a = ?2 AND b = ?3";
            self.tx.prepare_cached(remove)?.execute((kind, a, b)).map(drop)
        };
        let name = |name: &Option<std::sync::Arc<str>>| {
            serde_json::to_string(name).unwrap_or_else(|_| "null".into())
        };
        match &event.body {
            HookBody::SessionOpened { session, .. } => {
                let rest = serde_json::to_string(&(&session.user, &session.username));
                let rest = rest.unwrap_or_default();
                put(
                    SESSION,
                    &session.id.to_string(),
                    &opening(&session.instance, session.opened),
                    &rest,
                )
            }
            HookBody::SessionClosed { session, .. } => remove(
                SESSION,
                &session.id.to_string(),
                &opening(&session.instance, session.opened),
            ),
            _ if !bounds.alone => Ok(()),
            HookBody::MemberJoined(m) => {
                put(MEMBER, m.room.as_str(), m.user.as_str(), &name(&m.username))
            }
            HookBody::MemberLeft(m) => remove(MEMBER, m.room.as_str(), m.user.as_str()),
            HookBody::RoomOccupied(room) => put(ROOM, room.as_str(), "", ""),
            HookBody::RoomVacated(room) => remove(ROOM, room.as_str(), ""),
            HookBody::MessagePublished { .. } => Ok(()),
        }
    }

    /// What stands: kind and texts, in the order in which it has to end.
    pub(super) fn standing(&self) -> Result<Vec<(i64, String, String, String)>> {
        self.tx
            .prepare("SELECT kind, a, b, rest FROM standing ORDER BY kind, a, b")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
            .collect()
    }

    /// Nothing stands any more.
    pub(super) fn clear(&self) -> Result<()> {
        self.tx.execute("DELETE FROM standing", []).map(drop)
    }

    /// Removes the events up to a number, or those queued before a time; gives how many.
    pub(super) fn remove(&mut self, up_to: Option<u64>, before: u64) -> Result<u64> {
        let select = "SELECT seq, queued, length(json) FROM events ORDER BY seq";
        let mut last = None;
        let (mut count, mut bytes) = (0, 0);
        {
            let mut rows = self.tx.prepare_cached(select)?;
            let mut rows = rows.query([])?;
            while let Some(row) = rows.next()? {
                let (seq, queued) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?);
                let goes = up_to.is_some_and(|up_to| seq.cast_unsigned() <= up_to)
                    || queued.cast_unsigned() < before;
                if !goes {
                    break;
                }
                last = Some(seq);
                count += 1;
                bytes += row.get::<_, i64>(2)?.cast_unsigned();
            }
        }
        if let Some(last) = last {
            self.tx.prepare_cached("DELETE FROM events WHERE seq <= ?1")?.execute([last])?;
            *self.count = self.count.saturating_sub(count);
            *self.bytes = self.bytes.saturating_sub(bytes);
        }
        Ok(count)
    }
}

/// Kinds of what stands.
pub(super) const SESSION: i64 = 0;
pub(super) const MEMBER: i64 = 1;
pub(super) const ROOM: i64 = 2;

/// One opening of a session: which start of a node, and when.
fn opening(instance: &str, opened: u64) -> String {
    format!("{instance}/{opened}")
}

/// Reads what [`opening`] wrote.
pub(super) fn read_opening(text: &str) -> Option<(&str, u64)> {
    let (instance, opened) = text.rsplit_once('/')?;
    Some((instance, opened.parse().ok()?))
}
