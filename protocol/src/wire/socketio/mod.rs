//! Socket.IO protocol 5: packets, namespaces, acks and binary attachments.
//!
//! | item | does |
//! |---|---|
//! | [`Reassembler`] | text and binary messages in, complete [`Packet`]s out |
//! | [`Packet`], [`Body`] | a packet with its arguments as untouched JSON text |
//! | [`write_event`] and its family | packets as text, rendered once |
//! | [`Attachments`], [`substitute`], [`find_placeholders`] | binary inside JSON |
//! | [`msgpack`] | the same packets as another [`Parser`] writes them |
//!
//! A packet is a text: type digit, attachment count and `-` (binary only),
//! namespace and `,` (unless `/`), ack id, JSON. Binary values are replaced by
//! `{"_placeholder":true,"num":n}` and follow as binary messages, in order.
//! The text travels as an Engine.IO message, see [`engine_frame`].
//!
//! Arguments are never parsed into values here and written again, so numbers
//! beyond 2^53, key order, escapes and duplicate keys pass through as the
//! sender wrote them.

mod attachments;
mod decode;
mod encode;
mod error;
pub mod hubbub;
pub mod msgpack;
mod packet;
mod reassembler;
mod scan;

pub use attachments::{Attachments, substitute};
pub use encode::{
    encode_ack, encode_event, engine_frame, write_ack, write_connect, write_connect_error,
    write_connected, write_disconnect, write_event, write_packet,
};
pub use error::SocketError;
pub use packet::{Body, EventName, Packet, RawJson, is_reserved_event};
pub use reassembler::{Limits, Reassembler};
pub use scan::{Placeholder, find_placeholders};

use serde::{Deserialize, Serialize};

/// How packets are written, on both sides of a connection (`socketio.parser`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parser {
    /// As text, with binary values behind it: what every client speaks by itself.
    #[default]
    Default,
    /// As [`msgpack`]: clients need `parser: require("socket.io-msgpack-parser")`.
    Msgpack,
}

/// The protocol revision.
pub const PROTOCOL: u8 = 5;

/// Most attachments in one packet; stock clients refuse more.
pub const MAX_ATTACHMENTS: usize = 10;

/// The namespace of a packet that names none.
pub const MAIN_NAMESPACE: &str = "/";
