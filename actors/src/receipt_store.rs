//! The port for receipts: how far each user has got and read a room. One position
//! per room and user, whatever the number of messages and of the user's sessions.
//!
//! Implementations: [`crate::memory::receipts`], [`crate::embedded`] and
//! [`crate::redis::receipts`]. docs/decisions/0015 says why they are kept there.

use hubbub_protocol::{
    id::{RoomName, UserId},
    position::{Epoch, Position},
};

use crate::ports::{PortFuture, StoreError};

/// How far a user is in a room. What is read is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// A client of the user has everything up to this offset; 0: nothing is known.
    pub delivered: u64,
    /// The user has read everything up to this offset; 0: nothing is known.
    pub read: u64,
}

impl Progress {
    /// A client has everything up to an offset.
    pub fn delivered(offset: u64) -> Self {
        Self { delivered: offset, read: 0 }
    }

    /// The user has read everything up to an offset.
    pub fn read(offset: u64) -> Self {
        Self { delivered: offset, read: offset }
    }

    /// No further than an offset.
    pub fn at_most(self, offset: u64) -> Self {
        Self { delivered: self.delivered.min(offset), read: self.read.min(offset) }
    }

    /// As far as either is.
    pub fn max(self, other: Self) -> Self {
        Self { delivered: self.delivered.max(other.delivered), read: self.read.max(other.read) }
    }
}

/// A user who is further than was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rise {
    /// Who.
    pub user: UserId,
    /// What was known.
    pub before: Progress,
    /// What is known now.
    pub now: Progress,
}

/// What became of the news of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advanced {
    /// Those that were news, in the order asked. What is known already, or is older, is
    /// passed over.
    pub rises: Vec<Rise>,
    /// Users who are not kept: the room has as many as it may.
    pub untracked: usize,
}

/// What is kept of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomReceipts {
    /// Sorted by user.
    pub users: Vec<(UserId, Progress)>,
    /// Whether there is room for no more users, so that others may be further than
    /// this says.
    pub full: bool,
}

/// The bounds of a receipt store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiptStoreConfig {
    /// Users kept of each room (`receipts.max_members`). Those who come first stay; others
    /// are not kept as long as the room's receipts are.
    pub max_members: usize,
    /// Rooms kept in memory; the one that had no news for longest makes room.
    pub max_rooms: usize,
    /// How long a room without news is kept, in milliseconds (`history.ttl_ms`): its
    /// messages are gone by then.
    pub ttl_ms: u64,
}

/// Keeps receipts.
pub trait ReceiptStore: Send + Sync + 'static {
    /// Takes news of users of a room whose history has an epoch, at most one of each
    /// user. A position never goes back. Nothing is kept for an epoch that is not the
    /// room's (any more).
    fn advance(
        &self,
        room: &RoomName,
        epoch: Epoch,
        news: Vec<(UserId, Progress)>,
    ) -> PortFuture<Result<Advanced, StoreError>>;

    /// What is kept of a room, if its epoch is that of `head`; else nothing.
    fn of_room(
        &self,
        room: &RoomName,
        head: Position,
    ) -> PortFuture<Result<RoomReceipts, StoreError>>;
}
