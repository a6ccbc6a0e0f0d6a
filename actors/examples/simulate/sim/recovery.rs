//! How a session comes back: claimed from the store, found by the offset of its client (`marks.rs`)
//! or by the positions it names, and put into its rooms again (`session/restore.rs`,
//! `session/resuming.rs`, `session/engine/recover.rs`, `room_server/restore.rs`).

use std::collections::VecDeque;

use hubbub_actors::{
    marks::{Marks, Standing, hear_from, resolve},
    ports::{Page, StoreError},
    session::keeping::Keeping,
    session_store::{Base, HearFrom, KeptRoom, KeptSession, Owner},
};
use hubbub_protocol::{id::SessionId, position::Position};

use super::{
    bridge::number,
    check::Violation,
    event::{After, Call, Down, Event, Purpose, Resumed, Sabotage},
    node::Waits,
    world::{World, room_name},
};

/// How long a store that fails is asked again.
pub const PATIENCE_MS: u64 = 3000;
const PAUSE_MS: u64 = 100;

/// A room of a session that comes back.
struct Back {
    kept: Option<KeptRoom>,
    room: usize,
    standing: Option<Standing>,
}

/// A connection that asks for its earlier session.
pub struct Claiming {
    id: SessionId,
    owner: Owner,
    /// Until when a store that fails is asked again.
    pub until: u64,
    /// It asked the store to give it the session.
    pub armed: bool,
    /// The store gave it.
    taken: bool,
    asked: Asked,
    /// What is to be looked at, and what came of those before.
    rooms: VecDeque<Back>,
    found: Vec<(Back, HearFrom)>,
    answer: Vec<Resumed>,
    next: u16,
}

enum Asked {
    /// All of it or nothing, by an offset.
    Recover(Option<String>),
    /// Room by room, by positions.
    Resume(Vec<(usize, Position)>),
}

impl Claiming {
    /// What is lost again if the node dies.
    pub fn armed(&self) -> Option<(SessionId, Owner)> {
        self.armed.then_some((self.id, self.owner))
    }
}

impl World {
    /// A connection asks for the session that it was before.
    pub(super) fn recover(
        &mut self,
        node: usize,
        conn: u64,
        id: SessionId,
        offset: Option<String>,
    ) -> Result<(), Violation> {
        self.claim(node, conn, id, Asked::Recover(offset));
        Ok(())
    }

    /// A session takes the rooms of an earlier one.
    pub(super) fn resume(
        &mut self,
        node: usize,
        conn: u64,
        id: SessionId,
        positions: Vec<(usize, Position)>,
    ) -> Result<(), Violation> {
        self.claim(node, conn, id, Asked::Resume(positions));
        Ok(())
    }

    fn claim(&mut self, node: usize, conn: u64, id: SessionId, asked: Asked) {
        let until = self.now + PATIENCE_MS;
        let claiming = Claiming {
            id,
            owner: Owner::fresh(),
            until,
            armed: false,
            taken: false,
            asked,
            rooms: VecDeque::new(),
            found: Vec::new(),
            answer: Vec::new(),
            next: 0,
        };
        let this = &mut self.nodes[node];
        if let Some(connection) = this.conns.get_mut(&conn) {
            connection.waits = Some(VecDeque::new());
            this.claims.insert(conn, claiming);
            self.ask_again(node, conn);
        }
    }

    /// Asks the store what is to be asked next.
    pub fn ask_again(&mut self, node: usize, conn: u64) {
        let Some(claiming) = self.nodes[node].claims.get(&conn) else { return };
        let (id, owner) = (claiming.id, claiming.owner);
        let after = claiming.rooms.front().map(|back| match back.standing {
            Some(Standing::At(at)) => (back.room, at.offset),
            _ => (back.room, 0),
        });
        match after {
            Some((room, after)) => self.send_read(node, Purpose::Cover { conn, room, after }),
            None if claiming.armed => self.call(node, id, owner, Call::Claim, After::Claimed(conn)),
            None => self.call(node, id, owner, Call::Find, After::Found(conn)),
        }
    }

    /// Asks again in a while, if there is time.
    pub(super) fn patiently(&mut self, node: usize, conn: u64) -> bool {
        let Some(claiming) = self.nodes[node].claims.get(&conn) else { return true };
        let again = self.now < claiming.until;
        if again {
            let life = self.nodes[node].life;
            self.after(PAUSE_MS, Event::Again { node, life, conn });
        }
        again
    }

    /// The connection is gone, or needs its earlier session no more.
    pub(super) fn drop_claim(&mut self, node: usize, conn: u64) {
        if let Some(claiming) = self.nodes[node].claims.remove(&conn)
            && let Some((id, owner)) = claiming.armed()
        {
            self.call(node, id, owner, Call::Lost, After::Nothing);
        }
    }

    /// The session is this connection's: the older one hears nothing any more.
    pub(super) fn claimed(
        &mut self,
        node: usize,
        conn: u64,
        kept: KeptSession,
    ) -> Result<(), Violation> {
        let until = self.now + PATIENCE_MS;
        let id = kept.identity.id;
        if !self.nodes[node].claims.contains_key(&conn) {
            return Ok(());
        }
        if self.nodes[node].sessions.contains_key(&id) {
            self.close(node, id, true)?;
        }
        let Some(claiming) = self.nodes[node].claims.get_mut(&conn) else { return Ok(()) };
        (claiming.until, claiming.taken) = (until, true);
        match &claiming.asked {
            Asked::Recover(offset) => {
                let resolved = resolve(id, &kept.rooms, offset.as_deref());
                let Some(resolved) = resolved else { return self.not_back(node, conn) };
                claiming.next = resolved.next;
                let skip = u64::from(self.sabotage == Some(Sabotage::SkipOne));
                for (kept, standing) in kept.rooms.into_iter().zip(resolved.rooms) {
                    let Some(room) = number(&kept.room) else { continue };
                    let standing = match standing {
                        Standing::At(at) => {
                            Standing::At(Position { offset: at.offset + skip, ..at })
                        }
                        Standing::Start => Standing::Start,
                    };
                    let standing = Some(standing);
                    claiming.rooms.push_back(Back { kept: Some(kept), room, standing });
                }
            }
            Asked::Resume(positions) => {
                let known = kept.rooms.iter().filter_map(|kept| number(&kept.room));
                let mut rooms: Vec<usize> = known.collect();
                for (room, _) in positions {
                    if !rooms.contains(room) {
                        rooms.push(*room);
                    }
                }
                for room in rooms {
                    let have = positions.iter().find(|(named, _)| *named == room);
                    let standing = have.map(|(_, at)| Standing::At(*at));
                    claiming.rooms.push_back(Back { kept: None, room, standing });
                }
            }
        }
        self.look_on(node, conn)
    }

    /// Looks at the next room of a session that comes back.
    fn look_on(&mut self, node: usize, conn: u64) -> Result<(), Violation> {
        let Some(claiming) = self.nodes[node].claims.get(&conn) else { return Ok(()) };
        match claiming.rooms.front() {
            Some(Back { standing: None, room, .. }) => {
                let room = *room;
                self.send_read(node, Purpose::Over { conn, room });
                Ok(())
            }
            Some(_) => {
                self.ask_again(node, conn);
                Ok(())
            }
            None => self.back(node, conn),
        }
    }

    /// The history says whether a client that comes back misses something of a room.
    pub(super) fn covered(
        &mut self,
        node: usize,
        conn: u64,
        page: Result<Page, StoreError>,
    ) -> Result<(), Violation> {
        if page.is_err() && self.patiently(node, conn) {
            return Ok(());
        }
        let Some(claiming) = self.nodes[node].claims.get_mut(&conn) else { return Ok(()) };
        let Some(back) = claiming.rooms.pop_front() else { return Ok(()) };
        let from = match (page, back.standing) {
            (Ok(page), Some(standing)) => hear_from(standing, &page),
            _ => None,
        };
        match (from, &claiming.asked) {
            (Some(from), _) => {
                if let HearFrom::At(at) = from {
                    let (room, position) = (back.room, Some(at));
                    let messages = Vec::new();
                    claiming.answer.push(Resumed { room, position, recovered: true, messages });
                }
                claiming.found.push((back, from));
                self.look_on(node, conn)
            }
            (None, Asked::Recover(_)) => self.not_back(node, conn),
            (None, Asked::Resume(_)) => {
                let room = back.room;
                claiming.rooms.push_front(back);
                self.send_read(node, Purpose::Over { conn, room });
                Ok(())
            }
        }
    }

    /// A room that starts over for a client that comes back.
    pub(super) fn over(
        &mut self,
        node: usize,
        conn: u64,
        room: usize,
        page: Result<Page, StoreError>,
    ) -> Result<(), Violation> {
        let Some(claiming) = self.nodes[node].claims.get_mut(&conn) else { return Ok(()) };
        let Some(back) = claiming.rooms.pop_front() else { return Ok(()) };
        let (position, messages) = match page {
            Ok(page) => {
                claiming.found.push((back, HearFrom::At(page.head)));
                (Some(page.head), page.records)
            }
            Err(_) => (None, Vec::new()),
        };
        claiming.answer.push(Resumed { room, position, recovered: false, messages });
        self.look_on(node, conn)
    }

    /// A session is back.
    fn back(&mut self, node: usize, conn: u64) -> Result<(), Violation> {
        let Some(claiming) = self.nodes[node].claims.remove(&conn) else { return Ok(()) };
        let Claiming { id, owner, asked, found, answer, next, .. } = claiming;
        let rooms: Vec<(usize, HearFrom)> =
            found.iter().map(|(back, from)| (back.room, *from)).collect();
        let session = match asked {
            Asked::Recover(_) => {
                let positions: Vec<(KeptRoom, Option<Position>)> = found
                    .into_iter()
                    .filter_map(|(back, _)| match back.standing {
                        Some(Standing::At(at)) => Some((back.kept?, Some(at))),
                        _ => Some((back.kept?, None)),
                    })
                    .collect();
                let marks = Marks::restored(id, &positions, next);
                self.stats.came_back += 1;
                if self.nodes[node].sessions.contains_key(&id) {
                    // Two came for it at once; this one is later.
                    self.close(node, id, true)?;
                }
                self.open(node, conn, Some((id, Keeping::new(owner, Some(marks)))))?;
                self.call(node, id, owner, Call::Owns, After::Owner(id, conn));
                id
            }
            Asked::Resume(_) => {
                self.stats.came_back += u64::from(answer.iter().all(|room| room.recovered));
                let Some(session) = self.nodes[node].conns.get(&conn).and_then(|c| c.session)
                else {
                    return Ok(());
                };
                for (room, _) in &rooms {
                    let Some(state) = self.nodes[node].sessions.get(&session) else { continue };
                    let kept = state.keeping.enter(&room_name(*room), Base::Unknown);
                    let owner = state.keeping.owner;
                    self.call(node, session, owner, Call::Join(kept), After::Nothing);
                }
                self.call(node, id, owner, Call::Ended, After::Nothing);
                self.tell(node, session, Down::Resumed(answer));
                session
            }
        };
        self.restore(node, session, rooms)?;
        self.go_on(node, conn)
    }

    /// A session does not come back; its connection begins anew.
    pub(super) fn not_back(&mut self, node: usize, conn: u64) -> Result<(), Violation> {
        let Some(claiming) = self.nodes[node].claims.remove(&conn) else { return Ok(()) };
        if let Some((id, owner)) = claiming.armed() {
            let call = if claiming.taken { Call::Ended } else { Call::Lost };
            self.call(node, id, owner, call, After::Nothing);
        }
        match claiming.asked {
            Asked::Recover(_) => self.open(node, conn, None)?,
            Asked::Resume(_) => {
                let session = self.nodes[node].conns.get(&conn).and_then(|c| c.session);
                if let Some(session) = session {
                    self.tell(node, session, Down::Resumed(Vec::new()));
                }
            }
        }
        self.go_on(node, conn)
    }

    /// What waited behind the question is done.
    fn go_on(&mut self, node: usize, conn: u64) -> Result<(), Violation> {
        let connection = self.nodes[node].conns.get_mut(&conn);
        for up in connection.and_then(|c| c.waits.take()).unwrap_or_default() {
            self.hear(node, conn, up)?;
        }
        Ok(())
    }

    /// Makes a session a member of its rooms again.
    fn restore(
        &mut self,
        node: usize,
        session: SessionId,
        rooms: Vec<(usize, HearFrom)>,
    ) -> Result<(), Violation> {
        for (room, from) in rooms {
            let Some(seat) = self.enter(node, session, room) else { continue };
            self.announce(node, session, room)?;
            self.nodes[node].restoring.entry(session).or_default().push_back((seat, from));
        }
        self.restore_next(node, session)
    }

    /// One room after the other.
    pub(super) fn restore_next(
        &mut self,
        node: usize,
        session: SessionId,
    ) -> Result<(), Violation> {
        let restoring = &mut self.nodes[node].restoring;
        let Some(waiting) = restoring.get_mut(&session) else { return Ok(()) };
        let Some((seat, from)) = waiting.pop_front() else {
            restoring.remove(&session);
            return Ok(());
        };
        let conn = self.nodes[node].sessions.get(&session).map_or(0, |state| state.conn);
        self.when_heard(node, seat, Waits::Restore(from, conn))
    }

    /// A session goes on at another node.
    pub fn replaced(
        &mut self,
        node: usize,
        session: SessionId,
        owner: Owner,
    ) -> Result<(), Violation> {
        let state = self.nodes[node].sessions.get(&session);
        match state.is_some_and(|state| state.keeping.owner == owner) {
            true => self.close(node, session, true),
            false => Ok(()),
        }
    }
}
