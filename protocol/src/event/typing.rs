//! `typing`.

use std::sync::Arc;

use super::{EventKind, Fields, Fieldset};
use crate::id::{RoomName, UserId};

/// Says that the user starts or stops typing.
#[derive(Clone, Debug)]
pub struct SetTyping {
    /// The room; may be left out while the session is in exactly one.
    pub room: Option<RoomName>,
    /// Whether the user types.
    pub is_typing: bool,
}

/// Tells the others in a room that somebody types or stopped.
#[derive(Clone, Debug)]
pub struct Typing {
    /// The room.
    pub room: RoomName,
    /// Who.
    pub user: UserId,
    /// The display name.
    pub username: Option<Arc<str>>,
    /// Whether the user types.
    pub is_typing: bool,
}

impl Fieldset for Typing {
    fn kind(&self) -> Option<EventKind> {
        Some(EventKind::Typing)
    }

    fn fields(&self, out: &mut dyn Fields) {
        out.text("roomId", self.room.as_str());
        out.text("userId", self.user.as_str());
        if let Some(name) = &self.username {
            out.text("username", name);
        }
        out.flag("isTyping", self.is_typing);
    }
}
