//! Joins the fragments of a message and checks, as they come, that a text is
//! UTF-8 (RFC 6455, sections 5.4 and 8.1).

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use hubbub_protocol::close::CloseCode;

/// What a message carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Anything.
    Binary,
}

/// A message whose fragments are all there.
#[derive(PartialEq, Eq, Debug)]
pub enum Whole {
    /// A text.
    Text(ByteString),
    /// Binary data.
    Binary(Bytes),
}

/// A message whose fragments are still coming; apart, since few of the open connections
/// are in one. It has at most the `max` bytes that each fragment is taken with.
#[derive(Default)]
pub struct Fragments(Option<Box<Begun>>);

struct Begun {
    kind: Kind,
    data: BytesMut,
    /// Bytes known to be UTF-8.
    checked: usize,
}

impl Fragments {
    /// The first fragment.
    pub fn start(&mut self, kind: Kind, part: &Bytes, max: usize) -> Result<(), CloseCode> {
        if self.0.is_some() {
            return Err(CloseCode::Protocol);
        }
        self.0 = Some(Box::new(Begun { kind, data: BytesMut::new(), checked: 0 }));
        self.append(part, max)
    }

    /// One more fragment.
    pub fn append(&mut self, part: &Bytes, max: usize) -> Result<(), CloseCode> {
        let Some(begun) = &mut self.0 else { return Err(CloseCode::Protocol) };
        let Begun { kind, data, checked } = &mut **begun;
        if data.len() + part.len() > max {
            return Err(CloseCode::TooBig);
        }
        data.extend_from_slice(part);
        if *kind == Kind::Binary {
            return Ok(());
        }
        match std::str::from_utf8(&data[*checked..]) {
            Ok(_) => *checked = data.len(),
            // A character may be cut by the end of a fragment, never be wrong.
            Err(e) if e.error_len().is_none() => *checked += e.valid_up_to(),
            Err(_) => return Err(CloseCode::InvalidText),
        }
        Ok(())
    }

    /// The last fragment: the whole message.
    pub fn finish(&mut self, part: &Bytes, max: usize) -> Result<Whole, CloseCode> {
        self.append(part, max)?;
        let Begun { kind, data, .. } = *self.0.take().ok_or(CloseCode::Protocol)?;
        match kind {
            Kind::Binary => Ok(Whole::Binary(data.freeze())),
            Kind::Text => ByteString::try_from(data.freeze())
                .map(Whole::Text)
                .map_err(|_| CloseCode::InvalidText),
        }
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
        let mut f = Fragments::default();
        f.start(Kind::Text, &b(b"a\xe2\x82"), 100).unwrap();
        assert_eq!(f.finish(&b(b"\xac!"), 100).unwrap(), Whole::Text("a€!".into()));
        f.start(Kind::Text, &b(b"ok"), 100).unwrap();
        assert_eq!(f.append(&b(b"\xff"), 100), Err(CloseCode::InvalidText));
        let mut f = Fragments::default();
        f.start(Kind::Text, &b(b"\xe2"), 100).unwrap();
        assert_eq!(f.finish(&b(b""), 100), Err(CloseCode::InvalidText));
    }

    #[test]
    fn binary_may_be_anything() {
        let mut f = Fragments::default();
        f.start(Kind::Binary, &b(b"\xff"), 100).unwrap();
        assert_eq!(f.finish(&b(b"\xfe"), 100).unwrap(), Whole::Binary(b(b"\xff\xfe")));
    }

    #[test]
    fn the_whole_message_is_bounded() {
        let mut f = Fragments::default();
        f.start(Kind::Text, &b(b"abc"), 4).unwrap();
        assert_eq!(f.append(&b(b"de"), 4), Err(CloseCode::TooBig));
        assert_eq!(Fragments::default().append(&b(b"a"), 4), Err(CloseCode::Protocol));
    }
}
