//! `resume`: a client of the JSON wire that was here before asks for all its rooms in
//! one frame.

use std::sync::Arc;

use super::{EventKind, Fields, Fieldset};
use crate::{
    error::ErrorCode,
    id::{RoomName, SessionId},
    position::Position,
    record::Stored,
};

/// Asks to go on with what an earlier session had.
#[derive(Clone, Debug)]
pub struct Resume {
    /// The earlier session, as `authenticated` named it.
    pub session: SessionId,
    /// The newest position that the client has of each room.
    pub positions: Vec<(RoomName, Position)>,
}

/// What became of one room of a session that comes back.
#[derive(Clone, Debug)]
pub struct ResumedRoom {
    /// The room.
    pub room: RoomName,
    /// From where on it is told; none if the session is not let in.
    pub position: Option<Position>,
    /// Whether everything since the client's position follows.
    pub recovered: bool,
    /// The head of the room if not.
    pub messages: Vec<Arc<Stored>>,
    /// Why the session is not let in.
    pub refused: Option<ErrorCode>,
}

impl Fieldset for ResumedRoom {
    fn kind(&self) -> Option<EventKind> {
        None
    }

    fn fields(&self, out: &mut dyn Fields) {
        out.text("roomId", self.room.as_str());
        out.flag("recovered", self.recovered);
        if let Some(position) = self.position {
            out.text("epoch", &position.epoch.to_string());
            out.number("offset", position.offset);
        }
        if let Some(code) = self.refused {
            out.text("code", code.as_str());
        } else if !self.recovered {
            out.list("messages", &mut self.messages.iter().map(|m| &**m as &dyn Fieldset));
        }
    }
}
