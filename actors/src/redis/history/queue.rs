//! Publishes that wait for Redis, by room, bounded in number and bytes.

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use bytes::Bytes;
use hubbub_protocol::{cluster::encode_record, id::RoomName, record::Record};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::ports::{Append, Appended, Done, IdempotencyKey, StoreError};

/// What a waiting publish takes beside its bytes, about.
const PENDING_BYTES: usize = 256;
/// Most publishes of one batch.
const BATCH_RECORDS: usize = 64;
/// Bytes at which a batch is full; one publish always fits.
const BATCH_BYTES: usize = 256 * 1024;

/// A publish that waits, or is under way.
pub(super) struct Pending {
    pub(super) record: Record,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) bytes: Bytes,
    pub(super) deadline: Instant,
    done: Done,
}

impl Pending {
    pub(super) fn new(append: Append, deadline: Instant) -> Self {
        let Append { record, key, done } = append;
        let bytes = encode_record(&record).into();
        Self { record, key, bytes, deadline, done }
    }

    pub(super) fn answer(self, result: Result<Appended, StoreError>) {
        (self.done)(result);
    }

    fn size(&self) -> usize {
        self.bytes.len() + PENDING_BYTES
    }
}

pub(super) struct Queue {
    max_len: usize,
    max_bytes: usize,
    state: Mutex<State>,
    /// How many wait or are under way.
    len: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    /// A room is here while somebody drives it.
    rooms: HashMap<RoomName, VecDeque<Pending>>,
    len: usize,
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn new(max_len: usize, max_bytes: usize) -> Self {
        Self { max_len, max_bytes, state: Mutex::default(), len: watch::Sender::new(0) }
    }

    /// Puts a publish behind those of its room; says whether the room must be
    /// driven from now on.
    pub(super) fn push(&self, pending: Pending) -> Result<bool, Box<(Pending, StoreError)>> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Box::new((pending, StoreError::Closed)));
        }
        let too_big = state.bytes > 0 && state.bytes + pending.size() > self.max_bytes;
        if state.len >= self.max_len || too_big {
            return Err(Box::new((pending, StoreError::Full)));
        }
        state.len += 1;
        state.bytes += pending.size();
        let mut first = false;
        let room = state.rooms.entry(pending.record.room.clone()).or_insert_with(|| {
            first = true;
            VecDeque::with_capacity(1)
        });
        room.push_back(pending);
        self.len.send_replace(state.len);
        Ok(first)
    }

    /// The next publishes of a room; none: the room needs no driving any more.
    pub(super) fn take(&self, room: &RoomName) -> Option<Vec<Pending>> {
        let mut state = self.state.lock();
        let waiting = state.rooms.get_mut(room)?;
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(next) = waiting.front() {
            if batch.len() >= BATCH_RECORDS || (bytes > 0 && bytes + next.size() > BATCH_BYTES) {
                break;
            }
            bytes += next.size();
            batch.extend(waiting.pop_front());
        }
        if batch.is_empty() {
            state.rooms.remove(room);
            return None;
        }
        Some(batch)
    }

    /// Puts publishes back in front: they are sent again.
    pub(super) fn put_back(&self, room: &RoomName, batch: Vec<Pending>) {
        let mut state = self.state.lock();
        let waiting = state.rooms.entry(room.clone()).or_default();
        for pending in batch.into_iter().rev() {
            waiting.push_front(pending);
        }
    }

    /// A publish that was taken will be answered.
    pub(super) fn finished(&self, pending: &Pending) {
        let mut state = self.state.lock();
        state.len -= 1;
        state.bytes -= pending.size();
        // Told after the answer was given: see `empty`.
    }

    /// Tells those who wait for the end how many are left.
    pub(super) fn told(&self) {
        let len = self.state.lock().len;
        self.len.send_replace(len);
    }

    /// How many wait or are under way, and their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.len, state.bytes)
    }

    pub(super) fn close(&self) {
        self.state.lock().closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Ends when every publish that was taken has been answered.
    pub(super) async fn empty(&self) {
        // The sender lives as long as the queue.
        let _ = self.len.subscribe().wait_for(|len| *len == 0).await;
    }
}
