//! The history of all nodes, in Redis: one script orders, stores and tells in one
//! round trip.
//!
//! | file | holds |
//! |---|---|
//! | `queue` | publishes that wait, by room |
//! | `publish` | from the queue to Redis and back: one batch of a room at a time |
//! | `replies` | what the scripts answer |
//!
//! A room has at most one batch under way, so its order is that in which its
//! publishes were taken, whatever has to be sent again. Rooms do not wait for
//! each other. What Redis may or may not have done is sent again with the same
//! key, so that it is stored once.

mod publish;
mod queue;
mod replies;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use hubbub_protocol::{
    id::RoomName,
    limits::MAX_PAGE_BYTES,
    position::{Epoch, Position},
    record::Record,
};
use tokio::sync::Semaphore;

use self::queue::{Pending, Queue};
use super::{LinkError, RedisLink, Script, keys::RoomKeys};
use crate::{
    archive::Backlog,
    clock::Clock,
    history::{HistoryConfig, StoreObserver, Unreadable, new_epoch, span, span_len},
    ports::{Append, Bus, History, Page, PortFuture, Range, StoreError},
};

static PUBLISH: Script = Script::new(include_str!("../lua/publish.lua"));
static READ: Script = Script::new(include_str!("../lua/read.lua"));
static RENEW: Script = Script::new(include_str!("../lua/renew.lua"));

/// Most reads that may wait for Redis.
const MAX_READS: usize = 4096;

/// How publishes wait for Redis.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// How long a publish may wait while Redis is away; then it is refused.
    pub timeout: Duration,
    /// How many replicas must have a record before it is acknowledged.
    pub min_replicas: u32,
    /// How long these are waited for, less than an answer of Redis may take; then the
    /// publish is tried again.
    pub replicas_within: Duration,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            min_replicas: 0,
            replicas_within: Duration::from_secs(1),
        }
    }
}

/// A [`History`] in Redis. See the [module](self).
///
/// Every node hands what it has stored itself to its `bus` at once; what other
/// nodes stored it hears from the rooms' channels.
///
/// Rooms are not counted: one that nobody uses goes by itself after the age of
/// its messages, and what they all take is bounded by `maxmemory`.
#[derive(Clone)]
pub struct RedisHistory {
    inner: Arc<Inner>,
}

struct Inner {
    link: RedisLink,
    config: HistoryConfig,
    waiting: Waiting,
    /// None: the clock of Redis counts, which all nodes share.
    clock: Option<Clock>,
    bus: Arc<dyn Bus>,
    observer: Arc<dyn StoreObserver>,
    /// What waits for the archive; none: nothing is archived.
    backlog: Option<Backlog>,
    queue: Queue,
    reads: Semaphore,
    unreadable: Unreadable,
}

impl RedisHistory {
    /// A history over a link. What this node stores goes to `bus`.
    pub fn new(
        link: RedisLink,
        config: HistoryConfig,
        waiting: Waiting,
        bus: Arc<dyn Bus>,
        observer: Arc<dyn StoreObserver>,
    ) -> Self {
        Self::make(link, config, waiting, bus, observer, None, None)
    }

    /// The same with rooms whose messages are put into the backlog of an archive too.
    pub fn archived(
        link: RedisLink,
        config: HistoryConfig,
        waiting: Waiting,
        bus: Arc<dyn Bus>,
        observer: Arc<dyn StoreObserver>,
        backlog: Backlog,
    ) -> Self {
        Self::make(link, config, waiting, bus, observer, None, Some(backlog))
    }

    fn make(
        link: RedisLink,
        config: HistoryConfig,
        waiting: Waiting,
        bus: Arc<dyn Bus>,
        observer: Arc<dyn StoreObserver>,
        clock: Option<Clock>,
        backlog: Option<Backlog>,
    ) -> Self {
        let queue = Queue::new(config.queue_max_messages, config.queue_max_bytes);
        let reads = Semaphore::new(MAX_READS);
        let unreadable = Unreadable::new(observer.clone());
        let inner = Inner {
            link,
            config,
            waiting,
            clock,
            bus,
            observer,
            backlog,
            queue,
            reads,
            unreadable,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The same with another clock.
    #[cfg(test)]
    pub(crate) fn with_clock(
        link: RedisLink,
        config: HistoryConfig,
        bus: Arc<dyn Bus>,
        clock: Clock,
    ) -> Self {
        let observer = Arc::new(crate::history::NoObserver);
        Self::make(link, config, Waiting::default(), bus, observer, Some(clock), None)
    }

    /// What stands for a record that was heard and cannot be read.
    pub(crate) fn unreadable(
        &self,
        room: &RoomName,
        position: Position,
        why: &dyn std::fmt::Display,
    ) -> Record {
        self.inner.unreadable.replace(room, position, Clock::system().timestamp(), why)
    }

    /// Gives a room another epoch unless it has one already that is not `wrong`;
    /// gives the epoch that counts. For a history that has lost records which
    /// were told already.
    pub async fn renew(&self, room: &RoomName, wrong: Epoch) -> Result<Epoch, StoreError> {
        let keys = RoomKeys::new(self.inner.link.prefix(), room);
        let answer = self
            .inner
            .link
            .script(&RENEW, &[keys.state()], |cmd| {
                cmd.arg(wrong.to_string()).arg(new_epoch().to_string());
            })
            .await
            .map_err(failed)?;
        replies::epoch(&answer)
    }
}

/// What a reader is told of a failure of Redis.
fn failed(error: LinkError) -> StoreError {
    StoreError::Failed(error.to_string())
}

impl Inner {
    /// The first arguments of the scripts.
    fn bounds(&self, cmd: &mut redis::Cmd) {
        cmd.arg(self.clock.as_ref().map_or(0, Clock::wall))
            .arg(self.config.kept())
            .arg(self.config.ttl_ms.max(1))
            .arg(new_epoch().to_string());
    }

    async fn read(
        self: Arc<Self>,
        room: RoomName,
        range: Range,
        limit: usize,
    ) -> Result<Page, StoreError> {
        if self.queue.is_closed() {
            return Err(StoreError::Closed);
        }
        let _permit = self.reads.try_acquire().map_err(|_| StoreError::Full)?;
        let keys = RoomKeys::new(self.link.prefix(), &room);
        let (kind, offset) = match range {
            Range::After(offset) => ("after", offset),
            Range::Before(offset) => ("before", offset),
            Range::Newest => ("newest", 0),
        };
        let answer = self
            .link
            .script(&READ, &[keys.state(), keys.stream()], |cmd| {
                self.bounds(cmd);
                cmd.arg(kind).arg(offset).arg(limit).arg(MAX_PAGE_BYTES);
            })
            .await
            .map_err(failed)?;
        let (head, oldest, mut records) = replies::page(&answer, &room, |position, taken, e| {
            self.unreadable.replace(&room, position, taken, &e)
        })?;
        // As many as fit by what they take as frames: the script counts other bytes.
        let mut bytes = 0;
        let fitting = records
            .iter()
            .take_while(|stored| {
                let fits = bytes < MAX_PAGE_BYTES;
                bytes += stored.record.wire_len();
                fits
            })
            .count();
        records.truncate(fitting);
        if !matches!(range, Range::After(_)) {
            records.reverse();
        }
        let has_more = (records.len() as u64) < span_len(&span(range, oldest, head.offset));
        Ok(Page { head, oldest, recent: oldest, records, has_more })
    }
}

impl History for RedisHistory {
    fn append(&self, append: Append) {
        let deadline = std::time::Instant::now() + self.inner.waiting.timeout;
        let pending = Pending::new(append, deadline);
        let room = pending.record.room.clone();
        match self.inner.queue.push(pending) {
            Ok(first) => {
                self.inner.told_queue();
                if first {
                    self.inner.link.spawn(self.inner.clone().drive(room));
                }
            }
            Err(refused) => {
                let (pending, error) = *refused;
                pending.answer(Err(error));
            }
        }
    }

    fn head(&self, room: &RoomName) -> PortFuture<Result<Position, StoreError>> {
        let page = self.inner.clone().read(room.clone(), Range::Newest, 0);
        Box::pin(async move { Ok(page.await?.head) })
    }

    fn read(
        &self,
        room: &RoomName,
        range: Range,
        limit: usize,
    ) -> PortFuture<Result<Page, StoreError>> {
        Box::pin(self.inner.clone().read(room.clone(), range, limit))
    }

    fn close(&self) -> PortFuture<()> {
        let inner = self.inner.clone();
        inner.queue.close();
        Box::pin(async move { inner.queue.empty().await })
    }
}
