//! The threads that read, each over its own connection.

use std::{path::PathBuf, sync::Arc};

use hubbub_protocol::{
    id::{RoomName, UserId},
    limits::MAX_PAGE_BYTES,
    position::{Epoch, Position},
    record::{Record, Stored},
    timestamp::Timestamp,
};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    queue::{Queue, Taken},
    receipts,
    rooms::{self, Room},
    rows,
    schema::{self, key_of, offset_of},
};
use crate::{
    clock::Clock,
    history::{HistoryConfig, Unreadable, span, span_len},
    ports::{Page, Range, StoreError},
    receipt_store::Progress,
};

/// What a reader is asked. The answer is none for a room that the file does not know.
pub(super) enum Job {
    /// Where a room stands.
    Head(RoomName, oneshot::Sender<Result<Option<Position>, StoreError>>),
    /// A page: of which room, which part, and how many records at most.
    Read(RoomName, Range, usize, oneshot::Sender<Result<Option<Page>, StoreError>>),
    /// How far users have got and read a room, if its history has this epoch.
    Receipts(RoomName, Epoch, oneshot::Sender<Result<Vec<(UserId, Progress)>, StoreError>>),
}

/// The state of one thread.
pub(super) struct Reader {
    pub path: PathBuf,
    /// None until it is needed, and after a failure.
    pub db: Option<Connection>,
    pub jobs: Arc<Queue<Job>>,
    pub config: HistoryConfig,
    pub clock: Clock,
    /// Shared by all threads.
    pub unreadable: Arc<Unreadable>,
}

impl Reader {
    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self) {
        while let Taken::Items(jobs, ..) = self.jobs.take(1, 1, None) {
            for job in jobs {
                // Whoever asked may be gone, before or after.
                match job {
                    Job::Head(_, reply) if reply.is_closed() => {}
                    Job::Read(.., reply) if reply.is_closed() => {}
                    Job::Receipts(.., reply) if reply.is_closed() => {}
                    Job::Receipts(name, epoch, reply) => {
                        let kept = |db: &Connection, _: &Self| receipts::of_room(db, &name, epoch);
                        let _ = reply.send(self.ask(kept));
                    }
                    Job::Head(name, reply) => {
                        let head = |db: &Connection, _: &Self| {
                            Ok(rooms::load(db, &name)?.map(|room| room.position()))
                        };
                        let _ = reply.send(self.ask(head));
                    }
                    Job::Read(name, range, limit, reply) => {
                        let page = |db: &Connection, this: &Self| {
                            let Some(room) = rooms::load(db, &name)? else {
                                return Ok(None);
                            };
                            this.page(db, &name, &room, range, limit).map(Some)
                        };
                        let _ = reply.send(self.ask(page));
                    }
                }
            }
        }
    }

    /// Asks in one transaction, so that all the answers are of one moment.
    fn ask<T>(
        &mut self,
        question: impl FnOnce(&Connection, &Self) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let answer = match self.db.take().map_or_else(|| schema::open_to_read(&self.path), Ok) {
            Ok(db) => {
                let answer =
                    db.unchecked_transaction().and_then(|transaction| question(&transaction, self));
                if answer.is_ok() {
                    self.db = Some(db);
                }
                answer
            }
            Err(e) => Err(e),
        };
        answer.map_err(|e| StoreError::Failed(e.to_string()))
    }

    fn page(
        &self,
        db: &Connection,
        name: &RoomName,
        room: &Room,
        range: Range,
        limit: usize,
    ) -> rusqlite::Result<Page> {
        let now = self.clock.wall();
        let mut recent = room.oldest.max((room.head + 1).saturating_sub(self.config.kept()));
        if let Some(first) = rows::first(db, room.id)? {
            let expired = self.config.expired_at(now);
            recent = recent.max(rows::first_unexpired(db, room.id, first, room.head, expired)?);
        }
        let oldest = if self.config.archived.contains(name) { room.oldest } else { recent };
        let span = span(range, oldest, room.head);
        let forward = matches!(range, Range::After(_));
        let mut select = db.prepare_cached(if forward {
            "SELECT key, payload, at FROM messages WHERE key BETWEEN ?1 AND ?2 ORDER BY key
             LIMIT ?3"
        } else {
            "SELECT key, payload, at FROM messages WHERE key BETWEEN ?1 AND ?2 ORDER BY key DESC
             LIMIT ?3"
        })?;
        let (from, to) = (key_of(room.id, *span.start()), key_of(room.id, *span.end()));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut rows = select.query([from, to, if span.is_empty() { 0 } else { limit }])?;
        let (mut records, mut bytes) = (Vec::new(), 0);
        while bytes < MAX_PAGE_BYTES
            && let Some(row) = rows.next()?
        {
            let position = Position { epoch: room.epoch, offset: offset_of(row.get(0)?) };
            let payload = row.get_ref(1)?.as_blob().unwrap_or_default();
            let record = match Record::from_payload(name.clone(), payload) {
                Ok(record) => record,
                Err(e) => {
                    let taken = Timestamp(row.get::<_, i64>(2)?.cast_unsigned());
                    self.unreadable.replace(name, position, taken, &e)
                }
            };
            bytes += record.wire_len();
            records.push(Arc::new(Stored { position, record }));
        }
        if !forward {
            records.reverse();
        }
        let has_more = (records.len() as u64) < span_len(&span);
        Ok(Page { head: room.position(), oldest, recent, records, has_more })
    }
}
