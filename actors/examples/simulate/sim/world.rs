//! The simulated world: one queue of events, one clock, the store, the network. Nothing here runs
//! in parallel and nothing reads a real clock, so a run is the same every time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use hubbub_actors::{
    clock::Clock,
    history::HistoryConfig,
    memory::{MemoryHistory, sessions::MemorySessions},
    session_store::{Owner, SessionStoreConfig},
};
use hubbub_protocol::{
    id::{RoomName, SessionId, UserId},
    record::Stored,
};

use super::{
    check::{Truth, Violation, content},
    client::Client,
    event::{Event, Sabotage},
    keep::RECOVERY_MS,
    node::Node,
    schedule::{BUSY_MS, CLIENTS, Faults, NODES, Op, ROOMS, Random, Schedule},
    store::Outbox,
};

/// From the end of the trouble until everything must have settled: longer than the longest freeze,
/// partition or restart with heartbeats, time-outs and reconnects after it.
const SETTLE_MS: u64 = 20_000;
/// For the last messages, and until graces and timers have run out.
const REST_MS: u64 = 10_000;

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
    /// Sessions that came back as a whole.
    pub came_back: u64,
}

/// See the module.
pub struct World {
    /// Milliseconds.
    pub now: u64,
    clock: Arc<AtomicU64>,
    queue: BinaryHeap<Queued>,
    pub(super) sequence: u64,
    /// Decides what the network does.
    pub random: Random,
    pub(super) faults: Faults,
    pub(super) lossy: bool,
    pub(super) slow_until: u64,
    pub(super) history: MemoryHistory,
    pub(super) outbox: Arc<Outbox>,
    pub(super) sessions: MemorySessions,
    /// Who has the sessions of the store: for their ends, and to tell the node that had them.
    pub(super) keepers: BTreeMap<SessionId, (Owner, usize)>,
    /// A moment to count from, where the hub's tables take one.
    pub(super) began: Instant,
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
        let read = Arc::clone(&clock);
        let kept = SessionStoreConfig { recovery_ms: RECOVERY_MS, max_sessions: 10_000 };
        let sessions = MemorySessions::new(kept, Clock::new(move || read.load(Ordering::Relaxed)));
        let mut world = Self {
            now: 0,
            clock,
            queue: BinaryHeap::new(),
            sequence: 0,
            random: Random::new(!schedule.seed),
            faults: schedule.faults,
            lossy: schedule.faults.drop > 0 && !schedule.bridges,
            slow_until: 0,
            history,
            outbox,
            sessions,
            keepers: BTreeMap::new(),
            began: Instant::now(),
            nodes: (0..NODES).map(|_| Node::new(0, 0, schedule.bridges)).collect(),
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

    /// Whether a node still lives the life in which something was meant for it.
    fn lives(&self, event: &Event) -> bool {
        match event {
            Event::Gone { node, life, .. }
            | Event::Here { node, life, .. }
            | Event::Appended { node, life, .. }
            | Event::Page { node, life, .. }
            | Event::Deliver { node, life, .. }
            | Event::StartedOver { node, life, .. }
            | Event::Healed { node, life }
            | Event::Answered { node, life, .. }
            | Event::Again { node, life, .. }
            | Event::Replaced { node, life, .. }
            | Event::Subscribe { node, life, .. }
            | Event::Heard { node, life, .. }
            | Event::Unheard { node, life, .. }
            | Event::Look { node, life }
            | Event::Impatient { node, life, .. } => {
                self.nodes[*node].life == *life && self.nodes[*node].up
            }
            _ => true,
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), Violation> {
        if !self.lives(&event) {
            return Ok(());
        }
        match event {
            Event::Op(op) => self.op(op),
            Event::Up(node, conn, up) => return self.hear(node, conn, up),
            Event::Down(client, conn, down) => return self.arrive(client, conn, down),
            Event::Gone { node, conn, .. } => return self.gone(node, conn),
            Event::Cut(client, conn) => self.lost(client, conn),
            Event::Thaw(client) => return self.thaw(client),
            Event::Reconnect(client) => self.connect(client),
            Event::Resend(client) => self.resend(client),
            Event::Here { node, seat, .. } => self.here(node, seat),
            Event::Append { node, life, conn, room, text, user, answered } => {
                return self.append(node, life, conn, room, text, user, answered);
            }
            Event::Appended { node, conn, room, text, answer, own, .. } => {
                self.appended(node, conn, room, text, answer, own);
            }
            Event::Read { node, life, purpose } => self.read(node, life, purpose),
            Event::Page { node, purpose, page, .. } => return self.page(node, purpose, page),
            Event::Deliver { node, link, stored, .. } => match &self.nodes[node].bridge {
                Some(bridge) if bridge.link != link => {}
                Some(_) => self.bridge_take(node, vec![stored]),
                None => self.deliver(node, &stored),
            },
            Event::StartedOver { node, worker, room, page, .. } => {
                self.started_over(node, worker, room, &page);
            }
            Event::Healed { node, .. } => {
                if self.nodes[node].cut_until <= self.now {
                    self.heal(node);
                }
            }
            Event::Call { node, life, session, owner, call, after } => {
                self.called(node, life, session, owner, call, after);
            }
            Event::Answered { node, after, answered, .. } => {
                return self.answered(node, after, answered);
            }
            Event::Again { node, conn, .. } => self.ask_again(node, conn),
            Event::Replaced { node, session, owner, .. } => {
                return self.replaced(node, session, owner);
            }
            Event::Subscribe { node, life, link, room } => self.subscribed(node, life, link, room),
            Event::Heard { node, link, room, .. } => return self.heard(node, link, room),
            Event::Unheard { node, link, .. } => self.unheard(node, link),
            Event::Look { node, .. } => self.look_around(node),
            Event::Impatient { node, seat, .. } => return self.impatient(node, seat),
            Event::Start(node) => {
                let life = self.nodes[node].life;
                let bridged = self.nodes[node].bridge.is_some();
                self.nodes[node] = Node::new(life, self.now, bridged);
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
                if let Some(link) = node_state.bridge.as_ref().map(|bridge| bridge.link) {
                    // It may see it, or the partition ends before.
                    let sees = self.random.below(2 * ms.max(1));
                    self.after(sees, Event::Unheard { node, life, link });
                }
                self.at(until, Event::Healed { node, life });
            }
            Op::Slow { ms } => self.slow_until = self.now + ms,
            other => self.client_op(other),
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
        self.kept_settled()
    }

    /// Nothing is left of anybody.
    fn empty(&mut self) -> Result<(), Violation> {
        for (number, node) in self.nodes.iter_mut().enumerate() {
            node.empty(self.now).map_err(|what| format!("node {number}: {what}"))?;
        }
        self.kept_empty()
    }
}

/// For messages in words.
pub fn short(stored: &Stored) -> String {
    format!("{} at {}", content(stored), stored.position.offset)
}
