//! One Engine.IO packet.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use bytestring::ByteString;

use super::{BINARY_PREFIX, MESSAGE_PREFIX};

/// Padding is written, and may be missing on the way in, as in the reference.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The seven kinds of packets, each with the digit that starts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PacketType {
    /// `0`: the handshake, from the server.
    Open,
    /// `1`: the session ends.
    Close,
    /// `2`: a heartbeat from the server, or `2probe` from an upgrading client.
    Ping,
    /// `3`: the answer to a ping.
    Pong,
    /// `4`: a message of the layer above.
    Message,
    /// `5`: the client has moved to the new transport.
    Upgrade,
    /// `6`: nothing; releases a waiting poll.
    Noop,
}

impl PacketType {
    /// The character on the wire, `0` to `6`.
    #[must_use]
    pub const fn prefix(self) -> char {
        match self {
            Self::Open => '0',
            Self::Close => '1',
            Self::Ping => '2',
            Self::Pong => '3',
            Self::Message => MESSAGE_PREFIX,
            Self::Upgrade => '5',
            Self::Noop => '6',
        }
    }

    /// The kind that `prefix` starts.
    #[must_use]
    pub const fn from_prefix(prefix: u8) -> Option<Self> {
        Some(match prefix {
            b'0' => Self::Open,
            b'1' => Self::Close,
            b'2' => Self::Ping,
            b'3' => Self::Pong,
            b'4' => Self::Message,
            b'5' => Self::Upgrade,
            b'6' => Self::Noop,
            _ => return None,
        })
    }
}

/// Why a text is no packet. The reference closes the session with "parse
/// error"; so must the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Nothing at all, for example between two separators.
    #[error("an Engine.IO packet must not be empty")]
    Empty,
    /// The first character is none of `0` to `6` and `b`.
    #[error("an Engine.IO packet must begin with 0 to 6 or b")]
    UnknownType,
    /// What follows `b` is not base64. (The reference decodes what it can and
    /// drops the rest in silence.)
    #[error("the binary packet is not valid base64")]
    InvalidBase64,
}

impl PacketError {
    /// A stable word for counters and logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "packet_empty",
            Self::UnknownType => "packet_type_unknown",
            Self::InvalidBase64 => "packet_base64_invalid",
        }
    }
}

/// A packet. Text is shared with the frame or body it was cut from: keeping a
/// packet keeps that buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// The handshake: JSON, see [`Handshake`](super::Handshake).
    Open(ByteString),
    /// The session ends.
    Close,
    /// A heartbeat; the text is empty, or `probe` while upgrading.
    Ping(ByteString),
    /// The answer to a ping, with the ping's text.
    Pong(ByteString),
    /// A text message.
    Text(ByteString),
    /// A binary message: a whole binary frame over WebSocket, base64 over
    /// polling.
    Binary(Bytes),
    /// The client has moved to the new transport.
    Upgrade,
    /// Nothing.
    Noop,
}

impl Packet {
    /// Reads one packet: a WebSocket text frame, or a record of a polling
    /// payload. Text behind `1`, `5` and `6` is ignored, as in the reference.
    ///
    /// # Errors
    /// See [`PacketError`].
    pub fn decode(text: &ByteString) -> Result<Self, PacketError> {
        let prefix = *text.as_bytes().first().ok_or(PacketError::Empty)?;
        if prefix == BINARY_PREFIX as u8 {
            let binary =
                BASE64.decode(&text.as_bytes()[1..]).map_err(|_| PacketError::InvalidBase64)?;
            return Ok(Self::Binary(binary.into()));
        }
        let kind = PacketType::from_prefix(prefix).ok_or(PacketError::UnknownType)?;
        // The prefix is ASCII, so 1 is a character boundary.
        let rest = || text.slice_ref(&text[1..]);
        Ok(match kind {
            PacketType::Open => Self::Open(rest()),
            PacketType::Close => Self::Close,
            PacketType::Ping => Self::Ping(rest()),
            PacketType::Pong => Self::Pong(rest()),
            PacketType::Message => Self::Text(rest()),
            PacketType::Upgrade => Self::Upgrade,
            PacketType::Noop => Self::Noop,
        })
    }

    /// Which of the seven kinds this is.
    #[must_use]
    pub const fn kind(&self) -> PacketType {
        match self {
            Self::Open(_) => PacketType::Open,
            Self::Close => PacketType::Close,
            Self::Ping(_) => PacketType::Ping,
            Self::Pong(_) => PacketType::Pong,
            Self::Text(_) | Self::Binary(_) => PacketType::Message,
            Self::Upgrade => PacketType::Upgrade,
            Self::Noop => PacketType::Noop,
        }
    }

    /// Appends the packet as text; binary as `b` and base64. (Over WebSocket
    /// send the bytes of [`Packet::Binary`] as a binary frame instead.)
    pub fn encode(&self, out: &mut String) {
        match self {
            Self::Binary(data) => {
                out.push(BINARY_PREFIX);
                BASE64.encode_string(data, out);
            }
            Self::Open(text) | Self::Ping(text) | Self::Pong(text) | Self::Text(text) => {
                out.push(self.kind().prefix());
                out.push_str(text);
            }
            Self::Close | Self::Upgrade | Self::Noop => out.push(self.kind().prefix()),
        }
    }

    /// How many bytes [`encode`](Self::encode) appends.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        1 + match self {
            Self::Binary(data) => data.len().div_ceil(3).saturating_mul(4),
            Self::Open(text) | Self::Ping(text) | Self::Pong(text) | Self::Text(text) => text.len(),
            Self::Close | Self::Upgrade | Self::Noop => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn decode(text: &str) -> Result<Packet, PacketError> {
        Packet::decode(&ByteString::from(text))
    }

    fn encode(packet: &Packet) -> String {
        let mut out = String::new();
        packet.encode(&mut out);
        out
    }

    #[test]
    fn reads_every_kind() {
        let text = ByteString::from_static;
        assert_eq!(decode("0{}"), Ok(Packet::Open(text("{}"))));
        assert_eq!(decode("1"), Ok(Packet::Close));
        assert_eq!(decode("2"), Ok(Packet::Ping(text(""))));
        assert_eq!(decode("2probe"), Ok(Packet::Ping(text("probe"))));
        assert_eq!(decode("3probe"), Ok(Packet::Pong(text("probe"))));
        assert_eq!(decode("4héllo"), Ok(Packet::Text(text("héllo"))));
        assert_eq!(decode("5"), Ok(Packet::Upgrade));
        assert_eq!(decode("6"), Ok(Packet::Noop));
        let binary = Packet::Binary(Bytes::from_static(&[1, 2, 3, 4]));
        assert_eq!(decode("bAQIDBA=="), Ok(binary.clone()));
        assert_eq!(decode("bAQIDBA"), Ok(binary));
        assert_eq!(decode("b"), Ok(Packet::Binary(Bytes::new())));
    }

    #[test]
    fn refuses_what_is_no_packet() {
        assert_eq!(decode(""), Err(PacketError::Empty));
        for bad in ["7", "a", "-", "é", " 4", "\u{1e}4"] {
            assert_eq!(decode(bad), Err(PacketError::UnknownType), "{bad:?}");
        }
        for bad in ["b!", "bA", "bAQ=D", "bé", "b AQID"] {
            assert_eq!(decode(bad), Err(PacketError::InvalidBase64), "{bad:?}");
        }
    }

    #[test]
    fn text_is_shared_with_its_frame() {
        let frame = ByteString::from("4shared");
        let Ok(Packet::Text(text)) = Packet::decode(&frame) else {
            panic!("a text message");
        };
        assert_eq!(text.as_ptr(), frame[1..].as_ptr());
    }

    proptest! {
        #[test]
        fn comes_back_as_it_went(data in prop::collection::vec(any::<u8>(), 0..50), text: String) {
            let text = ByteString::from(text);
            for packet in [
                Packet::Binary(data.into()),
                Packet::Open(text.clone()),
                Packet::Ping(text.clone()),
                Packet::Pong(text.clone()),
                Packet::Text(text),
                Packet::Close,
                Packet::Upgrade,
                Packet::Noop,
            ] {
                let encoded = encode(&packet);
                prop_assert_eq!(encoded.len(), packet.encoded_len());
                prop_assert_eq!(decode(&encoded), Ok(packet));
            }
        }
    }
}
