//! A node: the hub's own tables, relay, presence, typing and heartbeats, with the few steps that
//! its actors do between them (`room_server/mod.rs`, `room_server/catchup.rs`,
//! `presence_tracker/mod.rs`, `heart.rs`), one event after the other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hubbub_actors::{
    presence_tracker::{PresenceSettings, PresenceTable, TypingTable},
    relay::Relay,
    room_server::table::RoomTable,
    session::{
        heartbeat::{HeartbeatSettings, Verdict, Vitals, Wheel, judge},
        keeping::Keeping,
    },
    session_store::{HearFrom, Owner},
};
use hubbub_protocol::{
    close::CloseCode,
    id::{SessionId, UserId},
};

use super::{
    bridge::{Bridge, CHECK_MS},
    check::{Announced, Violation},
    client::Client,
    event::{Down, Event, Seat, Up},
    recovery::Claiming,
    schedule::{ROOMS, WORKERS},
    world::{World, room_name},
};

/// Records of a page; small, so that many pages are needed.
pub const PAGE: usize = 20;
/// Records of the head of a room.
pub const HEAD_PAGE: usize = 10;

pub(super) const HEARTBEAT: HeartbeatSettings =
    HeartbeatSettings { heartbeat_ms: 2500, timeout_ms: 2000 };
const PRESENCE: PresenceSettings =
    PresenceSettings { grace_ms: 1000, announce_max_members: 1000, everybody: false };
const TYPING_MS: u64 = 3000;

/// A session on its node.
pub(super) struct Session {
    pub client: usize,
    pub conn: u64,
    pub worker: usize,
    pub user: UserId,
    pub rooms: BTreeSet<usize>,
    pub keeping: Keeping,
    /// The session store has it, and has these of its rooms.
    pub stored: bool,
    pub safe: BTreeSet<usize>,
    pub vitals: Vitals,
}

/// A connection.
pub(super) struct Conn {
    pub client: usize,
    pub session: Option<SessionId>,
    /// What waits until it is known what becomes of its earlier session.
    pub waits: Option<VecDeque<Up>>,
}

/// What waits for a room to be heard.
pub(super) enum Waits {
    Join(Option<hubbub_protocol::position::Position>),
    /// On this connection.
    Restore(HearFrom, u64),
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
    pub(super) conns: BTreeMap<u64, Conn>,
    /// Connections that ask for their earlier session.
    pub(super) claims: BTreeMap<u64, Claiming>,
    pub(super) held: BTreeMap<(SessionId, usize), Vec<Up>>,
    /// Rooms of sessions that came back, which they do not hear yet.
    pub(super) restoring: BTreeMap<SessionId, VecDeque<(Seat, HearFrom)>>,
    pub(super) bridge: Option<Bridge>,
    /// Rooms of workers that are not heard yet, and who waits for that.
    pub(super) openings: BTreeSet<(usize, usize)>,
    pub(super) waiting: Vec<(Seat, Waits)>,
    /// When the newest call to the session store arrives; ends that it did not take.
    pub(super) calls_at: u64,
    pub(super) ends: Vec<(SessionId, Owner, bool)>,
    pub(super) presence: PresenceTable,
    pub(super) typing: TypingTable,
    pub(super) wheel: Wheel<u64>,
    pub(super) announced: Announced,
}

/// The id of the session that begins on a connection.
pub fn id(conn: u64) -> SessionId {
    SessionId(uuid::Uuid::from_u128(conn.into()))
}

impl Node {
    /// A node that was just started.
    pub fn new(life: u32, now: u64, bridged: bool) -> Self {
        Self {
            life,
            up: true,
            cut_until: 0,
            channel_at: 0,
            relay: Relay::default(),
            tables: (0..WORKERS).map(|_| RoomTable::default()).collect(),
            sessions: BTreeMap::new(),
            conns: BTreeMap::new(),
            claims: BTreeMap::new(),
            held: BTreeMap::new(),
            restoring: BTreeMap::new(),
            bridge: bridged.then(Bridge::default),
            openings: BTreeSet::new(),
            waiting: Vec::new(),
            calls_at: 0,
            ends: Vec::new(),
            presence: PresenceTable::new(PRESENCE),
            typing: TypingTable::new(TYPING_MS),
            wheel: Wheel::new(100, 64, now),
            announced: Announced::default(),
        }
    }

    /// A client connects.
    pub fn expect(&mut self, conn: u64, client: usize) {
        self.conns.insert(conn, Conn { client, session: None, waits: None });
    }

    /// Who is announced is there, and every session has its client.
    pub fn settled(&self, clients: &[Client], number: usize) -> Result<(), Violation> {
        let mut members = BTreeSet::new();
        for (session, state) in &self.sessions {
            let theirs = clients[state.client].conn;
            if theirs != Some((state.conn, number)) {
                return Err(format!("{session} on {} has no client: {theirs:?}", state.conn));
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
            ("connections", self.conns.len()),
            ("claims", self.claims.len()),
            ("rooms to restore", self.restoring.len()),
            ("rooms of the bridge", self.bridge.as_mut().map_or(0, Bridge::len)),
            ("openings", self.openings.len() + self.waiting.len()),
            ("ends", self.ends.len()),
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

    pub(super) fn member_is_live(&self, session: SessionId, room: usize) -> Option<bool> {
        let worker = self.sessions.get(&session)?.worker;
        let room = self.tables[worker].room(&room_name(room))?;
        Some(room.members.get(session)?.live)
    }
}

impl World {
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
        let this = &self.nodes[node];
        let claimed = this.claims.values().filter_map(Claiming::armed);
        let kept: Vec<_> = (this.sessions.iter().map(|(id, state)| (*id, state.keeping.owner)))
            .chain(this.ends.iter().map(|(id, owner, _)| (*id, *owner)))
            .chain(claimed)
            .collect();
        self.died(kept);
        let bridged = self.nodes[node].bridge.is_some();
        self.nodes[node] = Node { up: false, ..Node::new(life, self.now, bridged) };
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
        for conn in this.wheel.advance(now) {
            self.look(node, conn)?;
        }
        self.tell_ends(node);
        if now.is_multiple_of(CHECK_MS) {
            self.check_all(node);
        }
        Ok(())
    }

    fn look(&mut self, node: usize, conn: u64) -> Result<(), Violation> {
        let now = self.now;
        let this = &mut self.nodes[node];
        let Some(session) = this.conns.get(&conn).and_then(|c| c.session) else { return Ok(()) };
        let Some(state) = this.sessions.get_mut(&session) else { return Ok(()) };
        let (verdict, next) = judge(&state.vitals, now, &HEARTBEAT);
        match verdict {
            Verdict::Fine | Verdict::Warn => {}
            Verdict::Ping => state.vitals.ping_sent = Some(now),
            Verdict::Close(code) => {
                let client = &self.clients[state.client];
                let connected = client.conn == Some((conn, node));
                if code == CloseCode::HeartbeatMissed && connected && client.silent_until < now {
                    return Err(format!("a client that answers was given up: {conn}"));
                }
                return self.close(node, session, false);
            }
        }
        this.wheel.add(next, conn);
        if verdict == Verdict::Ping {
            self.tell(node, session, Down::Ping);
        }
        Ok(())
    }
}
