//! Many packets in one HTTP body.

use bytes::Bytes;
use bytestring::ByteString;

use super::{Packet, PacketError};

/// What stands between two packets: ASCII record separator.
pub const SEPARATOR: char = '\u{1e}';

/// Why the body of a POST is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Above `maxPayload`: answer 413 with an empty body.
    #[error("the payload exceeds the limit of {max} bytes")]
    TooLarge {
        /// The limit in bytes.
        max: usize,
    },
    /// Not UTF-8: answer 400 and close the session.
    #[error("the payload is not valid UTF-8")]
    InvalidUtf8,
    /// A record is no packet: close the session; what came before it counts.
    #[error(transparent)]
    Packet(#[from] PacketError),
}

impl PayloadError {
    /// A stable word for counters and logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::Packet(error) => error.code(),
        }
    }
}

/// The packets of a body, read one at a time so that a body of many small
/// packets costs no memory of its own. Ends after the first error. Packets
/// behind a [`Packet::Close`] are still given; it is the session that stops.
#[derive(Debug, Clone)]
pub struct Payload {
    body: ByteString,
    /// Where the next record starts; `None` at the end.
    next: Option<usize>,
}

impl Payload {
    /// Takes the body of a POST, of at most `max_payload` bytes (UTF-8 bytes
    /// of the whole body, separators included).
    ///
    /// # Errors
    /// [`PayloadError::TooLarge`], [`PayloadError::InvalidUtf8`].
    pub fn new(body: Bytes, max_payload: usize) -> Result<Self, PayloadError> {
        if body.len() > max_payload {
            return Err(PayloadError::TooLarge { max: max_payload });
        }
        let body = ByteString::try_from(body).map_err(|_| PayloadError::InvalidUtf8)?;
        Ok(Self { body, next: Some(0) })
    }
}

impl Iterator for Payload {
    type Item = Result<Packet, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.body[self.next?..];
        let record = match rest.split_once(SEPARATOR) {
            Some((record, after)) => {
                self.next = Some(self.body.len() - after.len());
                record
            }
            None => {
                self.next = None;
                rest
            }
        };
        let packet = Packet::decode(&self.body.slice_ref(record));
        if packet.is_err() {
            self.next = None;
        }
        Some(packet)
    }
}

/// Builds the body of a poll's answer, or of a client's POST, up to
/// `maxPayload`.
///
/// ```
/// use hubbub_protocol::wire::engineio::{Packet, PayloadWriter};
///
/// let mut body = PayloadWriter::new(9);
/// assert!(body.push(&Packet::Text("one".into())));
/// assert!(body.push_rendered("42[0]") == false); // 4 + 1 + 5 bytes
/// assert_eq!(body.finish(), "4one");
/// ```
#[derive(Debug)]
pub struct PayloadWriter {
    body: String,
    max_payload: usize,
    packets: usize,
}

impl PayloadWriter {
    /// An empty body that may grow to `max_payload` UTF-8 bytes.
    #[must_use]
    pub const fn new(max_payload: usize) -> Self {
        Self { body: String::new(), max_payload, packets: 0 }
    }

    /// Appends `packet` unless the body would exceed its limit; false means
    /// that the packet belongs to the next body. The first packet is always
    /// taken, whatever its size: it cannot be made smaller by waiting, so
    /// bound packets before they come here.
    #[must_use]
    pub fn push(&mut self, packet: &Packet) -> bool {
        if !self.reserve(packet.encoded_len()) {
            return false;
        }
        packet.encode(&mut self.body);
        true
    }

    /// Appends a packet that is text already, its prefix included (a frame
    /// rendered once for all transports). It must not be empty and must not
    /// contain [`SEPARATOR`]; JSON never does, since it escapes control
    /// characters.
    #[must_use]
    pub fn push_rendered(&mut self, packet: &str) -> bool {
        if !self.reserve(packet.len()) {
            return false;
        }
        self.body.push_str(packet);
        true
    }

    /// Appends a binary message as `b` and base64.
    #[must_use]
    pub fn push_binary(&mut self, data: &Bytes) -> bool {
        self.push(&Packet::Binary(data.clone()))
    }

    /// How many packets the body holds.
    #[must_use]
    pub const fn packets(&self) -> usize {
        self.packets
    }

    /// Whether nothing was pushed yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// The length of the body so far, in UTF-8 bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// The body.
    #[must_use]
    pub fn finish(self) -> String {
        self.body
    }

    /// Makes room for a record of `len` bytes and writes the separator.
    fn reserve(&mut self, len: usize) -> bool {
        if self.packets > 0 {
            let total = self.body.len().saturating_add(1).saturating_add(len);
            if total > self.max_payload {
                return false;
            }
            self.body.push(SEPARATOR);
        }
        self.body.reserve(len);
        self.packets += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn decode(body: &str) -> Vec<Result<Packet, PacketError>> {
        Payload::new(Bytes::copy_from_slice(body.as_bytes()), 1000).unwrap().collect()
    }

    fn text(text: &'static str) -> Packet {
        Packet::Text(ByteString::from_static(text))
    }

    #[test]
    fn splits_records() {
        assert_eq!(decode("4a"), [Ok(text("a"))]);
        assert_eq!(
            decode("4a\u{1e}bAQ==\u{1e}1"),
            [Ok(text("a")), Ok(Packet::Binary(Bytes::from_static(&[1]))), Ok(Packet::Close)]
        );
    }

    #[test]
    fn ends_after_the_first_error() {
        assert_eq!(decode(""), [Err(PacketError::Empty)]);
        assert_eq!(decode("4a\u{1e}"), [Ok(text("a")), Err(PacketError::Empty)]);
        assert_eq!(decode("\u{1e}4a"), [Err(PacketError::Empty)]);
        assert_eq!(decode("4a\u{1e}x\u{1e}4b"), [Ok(text("a")), Err(PacketError::UnknownType)]);
    }

    #[test]
    fn counts_bytes_not_characters() {
        let body = Bytes::from("4é");
        assert!(Payload::new(body.clone(), 3).is_ok());
        let error = Payload::new(body, 2).unwrap_err();
        assert_eq!(error, PayloadError::TooLarge { max: 2 });
        let error = Payload::new(Bytes::from_static(b"4\xFF"), 9).unwrap_err();
        assert_eq!(error, PayloadError::InvalidUtf8);
    }

    #[test]
    fn batches_up_to_the_limit() {
        let mut writer = PayloadWriter::new(8);
        assert!(writer.is_empty());
        assert!(writer.push(&text("é"))); // 3 bytes
        assert!(writer.push(&Packet::Noop)); // 5
        assert!(!writer.push(&text("xy"))); // 9
        assert!(writer.push_rendered("4z")); // 8
        assert!(!writer.push(&Packet::Noop));
        assert_eq!((writer.packets(), writer.len()), (3, 8));
        assert_eq!(writer.finish(), "4é\u{1e}6\u{1e}4z");
    }

    #[test]
    fn a_first_packet_above_the_limit_goes_alone() {
        let mut writer = PayloadWriter::new(4);
        assert!(writer.push_binary(&Bytes::from_static(&[0; 30])));
        assert!(!writer.push(&Packet::Noop));
        assert_eq!(writer.len(), 41);
    }

    proptest! {
        #[test]
        fn batches_lose_and_reorder_nothing(
            messages in prop::collection::vec(("[^\u{1e}]{0,9}", any::<bool>()), 1..20),
            max in 1_usize..60,
        ) {
            let packets: Vec<Packet> = messages
                .into_iter()
                .map(|(text, binary)| {
                    if binary {
                        Packet::Binary(text.into_bytes().into())
                    } else {
                        Packet::Text(text.into())
                    }
                })
                .collect();
            let mut got = Vec::new();
            let mut rest = &packets[..];
            while !rest.is_empty() {
                let mut writer = PayloadWriter::new(max);
                let taken = rest.iter().take_while(|packet| writer.push(packet)).count();
                prop_assert!(taken == 1 || writer.len() <= max);
                prop_assert_eq!(taken, writer.packets());
                rest = &rest[taken..];
                let body = Bytes::from(writer.finish());
                for packet in Payload::new(body, usize::MAX).unwrap() {
                    got.push(packet.unwrap());
                }
            }
            prop_assert_eq!(got, packets);
        }
    }
}
