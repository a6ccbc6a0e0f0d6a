//! Carries what was published to the room servers of this process that have
//! members for it: the bus of a single node, and the last hop of a cluster's.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use actix::Recipient;
use hubbub_protocol::{id::RoomName, record::Stored};
use parking_lot::{Mutex, RwLock};

use crate::{
    messages::RoomDelivery,
    ports::{Audience, Broadcast, Bus, Page, RoomBus, Spread, Subscription},
};

/// Most workers of a node.
pub const MAX_WORKERS: usize = 64;

/// Records that may wait for a worker before publishes are refused.
const MAX_BACKLOG: usize = 65_536;

const SHARDS: usize = 16;

/// Which workers have members for a room, as bits.
type Interest = HashMap<RoomName, u64>;

struct Port {
    room_server: Recipient<RoomDelivery>,
    backlog: Arc<AtomicUsize>,
}

/// The relay of a node.
pub struct Relay {
    workers: RwLock<Vec<Port>>,
    interest: [Mutex<Interest>; SHARDS],
    rooms: AtomicUsize,
    hasher: RandomState,
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            workers: RwLock::default(),
            interest: std::array::from_fn(|_| Mutex::default()),
            rooms: AtomicUsize::new(0),
            hasher: RandomState::new(),
        }
    }
}

impl Relay {
    /// Adds a worker's room server; gives its number and its backlog, which the
    /// room server takes down for every record it has handled.
    pub fn add_worker(&self, room_server: Recipient<RoomDelivery>) -> (usize, Arc<AtomicUsize>) {
        let mut workers = self.workers.write();
        let backlog = Arc::new(AtomicUsize::new(0));
        workers.push(Port { room_server, backlog: backlog.clone() });
        (workers.len() - 1, backlog)
    }

    /// Replaces nothing, removes nothing: how many workers there are.
    pub fn workers(&self) -> usize {
        self.workers.read().len()
    }

    fn shard(&self, room: &RoomName) -> &Mutex<Interest> {
        &self.interest[self.hasher.hash_one(room) as usize % SHARDS]
    }

    fn mask(&self, room: &RoomName) -> u64 {
        self.shard(room).lock().get(room).copied().unwrap_or(0)
    }

    /// How many rooms any worker has members in, without the reserved ones.
    pub fn room_count(&self) -> usize {
        self.rooms.load(Ordering::Relaxed)
    }

    /// Whether any worker has members in a room.
    pub fn is_occupied(&self, room: &RoomName) -> bool {
        self.mask(room) != 0
    }

    /// The name of a room as its members here hold it, or as it is.
    pub fn name_of(&self, room: RoomName) -> RoomName {
        let known = self.shard(&room).lock().get_key_value(&room).map(|(name, _)| name.clone());
        known.unwrap_or(room)
    }

    /// Tells the members of a room that messages are lost, with its newest ones.
    pub fn reset(&self, room: &RoomName, page: &Arc<Page>) {
        let mask = self.mask(room);
        for (i, worker) in self.workers.read().iter().enumerate() {
            if mask & (1 << i) != 0 {
                worker.backlog.fetch_add(1, Ordering::Relaxed);
                worker.room_server.do_send(RoomDelivery::Reset(room.clone(), page.clone()));
            }
        }
    }

    /// How many deliveries wait for the worker that is furthest behind.
    pub fn backlog(&self) -> usize {
        let waiting = |w: &Port| w.backlog.load(Ordering::Relaxed);
        self.workers.read().iter().map(waiting).max().unwrap_or(0)
    }

    /// Tells every session that the other nodes cannot be reached.
    pub fn away(&self) {
        for worker in self.workers.read().iter() {
            worker.backlog.fetch_add(1, Ordering::Relaxed);
            worker.room_server.do_send(RoomDelivery::Away);
        }
    }

    /// Whether a worker is so far behind that publishes must be refused.
    pub fn is_congested(&self) -> bool {
        self.workers.read().iter().any(|w| w.backlog.load(Ordering::Relaxed) > MAX_BACKLOG)
    }
}

impl Bus for Relay {
    fn stored(&self, records: &[Arc<Stored>]) {
        let workers = self.workers.read();
        let mut batches: Vec<Vec<Arc<Stored>>> = vec![Vec::new(); workers.len()];
        for record in records {
            let mask = self.mask(&record.record.room);
            for (i, batch) in batches.iter_mut().enumerate() {
                if mask & (1 << i) != 0 {
                    batch.push(record.clone());
                }
            }
        }
        for (worker, batch) in workers.iter().zip(batches) {
            if !batch.is_empty() {
                worker.backlog.fetch_add(batch.len(), Ordering::Relaxed);
                worker.room_server.do_send(RoomDelivery::Stored(batch));
            }
        }
    }
}

impl RoomBus for Relay {
    fn subscribe(&self, room: &RoomName, worker: usize) -> Subscription {
        let mut interest = self.shard(room).lock();
        let mask = interest.entry(room.clone()).or_insert(0);
        let first = *mask == 0;
        *mask |= 1 << worker;
        if first && !room.is_reserved() {
            self.rooms.fetch_add(1, Ordering::Relaxed);
        }
        Subscription { first, opening: None }
    }

    fn unsubscribe(&self, room: &RoomName, worker: usize) -> bool {
        let mut interest = self.shard(room).lock();
        let Some(mask) = interest.get_mut(room) else { return false };
        *mask &= !(1 << worker);
        let last = *mask == 0;
        if last {
            interest.remove(room);
            if !room.is_reserved() {
                self.rooms.fetch_sub(1, Ordering::Relaxed);
            }
        }
        last
    }

    fn broadcast(&self, broadcast: &Broadcast, from: Option<usize>) -> Spread {
        let mask = match &broadcast.to {
            Audience::Room(room) => self.mask(room),
            Audience::Rooms(rooms) => rooms.iter().fold(0, |mask, room| mask | self.mask(room)),
            Audience::Everyone => u64::MAX,
        };
        let mut congested = false;
        for (i, worker) in self.workers.read().iter().enumerate() {
            if mask & (1 << i) == 0 || Some(i) == from {
                continue;
            }
            if worker.backlog.fetch_add(1, Ordering::Relaxed) > MAX_BACKLOG {
                worker.backlog.fetch_sub(1, Ordering::Relaxed);
                congested = true;
                continue;
            }
            worker.room_server.do_send(RoomDelivery::Broadcast(broadcast.clone()));
        }
        Spread { congested, everywhere: true }
    }
}
