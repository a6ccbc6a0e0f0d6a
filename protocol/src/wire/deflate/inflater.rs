//! Inflates whole messages within a bound.

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};

use super::FLUSHED;
use crate::wire::frame::{Opcode, encode_header};

/// Why a compressed message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// It is no deflate data, or only the beginning of some.
    #[error("a compressed message is not valid deflate data")]
    Invalid,
    /// It is longer than it may be once it is inflated.
    #[error("a compressed message is longer than {max} bytes when it is inflated")]
    TooBig {
        /// The limit in bytes.
        max: usize,
    },
}

impl InflateError {
    /// The close code: 1009 for what is too big; 1007 for bad data, since the message
    /// does not hold what it says it holds (RFC 6455 section 7.4.1; RFC 7692 names none).
    #[must_use]
    pub const fn close_code(&self) -> u16 {
        match self {
            Self::Invalid => 1007,
            Self::TooBig { .. } => 1009,
        }
    }
}

/// Behind what a sync flush ends with, an empty last block: what has not come to its end
/// there was not whole.
const END: [u8; 9] = [FLUSHED[0], FLUSHED[1], FLUSHED[2], FLUSHED[3], 0x01, 0, 0, 0xFF, 0xFF];

/// Room for the header of the frame that a message becomes: masked.
const HEADER: usize = 14;
/// First guess at how much longer a message gets, and the factor if it does not suffice.
const GUESS: usize = 8;
/// Least room for a message.
const LEAST: usize = 1024;

/// Inflates messages one at a time. It takes about 43 KiB from the first message on, and
/// nothing of a message is left in it for the next one.
#[derive(Debug, Default)]
pub struct Inflater(Option<Decompress>);

impl Inflater {
    /// An inflater that holds nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    /// Inflates the payload of a whole message into a frame with this opcode, as a client
    /// would send it that does not compress: masked, with the key zero, in one piece.
    ///
    /// Never writes more than `max` bytes and one at a time, and what it writes in vain for
    /// lack of room is at most a seventh of that.
    ///
    /// # Errors
    /// See [`InflateError`].
    pub fn frame(
        &mut self,
        opcode: Opcode,
        mut data: Vec<u8>,
        max: usize,
    ) -> Result<Bytes, InflateError> {
        let len = data.len();
        let most = max + 1;
        // Nothing near the bound is tried before the bound itself.
        let next = |room: usize| if room > most / GUESS { most } else { room * GUESS };
        let mut room = next(len.max(LEAST / GUESS));
        data.extend_from_slice(&END);
        let mut out = vec![0; HEADER];
        // Some send no byte at all for an empty message.
        let mut more = len > 0;
        while more {
            out.truncate(HEADER);
            out.reserve_exact(room);
            more = self.inflate(&data, len, &mut out)?;
            if out.len() > HEADER + max {
                return Err(InflateError::TooBig { max });
            }
            room = next(room);
        }
        let (mut header, n) = encode_header(opcode, out.len() - HEADER);
        header[1] |= 0x80;
        // The key stays zero.
        let begin = HEADER - n - 4;
        out[begin..begin + n].copy_from_slice(&header[..n]);
        Ok(Bytes::from(out).slice(begin..))
    }

    /// Inflates as much as `out` has room for; whether there is more. The first `len`
    /// bytes of `data` are the message.
    fn inflate(
        &mut self,
        data: &[u8],
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, InflateError> {
        let state = self.0.get_or_insert_with(|| Decompress::new(false));
        // Also wipes its window.
        state.reset(false);
        let status = state.decompress_vec(data, out, FlushDecompress::Finish);
        match status.map_err(|_| InflateError::Invalid)? {
            Status::StreamEnd => {}
            _ if out.len() == out.capacity() => return Ok(true),
            _ => return Err(InflateError::Invalid),
        }
        let read = usize::try_from(state.total_in()).unwrap_or(usize::MAX);
        // A message may end with a block that says it is the last one, and the byte of
        // the next one that is cut off with the rest (RFC 7692 section 7.2.3.4).
        let padded = read + 1 == len && data[read] == 0;
        if read == data.len() || read == len || padded {
            Ok(false)
        } else {
            Err(InflateError::Invalid)
        }
    }
}
