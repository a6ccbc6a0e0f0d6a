//! The two wires as a client speaks them, in the `hubbub` vocabulary: what is sent, and a cheap
//! look at what comes. Nothing is parsed that the load does not need.

use std::io::Write;

use serde_json::json;

/// Ids of requests to join; those of messages begin at [`FIRST_MESSAGE_ID`].
pub const FIRST_MESSAGE_ID: u64 = 1000;

/// A wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// `/ws`
    Json,
    /// `/socket.io/` over WebSocket
    SocketIo,
}

/// What came, as far as the load cares.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// The transport is open and waits for a token (Socket.IO).
    Open,
    /// The session is open.
    Authenticated,
    /// A message to a room; the JSON text with its fields.
    Message(&'a [u8]),
    /// A room is joined; the JSON text with its fields.
    Joined(&'a [u8]),
    /// A request went well.
    Ack {
        /// The id of the request.
        id: u64,
        /// The JSON text with the fields.
        body: &'a [u8],
    },
    /// A request was refused, or something else went wrong.
    Refused {
        /// The id of the request, if there was one.
        id: Option<u64>,
        /// The JSON text with `code` and `message`.
        body: &'a [u8],
    },
    /// The hub asks whether we are there (Engine.IO).
    Ping,
    /// The hub ends the session; do not come back (Socket.IO).
    Ended,
    /// Anything else.
    Other,
}

impl Wire {
    /// The request line's target.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Json => "/ws",
            Self::SocketIo => "/socket.io/?EIO=4&transport=websocket",
        }
    }

    /// Puts a request into `out`: event name and fields (a JSON object).
    pub fn request(self, out: &mut Vec<u8>, name: &str, id: u64, fields: &str) {
        // Writing to a `Vec` does not fail.
        let _ = match self {
            Self::Json => {
                let fields = fields.trim_start_matches('{');
                let comma = if fields == "}" { "" } else { "," };
                write!(out, r#"{{"type":"{name}","id":{id}{comma}{fields}"#)
            }
            Self::SocketIo => write!(out, r#"42{id}["{name}",{fields}]"#),
        };
    }

    /// What opens the session once the transport is open; none if the handshake did.
    #[must_use]
    pub fn open(self, token: &str) -> Option<String> {
        match self {
            Self::Json => None,
            Self::SocketIo => Some(format!("40{}", json!({ "token": token }))),
        }
    }

    /// A first look at a text frame.
    #[must_use]
    pub fn hear(self, payload: &[u8]) -> Heard<'_> {
        match self {
            Self::Json => hear_json(payload),
            Self::SocketIo => hear_socketio(payload),
        }
    }
}

fn hear_json(payload: &[u8]) -> Heard<'_> {
    // The hub writes `type` first and without spaces.
    let Some(rest) = payload.strip_prefix(br#"{"type":""#) else { return Heard::Other };
    let Some(end) = memchr::memchr(b'"', rest) else { return Heard::Other };
    match &rest[..end] {
        b"message" => Heard::Message(payload),
        b"ack" => number_after(payload, br#","id":"#)
            .map_or(Heard::Other, |id| Heard::Ack { id, body: payload }),
        b"error" => Heard::Refused { id: number_after(payload, br#","id":"#), body: payload },
        b"joined" => Heard::Joined(payload),
        b"authenticated" => Heard::Authenticated,
        _ => Heard::Other,
    }
}

fn hear_socketio(payload: &[u8]) -> Heard<'_> {
    match payload {
        [b'2'] => Heard::Ping,
        [b'0', ..] => Heard::Open,
        [b'4', b'2', b'[', b'"', rest @ ..] => {
            let Some(end) = memchr::memchr(b'"', rest) else { return Heard::Other };
            let body = &rest[end..];
            match &rest[..end] {
                b"message" => Heard::Message(body),
                b"joined" => {
                    // Between the name and the bracket at the end; an offset may follow the object.
                    Heard::Joined(body.strip_prefix(br#"","#).unwrap_or(body))
                }
                b"authenticated" => Heard::Authenticated,
                b"error" => Heard::Refused { id: None, body: body.get(2..).unwrap_or(body) },
                _ => Heard::Other,
            }
        }
        [b'4', b'3', rest @ ..] => {
            let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            let Some(body) = rest.get(digits + 1..) else { return Heard::Other };
            let Some(id) = number(&rest[..digits]) else { return Heard::Other };
            if body.starts_with(br#"{"ok":true"#) {
                Heard::Ack { id, body }
            } else {
                Heard::Refused { id: Some(id), body }
            }
        }
        [b'4', b'4', rest @ ..] => Heard::Refused { id: None, body: rest },
        [b'4', b'1', ..] | [b'1'] => Heard::Ended,
        _ => Heard::Other,
    }
}

fn number_after(payload: &[u8], name: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(payload, name)? + name.len();
    let digits = payload[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    number(&payload[at..at + digits])
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The first JSON value of a text, whatever follows it.
#[must_use]
pub fn first_value(body: &[u8]) -> Option<serde_json::Value> {
    serde_json::Deserializer::from_slice(body).into_iter().next()?.ok()
}

/// `code: message` of a refusal, for people.
#[must_use]
pub fn reason(body: &[u8]) -> String {
    let Some(value) = first_value(body) else {
        return String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
    };
    // HTTP puts both into `error`; Socket.IO's CONNECT_ERROR puts the code into `data`.
    let inner = value.get("error").filter(|e| e.is_object()).unwrap_or(&value);
    let code = inner.get("code").or_else(|| inner.get("data")?.get("code"));
    let text = |v: Option<&serde_json::Value>| match v {
        Some(serde_json::Value::String(s)) => s.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    match (text(code), text(inner.get("message"))) {
        (code, message) if message.is_empty() => code,
        (code, message) => format!("{code}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_the_wires_say() {
        let text = |wire: Wire, fields| {
            let mut out = Vec::new();
            wire.request(&mut out, "join", 7, fields);
            String::from_utf8(out).unwrap_or_default()
        };
        assert_eq!(text(Wire::Json, r#"{"roomId":"r"}"#), r#"{"type":"join","id":7,"roomId":"r"}"#);
        assert_eq!(text(Wire::Json, "{}"), r#"{"type":"join","id":7}"#);
        assert_eq!(text(Wire::SocketIo, r#"{"roomId":"r"}"#), r#"427["join",{"roomId":"r"}]"#);
    }

    #[test]
    fn the_json_wire_is_heard() {
        let hear = |text: &'static str| Wire::Json.hear(text.as_bytes());
        assert_eq!(hear(r#"{"type":"authenticated"}"#), Heard::Authenticated);
        let ack = r#"{"type":"ack","id":1042,"ok":true,"offset":3}"#;
        assert_eq!(hear(ack), Heard::Ack { id: 1042, body: ack.as_bytes() });
        let no = r#"{"type":"error","id":5,"code":"c","message":"m"}"#;
        assert_eq!(hear(no), Heard::Refused { id: Some(5), body: no.as_bytes() });
        assert!(matches!(hear(r#"{"type":"message","id":"x"}"#), Heard::Message(_)));
        assert_eq!(hear(r#"{"type":"user_joined"}"#), Heard::Other);
        assert_eq!(hear("nonsense"), Heard::Other);
    }

    #[test]
    fn the_socketio_wire_is_heard() {
        let hear = |text: &'static str| Wire::SocketIo.hear(text.as_bytes());
        assert_eq!(hear("2"), Heard::Ping);
        assert_eq!(hear(r#"0{"sid":"x"}"#), Heard::Open);
        assert_eq!(hear(r#"40{"sid":"x"}"#), Heard::Other);
        assert!(matches!(hear(r#"42["message",{"a":1},"offset"]"#), Heard::Message(_)));
        assert_eq!(hear(r#"42["joined",{"a":1},"o"]"#), Heard::Joined(br#"{"a":1},"o"]"#));
        assert_eq!(hear(r#"4312[{"ok":true}]"#), Heard::Ack { id: 12, body: br#"{"ok":true}]"# });
        assert!(matches!(
            hear(r#"4312[{"ok":false,"code":"c"}]"#),
            Heard::Refused { id: Some(12), .. }
        ));
        assert_eq!(hear("41"), Heard::Ended);
        assert!(matches!(hear(r#"44{"message":"m"}"#), Heard::Refused { id: None, .. }));
        assert_eq!(hear("43"), Heard::Other);
    }

    #[test]
    fn refusals_are_told_as_they_came() {
        for (body, told) in [
            (r#"{"type":"error","code":"c","message":"m"}"#, "c: m"),
            (r#"{"ok":false,"code":"c","message":"m"}]"#, "c: m"),
            (r#"{"error":{"code":"c","message":"m"}}"#, "c: m"),
            (r#"{"message":"m","data":{"code":"c"}}"#, "c: m"),
            ("plain", "plain"),
        ] {
            assert_eq!(reason(body.as_bytes()), told);
        }
    }
}
