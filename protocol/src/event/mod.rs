//! Events: what clients ask of the hub ([`Command`]) and what it tells them
//! ([`Event`]).
//!
//! One file per event holds its request, what the hub tells about it, and their
//! fields. To add one: write its file, add a variant to [`Command`] or
//! [`Event`], and answer every `match` that no longer compiles.

mod auth;
mod custom;
mod direct;
mod fields;
mod history;
mod join;
mod leave;
mod members;
mod message;
mod notification;
mod presence;
mod receipt;
mod reply;
mod resume;
mod session;
mod typing;

use std::sync::Arc;

pub use auth::Auth;
pub use custom::{CustomEvent, EventTarget, PublishEvent};
pub use direct::Direct;
pub use fields::{Fields, Fieldset};
pub use history::History;
pub use join::{Join, Joined};
pub use leave::{Leave, Left};
pub use members::{GetMembers, Member, MemberList};
pub use message::Publish;
pub use notification::Notification;
pub use presence::{PresenceChanged, SetPresence, Status};
pub use receipt::{Delivered, GetReceipts, Read, Receipt, ReceiptStatus, UserReceipts};
pub use reply::Reply;
pub use resume::{Resume, ResumedRoom};
pub use session::{Authenticated, Closing, TokenExpiring};
pub use typing::{SetTyping, Typing};

use crate::record::Stored;

/// What a client asks.
#[derive(Clone, Debug)]
pub enum Command {
    /// Says who it is.
    Auth(Auth),
    /// Becomes a member of a room.
    Join(Join),
    /// Goes on with what an earlier session had.
    Resume(Resume),
    /// Stops being one.
    Leave(Leave),
    /// Publishes a message.
    Publish(Publish),
    /// Writes to one user.
    Direct(Direct),
    /// Starts or stops typing.
    Typing(SetTyping),
    /// Sets the user's own status.
    Presence(SetPresence),
    /// Has read a room up to an offset.
    Read(Read),
    /// Its client has a room's messages up to an offset.
    Delivered(Delivered),
    /// Lists how far users are in a room.
    Receipts(GetReceipts),
    /// Publishes a custom event.
    Event(PublishEvent),
    /// Reads older messages.
    History(History),
    /// Lists the members of a room.
    Members(GetMembers),
    /// Several commands in one frame; each is answered by itself.
    Batch(Vec<Request>),
    /// Asks for a sign of life.
    Ping,
}

/// Where the answer to a request goes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum ReplyId {
    /// The request asked for no answer.
    #[default]
    None,
    /// JSON wire: the request's `id` as it stood there, a JSON string or number.
    Json(Box<str>),
    /// Socket.IO wire: the packet's ack id.
    SocketIo(u64),
}

impl ReplyId {
    /// Whether an answer is expected.
    pub fn is_some(&self) -> bool {
        *self != Self::None
    }
}

/// One request as it came off a wire: it may have been understood or not, and is
/// answered in both cases.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where its answer goes.
    pub reply: ReplyId,
    /// The command, or why there is none.
    pub command: Result<Command, crate::error::HubError>,
}

/// What the hub tells a client unasked, or beside the answer.
#[derive(Clone, Debug)]
pub enum Event {
    /// The session is open.
    Authenticated(Authenticated),
    /// The session is a member of a room.
    Joined(Joined),
    /// The session is no longer one.
    Left(Left),
    /// A stored message, direct message or custom event.
    Stored(Arc<Stored>),
    /// A custom event that is not stored.
    Volatile(CustomEvent),
    /// A user became a member.
    UserJoined(Member),
    /// A user is no longer one.
    UserLeft(Member),
    /// Somebody types.
    Typing(Typing),
    /// A user's presence changed.
    Presence(PresenceChanged),
    /// How far a message's readers are.
    Receipt(Receipt),
    /// A notification for the user.
    Notification(Notification),
    /// The token ends soon.
    TokenExpiring(TokenExpiring),
    /// The hub is about to close the connection.
    Closing(Closing),
    /// The answer to `ping`.
    Pong,
}

/// The kinds of [`Event`] by name; what a vocabulary may rename.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum EventKind {
    Authenticated,
    Joined,
    Left,
    Message,
    Direct,
    Event,
    UserJoined,
    UserLeft,
    Typing,
    Presence,
    Receipt,
    Notification,
    TokenExpiring,
    Closing,
    Pong,
    Ack,
    Error,
}

impl EventKind {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 17] = [
        Self::Authenticated,
        Self::Joined,
        Self::Left,
        Self::Message,
        Self::Direct,
        Self::Event,
        Self::UserJoined,
        Self::UserLeft,
        Self::Typing,
        Self::Presence,
        Self::Receipt,
        Self::Notification,
        Self::TokenExpiring,
        Self::Closing,
        Self::Pong,
        Self::Ack,
        Self::Error,
    ];

    /// The name in the `hubbub` vocabulary.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authenticated => "authenticated",
            Self::Joined => "joined",
            Self::Left => "left",
            Self::Message => "message",
            Self::Direct => "direct",
            Self::Event => "event",
            Self::UserJoined => "user_joined",
            Self::UserLeft => "user_left",
            Self::Typing => "typing",
            Self::Presence => "presence",
            Self::Receipt => "receipt",
            Self::Notification => "notification",
            Self::TokenExpiring => "token_expiring",
            Self::Closing => "closing",
            Self::Pong => "pong",
            Self::Ack => "ack",
            Self::Error => "error",
        }
    }
}

impl Event {
    /// Whether a member who cannot take it may miss it: everything that is
    /// neither stored nor about the session itself.
    pub fn is_volatile(&self) -> bool {
        matches!(
            self,
            Self::Volatile(_)
                | Self::UserJoined(_)
                | Self::UserLeft(_)
                | Self::Typing(_)
                | Self::Presence(_)
                | Self::Receipt(_)
        )
    }

    /// Two waiting events with the same key are one: the newer replaces the
    /// older (typing of one user in one room, presence of one user).
    pub fn conflation_key(&self) -> Option<u64> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        match self {
            Self::Typing(t) => ("t", &t.room, &t.user).hash(&mut hasher),
            Self::Presence(p) => ("p", &p.user).hash(&mut hasher),
            Self::Receipt(r) => ("r", &r.room, &r.user, r.status.as_str()).hash(&mut hasher),
            _ => return None,
        }
        Some(hasher.finish().max(1))
    }
}

impl Fieldset for Event {
    fn kind(&self) -> Option<EventKind> {
        match self {
            Self::Authenticated(_) => Some(EventKind::Authenticated),
            Self::Joined(_) => Some(EventKind::Joined),
            Self::Left(_) => Some(EventKind::Left),
            Self::Stored(e) => e.kind(),
            Self::Volatile(_) => Some(EventKind::Event),
            Self::UserJoined(_) => Some(EventKind::UserJoined),
            Self::UserLeft(_) => Some(EventKind::UserLeft),
            Self::Typing(_) => Some(EventKind::Typing),
            Self::Presence(_) => Some(EventKind::Presence),
            Self::Receipt(_) => Some(EventKind::Receipt),
            Self::Notification(_) => Some(EventKind::Notification),
            Self::TokenExpiring(_) => Some(EventKind::TokenExpiring),
            Self::Closing(_) => Some(EventKind::Closing),
            Self::Pong => Some(EventKind::Pong),
        }
    }

    fn fields(&self, out: &mut dyn Fields) {
        match self {
            Self::Authenticated(e) => e.fields(out),
            Self::Joined(e) => e.fields(out),
            Self::Left(e) => e.fields(out),
            Self::Stored(e) => e.fields(out),
            Self::Volatile(e) => e.fields(out),
            Self::UserJoined(e) | Self::UserLeft(e) => e.announce(out),
            Self::Typing(e) => e.fields(out),
            Self::Presence(e) => e.fields(out),
            Self::Receipt(e) => e.fields(out),
            Self::Notification(e) => e.fields(out),
            Self::TokenExpiring(e) => e.fields(out),
            Self::Closing(e) => e.fields(out),
            Self::Pong => {}
        }
    }
}
