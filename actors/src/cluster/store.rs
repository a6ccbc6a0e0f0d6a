//! The port of cluster presence. A store keeps, for each node that lives, what the
//! node holds of its users, and one log of all changes in one order.
//!
//! A node is known there by its instance: its id, `#`, and a number that is new at
//! each start. So a node that comes back is another one, and what it held before is
//! swept when the lease of that one ends.

use std::{net::IpAddr, sync::Arc};

use hubbub_protocol::id::UserId;
use tokio::sync::Notify;

use super::Share;
use crate::ports::PortFuture;

/// An instance of a node: `<node id>#<8 hexadecimal digits>`.
pub type Instance = Arc<str>;

/// The store did not do it, or it is not known whether it did. The text is for logs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Away(pub String);

/// What a call of the store gives.
pub type Asked<T> = PortFuture<Result<T, Away>>;

/// A place in the log. What stands there tells whether it is still the same log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anchor {
    /// The entry.
    pub id: String,
    /// What its writer put there, unlike any other.
    pub nonce: String,
}

/// A node as the store lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The node.
    pub instance: Instance,
    /// Whether the store has all that the node holds; if not it is being told.
    pub complete: bool,
}

/// A node has (again) a lease.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Whether the store knew nothing of it: all of it has to be told.
    pub fresh: bool,
    /// Where the log stood.
    pub anchor: Anchor,
    /// All nodes, with this one.
    pub nodes: Vec<Listed>,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its place in the log, which begins with its time in milliseconds since 1970.
    pub id: String,
    /// The node it is about.
    pub instance: Instance,
    /// The node that wrote it: another one if that has swept up after the first.
    pub by: Instance,
    /// What happened.
    pub entry: Entry,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The node begins to tell what it holds; the store had nothing of it.
    Announcing,
    /// It has told all.
    Announced,
    /// What it holds of some users now; none: nothing any more.
    Users(Vec<(UserId, Option<Share>)>),
    /// It holds nothing any more and is not there.
    Gone,
    /// Every session of a user is to be closed; until then (milliseconds since 1970,
    /// 0: at once over) the user may not come back.
    SendAway(UserId, u64),
    /// Connections that it has from some addresses; 0: none worth telling.
    Addresses(Vec<(IpAddr, u32)>),
    /// Something of a later version, or that concerns nobody.
    Other,
}

/// What the log had to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// What came after the anchor, in order; the last one is the new anchor.
    Entries(Vec<Logged>, Anchor),
    /// The log is another one, or what came next is not kept any more.
    Lost,
}

/// How a renewal went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease is renewed; these are all nodes.
    Renewed(Vec<Beat>),
    /// The store does not know the node: it was swept, or the store lost its data.
    Unknown,
}

/// A node as it last showed itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// The node.
    pub instance: Instance,
    /// What it says of itself, JSON.
    pub says: String,
    /// Whether its lease still runs.
    pub alive: bool,
}

/// How a step of sweeping went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    /// So many users were taken away; there are more.
    Some(usize),
    /// The node is gone from the store; the number of the last users.
    All(usize),
    /// Another node does it.
    Busy,
    /// The node's lease runs again.
    Alive,
}

/// The store between the nodes. Every call is atomic; changes of one instance are
/// taken in the order they were made, and an old one that arrives late is dropped.
pub trait PresenceStore: Send + Sync + 'static {
    /// Takes or keeps the lease of this node, for `lease_ms`.
    fn join(&self, says: String) -> Asked<Joined>;

    /// Tells what this node holds of some users now, at most 200.
    fn write(&self, users: Vec<(UserId, Option<Share>)>) -> Asked<Renewed>;

    /// All that this node holds was told.
    fn announced(&self) -> Asked<Renewed>;

    /// Renews the lease; gives all nodes.
    fn renew(&self, says: String) -> Asked<Renewal>;

    /// This node ends: its lease lasts `grace_ms` more.
    fn retire(&self, grace_ms: u64) -> Asked<()>;

    /// Takes away some users of a node whose lease is over.
    fn sweep(&self, dead: Instance) -> Asked<Swept>;

    /// What the log has after a place, at most some hundred users' changes.
    fn read(&self, after: Anchor) -> Asked<Read>;

    /// Some users of a node, from a cursor on (`0` at first); the next cursor is `0`
    /// when there are no more. Users that change meanwhile may be missed or come
    /// twice; the log tells of them.
    fn scan(&self, node: Instance, cursor: String) -> Asked<(String, Vec<(UserId, Share)>)>;

    /// What every node holds of a user.
    fn find(&self, user: UserId) -> Asked<Vec<(Instance, Share)>>;

    /// Has every node close the sessions of a user and, if `until` lies ahead, keep
    /// the user away until then.
    fn send_away(&self, user: UserId, until: u64) -> Asked<()>;

    /// Who is kept away, with the end.
    fn bans(&self) -> Asked<Vec<(UserId, u64)>>;

    /// Tells connections from addresses.
    fn addresses(&self, counts: Vec<(IpAddr, u32)>) -> Asked<Renewed>;

    /// What a node told of addresses.
    fn scan_addresses(&self, node: Instance) -> Asked<Vec<(IpAddr, u32)>>;

    /// The number of the connection to the store; none before the first. A new one
    /// means that what was written last may be lost.
    fn connection(&self) -> Option<u64>;

    /// Is notified when the log may have something new.
    fn wake(&self) -> Arc<Notify>;
}

/// Whether the store still knew the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// It did.
    Known,
    /// It did not: nothing was done.
    Unknown,
}
