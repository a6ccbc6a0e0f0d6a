//! Who types where, and until when that is believed. Pure. At most one entry per
//! session: nobody types in two rooms at a time.

use std::collections::HashMap;

use hubbub_protocol::id::{RoomName, SessionId};

/// A repetition is told again after this long, for those who came later.
const REPEAT_MS: u64 = 1000;

struct Entry {
    room: RoomName,
    until: u64,
    told: u64,
}

/// The table.
pub struct TypingTable {
    timeout_ms: u64,
    typing: HashMap<SessionId, Entry>,
}

/// A session that starts (`true`) or stops typing in a room.
pub type Change = (SessionId, RoomName, bool);

impl TypingTable {
    /// Nobody types; who starts and says nothing more stops after `timeout_ms`.
    pub fn new(timeout_ms: u64) -> Self {
        Self { timeout_ms, typing: HashMap::new() }
    }

    /// A session types; gives what is worth telling: that it does, and that it no
    /// longer types in another room.
    pub fn start(&mut self, session: SessionId, room: &RoomName, now: u64) -> Vec<Change> {
        let until = now + self.timeout_ms;
        if let Some(entry) = self.typing.get_mut(&session).filter(|e| e.room == *room) {
            entry.until = until;
            if now < entry.told + REPEAT_MS {
                return Vec::new();
            }
            entry.told = now;
            return vec![(session, room.clone(), true)];
        }
        let entry = Entry { room: room.clone(), until, told: now };
        let before = self.typing.insert(session, entry).map(|e| (session, e.room, false));
        before.into_iter().chain([(session, room.clone(), true)]).collect()
    }

    /// A session stopped typing in a room; gives what to tell if it did type.
    pub fn stop(&mut self, session: SessionId, room: &RoomName) -> Option<Change> {
        if self.typing.get(&session)?.room != *room {
            return None;
        }
        self.typing.remove(&session).map(|e| (session, e.room, false))
    }

    /// A session is gone.
    pub fn session_closed(&mut self, session: SessionId) -> Option<Change> {
        self.typing.remove(&session).map(|e| (session, e.room, false))
    }

    /// Those whose time is over.
    pub fn expire(&mut self, now: u64) -> Vec<Change> {
        self.typing
            .extract_if(|_, e| e.until <= now)
            .map(|(session, e)| (session, e.room, false))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn typing_ends_by_itself() {
        let mut t = TypingTable::new(6000);
        let (s, room) = (SessionId(uuid::Uuid::nil()), RoomName::new("r").unwrap());
        assert_eq!(t.start(s, &room, 0), [(s, room.clone(), true)]);
        assert!(t.start(s, &room, 500).is_empty(), "a repetition is not told again at once");
        assert_eq!(t.start(s, &room, 1500).len(), 1);
        assert!(t.expire(7499).is_empty());
        assert_eq!(t.expire(7500), [(s, room.clone(), false)]);
        assert_eq!(t.stop(s, &room), None);
        t.start(s, &room, 9000);
        assert_eq!(t.stop(s, &RoomName::new("other").unwrap()), None);
        assert_eq!(t.stop(s, &room), Some((s, room.clone(), false)));
        t.start(s, &room, 9000);
        let other = RoomName::new("other").unwrap();
        let moved = t.start(s, &other, 9100);
        assert_eq!(moved, [(s, room.clone(), false), (s, other, true)]);
        assert!(t.session_closed(s).is_some());
        assert!(t.expire(u64::MAX).is_empty());
    }
}
