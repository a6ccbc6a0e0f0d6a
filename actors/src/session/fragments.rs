//! Joins the fragments of a message and checks, as they come, that a text is
//! UTF-8 (RFC 6455, sections 5.4 and 8.1).

use bytes::{Bytes, BytesMut};
use hubbub_protocol::close::CloseCode;

/// A message whose fragments are still coming.
pub struct Fragments {
    max: usize,
    text: Option<BytesMut>,
    checked: usize,
}

impl Fragments {
    /// Messages of at most `max` bytes.
    pub fn new(max: usize) -> Self {
        Self { max, text: None, checked: 0 }
    }

    /// The first fragment of a text.
    pub fn start(&mut self, part: &Bytes) -> Result<(), CloseCode> {
        if self.text.is_some() {
            return Err(CloseCode::Protocol);
        }
        self.text = Some(BytesMut::new());
        self.checked = 0;
        self.append(part)
    }

    /// One more fragment.
    pub fn append(&mut self, part: &Bytes) -> Result<(), CloseCode> {
        let Some(text) = &mut self.text else { return Err(CloseCode::Protocol) };
        if text.len() + part.len() > self.max {
            return Err(CloseCode::TooBig);
        }
        text.extend_from_slice(part);
        match std::str::from_utf8(&text[self.checked..]) {
            Ok(_) => self.checked = text.len(),
            // A character may be cut by the end of a fragment, never be wrong.
            Err(e) if e.error_len().is_none() => self.checked += e.valid_up_to(),
            Err(_) => return Err(CloseCode::InvalidText),
        }
        Ok(())
    }

    /// The last fragment: the whole text.
    pub fn finish(&mut self, part: &Bytes) -> Result<String, CloseCode> {
        self.append(part)?;
        let text = self.text.take().ok_or(CloseCode::Protocol)?;
        String::from_utf8(text.into()).map_err(|_| CloseCode::InvalidText)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn b(bytes: &[u8]) -> Bytes {
        Bytes::copy_from_slice(bytes)
    }

    #[test]
    fn characters_may_be_cut_but_not_wrong() {
        let mut f = Fragments::new(100);
        f.start(&b(b"a\xe2\x82")).unwrap();
        assert_eq!(f.finish(&b(b"\xac!")).unwrap(), "a€!");
        f.start(&b(b"ok")).unwrap();
        assert_eq!(f.append(&b(b"\xff")), Err(CloseCode::InvalidText));
        let mut f = Fragments::new(100);
        f.start(&b(b"\xe2")).unwrap();
        assert_eq!(f.finish(&b(b"")), Err(CloseCode::InvalidText));
    }

    #[test]
    fn the_whole_message_is_bounded() {
        let mut f = Fragments::new(4);
        f.start(&b(b"abc")).unwrap();
        assert_eq!(f.append(&b(b"de")), Err(CloseCode::TooBig));
        assert_eq!(Fragments::new(4).append(&b(b"a")), Err(CloseCode::Protocol));
    }
}
