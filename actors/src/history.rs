//! What every [`History`](crate::ports::History) of this process shares: its
//! bounds, what it tells an observer, and the arithmetic of pages.

use std::{fmt, ops::RangeInclusive, sync::Arc};

use hashlink::LinkedHashMap;
use hubbub_protocol::{
    id::RoomName,
    position::{Epoch, Position},
    record::Record,
    timestamp::Timestamp,
};
use parking_lot::Mutex;

use crate::{archive::ArchivedRooms, ports::Range};

/// How long a key makes a publish idempotent, in milliseconds: ten minutes.
pub const KEY_TTL_MS: u64 = 10 * 60 * 1000;

/// The bounds of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryConfig {
    /// Most messages a reader finds in a room. Default 1000; 0 counts as 1.
    pub max_messages: usize,
    /// How long a message is kept, in milliseconds, counted from when the store
    /// took it. Default 24 hours.
    pub ttl_ms: u64,
    /// Most appends that may wait for the embedded store. Default 16384.
    pub queue_max_messages: usize,
    /// Most bytes that may wait for the embedded store; one append always may.
    /// Default 64 MiB.
    pub queue_max_bytes: usize,
    /// Most rooms that are kept. Default 100000; at most 8388607 are possible.
    pub max_rooms: usize,
    /// Rooms whose messages the embedded store keeps for good, whatever `max_messages`
    /// and `ttl_ms` say. Default none.
    pub archived: ArchivedRooms,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self {
            max_messages: 1000,
            ttl_ms: 24 * 60 * 60 * 1000,
            queue_max_messages: 16384,
            queue_max_bytes: 64 * 1024 * 1024,
            max_rooms: 100_000,
            archived: ArchivedRooms::default(),
        }
    }
}

impl HistoryConfig {
    /// Most messages of a room, at least one.
    pub(crate) fn kept(&self) -> u64 {
        self.max_messages.max(1) as u64
    }

    /// A message taken at this time or before is expired.
    pub(crate) fn expired_at(&self, now: u64) -> u64 {
        now.saturating_sub(self.ttl_ms.max(1))
    }

    /// A room without messages whose last use is not after this time may go. Never
    /// sooner than its idempotency keys end, whose answers name its epoch.
    pub(crate) fn idle_at(&self, now: u64) -> u64 {
        now.saturating_sub(self.ttl_ms.max(KEY_TTL_MS))
    }
}

/// Is told what a store does, so that the caller can count it. Called from the
/// store's thread: must be quick. Every method does nothing by default.
pub trait StoreObserver: Send + Sync + 'static {
    /// One transaction made `records` records of together `bytes` payload bytes
    /// durable in `seconds`.
    fn committed(&self, records: usize, bytes: usize, seconds: f64) {
        let _ = (records, bytes, seconds);
    }

    /// That many appends were refused because the store failed.
    fn failed(&self, records: usize) {
        let _ = records;
    }

    /// A stored record was found that cannot be read.
    fn unreadable(&self) {}

    /// What waits for the store: appends and bytes.
    fn queue(&self, len: usize, bytes: usize) {
        let _ = (len, bytes);
    }
}

/// Observes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl StoreObserver for NoObserver {}

/// Records that are known to be unreadable: so many are not told of again.
const MAX_TOLD: usize = 1024;

/// Puts something in the place of records that cannot be read, and tells of each once.
pub(crate) struct Unreadable {
    observer: Arc<dyn StoreObserver>,
    told: Mutex<LinkedHashMap<(RoomName, Position), ()>>,
}

impl Unreadable {
    pub(crate) fn new(observer: Arc<dyn StoreObserver>) -> Self {
        Self { observer, told: Mutex::default() }
    }

    /// What stands for a record that was taken at a time and cannot be read.
    pub(crate) fn replace(
        &self,
        room: &RoomName,
        position: Position,
        taken: Timestamp,
        why: &dyn fmt::Display,
    ) -> Record {
        let mut told = self.told.lock();
        if told.insert((room.clone(), position), ()).is_none() {
            if told.len() > MAX_TOLD {
                told.pop_front();
            }
            drop(told);
            self.observer.unreadable();
            log::error!(room:% = room, epoch:% = position.epoch, offset = position.offset,
                error:% = why; "a stored record cannot be read and is skipped");
        }
        Record::unreadable(room.clone(), position, taken)
    }
}

/// A new random epoch, never zero.
pub(crate) fn new_epoch() -> Epoch {
    // The fixed bits of the two halves of a UUIDv4 are at different places, so
    // that their XOR has 64 random bits.
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    Epoch((high ^ low).max(1))
}

/// The offsets a range asks for, of those that are kept (`oldest..=head`).
pub(crate) fn span(range: Range, oldest: u64, head: u64) -> RangeInclusive<u64> {
    match range {
        Range::After(offset) => oldest.max(offset.saturating_add(1))..=head,
        Range::Before(offset) => oldest..=head.min(offset.saturating_sub(1)),
        Range::Newest => oldest..=head,
    }
}

/// How many offsets a span has.
pub(crate) fn span_len(span: &RangeInclusive<u64>) -> u64 {
    if span.is_empty() { 0 } else { span.end() - span.start() + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_what_is_kept_of_what_is_asked() {
        let len = |range| span_len(&span(range, 5, 9));
        assert_eq!(len(Range::Newest), 5);
        assert_eq!(len(Range::After(0)), 5);
        assert_eq!(len(Range::After(7)), 2);
        assert_eq!(len(Range::After(9)), 0);
        assert_eq!(len(Range::After(u64::MAX)), 0);
        assert_eq!(len(Range::Before(0)), 0);
        assert_eq!(len(Range::Before(5)), 0);
        assert_eq!(len(Range::Before(7)), 2);
        assert_eq!(len(Range::Before(100)), 5);
        // Nothing is kept.
        assert_eq!(span_len(&span(Range::Newest, 1, 0)), 0);
    }

    #[test]
    fn each_unreadable_record_is_told_once() {
        #[derive(Default)]
        struct Counts(std::sync::atomic::AtomicUsize);
        impl StoreObserver for Counts {
            fn unreadable(&self) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let counts = Arc::<Counts>::default();
        let unreadable = Unreadable::new(counts.clone());
        let Ok(room) = RoomName::new("r") else { return };
        let count = |offsets: std::ops::Range<u64>| {
            for offset in offsets {
                let position = Position { epoch: Epoch(1), offset };
                unreadable.replace(&room, position, Timestamp(0), &"broken");
            }
            counts.0.load(std::sync::atomic::Ordering::Relaxed)
        };
        assert_eq!((count(1..4), count(1..4)), (3, 3));
        count(4..2000);
        assert_eq!(unreadable.told.lock().len(), MAX_TOLD);
    }

    #[test]
    fn epochs_differ() {
        assert_ne!(new_epoch(), new_epoch());
    }
}
