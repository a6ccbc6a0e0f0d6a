//! The port for what survives a connection: who a session is, its rooms, and where
//! it stood when it joined them. Kept as it changes, so that nothing has to happen
//! at the end: a session whose node was killed comes back like any other.
//!
//! Positions are not written per message. Clients carry them: the JSON wire in
//! `resume`, Socket.IO in the offset of its events (`hubbub_protocol::recovery`);
//! the store only knows where each room was joined.
//!
//! Implementations are beside this file: [`crate::memory`] and [`crate::embedded`].

use std::sync::Arc;

use hubbub_protocol::{
    id::{RoomName, SessionId, UserId},
    position::Position,
};

use crate::ports::{PortFuture, StoreError};

/// Whose a kept session is, and how it is spoken to. Never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptIdentity {
    /// The session.
    pub id: SessionId,
    /// The user that the token named.
    pub user: UserId,
    /// What besides the id proves that a client is the one: part of Socket.IO's `pid`.
    pub secret: u64,
    /// The wire, and on Socket.IO the namespace: `json`, or a name that begins with `/`.
    pub wire: Box<str>,
    /// The vocabulary.
    pub vocabulary: Box<str>,
}

/// A room of a kept session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRoom {
    /// Its number within the session, never used again by another room.
    pub slot: u16,
    /// The room.
    pub room: RoomName,
    /// Where the session stood when it was told that it is a member.
    pub base: Base,
}

/// From where on a session hears a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// From a position.
    At(Position),
    /// From the beginning: the room had no history yet.
    Start,
    /// Not to be said: only what the client brings counts.
    Unknown,
}

/// From where a member that comes back hears a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HearFrom {
    /// After a position.
    At(Position),
    /// From the beginning of a history that there is not yet.
    Start,
}

/// Which connection a session is on: fences off what an older one still does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(pub u64);

impl Owner {
    /// A new one.
    pub fn fresh() -> Self {
        // SQLite has signed numbers only.
        Self(rand::random::<u64>() >> 1)
    }
}

/// A session as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSession {
    /// Whose it is.
    pub identity: KeptIdentity,
    /// Its rooms, in the order of their slots, the user's personal one among them.
    pub rooms: Vec<KeptRoom>,
}

/// The bounds of a session store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionStoreConfig {
    /// How long a session is kept once its connection is lost, in milliseconds
    /// (`session.recovery_ms`).
    pub recovery_ms: u64,
    /// Most sessions that are kept, connected or not; beyond it, the one that was
    /// lost first makes room, and without any a new one is not kept.
    pub max_sessions: usize,
}

/// A future that says whether the caller still owned the session. If not, nothing
/// was changed: the session is on another connection now, or is not kept.
pub type Owned = PortFuture<Result<bool, StoreError>>;

/// Told that a session goes on elsewhere, with the owner it had here. Called from any
/// thread; must be quick.
pub type SessionReplaced = Arc<dyn Fn(SessionId, Owner) + Send + Sync>;

/// Keeps sessions.
///
/// Calls take effect in the order in which they are made, whether or not their
/// futures are awaited; a future that is ready means that the change survives
/// whatever the store is made to survive.
pub trait SessionStore: Send + Sync + 'static {
    /// Keeps a session that begins, without rooms.
    fn open(&self, identity: KeptIdentity, owner: Owner) -> Owned;

    /// Keeps a room that the session is about to be a member of, or where it stands
    /// in one anew.
    fn join(&self, session: SessionId, owner: Owner, room: KeptRoom) -> Owned;

    /// Forgets a room.
    fn leave(&self, session: SessionId, owner: Owner, room: &RoomName) -> Owned;

    /// Whether the caller owns the session. Changes nothing.
    fn owns(&self, session: SessionId, owner: Owner) -> Owned {
        // A room that nobody keeps.
        self.leave(session, owner, &RoomName::everybody())
    }

    /// The connection is lost: from now on the session can come back for
    /// [`SessionStoreConfig::recovery_ms`].
    fn lost(&self, session: SessionId, owner: Owner) -> Owned;

    /// The session is over for good.
    fn ended(&self, session: SessionId, owner: Owner) -> Owned;

    /// Reads a session that can come back; none if it is not kept (any more).
    fn find(&self, session: SessionId) -> PortFuture<Result<Option<KeptSession>, StoreError>>;

    /// A user has got the direct messages up to a position: no later session of the
    /// user is told them. Kept at least as long as the messages themselves are.
    fn told(&self, user: &UserId, position: Position) -> PortFuture<Result<(), StoreError>>;

    /// Up to where a user has got the direct messages.
    fn told_up_to(&self, user: &UserId) -> PortFuture<Result<Option<Position>, StoreError>>;

    /// Has whoever claims a session elsewhere tell it here, so that the older
    /// connection is closed. A store of one process has nobody elsewhere.
    fn on_replaced(&self, replaced: SessionReplaced) {
        let _ = replaced;
    }

    /// Takes a session over: from now on only `owner` may change it. Of two who try,
    /// the later one has it. As [`find`](Self::find) otherwise.
    fn claim(
        &self,
        session: SessionId,
        owner: Owner,
    ) -> PortFuture<Result<Option<KeptSession>, StoreError>>;
}
