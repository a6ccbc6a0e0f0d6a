//! Redis between the nodes.
//!
//! | file | holds |
//! |---|---|
//! | `address` | the address as the configuration names it |
//! | `error` | what goes wrong, by kind |
//! | `link` | the connections: commands, scripts, the state for readiness and logs |
//! | `connect` | finding the server and opening a connection |
//! | `keys` | the names of keys and channels |
//! | `history` | the history of all nodes, over scripts in `lua/` |
//! | `presence` | presence of the cluster: keys and scripts |
//! | `pattern` | channels of other programs |
//! | `receipts` | how far users have got and read rooms |
//! | `router` | which connection hears which channel |
//! | `sessions` | what survives a connection |
//! | `subscriber` | the channels of one connection, heard again after every reconnection |
//!
//! All of it runs on one thread of its own, named `redis`; see [`RedisLink::spawn`].

pub mod address;
mod connect;
mod error;
pub mod history;
pub mod keys;
mod link;
#[cfg(test)]
mod link_tests;
mod pattern;
pub mod presence;
pub mod receipts;
mod router;
pub mod sessions;
mod subscriber;
#[cfg(test)]
pub(crate) mod test_server;

pub use self::{
    connect::{Replicas, probe},
    error::{LinkError, Trouble},
    link::{LinkConfig, LinkObserver, LinkState, NoLinkObserver, RedisLink, Script},
    router::slot,
    subscriber::Listener,
};
