//! What actors tell each other. Each says who sends it, who gets it, and what
//! happens when the receiver is full.

use std::{sync::Arc, time::Instant};

use actix::Message;
use hubbub_protocol::{
    event::{Event, MemberList, ReplyId, Status},
    id::{RoomName, SessionId, UserId},
    position::Position,
    record::{Body, Stored},
    timestamp::Timestamp,
    wire::FormatId,
};
use tokio::sync::oneshot;

use crate::{
    ports::{Broadcast, Page},
    receipt_store::Progress,
    session::{Connection, SessionHandle},
    session_store::{HearFrom, Owner},
};

/// A session to the room server of its worker.
///
/// `Attach` and `Detach` are sent whatever waits (their number is bounded by the
/// sessions); for the others a full mailbox is answered with `unavailable`.
#[derive(Message)]
#[rtype(result = "()")]
pub enum RoomRequest {
    /// The session opened.
    Attach(Arc<SessionHandle>),
    /// The session closed: forget it.
    Detach(Arc<SessionHandle>),
    /// Become a member; the room was authorized.
    Join {
        /// Who.
        session: Arc<SessionHandle>,
        /// Where.
        room: RoomName,
        /// What the client has seen.
        since: Option<Position>,
        /// Where the answer goes.
        reply: ReplyId,
    },
    /// Stop being a member.
    Leave {
        /// Who.
        session: Arc<SessionHandle>,
        /// Where.
        room: RoomName,
        /// Where the answer goes.
        reply: ReplyId,
    },
    /// Store and broadcast; the session may publish to the room.
    Publish {
        /// Who.
        session: Arc<SessionHandle>,
        /// Where.
        room: RoomName,
        /// What.
        body: Body,
        /// Its idempotency key.
        key: Option<Box<str>>,
        /// Where the answer goes.
        reply: ReplyId,
        /// When the frame was read.
        taken: Instant,
    },
    /// Broadcast without storing; the session may publish to the room.
    Emit {
        /// Who.
        session: Arc<SessionHandle>,
        /// Where.
        room: RoomName,
        /// What.
        event: Arc<Event>,
        /// Whether the sender gets it too.
        echo: bool,
        /// Where the answer goes.
        reply: ReplyId,
    },
    /// A member's client has, or its user has read, a room up to an offset; receipts
    /// are kept for its vocabulary.
    Progress {
        /// Who.
        session: Arc<SessionHandle>,
        /// Where.
        room: RoomName,
        /// How far.
        progress: Progress,
        /// Where the answer goes.
        reply: ReplyId,
    },
    /// The session comes back: attach it if it is new here, and make it a member of
    /// the rooms again, each from where it stands on.
    Restore {
        /// Who.
        session: Arc<SessionHandle>,
        /// Where; they were authorized anew.
        rooms: Vec<(RoomName, HearFrom)>,
    },
    /// For the presence tracker, in order with the above.
    Presence(PresenceUpdate),
}

/// The transport and the session to the heart of their worker: a connection
/// opened, or its times changed. Sent whatever waits; bounded by the connections
/// and the tokens they bring.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Watch {
    /// The connection; its end is noticed by itself.
    pub connection: Arc<Connection>,
    /// The format in which it is told that its token ends.
    pub format: FormatId,
}

/// The relay to the room server of each worker that has members for it. Its
/// backlog is bounded by refusing publishes ([`Relay::is_congested`](crate::relay::Relay::is_congested)).
#[derive(Message)]
#[rtype(result = "()")]
pub enum RoomDelivery {
    /// Records in the order of their offsets.
    Stored(Vec<Arc<Stored>>),
    /// Something volatile.
    Broadcast(Broadcast),
    /// Messages of a room are lost: where it stands now, and its newest ones.
    Reset(RoomName, Arc<Page>),
    /// The other nodes cannot be reached: tell every session so.
    Away,
}

/// A session that comes back to the room servers: an older connection of it is closed
/// with 4409 and forgotten.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Replace {
    /// The session.
    pub session: SessionId,
    /// Only if the connection is under this owner.
    pub owner: Option<Owner>,
}

/// Operators and the drain to a room server: the sessions of its worker.
#[derive(Message)]
#[rtype(result = "Vec<Arc<SessionHandle>>")]
pub struct GetSessions;

/// A room server to the presence tracker, in order, whatever waits (bounded by
/// the sessions and their rates).
pub enum PresenceUpdate {
    /// A session opened.
    Opened(Arc<SessionHandle>),
    /// A session closed; the rooms it was in.
    Closed(Arc<SessionHandle>, Vec<RoomName>),
    /// A session became a member.
    MemberJoined {
        /// Who.
        session: Arc<SessionHandle>,
        /// Where.
        room: RoomName,
        /// Gets who is there, with the new member.
        answer: oneshot::Sender<MembersPage>,
    },
    /// A session left a room by its own wish.
    MemberLeft(Arc<SessionHandle>, RoomName),
    /// A session's user said what it is.
    SetStatus(Arc<SessionHandle>, Status),
    /// A member types or stopped.
    SetTyping(Arc<SessionHandle>, RoomName, bool),
    /// Panics inside the tracker (fault injection).
    Panic,
}

impl Message for PresenceUpdate {
    type Result = ();
}

/// A page of a room's members.
#[derive(Clone, Debug, Default)]
pub struct MembersPage {
    /// Sorted by user id.
    pub members: Arc<MemberList>,
    /// How many users are members in all.
    pub count: usize,
    /// Whether more follow.
    pub has_more: bool,
}

/// Sessions and HTTP to the presence tracker: a page of a room's members.
#[derive(Message)]
#[rtype(result = "MembersPage")]
pub struct GetMembers {
    /// The room.
    pub room: RoomName,
    /// Only users after this one.
    pub after: Option<UserId>,
    /// At most so many.
    pub limit: usize,
}

/// HTTP to the presence tracker: what is known of a user.
#[derive(Message)]
#[rtype(result = "Option<UserInfo>")]
pub struct GetUser(pub UserId);

/// What is known of a user.
#[derive(Clone, Debug)]
pub struct UserInfo {
    /// Shown status.
    pub status: Status,
    /// The display name.
    pub username: Option<Arc<str>>,
    /// The sessions on this node.
    pub sessions: Vec<Arc<SessionHandle>>,
    /// Those on other nodes.
    pub elsewhere: Vec<SessionId>,
    /// The rooms, sorted, on all nodes.
    pub rooms: Vec<RoomName>,
    /// Since when the status is shown.
    pub since: Timestamp,
}

/// HTTP to the presence tracker: a page of rooms with a member.
#[derive(Message)]
#[rtype(result = "RoomsPage")]
pub struct GetRooms {
    /// Only rooms after this one.
    pub after: Option<RoomName>,
    /// At most so many.
    pub limit: usize,
}

/// A page of rooms.
#[derive(Clone, Debug, Default)]
pub struct RoomsPage {
    /// Sorted by name, with the number of users in each.
    pub rooms: Vec<(RoomName, usize)>,
    /// How many rooms have a member.
    pub count: usize,
}

/// HTTP to the presence tracker: closes all sessions of a user with 4403 and
/// says how many.
#[derive(Message)]
#[rtype(result = "usize")]
pub struct CloseUser(pub UserId);

/// HTTP to the presence tracker: how many users there are, on all nodes and on this
/// one.
#[derive(Message)]
#[rtype(result = "(usize, usize)")]
pub struct CountUsers;

impl std::fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "session {}", SessionId(self.id.0))
    }
}
