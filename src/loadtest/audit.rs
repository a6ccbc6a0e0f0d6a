//! Judges every copy of every message by its content, while it comes: nothing is kept of a member
//! but the next offset it must get and the holes before it. Pure.
//!
//! The hub promises each member of a room the same messages in the same order, with offsets that
//! rise by one. So a hole is a loss unless it is filled, an offset again is a copy too many, and
//! two members with different messages at one offset disagree.

use super::marker::Marker;

/// Faults told in words; the rest is only counted.
const MAX_EXAMPLES: usize = 20;
/// Holes kept of one member; further ones are counted as lost at once.
const MAX_HOLES: usize = 1024;
/// Offsets a room log spans at most; what lies beyond is not compared.
const MAX_SPAN: u64 = 1 << 26;

/// What was found wrong. Zero everywhere is what the hub promises.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Faults {
    /// Copies that never came.
    pub lost: u64,
    /// Copies that came more than once, and messages stored more than once.
    pub duplicated: u64,
    /// Copies that came after a later one.
    pub out_of_order: u64,
    /// Members who got different messages at the same offset.
    pub disagreed: u64,
    /// Messages of one sender stored in another order than sent.
    pub sender_order: u64,
    /// Copies in a room or for a member they were not meant for.
    pub misrouted: u64,
    /// Copies with a changed content.
    pub damaged: u64,
    /// Acks that name an offset where another message is.
    pub contradicted: u64,
    /// Examples, in words.
    pub examples: Vec<String>,
}

impl Faults {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.lost
            + self.duplicated
            + self.out_of_order
            + self.disagreed
            + self.sender_order
            + self.misrouted
            + self.damaged
            + self.contradicted
    }

    /// Keeps an example, if there is room.
    pub fn tell(&mut self, example: impl FnOnce() -> String) {
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(example());
        }
    }

    /// Adds what another thread found.
    pub fn add(&mut self, other: &Self) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.disagreed += other.disagreed;
        self.sender_order += other.sender_order;
        self.misrouted += other.misrouted;
        self.damaged += other.damaged;
        self.contradicted += other.contradicted;
        for example in &other.examples {
            self.tell(|| example.clone());
        }
    }
}

/// Which message is at which offset, as the first member of this thread to get it saw it.
#[derive(Debug, Default)]
pub struct RoomLog {
    base: u64,
    /// Sender and number; `None` where nobody has seen one of ours.
    entries: Vec<Option<(u32, u32)>>,
}

impl Member {
    /// A connection in a room that it has not joined yet.
    #[must_use]
    pub fn new(connection: usize, room: u32) -> Self {
        Self { connection: connection as u32, room, ..Self::default() }
    }
}

impl RoomLog {
    /// Notes a message; false if another one is there.
    pub fn note(&mut self, offset: u64, sender: u32, number: u32) -> bool {
        if self.entries.is_empty() {
            self.base = offset;
        }
        if offset < self.base {
            // A member that was behind: make room in front.
            let more = self.base - offset;
            if more > MAX_SPAN {
                return true;
            }
            let more = (0..more).map(|_| None);
            self.entries.splice(0..0, more);
            self.base = offset;
        }
        let at = offset - self.base;
        if at >= MAX_SPAN {
            return true;
        }
        let at = at as usize;
        if at >= self.entries.len() {
            self.entries.resize(at + 1, None);
        }
        *self.entries[at].get_or_insert((sender, number)) == (sender, number)
    }

    /// Every known message with its offset, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u32, u32)> + '_ {
        let base = self.base;
        self.entries
            .iter()
            .enumerate()
            .filter_map(move |(at, e)| e.map(|(sender, number)| (base + at as u64, sender, number)))
    }

    /// What is known at an offset.
    #[must_use]
    pub fn at(&self, offset: u64) -> Option<(u32, u32)> {
        let at = usize::try_from(offset.checked_sub(self.base)?).ok()?;
        *self.entries.get(at)?
    }
}

/// One connection in one room.
#[derive(Debug, Default, Clone)]
pub struct Member {
    /// Index of the connection.
    pub connection: u32,
    /// Index of the room.
    pub room: u32,
    /// The offset that must come next; 0 before the room was joined.
    pub next: u64,
    /// The epoch that the offsets belong to.
    pub epoch: u64,
    /// Offsets that were skipped and may still come: first and last.
    holes: Vec<(u64, u64)>,
    /// Whether the member is in the room and must get everything.
    pub live: bool,
}

/// What a `joined` says.
#[derive(Debug, Clone, Copy)]
pub struct Joined {
    /// Epoch of the room.
    pub epoch: u64,
    /// Newest offset of the room.
    pub offset: u64,
    /// Whether everything since the position that was asked for comes.
    pub recovered: bool,
    /// Whether a position was asked for.
    pub resumed: bool,
}

/// The audit of one thread.
#[derive(Debug, Default)]
pub struct Audit {
    /// By index of the room.
    pub rooms: Vec<RoomLog>,
    /// The members of this thread.
    pub members: Vec<Member>,
    /// What was found.
    pub faults: Faults,
    /// Publishes that were acknowledged: room, sender, number, offset.
    pub acks: Vec<(u32, u32, u32, u64)>,
    /// Rejoins that the hub could not serve without a gap, and said so.
    pub unproven: u64,
    /// Messages that are none of this run.
    pub foreign: u64,
}

impl Audit {
    /// For this many rooms.
    #[must_use]
    pub fn new(rooms: usize) -> Self {
        Self { rooms: (0..rooms).map(|_| RoomLog::default()).collect(), ..Self::default() }
    }

    /// A member has joined, or joined again.
    pub fn joined(&mut self, member: usize, joined: Joined) {
        let Self { members, faults, unproven, .. } = self;
        let m = &mut members[member];
        m.live = true;
        if joined.resumed && joined.recovered && m.next > 0 {
            if joined.epoch != m.epoch {
                faults.disagreed += 1;
                faults.tell(|| format!("{m}: recovered although the epoch changed", m = name(m)));
            }
            m.epoch = joined.epoch;
            return;
        }
        if joined.resumed {
            *unproven += 1;
        }
        settle(m, faults);
        m.next = joined.offset + 1;
        m.epoch = joined.epoch;
    }

    /// A member has left or lost its connection; what is under way need not come.
    pub fn left(&mut self, member: usize) {
        self.members[member].live = false;
    }

    /// A member got a message of this run, at `offset`.
    pub fn received(&mut self, member: usize, offset: u64, marker: &Marker) {
        let Self { rooms, members, faults, .. } = self;
        let m = &mut members[member];
        if marker.room != m.room {
            faults.misrouted += 1;
            faults.tell(|| format!("{}: got a message of room {}", name(m), marker.room));
            return;
        }
        advance(m, offset, faults);
        let log = &mut rooms[m.room as usize];
        if !log.note(offset, marker.sender, marker.number) {
            faults.disagreed += 1;
            faults.tell(|| {
                format!(
                    "{}: offset {offset} is message {} of sender {}, others have {:?}",
                    name(m),
                    marker.number,
                    marker.sender,
                    log.at(offset)
                )
            });
        }
    }

    /// A member got a message that is none of this run; it has an offset all the same.
    pub fn received_foreign(&mut self, member: usize, offset: u64) {
        self.foreign += 1;
        advance(&mut self.members[member], offset, &mut self.faults);
    }

    /// A copy for somebody who is not in the room.
    pub fn misrouted(&mut self, connection: usize, room: u32) {
        self.faults.misrouted += 1;
        self.faults.tell(|| format!("connection {connection}: got a message of room {room}"));
    }

    /// A copy whose content is not what was sent.
    pub fn damaged(&mut self, connection: usize, what: &str) {
        self.faults.damaged += 1;
        self.faults.tell(|| format!("connection {connection}: {what}"));
    }

    /// The end: holes are losses, and so is what live members lack up to `heads`, the newest known
    /// offset of each room.
    pub fn finish(&mut self, heads: &[u64]) {
        let Self { members, faults, .. } = self;
        for m in members {
            settle(m, faults);
            let head = heads.get(m.room as usize).copied().unwrap_or(0);
            if m.live && m.next > 0 && m.next <= head {
                faults.lost += head + 1 - m.next;
                faults.tell(|| format!("{}: offsets {} to {head} never came", name(m), m.next));
            }
        }
    }
}

fn name(m: &Member) -> String {
    format!("connection {} in room {}", m.connection, m.room)
}

/// Moves a member on to `offset`.
fn advance(m: &mut Member, offset: u64, faults: &mut Faults) {
    if offset == m.next {
        m.next += 1;
    } else if m.next == 0 {
        faults.misrouted += 1;
        faults.tell(|| format!("{}: got offset {offset} before it had joined", name(m)));
    } else if offset > m.next {
        if m.holes.len() < MAX_HOLES {
            m.holes.push((m.next, offset - 1));
        } else {
            faults.lost += offset - m.next;
        }
        m.next = offset + 1;
    } else if let Some(at) = m.holes.iter().position(|(a, z)| (*a..=*z).contains(&offset)) {
        faults.out_of_order += 1;
        faults.tell(|| format!("{}: offset {offset} came after {}", name(m), m.next - 1));
        let (first, last) = m.holes.swap_remove(at);
        if first < offset {
            m.holes.push((first, offset - 1));
        }
        if offset < last {
            m.holes.push((offset + 1, last));
        }
    } else {
        faults.duplicated += 1;
        faults.tell(|| format!("{}: offset {offset} came again", name(m)));
    }
}

/// Counts a member's holes as lost.
fn settle(m: &mut Member, faults: &mut Faults) {
    for (first, last) in std::mem::take(&mut m.holes) {
        faults.lost += last + 1 - first;
        faults.tell(|| format!("{}: offsets {first} to {last} never came", name(m)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u32) -> Marker {
        Marker { room: 0, sender: 5, number, due: 0, length: 64 }
    }

    fn fresh(offset: u64) -> Joined {
        Joined { epoch: 1, offset, recovered: false, resumed: false }
    }

    /// Two members of room 0 that joined at offset 10, and one of room 1.
    fn audit() -> Audit {
        let mut audit = Audit::new(2);
        for (connection, room) in [(0, 0), (1, 0), (2, 1)] {
            audit.members.push(Member::new(connection, room));
        }
        for member in 0..3 {
            audit.joined(member, fresh(10));
        }
        audit
    }

    fn give(audit: &mut Audit, member: usize, offsets: &[u64]) {
        for offset in offsets {
            audit.received(member, *offset, &message(*offset as u32));
        }
    }

    #[test]
    fn what_is_promised_is_no_fault() {
        let mut audit = audit();
        give(&mut audit, 0, &[11, 12, 13]);
        give(&mut audit, 1, &[11, 12, 13]);
        audit.finish(&[13, 10]);
        assert_eq!(audit.faults, Faults::default());
    }

    #[test]
    fn a_hole_and_a_missing_tail_are_losses() {
        let mut audit = audit();
        give(&mut audit, 0, &[11, 14, 15]);
        give(&mut audit, 1, &[11, 12]);
        audit.finish(&[15, 10]);
        assert_eq!(audit.faults.lost, 2 + 3);
        assert_eq!(audit.faults.total(), 5);
        assert!(audit.faults.examples[0].contains("12 to 13"), "{:?}", audit.faults.examples);
    }

    #[test]
    fn late_and_repeated_copies_are_told_apart() {
        let mut audit = audit();
        give(&mut audit, 0, &[11, 14, 13, 12, 12, 14]);
        audit.finish(&[14, 0]);
        assert_eq!((audit.faults.out_of_order, audit.faults.duplicated), (2, 2));
        // Nothing is missing, except that the other one of the room got none of the four.
        assert_eq!(audit.faults.lost, 4);
    }

    #[test]
    fn members_that_disagree_and_strays_are_found() {
        let mut audit = audit();
        audit.received(0, 11, &message(1));
        audit.received(1, 11, &message(2));
        audit.received(2, 11, &message(1));
        assert_eq!((audit.faults.disagreed, audit.faults.misrouted), (1, 1));
    }

    #[test]
    fn who_left_misses_nothing_and_who_resumes_misses_all() {
        let mut left = audit();
        give(&mut left, 0, &[11]);
        left.left(0);
        left.left(1);
        left.finish(&[20, 10]);
        assert_eq!(left.faults.total(), 0);

        let mut back = audit();
        give(&mut back, 0, &[11]);
        back.left(0);
        back.joined(0, Joined { epoch: 1, offset: 20, recovered: true, resumed: true });
        give(&mut back, 0, &[12, 14]);
        back.left(1);
        back.finish(&[14, 10]);
        assert_eq!(back.faults.lost, 1);
    }

    #[test]
    fn a_gap_that_the_hub_admits_is_no_loss() {
        let mut audit = audit();
        give(&mut audit, 0, &[11, 13]);
        audit.left(0);
        audit.joined(0, Joined { epoch: 2, offset: 30, recovered: false, resumed: true });
        give(&mut audit, 0, &[31]);
        audit.left(1);
        audit.finish(&[31, 10]);
        assert_eq!((audit.unproven, audit.faults.lost), (1, 1), "the hole before it is one");
    }

    #[test]
    fn room_logs_grow_both_ways() {
        let mut log = RoomLog::default();
        assert!(log.note(10, 1, 1) && log.note(12, 1, 3) && log.note(8, 1, 0));
        assert!(!log.note(10, 1, 2) && log.note(10, 1, 1));
        assert_eq!(log.iter().map(|e| e.0).collect::<Vec<_>>(), [8, 10, 12]);
        assert_eq!((log.at(9), log.at(12), log.at(99)), (None, Some((1, 3)), None));
    }
}
