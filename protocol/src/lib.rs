//! What travels: identifiers, positions, events, the wires that frame them and
//! the vocabularies that name them.
//!
//! Nothing here knows a runtime, a socket or a clock; every function is a pure
//! one, so each can be tested and fuzzed without a server.
//!
//! | module | holds |
//! |---|---|
//! | [`id`] | names of rooms, users, sessions, messages |
//! | [`position`] | epoch and offset: where a room's history stands |
//! | [`record`] | what is stored of a message |
//! | [`timestamp`] | milliseconds since 1970 and their RFC 3339 form |
//! | [`traceparent`] | the trace of a message that somebody follows |
//! | [`pattern`] | room patterns of a token (`*`, `?`) |
//! | [`event`] | what clients ask and what the hub tells, one file per event |
//! | [`wire`] | how events become frames |
//! | [`vocabulary`] | names and shapes of events, from TOML |
//! | [`cluster`] | what nodes tell each other |
//! | [`close`], [`error`] | the codes that clients may rely on |
//! | [`limits`] | bounds that hold whatever the configuration says |

pub mod close;
pub mod cluster;
pub mod error;
pub mod event;
pub mod id;
pub mod limits;
pub mod pattern;
pub mod position;
pub mod record;
pub mod recovery;
pub mod timestamp;
pub mod traceparent;
pub mod vocabulary;
pub mod wire;
