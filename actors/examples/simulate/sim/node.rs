//! A node: the hub's own tables, relay, presence, typing and heartbeats, with the few steps that
//! its actors do between them (`room_server/mod.rs`, `room_server/catchup.rs`,
//! `presence_tracker/mod.rs`, `heart.rs`), one event after the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hubbub_actors::{
    ports::{Page, Range, RoomBus, StoreError},
    presence_tracker::{PresenceSettings, PresenceTable, TypingTable},
    relay::Relay,
    room_server::table::{Accept, GoLive, Joining, RoomTable},
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
    schedule::{ROOMS, WORKERS},
    world::{Answer, Down, Event, Purpose, Sabotage, Seat, Up, World, room_name},
};

/// Records of a page; small, so that many pages are needed.
pub const PAGE: usize = 20;
/// Records of the head of a room.
pub const HEAD_PAGE: usize = 10;
/// Bytes of a page as rendered.
const PAGE_BYTES: usize = 4096;
/// As the hub has it: the position of a room that the store could not tell.
const UNKNOWN: Position = Position { epoch: Epoch(0), offset: 0 };
/// As the hub has it.
const MAX_ROUNDS: usize = 1000;

const HEARTBEAT: HeartbeatSettings = HeartbeatSettings { heartbeat_ms: 2500, timeout_ms: 2000 };
const PRESENCE: PresenceSettings =
    PresenceSettings { grace_ms: 1000, announce_max_members: 1000, everybody: false };
const TYPING_MS: u64 = 3000;

/// A session on its node.
struct Session {
    client: usize,
    worker: usize,
    user: UserId,
    rooms: BTreeSet<usize>,
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
    tables: Vec<RoomTable<SessionId>>,
    sessions: BTreeMap<SessionId, Session>,
    /// Connections under way.
    expected: BTreeMap<u64, usize>,
    held: BTreeMap<(SessionId, usize), Vec<String>>,
    presence: PresenceTable,
    typing: TypingTable,
    wheel: Wheel<SessionId>,
    announced: Announced,
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
    fn close(&mut self, node: usize, session: SessionId) -> Result<(), Violation> {
        self.tell(node, session, Down::Closed);
        self.detach(node, session)
    }

    fn tell(&mut self, node: usize, session: SessionId, down: Down) {
        if let Some(state) = self.nodes[node].sessions.get(&session) {
            let client = state.client;
            self.travel(conn(session), false, Event::Down(client, conn(session), down));
        }
    }

    fn join(
        &mut self,
        node: usize,
        session: SessionId,
        room: usize,
        since: Option<Position>,
        request: u64,
    ) -> Result<(), Violation> {
        let now = self.now;
        let name = room_name(room);
        let this = &mut self.nodes[node];
        let Some(state) = this.sessions.get_mut(&session) else { return Ok(()) };
        let table = &mut this.tables[state.worker];
        let joining = table.join(&name, session, session);
        if joining == Joining::Already {
            return Ok(());
        }
        if joining == Joining::First {
            this.relay.subscribe(&name, state.worker);
        }
        state.rooms.insert(room);
        let ticket = table.ticket(&name, session).unwrap_or_default();
        let seat = Seat { worker: state.worker, session, room, ticket, request };
        let known = table.room(&name).and_then(|r| r.position).is_some();
        let effects = this.presence.member_joined(&state.user, session, &name, now);
        this.announced.tell(effects)?;
        if since.is_none() && known {
            let life = this.life;
            let pause = self.random.below(20);
            self.after(pause, Event::Here { node, life, seat });
        } else {
            self.send_read(node, Purpose::Start { seat, since });
        }
        Ok(())
    }

    fn holds(&self, node: usize, seat: Seat) -> bool {
        let table = &self.nodes[node].tables[seat.worker];
        table.ticket(&room_name(seat.room), seat.session) == Some(seat.ticket)
    }

    /// A member begins where the room stands.
    pub fn here(&mut self, node: usize, seat: Seat) -> Result<(), Violation> {
        let table = &self.nodes[node].tables[seat.worker];
        let position = table.room(&room_name(seat.room)).and_then(|r| r.position);
        self.joined(node, seat, position.unwrap_or(UNKNOWN), false, Vec::new(), false)
    }

    fn joined(
        &mut self,
        node: usize,
        seat: Seat,
        position: Position,
        recovered: bool,
        messages: Vec<Arc<Stored>>,
        more: bool,
    ) -> Result<(), Violation> {
        if !self.holds(node, seat) {
            return Ok(());
        }
        let Seat { room, request, .. } = seat;
        let joined = Down::Joined { room, request, position, recovered, messages };
        self.tell(node, seat.session, joined);
        if more {
            self.send_read(node, Purpose::CatchUp { seat, have: position, round: 0 });
            return Ok(());
        }
        self.go_live(node, seat, position, 0)
    }

    fn go_live(
        &mut self,
        node: usize,
        seat: Seat,
        have: Position,
        round: usize,
    ) -> Result<(), Violation> {
        if !self.holds(node, seat) {
            return Ok(());
        }
        if round >= MAX_ROUNDS {
            return Err(format!("{seat:?} never caught up"));
        }
        let caught_up = (have != UNKNOWN).then_some(have);
        let table = &mut self.nodes[node].tables[seat.worker];
        match table.go_live(&room_name(seat.room), seat.session, caught_up) {
            GoLive::Live(bridge) => {
                self.send(node, seat, bridge);
                let key = (seat.session, seat.room);
                for text in self.nodes[node].held.remove(&key).unwrap_or_default() {
                    self.publishes(node, seat.session, seat.room, text);
                }
            }
            GoLive::Behind => {
                self.send_read(node, Purpose::CatchUp { seat, have, round: round + 1 });
            }
            GoLive::Gone => {}
        }
        Ok(())
    }

    fn send(&mut self, node: usize, seat: Seat, records: Vec<Arc<Stored>>) {
        for stored in records {
            self.tell(node, seat.session, Down::Message(seat.room, stored));
        }
    }

    /// The store has answered a read.
    pub fn page(
        &mut self,
        node: usize,
        purpose: Purpose,
        page: Result<Page, StoreError>,
    ) -> Result<(), Violation> {
        match purpose {
            Purpose::Start { seat, since: None } => {
                let position = page.map_or(UNKNOWN, |page| page.head);
                self.joined(node, seat, position, false, Vec::new(), false)
            }
            Purpose::Start { seat, since: Some(since) } => {
                let Ok(page) = page else {
                    return self.joined(node, seat, UNKNOWN, false, Vec::new(), false);
                };
                let page = page.fit(Range::After(since.offset), PAGE_BYTES);
                let covered = page.head.epoch == since.epoch
                    && since.offset <= page.head.offset
                    && since.offset + 1 >= page.oldest;
                if !covered {
                    self.send_read(node, Purpose::Newest { seat });
                    return Ok(());
                }
                let position = page.records.last().map_or(since, |r| r.position);
                self.joined(node, seat, position, true, page.records, page.has_more)
            }
            Purpose::Newest { seat } => match page {
                Ok(page) => self.joined(node, seat, page.head, false, page.records, false),
                Err(_) => self.joined(node, seat, UNKNOWN, false, Vec::new(), false),
            },
            Purpose::CatchUp { seat, have, round } => self.caught_up(node, seat, have, round, page),
            Purpose::Repair { worker, room, after } => {
                self.repaired(node, worker, room, after, page);
                Ok(())
            }
            Purpose::Anew { worker, room } => {
                self.start_over(node, worker, room, page);
                Ok(())
            }
        }
    }

    fn caught_up(
        &mut self,
        node: usize,
        seat: Seat,
        have: Position,
        round: usize,
        page: Result<Page, StoreError>,
    ) -> Result<(), Violation> {
        if !self.holds(node, seat) {
            return Ok(());
        }
        let reaches =
            |p: &Page| p.head.epoch == have.epoch && have.offset.saturating_add(1) >= p.oldest;
        let range = Range::After(have.offset);
        let Some(page) = page.ok().map(|p| p.fit(range, PAGE_BYTES)).filter(reaches) else {
            return self.close(node, seat.session);
        };
        let now = page.records.last().map_or(have, |r| r.position);
        self.send(node, seat, page.records);
        if page.has_more {
            self.send_read(node, Purpose::CatchUp { seat, have: now, round });
            return Ok(());
        }
        self.go_live(node, seat, now, round)
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

    fn publishes(&mut self, node: usize, session: SessionId, room: usize, text: String) {
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
    fn hand_out(&mut self, node: usize, worker: usize, room: usize, stored: &Arc<Stored>) {
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

    fn repaired(
        &mut self,
        node: usize,
        worker: usize,
        room: usize,
        after: u64,
        page: Result<Page, StoreError>,
    ) {
        let Ok(page) = page else {
            return self.send_read(node, Purpose::Repair { worker, room, after });
        };
        let name = room_name(room);
        let table = &mut self.nodes[node].tables[worker];
        let at = table.room(&name).and_then(|r| r.position);
        if at.is_some_and(|at| at.epoch == page.head.epoch && page.oldest > at.offset + 1) {
            // What is missing is not kept any more.
            return self.send_read(node, Purpose::Anew { worker, room });
        }
        let (fresh, more) = table.repaired(&name, page.head, page.records, page.has_more);
        for stored in fresh {
            self.hand_out(node, worker, room, &stored);
        }
        if more {
            let table = &self.nodes[node].tables[worker];
            let after = table.room(&name).and_then(|r| r.position).map_or(0, |p| p.offset);
            self.send_read(node, Purpose::Repair { worker, room, after });
        }
    }

    /// Messages of a room are gone that its members were not given: they are told so.
    fn start_over(
        &mut self,
        node: usize,
        worker: usize,
        room: usize,
        page: Result<Page, StoreError>,
    ) {
        let Ok(page) = page else {
            return self.send_read(node, Purpose::Anew { worker, room });
        };
        let this = &mut self.nodes[node];
        if this.tables[worker].hold(&room_name(room)) {
            // Meanwhile the presence tracker is asked for the members.
            let (life, pause) = (this.life, self.random.below(20));
            self.after(pause, Event::StartedOver { node, life, worker, room, page });
        }
    }

    /// The same, with the members known.
    pub fn started_over(&mut self, node: usize, worker: usize, room: usize, page: &Page) {
        let table = &mut self.nodes[node].tables[worker];
        let (told, more) = table.start_over(&room_name(room), page.head);
        for session in told {
            let messages = page.records.clone();
            let (position, recovered) = (page.head, false);
            let joined = Down::Joined { room, request: 0, position, recovered, messages };
            self.tell(node, session, joined);
        }
        if more {
            self.send_read(node, Purpose::Repair { worker, room, after: page.head.offset });
        }
    }

    /// The store is reached again: every room looks for what it has missed.
    pub fn heal(&mut self, node: usize) {
        for worker in 0..WORKERS {
            let mut rooms = self.nodes[node].tables[worker].suspect();
            // In an order that does not hang on a hash.
            rooms.sort();
            for (name, after) in rooms {
                if let Some(room) = (0..ROOMS).find(|room| room_name(*room) == name) {
                    self.send_read(node, Purpose::Repair { worker, room, after });
                }
            }
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
