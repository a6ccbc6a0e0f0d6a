//! Where a session stands in each of its rooms, for the offsets that its client
//! brings back; and the way back from such an offset to positions. Pure.
//!
//! An offset says, with the rooms as the session store keeps them, where the client
//! stood in every room: a room that is not in it stands where it was joined. Nothing
//! depends on the order between rooms, on clocks, or on what the node remembers: see
//! docs/decisions/0012.

use hubbub_protocol::{
    id::{MessageId, RoomName, SessionId},
    position::{Epoch, Position},
    recovery::{Offset, SlotPosition, Tail, room_mark},
};
use uuid::Uuid;

use crate::{
    ports::Page,
    session_store::{Base, HearFrom, KeptRoom},
};

/// Where one room stands. Every session that can come back has two or more: its parts
/// share what they can.
struct Mark {
    room: RoomName,
    slot: u16,
    /// Whether the base is a position of `epoch`.
    based: bool,
    /// Whether the client was handed something above its base.
    moved: bool,
    /// Of the base and of the newest position; nothing while there is neither.
    epoch: Epoch,
    /// The base's offset.
    base: u64,
    /// The newest offset handed to the client; nothing while it is at its base.
    at: u64,
}

impl Mark {
    fn new(room: RoomName, slot: u16, base: Base, at: Option<Position>) -> Self {
        let (mut based, Position { mut epoch, offset }) = match base {
            Base::At(position) => (true, position),
            Base::Start | Base::Unknown => (false, Position { epoch: NO_EPOCH, offset: 0 }),
        };
        if let Some(at) = at {
            based &= at.epoch == epoch;
            epoch = at.epoch;
        }
        let (moved, at) = (at.is_some(), at.map_or(0, |at| at.offset));
        Self { room, slot, based, moved, epoch, base: offset, at }
    }

    /// Notes a position; false if it is of another history than what is known.
    fn set(&mut self, position: Position) -> bool {
        let same = self.epoch == position.epoch;
        let known = self.based || self.moved;
        if !same {
            (self.based, self.epoch) = (false, position.epoch);
        }
        if self.moved || !self.based || self.base != position.offset {
            (self.moved, self.at) = (true, position.offset);
        }
        same || !known
    }
}

/// Where a session stands.
pub struct Marks {
    tag: u32,
    next: u16,
    broken: bool,
    rooms: Vec<Mark>,
}

/// Tells a session from others in a few bits: the random end of its id.
pub fn tag(id: SessionId) -> u32 {
    id.0.as_u128() as u32
}

/// The id of a message that ends with its sender's tag, so that a session that comes
/// back is told its own messages as its own. The other bits make it unique.
pub fn message_id(sender: SessionId) -> MessageId {
    let fresh = Uuid::now_v7().as_u128();
    MessageId(Uuid::from_u128(fresh & !u128::from(u32::MAX) | u128::from(tag(sender))))
}

/// Whether a session sent the message, if it was sent by its user.
pub fn is_from(message: MessageId, session: SessionId) -> bool {
    message.0.as_u128() as u32 == tag(session)
}

impl Marks {
    /// A session without rooms.
    pub fn new(id: SessionId) -> Self {
        Self { tag: tag(id), next: 0, broken: false, rooms: Vec::new() }
    }

    /// A session that comes back: its rooms as kept, where its client stands (none:
    /// at the beginning of a room without history), and the first slot that is free
    /// ([`Resolved::next`]).
    pub fn restored(id: SessionId, rooms: &[(KeptRoom, Option<Position>)], next: u16) -> Self {
        let mut marks = Self { next, ..Self::new(id) };
        marks.rooms.reserve_exact(rooms.len());
        for (kept, at) in rooms {
            let at = at.filter(|at| kept.base != Base::At(*at));
            let (room, slot, base) = (kept.room.clone(), kept.slot, kept.base);
            marks.rooms.push(Mark::new(room, slot, base, at));
        }
        marks
    }

    /// The session is about to be in a room, from a base on; the slot it has there.
    pub fn enter(&mut self, room: &RoomName, base: Base) -> u16 {
        self.rooms.retain(|mark| mark.room != *room);
        let slot = self.next;
        match self.next.checked_add(1) {
            Some(next) => self.next = next,
            None => self.broken = true,
        }
        if self.rooms.capacity() == 0 {
            // Its personal room, and most often one more.
            self.rooms.reserve_exact(2);
        }
        self.rooms.push(Mark::new(room.clone(), slot, base, None));
        slot
    }

    /// What is kept of the session is no longer what the client knows: from now on its
    /// offsets prove nothing.
    pub fn give_up(&mut self) {
        self.broken = true;
    }

    /// The session left a room.
    pub fn leave(&mut self, room: &RoomName) {
        self.rooms.retain(|mark| mark.room != *room);
    }

    /// The client is handed everything up to a position. Gives the tail that the
    /// frame needs; none if its own mark says enough.
    pub fn advance(&mut self, room: &RoomName, position: Position) -> Option<String> {
        self.set(room, position);
        let told = |mark: &Mark| mark.based && mark.room == *room && mark.epoch == position.epoch;
        let rest = |mark: &Mark| mark.moved && !told(mark);
        (self.broken || self.rooms.iter().any(rest)).then(|| self.write(|mark| rest(mark)))
    }

    /// Notes that the client is handed everything up to a position.
    pub fn set(&mut self, room: &RoomName, position: Position) {
        let Some(mark) = self.rooms.iter_mut().find(|mark| mark.room == *room) else {
            self.broken = true;
            return;
        };
        // A new history began under way: what the old one had last is not known.
        self.broken |= !mark.set(position);
    }

    /// Where the session stands in all, for what is told it alone; none if it is
    /// everywhere at its base.
    pub fn tail(&self) -> Option<String> {
        let moved = |mark: &Mark| mark.moved;
        (self.broken || self.rooms.iter().any(moved)).then(|| self.write(moved))
    }

    fn write(&self, listed: impl Fn(&Mark) -> bool) -> String {
        let listed = self.rooms.iter().filter(|mark| mark.moved && listed(mark));
        let slots = listed.map(|mark| {
            let epoch = (!mark.based).then_some(mark.epoch);
            SlotPosition { slot: mark.slot, offset: mark.at, epoch }
        });
        let tail = Tail { tag: self.tag, broken: self.broken, slots: slots.collect() };
        let mut text = String::with_capacity(12 + tail.slots.len() * 12);
        tail.write(&mut text);
        text
    }
}

/// Where a client stands in a room that is kept: at a position, or at the beginning
/// of whatever history the room has by now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// At a position.
    At(Position),
    /// Before the first message.
    Start,
}

/// What an offset comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// Where the client stands, in the order of the kept rooms.
    pub rooms: Vec<Standing>,
    /// The first slot that neither a kept room has nor the client may speak of again:
    /// what it brings next is this offset or a newer one.
    pub next: u16,
}

/// Where the client of a session stands in each of its kept rooms, by the offset it
/// brought; none if that cannot be proved.
pub fn resolve(id: SessionId, rooms: &[KeptRoom], offset: Option<&str>) -> Option<Resolved> {
    let offset = match offset {
        Some(text) => text.parse::<Offset>().ok()?,
        None => Offset::default(),
    };
    // What an earlier session of the client left behind says nothing of this one:
    // of this one the client has got nothing yet.
    let stale = offset.tail.as_ref().is_some_and(|tail| tail.tag != tag(id));
    let offset = if stale { Offset::default() } else { offset };
    let tail = offset.tail.unwrap_or_default();
    if tail.broken {
        return None;
    }
    let mut owners = 0;
    let standing: Option<Vec<Standing>> = rooms
        .iter()
        .map(|kept| {
            if let Some((mark, at)) = offset.own
                && let Base::At(base) = kept.base
                && room_mark(&kept.room, base.epoch) == mark
            {
                owners += 1;
                // An older one is left from an earlier session, see above.
                let offset = at.max(base.offset);
                return Some(Standing::At(Position { epoch: base.epoch, offset }));
            }
            if let Some(slot) = tail.slots.iter().find(|at| at.slot == kept.slot) {
                let epoch = match (slot.epoch, kept.base) {
                    (Some(epoch), _) => epoch,
                    (None, Base::At(base)) => base.epoch,
                    (None, _) => return None,
                };
                return Some(Standing::At(Position { epoch, offset: slot.offset }));
            }
            match kept.base {
                Base::At(position) => Some(Standing::At(position)),
                Base::Start => Some(Standing::Start),
                Base::Unknown => None,
            }
        })
        .collect();
    let slots = rooms.iter().map(|kept| kept.slot).chain(tail.slots.iter().map(|at| at.slot));
    let next = slots.max().map_or(Some(0), |slot| slot.checked_add(1))?;
    // Two rooms with one mark cannot be told apart.
    Some(Resolved { rooms: standing.filter(|_| owners <= 1)?, next })
}

/// From where a client that stands somewhere goes on; none if the history does not have
/// everything since. The page was read above the offset at which it stands, or above 0.
pub fn hear_from(standing: Standing, page: &Page) -> Option<HearFrom> {
    let Page { head, oldest, .. } = page;
    let position = match standing {
        Standing::At(position) => position,
        Standing::Start => Position { offset: 0, ..*head },
    };
    let whole = position.offset <= head.offset && position.offset.saturating_add(1) >= *oldest;
    (position.epoch == head.epoch && whole).then_some(HearFrom::At(position))
}

/// The epoch of positions in a history that nobody has begun.
pub const NO_EPOCH: Epoch = Epoch(0);

#[cfg(test)]
#[path = "marks_tests.rs"]
mod tests;
