//! `event`: custom events.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{EventKind, Fields, Fieldset};
use crate::{
    id::{RoomName, UserId},
    timestamp::Timestamp,
};

/// Asks to publish a custom event.
#[derive(Clone, Debug)]
pub struct PublishEvent {
    /// The room; may be left out while the session is in exactly one.
    pub room: Option<RoomName>,
    /// The event's name, 1 to 128 bytes.
    pub name: Box<str>,
    /// Its JSON.
    pub data: Option<Box<RawValue>>,
    /// Not stored and at most once.
    pub volatile: bool,
    /// Makes a durable one idempotent for ten minutes.
    pub key: Option<Box<str>>,
}

/// A custom event that is not stored.
#[derive(Clone, Debug)]
pub struct CustomEvent {
    /// The room; none if it is for one user or everyone.
    pub room: Option<RoomName>,
    /// Who sent it; none for a backend that named no user.
    pub user: Option<UserId>,
    /// The sender's display name.
    pub username: Option<Arc<str>>,
    /// Its name.
    pub name: Box<str>,
    /// Its JSON.
    pub data: Option<Box<RawValue>>,
    /// When the hub took it.
    pub timestamp: Timestamp,
}

impl Fieldset for CustomEvent {
    fn kind(&self) -> Option<EventKind> {
        Some(EventKind::Event)
    }

    fn fields(&self, out: &mut dyn Fields) {
        if let Some(room) = &self.room {
            out.text("roomId", room.as_str());
        }
        if let Some(user) = &self.user {
            out.text("userId", user.as_str());
        }
        if let Some(name) = &self.username {
            out.text("username", name);
        }
        out.text("name", &self.name);
        if let Some(data) = &self.data {
            out.raw("data", data);
        }
        out.time("timestamp", self.timestamp);
    }
}
