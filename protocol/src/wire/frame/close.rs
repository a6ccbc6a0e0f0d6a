//! The payload of close frames.

use super::{MAX_CONTROL_PAYLOAD, Utf8Error};

/// Why a close frame's payload is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloseError {
    /// One byte: too short for a code (RFC 6455 section 5.5.1).
    #[error("a close frame with one byte has no room for its code")]
    Truncated,
    /// More than 125 bytes (section 5.5).
    #[error("a control frame carries at most 125 bytes")]
    TooLong,
    /// A code that must not be sent, or that nobody has defined
    /// (section 7.4).
    #[error("close code {0} must not be sent")]
    InvalidCode(u16),
    /// The reason is not UTF-8 (section 5.5.1).
    #[error("the close reason is not valid UTF-8")]
    InvalidUtf8,
}

impl CloseError {
    /// The close code to answer with: 1007 for a reason that is not UTF-8,
    /// else 1002.
    #[must_use]
    pub const fn close_code(&self) -> u16 {
        match self {
            Self::InvalidUtf8 => 1007,
            _ => 1002,
        }
    }

    /// A stable word for counters and logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated => "close_truncated",
            Self::TooLong => "control_too_long",
            Self::InvalidCode(_) => "close_code_invalid",
            Self::InvalidUtf8 => "invalid_utf8",
        }
    }
}

impl From<Utf8Error> for CloseError {
    fn from(_: Utf8Error) -> Self {
        Self::InvalidUtf8
    }
}

/// What a close frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// The status code; `None` when the payload was empty (section 7.1.5 calls
    /// that 1005).
    pub code: Option<u16>,
    /// The reason, at most 123 bytes, often empty. Written by the peer: treat
    /// as untrusted text.
    pub reason: &'a str,
}

impl<'a> CloseFrame<'a> {
    /// Reads and checks the unmasked payload of a close frame.
    ///
    /// # Errors
    /// See [`CloseError`]; answer with its
    /// [`close_code`](CloseError::close_code).
    pub fn parse(payload: &'a [u8]) -> Result<Self, CloseError> {
        if payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(CloseError::TooLong);
        }
        let (code, reason) = match *payload {
            [] => {
                return Ok(Self { code: None, reason: "" });
            }
            [_] => return Err(CloseError::Truncated),
            [high, low, ref reason @ ..] => (u16::from_be_bytes([high, low]), reason),
        };
        if !is_valid_close_code(code) {
            return Err(CloseError::InvalidCode(code));
        }
        let reason = std::str::from_utf8(reason).map_err(|_| CloseError::InvalidUtf8)?;
        Ok(Self { code: Some(code), reason })
    }
}

/// Whether an endpoint may put `code` into a close frame (RFC 6455 section
/// 7.4 and the registry of section 11.7, which since added 1012 to 1014):
/// 1000 to 1003, 1007 to 1014, 3000 to 4999.
#[must_use]
pub const fn is_valid_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
