//! Records that come together leave together: while more deliveries wait for a worker,
//! the records of a room are put together, so that each member is handed one frame made
//! of all of them. Pure.

use std::sync::Arc;

use hubbub_protocol::{id::RoomName, record::Stored};

/// Records of one room that are put together at most.
const MAX_RECORDS: usize = 64;
/// Records of all rooms that wait at most.
const MAX_WAITING: usize = 1024;

/// Bursts in which a record looks for its room; beyond them it begins one of its own.
const LOOK_BACK: usize = 64;

/// Records of one room, in the order of their offsets, of one history.
#[derive(Debug)]
pub(super) struct Burst {
    pub(super) room: RoomName,
    pub(super) records: Vec<Arc<Stored>>,
    bytes: usize,
}

/// The bursts of a worker. Whoever adds to them sees to it that they go on.
pub(super) struct Bursts {
    waiting: Vec<Burst>,
    records: usize,
    max_bytes: usize,
}

impl Bursts {
    /// None yet; each of at most `max_bytes` of text, and at least one record.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { waiting: Vec::new(), records: 0, max_bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a record; says whether so much waits now that all must go on.
    pub(super) fn add(&mut self, record: Arc<Stored>) -> bool {
        let (bytes, max_bytes) = (record.record.wire_len(), self.max_bytes);
        let fits = |burst: &&mut Burst| {
            burst.records.len() < MAX_RECORDS
                && burst.bytes + bytes <= max_bytes
                && burst.records.last().is_some_and(|last| {
                    last.position.epoch == record.position.epoch
                        && last.position.offset < record.position.offset
                })
        };
        self.records += 1;
        // The newest of a room is behind the others.
        let mut newest = self.waiting.iter_mut().rev().take(LOOK_BACK);
        match newest.find(|burst| burst.room == record.record.room).filter(fits) {
            Some(burst) => {
                burst.bytes += bytes;
                burst.records.push(record);
            }
            None => {
                let room = record.record.room.clone();
                self.waiting.push(Burst { room, records: vec![record], bytes });
            }
        }
        self.records >= MAX_WAITING
    }

    /// Takes everything that waits, in order for each room.
    pub(super) fn take(&mut self) -> Vec<Burst> {
        self.records = 0;
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hubbub_protocol::{
        id::MessageId,
        position::{Epoch, Position},
        record::{Body, Record},
        timestamp::Timestamp,
    };

    use super::*;

    fn record(room: &str, epoch: u64, offset: u64, len: usize) -> Arc<Stored> {
        let record = Record {
            id: MessageId(uuid::Uuid::nil()),
            room: RoomName::new(room).unwrap(),
            user: None,
            username: None,
            timestamp: Timestamp(0),
            body: Body::Message { content: "x".repeat(len).into(), data: None },
            trace: None,
        };
        Arc::new(Stored { position: Position { epoch: Epoch(epoch), offset }, record })
    }

    fn offsets(bursts: &[Burst]) -> Vec<(&str, Vec<u64>)> {
        let of = |burst: &Burst| burst.records.iter().map(|r| r.position.offset).collect();
        bursts.iter().map(|burst| (burst.room.as_str(), of(burst))).collect()
    }

    #[test]
    fn rooms_are_put_together_in_order() {
        let mut bursts = Bursts::new(10_000);
        for (room, offset) in [("a", 1), ("b", 7), ("a", 2), ("b", 8), ("a", 3)] {
            assert!(!bursts.add(record(room, 1, offset, 10)));
        }
        // Another history, and one that is not newer, begin another burst.
        bursts.add(record("a", 2, 1, 10));
        bursts.add(record("b", 1, 8, 10));
        let taken = bursts.take();
        assert_eq!(
            offsets(&taken),
            [("a", vec![1, 2, 3]), ("b", vec![7, 8]), ("a", vec![1]), ("b", vec![8])]
        );
        assert!(bursts.is_empty() && bursts.take().is_empty());
    }

    #[test]
    fn they_are_bounded_in_bytes_records_and_number() {
        let mut bursts = Bursts::new(5000);
        for offset in 1..=3 {
            bursts.add(record("a", 1, offset, 2000));
        }
        bursts.add(record("a", 1, 4, 50_000));
        bursts.add(record("a", 1, 5, 10));
        assert_eq!(
            offsets(&bursts.take()),
            [("a", vec![1, 2]), ("a", vec![3]), ("a", vec![4]), ("a", vec![5])]
        );
        let mut bursts = Bursts::new(1 << 20);
        let full = (1..).find(|n| bursts.add(record("a", 1, *n, 1)));
        assert_eq!(full, Some(MAX_WAITING as u64));
        assert!(bursts.take().iter().all(|burst| burst.records.len() == MAX_RECORDS));
    }
}
