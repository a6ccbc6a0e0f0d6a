//! Frames ready for the wire, encoded once and shared.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hubbub_protocol::{close::CloseCode, wire::socketio::msgpack};

mod compressed;

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
    /// How many frames of events it is made of, beyond the first.
    more: u16,
    /// Whether a tail may be put in.
    tail: Tail,
    /// Bytes behind `cut` that a tail stands in place of.
    own: u16,
    /// Where it goes.
    cut: u32,
    /// Whose body it has, if `bytes` is only a header and a tail of its own.
    body: Option<Frame>,
    /// The same compressed, once somebody asked; none if it is not smaller.
    compressed: OnceLock<Option<Frame>>,
}

/// How a tail is put into a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tail {
    None,
    /// Between two parts of a text.
    Text,
    /// Into the msgpack text at the end, whose length stands before it.
    Msgpack,
}

impl Encoded {
    /// All bytes of a frame, header included, that takes no tail.
    fn whole(bytes: Vec<u8>, header: u8) -> Self {
        Self {
            bytes: bytes.into(),
            header,
            more: 0,
            tail: Tail::None,
            own: 0,
            cut: 0,
            body: None,
            compressed: OnceLock::new(),
        }
    }

    /// The same, to be shared.
    fn new(bytes: Vec<u8>, header: u8) -> Arc<Self> {
        Arc::new(Self::whole(bytes, header))
    }
}

/// Most pieces that one frame is written from.
pub const MAX_PIECES: usize = 4;

impl Frame {
    /// A text frame.
    pub fn text(payload: &[u8]) -> Self {
        Self::new(TEXT, payload)
    }

    /// The frame of what a format has rendered: a text, or a msgpack packet.
    pub fn rendered(payload: &[u8]) -> Self {
        if msgpack::is_packet(payload) { Self::binary(payload) } else { Self::text(payload) }
    }

    /// The same that a tail can be put into: in a text `end` bytes before its end, in a
    /// msgpack packet at the end of the text that its last `end` bytes are.
    pub fn open(payload: &[u8], end: usize) -> Self {
        let mut frame = Self::rendered(payload);
        let tail = if frame.is_text() { Tail::Text } else { Tail::Msgpack };
        let own = if tail == Tail::Text { Some(0) } else { u16::try_from(end).ok() };
        let cut = frame.len().checked_sub(end).and_then(|cut| u32::try_from(cut).ok());
        if let (Some(encoded), Some(cut), Some(own)) = (Arc::get_mut(&mut frame.0), cut, own) {
            (encoded.tail, encoded.own, encoded.cut) = (tail, own, cut);
        }
        frame
    }

    /// The same with a tail of its own; the rest is shared. A frame that takes none
    /// stays as it is.
    #[must_use]
    pub fn with_tail(&self, tail: &str) -> Self {
        match self.0.tail {
            Tail::Text => {}
            Tail::None => return self.clone(),
            Tail::Msgpack => return self.with_longer_text(tail),
        }
        let payload = self.0.bytes.len() - usize::from(self.0.header) + tail.len();
        let mut bytes = Vec::with_capacity(header_len(payload) + tail.len());
        write_header(&mut bytes, TEXT, payload);
        let header = bytes.len() as u8;
        bytes.extend_from_slice(tail.as_bytes());
        self.around(bytes, header)
    }

    /// The same where the text at the end is written anew, with the tail behind it.
    fn with_longer_text(&self, tail: &str) -> Self {
        let shared = &self.0.bytes[usize::from(self.0.header)..];
        let own = &self.0.bytes[self.0.cut as usize..];
        let own = msgpack::read_text(own).unwrap_or_default();
        let mut text = Vec::with_capacity(own.len() + tail.len() + 5);
        msgpack::write_text(&mut text, &[own, tail].concat());
        let payload = shared.len() - usize::from(self.0.own) + text.len();
        let mut bytes = Vec::with_capacity(header_len(payload) + text.len());
        write_header(&mut bytes, BINARY, payload);
        let header = bytes.len() as u8;
        bytes.extend_from_slice(&text);
        self.around(bytes, header)
    }

    /// A frame of its own bytes around the body of this one.
    fn around(&self, bytes: Vec<u8>, header: u8) -> Self {
        let body = Some(self.clone());
        Self(Arc::new(Encoded { body, ..Encoded::whole(bytes, header) }))
    }

    /// A binary frame.
    pub fn binary(payload: &[u8]) -> Self {
        Self::new(BINARY, payload)
    }

    /// Bytes that are no frame: the answer to a handshake, so that it leaves with what follows.
    pub fn raw(bytes: Vec<u8>) -> Self {
        Self(Encoded::new(bytes, 0))
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
        let header = header_len(text.len()) as u8;
        Self(Encoded::new(bytes, header))
    }

    /// Frames that leave together, as one: what a burst of messages is for each member of a room.
    /// None of none. They take no tail of their own any more, and are not compressed.
    pub fn joined(frames: &[Self]) -> Option<Self> {
        let (first, rest) = frames.split_first()?;
        if rest.is_empty() {
            return Some(first.clone());
        }
        let mut bytes = Vec::with_capacity(frames.iter().map(Self::len).sum());
        for piece in frames.iter().flat_map(Self::pieces) {
            bytes.extend_from_slice(piece);
        }
        let more = frames.iter().map(Self::events).sum::<usize>() - 1;
        let mut encoded = Encoded::new(bytes, first.0.header);
        if let Some(encoded) = Arc::get_mut(&mut encoded) {
            encoded.more = u16::try_from(more).unwrap_or(u16::MAX);
        }
        Some(Self(encoded))
    }

    /// How many events it is made of.
    pub fn events(&self) -> usize {
        usize::from(self.0.more) + 1
    }

    fn new(opcode: u8, payload: &[u8]) -> Self {
        let header = header_len(payload.len());
        let mut bytes = Vec::with_capacity(header + payload.len());
        write_frame(&mut bytes, opcode, payload);
        // Exactly full, so that no second allocation is needed to share it.
        Self(Encoded::new(bytes, header as u8))
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

    /// The pieces that it is written from, in order: header and payload. Unused ones
    /// are empty.
    pub fn pieces(&self) -> [&[u8]; MAX_PIECES] {
        let bytes: &[u8] = &self.0.bytes;
        let Some(body) = &self.0.body else { return [bytes, &[], &[], &[]] };
        let (header, tail) = bytes.split_at(usize::from(self.0.header));
        let (body, shared): (_, &[u8]) = (&body.0, &body.0.bytes);
        let cut = body.cut as usize;
        let rest = cut + usize::from(body.own);
        [header, &shared[usize::from(body.header)..cut], tail, &shared[rest..]]
    }

    /// Header and payload, if it is one piece.
    #[cfg(test)]
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The payload alone, sharing the same memory unless it has a tail. Of one with
    /// attachments, or of several that were [joined](Self::joined), ask [`messages`](Self::messages).
    pub fn payload(&self) -> Bytes {
        if self.0.body.is_none() {
            return self.0.bytes.slice(usize::from(self.0.header)..);
        }
        let [_, pieces @ ..] = self.pieces();
        pieces.concat().into()
    }

    /// The payloads of its texts and binaries, in order, each with whether it is a text.
    pub fn messages(&self) -> impl Iterator<Item = (bool, Bytes)> + use<> {
        let bytes = match self.0.body {
            None => self.0.bytes.clone(),
            Some(_) => self.pieces().concat().into(),
        };
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
        let shared = self.0.body.as_ref().map_or(0, |body| {
            body.0.bytes.len() - usize::from(body.0.header) - usize::from(body.0.own)
        });
        self.0.bytes.len() + shared
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
    write_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

fn write_header(out: &mut Vec<u8>, opcode: u8, payload: usize) {
    out.push(0x80 | opcode);
    match header_len(payload) {
        2 => out.push(payload as u8),
        4 => {
            out.push(126);
            out.extend_from_slice(&(payload as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
    fn joined_frames_are_their_bytes_in_a_row() {
        let frames = [b"one".to_vec(), vec![b'x'; 200], b"3".to_vec()].map(|p| Frame::text(&p));
        let open = Frame::open(b"[\"\"]", 2).with_tail("t");
        let all = [&frames[..], &[open]].concat();
        let joined = Frame::joined(&all).unwrap();
        assert_eq!(joined.events(), 4);
        assert_eq!(joined.len(), all.iter().map(Frame::len).sum::<usize>());
        let apart: Vec<_> = all.iter().flat_map(Frame::messages).collect();
        assert_eq!(joined.messages().collect::<Vec<_>>(), apart);
        assert_eq!(Frame::joined(&all[..1]).unwrap().bytes(), all[0].bytes());
        assert!(Frame::joined(&[]).is_none());
    }

    #[test]
    fn a_tail_goes_in_before_the_end() {
        for len in [3, 100, 120, 125, 126, 65_530, 65_536] {
            let payload = [&vec![b'x'; len - 2], &b"\"]"[..]].concat();
            let shared = Frame::open(&payload, 2);
            let tailed = shared.with_tail("~1;2.3");
            let expected = [&vec![b'x'; len - 2], &b"~1;2.3\"]"[..]].concat();
            assert_eq!(tailed.payload(), expected);
            let whole = Frame::text(&expected);
            assert_eq!(tailed.pieces().concat(), whole.bytes());
            assert_eq!(tailed.len(), whole.len());
            let messages: Vec<_> = tailed.messages().collect();
            assert_eq!(messages, [(true, Bytes::from(expected.clone()))]);
            assert_eq!(shared.payload(), payload);
            assert_eq!(shared.pieces().concat(), Frame::text(&payload).bytes());
        }
        assert_eq!(Frame::text(b"hi").with_tail("no").payload(), "hi");
    }

    #[test]
    fn a_tail_makes_the_last_text_of_a_packet_longer() {
        for (len, own) in [(0, 1), (9, 30), (9, 31), (9, 32), (90, 37), (65_470, 37)] {
            let (filler, own) = ("x".repeat(len), "a".repeat(own));
            let packet = |offset: &str| {
                msgpack::encode(&format!(r#"2["e","{filler}","{offset}"]"#), &[]).unwrap()
            };
            let shared = Frame::open(&packet(&own), msgpack::text_head(own.len()) + own.len());
            assert!(shared.is_binary());
            assert_eq!(shared.payload(), packet(&own));
            for tail in ["~", &"~1;2.3".repeat(10), &";4.5".repeat(100)] {
                let tailed = shared.with_tail(tail);
                let expected = packet(&[&own, tail].concat());
                assert_eq!(tailed.payload(), expected);
                let whole = Frame::binary(&expected);
                assert_eq!(tailed.pieces().concat(), whole.bytes());
                assert_eq!(tailed.len(), whole.len());
            }
        }
        assert!(Frame::rendered(b"41").is_text());
    }

    #[test]
    fn a_frame_takes_little_memory() {
        assert_eq!(size_of::<Encoded>(), size_of::<Bytes>() + 40);
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
