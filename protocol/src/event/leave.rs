//! `leave` and `left`.

use super::{EventKind, Fields, Fieldset};
use crate::id::RoomName;

/// Asks to stop being a member.
#[derive(Clone, Debug)]
pub struct Leave {
    /// The room.
    pub room: RoomName,
}

/// Says that the session is no longer a member.
#[derive(Clone, Debug)]
pub struct Left {
    /// The room.
    pub room: RoomName,
}

impl Fieldset for Left {
    fn kind(&self) -> Option<EventKind> {
        Some(EventKind::Left)
    }

    fn fields(&self, out: &mut dyn Fields) {
        out.text("roomId", self.room.as_str());
    }
}
