//! What is stored of a message, and what a store hands back.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::id::{MessageId, RoomName, UserId};
use crate::position::Position;
use crate::timestamp::Timestamp;
use crate::traceparent::TraceParent;

/// What a durable publish carries, by kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// A message of a room.
    Message {
        /// The text.
        content: Box<str>,
        /// Any JSON beside it, passed through untouched.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<Box<RawValue>>,
    },
    /// A message to one user, kept in the user's personal room.
    Direct {
        /// The text.
        content: Box<str>,
        /// Any JSON beside it, passed through untouched.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<Box<RawValue>>,
    },
    /// A custom event.
    Event {
        /// Its name.
        name: Box<str>,
        /// Its JSON, passed through untouched.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<Box<RawValue>>,
    },
}

impl Body {
    /// Bytes of text and JSON it carries.
    pub fn len(&self) -> usize {
        let raw = |d: &Option<Box<RawValue>>| d.as_ref().map_or(0, |d| d.get().len());
        match self {
            Self::Message { content, data } | Self::Direct { content, data } => {
                content.len() + raw(data)
            }
            Self::Event { name, data } => name.len() + raw(data),
        }
    }

    /// Whether it carries nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One durable message or event, before the store has given it a position.
#[derive(Clone, Debug)]
pub struct Record {
    /// UUIDv7, made when the hub took it.
    pub id: MessageId,
    /// Where it belongs.
    pub room: RoomName,
    /// Who sent it; none for a backend that named no user.
    pub user: Option<UserId>,
    /// The sender's display name.
    pub username: Option<Arc<str>>,
    /// When the hub took it.
    pub timestamp: Timestamp,
    /// What it says.
    pub body: Body,
    /// The trace to which it belongs, if it is sampled. Nodes tell it to each other;
    /// the embedded store does not keep it.
    pub trace: Option<Box<TraceParent>>,
}

/// Name of the event that stands for a stored record which cannot be read.
pub const UNREADABLE: &str = "hubbub.unreadable";

impl Record {
    /// Stands for a stored record that this release cannot read: an event named
    /// [`UNREADABLE`] without sender and data. So the room goes on, and nobody misses an
    /// offset without being told. Its id (UUIDv8, RFC 9562) is made of the position.
    pub fn unreadable(room: RoomName, position: Position, timestamp: Timestamp) -> Self {
        let id = u128::from(position.epoch.0) << 64 | u128::from(position.offset);
        let id = uuid::Builder::from_u128(id)
            .with_version(uuid::Version::Custom)
            .with_variant(uuid::Variant::RFC4122);
        Self {
            id: MessageId(id.into_uuid()),
            room,
            user: None,
            username: None,
            timestamp,
            body: Body::Event { name: UNREADABLE.into(), data: None },
            trace: None,
        }
    }

    /// Whether it [stands](Self::unreadable) for another: the store knows that one by
    /// another id.
    pub fn is_unreadable(&self) -> bool {
        self.id.0.get_version() == Some(uuid::Version::Custom)
    }

    /// About how many bytes a frame with it has: its texts as escaped as JSON has
    /// them, and a frame's other fields.
    pub fn wire_len(&self) -> usize {
        const FIELDS: usize = 256;
        let escaped = |text: &str| -> usize {
            let width = |b: u8| match b {
                b'"' | b'\\' => 2,
                0..0x20 => 6,
                _ => 1,
            };
            text.bytes().map(width).sum()
        };
        let raw = |d: &Option<Box<RawValue>>| d.as_ref().map_or(0, |d| d.get().len());
        let body = match &self.body {
            Body::Message { content, data } | Body::Direct { content, data } => {
                escaped(content) + raw(data)
            }
            Body::Event { name, data } => escaped(name) + raw(data),
        };
        FIELDS + self.room.as_str().len() + self.username.as_ref().map_or(0, |n| n.len()) + body
    }
}

/// A record with the position the store gave it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Epoch and offset in its room.
    pub position: Position,
    /// The record.
    pub record: Record,
}

/// The form of a record inside a store: JSON without room and position, which
/// the store keeps as its key.
#[derive(Serialize, Deserialize)]
struct Payload<'a> {
    id: MessageId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<UserId>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    username: Option<std::borrow::Cow<'a, str>>,
    ts: u64,
    body: std::borrow::Cow<'a, Body>,
}

impl Record {
    /// The bytes that a store keeps: JSON, read back by [`Record::from_payload`].
    pub fn to_payload(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Payload {
            id: self.id,
            user: self.user.clone(),
            username: self.username.as_deref().map(Into::into),
            ts: self.timestamp.0,
            body: std::borrow::Cow::Borrowed(&self.body),
        })
    }

    /// Reads what [`Record::to_payload`] wrote. Fails if it is not that.
    pub fn from_payload(room: RoomName, payload: &[u8]) -> Result<Self, serde_json::Error> {
        let p: Payload<'_> = serde_json::from_slice(payload)?;
        Ok(Self {
            id: p.id,
            room,
            user: p.user,
            username: p.username.map(|n| n.as_ref().into()),
            timestamp: Timestamp(p.ts),
            body: p.body.into_owned(),
            trace: None,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_cannot_be_read_has_an_id_of_its_own() {
        let made = |epoch, offset| {
            let position = Position { epoch: crate::position::Epoch(epoch), offset };
            Record::unreadable(RoomName::new("r").unwrap(), position, Timestamp(5))
        };
        let record = made(u64::MAX, 7);
        assert!(record.is_unreadable());
        assert_eq!(record.id, made(u64::MAX, 7).id);
        assert_ne!(record.id, made(u64::MAX, 8).id);
        assert_ne!(record.id, made(1, 7).id);
        let id = MessageId(uuid::Uuid::now_v7());
        assert!(!Record { id, ..record }.is_unreadable());
    }

    #[test]
    fn a_payload_reads_back() {
        let data = RawValue::from_string(r#"{"n": 1.50}"#.into()).unwrap();
        for body in [
            Body::Message { content: "hi \"there\"\n".into(), data: Some(data.clone()) },
            Body::Direct { content: "".into(), data: None },
            Body::Event { name: "move".into(), data: Some(data) },
        ] {
            let record = Record {
                id: MessageId(uuid::Uuid::from_u128(7)),
                room: RoomName::new("r").unwrap(),
                user: Some(UserId::new("u").unwrap()),
                username: Some("Ann \"A\"".into()),
                timestamp: Timestamp(1_700_000_000_123),
                body,
                trace: None,
            };
            let bytes = record.to_payload().unwrap();
            let back = Record::from_payload(record.room.clone(), &bytes).unwrap();
            assert_eq!(format!("{record:?}"), format!("{back:?}"));
        }
    }
}
