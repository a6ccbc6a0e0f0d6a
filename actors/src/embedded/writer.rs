//! The one thread that writes: everything that waits becomes one transaction.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use hubbub_protocol::{
    id::RoomName,
    position::Position,
    record::{Record, Stored},
};
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::{
    keys,
    queue::{Queue, Taken},
    reader::Job,
    receipts,
    rooms::{self, Rooms},
    rows,
    schema::{self, DirectoryLock, MAX_OFFSET, key_of},
    sessions::{self, Sessions},
    sweep::Sweep,
};
use crate::{
    clock::Clock,
    history::{HistoryConfig, StoreObserver},
    ports::{Appended, Bus, Done, IdempotencyKey, StoreError},
};

/// Most appends in one transaction.
const BATCH: usize = 1024;
/// Most bytes in one transaction, about.
const BATCH_BYTES: usize = 4 << 20;

/// How long nothing is written until the memory of pages is given back.
const QUIET: Duration = Duration::from_secs(2);

/// What the writer is asked.
pub(super) enum Command {
    /// To store a record.
    Append(Box<Pending>),
    /// To make a room that the readers do not know, and where it stands.
    Ensure(RoomName, Option<Result<Position, StoreError>>, EnsureReply),
    /// To keep something of a session.
    Session(Box<sessions::Pending>),
    /// To take news of how far users are.
    Receipts(Box<receipts::Pending>),
    /// To go wrong.
    #[cfg(test)]
    Fault(Fault),
}

/// The way back for [`Command::Ensure`].
pub(super) type EnsureReply = oneshot::Sender<Result<Position, StoreError>>;

/// What tests let go wrong.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// The file may not grow beyond so many pages.
    MaxPages(u32),
    /// The next commit succeeds and is told to have failed.
    LostCommit,
    /// The next transaction panics.
    Panic,
}

/// A publish that waits.
pub(super) struct Pending {
    /// Taken when the record is given its offset.
    pub record: Option<Record>,
    /// Its bytes in the file.
    pub payload: Vec<u8>,
    pub key: Option<IdempotencyKey>,
    pub done: Done,
    /// What it came to, if the transaction succeeds.
    pub outcome: Option<Result<Appended, StoreError>>,
}

/// What a transaction did.
#[derive(Default)]
struct Work {
    stored: Vec<Arc<Stored>>,
    bytes: usize,
    /// The last record: which command of the batch, and where it lies.
    last: Option<(usize, i64, u64)>,
}

/// Why a transaction is not known to have succeeded.
enum Failure {
    /// Before its commit: nothing of it is in the file.
    Before(String),
    /// In its commit: perhaps it is.
    Commit(String, Work),
}

/// The state of the thread.
pub(super) struct Writer {
    pub path: PathBuf,
    /// None after a failure from which it could not be opened again yet.
    pub db: Option<Connection>,
    pub lock: DirectoryLock,
    pub config: HistoryConfig,
    pub clock: Clock,
    pub bus: Arc<dyn Bus>,
    pub observer: Arc<dyn StoreObserver>,
    pub commands: Arc<Queue<Command>>,
    pub jobs: Arc<Queue<Job>>,
    pub readers: Vec<JoinHandle<()>>,
    pub rooms: Rooms,
    pub sweep: Sweep,
    pub sessions: Sessions,
    pub log: Occasionally,
    #[cfg(test)]
    pub fault: Option<Fault>,
}

/// Lets through one a second.
#[derive(Default)]
pub(super) struct Occasionally {
    last: Option<Instant>,
    /// Held back since.
    held: u64,
}

impl Occasionally {
    /// How many were held back before this one, if this one may pass.
    fn pass(&mut self) -> Option<u64> {
        if self.last.is_some_and(|last| last.elapsed() < Duration::from_secs(1)) {
            self.held += 1;
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.held))
    }
}

impl Writer {
    /// Works until the queue is closed and empty, then ends the readers,
    /// checkpoints, closes the file and says so through `ended`.
    pub(super) fn run(mut self, ended: watch::Sender<bool>) {
        let mut next_sweep = Instant::now() + Duration::from_millis(100);
        // When pages are to be let go, if there may be some.
        let mut let_go = None;
        loop {
            let until = let_go.map_or(next_sweep, |at| next_sweep.min(at));
            match self.commands.take(BATCH, BATCH_BYTES, Some(until)) {
                Taken::Items(batch, len, bytes) => {
                    guarded("the observer", || self.observer.queue(len, bytes));
                    self.batch(batch);
                    if self.commands.is_empty() {
                        guarded("the observer", || self.observer.queue(0, 0));
                    }
                    let_go = Some(Instant::now() + QUIET);
                }
                Taken::TimedOut => {}
                Taken::Closed => break,
            }
            if Instant::now() >= next_sweep {
                next_sweep = Instant::now() + self.sweep();
            }
            if let_go.is_some_and(|at| Instant::now() >= at) {
                let_go = None;
                if let Some(db) = &self.db {
                    // Whatever it cannot let go it keeps.
                    let _ = db.release_memory();
                }
            }
        }
        self.jobs.close();
        for reader in self.readers.drain(..) {
            // A reader ends by itself once its queue is closed; its panic was logged.
            drop(reader.join());
        }
        if let Some(db) = self.db.take() {
            let checkpoint = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            if let Err(e) = checkpoint {
                // Nothing is lost: the log is read at the next start.
                log::warn!(reason = e.to_string().as_str(); "no checkpoint of the history at its end");
            }
        }
        drop(self.lock);
        ended.send_replace(true);
    }

    fn batch(&mut self, mut batch: Vec<Command>) {
        let started = Instant::now();
        let worked = match self.transaction(&mut batch) {
            Ok(work) => Ok(work),
            Err(failure) => self.recover(failure, &batch),
        };
        let error = match worked {
            Ok(work) => {
                if !work.stored.is_empty() {
                    let seconds = started.elapsed().as_secs_f64();
                    guarded("the bus", || self.bus.stored(&work.stored));
                    guarded("the observer", || {
                        self.observer.committed(work.stored.len(), work.bytes, seconds);
                    });
                }
                None
            }
            Err(reason) => {
                let appends = batch.iter().filter(|c| matches!(c, Command::Append(_))).count();
                guarded("the observer", || self.observer.failed(appends));
                self.complain(&reason, appends);
                Some(StoreError::Failed(reason))
            }
        };
        let lost = || StoreError::Failed("the store did not get to it".into());
        for command in batch {
            match command {
                Command::Append(pending) => {
                    let Pending { done, outcome, .. } = *pending;
                    let result = match &error {
                        Some(error) => Err(error.clone()),
                        None => outcome.unwrap_or_else(|| Err(lost())),
                    };
                    guarded("an answer", || done(result));
                }
                Command::Ensure(_, outcome, reply) => {
                    let result = match &error {
                        Some(error) => Err(error.clone()),
                        None => outcome.unwrap_or_else(|| Err(lost())),
                    };
                    // Whoever asked may be gone.
                    let _ = reply.send(result);
                }
                Command::Session(pending) => {
                    let result = match &error {
                        Some(error) => Err(error.clone()),
                        None => pending.outcome.ok_or_else(lost),
                    };
                    let _ = pending.reply.send(result);
                }
                Command::Receipts(pending) => {
                    let result = match &error {
                        Some(error) => Err(error.clone()),
                        None => pending.outcome.ok_or_else(lost),
                    };
                    let _ = pending.reply.send(result);
                }
                #[cfg(test)]
                Command::Fault(_) => {}
            }
        }
    }

    /// Stores a batch in one transaction.
    fn transaction(&mut self, batch: &mut [Command]) -> Result<Work, Failure> {
        let before = |e: rusqlite::Error| Failure::Before(e.to_string());
        self.reopen_if_needed().map_err(Failure::Before)?;
        let Self { db: Some(db), rooms, config, sessions, .. } = self else {
            return Err(Failure::Before("the file is not open".into()));
        };
        #[cfg(test)]
        for command in batch.iter() {
            match command {
                Command::Fault(Fault::MaxPages(n)) => {
                    db.pragma_update(None, "max_page_count", n).map_err(before)?;
                }
                Command::Fault(fault) => self.fault = Some(*fault),
                _ => {}
            }
        }
        let now = self.clock.wall();
        execute(db, "BEGIN IMMEDIATE").map_err(before)?;
        #[cfg(test)]
        let fault = self
            .fault
            .take_if(|_| batch.iter().any(|command| matches!(command, Command::Append(_))));
        let applied = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(test)]
            assert!(!matches!(fault, Some(Fault::Panic)), "as the test wants");
            apply(db, rooms, sessions, config, batch, now)
        }));
        let work = applied
            .unwrap_or_else(|_| Err("the store panicked; see the log".into()))
            .map_err(Failure::Before)?;
        let committed = execute(db, "COMMIT");
        #[cfg(test)]
        let committed = match fault {
            Some(Fault::LostCommit) => committed.and(Err(rusqlite::Error::InvalidQuery)),
            _ => committed,
        };
        match committed {
            Ok(()) => Ok(work),
            Err(e) => Err(Failure::Commit(e.to_string(), work)),
        }
    }

    /// Goes back to what is in the file. If the commit took place after all, the
    /// batch has succeeded; if not, its offsets are given out again.
    fn recover(&mut self, failure: Failure, batch: &[Command]) -> Result<Work, String> {
        self.rooms.forget();
        self.sessions.forget();
        self.roll_back();
        let (reason, work) = match failure {
            Failure::Before(reason) => return Err(reason),
            Failure::Commit(reason, work) => (reason, work),
        };
        // What the engine still holds in memory is not to be trusted.
        self.db = None;
        self.reopen_if_needed().map_err(|e| format!("{reason}; {e}"))?;
        let (Some(db), Some((index, room, offset))) = (&self.db, work.last) else {
            return Err(reason);
        };
        let Some(Command::Append(last)) = batch.get(index) else {
            return Err(reason);
        };
        match rooms::is_stored(db, room, offset, &last.payload) {
            Ok(true) => {
                log::warn!(reason = reason.as_str(); "a commit that failed turned out to be stored");
                Ok(work)
            }
            Ok(false) => Err(reason),
            Err(e) => Err(format!("{reason}; {e}")),
        }
    }

    /// Ends a transaction that failed. If that fails too, the file is opened anew.
    fn roll_back(&mut self) {
        let clean = self
            .db
            .as_ref()
            .is_some_and(|db| db.is_autocommit() || execute(db, "ROLLBACK").is_ok());
        if !clean {
            self.db = None;
        }
    }

    fn reopen_if_needed(&mut self) -> Result<(), String> {
        if self.db.is_none() {
            self.db = Some(schema::open(&self.path).map_err(|e| e.to_string())?);
        }
        Ok(())
    }

    /// Removes some of what is expired. Returns when to come back.
    fn sweep(&mut self) -> Duration {
        let slice = |this: &mut Self| -> Result<Duration, String> {
            this.reopen_if_needed()?;
            let Self { db: Some(db), rooms, config, sweep, sessions, .. } = this else {
                return Err("the file is not open".into());
            };
            let now = this.clock.wall();
            execute(db, "BEGIN IMMEDIATE").map_err(|e| e.to_string())?;
            let rooms = sweep.slice(db, rooms, config, now).map_err(|e| e.to_string())?;
            let wait = sessions.slice(db, config, now).map_err(|e| e.to_string())?.min(rooms);
            execute(db, "COMMIT").map_err(|e| e.to_string())?;
            Ok(wait)
        };
        let swept = catch_unwind(AssertUnwindSafe(|| slice(self)));
        swept.unwrap_or_else(|_| Err("the store panicked; see the log".into())).unwrap_or_else(
            |reason| {
                self.rooms.forget();
                self.sessions.forget();
                self.roll_back();
                self.complain(&reason, 0);
                Duration::from_secs(1)
            },
        )
    }

    fn complain(&mut self, reason: &str, records: usize) {
        if let Some(held) = self.log.pass() {
            log::error!(
                reason = reason, refused = records, lines_held_back = held;
                "the history store failed"
            );
        }
    }
}

fn execute(db: &Connection, sql: &str) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.execute([]).map(drop)
}

/// Calls code of others: its panic must not end the store.
fn guarded(what: &str, f: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(f)).is_err() {
        log::error!(what = what; "a panic after a message was stored");
    }
}

/// Does what a batch asks, inside a transaction.
fn apply(
    db: &Connection,
    rooms: &mut Rooms,
    sessions: &mut Sessions,
    config: &HistoryConfig,
    batch: &mut [Command],
    now: u64,
) -> Result<Work, String> {
    let failed = |e: rusqlite::Error| e.to_string();
    let mut work = Work::default();
    work.stored.reserve(batch.len());
    let mut keys_used = 0;
    let mut insert = db
        .prepare_cached("INSERT INTO messages (key, at, payload) VALUES (?1, ?2, ?3)")
        .map_err(failed)?;
    for (index, command) in batch.iter_mut().enumerate() {
        let pending = match command {
            Command::Append(pending) => pending,
            Command::Ensure(name, outcome, _) => {
                let room = rooms.get_or_make(db, config, name, now).map_err(failed)?;
                *outcome = Some(room.map(|r| r.position()).ok_or(StoreError::TooManyRooms));
                continue;
            }
            Command::Session(pending) => {
                sessions.apply(db, pending, now).map_err(failed)?;
                continue;
            }
            Command::Receipts(pending) => {
                receipts::apply(db, pending).map_err(failed)?;
                continue;
            }
            #[cfg(test)]
            Command::Fault(_) => continue,
        };
        let Some(record) = pending.record.take() else {
            continue;
        };
        let Some(room) = rooms.get_or_make(db, config, &record.room, now).map_err(failed)? else {
            pending.outcome = Some(Err(StoreError::TooManyRooms));
            continue;
        };
        if let Some(key) = &pending.key
            && let Some(first) = keys::find(db, room, key, now).map_err(failed)?
        {
            pending.outcome = Some(Ok(first));
            continue;
        }
        if room.head >= MAX_OFFSET {
            pending.outcome =
                Some(Err(StoreError::Failed("the room's offsets are used up".into())));
            continue;
        }
        room.head += 1;
        // Rises within a room even if the clock is set back: expiry is from the oldest on.
        room.at = room.at.max(now);
        insert
            .execute((key_of(room.id, room.head), room.at.cast_signed(), &pending.payload))
            .map_err(failed)?;
        if let Some(key) = &pending.key {
            keys::insert(db, room, key, record.id, now).map_err(failed)?;
            keys_used += 1;
        }
        if let Some(offset) = room.overdue(config) {
            rows::delete_to(db, room.id, offset).map_err(failed)?;
            room.oldest = offset + 1;
        }
        let position = room.position();
        pending.outcome = Some(Ok(Appended { id: record.id, position, duplicate: false }));
        work.bytes += pending.payload.len();
        work.last = Some((index, room.id, room.head));
        work.stored.push(Arc::new(Stored { position, record }));
    }
    if keys_used > 0 {
        keys::sweep(db, keys_used, now).map_err(failed)?;
    }
    Ok(work)
}
