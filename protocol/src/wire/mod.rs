//! The wires: how events become frames and frames become requests.
//!
//! Every codec is a pure function or a small state machine that is fed bytes
//! and answers packets: no socket, no runtime, no clock, and no memory beyond
//! the bound it was given.
//!
//! | module | speaks |
//! |---|---|
//! | [`frame`] | WebSocket frames, RFC 6455 section 5 |
//! | [`deflate`] | compressed messages, RFC 7692 |
//! | [`json`] | the JSON wire: one object per text frame |
//! | [`engineio`] | Engine.IO protocol 4: packets, polling payloads, handshake |
//! | [`socketio`] | Socket.IO protocol 5: packets, attachments, namespaces |
//! | [`mod@format`] | a wire with a vocabulary: what one rendering serves |

pub mod deflate;
pub mod engineio;
pub mod format;
pub mod frame;
pub mod json;
pub mod socketio;

pub use format::{Format, FormatId};
