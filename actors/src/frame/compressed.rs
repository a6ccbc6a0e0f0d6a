//! A frame compressed (RFC 7692), for clients with which that was agreed on.

use std::cell::RefCell;

use hubbub_protocol::wire::deflate::Deflater;

use super::{BINARY, Encoded, Frame, TEXT, header_at, write_header};

/// Says that a message is compressed.
const RSV1: u8 = 0x40;

thread_local! {
    static DEFLATER: RefCell<Deflater> = const { RefCell::new(Deflater::new()) };
}

impl Frame {
    /// The same compressed, if that is worth it: one text or binary frame of its own of at
    /// least `min` bytes, and it became smaller. It is made once, when the first asks for it,
    /// and shared with all who do. The client reads nothing that refers back by more than
    /// two to the power of `window_bits`, so a message that is longer than that stays as it is.
    pub fn compressed(&self, min: usize, window_bits: u8) -> Option<&Self> {
        let encoded = &*self.0;
        let payload = encoded.bytes.len() - usize::from(encoded.header);
        // The deflater's own window is two to the power of 15.
        let beyond = window_bits < 15 && payload > 1 << window_bits;
        if payload < min || beyond || !self.is_one_message() {
            return None;
        }
        encoded.compressed.get_or_init(|| self.compress()).as_ref()
    }

    /// Whether it is text or binary, has no tail of its own, no attachments, and is not
    /// compressed already.
    fn is_one_message(&self) -> bool {
        let bytes = &self.0.bytes;
        matches!(bytes[0] & !0x80, TEXT | BINARY)
            && self.0.body.is_none()
            && header_at(bytes).is_some_and(|(header, payload)| header + payload == bytes.len())
    }

    fn compress(&self) -> Option<Self> {
        let payload = &self.0.bytes[usize::from(self.0.header)..];
        let mut data = Vec::new();
        if !DEFLATER.with_borrow_mut(|deflater| deflater.compress(payload, &mut data)) {
            return None;
        }
        let mut bytes = Vec::with_capacity(super::header_len(data.len()) + data.len());
        write_header(&mut bytes, RSV1 | self.opcode(), data.len());
        let header = bytes.len() as u8;
        bytes.extend_from_slice(&data);
        Some(Self(Encoded::new(bytes, header)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;
    use hubbub_protocol::wire::{deflate::Inflater, frame::Opcode};

    use super::*;

    fn inflated(frame: &Frame) -> Vec<u8> {
        let data = frame.payload().to_vec();
        let plain = Inflater::new().frame(Opcode::Text, data, 1 << 20).unwrap();
        let header = match plain[1] & 0x7F {
            126 => 8,
            127 => 14,
            _ => 6,
        };
        plain[header..].to_vec()
    }

    #[test]
    fn it_is_made_once_and_says_the_same() {
        let text = "again and again ".repeat(100);
        for (frame, first) in
            [(Frame::text(text.as_bytes()), 0xC1), (Frame::binary(text.as_bytes()), 0xC2)]
        {
            let compressed = frame.compressed(1000, 15).unwrap();
            assert_eq!(compressed.pieces()[0][0], first);
            assert!(compressed.len() < 60, "{}", compressed.len());
            assert_eq!(inflated(compressed), text.as_bytes());
            assert!(Frame::is_text(compressed) == (first == 0xC1));
            let again = frame.clone();
            let again = again.compressed(1000, 15).unwrap();
            assert!(std::sync::Arc::ptr_eq(&again.0, &compressed.0));
            assert!(compressed.compressed(0, 15).is_none());
        }
    }

    #[test]
    fn what_is_not_worth_it_or_not_one_message_stays() {
        let text = "again and again ".repeat(100);
        let payload = text.as_bytes();
        let frame = Frame::text(payload);
        assert!(frame.compressed(1601, 15).is_none());
        assert!(frame.compressed(1600, 10).is_none());
        assert!(frame.compressed(1600, 11).is_some());
        assert!(Frame::text(b"abc").compressed(0, 15).is_none());
        assert!(Frame::text(b"").compressed(0, 15).is_none());
        assert!(Frame::ping(&[b'x'; 125]).compressed(0, 15).is_none());
        assert!(Frame::close_answer(Some(1000)).compressed(0, 15).is_none());
        let many = Frame::with_attachments(payload, &[Bytes::from_static(&[0; 1000])]);
        assert!(many.compressed(0, 15).is_none());
        let open = Frame::open(payload, 2);
        assert!(open.with_tail("tail").compressed(0, 15).is_none());
        // Without a tail it is as any other.
        assert_eq!(inflated(open.compressed(0, 15).unwrap()), payload);
    }
}
