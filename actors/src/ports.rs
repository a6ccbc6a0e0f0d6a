//! The ports: what the actors ask of a history and of a bus, whichever way they
//! are built. In memory and in an embedded file they live beside this module;
//! a cluster brings one more implementation of each.

use std::{future::Future, pin::Pin, sync::Arc};

use hubbub_protocol::{
    error::{ErrorCode, HubError},
    event::Event,
    id::{MessageId, RoomName, SessionId, UserId},
    position::Position,
    record::{Record, Stored},
};
use tokio::sync::watch;

/// A future that a port returns.
pub type PortFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The queue in front of the store is full: nothing was taken.
    #[error("the history store has more waiting than it may; try again")]
    Full,
    /// The store cannot write or read now, for instance because the disk is full.
    /// The text is for logs, not for clients.
    #[error("the history store failed: {0}")]
    Failed(String),
    /// The store is closing or closed.
    #[error("the history store is closed")]
    Closed,
    /// What was asked for is older than what the store keeps, and may still be on its
    /// way into the archive.
    #[error("the archive is behind what was asked for; try again")]
    Behind,
    /// What was asked for is in the archive, which cannot be read now. The text is
    /// for logs, not for clients.
    #[error("the archive cannot be read: {0}")]
    Archive(String),
    /// The hub keeps as many rooms as it may.
    #[error("the hub keeps as many rooms as it may")]
    TooManyRooms,
}

impl StoreError {
    /// How loud to say it. That the store of a node that ends is closed is no news.
    #[must_use]
    pub const fn level(&self) -> log::Level {
        match self {
            Self::Closed => log::Level::Debug,
            _ => log::Level::Warn,
        }
    }
}

impl From<StoreError> for HubError {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::TooManyRooms => {
                HubError::new(ErrorCode::TooManyRooms, "the hub keeps as many rooms as it may")
            }
            StoreError::Full => {
                HubError::unavailable("too many messages wait to be stored; try again")
            }
            StoreError::Behind | StoreError::Archive(_) => {
                HubError::unavailable("older messages cannot be read right now; try again")
            }
            StoreError::Failed(_) | StoreError::Closed => {
                HubError::unavailable("messages cannot be stored right now; try again")
            }
        }
    }
}

/// What one user's key was used for: makes a publish idempotent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// The publisher; none for a backend that named no user.
    pub user: Option<UserId>,
    /// The client's key, 1 to 128 bytes.
    pub key: Box<str>,
}

/// One durable publish on its way into a store.
pub struct Append {
    /// What to store.
    pub record: Record,
    /// With it, a second append of the same user, room and key within ten minutes
    /// stores nothing and gets the first one's answer.
    pub key: Option<IdempotencyKey>,
    /// Called once, from any thread, after the record is durable and was handed
    /// to the bus, or when it was refused.
    pub done: Done,
}

/// The answer's way back to the publisher.
pub type Done = Box<dyn FnOnce(Result<Appended, StoreError>) + Send>;

/// What an append came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The record's id; of the first one if this was a repetition.
    pub id: MessageId,
    /// Its place in the room's history.
    pub position: Position,
    /// Whether the key was known, so that nothing new was stored.
    pub duplicate: bool,
}

/// Which part of a room's history to read. Pages are always in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// The oldest messages above an offset.
    After(u64),
    /// The newest messages below an offset.
    Before(u64),
    /// The newest messages.
    Newest,
}

/// A page of a room's history.
#[derive(Clone, Debug)]
pub struct Page {
    /// The room's epoch and its newest offset (0 if nothing was ever stored).
    pub head: Position,
    /// The offset of the oldest message still kept; `head.offset + 1` if none is.
    pub oldest: u64,
    /// The same without what is kept for good: the oldest message within the bounds
    /// by number and age. Never below `oldest`.
    pub recent: u64,
    /// Ascending by offset, without holes.
    pub records: Vec<Arc<Stored>>,
    /// Whether more lie beyond this page in the direction that was asked for.
    pub has_more: bool,
}

impl Page {
    /// Drops what does not fit into so many bytes of rendered frames, from the far
    /// end of the range; the first record always stays.
    pub fn fit(mut self, range: Range, max_bytes: usize) -> Self {
        let mut bytes = 0;
        let mut fits = |record: &Arc<Stored>| {
            bytes += record.record.wire_len();
            bytes <= max_bytes
        };
        let kept = match range {
            Range::After(_) => self.records.iter().take_while(|r| fits(r)).count(),
            Range::Before(_) | Range::Newest => {
                self.records.iter().rev().take_while(|r| fits(r)).count()
            }
        };
        let kept = kept.max(1);
        if kept < self.records.len() {
            self.has_more = true;
            match range {
                Range::After(_) => self.records.truncate(kept),
                Range::Before(_) | Range::Newest => {
                    self.records.drain(..self.records.len() - kept);
                }
            }
        }
        self
    }
}

/// Durable, ordered history of rooms.
///
/// Per room, offsets rise by one without holes and the bus gets the records in
/// that order. A record reaches the bus only after it is durable, and before
/// `done` is called.
pub trait History: Send + Sync + 'static {
    /// Takes a publish. Never blocks; if the queue is full `done` is called at
    /// once with [`StoreError::Full`].
    fn append(&self, append: Append);

    /// Where a room's history stands. A room never published to gets an epoch
    /// here and keeps it.
    fn head(&self, room: &RoomName) -> PortFuture<Result<Position, StoreError>>;

    /// Where a room's history stands, without giving one to a room that has none.
    /// An implementation may answer as [`head`](Self::head) does.
    fn peek(&self, room: &RoomName) -> PortFuture<Result<Option<Position>, StoreError>> {
        let head = self.head(room);
        Box::pin(async move { head.await.map(Some) })
    }

    /// Reads a page of at most `limit` records and about
    /// [`MAX_PAGE_BYTES`](hubbub_protocol::limits::MAX_PAGE_BYTES) (always at
    /// least one record if there is one).
    fn read(
        &self,
        room: &RoomName,
        range: Range,
        limit: usize,
    ) -> PortFuture<Result<Page, StoreError>>;

    /// Refuses further appends, stores what was taken, and ends. The future ends
    /// when everything is on disk.
    fn close(&self) -> PortFuture<()>;
}

/// Something every member of a room is told and nobody stores.
#[derive(Clone, Debug)]
pub struct Broadcast {
    /// To whom.
    pub to: Audience,
    /// What.
    pub event: Arc<Event>,
    /// The session that does not get it.
    pub except: Option<SessionId>,
    /// The user none of whose sessions gets it.
    pub except_user: Option<UserId>,
}

/// Who gets a broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The members of one room.
    Room(RoomName),
    /// Every member of any of the rooms, once.
    Rooms(Arc<[RoomName]>),
    /// Every session.
    Everyone,
}

/// Carries stored records from a history to the room servers that have members for
/// them.
pub trait Bus: Send + Sync + 'static {
    /// Hands over records in the order of their offsets, after they are durable.
    fn stored(&self, records: &[Arc<Stored>]);
}

/// What subscribing came to.
pub struct Subscription {
    /// Whether the worker is the first of this node.
    pub first: bool,
    /// What must be waited for until the history may be read and the room heard
    /// without missing anything between; none: nothing.
    pub opening: Option<Opening>,
}

/// A room that is about to be heard.
#[derive(Clone)]
pub struct Opening(watch::Receiver<bool>);

impl Opening {
    /// The sender says `true` once the room is heard, or goes if it is not.
    pub fn new(heard: watch::Receiver<bool>) -> Self {
        Self(heard)
    }

    /// Waits for it; false if it could not be heard in time.
    pub async fn heard(mut self) -> bool {
        self.0.wait_for(|heard| *heard).await.is_ok()
    }
}

/// How far a broadcast got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Some worker, or the way to the other nodes, was too far behind to get it.
    pub congested: bool,
    /// The other nodes were told too, or there are none.
    pub everywhere: bool,
}

/// Connects the room servers: of this process, or of the cluster. On one node the
/// [`Relay`](crate::relay::Relay) is all there is to it; between nodes a bridge
/// stands around the relay, hears the rooms that this node has members in, and
/// passes broadcasts on.
pub trait RoomBus: Send + Sync + 'static {
    /// A worker has its first member in a room.
    fn subscribe(&self, room: &RoomName, worker: usize) -> Subscription;

    /// A worker's last member left a room; says whether it was the last of this
    /// node.
    fn unsubscribe(&self, room: &RoomName, worker: usize) -> bool;

    /// Hands over something volatile, but not to the worker it comes from: at most
    /// once, no order promised between senders. Says how far it got.
    fn broadcast(&self, broadcast: &Broadcast, from: Option<usize>) -> Spread;
}
