//! Between the nodes: an actor that hears the rooms in which this node has
//! members, puts what was stored into order, reads what is missing, and hands all
//! of it to the relay.
//!
//! | file | holds |
//! |---|---|
//! | `bus` | what room servers and the history see: [`ClusterBus`] |
//! | `emitter` | what other programs send |
//! | `table` | where the rooms stand, what is missing (pure) |
//! | `repair` | looking at heads, reading pages, telling of what is lost |
//! | `metrics` | what is counted |

mod bus;
mod emitter;
mod metrics;
mod repair;
pub mod table;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, AsyncContext, Context, Handler, Message, Recipient};
use bytes::Bytes;
use hubbub_protocol::{
    cluster::{ClusterBroadcast, Envelope, Scope, Skipped, read_envelope, read_record},
    id::RoomName,
    position::{Epoch, Position},
    record::Stored,
};
use tokio::sync::watch;

use self::table::Rooms;
pub use self::{bus::ClusterBus, metrics::BridgeMetrics};
use crate::{
    clock::Clock,
    ports::{Audience, Broadcast, Bus, RoomBus},
    redis::{
        Listener,
        history::RedisHistory,
        keys::{RoomKeys, everyone_channel},
    },
};

/// Time between two looks at what is not in order.
const TICK: Duration = Duration::from_millis(20);
/// Time between two comparisons of every room with Redis.
const CHECK: Duration = Duration::from_secs(2);
/// How long Redis is away before the sessions are told.
const AWAY: Duration = Duration::from_secs(1);
/// How long a room is heard after its last member has left.
const LINGER: Duration = Duration::from_secs(10);
/// Events for several rooms that are remembered, so that each is told once.
const MAX_SEEN: usize = 4096;

/// What the bridge is told: by the room servers, the history and the link. Their
/// number is bounded by the members, by the publishes under way, and by what one
/// read from the socket of Redis holds.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) enum Attend {
    /// A worker has its first member in a room; tell when it is heard.
    Enter(RoomName, watch::Sender<bool>),
    /// The last member of this node left a room.
    Exit(RoomName),
    /// This node stored records.
    Own(Vec<Arc<Stored>>),
    /// Something was published to a room's channel, or to that of everyone.
    Heard(Option<RoomName>, Bytes),
    /// Another program sent an event.
    Emitted(Bytes),
    /// A room's channel is heard.
    Live(RoomName),
    /// A room's channel is not heard.
    Lost(RoomName),
}

/// The bridge of this node.
pub struct RedisBridge {
    /// Its own address, for the ears.
    own: Arc<Recipient<Attend>>,
    bus: Arc<ClusterBus>,
    history: RedisHistory,
    rooms: Rooms,
    /// Rooms in which something may be out of order.
    watched: HashSet<RoomName>,
    /// Who waits for a room to be heard, and since when.
    openings: HashMap<RoomName, (Instant, Vec<watch::Sender<bool>>)>,
    /// How long they wait.
    patience: Duration,
    looks: usize,
    seen: HashSet<u128>,
    seen_order: VecDeque<u128>,
    next_check: Instant,
    checks: usize,
    /// Since when Redis is away; none if it is there.
    away_since: Option<Instant>,
    /// The sessions know that it is.
    away_told: bool,
}

/// Passes what one channel says to the bridge.
struct Ear {
    room: Option<RoomName>,
    /// Shared by the ears of all rooms.
    bridge: Arc<Recipient<Attend>>,
}

impl Listener for Ear {
    fn message(&self, payload: Bytes) {
        self.bridge.do_send(Attend::Heard(self.room.clone(), payload));
    }

    fn live(&self) {
        if let Some(room) = &self.room {
            self.bridge.do_send(Attend::Live(room.clone()));
        }
    }

    fn lost(&self) {
        if let Some(room) = &self.room {
            self.bridge.do_send(Attend::Lost(room.clone()));
        }
    }
}

/// Passes what other programs send to the bridge.
struct EmitterEar(Recipient<Attend>);

impl Listener for EmitterEar {
    fn message(&self, payload: Bytes) {
        self.0.do_send(Attend::Emitted(payload));
    }
}

impl RedisBridge {
    /// Starts the bridge on the thread of Redis. `history` must hand what it
    /// stores to `bus`. A join waits at most `patience` for its room to be heard. With
    /// `emitter` events of other programs are taken from the channels that begin so.
    pub fn launch(
        bus: Arc<ClusterBus>,
        history: RedisHistory,
        patience: Duration,
        emitter: Option<&str>,
    ) {
        let arbiter = bus.link.arbiter();
        let for_bridge = bus.clone();
        let bridge = Self::start_in_arbiter(&arbiter, move |ctx| Self {
            own: Arc::new(ctx.address().recipient()),
            bus: for_bridge,
            history,
            rooms: Rooms::default(),
            watched: HashSet::new(),
            openings: HashMap::new(),
            patience,
            looks: 0,
            seen: HashSet::new(),
            seen_order: VecDeque::new(),
            next_check: Instant::now() + CHECK,
            checks: 0,
            away_since: None,
            away_told: false,
        });
        let bridge = bridge.recipient();
        let everyone = Arc::new(Ear { room: None, bridge: Arc::new(bridge.clone()) });
        if let Some(prefix) = emitter {
            let ear = Arc::new(EmitterEar(bridge.clone()));
            bus.link.subscribe_pattern(emitter::pattern(prefix), ear);
        }
        // The only place that sets it.
        let _ = bus.bridge.set(bridge);
        bus.link.subscribe(&everyone_channel(bus.link.prefix()), everyone);
    }

    fn keys(&self, room: &RoomName) -> RoomKeys {
        RoomKeys::new(self.bus.link.prefix(), room)
    }

    fn enter(&mut self, room: RoomName, open: watch::Sender<bool>, ctx: &mut Context<Self>) {
        let new = self.rooms.add(&room);
        if new {
            self.bus.metrics.channels.inc();
            if room.is_reserved() {
                // Its member hears it at once: what is stored from now on is due.
                self.begin(room.clone(), ctx);
            }
            let ear = Ear { room: Some(room.clone()), bridge: self.own.clone() };
            self.bus.link.subscribe(&self.keys(&room).channel(), Arc::new(ear));
        }
        if self.rooms.get_mut(&room).is_some_and(|r| r.live && r.is_open()) {
            open.send_replace(true);
        } else {
            let (_, waiting) =
                self.openings.entry(room).or_insert_with(|| (Instant::now(), Vec::new()));
            waiting.push(open);
        }
    }

    fn exit(&mut self, room: &RoomName) {
        // Somebody may have come meanwhile, on another worker.
        if !self.bus.relay.is_occupied(room)
            && let Some(entry) = self.rooms.get_mut(room)
        {
            entry.emptied(Instant::now());
        }
    }

    fn live(&mut self, room: RoomName, ctx: &mut Context<Self>) {
        if let Some(entry) = self.rooms.get_mut(&room) {
            entry.live = true;
            self.attend(room, ctx);
        }
    }

    fn lost(&mut self, room: RoomName) {
        if let Some(entry) = self.rooms.get_mut(&room) {
            entry.lose();
            self.watched.insert(room);
        }
    }

    fn heard(&mut self, room: Option<RoomName>, payload: &Bytes, ctx: &mut Context<Self>) {
        self.bus.metrics.received.inc();
        let mut skipped = Skipped::default();
        let envelope = read_envelope(payload, &mut skipped);
        self.bus.metrics.skipped(skipped);
        match (envelope, room) {
            (Ok(Envelope::Stored { epoch, first, records }), Some(room)) => {
                self.heard_stored(&room, epoch, first, &records, ctx);
            }
            (Ok(Envelope::Broadcast(broadcast)), _) => self.heard_broadcast(broadcast),
            // Of a later release, and counted.
            (Ok(Envelope::Unknown), _) => {}
            // What is stored belongs to a room.
            (Ok(Envelope::Stored { .. }), None) => self.bus.metrics.undecodable.inc(),
            (Err(e), room) => {
                self.bus.metrics.undecodable.inc();
                log::warn!(error:% = e; "a message between nodes cannot be read");
                // What it was is read from the history.
                if let Some(room) = room {
                    self.doubt(room, ctx);
                }
            }
        }
    }

    fn heard_stored(
        &mut self,
        room: &RoomName,
        epoch: Epoch,
        first: u64,
        records: &[&[u8]],
        ctx: &mut Context<Self>,
    ) {
        let mut decoded = Vec::with_capacity(records.len());
        let mut skipped = Skipped::default();
        for (offset, bytes) in (first..).zip(records) {
            let position = Position { epoch, offset };
            if self.rooms.get_mut(room).is_none_or(|r| r.has(position)) {
                continue;
            }
            let record = read_record(room.clone(), bytes, &mut skipped).unwrap_or_else(|e| {
                self.bus.metrics.undecodable.inc();
                self.history.unreadable(room, position, &e)
            });
            decoded.push(Arc::new(Stored { position, record }));
        }
        self.bus.metrics.skipped(skipped);
        self.take(room, decoded, ctx);
    }

    /// Takes records of a room from Redis or from this node.
    fn take(&mut self, room: &RoomName, records: Vec<Arc<Stored>>, ctx: &mut Context<Self>) {
        let congested = self.bus.relay.is_congested();
        let Some(entry) = self.rooms.get_mut(room) else { return };
        if congested {
            // Read again once the workers have caught up: nothing is kept for them here.
            entry.doubt();
            self.watched.insert(room.clone());
            return;
        }
        let now = Instant::now();
        let mut out = Vec::with_capacity(records.len());
        for record in records {
            out.extend(entry.accept(record, now));
        }
        let in_order = entry.in_order();
        if !out.is_empty() {
            self.bus.relay.stored(&out);
        }
        if !in_order {
            self.attend(room.clone(), ctx);
        }
    }

    fn own(&mut self, records: Vec<Arc<Stored>>, ctx: &mut Context<Self>) {
        // All of one batch belong to one room.
        let Some(room) = records.first().map(|r| r.record.room.clone()) else { return };
        self.take(&room, records, ctx);
    }

    fn heard_broadcast(&mut self, broadcast: ClusterBroadcast<'_>) {
        if broadcast.node == &*self.bus.node {
            return;
        }
        if broadcast.id != 0 {
            if !self.seen.insert(broadcast.id) {
                return;
            }
            self.seen_order.push_back(broadcast.id);
            if self.seen_order.len() > MAX_SEEN
                && let Some(old) = self.seen_order.pop_front()
            {
                self.seen.remove(&old);
            }
        }
        let to = match broadcast.to {
            Scope::Room(room) => Audience::Room(room),
            Scope::Rooms(rooms) => Audience::Rooms(rooms.into()),
            Scope::Everyone => Audience::Everyone,
        };
        let broadcast = Broadcast {
            to,
            event: Arc::new(broadcast.event),
            except: broadcast.except,
            except_user: broadcast.except_user,
        };
        self.bus.relay.broadcast(&broadcast, None);
    }

    fn emitted(&self, payload: &[u8]) {
        let now = Clock::system().timestamp();
        let result = match emitter::decode(payload, now) {
            // Every node hears it by itself.
            Ok(Some(broadcast)) => {
                self.bus.relay.broadcast(&broadcast, None);
                "told"
            }
            Ok(None) => "ignored",
            Err(why) => {
                log::warn!(reason = why; "an event of another program was refused");
                "refused"
            }
        };
        self.bus.metrics.emitted.with_label_values(&[result]).inc();
    }

    /// What comes round by itself.
    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        self.look_around(now, ctx);
        self.tell_away(now);
        let patience = self.patience;
        // Who waits longer is told by the end of its channel.
        self.openings.retain(|_, (since, _)| now < *since + patience);
        if now >= self.next_check && self.checks == 0 {
            self.next_check = now + CHECK;
            self.leave_idle(now);
            self.check_all(ctx);
        }
    }

    /// Tells the sessions once that Redis is away.
    fn tell_away(&mut self, now: Instant) {
        if self.bus.link.is_up() {
            (self.away_since, self.away_told) = (None, false);
        } else if now >= *self.away_since.get_or_insert(now) + AWAY && !self.away_told {
            self.away_told = true;
            self.bus.relay.away();
        }
    }

    fn leave_idle(&mut self, now: Instant) {
        let Some(before) = now.checked_sub(LINGER) else { return };
        for room in self.rooms.take_idle(before, |room| self.bus.relay.is_occupied(room)) {
            self.bus.link.unsubscribe(&self.keys(&room).channel());
            self.bus.metrics.channels.dec();
            self.watched.remove(&room);
            self.openings.remove(&room);
        }
    }

    /// Tells those who wait that a room is heard.
    fn opened(&mut self, room: &RoomName) {
        if self.rooms.get_mut(room).is_some_and(|r| r.live && r.is_open())
            && let Some((_, waiting)) = self.openings.remove(room)
        {
            for open in waiting {
                open.send_replace(true);
            }
        }
    }
}

impl Actor for RedisBridge {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(TICK, Self::tick);
    }
}

impl Handler<Attend> for RedisBridge {
    type Result = ();

    fn handle(&mut self, message: Attend, ctx: &mut Self::Context) {
        match message {
            Attend::Enter(room, open) => self.enter(room, open, ctx),
            Attend::Exit(room) => self.exit(&room),
            Attend::Own(records) => self.own(records, ctx),
            Attend::Heard(room, payload) => self.heard(room, &payload, ctx),
            Attend::Emitted(payload) => self.emitted(&payload),
            Attend::Live(room) => self.live(room, ctx),
            Attend::Lost(room) => self.lost(room),
        }
    }
}
