//! Who acts: sessions, room servers, the presence tracker, and the stores behind
//! their ports. Knows actors and queues, but neither HTTP nor sockets.
//!
//! | module | holds |
//! |---|---|
//! | [`session`] | one actor per connection: reads, decides, asks |
//! | [`room_server`] | one actor per worker: members and fan-out |
//! | [`presence_tracker`] | one actor per node: who is online, where, and types |
//! | [`cluster`] | presence over several nodes |
//! | [`heart`] | one actor per worker: heartbeats, expiry |
//! | [`redis_bridge`] | one actor per node: rooms between nodes |
//! | [`redis`] | the link to Redis between nodes |
//! | [`relay`] | from stores and actors to the room servers |
//! | [`hooks`] | what a backend is told of |
//! | [`ports`] | what is asked of a history and a bus |
//! | [`receipt_store`] | what is asked of a store of receipts |
//! | [`archive`] | messages that are kept for good |
//! | [`memory`], [`embedded`] | histories in memory and in a file |
//! | [`outbound`], [`frame`] | what waits to go out |
//! | [`formats`] | the wires and vocabularies that sessions speak |
//! | [`messages`] | what actors tell each other |
//! | [`spans`] | the way of a message that somebody follows |
//! | [`sessions`] | sessions by id |
//! | [`shared`], [`system`] | what all share, and the one place that wires them |

pub mod archive;
pub mod clock;
pub mod cluster;
mod contain;
#[cfg(test)]
mod contract_tests;
mod drain;
pub mod embedded;
pub mod formats;
pub mod frame;
pub mod heart;
pub mod history;
pub mod hooks;
pub mod marks;
pub mod memory;
pub mod messages;
pub mod metrics;
pub mod outbound;
pub mod ports;
pub mod presence_tracker;
#[cfg(test)]
mod receipt_contract_tests;
pub mod receipt_store;
pub mod redis;
pub mod redis_bridge;
pub mod relay;
pub mod room_server;
pub mod session;
#[cfg(test)]
mod session_contract_tests;
pub mod session_store;
pub mod sessions;
pub mod shared;
pub mod spans;
pub mod system;
