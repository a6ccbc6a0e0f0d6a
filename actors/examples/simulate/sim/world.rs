//! The simulated world: one queue of events, one clock, the store, the network. Nothing here runs
//! in parallel and nothing reads a real clock, so a run is the same every time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::FutureExt;
use hubbub_actors::{
    clock::Clock,
    history::HistoryConfig,
    memory::MemoryHistory,
    ports::{Append, Appended, Bus, History, IdempotencyKey, Page, Range, StoreError},
};
use hubbub_protocol::{
    id::{MessageId, RoomName, SessionId, UserId},
    position::Position,
    record::{Body, Record, Stored},
    timestamp::Timestamp,
};
use parking_lot::Mutex;

use super::{
    check::{Truth, Violation, content},
    client::Client,
    node::Node,
    schedule::{BUSY_MS, CLIENTS, Faults, NODES, Op, ROOMS, Random, Schedule},
};

/// How long a node waits for the store before a request has failed.
const STORE_TIMEOUT_MS: u64 = 400;
/// From the end of the trouble until everything must have settled: longer than the longest freeze,
/// partition or restart with heartbeats, time-outs and reconnects after it.
const SETTLE_MS: u64 = 20_000;
/// For the last messages, and until graces and timers have run out.
const REST_MS: u64 = 10_000;

/// What a client tells its node.
#[derive(Clone, Debug)]
pub enum Up {
    /// Opens a session.
    Open,
    /// Joins a room, with a number that the answer repeats.
    Join(usize, Option<Position>, u64),
    /// Leaves it.
    Leave(usize),
    /// Publishes; the text is the key too.
    Publish(usize, String),
    /// Types or stops.
    Type(usize, bool),
    /// Is away or back.
    Away(bool),
    /// Answers a heartbeat.
    Pong,
    /// Closes.
    Close,
}

/// What a node tells a client.
#[derive(Clone, Debug)]
pub enum Down {
    /// It is in a room; request 0 where it was in and starts over.
    Joined {
        room: usize,
        request: u64,
        position: Position,
        recovered: bool,
        messages: Vec<Arc<Stored>>,
    },
    /// A message.
    Message(usize, Arc<Stored>),
    /// A publish is stored there.
    Ack(usize, String, Position),
    /// A publish was refused; try again.
    Nack,
    /// A heartbeat.
    Ping,
    /// The hub has closed the connection.
    Closed,
}

/// Why a node reads the history.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// To find where a member begins.
    Start { seat: Seat, since: Option<Position> },
    /// The same, when what it has is not kept any more.
    Newest { seat: Seat },
    /// To bring a member on.
    CatchUp { seat: Seat, have: Position, round: usize },
    /// To fill a gap of a room.
    Repair { worker: usize, room: usize, after: u64 },
    /// To let a room start over whose gap cannot be filled.
    Anew { worker: usize, room: usize },
}

/// A membership on its way.
#[derive(Clone, Copy, Debug)]
pub struct Seat {
    /// Which worker.
    pub worker: usize,
    /// Whose.
    pub session: SessionId,
    /// Where.
    pub room: usize,
    /// Which joining.
    pub ticket: u64,
    /// The number of the client's request.
    pub request: u64,
}

/// What the store answered to an append.
pub type Answer = Result<Appended, StoreError>;

/// Something that happens at a time.
#[derive(Debug)]
pub enum Event {
    /// The schedule.
    Op(Op),
    /// From a client to its node.
    Up(usize, u64, Up),
    /// From a node to a client.
    Down(usize, u64, Down),
    /// A node learns that a connection is gone.
    Gone { node: usize, life: u32, conn: u64 },
    /// A client learns it.
    Cut(usize, u64),
    /// A client that was frozen wakes up.
    Thaw(usize),
    /// A client tries to connect.
    Reconnect(usize),
    /// A client looks at what is not answered.
    Resend(usize),
    /// A member's start is known.
    Here { node: usize, life: u32, seat: Seat },
    /// An append reaches the store.
    Append {
        node: usize,
        life: u32,
        conn: u64,
        room: usize,
        text: String,
        user: UserId,
        answered: bool,
    },
    /// Its answer reaches the node.
    Appended { node: usize, life: u32, conn: u64, room: usize, text: String, answer: Answer },
    /// A read reaches the store.
    Read { node: usize, life: u32, purpose: Purpose },
    /// Its answer reaches the node.
    Page { node: usize, life: u32, purpose: Purpose, page: Result<Page, StoreError> },
    /// A stored message reaches a node.
    Deliver { node: usize, life: u32, stored: Arc<Stored> },
    /// A room starts over.
    StartedOver { node: usize, life: u32, worker: usize, room: usize, page: Page },
    /// A node reaches the store again.
    Healed { node: usize, life: u32 },
    /// A node is started again.
    Start(usize),
    /// A node's timers.
    Tick(usize),
    /// The end of the trouble.
    Calm,
    /// Everything must have settled: one last message to each room.
    Last,
    /// Everybody leaves.
    Leave,
}

/// A fault of the simulation itself, to see that its checks find something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// One message to one client is lost, and the connection stays.
    LoseMessage,
    /// One message is given to one client twice.
    RepeatMessage,
    /// Publishes are acknowledged before they are stored.
    EarlyAck,
    /// Gaps are not filled.
    NoRepair,
    /// Presence is not told that a session has closed.
    ForgetClose,
    /// Keys are not passed on to the store.
    NoKeys,
}

struct Queued(Reverse<(u64, u64)>, Event);

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// What the store has stored and not yet told.
#[derive(Default)]
struct Outbox(Mutex<Vec<Arc<Stored>>>);

impl Bus for Outbox {
    fn stored(&self, records: &[Arc<Stored>]) {
        self.0.lock().extend(records.iter().cloned());
    }
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Events handled.
    pub events: u64,
    /// Messages stored.
    pub stored: u64,
    /// Messages given to clients.
    pub given: u64,
    /// Rejoins that were proved to have no hole, and those that were not.
    pub recovered: u64,
    /// See above.
    pub started_over: u64,
    /// Gaps that were filled.
    pub repairs: u64,
}

/// See the module.
pub struct World {
    /// Milliseconds.
    pub now: u64,
    clock: Arc<AtomicU64>,
    queue: BinaryHeap<Queued>,
    sequence: u64,
    /// Decides what the network does.
    pub random: Random,
    faults: Faults,
    lossy: bool,
    slow_until: u64,
    history: MemoryHistory,
    outbox: Arc<Outbox>,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The clients.
    pub clients: Vec<Client>,
    /// What is stored.
    pub truth: Truth,
    /// When the newest event of a direction of a connection arrives, so that none overtakes another.
    arrivals: BTreeMap<(u64, bool), u64>,
    /// The fault that is played, until it has been.
    pub sabotage: Option<Sabotage>,
    /// What has happened.
    pub stats: Stats,
    numbers: u64,
    pub(super) ended: bool,
}

/// The name of a room.
pub fn room_name(room: usize) -> RoomName {
    RoomName::new(format!("room-{room}")).expect("a valid name")
}

impl World {
    /// A world in which a schedule will happen.
    pub fn new(schedule: &Schedule, sabotage: Option<Sabotage>) -> Self {
        let clock = Arc::new(AtomicU64::new(0));
        let read = Arc::clone(&clock);
        let outbox = Arc::new(Outbox::default());
        let config = HistoryConfig { max_messages: schedule.kept, ..HistoryConfig::default() };
        let history = MemoryHistory::with_clock(
            config,
            outbox.clone(),
            Clock::new(move || read.load(Ordering::Relaxed)),
        );
        let mut world = Self {
            now: 0,
            clock,
            queue: BinaryHeap::new(),
            sequence: 0,
            random: Random::new(!schedule.seed),
            faults: schedule.faults,
            lossy: schedule.faults.drop > 0,
            slow_until: 0,
            history,
            outbox,
            nodes: (0..NODES).map(|_| Node::new(0, 0)).collect(),
            clients: (0..CLIENTS).map(Client::new).collect(),
            truth: Truth::default(),
            arrivals: BTreeMap::new(),
            sabotage,
            stats: Stats::default(),
            numbers: 0,
            ended: false,
        };
        for (at, op) in &schedule.ops {
            world.at(*at, Event::Op(*op));
        }
        for node in 0..NODES {
            world.at(0, Event::Tick(node));
        }
        world.at(BUSY_MS, Event::Calm);
        world.at(BUSY_MS + SETTLE_MS, Event::Last);
        world.at(BUSY_MS + SETTLE_MS + REST_MS / 2, Event::Leave);
        world
    }

    /// Lets everything happen.
    ///
    /// # Errors
    /// The first thing that did not hold, and when.
    pub fn run(mut self) -> Result<Stats, Violation> {
        let end = BUSY_MS + SETTLE_MS + REST_MS * 2;
        while let Some(Queued(Reverse((at, _)), event)) = self.queue.pop() {
            if at > end {
                break;
            }
            self.now = at;
            self.clock.store(at, Ordering::Relaxed);
            self.stats.events += 1;
            self.handle(event).map_err(|what| format!("at {at} ms: {what}"))?;
        }
        self.ended = true;
        self.empty().map_err(|what| format!("at the end: {what}"))?;
        self.stats.stored = self.truth.len() as u64;
        Ok(self.stats)
    }

    /// An event at a time.
    pub fn at(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.queue.push(Queued(Reverse((at, self.sequence)), event));
    }

    /// An event in a while.
    pub fn after(&mut self, ms: u64, event: Event) {
        self.at(self.now + ms, event);
    }

    /// A number for a connection or a request that no other has.
    pub fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// How long something travels.
    pub fn latency(&mut self) -> u64 {
        if self.random.per_mille(20) {
            20 + self.random.below(200)
        } else {
            1 + self.random.below(15)
        }
    }

    /// Sends something over a connection, behind what was sent before.
    pub fn travel(&mut self, conn: u64, up: bool, event: Event) {
        let arrives = self.now + self.latency();
        let last = self.arrivals.entry((conn, up)).or_default();
        *last = (*last).max(arrives);
        let at = *last;
        self.at(at, event);
    }

    /// Plays a fault of the simulation, once.
    pub fn plays(&mut self, wanted: Sabotage) -> bool {
        let plays = self.sabotage == Some(wanted) && self.now > 5000;
        if plays {
            self.sabotage = None;
        }
        plays
    }

    fn handle(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Op(op) => self.op(op),
            Event::Up(node, conn, up) => return self.hear(node, conn, up),
            Event::Down(client, conn, down) => return self.arrive(client, conn, down),
            Event::Gone { node, life, conn } => {
                if self.nodes[node].life == life {
                    return self.detach(node, SessionId(uuid::Uuid::from_u128(conn.into())));
                }
            }
            Event::Cut(client, conn) => self.lost(client, conn),
            Event::Thaw(client) => return self.thaw(client),
            Event::Reconnect(client) => self.connect(client),
            Event::Resend(client) => self.resend(client),
            Event::Here { node, life, seat } => {
                if self.nodes[node].life == life {
                    return self.here(node, seat);
                }
            }
            Event::Append { node, life, conn, room, text, user, answered } => {
                return self.append(node, life, conn, room, text, user, answered);
            }
            Event::Appended { node, life, conn, room, text, answer } => {
                if self.nodes[node].life == life {
                    self.appended(conn, room, text, answer);
                }
            }
            Event::Read { node, life, purpose } => self.read(node, life, purpose),
            Event::Page { node, life, purpose, page } => {
                if self.nodes[node].life == life {
                    return self.page(node, purpose, page);
                }
            }
            Event::Deliver { node, life, stored } => {
                if self.nodes[node].life == life && self.nodes[node].up {
                    return self.deliver(node, stored);
                }
            }
            Event::StartedOver { node, life, worker, room, page } => {
                if self.nodes[node].life == life {
                    self.started_over(node, worker, room, &page);
                }
            }
            Event::Healed { node, life } => {
                if self.nodes[node].life == life && self.nodes[node].cut_until <= self.now {
                    self.heal(node);
                }
            }
            Event::Start(node) => {
                let life = self.nodes[node].life;
                self.nodes[node] = Node::new(life, self.now);
            }
            Event::Tick(node) => {
                self.after(100, Event::Tick(node));
                return self.tick(node);
            }
            Event::Calm => self.faults = Faults::default(),
            Event::Last => return self.last(),
            Event::Leave => {
                self.settled(true)?;
                for client in 0..CLIENTS {
                    self.op(Op::Close { client });
                }
            }
        }
        Ok(())
    }

    fn op(&mut self, op: Op) {
        match op {
            Op::Kill { node, ms } => self.kill(node, ms),
            Op::Partition { node, ms } => {
                let until = self.now + ms;
                let node_state = &mut self.nodes[node];
                node_state.cut_until = node_state.cut_until.max(until);
                let (until, life) = (node_state.cut_until, node_state.life);
                self.at(until, Event::Healed { node, life });
            }
            Op::Slow { ms } => self.slow_until = self.now + ms,
            other => self.client_op(other),
        }
    }

    /// How long a request to the store or its answer takes; none if it is lost.
    fn store_trip(&mut self, node: usize) -> Option<u64> {
        let slow = if self.now < self.slow_until { self.random.below(300) } else { 0 };
        let latency = self.latency() + slow;
        let cut = self.nodes[node].cut_until > self.now;
        let lost = self.random.per_mille(self.faults.lose);
        (!cut && !lost).then_some(latency)
    }

    /// Sends an append to the store; an answer comes in any case.
    pub fn send_append(&mut self, node: usize, conn: u64, room: usize, text: String, user: UserId) {
        let life = self.nodes[node].life;
        match self.store_trip(node) {
            Some(ms) => {
                let answered = true;
                self.after(ms, Event::Append { node, life, conn, room, text, user, answered });
            }
            None => self.fail_append(node, life, conn, room, text),
        }
    }

    fn fail_append(&mut self, node: usize, life: u32, conn: u64, room: usize, text: String) {
        let answer = Err(StoreError::Failed("no answer".into()));
        self.after(STORE_TIMEOUT_MS, Event::Appended { node, life, conn, room, text, answer });
    }

    #[allow(clippy::too_many_arguments)]
    fn append(
        &mut self,
        node: usize,
        life: u32,
        conn: u64,
        room: usize,
        text: String,
        user: UserId,
        answered: bool,
    ) -> Result<(), Violation> {
        let got: Arc<Mutex<Option<Answer>>> = Arc::default();
        let into = Arc::clone(&got);
        let keyed = self.sabotage != Some(Sabotage::NoKeys);
        let key =
            keyed.then(|| IdempotencyKey { user: Some(user.clone()), key: text.clone().into() });
        self.sequence += 1;
        let record = Record {
            id: MessageId(uuid::Uuid::from_u128(self.sequence.into())),
            room: room_name(room),
            user: Some(user),
            username: None,
            timestamp: Timestamp(self.now),
            body: Body::Message { content: text.clone().into(), data: None },
        };
        let done = Box::new(move |answer| *into.lock() = Some(answer));
        self.history.append(Append { record, key, done });
        self.spread()?;
        let answer = got.lock().take().ok_or("the store gave no answer to an append")?;
        if !answered {
            return Ok(());
        }
        match self.store_trip(node) {
            Some(ms) => self.after(ms, Event::Appended { node, life, conn, room, text, answer }),
            None => self.fail_append(node, life, conn, room, text),
        }
        Ok(())
    }

    /// Tells the nodes what is stored.
    fn spread(&mut self) -> Result<(), Violation> {
        let stored = std::mem::take(&mut *self.outbox.0.lock());
        for stored in stored {
            self.truth.stored(&stored)?;
            for node in 0..NODES {
                self.tell_node(node, &stored);
            }
        }
        Ok(())
    }

    fn tell_node(&mut self, node: usize, stored: &Arc<Stored>) {
        let to = &self.nodes[node];
        let (life, cut) = (to.life, to.cut_until > self.now);
        if !to.up || cut || !to.relay.is_occupied(&stored.record.room) {
            return;
        }
        if self.random.per_mille(self.faults.drop) {
            return;
        }
        let copies = 1 + usize::from(self.random.per_mille(self.faults.repeat));
        for _ in 0..copies {
            let late = self.random.per_mille(self.faults.reorder);
            let arrives = self.now + self.latency() + if late { self.random.below(300) } else { 0 };
            let channel = &mut self.nodes[node].channel_at;
            if !late {
                *channel = (*channel).max(arrives);
            }
            let at = if late { arrives } else { *channel };
            self.at(at, Event::Deliver { node, life, stored: Arc::clone(stored) });
        }
    }

    /// Asks the store for a page; an answer comes in any case.
    pub fn send_read(&mut self, node: usize, purpose: Purpose) {
        let life = self.nodes[node].life;
        match self.store_trip(node) {
            Some(ms) => self.after(ms, Event::Read { node, life, purpose }),
            None => self.fail_read(node, life, purpose),
        }
    }

    fn fail_read(&mut self, node: usize, life: u32, purpose: Purpose) {
        let page = Err(StoreError::Failed("no answer".into()));
        self.after(STORE_TIMEOUT_MS, Event::Page { node, life, purpose, page });
    }

    fn read(&mut self, node: usize, life: u32, purpose: Purpose) {
        let (room, range, limit) = match &purpose {
            Purpose::Start { seat, since: Some(since) } => {
                (seat.room, Range::After(since.offset), super::node::PAGE)
            }
            // Only its head is looked at.
            Purpose::Start { seat, since: None } => (seat.room, Range::Newest, 1),
            Purpose::Newest { seat } => (seat.room, Range::Newest, super::node::HEAD_PAGE),
            Purpose::CatchUp { seat, have, .. } => {
                (seat.room, Range::After(have.offset), super::node::PAGE)
            }
            Purpose::Anew { room, .. } => (*room, Range::Newest, super::node::HEAD_PAGE),
            Purpose::Repair { room, after, .. } => (*room, Range::After(*after), super::node::PAGE),
        };
        let page = self.history.read(&room_name(room), range, limit).now_or_never();
        let page = page.unwrap_or_else(|| Err(StoreError::Failed("it waits".into())));
        match self.store_trip(node) {
            Some(ms) => self.after(ms, Event::Page { node, life, purpose, page }),
            None => self.fail_read(node, life, purpose),
        }
    }

    /// One more message to every room, so that whoever lacks one learns of it. Where the store's
    /// channel loses nothing while it is up, nobody may need that.
    fn last(&mut self) -> Result<(), Violation> {
        if !self.lossy {
            self.settled(false)?;
        }
        for room in 0..ROOMS {
            let user = UserId::new("operator").map_err(|e| e.to_string())?;
            self.append(0, 0, 0, room, format!("last of {room}"), user, false)?;
        }
        Ok(())
    }

    /// What clients hold and what is announced is what is true. `known`: every client must know
    /// where its rooms stand, also one that was told that the store could not say.
    fn settled(&self, known: bool) -> Result<(), Violation> {
        for client in &self.clients {
            client.settled(&self.truth, known)?;
        }
        for (number, node) in self.nodes.iter().enumerate() {
            node.settled(&self.clients, number).map_err(|what| format!("node {number}: {what}"))?;
        }
        Ok(())
    }

    /// Nothing is left of anybody.
    fn empty(&mut self) -> Result<(), Violation> {
        for (number, node) in self.nodes.iter_mut().enumerate() {
            node.empty(self.now).map_err(|what| format!("node {number}: {what}"))?;
        }
        Ok(())
    }
}

/// For messages in words.
pub fn short(stored: &Stored) -> String {
    format!("{} at {}", content(stored), stored.position.offset)
}
