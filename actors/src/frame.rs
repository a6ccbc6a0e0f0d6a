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

    /// A text frame and the binary frames that belong to it: they wait, leave and are
    /// dropped together, so that nothing comes between them.
    pub fn with_attachments(text: &[u8], attachments: &[Bytes]) -> Self {
        let sizes = attachments.iter().map(|data| header_len(data.len()) + data.len());
        let size = header_len(text.len()) + text.len() + sizes.sum::<usize>();
        let mut bytes = Vec::with_capacity(size);
        write_frame(&mut bytes, TEXT, text);
        for data in attachments {
            write_frame(&mut bytes, BINARY, data);
        }
        Self(Arc::new(Encoded { bytes: bytes.into(), header: header_len(text.len()) as u8 }))
    }

    fn new(opcode: u8, payload: &[u8]) -> Self {
        let header = header_len(payload.len());
        let mut bytes = Vec::with_capacity(header + payload.len());
        write_frame(&mut bytes, opcode, payload);
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

    /// The payload alone, sharing the same memory. Of one with attachments ask
    /// [`messages`](Self::messages).
    pub fn payload(&self) -> Bytes {
        self.0.bytes.slice(usize::from(self.0.header)..)
    }

    /// The payloads of its texts and binaries, in order, each with whether it is a text.
    pub fn messages(&self) -> impl Iterator<Item = (bool, Bytes)> + '_ {
        let bytes = &self.0.bytes;
        let mut at = 0;
        std::iter::from_fn(move || {
            while at < bytes.len() {
                let opcode = bytes[at] & 0x0F;
                let (header, len) = header_at(&bytes[at..])?;
                let payload = at + header..at + header + len;
                at = payload.end;
                if opcode == TEXT || opcode == BINARY {
                    return Some((opcode == TEXT, bytes.slice(payload)));
                }
            }
            None
        })
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

/// Bytes before a payload of that length.
fn header_len(payload: usize) -> usize {
    match payload {
        0..126 => 2,
        126..65536 => 4,
        _ => 10,
    }
}

/// The lengths of the header and the payload of what [`write_frame`] wrote.
fn header_at(frame: &[u8]) -> Option<(usize, usize)> {
    Some(match *frame.get(1)? {
        126 => (4, u16::from_be_bytes(frame.get(2..4)?.try_into().ok()?).into()),
        127 => (10, u64::from_be_bytes(frame.get(2..10)?.try_into().ok()?).try_into().ok()?),
        len => (2, len.into()),
    })
}

fn write_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    let len = payload.len();
    out.push(0x80 | opcode);
    match header_len(len) {
        2 => out.push(len as u8),
        4 => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_follow_their_text() {
        let sizes = [0, 125, 126, 65_535, 65_536];
        let attachments: Vec<Bytes> = sizes.iter().map(|&n| vec![7; n].into()).collect();
        let frame = Frame::with_attachments(b"text", &attachments);
        let mut expected = vec![(true, Bytes::from_static(b"text"))];
        expected.extend(attachments.into_iter().map(|data| (false, data)));
        assert_eq!(frame.messages().collect::<Vec<_>>(), expected);
        assert_eq!(Frame::ping(b"x").messages().count(), 0);
    }

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
