//! What comes next for a member that catches up, and for a room that misses records: the
//! decisions of `catchup.rs` and `restore.rs`. Pure; the simulation runs on them too.

use std::sync::Arc;

use hubbub_protocol::{
    id::{RoomName, SessionId},
    position::{Epoch, Position},
    record::Stored,
};

use super::table::{GoLive, RoomTable};
use crate::{
    marks::{Standing, hear_from},
    ports::Page,
    session_store::Base,
};

/// The position told when the store could not say one: it matches no history, so
/// a client that comes back with it is told `recovered: false`.
pub const UNKNOWN: Position = Position { epoch: Epoch(0), offset: 0 };

/// Times a member may find the room further than what it has read before it is
/// sent away to come back: nothing may be skipped in silence.
pub const MAX_ROUNDS: usize = 1000;

/// Where a new member begins.
pub enum Start {
    /// Wherever the room stands when it becomes live.
    Here,
    /// The room cannot be heard on this node now.
    Refused,
    /// At a position, after these records.
    At {
        /// Up to where it has the room with them.
        position: Position,
        /// Whether it has everything since what it asked for.
        recovered: bool,
        /// What it is told at once.
        messages: Vec<Arc<Stored>>,
        /// Whether more is to be read.
        more: bool,
    },
}

impl Start {
    /// At a position, with nothing before it.
    pub fn at(position: Position) -> Self {
        Self::At { position, recovered: false, messages: Vec::new(), more: false }
    }
}

/// Where a member begins that has everything up to `since`; the page was read above it.
/// None if something is missing: it begins [anew](start_anew).
pub fn start_after(since: Position, page: Page) -> Option<Start> {
    hear_from(Standing::At(since), &page)?;
    let position = page.records.last().map_or(since, |r| r.position);
    Some(Start::At { position, recovered: true, messages: page.records, more: page.has_more })
}

/// Where a member begins with the newest page of a room.
pub fn start_anew(page: Page) -> Start {
    Start::At { position: page.head, recovered: false, messages: page.records, more: false }
}

/// Where a live member stands that asks again: it may have read further than its room has
/// handed out.
pub fn stands<M>(table: &RoomTable<M>, room: &RoomName, id: SessionId) -> Position {
    let Some((room, at)) = table.room(room).and_then(|r| Some((r, r.position?))) else {
        return UNKNOWN;
    };
    let cursor = room.members.get(id).map_or(0, |member| member.cursor);
    Position { offset: at.offset.max(cursor), ..at }
}

/// The base to keep of a member that begins at a position; `fresh` if it named none. With
/// one there is something in `joined` that counts only once it is seen.
pub fn base(position: Position, fresh: bool) -> Base {
    if fresh && position != UNKNOWN { Base::At(position) } else { Base::Unknown }
}

/// What a member does next that has everything up to a position.
pub enum Next {
    /// It hears the room, after these records.
    Live(Vec<Arc<Stored>>),
    /// It reads on above the position; `doubted`: the room is repaired from its beginning.
    Read {
        /// See above.
        doubted: bool,
    },
    /// It has read in vain for too long: it is sent away to come back.
    Never,
    /// It is no longer a member.
    Gone,
}

/// Lets a member hear the room that has everything up to a position.
pub fn next<M>(
    table: &mut RoomTable<M>,
    room: &RoomName,
    id: SessionId,
    have: Position,
    round: usize,
) -> Next {
    if round >= MAX_ROUNDS {
        return Next::Never;
    }
    match table.go_live(room, id, Some(have).filter(|have| *have != UNKNOWN)) {
        GoLive::Live(bridge) => Next::Live(bridge),
        GoLive::Behind => Next::Read { doubted: false },
        // The store forgets rooms in which nothing was said for long, whoever is in them;
        // the next who reads it begins a new history.
        GoLive::Elsewhere => Next::Read { doubted: table.doubt(room) },
        GoLive::Gone => Next::Gone,
    }
}

/// What a page brought a member.
pub struct Taken {
    /// Up to where it has the room now.
    pub have: Position,
    /// What it is told.
    pub records: Vec<Arc<Stored>>,
    /// Whether more is to be read.
    pub more: bool,
}

/// What a page read above `have` brings; none if something of it was trimmed, or the
/// history began anew.
pub fn taken(have: Position, page: Page) -> Option<Taken> {
    let reaches = page.head.epoch == have.epoch && have.offset.saturating_add(1) >= page.oldest;
    let now = page.records.last().map_or(have, |r| r.position);
    reaches.then_some(Taken { have: now, records: page.records, more: page.has_more })
}

/// Takes a page of what a room misses: what is to be handed out, and above what to read
/// more, if there is more. None if something was trimmed: the room starts over.
pub fn repaired<M>(
    table: &mut RoomTable<M>,
    room: &RoomName,
    page: Page,
) -> Option<(Vec<Arc<Stored>>, Option<u64>)> {
    let stands = |table: &RoomTable<M>| table.room(room).and_then(|r| r.position);
    if stands(table).is_some_and(|at| at.epoch == page.head.epoch && page.oldest > at.offset + 1) {
        return None;
    }
    let (fresh, more) = table.repaired(room, page.head, page.records, page.has_more);
    let above = more.then(|| stands(table).map_or(0, |at| at.offset));
    Some((fresh, above))
}

/// From where a member reads a room whose history had not begun when somebody looked;
/// none if there still is none. `head` was looked at since the room stood at `stood`, and
/// it stands at `stands` now.
pub fn begun(
    head: Option<Position>,
    stood: Option<Position>,
    stands: Option<Position>,
) -> Option<Position> {
    // What was stored after the look was handed to this worker meanwhile.
    let begun = head.or_else(|| stands.filter(|_| stands != stood));
    begun.map(|at| Position { offset: 0, ..at })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn who_asks_again_is_told_what_it_has() {
        let (room, id) = (RoomName::new("r").unwrap(), SessionId(uuid::Uuid::from_u128(1)));
        let other = SessionId(uuid::Uuid::from_u128(2));
        let at = |offset| Position { epoch: Epoch(1), offset };
        let mut table = RoomTable::default();
        assert_eq!(stands(&table, &room, id), UNKNOWN);
        table.join(&room, other, ());
        table.go_live(&room, other, Some(at(10)));
        table.join(&room, id, ());
        // It has read what the room has not handed out yet.
        assert!(matches!(next(&mut table, &room, id, at(23), 0), Next::Live(_)));
        assert_eq!(stands(&table, &room, id), at(23));
        assert_eq!(stands(&table, &room, other), at(10));
    }
}
