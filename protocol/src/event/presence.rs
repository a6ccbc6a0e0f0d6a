//! `presence`: who is there.

use super::{EventKind, Fields, Fieldset};
use crate::{id::UserId, timestamp::Timestamp};

/// What a user is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Status {
    /// Has a session.
    #[default]
    Online,
    /// Has a session and said to be away.
    Away,
    /// Has no session, or said to be offline.
    Offline,
}

impl Status {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Away => "away",
            Self::Offline => "offline",
        }
    }

    /// Reads the word on the wire.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Online, Self::Away, Self::Offline].into_iter().find(|s| s.as_str() == text)
    }
}

/// Sets the status of this session's user. A user with several sessions is shown
/// as the most present of them.
#[derive(Clone, Debug)]
pub struct SetPresence {
    /// The wanted status.
    pub status: Status,
}

/// Tells those who share a room that a user's presence changed.
#[derive(Clone, Debug)]
pub struct PresenceChanged {
    /// Who.
    pub user: UserId,
    /// The new status.
    pub status: Status,
    /// How many sessions the user has.
    pub socket_count: usize,
    /// Since when.
    pub timestamp: Timestamp,
    /// The display name; told only to vocabularies that name it.
    pub username: Option<std::sync::Arc<str>>,
}

impl Fieldset for PresenceChanged {
    fn kind(&self) -> Option<EventKind> {
        Some(EventKind::Presence)
    }

    fn fields(&self, out: &mut dyn Fields) {
        out.text("userId", self.user.as_str());
        out.text("status", self.status.as_str());
        out.number("socketCount", self.socket_count as u64);
        out.time("timestamp", self.timestamp);
        if let Some(name) = &self.username {
            out.hidden("username", name);
        }
    }
}
