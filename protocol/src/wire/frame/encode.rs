//! Frames that the server sends: unmasked, never fragmented.

use bytes::{BufMut, Bytes, BytesMut};

use super::{MAX_CONTROL_PAYLOAD, Opcode};

/// Longest header of an unmasked frame, in bytes.
pub const MAX_HEADER_BYTES: usize = 10;

/// The header of an unmasked, unfragmented frame with a payload of `len`
/// bytes: the first `n` bytes of the array (RFC 6455 section 5.2). The length
/// takes the fewest bytes that hold it.
///
/// For control frames `len` must be at most [`MAX_CONTROL_PAYLOAD`]; other
/// values give a header that clients refuse.
#[must_use]
pub fn encode_header(opcode: Opcode, len: usize) -> ([u8; MAX_HEADER_BYTES], usize) {
    let mut header = [0; MAX_HEADER_BYTES];
    header[0] = 0x80 | opcode.bits();
    if let Ok(short @ 0..=125) = u8::try_from(len) {
        header[1] = short;
        (header, 2)
    } else if let Ok(medium) = u16::try_from(len) {
        header[1] = 126;
        header[2..4].copy_from_slice(&medium.to_be_bytes());
        (header, 4)
    } else {
        header[1] = 127;
        header[2..].copy_from_slice(&(len as u64).to_be_bytes());
        (header, 10)
    }
}

/// A whole unmasked frame. The payload of a control frame is cut after
/// [`MAX_CONTROL_PAYLOAD`] bytes, so that what leaves is always valid.
///
/// Render once and share: `Bytes` is cheap to clone.
#[must_use]
pub fn encode_frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let payload = if opcode.is_control() {
        &payload[..payload.len().min(MAX_CONTROL_PAYLOAD)]
    } else {
        payload
    };
    let (header, n) = encode_header(opcode, payload.len());
    let mut frame = BytesMut::with_capacity(n + payload.len());
    frame.put_slice(&header[..n]);
    frame.put_slice(payload);
    frame.freeze()
}

/// A close frame with `code` and `reason`. The reason is cut at a character
/// boundary so that the payload stays within [`MAX_CONTROL_PAYLOAD`] bytes.
///
/// Codes that must not travel (1005, 1006, 1015 and the other values for which
/// [`is_valid_close_code`](super::is_valid_close_code) is false) give an empty
/// payload, which the peer reads as 1005.
#[must_use]
pub fn encode_close(code: u16, reason: &str) -> Bytes {
    if !super::is_valid_close_code(code) {
        return encode_frame(Opcode::Close, &[]);
    }
    let mut end = reason.len().min(MAX_CONTROL_PAYLOAD - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = Vec::with_capacity(2 + end);
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    encode_frame(Opcode::Close, &payload)
}
