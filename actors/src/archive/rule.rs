//! Which rooms are archived: decides, and knows nothing of stores.

use std::sync::Arc;

use hubbub_protocol::{id::RoomName, pattern::matches};

/// The rooms whose messages are kept for good, by patterns of their names. By
/// default none. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchivedRooms(Arc<[Box<str>]>);

impl ArchivedRooms {
    /// Rooms that match one of these patterns (`*` stands for any run of
    /// characters, `?` for one). Direct messages are archived only by a pattern
    /// that begins with `user:`, so that `*` does not reach them by accident.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Self {
        Self(patterns.iter().map(|pattern| pattern.as_ref().into()).collect())
    }

    /// Whether no room is archived.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this room is.
    pub fn contains(&self, room: &RoomName) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let personal = room.personal_user().is_some();
        if room.is_reserved() && !personal {
            return false;
        }
        let named = |pattern: &str| !personal || pattern.starts_with("user:");
        self.0.iter().any(|pattern| named(pattern) && matches(pattern, room.as_str()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn patterns_say_which_rooms_and_direct_messages_must_be_named() {
        let contains = |patterns: &[&str], room: &str| {
            ArchivedRooms::new(patterns).contains(&RoomName::new(room).unwrap())
        };
        assert!(contains(&["*"], "lobby"));
        assert!(contains(&["game-?", "team-*"], "team-7"));
        assert!(!contains(&["team-*"], "lobby"));
        assert!(!contains(&[], "lobby"));
        assert!(!contains(&["*"], "user:ann"));
        assert!(contains(&["user:*"], "user:ann"));
        assert!(!contains(&["user:b*"], "user:ann"));
        assert!(!contains(&["*", "$*"], "$everybody"));
    }
}
