//! History that goes on where the store of the nodes ends: what it does not have any
//! more is read from the archive.

use std::sync::Arc;

use hubbub_protocol::{
    id::RoomName,
    limits::MAX_PAGE_BYTES,
    position::{Epoch, Position},
    record::Stored,
};
use tokio::{runtime::Handle, sync::Semaphore};

use super::{
    Archive,
    backlog::Backlog,
    entry::Row,
    metrics::ArchiveMetrics,
    postgres::{Database, DatabaseError, Side},
};
use crate::ports::{Append, History, Page, PortFuture, Range, StoreError};

/// Most reads of the archive at a time.
const MAX_READS: usize = 64;
/// Clocks of nodes and of Redis may differ by less than this, in milliseconds, and a
/// message may have waited so long for Redis.
const SKEW_MS: u64 = 60_000;

/// A [`History`] with an archive behind it.
pub struct ArchivedHistory {
    recent: Arc<dyn History>,
    archive: Archive,
}

/// Reads what is archived.
#[derive(Clone)]
pub(super) struct Reader {
    pub backlog: Backlog,
    pub database: Arc<Database>,
    pub metrics: ArchiveMetrics,
    pub reads: Arc<Semaphore>,
    /// The archive's own thread, which has the connection.
    pub runtime: Handle,
}

impl ArchivedHistory {
    /// `recent` stores and has the newest messages; its archived rooms go on in
    /// `archive`. Closing it closes both.
    pub fn new(recent: Arc<dyn History>, archive: Archive) -> Self {
        Self { recent, archive }
    }
}

impl History for ArchivedHistory {
    fn append(&self, append: Append) {
        self.recent.append(append);
    }

    fn head(&self, room: &RoomName) -> PortFuture<Result<Position, StoreError>> {
        self.recent.head(room)
    }

    fn peek(&self, room: &RoomName) -> PortFuture<Result<Option<Position>, StoreError>> {
        self.recent.peek(room)
    }

    fn read(
        &self,
        room: &RoomName,
        range: Range,
        limit: usize,
    ) -> PortFuture<Result<Page, StoreError>> {
        let page = self.recent.read(room, range, limit);
        if !self.archive.reader.backlog.wants(room) {
            return page;
        }
        let (reader, room) = (self.archive.reader.clone(), room.clone());
        Box::pin(async move {
            let page = page.await?;
            if reaches(&page, range, limit) {
                return Ok(page);
            }
            let runtime = reader.runtime.clone();
            let extended = async move { reader.extend(page, room, range, limit).await };
            runtime.spawn(extended).await.unwrap_or(Err(StoreError::Closed))
        })
    }

    fn close(&self) -> PortFuture<()> {
        let (recent, archive) = (self.recent.close(), self.archive.clone());
        Box::pin(async move {
            recent.await;
            archive.close().await;
        })
    }
}

/// The lowest offset of a page; that above the head if it is empty.
fn lowest(page: &Page) -> u64 {
    page.records.first().map_or(page.head.offset + 1, |stored| stored.position.offset)
}

/// Whether the page has all that was asked for, so that nothing below it matters.
fn reaches(page: &Page, range: Range, limit: usize) -> bool {
    let nearest = match range {
        Range::After(offset) => {
            return offset >= page.head.offset || offset.saturating_add(1) >= page.oldest;
        }
        Range::Before(offset) => page.head.offset.min(offset.saturating_sub(1)),
        Range::Newest => page.head.offset,
    };
    limit == 0 || nearest == 0 || page.has_more || lowest(page) == 1
}

/// The records of rows that follow each other without a hole, starting next to
/// `from`; as many of them as fit.
fn run(
    rows: Vec<Row>,
    epoch: Epoch,
    from: u64,
    step: impl Fn(u64) -> u64,
    space: usize,
) -> Result<Vec<Arc<Stored>>, DatabaseError> {
    let (mut expected, mut bytes) = (step(from), 0);
    let mut records = Vec::with_capacity(rows.len());
    for row in rows {
        let offset = row.position.offset;
        if offset != expected || bytes >= space {
            break;
        }
        let record = row.into_record().map_err(DatabaseError::Strange)?;
        bytes += record.wire_len();
        records.push(Arc::new(Stored { position: Position { epoch, offset }, record }));
        expected = step(offset);
    }
    Ok(records)
}

impl Reader {
    /// Reads from the archive what a page lacks.
    async fn extend(
        &self,
        page: Page,
        room: RoomName,
        range: Range,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let read = async {
            let _permit = self.reads.try_acquire().map_err(|_| StoreError::Full)?;
            match range {
                Range::After(offset) => self.above(&page, &room, offset, limit).await,
                Range::Before(offset) => {
                    let below = lowest(&page).min(offset);
                    self.below(&page, &room, below, limit).await
                }
                Range::Newest => self.below(&page, &room, lowest(&page), limit).await,
            }
        };
        let outcome = |word: &str| self.metrics.reads.with_label_values(&[word]).inc();
        match read.await {
            Ok(found) => {
                outcome("found");
                Ok(found)
            }
            // What there is is given: the rest can be asked for when the archive is back.
            Err(e)
                if matches!(range, Range::Newest)
                    || matches!(range, Range::Before(_)) && !page.records.is_empty() =>
            {
                outcome("away");
                log::debug!(room:% = room, error:% = e; "a page ends where the archive begins");
                Ok(Page { has_more: true, ..page })
            }
            Err(e) => {
                outcome(if matches!(e, StoreError::Behind) { "behind" } else { "away" });
                log::warn!(room:% = room, error:% = e; "history could not be read from the archive");
                Err(e)
            }
        }
    }

    /// The oldest messages above an offset that is below what the store has.
    async fn above(
        &self,
        page: &Page,
        room: &RoomName,
        offset: u64,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let (epoch, recent) = (page.head.epoch, page.recent);
        let side = Side::After(offset);
        let rows = self.database.read(room, epoch, side, limit.max(1), MAX_PAGE_BYTES).await?;
        // The first one that there is, here or there.
        let next = rows.first().map_or(page.oldest, |row| row.position.offset.min(page.oldest));
        if next > offset + 1 {
            let after = rows.first().map(|row| row.sent_at);
            self.hole(room, after.or_else(|| sent(page))).await?;
        }
        let oldest = if next == offset + 1 {
            self.database.first(room, epoch).await?.map_or(next, |first| first.min(next))
        } else {
            next
        };
        if rows.first().is_none_or(|row| row.position.offset != next) {
            // Nothing below what the store has: its page stands.
            return Ok(Page { oldest, ..page.clone() });
        }
        let mut records = run(rows, epoch, next - 1, |at| at + 1, MAX_PAGE_BYTES)?;
        records.truncate(limit);
        let last = records.last().map_or(offset, |stored| stored.position.offset);
        Ok(Page { head: page.head, oldest, recent, records, has_more: last < page.head.offset })
    }

    /// What the page has, and the newest messages below an offset before it.
    async fn below(
        &self,
        page: &Page,
        room: &RoomName,
        below: u64,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let epoch = page.head.epoch;
        let has: usize = page.records.iter().map(|stored| stored.record.wire_len()).sum();
        let space = MAX_PAGE_BYTES.saturating_sub(has).max(1);
        let wanted = limit.saturating_sub(page.records.len());
        let first = self.database.first(room, epoch).await?;
        if wanted == 0 || has >= MAX_PAGE_BYTES {
            let has_more = first.is_some_and(|first| first < below);
            return Ok(Page { has_more, ..page.clone() });
        }
        let side = Side::Before(below);
        let rows = self.database.read(room, epoch, side, wanted, space).await?;
        let nearest = rows.first().map(|row| row.position.offset);
        if below > 1 && nearest != Some(below - 1) {
            self.hole(room, sent(page)).await?;
            if !page.records.is_empty() {
                // A page has no holes: what lies beyond is the next one's.
                let has_more = nearest.is_some();
                return Ok(Page { oldest: page.oldest, has_more, ..page.clone() });
            }
        }
        let from = nearest.map_or(below, |nearest| nearest + 1);
        let older = run(rows, epoch, from, |at| at.saturating_sub(1), space)?;
        let lowest = older.last().map_or(below, |stored| stored.position.offset);
        let has_more = first.is_some_and(|first| first < lowest);
        let mut records: Vec<_> = older.into_iter().rev().collect();
        records.extend(page.records.iter().cloned());
        // From here to the head, as far as is known.
        let oldest = if nearest == Some(below - 1) { first.unwrap_or(lowest) } else { page.oldest };
        Ok(Page { head: page.head, oldest, recent: page.recent, records, has_more })
    }

    /// Messages are missing that were sent before this time (in milliseconds; none:
    /// before now). Fails if they may still be on their way into the archive; else
    /// they never come, because they are older than it.
    async fn hole(&self, room: &RoomName, before: Option<u64>) -> Result<(), StoreError> {
        let failed = |e: crate::redis::LinkError| StoreError::Failed(e.to_string());
        let waiting = self.backlog.look(self.backlog.place(room), false).await.map_err(failed)?;
        let now = crate::clock::Clock::system().now();
        let waits_since = now.saturating_sub(waiting.oldest_ms);
        let may_come =
            waiting.messages > 0 && waits_since <= before.unwrap_or(now).saturating_add(SKEW_MS);
        if may_come { Err(StoreError::Behind) } else { Ok(()) }
    }
}

/// When the oldest message of a page was sent.
fn sent(page: &Page) -> Option<u64> {
    page.records.first().map(|stored| stored.record.timestamp.0)
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> Self {
        Self::Archive(error.to_string())
    }
}

/// At most so many reads at a time.
pub(super) fn reads() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_READS))
}
