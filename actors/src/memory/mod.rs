//! A history in memory: for tests, demos and hubs whose messages need not
//! survive a restart.

pub mod receipts;
pub mod sessions;

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use hashlink::LinkedHashMap;
use hubbub_protocol::{
    id::RoomName,
    limits::MAX_PAGE_BYTES,
    position::{Epoch, Position},
    record::Stored,
};
use parking_lot::Mutex;

use crate::{
    clock::Clock,
    history::{HistoryConfig, KEY_TTL_MS, new_epoch, span, span_len},
    ports::{Append, Appended, Bus, History, IdempotencyKey, Page, PortFuture, Range, StoreError},
};

/// Locks that share the rooms between them.
const SHARDS: usize = 16;
/// Most idempotency keys a shard remembers; beyond it the oldest is forgotten early.
const MAX_KEYS: usize = 1 << 16;
/// Idle rooms looked at per append, and expired keys forgotten.
const SWEEP: usize = 2;

/// A [`History`] in memory. An append is done before it returns.
///
/// [`Bus::stored`] is called under the lock that orders a room: it must not
/// call back into the history.
pub struct MemoryHistory {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    rooms: AtomicUsize,
    closed: AtomicBool,
    config: HistoryConfig,
    clock: Clock,
    bus: Arc<dyn Bus>,
}

#[derive(Default)]
struct Shard {
    /// The longest unused one in front.
    rooms: LinkedHashMap<RoomName, Room>,
    /// The oldest in front.
    keys: LinkedHashMap<(RoomName, IdempotencyKey), (u64, Appended)>,
}

struct Room {
    epoch: Epoch,
    head: u64,
    /// When it was last used; rises only.
    touched: u64,
    /// When each was taken, and it; ascending without holes up to `head`.
    records: VecDeque<(u64, Arc<Stored>)>,
}

impl Room {
    fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.head }
    }

    fn trim(&mut self, config: &HistoryConfig, now: u64) {
        let expired = config.expired_at(now);
        while self.records.front().is_some_and(|(at, _)| *at <= expired)
            || self.records.len() as u64 > config.kept()
        {
            self.records.pop_front();
        }
        if self.records.is_empty() {
            self.records = VecDeque::new();
        }
    }
}

impl MemoryHistory {
    /// An empty history that hands to `bus`. Of the configuration, the bounds of
    /// the queue do not matter here.
    pub fn new(config: HistoryConfig, bus: Arc<dyn Bus>) -> Self {
        Self::with_clock(config, bus, Clock::system())
    }

    /// The same with another clock.
    pub fn with_clock(config: HistoryConfig, bus: Arc<dyn Bus>, clock: Clock) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            rooms: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            config,
            clock,
            bus,
        }
    }

    fn shard_of(&self, room: &RoomName) -> usize {
        usize::try_from(self.hasher.hash_one(room) % SHARDS as u64).unwrap_or(0)
    }

    /// Looks at the longest unused rooms of a shard; whether one was removed.
    fn sweep(&self, shard: &mut Shard, now: u64) -> bool {
        let mut removed = false;
        for _ in 0..SWEEP {
            let idle = |r: &Room| r.touched <= self.config.idle_at(now);
            if !shard.rooms.front().is_some_and(|(_, r)| idle(r)) {
                break;
            }
            shard.rooms.pop_front();
            self.rooms.fetch_sub(1, Ordering::Relaxed);
            removed = true;
        }
        for _ in 0..SWEEP {
            let old = |at: u64| at.saturating_add(KEY_TTL_MS) <= now;
            if shard.keys.len() <= MAX_KEYS
                && !shard.keys.front().is_some_and(|(_, (at, _))| old(*at))
            {
                break;
            }
            shard.keys.pop_front();
        }
        removed
    }

    /// Takes the right to one more room, if need be by removing an idle one.
    fn reserve(&self, here: usize, shard: &mut Shard, now: u64) -> Result<(), StoreError> {
        let take = || {
            self.rooms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                (n < self.config.max_rooms).then_some(n + 1)
            })
        };
        if take().is_ok() {
            return Ok(());
        }
        let mut removed = self.sweep(shard, now);
        for (i, other) in self.shards.iter().enumerate() {
            // Only tried, as two threads may look for space at once.
            if removed || i == here {
                continue;
            }
            removed = other.try_lock().is_some_and(|mut other| self.sweep(&mut other, now));
        }
        take().map(drop).map_err(|_| StoreError::TooManyRooms)
    }

    fn with_room<T>(
        &self,
        name: &RoomName,
        now: u64,
        f: impl FnOnce(&mut Room) -> T,
    ) -> Result<T, StoreError> {
        let here = self.shard_of(name);
        let mut shard = self.shards[here].lock();
        self.room(here, &mut shard, name, now).map(f)
    }

    fn room<'s>(
        &self,
        here: usize,
        shard: &'s mut Shard,
        name: &RoomName,
        now: u64,
    ) -> Result<&'s mut Room, StoreError> {
        if !shard.rooms.contains_key(name) {
            self.reserve(here, shard, now)?;
        }
        let room = shard.rooms.entry(name.clone()).or_insert_with(|| Room {
            epoch: new_epoch(),
            head: 0,
            touched: now,
            records: VecDeque::new(),
        });
        room.trim(&self.config, now);
        Ok(room)
    }

    fn store(
        &self,
        record: hubbub_protocol::record::Record,
        key: Option<IdempotencyKey>,
    ) -> Result<Appended, StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        let here = self.shard_of(&record.room);
        let mut shard = self.shards[here].lock();
        let now = self.clock.wall();
        self.sweep(&mut shard, now);
        let key = key.map(|k| (record.room.clone(), k));
        if let Some((at, first)) = key.as_ref().and_then(|k| shard.keys.get(k))
            && at.saturating_add(KEY_TTL_MS) > now
        {
            return Ok(Appended { duplicate: true, ..*first });
        }
        let name = record.room.clone();
        let room = self.room(here, &mut shard, &name, now)?;
        room.head += 1;
        room.touched = room.touched.max(now);
        let (at, position) = (room.touched, room.position());
        let appended = Appended { id: record.id, position, duplicate: false };
        let stored = Arc::new(Stored { position, record });
        room.records.push_back((at, Arc::clone(&stored)));
        room.trim(&self.config, now);
        shard.rooms.to_back(&name);
        if let Some(key) = key {
            // An old one of the same name goes, so that the new one stands last.
            shard.keys.remove(&key);
            shard.keys.insert(key, (at, appended));
        }
        // Under the lock: this is what makes the order on the bus that of the offsets.
        if catch_unwind(AssertUnwindSafe(|| self.bus.stored(&[stored]))).is_err() {
            log::error!("the bus panicked on a stored message");
        }
        Ok(appended)
    }

    fn page(&self, name: &RoomName, range: Range, limit: usize) -> Result<Page, StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        self.with_room(name, self.clock.wall(), |room| {
            let oldest = room.head + 1 - room.records.len() as u64;
            let span = span(range, oldest, room.head);
            let (limit, mut bytes) = (limit as u64, 0);
            let at = |offset: u64| {
                let index = usize::try_from(offset - oldest).ok()?;
                room.records.get(index).map(|(_, stored)| Arc::clone(stored))
            };
            let mut fits = |stored: &Arc<Stored>| {
                let fits = bytes < MAX_PAGE_BYTES;
                bytes += stored.record.wire_len();
                fits
            };
            let count = span_len(&span).min(limit);
            let mut records: Vec<_>;
            if matches!(range, Range::After(_)) {
                let offsets = *span.start()..*span.start() + count;
                records = offsets.filter_map(at).take_while(&mut fits).collect();
            } else {
                let offsets = (*span.end() + 1 - count..*span.end() + 1).rev();
                records = offsets.filter_map(at).take_while(&mut fits).collect();
                records.reverse();
            }
            let has_more = (records.len() as u64) < span_len(&span);
            Page { head: room.position(), oldest, recent: oldest, records, has_more }
        })
    }
}

impl History for MemoryHistory {
    fn append(&self, append: Append) {
        let Append { record, key, done } = append;
        done(self.store(record, key));
    }

    fn head(&self, room: &RoomName) -> PortFuture<Result<Position, StoreError>> {
        let head = if self.closed.load(Ordering::Acquire) {
            Err(StoreError::Closed)
        } else {
            self.with_room(room, self.clock.wall(), |room| room.position())
        };
        Box::pin(std::future::ready(head))
    }

    fn peek(&self, room: &RoomName) -> PortFuture<Result<Option<Position>, StoreError>> {
        let shard = self.shards[self.shard_of(room)].lock();
        let position = shard.rooms.get(room).map(Room::position);
        Box::pin(std::future::ready(Ok(position)))
    }

    fn read(
        &self,
        room: &RoomName,
        range: Range,
        limit: usize,
    ) -> PortFuture<Result<Page, StoreError>> {
        Box::pin(std::future::ready(self.page(room, range, limit)))
    }

    fn close(&self) -> PortFuture<()> {
        self.closed.store(true, Ordering::Release);
        // What was taken is stored once no shard is locked.
        for shard in &self.shards {
            drop(shard.lock());
        }
        Box::pin(std::future::ready(()))
    }
}
