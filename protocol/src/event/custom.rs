//! `event`: custom events.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{EventKind, Fields, Fieldset};
use crate::{
    id::{RoomName, UserId},
    timestamp::Timestamp,
};

/// Who gets a custom event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EventTarget {
    /// The members of a room; it may be left out while the session is in exactly one.
    Room(Option<RoomName>),
    /// Every session of one user.
    User(UserId),
    /// Every session. Always volatile.
    Everyone,
}

/// Asks to publish a custom event.
#[derive(Clone, Debug)]
pub struct PublishEvent {
    /// Who gets it.
    pub to: EventTarget,
    /// The event's name, 1 to 128 bytes.
    pub name: Box<str>,
    /// Its JSON.
    pub data: Option<Box<RawValue>>,
    /// Not stored and at most once.
    pub volatile: bool,
    /// Makes a durable one idempotent for ten minutes.
    pub key: Option<Box<str>>,
    /// Whether the session that sent it gets it too. Durable events come to it in
    /// any case, as they do after a reconnection.
    pub echo: bool,
    /// Only a token with one of these roles may send it; none: every token.
    pub roles: Option<Arc<[Box<str>]>>,
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
    /// The node that took it; shown only to vocabularies that ask for it.
    pub node: Option<Arc<str>>,
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
        if let Some(node) = &self.node {
            out.hidden("nodeId", node);
        }
        out.time("timestamp", self.timestamp);
    }
}
