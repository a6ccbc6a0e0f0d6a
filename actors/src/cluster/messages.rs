//! What the sync asks of the presence tracker. It waits for each answer, so that
//! at most one of each is under way.

use std::{collections::HashMap, sync::Arc};

use actix::Message;
use hubbub_protocol::id::UserId;

use super::Share;
use crate::presence_tracker::{Held, NodeIndex};

/// The sync to the tracker: up to so many users whose share of this node changed,
/// with what it holds of each now.
#[derive(Message)]
#[rtype(result = "Vec<(UserId, Option<Share>)>")]
pub struct TakeShares(pub usize);

/// The sync to the tracker: these users are to be told again, and with `all` every
/// user of this node.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TellAgain {
    /// Users that may be held or not.
    pub users: Vec<UserId>,
    /// Whether all that are held are meant too.
    pub all: bool,
}

/// The sync to the tracker: what other nodes hold of some users now.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ApplyShares {
    /// Node, user, and what the node holds of the user.
    pub shares: Vec<(NodeIndex, UserId, Option<Held>)>,
    /// The ids of these nodes.
    pub nodes: HashMap<NodeIndex, Arc<str>>,
}

/// The sync to the tracker: this node was given up by others although it lives, and the
/// backend was told that its sessions are over: they open again.
#[derive(Message)]
#[rtype(result = "()")]
pub struct OpenAgain;

/// The sync to the tracker: the users that another node holds.
#[derive(Message)]
#[rtype(result = "Vec<UserId>")]
pub struct GetUsersOf(pub NodeIndex);
