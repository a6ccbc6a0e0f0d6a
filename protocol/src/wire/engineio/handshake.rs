//! The open packet.

use serde::{Deserialize, Serialize};

use super::{Packet, PacketType, Transport};

/// Why the text of an open packet is refused (by a client).
#[derive(Debug, thiserror::Error)]
#[error("the handshake is not the JSON of an open packet: {0}")]
pub struct HandshakeError(#[from] serde_json::Error);

/// What the server tells in its first packet, in the order of the reference:
/// `{"sid","upgrades","pingInterval","pingTimeout","maxPayload"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Handshake {
    /// The session's id, sent back as `sid` in every later request.
    pub sid: String,
    /// Transports the client may upgrade to: `["websocket"]` on polling, none
    /// on WebSocket.
    pub upgrades: Vec<Transport>,
    /// Milliseconds between the server's pings.
    pub ping_interval: u64,
    /// Milliseconds the client has to answer, and the server to come again.
    pub ping_timeout: u64,
    /// Most UTF-8 bytes in the body of a POST.
    pub max_payload: u64,
}

impl Handshake {
    /// Appends the open packet, its `0` included.
    pub fn encode(&self, out: &mut String) {
        out.push(PacketType::Open.prefix());
        // Strings and integers only: this cannot fail.
        if let Ok(json) = serde_json::to_string(self) {
            out.push_str(&json);
        }
    }

    /// The open packet, for a [`PayloadWriter`](super::PayloadWriter).
    #[must_use]
    pub fn to_packet(&self) -> Packet {
        let mut text = String::new();
        self.encode(&mut text);
        text.remove(0);
        Packet::Open(text.into())
    }

    /// Reads the text of an open packet (what follows the `0`), as a client
    /// does. Unknown fields are ignored.
    ///
    /// # Errors
    /// [`HandshakeError`] when it is not JSON or a field is missing.
    pub fn decode(json: &str) -> Result<Self, HandshakeError> {
        Ok(serde_json::from_str(json)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn writes_the_open_packet_of_the_reference() {
        let handshake = Handshake {
            sid: "c2Vzc2lvbg".to_owned(),
            upgrades: vec![Transport::WebSocket],
            ping_interval: 25_000,
            ping_timeout: 20_000,
            max_payload: 1_000_000,
        };
        let mut out = String::new();
        handshake.encode(&mut out);
        assert_eq!(
            out,
            r#"0{"sid":"c2Vzc2lvbg","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
        );
        assert_eq!(Handshake::decode(&out[1..]).unwrap(), handshake);
        assert_eq!(handshake.to_packet(), Packet::Open(out[1..].into()));
        assert!(Handshake::decode("{}").is_err());
    }
}
