//! `message`, and how every stored record shows itself.

use serde_json::value::RawValue;

use super::{EventKind, Fields, Fieldset};
use crate::{
    id::RoomName,
    record::{Body, Stored},
};

/// Asks to publish a message.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The room; may be left out while the session is in exactly one.
    pub room: Option<RoomName>,
    /// The text.
    pub content: Box<str>,
    /// Any JSON beside it.
    pub data: Option<Box<RawValue>>,
    /// Makes the publish idempotent for ten minutes.
    pub key: Option<Box<str>>,
    /// Whether the session joins the room first, if it is not in it. Only a
    /// vocabulary asks for that.
    pub join: bool,
}

impl Fieldset for Stored {
    fn kind(&self) -> Option<EventKind> {
        Some(match self.record.body {
            Body::Message { .. } => EventKind::Message,
            Body::Direct { .. } => EventKind::Direct,
            Body::Event { .. } => EventKind::Event,
        })
    }

    fn fields(&self, out: &mut dyn Fields) {
        let record = &self.record;
        let mut id = uuid::Uuid::encode_buffer();
        out.text("id", record.id.0.hyphenated().encode_lower(&mut id));
        if !matches!(record.body, Body::Direct { .. }) {
            out.text("roomId", record.room.as_str());
        }
        if let Some(user) = &record.user {
            out.text("userId", user.as_str());
        }
        if let Some(name) = &record.username {
            out.text("username", name);
        }
        let data = match &record.body {
            Body::Message { content, data } | Body::Direct { content, data } => {
                out.text("content", content);
                data
            }
            Body::Event { name, data } => {
                out.text("name", name);
                data
            }
        };
        if let Some(data) = data {
            out.raw("data", data);
        }
        out.text("epoch", &self.position.epoch.to_string());
        out.number("offset", self.position.offset);
        out.time("timestamp", record.timestamp);
    }
}
