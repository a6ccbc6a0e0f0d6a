//! What a client sends, on its way to a decoder that knows nothing of compression.

use bytes::Bytes;

use super::{InflateError, Packed};
use crate::wire::frame::{FrameError, FrameGuard, Opcode};

/// Why a client's bytes are refused; the connection must be closed with
/// [`close_code`](Self::close_code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// A frame breaks a rule.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A compressed message does.
    #[error(transparent)]
    Inflate(#[from] InflateError),
}

impl IntakeError {
    /// The close code.
    #[must_use]
    pub const fn close_code(&self) -> u16 {
        match self {
            Self::Frame(error) => error.close_code(),
            Self::Inflate(error) => error.close_code(),
        }
    }
}

/// What became of some bytes.
#[derive(Debug, Default)]
pub struct Passed {
    /// What the decoder may be given: plain frames, or parts of some.
    pub bytes: Bytes,
    /// How many of the client's bytes were looked at. The others wait: see
    /// [`Intake::take_rest`].
    pub looked: usize,
    /// How many frames have begun and will not come to the decoder, because they are
    /// part of one that will.
    pub joined: u64,
    /// A compressed message ended: its length as it came, and that of its plain frame.
    pub inflated: Option<(usize, usize)>,
    /// Nothing more is to be read: a rule was broken behind `bytes`.
    pub error: Option<IntakeError>,
}

/// Looks at every frame header with a [`FrameGuard`], and makes plain frames of the
/// compressed messages. Beside the guard it holds memory only while a compressed message
/// is under way, or something waits behind one: its payload, within the guard's bound,
/// and the rest of the bytes that it came with.
#[derive(Debug)]
pub struct Intake {
    guard: FrameGuard,
    kept: Option<Box<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    rest: Bytes,
    message: Option<Packed>,
}

impl Intake {
    /// For a connection whose messages may have `max` bytes, compressed and inflated,
    /// with or without compression. What came with the handshake, if anything, is its
    /// first rest.
    #[must_use]
    pub fn new(max: usize, deflate: bool, first: Option<Bytes>) -> Self {
        let kept = first.map(|rest| Box::new(Kept { rest, message: None }));
        Self { guard: FrameGuard::new(max as u64).with_deflate(deflate), kept }
    }

    /// How many frames have begun.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.guard.frames()
    }

    /// The bytes that wait, to be passed before any other, once the decoder has taken
    /// what it was given; none if there are none.
    pub fn take_rest(&mut self) -> Option<Bytes> {
        let kept = self.kept.as_mut()?;
        let rest = std::mem::take(&mut kept.rest);
        if kept.message.is_none() {
            self.kept = None;
        }
        (!rest.is_empty()).then_some(rest)
    }

    /// Looks at the next bytes of the client, up to the end of the first compressed
    /// message among them; what is behind it waits, so that few bytes never become more
    /// than one message at a time. `inflate` makes a plain frame of a message of this
    /// opcode and payload, of at most so many bytes.
    pub fn pass(
        &mut self,
        mut bytes: Bytes,
        inflate: impl FnOnce(Opcode, Vec<u8>, usize) -> Result<Bytes, InflateError>,
    ) -> Passed {
        let compressed = self.guard.enters_compressed(&bytes);
        let mut passed = Passed::default();
        match self.guard.advance(&bytes) {
            Ok(looked) => {
                passed.looked = looked;
                let rest = bytes.split_off(looked);
                if !rest.is_empty() {
                    self.kept.get_or_insert_default().rest = rest;
                }
            }
            Err(error) => {
                passed.looked = bytes.len();
                passed.error = Some(error.into());
                bytes.truncate(self.guard.sound_bytes());
            }
        }
        if compressed {
            self.unpack(&bytes, &mut passed, inflate);
        } else {
            passed.bytes = bytes;
        }
        passed
    }

    fn unpack(
        &mut self,
        bytes: &[u8],
        passed: &mut Passed,
        inflate: impl FnOnce(Opcode, Vec<u8>, usize) -> Result<Bytes, InflateError>,
    ) {
        let kept = self.kept.get_or_insert_default();
        let mut plain = Vec::new();
        let message = kept.message.get_or_insert_default();
        let whole = message.push(bytes, &mut plain, &mut passed.joined);
        if let Some((opcode, data)) = whole {
            kept.message = None;
            if kept.rest.is_empty() {
                self.kept = None;
            }
            let (compressed, max) = (data.len(), self.guard.max_message_bytes());
            match inflate(opcode, data, usize::try_from(max).unwrap_or(usize::MAX)) {
                Ok(frame) if plain.is_empty() => {
                    passed.inflated = Some((compressed, frame.len()));
                    passed.bytes = frame;
                    return;
                }
                Ok(frame) => {
                    passed.inflated = Some((compressed, frame.len()));
                    plain.extend_from_slice(&frame);
                }
                Err(error) => passed.error = passed.error.or(Some(error.into())),
            }
        }
        passed.bytes = plain.into();
    }
}
