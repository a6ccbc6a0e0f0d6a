//! How a member gets from what it has to hearing the room, and how a room gets what it misses. What
//! comes next decides `room_server/steps.rs`, as in the hub; here is what
//! `room_server/catchup.rs` and `room_server/restore.rs` do about it.

use hubbub_actors::{
    ports::{Page, Range, RoomBus, StoreError},
    room_server::{
        steps::{Next, Start, Taken, UNKNOWN, base, next, stands, start_after, start_anew, taken},
        table::Joining,
    },
    session_store::{Base, HearFrom},
};
use hubbub_protocol::{id::SessionId, position::Position};

use super::{
    check::Violation,
    event::{After, Answered, Call, Down, Event, Purpose, Seat, Up},
    node::Waits,
    world::{World, room_name},
};

/// Bytes of a page as rendered.
const PAGE_BYTES: usize = 4096;
/// How long a join waits for its room to be heard.
const PATIENCE_MS: u64 = 3000;

impl World {
    /// Puts a session into a room of its worker's table and hears the room.
    pub(super) fn enter(&mut self, node: usize, session: SessionId, room: usize) -> Option<Seat> {
        let name = room_name(room);
        let this = &mut self.nodes[node];
        let worker = this.sessions.get(&session)?.worker;
        let joining = this.tables[worker].join(&name, session, session);
        if joining == Joining::Already {
            return None;
        }
        if joining == Joining::First {
            this.relay.subscribe(&name, worker);
            self.bridge_enter(node, room);
            let this = &mut self.nodes[node];
            if this.bridge.as_mut().is_some_and(|bridge| !bridge.is_open(room)) {
                this.openings.insert((worker, room));
            }
        }
        let ticket = self.nodes[node].tables[worker].ticket(&name, session).unwrap_or_default();
        Some(Seat { worker, session, room, ticket, request: 0 })
    }

    /// A session joins a room.
    ///
    /// # Errors
    /// What may not be announced.
    pub fn join(
        &mut self,
        node: usize,
        session: SessionId,
        room: usize,
        since: Option<Position>,
        request: u64,
    ) -> Result<(), Violation> {
        if self.nodes[node].member_is_live(session, room) == Some(false) {
            let held = self.nodes[node].held.entry((session, room)).or_default();
            held.push(Up::Join(room, since, request));
            return Ok(());
        }
        let Some(seat) = self.enter(node, session, room) else {
            return self.join_again(node, session, room, request);
        };
        let seat = Seat { request, ..seat };
        self.announce(node, session, room)?;
        self.when_heard(node, seat, Waits::Join(since))
    }

    /// Presence learns of a member.
    pub(super) fn announce(
        &mut self,
        node: usize,
        session: SessionId,
        room: usize,
    ) -> Result<(), Violation> {
        let now = self.now;
        let this = &mut self.nodes[node];
        let Some(state) = this.sessions.get_mut(&session) else { return Ok(()) };
        state.rooms.insert(room);
        let effects = this.presence.member_joined(&state.user, session, &room_name(room), now);
        this.announced.tell(effects)
    }

    /// Goes on when the room is heard.
    pub(super) fn when_heard(
        &mut self,
        node: usize,
        seat: Seat,
        waits: Waits,
    ) -> Result<(), Violation> {
        let this = &mut self.nodes[node];
        if this.openings.contains(&(seat.worker, seat.room)) {
            this.waiting.push((seat, waits));
            let life = this.life;
            self.after(PATIENCE_MS, Event::Impatient { node, life, seat });
            return Ok(());
        }
        self.is_heard(node, seat, waits)
    }

    fn is_heard(&mut self, node: usize, seat: Seat, waits: Waits) -> Result<(), Violation> {
        match waits {
            Waits::Join(since) => self.prepare(node, seat, since),
            Waits::Restore(HearFrom::At(have), _) => {
                self.send_read(node, Purpose::CatchUp { seat, have, round: 0 });
                Ok(())
            }
            // Only rooms of direct messages may have no history when they are kept.
            Waits::Restore(HearFrom::Start, _) => Err(format!("{seat:?} begins without a history")),
        }
    }

    /// A room is heard on a node: who waits goes on.
    pub(super) fn opened(&mut self, node: usize, room: usize) -> Result<(), Violation> {
        let this = &mut self.nodes[node];
        if !this.bridge.as_mut().is_some_and(|bridge| bridge.is_open(room)) {
            return Ok(());
        }
        this.openings.retain(|(_, opening)| *opening != room);
        let (ready, waiting): (Vec<_>, _) =
            std::mem::take(&mut this.waiting).into_iter().partition(|(seat, _)| seat.room == room);
        this.waiting = waiting;
        for (seat, waits) in ready {
            self.is_heard(node, seat, waits)?;
        }
        Ok(())
    }

    /// A member has waited too long for its room to be heard.
    pub fn impatient(&mut self, node: usize, seat: Seat) -> Result<(), Violation> {
        let same =
            |s: &Seat| (s.session, s.room, s.ticket) == (seat.session, seat.room, seat.ticket);
        let this = &mut self.nodes[node];
        let Some(at) = this.waiting.iter().position(|(s, _)| same(s)) else { return Ok(()) };
        let (seat, waits) = this.waiting.remove(at);
        match waits {
            Waits::Join(_) if !self.holds(node, seat) => Ok(()),
            Waits::Join(_) => self.refuse_join(node, seat),
            Waits::Restore(_, conn) => {
                let state = self.nodes[node].sessions.get(&seat.session);
                match state.is_some_and(|state| state.conn == conn) {
                    true => self.close(node, seat.session, false),
                    false => Ok(()),
                }
            }
        }
    }

    fn refuse_join(&mut self, node: usize, seat: Seat) -> Result<(), Violation> {
        if self.holds(node, seat) {
            if let Some(state) = self.nodes[node].sessions.get(&seat.session) {
                state.keeping.leave(&room_name(seat.room));
                let (owner, call) = (state.keeping.owner, Call::Leave(room_name(seat.room)));
                self.call(node, seat.session, owner, call, After::Nothing);
            }
            self.take_out(node, seat.session, seat.room)?;
        }
        self.tell(node, seat.session, Down::Refused(seat.room, seat.request));
        Ok(())
    }

    fn prepare(
        &mut self,
        node: usize,
        seat: Seat,
        since: Option<Position>,
    ) -> Result<(), Violation> {
        if !self.holds(node, seat) {
            return Ok(());
        }
        let this = &self.nodes[node];
        let room = this.tables[seat.worker].room(&room_name(seat.room));
        if since.is_none() && room.and_then(|r| r.position).is_some() {
            let (life, pause) = (this.life, self.random.below(20));
            self.after(pause, Event::Here { node, life, seat });
        } else {
            self.send_read(node, Purpose::Start { seat, since });
        }
        Ok(())
    }

    /// A live member asks again.
    fn join_again(
        &mut self,
        node: usize,
        session: SessionId,
        room: usize,
        request: u64,
    ) -> Result<(), Violation> {
        let this = &self.nodes[node];
        let Some(state) = this.sessions.get(&session) else { return Ok(()) };
        let position = stands(&this.tables[state.worker], &room_name(room), session);
        let offset = self.tail(node, session);
        let messages = Vec::new();
        let joined = Down::Joined { room, request, position, recovered: false, messages, offset };
        self.tell(node, session, joined);
        Ok(())
    }

    pub(super) fn holds(&self, node: usize, seat: Seat) -> bool {
        let table = &self.nodes[node].tables[seat.worker];
        table.ticket(&room_name(seat.room), seat.session) == Some(seat.ticket)
    }

    /// A member begins where the room stands.
    pub fn here(&mut self, node: usize, seat: Seat) {
        self.found(node, seat, Start::Here, true);
    }

    /// It is known where a member begins: the session store is told first.
    fn found(&mut self, node: usize, seat: Seat, start: Start, fresh: bool) {
        if !self.holds(node, seat) {
            return;
        }
        let this = &self.nodes[node];
        let stands = this.tables[seat.worker].room(&room_name(seat.room)).and_then(|r| r.position);
        let start = match start {
            Start::Here => Start::at(stands.unwrap_or(UNKNOWN)),
            at => at,
        };
        let Start::At { position, .. } = start else { return };
        let Some(state) = this.sessions.get(&seat.session) else { return };
        let kept = state.keeping.enter(&room_name(seat.room), base(position, fresh));
        let (owner, after) = (state.keeping.owner, After::Joined { seat, start, fresh });
        self.call(node, seat.session, owner, Call::Join(kept), after);
    }

    /// The session store has answered a join.
    pub(super) fn kept(
        &mut self,
        node: usize,
        seat: Seat,
        start: Start,
        fresh: bool,
        answered: &Answered,
    ) -> Result<(), Violation> {
        let Start::At { position, recovered, messages, more } = start else { return Ok(()) };
        if !self.holds(node, seat) {
            return Ok(());
        }
        let Some(state) = self.nodes[node].sessions.get_mut(&seat.session) else { return Ok(()) };
        if let Some(marks) = state.keeping.marks() {
            if matches!(answered, Answered::Failed) {
                return self.refuse_join(node, seat);
            }
            if base(position, fresh) == Base::Unknown && position != UNKNOWN {
                marks.lock().set(&room_name(seat.room), position);
            }
        }
        if matches!(answered, Answered::Owned(true)) {
            state.safe.insert(seat.room);
        }
        let Seat { room, request, .. } = seat;
        let offset = self.tail(node, seat.session);
        let joined = Down::Joined { room, request, position, recovered, messages, offset };
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
            return self.restore_next(node, seat.session);
        }
        let (worker, room) = (seat.worker, seat.room);
        let table = &mut self.nodes[node].tables[worker];
        match next(table, &room_name(room), seat.session, have, round) {
            Next::Live(bridge) => {
                for stored in bridge {
                    self.give(node, seat.session, room, &stored);
                }
                let held = self.nodes[node].held.remove(&(seat.session, room));
                for up in held.unwrap_or_default() {
                    self.act(node, seat.session, up)?;
                }
                self.restore_next(node, seat.session)
            }
            Next::Read { doubted } => {
                if doubted {
                    self.send_read(node, Purpose::Repair { worker, room, after: 0 });
                }
                self.send_read(node, Purpose::CatchUp { seat, have, round: round + 1 });
                Ok(())
            }
            Next::Never => Err(format!("{seat:?} never caught up")),
            Next::Gone => self.restore_next(node, seat.session),
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
                self.found(node, seat, Start::at(position), true);
            }
            Purpose::Start { seat, since: Some(since) } => {
                let fit = |page: Page| page.fit(Range::After(since.offset), PAGE_BYTES);
                match page.ok().and_then(|page| start_after(since, fit(page))) {
                    Some(start) => self.found(node, seat, start, false),
                    None => self.send_read(node, Purpose::Newest { seat }),
                }
            }
            Purpose::Newest { seat } => {
                let start = page.map_or(Start::at(UNKNOWN), start_anew);
                self.found(node, seat, start, false);
            }
            Purpose::CatchUp { seat, have, round } => {
                return self.caught_up(node, seat, have, round, page);
            }
            Purpose::Repair { worker, room, after } => {
                self.repaired(node, worker, room, after, page);
            }
            Purpose::Anew { worker, room } => match page {
                Ok(page) => self.begin_anew(node, worker, room, page),
                Err(_) => self.send_read(node, Purpose::Anew { worker, room }),
            },
            Purpose::Cover { conn, .. } => return self.covered(node, conn, page),
            Purpose::Over { conn, room } => return self.over(node, conn, room, page),
            bridge => return self.bridge_page(node, bridge, page),
        }
        Ok(())
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
            return self.restore_next(node, seat.session);
        }
        let page = page.ok().map(|page| page.fit(Range::After(have.offset), PAGE_BYTES));
        let Some(Taken { have, records, more }) = page.and_then(|page| taken(have, page)) else {
            return self.close(node, seat.session, false);
        };
        for stored in records {
            self.give(node, seat.session, seat.room, &stored);
        }
        if more {
            self.send_read(node, Purpose::CatchUp { seat, have, round });
            return Ok(());
        }
        self.go_live(node, seat, have, round)
    }
}
