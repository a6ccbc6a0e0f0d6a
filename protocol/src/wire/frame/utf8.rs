//! UTF-8 validation that does not wait for the end of the message.

/// The text is not UTF-8 (RFC 6455 section 8.1); close with 1007.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text message is not valid UTF-8")]
pub struct Utf8Error;

impl Utf8Error {
    /// The close code, 1007.
    #[must_use]
    pub const fn close_code(&self) -> u16 {
        1007
    }

    /// A stable word for counters and logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "invalid_utf8"
    }
}

/// Validates the unmasked payload of a text message piece by piece, wherever
/// it was cut, and fails at the first byte that cannot be part of UTF-8.
///
/// Holds at most three bytes: the beginning of a character whose end has not
/// arrived.
#[derive(Debug, Clone, Copy, Default)]
pub struct Utf8Checker {
    pending: [u8; 4],
    len: usize,
}

impl Utf8Checker {
    /// A checker for a fresh message.
    #[must_use]
    pub const fn new() -> Self {
        Self { pending: [0; 4], len: 0 }
    }

    /// Checks the next piece of the message.
    ///
    /// # Errors
    /// [`Utf8Error`] when no continuation could make the text valid.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), Utf8Error> {
        // First finish the character that the last piece left open.
        while self.len > 0 {
            let Some((&byte, rest)) = piece.split_first() else {
                return Ok(());
            };
            self.pending[self.len] = byte;
            self.len += 1;
            piece = rest;
            match std::str::from_utf8(&self.pending[..self.len]) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_some() => return Err(Utf8Error),
                Err(_) => {}
            }
        }
        match std::str::from_utf8(piece) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(Utf8Error),
            Err(error) => {
                let tail = &piece[error.valid_up_to()..];
                self.pending[..tail.len()].copy_from_slice(tail);
                self.len = tail.len();
                Ok(())
            }
        }
    }

    /// Ends the message and makes the checker ready for the next one.
    ///
    /// # Errors
    /// [`Utf8Error`] when the message stops in the middle of a character.
    pub fn finish(&mut self) -> Result<(), Utf8Error> {
        let complete = self.len == 0;
        self.len = 0;
        if complete { Ok(()) } else { Err(Utf8Error) }
    }
}
