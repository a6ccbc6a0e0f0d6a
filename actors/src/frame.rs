//! Frames ready for the wire, encoded once and shared.

use std::sync::Arc;

use bytes::Bytes;
use hubbub_protocol::close::CloseCode;

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// A WebSocket frame from the hub (RFC 6455, section 5.2: not masked, not
/// fragmented), as bytes that any number of queues share.
#[derive(Clone, Debug)]
pub struct Frame(Arc<Encoded>);

#[derive(Debug)]
struct Encoded {
    bytes: Bytes,
    header: u8,
}

impl Frame {
    /// A text frame.
    pub fn text(payload: &[u8]) -> Self {
        Self::new(TEXT, payload)
    }

    /// A binary frame.
    pub fn binary(payload: &[u8]) -> Self {
        Self::new(BINARY, payload)
    }

    /// A ping; the payload has at most 125 bytes.
    pub fn ping(payload: &[u8]) -> Self {
        Self::new(PING, payload)
    }

    /// A pong; the payload has at most 125 bytes.
    pub fn pong(payload: &[u8]) -> Self {
        Self::new(PONG, payload)
    }

    /// A close frame with the code and its reason.
    pub fn close(code: CloseCode) -> Self {
        let mut payload = code.code().to_be_bytes().to_vec();
        payload.extend_from_slice(code.reason().as_bytes());
        Self::new(CLOSE, &payload)
    }

    /// The answer to a close frame: its code, or nothing if it had none.
    pub fn close_answer(code: Option<u16>) -> Self {
        match code {
            Some(code) => Self::new(CLOSE, &code.to_be_bytes()),
            None => Self::new(CLOSE, b""),
        }
    }

    fn new(opcode: u8, payload: &[u8]) -> Self {
        let len = payload.len();
        let header = match len {
            0..126 => 2,
            126..65536 => 4,
            _ => 10,
        };
        let mut bytes = Vec::with_capacity(header + len);
        bytes.push(0x80 | opcode);
        match header {
            2 => bytes.push(len as u8),
            4 => {
                bytes.push(126);
                bytes.extend_from_slice(&(len as u16).to_be_bytes());
            }
            _ => {
                bytes.push(127);
                bytes.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(payload);
        // Exactly full, so that no second allocation is needed to share it.
        Self(Arc::new(Encoded { bytes: bytes.into(), header: header as u8 }))
    }

    /// Whether it carries a text of the layer above.
    pub fn is_text(&self) -> bool {
        self.opcode() == TEXT
    }

    /// Whether it carries binary data of the layer above.
    pub fn is_binary(&self) -> bool {
        self.opcode() == BINARY
    }

    fn opcode(&self) -> u8 {
        self.0.bytes[0] & 0x0F
    }

    /// Header and payload.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The payload alone, sharing the same memory.
    pub fn payload(&self) -> Bytes {
        self.0.bytes.slice(usize::from(self.0.header)..)
    }

    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        self.0.bytes.len()
    }

    /// A frame is never empty: it has a header.
    pub fn is_empty(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_of_the_length() {
        for (len, header) in [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)] {
            let frame = Frame::text(&vec![b'x'; len]);
            assert_eq!(frame.len(), len + header);
            assert_eq!(frame.payload().len(), len);
        }
        assert_eq!(Frame::text(b"hi").bytes(), b"\x81\x02hi");
        assert_eq!(Frame::close(CloseCode::TooSlow).bytes()[..4], [0x88, 10, 0x11, 0x3d]);
    }
}
