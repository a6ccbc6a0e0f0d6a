//! How a member gets from what it has to hearing the room, and how a room gets what it misses: the
//! steps of `room_server/catchup.rs` between the tables.

use std::sync::Arc;

use hubbub_actors::{
    ports::{Page, Range, RoomBus, StoreError},
    room_server::table::{GoLive, Joining},
};
use hubbub_protocol::{
    id::SessionId,
    position::{Epoch, Position},
    record::Stored,
};

use super::{
    check::Violation,
    event::{Down, Event, Purpose, Seat},
    schedule::{ROOMS, WORKERS},
    world::{World, room_name},
};

/// Bytes of a page as rendered.
const PAGE_BYTES: usize = 4096;
/// As the hub has it: the position of a room that the store could not tell.
const UNKNOWN: Position = Position { epoch: Epoch(0), offset: 0 };
/// As the hub has it.
const MAX_ROUNDS: usize = 1000;

impl World {
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
            behind @ (GoLive::Behind | GoLive::Elsewhere) => {
                if matches!(behind, GoLive::Elsewhere) && table.doubt(&room_name(seat.room)) {
                    let (worker, room) = (seat.worker, seat.room);
                    self.send_read(node, Purpose::Repair { worker, room, after: 0 });
                }
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
}
