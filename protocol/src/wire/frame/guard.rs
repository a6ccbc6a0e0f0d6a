//! The header inspector for what clients send.

use super::{CloseError, CloseFrame, MAX_CONTROL_PAYLOAD, Opcode};

/// Length of the masking key that follows the length (RFC 6455 section 5.3).
const MASK_BYTES: u64 = 4;
/// Of a frame's first byte: the last frame of its message.
const FIN: u8 = 0x80;
/// The bits that extensions give a meaning.
const RESERVED: u8 = 0x70;
/// The one of them that says that a message is compressed (RFC 7692 section 6).
const RSV1: u8 = 0x40;

/// Why a client's frame is refused. The connection must be closed with
/// [`close_code`](Self::close_code); nothing after the bad header is to be
/// trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// RSV1, RSV2 or RSV3 is set although no extension was agreed on that gives
    /// it a meaning here (section 5.2; RFC 7692 section 6: RSV1 on the first
    /// frame of a compressed message).
    #[error("reserved bits are set, but no extension was negotiated that uses them here")]
    ReservedBits,
    /// Opcode 0x3 to 0x7 or 0xB to 0xF (section 5.2).
    #[error("opcode {0:#x} is reserved")]
    ReservedOpcode(u8),
    /// A client must mask every frame (section 5.1).
    #[error("a frame from a client must be masked")]
    Unmasked,
    /// A control frame without the FIN bit (section 5.5).
    #[error("a control frame must not be fragmented")]
    ControlFragmented,
    /// A control frame with more than 125 bytes (section 5.5).
    #[error("a control frame carries at most 125 bytes")]
    ControlTooLong,
    /// A continuation while no message is under way (section 5.4).
    #[error("a continuation frame came without a message to continue")]
    ContinuationWithoutStart,
    /// A text or binary frame while a fragmented message is under way
    /// (section 5.4).
    #[error("a new message began before the fragmented one was finished")]
    MessageInsideMessage,
    /// The length does not use the fewest bytes (section 5.2).
    #[error("the payload length is not encoded in the fewest bytes")]
    NonMinimalLength,
    /// The most significant bit of a 64-bit length is set (section 5.2).
    #[error("the payload length has its most significant bit set")]
    LengthTopBit,
    /// A frame, or the sum of a message's fragments, is above the limit.
    #[error("the message exceeds the limit of {max} bytes")]
    TooBig {
        /// The limit in bytes.
        max: u64,
    },
    /// The payload of a close frame is wrong (sections 5.5.1 and 7.4).
    #[error(transparent)]
    Close(#[from] CloseError),
}

impl FrameError {
    /// The close code: 1009 for [`TooBig`](Self::TooBig), else 1002
    /// (RFC 6455 section 7.4.1).
    #[must_use]
    pub const fn close_code(&self) -> u16 {
        match self {
            Self::TooBig { .. } => 1009,
            Self::Close(error) => error.close_code(),
            _ => 1002,
        }
    }

    /// A stable word for counters and logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved_bits",
            Self::ReservedOpcode(_) => "reserved_opcode",
            Self::Unmasked => "unmasked",
            Self::ControlFragmented => "control_fragmented",
            Self::ControlTooLong => "control_too_long",
            Self::ContinuationWithoutStart => "continuation_without_start",
            Self::MessageInsideMessage => "message_inside_message",
            Self::NonMinimalLength => "non_minimal_length",
            Self::LengthTopBit => "length_top_bit",
            Self::TooBig { .. } => "too_large",
            Self::Close(error) => error.code(),
        }
    }
}

/// Reads the frame headers in a client's byte stream and skips the payloads,
/// so that a frame can be refused before any of its payload is buffered.
///
/// Feed it every chunk read from the socket, in order, *before* the chunk goes
/// to the decoder. Where compression was agreed on, it also tells where compressed
/// messages are ([`advance`](Self::advance)). It holds at most a header, or a close frame's mask and
/// payload, whatever arrives. Bytes after a
/// close frame are ignored, as RFC 6455 section 5.5.1 has it. Once it has
/// answered an error it answers the same error for ever.
///
/// ```
/// use hubbub_protocol::wire::frame::{FrameError, FrameGuard};
///
/// let mut guard = FrameGuard::new(65_536);
/// assert_eq!(guard.inspect(&[0x81, 0x85, 1, 2, 3, 4, b'h', b'e']), Ok(()));
/// assert_eq!(guard.inspect(&[b'l', b'l', b'o', 0x83]), Err(FrameError::ReservedOpcode(3)));
/// ```
#[derive(Debug, Clone)]
pub struct FrameGuard {
    max_message_bytes: u64,
    header: [u8; 10],
    /// How many bytes of `header` are filled; 0 between frames.
    filled: u8,
    /// Bytes of mask and payload still to come of the current frame.
    skip: u64,
    /// Payload bytes so far of the fragmented message under way, if one is.
    message: u64,
    in_message: bool,
    frames: u64,
    closing: bool,
    /// Compressed messages are allowed.
    deflate: bool,
    /// A compressed message is under way.
    compressed: bool,
    /// Apart, since every open connection has a guard and few are at their end.
    end: Option<Box<End>>,
}

/// What a guard holds of a stream's end.
#[derive(Debug, Clone, Default)]
struct End {
    /// Mask and payload of the close frame, for its check.
    close: Vec<u8>,
    failed: Option<FrameError>,
    /// Bytes of the last chunk that lie before the frame that was refused.
    sound: usize,
}

impl FrameGuard {
    /// A guard for a fresh connection. `max_message_bytes` bounds the payload
    /// of one frame and of all fragments of one message together; control
    /// frames between the fragments do not count.
    #[must_use]
    pub const fn new(max_message_bytes: u64) -> Self {
        Self {
            max_message_bytes,
            header: [0; 10],
            filled: 0,
            skip: 0,
            message: 0,
            in_message: false,
            frames: 0,
            closing: false,
            deflate: false,
            compressed: false,
            end: None,
        }
    }

    /// The same for a connection on which `permessage-deflate` was agreed on, or not.
    #[must_use]
    pub const fn with_deflate(mut self, agreed: bool) -> Self {
        self.deflate = agreed;
        self
    }

    /// Looks at the next bytes of the stream.
    ///
    /// # Errors
    /// The first rule of RFC 6455 that a header in `chunk` breaks, as soon as
    /// the byte that shows it is there.
    pub fn inspect(&mut self, chunk: &[u8]) -> Result<(), FrameError> {
        let mut looked = 0;
        loop {
            let step = self.advance(&chunk[looked..]);
            if let (Err(_), Some(end)) = (&step, &mut self.end) {
                end.sound += looked;
            }
            looked += step?;
            if looked == chunk.len() {
                return Ok(());
            }
        }
    }

    /// As [`inspect`](Self::inspect), up to where a compressed message begins or has
    /// ended, also by a close frame in its midst; gives how many bytes that are. All
    /// of them belong to a compressed message and the control frames within it if
    /// [`enters_compressed`](Self::enters_compressed) held before, else none do.
    ///
    /// # Errors
    /// As [`inspect`](Self::inspect).
    pub fn advance(&mut self, chunk: &[u8]) -> Result<usize, FrameError> {
        if let Some(end) = &mut self.end
            && let Some(error) = end.failed
        {
            end.sound = 0;
            return Err(error);
        }
        let mut sound = 0;
        self.walk(chunk, &mut sound).inspect_err(|error| {
            let end = self.end.get_or_insert_default();
            (end.failed, end.sound) = (Some(*error), sound);
        })
    }

    /// Whether the next bytes of the stream belong to a compressed message or to a
    /// control frame within it.
    #[must_use]
    pub fn enters_compressed(&self, chunk: &[u8]) -> bool {
        self.compressed || (self.deflate && self.begins_compressed(chunk))
    }

    fn begins_compressed(&self, chunk: &[u8]) -> bool {
        let between = self.filled == 0 && self.skip == 0 && !self.closing;
        between && chunk.first().is_some_and(|first| first & RSV1 != 0)
    }

    /// Most payload bytes of a message.
    #[must_use]
    pub const fn max_message_bytes(&self) -> u64 {
        self.max_message_bytes
    }

    /// How many frames have begun (their headers were accepted).
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// Whether a fragmented message is under way.
    #[must_use]
    pub const fn in_message(&self) -> bool {
        self.in_message
    }

    /// Whether the header of a close frame was seen.
    #[must_use]
    pub const fn close_seen(&self) -> bool {
        self.closing
    }

    /// How many bytes of the chunk that was refused belong to frames before the
    /// bad one: what the decoder may still be given.
    #[must_use]
    pub fn sound_bytes(&self) -> usize {
        self.end.as_ref().map_or(0, |end| end.sound)
    }

    /// `sound` becomes how many bytes lie before the frame that is looked at.
    fn walk(&mut self, mut chunk: &[u8], sound: &mut usize) -> Result<usize, FrameError> {
        let whole = chunk.len();
        while !chunk.is_empty() {
            if self.filled == 0 && self.skip == 0 {
                *sound = whole - chunk.len();
                if self.deflate && *sound > 0 && self.begins_compressed(chunk) {
                    return Ok(*sound);
                }
            }
            if self.skip > 0 {
                let step = usize::try_from(self.skip).map_or(chunk.len(), |s| s.min(chunk.len()));
                self.skip -= step as u64;
                if self.closing {
                    self.end.get_or_insert_default().close.extend_from_slice(&chunk[..step]);
                    if self.skip == 0 {
                        self.check_close()?;
                    }
                }
                chunk = &chunk[step..];
                if self.compressed && self.skip == 0 && (self.closing || self.ends_message()) {
                    self.compressed = false;
                    return Ok(whole - chunk.len());
                }
                continue;
            }
            if self.closing {
                return Ok(whole);
            }
            self.header[usize::from(self.filled)] = chunk[0];
            self.filled += 1;
            chunk = &chunk[1..];
            if let Some(length) = self.header_so_far()? {
                self.begin(length)?;
            }
        }
        Ok(whole)
    }

    /// Whether the frame whose payload is over was the last of its message.
    const fn ends_message(&self) -> bool {
        !self.is_control() && self.header[0] & FIN != 0
    }

    /// Checks the newest header byte; the payload length once it is known.
    fn header_so_far(&mut self) -> Result<Option<u64>, FrameError> {
        match self.filled {
            1 => self.check_first().map(|()| None),
            2 => self.check_second(),
            3 if self.header[1] & 0x7F == 127 && self.header[2] & 0x80 != 0 => {
                Err(FrameError::LengthTopBit)
            }
            4 if self.header[1] & 0x7F == 126 => {
                let length = u16::from_be_bytes([self.header[2], self.header[3]]);
                if length < 126 {
                    return Err(FrameError::NonMinimalLength);
                }
                Ok(Some(u64::from(length)))
            }
            10 => {
                let [_, _, bytes @ ..] = self.header;
                let length = u64::from_be_bytes(bytes);
                if length <= u64::from(u16::MAX) {
                    return Err(FrameError::NonMinimalLength);
                }
                Ok(Some(length))
            }
            _ => Ok(None),
        }
    }

    /// FIN, reserved bits, opcode, and whether it may come now.
    fn check_first(&mut self) -> Result<(), FrameError> {
        let first = self.header[0];
        if first & RESERVED != 0 {
            // Only the first frame of a message says that it is compressed.
            let data = matches!(first & 0x0F, 0x1 | 0x2) && !self.in_message;
            if !self.deflate || first & RESERVED != RSV1 || !data {
                return Err(FrameError::ReservedBits);
            }
            self.compressed = true;
        }
        let opcode =
            Opcode::from_bits(first & 0x0F).ok_or(FrameError::ReservedOpcode(first & 0x0F))?;
        let fin = first & FIN != 0;
        match opcode {
            Opcode::Continuation if !self.in_message => Err(FrameError::ContinuationWithoutStart),
            Opcode::Text | Opcode::Binary if self.in_message => {
                Err(FrameError::MessageInsideMessage)
            }
            Opcode::Close | Opcode::Ping | Opcode::Pong if !fin => {
                Err(FrameError::ControlFragmented)
            }
            _ => Ok(()),
        }
    }

    /// Mask bit and short length.
    fn check_second(&self) -> Result<Option<u64>, FrameError> {
        let second = self.header[1];
        if second & 0x80 == 0 {
            return Err(FrameError::Unmasked);
        }
        let short = second & 0x7F;
        if self.is_control() && usize::from(short) > MAX_CONTROL_PAYLOAD {
            return Err(FrameError::ControlTooLong);
        }
        Ok((short < 126).then_some(u64::from(short)))
    }

    const fn is_control(&self) -> bool {
        self.header[0] & 0x08 != 0
    }

    /// Checks the close frame once it is complete: at most 4 + 125 bytes.
    fn check_close(&self) -> Result<(), FrameError> {
        let close = self.end.as_ref().map_or(&[][..], |end| &end.close);
        let (mask, payload) = close.split_at(close.len().min(MASK_BYTES as usize));
        let clear: Vec<u8> =
            payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        CloseFrame::parse(&clear)?;
        Ok(())
    }

    /// Accepts a complete header and starts to skip what follows it.
    fn begin(&mut self, length: u64) -> Result<(), FrameError> {
        let fin = self.header[0] & FIN != 0;
        if self.is_control() {
            self.closing = self.header[0] & 0x0F == Opcode::Close.bits();
        } else {
            // Below 2^63 each, and the sum so far is within the limit.
            let total = self.message.saturating_add(length);
            if total > self.max_message_bytes {
                return Err(FrameError::TooBig { max: self.max_message_bytes });
            }
            self.in_message = !fin;
            self.message = if fin { 0 } else { total };
        }
        self.frames += 1;
        self.filled = 0;
        self.skip = MASK_BYTES.saturating_add(length);
        Ok(())
    }
}
