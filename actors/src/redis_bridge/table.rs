//! Where the rooms of this node stand: puts what was stored into the order of the
//! offsets, and says what is missing. Knows no Redis, no actor and no clock.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use hubbub_protocol::{
    id::{MessageId, RoomName},
    position::{Epoch, Position},
    record::Stored,
};

use crate::ports::Page;

/// Records of one room kept because one before them is missing; beyond it they
/// are read again.
const MAX_AHEAD: usize = 256;
/// How long a missing record may still come by itself: a node hears of its own
/// publishes sooner than of those of others.
pub const GRACE: Duration = Duration::from_millis(20);
/// How long what Redis has may be on its way before it counts as missed.
const ON_ITS_WAY: Duration = Duration::from_millis(200);
/// How long after a look that came to nothing the next one waits; doubled each time,
/// up to [`MAX_PAUSE`].
const PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// Where a room stands that has no history.
const NOTHING: Position = Position { epoch: Epoch(0), offset: 0 };

/// One room.
pub struct Room {
    /// Its channel is heard.
    pub live: bool,
    /// The newest record that was handed on; none until something is known.
    position: Option<Position>,
    /// Its id, if it is known.
    last: Option<MessageId>,
    /// Something may have been missed: nothing is handed on until it was looked at.
    unsure: bool,
    /// Nothing was handed on yet.
    fresh: bool,
    /// Where it stands before its channel is heard is being read.
    beginning: bool,
    /// The channel was not heard for a while.
    interrupted: bool,
    /// A look is under way.
    looking: bool,
    /// Apart: nearly all rooms have nothing of it, and there is a room for every user.
    rare: Option<Box<Rare>>,
}

/// What a room has that is behind Redis, could not be looked at, or is empty.
#[derive(Default)]
struct Rare {
    /// What Redis had a while ago, where that is more than was handed on.
    expected: Option<(u64, Instant)>,
    /// Looks that came to nothing, one after the other, and when the next may begin.
    failures: u32,
    look_at: Option<Instant>,
    /// What came too early.
    ahead: BTreeMap<u64, Arc<Stored>>,
    /// Since when something is missing.
    gap_since: Option<Instant>,
    /// Nobody is there any more; since when.
    idle_since: Option<Instant>,
}

impl Rare {
    fn is_empty(&self) -> bool {
        self.expected.is_none()
            && self.failures == 0
            && self.look_at.is_none()
            && self.ahead.is_empty()
            && self.gap_since.is_none()
            && self.idle_since.is_none()
    }
}

/// Where a room stands in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Epoch and offset; none: the room has no history.
    pub position: Option<Position>,
    /// The id of the newest record, if there is one.
    pub last: Option<MessageId>,
}

/// What to do about a room after a look at its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is missing.
    Fine,
    /// Read above this offset.
    Read(u64),
    /// What was told is not what Redis has: the offsets of this epoch mean nothing
    /// any more.
    Rolled(Position),
    /// A history has begun whose beginning cannot be joined to what was told.
    Reset,
}

/// What became of a page that was read.
#[derive(Debug)]
pub enum Repaired {
    /// Hand these on; then go on as the verdict says.
    Records(Vec<Arc<Stored>>, Verdict),
    /// What was missing is no longer kept.
    Lost,
}

impl Room {
    fn new() -> Self {
        Self {
            live: false,
            position: None,
            last: None,
            unsure: true,
            fresh: true,
            beginning: false,
            interrupted: false,
            looking: false,
            rare: None,
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Gives the memory back once there is nothing in it.
    fn tidy(&mut self) {
        self.rare.take_if(|rare| rare.is_empty());
    }

    fn gap_since(&self) -> Option<Instant> {
        self.rare.as_ref()?.gap_since
    }

    fn expected(&self) -> Option<(u64, Instant)> {
        self.rare.as_ref()?.expected
    }

    fn first_ahead(&self) -> Option<(u64, Position)> {
        let (offset, first) = self.rare.as_ref()?.ahead.first_key_value()?;
        Some((*offset, first.position))
    }

    /// Nobody is there any more.
    pub fn emptied(&mut self, now: Instant) {
        self.rare().idle_since = Some(now);
    }

    /// Somebody is there.
    fn occupied(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.idle_since = None;
            self.tidy();
        }
    }

    /// Since when nobody is there.
    fn idle_since(&self) -> Option<Instant> {
        self.rare.as_ref()?.idle_since
    }

    /// Records handed on so far reach up to here.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// Whether a look at the head should begin now.
    pub fn wants_look(&self, now: Instant) -> bool {
        let reached = self.position.map_or(0, |at| at.offset);
        let overdue =
            self.expected().is_some_and(|(offset, at)| reached < offset && now >= at + ON_ITS_WAY);
        let late = self.gap_since().is_some_and(|since| now >= since + GRACE);
        let look_at = self.rare.as_ref().and_then(|rare| rare.look_at);
        let rested = look_at.is_none_or(|at| now >= at);
        let wanted = self.unsure || late || overdue;
        !self.looking && !self.beginning && self.live && rested && wanted
    }

    /// Whether members may read the history and then hear the room: nothing above
    /// what they read is missed from now on.
    pub fn is_open(&self) -> bool {
        self.position.is_some()
    }

    /// A look begins: the head is read after this.
    pub fn look(&mut self) {
        self.looking = true;
        if self.position.is_some() {
            // What came early is at or below the head that is read now, so that it is
            // read again; or Redis lost it, so that nobody may hear of it.
            self.rewind();
            if let Some(rare) = &mut self.rare {
                rare.ahead.clear();
                rare.gap_since = None;
                self.tidy();
            }
        }
    }

    /// A look came to nothing; it is tried again, after a pause that grows.
    pub fn look_failed(&mut self, now: Instant) {
        self.looking = false;
        self.unsure = true;
        let rare = self.rare();
        let pause = PAUSE.saturating_mul(1 << rare.failures.min(16)).min(MAX_PAUSE);
        rare.failures += 1;
        rare.look_at = Some(now + pause);
    }

    /// The channel is not heard: nothing is handed on until somebody has looked.
    pub fn lose(&mut self) {
        self.live = false;
        self.unsure = true;
        self.interrupted = true;
        // Once it is heard again it is looked at at once.
        self.rested();
    }

    /// Nothing is handed on until somebody has looked.
    pub fn doubt(&mut self) {
        self.unsure = true;
    }

    /// Whether a record was handed on already.
    pub fn has(&self, position: Position) -> bool {
        !self.fresh
            && self
                .position
                .is_some_and(|at| at.epoch == position.epoch && position.offset <= at.offset)
    }

    /// Whether nothing is known to be missing.
    pub fn in_order(&self) -> bool {
        let reached = self.position.map_or(0, |at| at.offset);
        !self.unsure
            && !self.looking
            && self.gap_since().is_none()
            && self.expected().is_none_or(|(offset, _)| offset <= reached)
    }

    /// Where it stands is being read before its channel is heard.
    pub fn begin(&mut self) {
        self.beginning = true;
    }

    /// That could not be read.
    pub fn begin_failed(&mut self) {
        self.beginning = false;
    }

    /// Where a new room stands before its channel is heard: what comes above it is
    /// to be handed on.
    pub fn begin_at(&mut self, head: Head) {
        self.beginning = false;
        if self.position.is_none() {
            self.position = Some(head.position.unwrap_or(NOTHING));
            self.last = head.last;
        }
    }

    /// The head as it was at a moment when the room stood at `stood`.
    pub fn expect(&mut self, head: Head, stood: Option<Position>, now: Instant) {
        let (Some(stood), false) = (stood, self.unsure || self.looking) else { return };
        let there = head.position.unwrap_or(NOTHING);
        if there.epoch == stood.epoch && there.offset >= stood.offset {
            let reached = self.position.map_or(0, |at| at.offset);
            if there.offset > reached {
                self.rare().expected = Some((there.offset, now));
            } else if let Some(rare) = &mut self.rare {
                rare.expected = None;
                self.tidy();
            }
        } else if there != NOTHING || self.position == Some(stood) {
            self.unsure = true;
        }
    }

    fn take(&mut self, record: &Arc<Stored>) {
        self.fresh = false;
        self.position = Some(record.position);
        self.last = known_id(record);
    }

    /// A record came from Redis, or was stored by this node: gives what can be
    /// handed on now.
    pub fn accept(&mut self, record: Arc<Stored>, now: Instant) -> Vec<Arc<Stored>> {
        let new = record.position;
        let next = match self.position {
            None => false,
            Some(at) if at.epoch == new.epoch => {
                if new.offset <= at.offset && !self.fresh {
                    return Vec::new();
                }
                new.offset == at.offset + 1
            }
            // A room that was not used for long begins anew by itself.
            Some(_) => new.offset == 1,
        };
        if self.unsure || self.looking || !next {
            self.keep(record, now);
            return if self.unsure || self.looking { Vec::new() } else { self.drain() };
        }
        self.take(&record);
        let mut out = vec![record];
        self.follow(&mut out);
        out
    }

    fn keep(&mut self, record: Arc<Stored>, now: Instant) {
        let first = self.first_ahead();
        let rare = self.rare.get_or_insert_default();
        if first.is_some_and(|(_, position)| position.epoch != record.position.epoch) {
            // Of two histories at once: only Redis knows.
            rare.ahead.clear();
            self.unsure = true;
        }
        rare.gap_since.get_or_insert(now);
        if rare.ahead.len() >= MAX_AHEAD {
            rare.ahead.pop_last();
            self.unsure = true;
        }
        rare.ahead.insert(record.position.offset, record);
    }

    /// Adds what came early and fits now.
    fn follow(&mut self, out: &mut Vec<Arc<Stored>>) {
        let Some(mut rare) = self.rare.take() else { return };
        while let Some(at) = self.position {
            let Some(entry) = rare.ahead.first_entry() else { break };
            let early = entry.get().position;
            let same = early.epoch == at.epoch;
            let next = if same { early.offset == at.offset + 1 } else { early.offset == 1 };
            if !next && (!same || early.offset > at.offset) {
                break;
            }
            let record = entry.remove();
            if next {
                self.take(&record);
                out.push(record);
            }
        }
        if rare.ahead.is_empty() {
            rare.gap_since = None;
        }
        self.rare = Some(rare);
        self.tidy();
    }

    /// The head of the room was read while its channel was heard (or is not yet,
    /// for a room that is new): gives what can be handed on, and what to do.
    pub fn looked(&mut self, head: Head) -> (Vec<Arc<Stored>>, Verdict) {
        let there = head.position.unwrap_or(NOTHING);
        self.rewind();
        let at = match self.position {
            Some(NOTHING) if there != NOTHING => Position { offset: 0, ..there },
            Some(at) if there == NOTHING && !self.interrupted && at.epoch != NOTHING.epoch => {
                // The room was not used for long and begins anew by itself.
                self.begin_anew();
                return (self.drain(), Verdict::Fine);
            }
            Some(at) => at,
            None => {
                self.begin_at(head);
                self.settle();
                return (self.drain(), Verdict::Fine);
            }
        };
        self.position = Some(at);
        if at.epoch != there.epoch {
            return (Vec::new(), Verdict::Reset);
        }
        let other = self.last.is_some() && head.last.is_some() && self.last != head.last;
        if there.offset < at.offset || (there.offset == at.offset && other) {
            return (Vec::new(), Verdict::Rolled(at));
        }
        if there.offset == at.offset {
            self.settle();
            return (self.drain(), Verdict::Fine);
        }
        // With the one that is known already: is it still the same one?
        let above = if self.last.is_some() { at.offset.saturating_sub(1) } else { at.offset };
        (Vec::new(), Verdict::Read(above))
    }

    fn begin_anew(&mut self) {
        self.position = Some(NOTHING);
        self.last = None;
        self.settle();
    }

    fn settle(&mut self) {
        self.looking = false;
        self.unsure = false;
        self.interrupted = false;
        if let Some(rare) = &mut self.rare {
            rare.expected = None;
        }
        self.rested();
    }

    /// The next look need not wait.
    fn rested(&mut self) {
        if let Some(rare) = &mut self.rare {
            (rare.failures, rare.look_at) = (0, None);
            self.tidy();
        }
    }

    /// What came meanwhile and fits.
    fn drain(&mut self) -> Vec<Arc<Stored>> {
        self.rewind();
        let mut out = Vec::new();
        self.follow(&mut out);
        out
    }

    /// What came by the channel is due, although its head was read later: it was
    /// published when the channel was heard.
    fn rewind(&mut self) {
        if let (true, Some(at), Some((offset, first))) =
            (self.fresh, self.position, self.first_ahead())
            && first.epoch == at.epoch
            && offset <= at.offset
        {
            self.position = Some(Position { offset: offset - 1, ..at });
            self.last = None;
        }
    }

    /// A page was read above an offset that [`looked`](Self::looked) or the page
    /// before named.
    pub fn repaired(&mut self, page: Page) -> Repaired {
        let at = self.position.unwrap_or(NOTHING);
        if page.head.epoch != at.epoch {
            return Repaired::Records(Vec::new(), Verdict::Reset);
        }
        if page.oldest > at.offset + 1 {
            return Repaired::Lost;
        }
        let same =
            |r: &Arc<Stored>| known_id(r).is_none_or(|id| self.last.is_none_or(|last| last == id));
        if page.records.iter().any(|r| r.position == at && !same(r)) || page.head.offset < at.offset
        {
            return Repaired::Records(Vec::new(), Verdict::Rolled(at));
        }
        let mut out = Vec::with_capacity(page.records.len());
        for record in page.records {
            if self.position.is_some_and(|at| record.position.offset > at.offset) {
                self.take(&record);
                out.push(record);
            }
        }
        let reached = self.position.map_or(0, |at| at.offset);
        if page.has_more {
            return Repaired::Records(out, Verdict::Read(reached));
        }
        self.settle();
        self.follow(&mut out);
        Repaired::Records(out, Verdict::Fine)
    }

    /// The members were told that something is missing, and the head of the room.
    pub fn reset(&mut self, head: Position, last: Option<MessageId>) -> Vec<Arc<Stored>> {
        self.fresh = false;
        self.position = Some(head);
        self.last = last;
        self.settle();
        let mut out = Vec::new();
        if let Some(rare) = &mut self.rare {
            rare.ahead.retain(|offset, r| r.position.epoch == head.epoch && *offset > head.offset);
        }
        self.follow(&mut out);
        out
    }
}

/// The id by which Redis knows a record; none if it could not be read.
pub fn known_id(stored: &Arc<Stored>) -> Option<MessageId> {
    (!stored.record.is_unreadable()).then_some(stored.record.id)
}

/// The rooms of this node.
#[derive(Default)]
pub struct Rooms {
    rooms: HashMap<RoomName, Room>,
}

impl Rooms {
    /// A room that the node hears or is about to.
    pub fn get_mut(&mut self, room: &RoomName) -> Option<&mut Room> {
        self.rooms.get_mut(room)
    }

    /// Adds a room; says whether it is new. One that was idle is not any more.
    pub fn add(&mut self, room: &RoomName) -> bool {
        let mut new = false;
        let entry = self.rooms.entry(room.clone()).or_insert_with(|| {
            new = true;
            Room::new()
        });
        entry.occupied();
        new
    }

    /// Takes out those that nobody is in, since before a moment.
    pub fn take_idle(
        &mut self,
        before: Instant,
        occupied: impl Fn(&RoomName) -> bool,
    ) -> Vec<RoomName> {
        let idle = |r: &Room| r.idle_since().is_some_and(|since| since <= before);
        let gone: Vec<_> = self
            .rooms
            .iter()
            .filter(|(name, r)| idle(r) && !occupied(name))
            .map(|(name, _)| name.clone())
            .collect();
        for room in &gone {
            self.rooms.remove(room);
        }
        gone
    }

    /// Every room.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&RoomName, &mut Room)> {
        self.rooms.iter_mut()
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
