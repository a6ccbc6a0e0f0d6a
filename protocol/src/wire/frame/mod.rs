//! WebSocket frames (RFC 6455): a guard that reads headers as they arrive, and
//! helpers for what the server sends.
//!
//! | item | does |
//! |---|---|
//! | [`FrameGuard`] | refuses a bad or too large client frame as soon as its header shows |
//! | [`Utf8Checker`] | validates text across fragments and fails at the first impossible byte |
//! | [`CloseFrame`] | parses, checks and writes the payload of a close frame |
//! | [`encode_frame`], [`encode_header`] | unmasked frames from the server |
//!
//! Every error names the close code that RFC 6455 section 7.4.1 asks for.

mod close;
mod encode;
mod guard;
mod utf8;

pub use close::{CloseError, CloseFrame, is_valid_close_code};
pub use encode::{MAX_HEADER_BYTES, encode_close, encode_frame, encode_header};
pub use guard::{FrameError, FrameGuard};
pub use utf8::{Utf8Checker, Utf8Error};

/// Longest payload of a control frame, in bytes (RFC 6455 section 5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// What a frame carries (RFC 6455 section 5.2). The reserved values are not
/// here: a frame that has one is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of the message that is under way.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The close handshake.
    Close = 0x8,
    /// A ping; the peer owes a pong with the same payload.
    Ping = 0x9,
    /// A pong.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode of a header's low four bits; `None` for the reserved values
    /// 0x3 to 0x7 and 0xB to 0xF.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    /// The value on the wire, 0x0 to 0xA.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// Whether this is a control frame: never fragmented, at most
    /// [`MAX_CONTROL_PAYLOAD`] bytes (RFC 6455 section 5.5).
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.bits() & 0x8 != 0
    }
}

#[cfg(test)]
mod tests;
