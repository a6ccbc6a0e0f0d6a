//! What a backend is told: the events of the webhooks, their ids, and their JSON.
//! docs/webhooks.md shows each.

use std::sync::Arc;

use hubbub_protocol::{
    id::{RoomName, SessionId, UserId},
    record::{Body, Stored},
    timestamp::Timestamp,
};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::cluster::node_id;

/// What happened, as `webhooks.events` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HookKind {
    /// `session.opened`
    SessionOpened,
    /// `session.closed`
    SessionClosed,
    /// `member.joined`
    MemberJoined,
    /// `member.left`
    MemberLeft,
    /// `room.occupied`
    RoomOccupied,
    /// `room.vacated`
    RoomVacated,
    /// `message.published`
    MessagePublished,
}

impl HookKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::SessionOpened,
        Self::SessionClosed,
        Self::MemberJoined,
        Self::MemberLeft,
        Self::RoomOccupied,
        Self::RoomVacated,
        Self::MessagePublished,
    ];

    /// The name in `type` and in `webhooks.events`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionOpened => "session.opened",
            Self::SessionClosed => "session.closed",
            Self::MemberJoined => "member.joined",
            Self::MemberLeft => "member.left",
            Self::RoomOccupied => "room.occupied",
            Self::RoomVacated => "room.vacated",
            Self::MessagePublished => "message.published",
        }
    }

    /// The kind of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookKinds(u8);

impl HookKinds {
    /// Whether a kind is in it.
    pub const fn has(self, kind: HookKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Whether the ends of sessions have to be known.
    pub const fn sessions(self) -> bool {
        self.has(HookKind::SessionOpened) || self.has(HookKind::SessionClosed)
    }

    /// Whether it has to be known who is in which room.
    pub const fn rooms(self) -> bool {
        self.has(HookKind::MemberJoined)
            || self.has(HookKind::MemberLeft)
            || self.has(HookKind::RoomOccupied)
            || self.has(HookKind::RoomVacated)
    }
}

impl FromIterator<HookKind> for HookKinds {
    fn from_iter<I: IntoIterator<Item = HookKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | 1 << kind as u8))
    }
}

/// A session as the backend knows it. A session that comes back to the hub with the
/// id it had opens again; each opening has an end of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSession {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// The display name.
    pub username: Option<Arc<str>>,
    /// The start of a node that it is on: `<node id>#<8 hexadecimal digits>`.
    pub instance: Arc<str>,
    /// When it opened there, milliseconds since 1970.
    pub opened: u64,
}

/// What happened, with what is known of it.
#[derive(Clone, Debug)]
pub enum HookBody {
    /// A session opened, or is there again after its node had been given up.
    SessionOpened {
        /// Which.
        session: HookSession,
        /// The wire that it speaks.
        wire: &'static str,
        /// Its node had been given up, and its end told.
        again: bool,
    },
    /// A session closed.
    SessionClosed {
        /// Which.
        session: HookSession,
        /// Why: docs/webhooks.md lists the words.
        reason: &'static str,
    },
    /// A user is a member of a room with the first session on any node.
    MemberJoined(HookMember),
    /// A user has no session in the room any more, on no node, and its grace is over.
    MemberLeft(HookMember),
    /// A room has its first member.
    RoomOccupied(RoomName),
    /// A room has no member any more.
    RoomVacated(RoomName),
    /// A durable publish is stored.
    MessagePublished {
        /// What.
        stored: Box<Stored>,
        /// The node that took it.
        node: Arc<str>,
    },
}

/// A user in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookMember {
    /// Where.
    pub room: RoomName,
    /// Who.
    pub user: UserId,
    /// The display name.
    pub username: Option<Arc<str>>,
}

/// One event on its way to the backend.
#[derive(Clone, Debug)]
pub struct HookEvent {
    /// The same however often it is told, and whichever node tells it.
    pub id: Uuid,
    /// When it happened, milliseconds since 1970.
    pub at: u64,
    /// What happened.
    pub body: HookBody,
}

/// Under which derived ids are made (RFC 9562, section 5.5).
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_52d0_3b7e_4c5a_9d41_8be2_70c9_a3f4);
/// The reason of a session whose node was killed or lost.
pub const NODE_LOST: &str = "node_lost";

/// An id that every node makes of the same parts, none of which has a line break.
fn derived(kind: HookKind, parts: [&str; 3]) -> Uuid {
    let [a, b, c] = parts;
    Uuid::new_v5(&NAMESPACE, format!("{}\n{a}\n{b}\n{c}", kind.as_str()).as_bytes())
}

impl HookEvent {
    /// A session opened at `session.opened`.
    pub fn opened(session: HookSession, wire: &'static str, again: bool) -> Self {
        let id = session.event_id(HookKind::SessionOpened);
        Self { id, at: session.opened, body: HookBody::SessionOpened { session, wire, again } }
    }

    /// A session closed.
    pub fn closed(session: HookSession, reason: &'static str, at: u64) -> Self {
        let id = session.event_id(HookKind::SessionClosed);
        Self { id, at, body: HookBody::SessionClosed { session, reason } }
    }

    /// Something of a room. `cause` is what every node that tells it knows it by; none
    /// if no other one does.
    pub fn of_room(body: HookBody, at: u64, cause: Option<&str>) -> Self {
        let event = Self { id: Uuid::nil(), at, body };
        let (room, user) = match &event.body {
            HookBody::MemberJoined(member) | HookBody::MemberLeft(member) => {
                (member.room.as_str(), member.user.as_str())
            }
            HookBody::RoomOccupied(room) | HookBody::RoomVacated(room) => (room.as_str(), ""),
            _ => ("", ""),
        };
        let id = match cause {
            Some(cause) => derived(event.kind(), [cause, room, user]),
            None => Uuid::now_v7(),
        };
        Self { id, ..event }
    }

    /// A publish is stored.
    pub fn published(stored: Stored, node: Arc<str>) -> Self {
        Self {
            id: stored.record.id.0,
            at: stored.record.timestamp.0,
            body: HookBody::MessagePublished { stored: Box::new(stored), node },
        }
    }

    /// What it is.
    pub const fn kind(&self) -> HookKind {
        match self.body {
            HookBody::SessionOpened { .. } => HookKind::SessionOpened,
            HookBody::SessionClosed { .. } => HookKind::SessionClosed,
            HookBody::MemberJoined(_) => HookKind::MemberJoined,
            HookBody::MemberLeft(_) => HookKind::MemberLeft,
            HookBody::RoomOccupied(_) => HookKind::RoomOccupied,
            HookBody::RoomVacated(_) => HookKind::RoomVacated,
            HookBody::MessagePublished { .. } => HookKind::MessagePublished,
        }
    }

    /// About how many bytes it has in memory.
    pub fn weight(&self) -> usize {
        const REST: usize = 512;
        match &self.body {
            HookBody::MessagePublished { stored, .. } => REST + stored.record.body.len(),
            _ => REST,
        }
    }

    /// The JSON object, without its number in the queue.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let data = match &self.body {
            HookBody::SessionOpened { session, wire, again } => {
                Data::Opened(Opened { session: Whose::of(session), wire, again: *again })
            }
            HookBody::SessionClosed { session, reason } => Data::Closed(Closed {
                session: Whose::of(session),
                opened_at: Timestamp(session.opened),
                duration_ms: self.at.saturating_sub(session.opened),
                reason,
            }),
            HookBody::MemberJoined(m) | HookBody::MemberLeft(m) => Data::Member(Member {
                room_id: &m.room,
                user_id: &m.user,
                username: m.username.as_deref(),
            }),
            HookBody::RoomOccupied(room_id) | HookBody::RoomVacated(room_id) => {
                Data::Room(Room { room_id })
            }
            HookBody::MessagePublished { stored, node } => {
                Data::Message(Box::new(Message::of(stored, node)))
            }
        };
        let (id, kind) = (self.id, self.kind().as_str());
        serde_json::to_string(&Envelope { id, kind, timestamp: Timestamp(self.at), data })
    }
}

impl HookSession {
    fn event_id(&self, kind: HookKind) -> Uuid {
        derived(kind, [&self.id.to_string(), &self.instance, &self.opened.to_string()])
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    id: Uuid,
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Opened(Opened<'a>),
    Closed(Closed<'a>),
    Member(Member<'a>),
    Room(Room<'a>),
    Message(Box<Message<'a>>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whose<'a> {
    session_id: SessionId,
    user_id: &'a UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    node_id: &'a str,
}

impl<'a> Whose<'a> {
    fn of(session: &'a HookSession) -> Self {
        Self {
            session_id: session.id,
            user_id: &session.user,
            username: session.username.as_deref(),
            node_id: node_id(&session.instance),
        }
    }
}

#[derive(Serialize)]
struct Opened<'a> {
    #[serde(flatten)]
    session: Whose<'a>,
    wire: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    again: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Closed<'a> {
    #[serde(flatten)]
    session: Whose<'a>,
    opened_at: Timestamp,
    duration_ms: u64,
    reason: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Member<'a> {
    room_id: &'a RoomName,
    user_id: &'a UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Room<'a> {
    room_id: &'a RoomName,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    message_id: Uuid,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<&'a RoomName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    epoch: String,
    offset: u64,
    node_id: &'a str,
}

impl<'a> Message<'a> {
    fn of(stored: &'a Stored, node: &'a str) -> Self {
        let record = &stored.record;
        let (kind, name, content, data) = match &record.body {
            Body::Message { content, data } => ("message", None, Some(&**content), data),
            Body::Direct { content, data } => ("direct", None, Some(&**content), data),
            Body::Event { name, data } => ("event", Some(&**name), None, data),
        };
        let to_user_id = record.room.personal_user();
        Self {
            message_id: record.id.0,
            kind,
            room_id: to_user_id.is_none().then_some(&record.room),
            to_user_id,
            user_id: record.user.as_ref(),
            username: record.username.as_deref(),
            name,
            content,
            data: data.as_deref(),
            epoch: stored.position.epoch.to_string(),
            offset: stored.position.offset,
            node_id: node,
        }
    }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
