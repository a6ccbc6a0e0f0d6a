//! `join` and `joined`.

use std::sync::Arc;

use super::{EventKind, Fields, Fieldset, MemberList};
use crate::{id::RoomName, position::Position, record::Stored};

/// Asks to become a member of a room.
#[derive(Clone, Debug)]
pub struct Join {
    /// The room.
    pub room: RoomName,
    /// The last position the client has seen; what came after it is sent.
    pub since: Option<Position>,
}

/// Says that the session is a member now and hears everything above `position`.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The room.
    pub room: RoomName,
    /// Where the client stands once it has taken `messages`.
    pub position: Position,
    /// At most [`MAX_MEMBERS_PAGE`](crate::limits::MAX_MEMBERS_PAGE) of the members.
    pub members: Arc<MemberList>,
    /// How many users are members in all.
    pub member_count: usize,
    /// Whether everything since the position asked for is in `messages` or follows.
    pub recovered: bool,
    /// What was missed, ascending; the head of the room if it could not be
    /// recovered.
    pub messages: Vec<Arc<Stored>>,
}

impl Fieldset for Joined {
    fn kind(&self) -> Option<EventKind> {
        Some(EventKind::Joined)
    }

    fn fields(&self, out: &mut dyn Fields) {
        out.text("roomId", self.room.as_str());
        out.text("epoch", &self.position.epoch.to_string());
        out.number("offset", self.position.offset);
        out.members("members", &self.members);
        out.number("memberCount", self.member_count as u64);
        out.flag("recovered", self.recovered);
        out.list("messages", &mut self.messages.iter().map(|m| &**m as &dyn Fieldset));
    }
}
