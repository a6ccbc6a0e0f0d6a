//! What must hold, judged from outside: by what clients are given, and what is announced.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hubbub_actors::presence_tracker::Effect;
use hubbub_protocol::{
    event::Status,
    id::{MessageId, RoomName, SessionId, UserId},
    position::Position,
    record::{Body, Stored},
};

/// What did not hold.
pub type Violation = String;

/// The text of a message.
pub fn content(stored: &Stored) -> &str {
    match &stored.record.body {
        Body::Message { content, .. } => content,
        _ => "",
    }
}

/// A client's view of one room.
#[derive(Debug, Default)]
pub struct View {
    /// The newest message it has; what it comes back with.
    pub have: Option<Position>,
    /// Contents it was given since it last started over.
    seen: BTreeSet<String>,
}

impl View {
    /// It is told that it is in: `resumed` if it had named a position.
    ///
    /// # Errors
    /// What the hub must not tell.
    pub fn joined(
        &mut self,
        position: Position,
        recovered: bool,
        messages: &[std::sync::Arc<Stored>],
        resumed: bool,
    ) -> Result<(), Violation> {
        if recovered && !resumed {
            return Err("recovered, and nothing was asked for".into());
        }
        if recovered {
            for message in messages {
                self.message(message)?;
            }
            if self.have != Some(position) {
                return Err(format!(
                    "recovered up to {position:?}, but given up to {:?}",
                    self.have
                ));
            }
            return Ok(());
        }
        let known = position.epoch.0 != 0;
        self.have = known.then_some(position);
        self.seen.clear();
        let mut last = None;
        for message in messages {
            let at = message.position.offset;
            if last.is_some_and(|last| at != last + 1) {
                return Err(format!("the head of the room has a hole before offset {at}"));
            }
            last = Some(at);
            self.seen.insert(content(message).to_owned());
        }
        if last.is_some_and(|last| last != position.offset) {
            return Err(format!("the head ends at {last:?}, not at {position:?}"));
        }
        Ok(())
    }

    /// It is given a message: the next one, and never one again.
    ///
    /// # Errors
    /// A hole, a repetition, a wrong order.
    pub fn message(&mut self, stored: &Stored) -> Result<(), Violation> {
        let new = stored.position;
        if let Some(have) = self.have {
            if have.epoch != new.epoch {
                return Err(format!("the epoch changed from {have:?} to {new:?}"));
            }
            if new.offset != have.offset + 1 {
                return Err(format!("offset {} came after {}", new.offset, have.offset));
            }
        }
        self.have = Some(new);
        if !self.seen.insert(content(stored).to_owned()) {
            return Err(format!("{} came again at offset {}", content(stored), new.offset));
        }
        Ok(())
    }
}

/// What the store has ever taken: the truth.
#[derive(Debug, Default)]
pub struct Truth {
    rooms: BTreeMap<RoomName, Vec<(Position, MessageId, String)>>,
    contents: BTreeSet<(RoomName, String)>,
}

impl Truth {
    /// The store has taken a message.
    ///
    /// # Errors
    /// A content twice, an offset that is not the next.
    pub fn stored(&mut self, stored: &Stored) -> Result<(), Violation> {
        let room = stored.record.room.clone();
        let text = content(stored).to_owned();
        let list = self.rooms.entry(room.clone()).or_default();
        let next = list.last().map_or(1, |(last, ..)| last.offset + 1);
        if stored.position.offset != next {
            return Err(format!("{text} was stored at {:?}, not at {next}", stored.position));
        }
        list.push((stored.position, stored.record.id, text.clone()));
        if !self.contents.insert((room, text.clone())) {
            return Err(format!("{text} was stored twice, although it had a key"));
        }
        Ok(())
    }

    /// A publish was acknowledged.
    ///
    /// # Errors
    /// Nothing of it is stored there.
    pub fn acknowledged(&self, room: &RoomName, at: Position, text: &str) -> Result<(), Violation> {
        let found = self
            .rooms
            .get(room)
            .and_then(|list| list.get(usize::try_from(at.offset.checked_sub(1)?).ok()?));
        match found {
            Some((position, _, stored)) if *position == at && stored == text => Ok(()),
            _ => Err(format!("{text} was acknowledged at {at:?}, where {found:?} is")),
        }
    }

    /// The newest offset of a room.
    pub fn head(&self, room: &RoomName) -> u64 {
        self.rooms.get(room).and_then(|list| list.last()).map_or(0, |(at, ..)| at.offset)
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.contents.len()
    }
}

/// What those who watch one node know from what it announces.
#[derive(Debug, Default)]
pub struct Announced {
    members: BTreeSet<(RoomName, UserId)>,
    shown: HashMap<UserId, Status>,
    typing: BTreeSet<(SessionId, RoomName)>,
}

impl Announced {
    /// Presence is told.
    ///
    /// # Errors
    /// Somebody comes who is there, or goes who is not.
    pub fn tell(&mut self, effects: Vec<Effect>) -> Result<(), Violation> {
        for effect in effects {
            match effect {
                Effect::Joined(m) => {
                    if !self.members.insert((m.room.clone(), m.user.clone())) {
                        return Err(format!("{:?} joined {:?} again", m.user, m.room));
                    }
                }
                Effect::Left(m) => {
                    if !self.members.remove(&(m.room.clone(), m.user.clone())) {
                        return Err(format!("{:?} left {:?} without being there", m.user, m.room));
                    }
                    // Nobody who shares no room with a user is told how it goes on.
                    if !self.members.iter().any(|(_, user)| *user == m.user) {
                        self.shown.remove(&m.user);
                    }
                }
                Effect::Presence(rooms, p) => {
                    if !rooms.is_empty() {
                        self.shown.insert(p.user, p.status);
                    }
                }
            }
        }
        Ok(())
    }

    /// Typing is told.
    ///
    /// # Errors
    /// Somebody stops who did not type.
    pub fn typing(
        &mut self,
        changes: impl IntoIterator<Item = (SessionId, RoomName, bool)>,
    ) -> Result<(), Violation> {
        for (session, room, on) in changes {
            let entry = (session, room);
            if on {
                self.typing.insert(entry);
            } else if !self.typing.remove(&entry) {
                return Err(format!("{entry:?} stopped typing and did not type"));
            }
        }
        Ok(())
    }

    /// Who is announced as a member must be one.
    ///
    /// # Errors
    /// The ghosts, and those who were never announced.
    pub fn compare(&self, truth: &BTreeSet<(RoomName, UserId)>) -> Result<(), Violation> {
        if self.members == *truth {
            return Ok(());
        }
        let ghosts: Vec<_> = self.members.difference(truth).collect();
        let unseen: Vec<_> = truth.difference(&self.members).collect();
        Err(format!("ghosts {ghosts:?}, never announced {unseen:?}"))
    }

    /// Nobody is there any more.
    ///
    /// # Errors
    /// Who is left.
    pub fn nobody(&self) -> Result<(), Violation> {
        let online: Vec<_> = self.shown.iter().filter(|(_, s)| **s != Status::Offline).collect();
        if !self.members.is_empty() || !self.typing.is_empty() || !online.is_empty() {
            return Err(format!(
                "still announced: members {:?}, typing {:?}, online {online:?}",
                self.members, self.typing
            ));
        }
        Ok(())
    }
}
