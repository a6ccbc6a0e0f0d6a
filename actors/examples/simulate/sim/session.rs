//! Sessions of a node: what they ask, what they are told, and how they end (`session/`,
//! `room_server/mod.rs`, `room_server/hand_out.rs`).

use std::{collections::BTreeSet, sync::Arc};

use hubbub_actors::{
    marks::Marks,
    ports::RoomBus,
    room_server::table::Accept,
    session::{
        heartbeat::{Vitals, judge},
        keeping::Keeping,
    },
    session_store::Owner,
};
use hubbub_protocol::{
    event::Status,
    id::{RoomName, SessionId},
    position::{Epoch, Position},
    record::Stored,
    recovery::write_own,
};

use super::{
    bridge::number,
    check::Violation,
    client::Manner,
    event::{After, Answer, Call, Down, Event, Purpose, Sabotage, Up},
    keep::identity,
    node::{HEARTBEAT, Session, id},
    schedule::WORKERS,
    world::{World, room_name},
};

impl World {
    /// Something from a client arrives.
    pub fn hear(&mut self, node: usize, conn: u64, up: Up) -> Result<(), Violation> {
        if !self.nodes[node].up {
            return Ok(());
        }
        let Some(connection) = self.nodes[node].conns.get_mut(&conn) else { return Ok(()) };
        if let Some(waits) = &mut connection.waits {
            let session = connection.session.filter(|_| matches!(up, Up::Pong));
            waits.push_back(up);
            // Heartbeats here are shorter than the patience with a store that fails.
            if let Some(state) = session.and_then(|id| self.nodes[node].sessions.get_mut(&id)) {
                state.vitals.last_seen = self.now;
                state.vitals.ping_sent = None;
            }
            return Ok(());
        }
        match (up, connection.session) {
            (Up::Open(None), _) => self.open(node, conn, None),
            (Up::Open(Some((earlier, offset))), _) => self.recover(node, conn, earlier, offset),
            (Up::Resume(earlier, positions), _) => self.resume(node, conn, earlier, positions),
            (up, Some(session)) => self.act(node, session, up),
            (_, None) => Ok(()),
        }
    }

    /// A session does what it is asked.
    pub(super) fn act(&mut self, node: usize, session: SessionId, up: Up) -> Result<(), Violation> {
        let now = self.now;
        let this = &mut self.nodes[node];
        let Some(state) = this.sessions.get_mut(&session) else { return Ok(()) };
        state.vitals.last_seen = now;
        let (user, conn) = (state.user.clone(), state.conn);
        match up {
            Up::Open(_) | Up::Resume(..) | Up::Pong => {}
            Up::Close => {
                state.keeping.end();
                return self.gone(node, conn);
            }
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

    /// A session begins on a connection, or one goes on as it was kept.
    pub(super) fn open(
        &mut self,
        node: usize,
        conn: u64,
        kept: Option<(SessionId, Keeping)>,
    ) -> Result<(), Violation> {
        let now = self.now;
        let Some(connection) = self.nodes[node].conns.get(&conn) else { return Ok(()) };
        let client = connection.client;
        let recovered = kept.is_some();
        let (session, keeping) = kept.unwrap_or_else(|| {
            let offsets = self.clients[client].manner == Manner::Offsets;
            let marks = offsets.then(|| Marks::new(id(conn)));
            (id(conn), Keeping::new(Owner::fresh(), marks))
        });
        let user = self.clients[client].user.clone();
        if !recovered {
            let call = Call::Open(identity(session, &user));
            self.call(node, session, keeping.owner, call, After::Opened(session));
        }
        let this = &mut self.nodes[node];
        if let Some(connection) = this.conns.get_mut(&conn) {
            connection.session = Some(session);
        }
        let vitals = Vitals {
            last_seen: now,
            ping_sent: None,
            auth_deadline: u64::MAX,
            expires_at: u64::MAX,
            warned: false,
        };
        let (_, next) = judge(&vitals, now, &HEARTBEAT);
        this.wheel.add(next, conn);
        let worker = (conn % WORKERS as u64) as usize;
        let effects = this.presence.session_opened(&user, None, session, now);
        let (rooms, safe) = (BTreeSet::new(), BTreeSet::new());
        let state =
            Session { client, conn, worker, user, rooms, keeping, stored: recovered, safe, vitals };
        this.sessions.insert(session, state);
        this.announced.tell(effects)?;
        self.tell(node, session, Down::Opened { session, recovered });
        Ok(())
    }

    /// A connection has ended.
    pub fn gone(&mut self, node: usize, conn: u64) -> Result<(), Violation> {
        let Some(connection) = self.nodes[node].conns.remove(&conn) else { return Ok(()) };
        self.drop_claim(node, conn);
        let Some(session) = connection.session else { return Ok(()) };
        let mine = |s: &Session| s.conn == conn;
        if self.nodes[node].sessions.get(&session).is_some_and(mine) {
            let over = self.nodes[node].sessions[&session].keeping.is_over();
            self.detach(node, session, over)?;
        }
        Ok(())
    }

    /// A session leaves its connection; `over`: for good.
    fn detach(&mut self, node: usize, session: SessionId, over: bool) -> Result<(), Violation> {
        let now = self.now;
        let forgets = self.plays(Sabotage::ForgetClose);
        let this = &mut self.nodes[node];
        let Some(state) = this.sessions.remove(&session) else { return Ok(()) };
        this.restoring.remove(&session);
        let call = if over { Call::Ended } else { Call::Lost };
        self.call(node, session, state.keeping.owner, call, After::Nothing);
        for room in &state.rooms {
            self.exit(node, session, state.worker, *room);
        }
        if forgets {
            return Ok(());
        }
        let this = &mut self.nodes[node];
        let rooms: Vec<RoomName> = state.rooms.iter().map(|room| room_name(*room)).collect();
        let stopped = this.typing.session_closed(session);
        this.announced.typing(stopped)?;
        let effects = this.presence.session_closed(&state.user, session, &rooms, now);
        this.announced.tell(effects)
    }

    /// The hub closes a connection, and its client is told; `over`: it does not come back.
    pub(super) fn close(
        &mut self,
        node: usize,
        session: SessionId,
        over: bool,
    ) -> Result<(), Violation> {
        self.tell(node, session, Down::Closed);
        let Some(state) = self.nodes[node].sessions.get(&session) else { return Ok(()) };
        let conn = state.conn;
        self.nodes[node].conns.remove(&conn);
        self.drop_claim(node, conn);
        self.detach(node, session, over)
    }

    pub(super) fn tell(&mut self, node: usize, session: SessionId, down: Down) {
        if let Some(state) = self.nodes[node].sessions.get(&session) {
            let (client, conn) = (state.client, state.conn);
            self.travel(conn, false, Event::Down(client, conn, down));
        }
    }

    /// Takes a session out of a room.
    pub(super) fn exit(&mut self, node: usize, session: SessionId, worker: usize, room: usize) {
        let name = room_name(room);
        let this = &mut self.nodes[node];
        // Refused: it is sent again elsewhere.
        this.held.remove(&(session, room));
        if this.tables[worker].leave(&name, session).1 {
            this.openings.remove(&(worker, room));
            if this.relay.unsubscribe(&name, worker) {
                self.bridge_exit(node, room);
            }
        }
    }

    fn leave(&mut self, node: usize, session: SessionId, room: usize) -> Result<(), Violation> {
        let this = &mut self.nodes[node];
        let Some(state) = this.sessions.get_mut(&session) else { return Ok(()) };
        if !state.rooms.contains(&room) {
            return Ok(());
        }
        let conn = state.conn;
        state.keeping.leave(&room_name(room));
        let (owner, call) = (state.keeping.owner, Call::Leave(room_name(room)));
        self.take_out(node, session, room)?;
        self.call(node, session, owner, call, After::Left(session, conn));
        Ok(())
    }

    /// A session is no member of a room any more.
    pub(super) fn take_out(
        &mut self,
        node: usize,
        session: SessionId,
        room: usize,
    ) -> Result<(), Violation> {
        let now = self.now;
        let this = &mut self.nodes[node];
        let Some(state) = this.sessions.get_mut(&session) else { return Ok(()) };
        state.rooms.remove(&room);
        state.safe.remove(&room);
        let (user, worker) = (state.user.clone(), state.worker);
        self.exit(node, session, worker, room);
        let this = &mut self.nodes[node];
        let stopped = this.typing.stop(session, &room_name(room));
        this.announced.typing(stopped)?;
        let effects = this.presence.member_left(&user, session, &room_name(room), now);
        this.announced.tell(effects)
    }

    pub(super) fn publishes(&mut self, node: usize, session: SessionId, room: usize, text: String) {
        match self.nodes[node].member_is_live(session, room) {
            None => self.tell(node, session, Down::Nack),
            Some(false) => {
                let held = self.nodes[node].held.entry((session, room)).or_default();
                held.push(Up::Publish(room, text));
            }
            Some(true) => {
                let Some(state) = self.nodes[node].sessions.get(&session) else { return };
                let (user, conn) = (state.user.clone(), state.conn);
                if self.plays(Sabotage::EarlyAck) {
                    let position = Position { epoch: Epoch(1), offset: 1_000_000 };
                    self.tell(node, session, Down::Ack(room, text.clone(), position));
                }
                self.send_append(node, conn, room, text, user);
            }
        }
    }

    /// The store has answered an append; its records take the same way as those of others.
    pub fn appended(
        &mut self,
        node: usize,
        conn: u64,
        room: usize,
        text: String,
        answer: Answer,
        own: Vec<Arc<Stored>>,
    ) {
        self.bridge_take(node, own);
        let Some(client) = self.client_of(conn) else { return };
        let down = match answer {
            Ok(appended) => Down::Ack(room, text, appended.position),
            Err(_) => Down::Nack,
        };
        self.travel(conn, false, Event::Down(client, conn, down));
    }

    /// A stored message arrives at the room servers of a node.
    pub fn deliver(&mut self, node: usize, stored: &Arc<Stored>) {
        let Some(room) = number(&stored.record.room) else { return };
        for worker in 0..WORKERS {
            match self.nodes[node].tables[worker].accept(stored) {
                Accept::Deliver => self.hand_out(node, worker, room, stored),
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
            self.give(node, session, room, stored);
        }
    }

    /// Hands a message to a session, with the offset that its client brings back.
    pub(super) fn give(
        &mut self,
        node: usize,
        session: SessionId,
        room: usize,
        stored: &Arc<Stored>,
    ) {
        let Some(state) = self.nodes[node].sessions.get(&session) else { return };
        let offset = state.keeping.marks().map(|marks| {
            let name = &stored.record.room;
            let mut text = String::new();
            write_own(&mut text, name, stored.position);
            let tail = marks.lock().advance(name, stored.position);
            let tail = tail.filter(|_| self.sabotage != Some(Sabotage::NoTail));
            text + &tail.unwrap_or_default()
        });
        self.tell(node, session, Down::Message(room, Arc::clone(stored), offset));
    }

    /// Where a session stands, for what is told it alone.
    pub(super) fn tail(&self, node: usize, session: SessionId) -> Option<String> {
        let state = self.nodes[node].sessions.get(&session)?;
        state.keeping.marks()?.lock().tail()
    }
}
