//! Compressed messages: `permessage-deflate`, RFC 7692, without context takeover
//! in either direction. So every message stands for itself: nothing is kept of it
//! once it has passed, one inflater and one deflater serve all connections of a
//! thread, and what is compressed once can be sent to many.
//!
//! | item | does |
//! |---|---|
//! | [`agree`] | reads what a client offers, and says what is answered |
//! | [`Intake`] | looks at a client's bytes; compressed messages leave it as plain frames |
//! | [`Inflater`] | inflates one message within a bound |
//! | [`Deflater`] | compresses one message |

mod deflater;
mod inflater;
mod intake;
mod message;
mod offer;

pub use deflater::Deflater;
pub use inflater::{InflateError, Inflater};
pub use intake::{Intake, IntakeError, Passed};
pub use message::Packed;
pub use offer::{Agreed, NAME, agree};

/// What a sync flush ends with: an empty block without compression. It is taken off
/// each message, and put there again before it is inflated (sections 7.2.1, 7.2.2).
const FLUSHED: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

#[cfg(test)]
mod tests;
