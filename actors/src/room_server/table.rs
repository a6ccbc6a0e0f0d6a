//! The rooms of one worker: who is a member, where each room and each member
//! stands. Pure: no actor, no clock.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use hubbub_protocol::{
    id::{RoomName, SessionId},
    position::Position,
    record::Stored,
};

use super::members::Members;

/// Records that a room keeps at hand to bridge the moment between reading the
/// history and hearing the room live.
const RECENT_RECORDS: usize = 64;
/// And their bytes.
const RECENT_BYTES: usize = 64 * 1024;

/// One member of a room.
pub struct Member<M> {
    /// Whatever the caller keeps of a member.
    pub who: M,
    /// Hears the room. A member that still catches up does not.
    pub live: bool,
    /// The newest offset it was given.
    pub cursor: u64,
    /// Which joining made it, so that what was begun for an older one ends. Comes round
    /// after four billion joinings.
    pub ticket: u32,
}

/// One room.
pub struct Room<M> {
    /// The members, dense, for the walk.
    pub members: Members<Member<M>>,
    /// The newest record that was handed out; none until something is known.
    pub position: Option<Position>,
    /// While records are missing: the newest offset seen meanwhile.
    pub repairing: Option<u64>,
    /// Made with the first record: most rooms never get one.
    recent: Option<Box<Recent>>,
}

/// The newest records of a room.
#[derive(Default)]
struct Recent {
    records: VecDeque<Arc<Stored>>,
    bytes: usize,
}

impl<M> Room<M> {
    fn new() -> Self {
        Self { members: Members::default(), position: None, repairing: None, recent: None }
    }

    /// Stands at a position of another history.
    fn forget(&mut self, at: Position) {
        self.recent = None;
        for (_, member) in self.members.iter_mut() {
            member.cursor = 0;
        }
        self.position = Some(at);
    }

    fn remember(&mut self, record: Arc<Stored>) {
        let recent = self.recent.get_or_insert_default();
        recent.bytes += record.record.body.len();
        recent.records.push_back(record);
        while recent.records.len() > RECENT_RECORDS || recent.bytes > RECENT_BYTES {
            match recent.records.pop_front() {
                Some(old) => recent.bytes -= old.record.body.len(),
                None => break,
            }
        }
    }

    /// The records at hand above an offset.
    pub(super) fn recent_above(&self, offset: u64) -> Vec<Arc<Stored>> {
        let recent = self.recent.iter().flat_map(|r| &r.records);
        recent.filter(|r| r.position.offset > offset).cloned().collect()
    }
}

/// What to do with a record that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accept {
    /// Hand it out.
    Deliver,
    /// It was handed out before.
    Duplicate,
    /// Records are missing: read those above this offset first.
    Gap(u64),
    /// Records are missing and being read; this one will be among them.
    Repairing,
    /// Nobody here is in the room.
    NoRoom,
}

/// What a member that caught up to a position finds.
pub enum GoLive {
    /// It hears the room from now on, after these records.
    Live(Vec<Arc<Stored>>),
    /// The room is further than what is at hand: read above the position again.
    Behind,
    /// The room stands in another history than the position: one of them is old.
    Elsewhere,
    /// It is no longer a member.
    Gone,
}

/// The rooms of one worker.
pub struct RoomTable<M> {
    // Behind pointers: the map has many more places than rooms.
    rooms: HashMap<RoomName, Box<Room<M>>>,
    tickets: u32,
}

impl<M> Default for RoomTable<M> {
    fn default() -> Self {
        Self { rooms: HashMap::new(), tickets: 0 }
    }
}

/// What joining found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Joining {
    /// The first member here: the worker must now hear the room.
    First,
    /// One more.
    Another,
    /// It was a member already.
    Already,
}

impl<M> RoomTable<M> {
    /// How many rooms have a member.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// A room with a member.
    pub fn room(&self, room: &RoomName) -> Option<&Room<M>> {
        self.rooms.get(room).map(|room| &**room)
    }

    /// A room with a member, to hand something out.
    pub fn room_mut(&mut self, room: &RoomName) -> Option<&mut Room<M>> {
        self.rooms.get_mut(room).map(|room| &mut **room)
    }

    /// A room's name as the table holds it.
    pub fn name_of(&self, room: &RoomName) -> Option<RoomName> {
        self.rooms.get_key_value(room).map(|(name, _)| name.clone())
    }

    /// Every room with a member.
    pub fn rooms(&self) -> impl Iterator<Item = (&RoomName, &Room<M>)> {
        self.rooms.iter().map(|(name, room)| (name, &**room))
    }

    /// Puts a member in, not live yet.
    pub fn join(&mut self, room: &RoomName, id: SessionId, who: M) -> Joining {
        let mut joining = Joining::Another;
        let entry = self.rooms.entry(room.clone()).or_insert_with(|| {
            joining = Joining::First;
            Box::new(Room::new())
        });
        self.tickets = self.tickets.wrapping_add(1);
        let member = Member { who, live: false, cursor: 0, ticket: self.tickets };
        let new = entry.members.insert(id, member);
        if new { joining } else { Joining::Already }
    }

    /// Takes a member out; says whether it was one, and whether the room is gone
    /// with it.
    pub fn leave(&mut self, room: &RoomName, id: SessionId) -> (Option<M>, bool) {
        let Some(entry) = self.rooms.get_mut(room) else { return (None, false) };
        let member = entry.members.remove(id).map(|m| m.who);
        let empty = entry.members.is_empty();
        if empty {
            self.rooms.remove(room);
        }
        (member, empty)
    }

    /// Which joining made a membership; none if there is none.
    pub fn ticket(&self, room: &RoomName, id: SessionId) -> Option<u32> {
        self.rooms.get(room)?.members.get(id).map(|m| m.ticket)
    }

    /// Whether a session is a member, live or about to be.
    pub fn is_member(&self, room: &RoomName, id: SessionId) -> bool {
        self.rooms.get(room).is_some_and(|r| r.members.get(id).is_some())
    }

    /// Lets a member hear the room that has everything up to `caught_up`; none:
    /// from wherever the room stands.
    pub fn go_live(
        &mut self,
        room: &RoomName,
        id: SessionId,
        caught_up: Option<Position>,
    ) -> GoLive {
        let Some(entry) = self.rooms.get_mut(room) else { return GoLive::Gone };
        if entry.members.get(id).is_none() {
            return GoLive::Gone;
        }
        let bridge: Vec<_> = match (entry.position, caught_up) {
            (Some(at), Some(have)) if at.epoch == have.epoch && have.offset < at.offset => {
                let bridge = entry.recent_above(have.offset);
                if bridge.len() as u64 != at.offset - have.offset {
                    return GoLive::Behind;
                }
                bridge
            }
            (Some(at), Some(have)) if at.epoch != have.epoch => return GoLive::Elsewhere,
            (None, Some(have)) => {
                entry.position = Some(have);
                Vec::new()
            }
            _ => Vec::new(),
        };
        // What is further than the room's own position must not come a second time.
        let at = entry.position.map_or(0, |p| p.offset);
        if let Some(member) = entry.members.get_mut(id) {
            member.live = true;
            member.cursor = at.max(caught_up.map_or(0, |p| p.offset));
        }
        GoLive::Live(bridge)
    }

    /// Judges a record that arrived and notes it if it is to be handed out.
    pub fn accept(&mut self, record: &Arc<Stored>) -> Accept {
        let Some(room) = self.rooms.get_mut(&record.record.room) else { return Accept::NoRoom };
        let new = record.position;
        if let Some(seen) = &mut room.repairing {
            *seen = (*seen).max(new.offset);
            return Accept::Repairing;
        }
        match room.position {
            Some(at) if at.epoch == new.epoch && new.offset <= at.offset => Accept::Duplicate,
            Some(at) if at.epoch == new.epoch && new.offset > at.offset + 1 => {
                room.repairing = Some(new.offset);
                Accept::Gap(at.offset)
            }
            Some(at) if at.epoch != new.epoch && new.offset > 1 => {
                // A new history began, and its beginning was not seen.
                room.repairing = Some(new.offset);
                Accept::Gap(0)
            }
            Some(at) if at.epoch != new.epoch => {
                // A new history began: positions of the old one mean nothing.
                room.forget(new);
                room.remember(record.clone());
                Accept::Deliver
            }
            _ => {
                room.position = Some(new);
                room.remember(record.clone());
                Accept::Deliver
            }
        }
    }

    /// Takes the records that were missing (above the room's position, ascending)
    /// and says which are to be handed out, and whether more must be read above
    /// the new position.
    pub fn repaired(
        &mut self,
        room: &RoomName,
        head: Position,
        records: Vec<Arc<Stored>>,
        has_more: bool,
    ) -> (Vec<Arc<Stored>>, bool) {
        let Some(entry) = self.rooms.get_mut(room) else { return (Vec::new(), false) };
        let Some(seen) = entry.repairing.take() else { return (Vec::new(), false) };
        let mut fresh = Vec::with_capacity(records.len());
        if entry.position.is_some_and(|at| at.epoch != head.epoch) {
            // Positions of the older history mean nothing.
            entry.forget(Position { offset: 0, ..head });
        }
        for record in records {
            let known = entry
                .position
                .is_some_and(|at| at.epoch == head.epoch && record.position.offset <= at.offset);
            if !known {
                entry.position = Some(record.position);
                entry.remember(record.clone());
                fresh.push(record);
            }
        }
        let at = entry.position.filter(|at| at.epoch == head.epoch).map_or(0, |at| at.offset);
        // One that arrived after the page was read is read with the next.
        let late = seen > at.max(head.offset);
        if !has_more && at < head.offset {
            // What lies between was trimmed away; go on from the head.
            entry.position = Some(head);
        }
        let more = has_more || late;
        if more {
            entry.repairing = Some(if late { at.max(head.offset) } else { seen });
        }
        (fresh, more)
    }

    /// The history may have begun anew without a record that says so: nothing is handed
    /// out before it was read from its beginning. Says whether that is to be begun.
    pub fn doubt(&mut self, room: &RoomName) -> bool {
        let Some(entry) = self.rooms.get_mut(room) else { return false };
        let new = entry.repairing.is_none();
        entry.repairing.get_or_insert(0);
        new
    }

    /// From now on nothing is handed out in a room before it
    /// [starts over](Self::start_over); says whether somebody is in it.
    pub fn hold(&mut self, room: &RoomName) -> bool {
        let Some(entry) = self.rooms.get_mut(room) else { return false };
        entry.repairing.get_or_insert(0);
        true
    }

    /// Goes on from a position, whatever the members lack: gives the live ones, who
    /// are to be told, and whether more must be read above the position. A room that has
    /// gone further meanwhile stays there, and nobody is told.
    pub fn start_over(&mut self, room: &RoomName, head: Position) -> (Vec<M>, bool)
    where
        M: Clone,
    {
        let Some(entry) = self.rooms.get_mut(room) else { return (Vec::new(), false) };
        let seen = entry.repairing.take().unwrap_or(0);
        // Of two that began one after the other the later may have ended first.
        let further = entry.position.filter(|at| at.epoch == head.epoch && at.offset > head.offset);
        if let Some(at) = further {
            entry.repairing = (seen > at.offset).then_some(seen);
            return (Vec::new(), seen > at.offset);
        }
        entry.forget(head);
        let mut live = Vec::new();
        for (_, member) in entry.members.iter_mut().filter(|(_, m)| m.live) {
            member.cursor = head.offset;
            live.push(member.who.clone());
        }
        let more = seen > head.offset;
        if more {
            entry.repairing = Some(seen);
        }
        (live, more)
    }

    /// Starts over with the same members and positions, after a panic: every
    /// record that some live member may have missed is to be read again. Gives
    /// the rooms to repair with the offset to read above.
    pub fn suspect(&mut self) -> Vec<(RoomName, u64)> {
        let mut rooms = Vec::new();
        for (name, room) in &mut self.rooms {
            let Some(at) = &mut room.position else { continue };
            let behind = room.members.iter().filter(|(_, m)| m.live).map(|(_, m)| m.cursor).min();
            let from = behind.unwrap_or(at.offset).min(at.offset);
            room.repairing = Some(at.offset);
            at.offset = from;
            room.recent = None;
            rooms.push((name.clone(), from));
        }
        rooms
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
