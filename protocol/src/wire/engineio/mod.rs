//! Engine.IO protocol 4: packets, long-polling payloads and the handshake.
//!
//! | item | does |
//! |---|---|
//! | [`Packet`] | one packet, from and to text |
//! | [`Payload`], [`PayloadWriter`] | many packets in the body of one HTTP request |
//! | [`Handshake`] | the JSON of the open packet |
//! | [`Query`] | the query string of a request, and whether it is acceptable |
//! | [`EngineError`] | the refusals that clients know, with status and body |
//!
//! Over WebSocket each text frame is one packet, and each binary frame one
//! binary message without a prefix. Over polling binary is base64 after a `b`.

mod handshake;
mod packet;
mod payload;
mod query;
mod refusal;

pub use handshake::{Handshake, HandshakeError};
pub use packet::{Packet, PacketError, PacketType};
pub use payload::{Payload, PayloadError, PayloadWriter, SEPARATOR};
pub use query::{Method, Query, Request, Transport, query_pairs};
pub use refusal::EngineError;

/// The protocol revision, the value of the `EIO` query parameter.
pub const PROTOCOL: &str = "4";

/// The first character of a message packet. A Socket.IO packet behind it is
/// the payload of a WebSocket text frame, and a record of a polling payload.
pub const MESSAGE_PREFIX: char = '4';

/// The first character of a binary message inside a polling payload.
pub const BINARY_PREFIX: char = 'b';
