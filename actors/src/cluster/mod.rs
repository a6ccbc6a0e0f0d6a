//! Presence over several nodes: each tells what it holds of its users, and merges
//! what the others tell.
//!
//! | file | holds |
//! |---|---|
//! | `share` | what one node holds of one user, as it travels |
//! | `store` | the port: what is asked of the store between the nodes |
//! | `leases` | how long a node counts, and who may sweep up after one (pure) |
//! | `replicas` | what is known of the other nodes' shares (pure) |
//! | `addresses` | connections of an address on all nodes |
//! | `sync` | tells the own changes and follows those of the others |
//! | `keeper` | renews the lease and sweeps up after dead nodes |
//! | `node` | what a node says of itself, and what HTTP asks |

mod addresses;
mod keeper;
pub mod leases;
pub mod messages;
mod metrics;
mod node;
pub mod replicas;
mod share;
pub mod store;
mod sync;

pub use self::{
    metrics::PresenceMetrics,
    node::{ClusterPresence, NodeFigures, NodeRow, NodeState, node_id},
    share::{RemoteSession, Share},
    sync::Started,
};
