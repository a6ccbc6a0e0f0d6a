//! A node: the hub's own tables, relay, presence, typing and heartbeats, with the few steps that
//! its actors do between them (`room_server/mod.rs`, `room_server/catchup.rs`,
//! `presence_tracker/mod.rs`, `heart.rs`), one event after the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hubbub_actors::{
    ports::RoomBus,
    presence_tracker::{PresenceSettings, PresenceTable, TypingTable},
    relay::Relay,
    room_server::table::{Accept, RoomTable},
    session::heartbeat::{HeartbeatSettings, Verdict, Vitals, Wheel, judge},
};
use hubbub_protocol::{
    close::CloseCode,
    event::Status,
    id::{RoomName, SessionId, UserId},
    position::{Epoch, Position},
    record::Stored,
};

use super::{
    check::{Announced, Violation},
    client::Client,
    event::{Answer, Down, Event, Purpose, Sabotage, Up},
    schedule::{ROOMS, WORKERS},
    world::{World, room_name},
};

/// Records of a page; small, so that many pages are needed.
pub const PAGE: usize = 20;
/// Records of the head of a room.
pub const HEAD_PAGE: usize = 10;

const HEARTBEAT: HeartbeatSettings = HeartbeatSettings { heartbeat_ms: 2500, timeout_ms: 2000 };
const PRESENCE: PresenceSettings =
    PresenceSettings { grace_ms: 1000, announce_max_members: 1000, everybody: false };
const TYPING_MS: u64 = 3000;

/// A session on its node.
pub(super) struct Session {
    client: usize,
    pub(super) worker: usize,
    pub(super) user: UserId,
    pub(super) rooms: BTreeSet<usize>,
    vitals: Vitals,
}

/// See the module.
pub struct Node {
    /// How often it was started; what belongs to an older life is ignored.
    pub life: u32,
    /// Whether it runs.
    pub up: bool,
    /// Until when it does not reach the store.
    pub cut_until: u64,
    /// When the newest thing of the store's channel arrives.
    pub channel_at: u64,
    /// Which workers have members of which rooms.
    pub relay: Relay,
    pub(super) tables: Vec<RoomTable<SessionId>>,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    /// Connections under way.
    expected: BTreeMap<u64, usize>,
    pub(super) held: BTreeMap<(SessionId, usize), Vec<String>>,
    pub(super) presence: PresenceTable,
    typing: TypingTable,
    wheel: Wheel<SessionId>,
    pub(super) announced: Announced,
}

fn id(conn: u64) -> SessionId {
    SessionId(uuid::Uuid::from_u128(conn.into()))
}

fn conn(session: SessionId) -> u64 {
    u64::try_from(session.0.as_u128()).unwrap_or(0)
}

impl Node {
    /// A node that was just started.
    pub fn new(life: u32, now: u64) -> Self {
        Self {
            life,
            up: true,
            cut_until: 0,
            channel_at: 0,
            relay: Relay::default(),
            tables: (0..WORKERS).map(|_| RoomTable::default()).collect(),
            sessions: BTreeMap::new(),
            expected: BTreeMap::new(),
            held: BTreeMap::new(),
            presence: PresenceTable::new(PRESENCE),
            typing: TypingTable::new(TYPING_MS),
            wheel: Wheel::new(100, 64, now),
            announced: Announced::default(),
        }
    }

    /// A client connects.
    pub fn expect(&mut self, conn: u64, client: usize) {
        self.expected.insert(conn, client);
    }

    /// Who is announced is there, and every session has its client.
    pub fn settled(&self, clients: &[Client], number: usize) -> Result<(), Violation> {
        let mut members = BTreeSet::new();
        for (session, state) in &self.sessions {
            let theirs = clients[state.client].conn;
            if theirs != Some((conn(*session), number)) {
                return Err(format!("session {} has no client: {theirs:?}", conn(*session)));
            }
            for room in &state.rooms {
                members.insert((room_name(*room), state.user.clone()));
            }
        }
        self.announced.compare(&members)
    }

    /// Nothing is left.
    pub fn empty(&mut self, now: u64) -> Result<(), Violation> {
        self.announced.nobody()?;
        let rooms: usize = self.tables.iter().map(RoomTable::len).sum();
        let occupied = (0..ROOMS).filter(|r| self.relay.is_occupied(&room_name(*r))).count();
        let late = self.presence.tick(now + 1_000_000).len();
        let left = [
            ("sessions", self.sessions.len()),
            ("rooms of tables", rooms),
            ("rooms of the relay", self.relay.room_count() + occupied),
            ("users", self.presence.user_count()),
            ("rooms of presence", self.presence.room_count()),
            ("graces", late),
            ("typing", self.typing.expire(u64::MAX).len()),
            ("timers", self.wheel.len()),
            ("held requests", self.held.len()),
        ];
        match left.into_iter().find(|(_, count)| *count > 0) {
            Some((what, count)) => Err(format!("{count} {what} are left")),
            None => Ok(()),
        }
    }

    fn member_is_live(&self, session: SessionId, room: usize) -> Option<bool> {
        let worker = self.sessions.get(&session)?.worker;
        let room = self.tables[worker].room(&room_name(room))?;
        Some(room.members.get(session)?.live)
    }
}

impl World {
    /// Something from a client arrives.
    pub fn hear(&mut self, node: usize, conn: u64, up: Up) -> Result<(), Violation> {
        let session = id(conn);
        if !self.nodes[node].up {
            return Ok(());
        }
        if let Up::Open = up {
            return self.open(node, conn);
        }
        let now = self.now;
        let this = &mut self.nodes[node];
        let Some(state) = this.sessions.get_mut(&session) else { return Ok(()) };
        state.vitals.last_seen = now;
        let user = state.user.clone();
        match up {
            Up::Open | Up::Pong => {}
            Up::Close => return self.detach(node, session),
            Up::Join(room, since, request) => {
                return self.join(node, session, room, since, request);
            }
            Up::Leave(room) => return self.leave(node, session, room),
            Up::Publish(room, text) => self.publishes(node, session, room, text),
            Up::Type(room, on) => {
                if state.rooms.contains(&room) {
                    let name = room_name(room);
                    let changes = if on {
                        this.typing.start(session, &name, now)
                    } else {
                        this.typing.stop(session, &name).into_iter().collect()
                    };
                    return this.announced.typing(changes);
                }
            }
            Up::Away(away) => {
                let status = if away { Status::Away } else { Status::Online };
                let effects = this.presence.set_status(&user, session, status, now);
                return this.announced.tell(effects);
            }
        }
        Ok(())
    }

    fn open(&mut self, node: usize, conn: u64) -> Result<(), Violation> {
        let now = self.now;
        let this = &mut self.nodes[node];
        let Some(client) = this.expected.remove(&conn) else { return Ok(()) };
        let user = self.clients[client].user.clone();
        let vitals = Vitals {
            last_seen: now,
            ping_sent: None,
            auth_deadline: u64::MAX,
            expires_at: u64::MAX,
            warned: false,
        };
        let (_, next) = judge(&vitals, now, &HEARTBEAT);
        this.wheel.add(next, id(conn));
        let worker = (conn % WORKERS as u64) as usize;
        let effects = this.presence.session_opened(&user, None, id(conn), now);
        let rooms = BTreeSet::new();
        this.sessions.insert(id(conn), Session { client, worker, user, rooms, vitals });
        this.announced.tell(effects)
    }

    /// A session has ended.
    pub fn detach(&mut self, node: usize, session: SessionId) -> Result<(), Violation> {
        let now = self.now;
        let forgets = self.plays(Sabotage::ForgetClose);
        let this = &mut self.nodes[node];
        this.expected.remove(&conn(session));
        let Some(state) = this.sessions.remove(&session) else { return Ok(()) };
        for room in &state.rooms {
            exit(this, session, state.worker, *room);
        }
        if forgets {
            return Ok(());
        }
        let rooms: Vec<RoomName> = state.rooms.iter().map(|room| room_name(*room)).collect();
        let stopped = this.typing.session_closed(session);
        this.announced.typing(stopped)?;
        let effects = this.presence.session_closed(&state.user, session, &rooms, now);
        this.announced.tell(effects)
    }

    /// The hub closes a session, and its client is told.
    pub(super) fn close(&mut self, node: usize, session: SessionId) -> Result<(), Violation> {
        self.tell(node, session, Down::Closed);
        self.detach(node, session)
    }

    pub(super) fn tell(&mut self, node: usize, session: SessionId, down: Down) {
        if let Some(state) = self.nodes[node].sessions.get(&session) {
            let client = state.client;
            self.travel(conn(session), false, Event::Down(client, conn(session), down));
        }
    }

    fn leave(&mut self, node: usize, session: SessionId, room: usize) -> Result<(), Violation> {
        let now = self.now;
        let this = &mut self.nodes[node];
        let Some(state) = this.sessions.get_mut(&session) else { return Ok(()) };
        if !state.rooms.remove(&room) {
            return Ok(());
        }
        let (user, worker) = (state.user.clone(), state.worker);
        exit(this, session, worker, room);
        let stopped = this.typing.stop(session, &room_name(room));
        this.announced.typing(stopped)?;
        let effects = this.presence.member_left(&user, session, &room_name(room), now);
        this.announced.tell(effects)
    }

    pub(super) fn publishes(&mut self, node: usize, session: SessionId, room: usize, text: String) {
        match self.nodes[node].member_is_live(session, room) {
            None => self.tell(node, session, Down::Nack),
            Some(false) => {
                self.nodes[node].held.entry((session, room)).or_default().push(text);
            }
            Some(true) => {
                let Some(state) = self.nodes[node].sessions.get(&session) else { return };
                let user = state.user.clone();
                if self.plays(Sabotage::EarlyAck) {
                    let position = Position { epoch: Epoch(1), offset: 1_000_000 };
                    self.tell(node, session, Down::Ack(room, text.clone(), position));
                }
                self.send_append(node, conn(session), room, text, user);
            }
        }
    }

    /// The store has answered an append.
    pub fn appended(&mut self, conn: u64, room: usize, text: String, answer: Answer) {
        let Some(client) = self.client_of(id(conn)) else { return };
        let down = match answer {
            Ok(appended) => Down::Ack(room, text, appended.position),
            Err(_) => Down::Nack,
        };
        self.travel(conn, false, Event::Down(client, conn, down));
    }

    /// A stored message arrives from the store.
    pub fn deliver(&mut self, node: usize, stored: Arc<Stored>) -> Result<(), Violation> {
        let name = stored.record.room.clone();
        let Some(room) = (0..ROOMS).find(|room| room_name(*room) == name) else { return Ok(()) };
        for worker in 0..WORKERS {
            match self.nodes[node].tables[worker].accept(&stored) {
                Accept::Deliver => self.hand_out(node, worker, room, &stored),
                Accept::Gap(after) => {
                    if self.sabotage == Some(Sabotage::NoRepair) {
                        continue;
                    }
                    self.stats.repairs += 1;
                    self.send_read(node, Purpose::Repair { worker, room, after });
                }
                Accept::Duplicate | Accept::Repairing | Accept::NoRoom => {}
            }
        }
        Ok(())
    }

    /// Hands a message to the live members that do not have it.
    pub(super) fn hand_out(
        &mut self,
        node: usize,
        worker: usize,
        room: usize,
        stored: &Arc<Stored>,
    ) {
        let mut to = Vec::new();
        let table = &mut self.nodes[node].tables[worker];
        let Some(entry) = table.room_mut(&stored.record.room) else { return };
        for (_, member) in entry.members.iter_mut() {
            if member.live && member.cursor < stored.position.offset {
                member.cursor = stored.position.offset;
                to.push(member.who);
            }
        }
        for session in to {
            self.tell(node, session, Down::Message(room, Arc::clone(stored)));
        }
    }

    /// A node dies, with everything it knows.
    pub fn kill(&mut self, node: usize, ms: u64) {
        if !self.nodes[node].up {
            return;
        }
        let life = self.nodes[node].life + 1;
        let here = |client: &Client| client.conn.filter(|(_, n)| *n == node).map(|(c, _)| c);
        let cut: Vec<(usize, u64)> = self
            .clients
            .iter()
            .enumerate()
            .filter_map(|(number, client)| here(client).map(|conn| (number, conn)))
            .collect();
        self.nodes[node] = Node { up: false, ..Node::new(life, self.now) };
        for (client, conn) in cut {
            let notices = 5 + self.random.below(300);
            self.after(notices, Event::Cut(client, conn));
        }
        self.after(ms, Event::Start(node));
    }

    /// Heartbeats, graces and typing.
    pub fn tick(&mut self, node: usize) -> Result<(), Violation> {
        let now = self.now;
        let this = &mut self.nodes[node];
        if !this.up {
            return Ok(());
        }
        let mut stopped = this.typing.expire(now);
        stopped.sort();
        this.announced.typing(stopped)?;
        let effects = this.presence.tick(now);
        this.announced.tell(effects)?;
        for session in this.wheel.advance(now) {
            self.look(node, session)?;
        }
        Ok(())
    }

    fn look(&mut self, node: usize, session: SessionId) -> Result<(), Violation> {
        let now = self.now;
        let this = &mut self.nodes[node];
        let Some(state) = this.sessions.get_mut(&session) else { return Ok(()) };
        let (verdict, next) = judge(&state.vitals, now, &HEARTBEAT);
        match verdict {
            Verdict::Fine | Verdict::Warn => {}
            Verdict::Ping => state.vitals.ping_sent = Some(now),
            Verdict::Close(code) => {
                let client = &self.clients[state.client];
                let connected = client.conn == Some((conn(session), node));
                if code == CloseCode::HeartbeatMissed && connected && client.silent_until < now {
                    return Err(format!("a client that answers was given up: {}", conn(session)));
                }
                return self.close(node, session);
            }
        }
        this.wheel.add(next, session);
        if verdict == Verdict::Ping {
            self.tell(node, session, Down::Ping);
        }
        Ok(())
    }
}

/// Takes a session out of a room.
fn exit(node: &mut Node, session: SessionId, worker: usize, room: usize) {
    let name = room_name(room);
    // Refused: it is sent again elsewhere.
    node.held.remove(&(session, room));
    if node.tables[worker].leave(&name, session).1 {
        node.relay.unsubscribe(&name, worker);
    }
}
