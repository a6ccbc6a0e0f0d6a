//! From parts to text. Arguments are JSON texts and are copied as they are.
//!
//! Every `write_...` function appends the Socket.IO packet alone;
//! [`engine_frame`] puts the Engine.IO prefix in front, so that the payload of
//! a WebSocket text frame (and of a polling record) is rendered once for all
//! members of a room.
//!
//! The caller answers for two things: namespaces begin with `/` and hold no
//! comma (as every decoded one), and arguments are valid JSON.

use std::fmt::Write as _;

use super::{Body, EventName, MAIN_NAMESPACE, Packet};
use crate::wire::engineio::MESSAGE_PREFIX;

/// The payload of a WebSocket text frame: the Engine.IO message prefix `4`
/// and the packet that `write` appends.
///
/// ```
/// use hubbub_protocol::wire::socketio::{engine_frame, write_event};
///
/// let frame = engine_frame(|out| write_event(out, "/", "typing", &["true"], None, 0));
/// assert_eq!(frame, r#"42["typing",true]"#);
/// ```
#[must_use]
pub fn engine_frame(write: impl FnOnce(&mut String)) -> String {
    let mut frame = String::with_capacity(64);
    frame.push(MESSAGE_PREFIX);
    write(&mut frame);
    frame
}

/// An event without attachments, see [`write_event`].
#[must_use]
pub fn encode_event(
    namespace: &str,
    event_name: &str,
    args_json: &[&str],
    ack_id: Option<u64>,
) -> String {
    let mut out = String::new();
    write_event(&mut out, namespace, event_name, args_json, ack_id, 0);
    out
}

/// An ack without attachments, see [`write_ack`].
#[must_use]
pub fn encode_ack(namespace: &str, ack_id: u64, args_json: &[&str]) -> String {
    let mut out = String::new();
    write_ack(&mut out, namespace, Some(ack_id), args_json, 0);
    out
}

/// Appends an EVENT, or a BINARY_EVENT when `attachments` is above zero: then
/// as many binary messages must follow, and the placeholders in `args_json`
/// name them. `ack_id` asks the peer for an ack.
///
/// Users can send objects that look like placeholders in plain events, where
/// they are data. In a packet with attachments they would be taken for real,
/// and a wrong index makes stock clients close their connection: before mixing
/// such JSON with attachments of another source, refuse what fails
/// [`find_placeholders(json, 0)`](super::find_placeholders).
pub fn write_event<A: AsRef<str>>(
    out: &mut String,
    namespace: &str,
    event_name: &str,
    args_json: &[A],
    ack_id: Option<u64>,
    attachments: usize,
) {
    write_head(out, ['2', '5'], attachments, namespace, ack_id);
    out.push('[');
    write_string(out, event_name);
    write_rest(out, args_json);
}

/// Appends an ACK, or a BINARY_ACK when `attachments` is above zero.
pub fn write_ack<A: AsRef<str>>(
    out: &mut String,
    namespace: &str,
    ack_id: Option<u64>,
    args_json: &[A],
    attachments: usize,
) {
    write_head(out, ['3', '6'], attachments, namespace, ack_id);
    out.push('[');
    match args_json.split_first() {
        Some((first, rest)) => {
            out.push_str(first.as_ref());
            write_rest(out, rest);
        }
        None => out.push(']'),
    }
}

/// Appends a client's CONNECT; `auth_json` is an object or nothing.
pub fn write_connect(out: &mut String, namespace: &str, auth_json: Option<&str>) {
    write_head(out, ['0', '0'], 0, namespace, None);
    out.push_str(auth_json.unwrap_or_default());
}

/// Appends the server's answer to a CONNECT, `{"sid":...}` or, with a private
/// id for connection state recovery, `{"sid":...,"pid":...}`.
pub fn write_connected(out: &mut String, namespace: &str, sid: &str, pid: Option<&str>) {
    write_head(out, ['0', '0'], 0, namespace, None);
    out.push_str(r#"{"sid":"#);
    write_string(out, sid);
    if let Some(pid) = pid {
        out.push_str(r#","pid":"#);
        write_string(out, pid);
    }
    out.push('}');
}

/// Appends the refusal of a namespace: `{"message":...}`, and `"data"` if
/// there is some (as JSON). Clients show the message as the error's text.
pub fn write_connect_error(
    out: &mut String,
    namespace: &str,
    message: &str,
    data_json: Option<&str>,
) {
    write_head(out, ['4', '4'], 0, namespace, None);
    out.push_str(r#"{"message":"#);
    write_string(out, message);
    if let Some(data) = data_json {
        out.push_str(r#","data":"#);
        out.push_str(data);
    }
    out.push('}');
}

/// Appends a DISCONNECT. From the server it means "io server disconnect": the
/// client stays away until the application connects again.
pub fn write_disconnect(out: &mut String, namespace: &str) {
    write_head(out, ['1', '1'], 0, namespace, None);
}

/// Appends any packet. Its attachments, if it has some, must follow as binary
/// messages.
pub fn write_packet(out: &mut String, packet: &Packet) {
    let namespace = &packet.namespace;
    match &packet.body {
        Body::Connect { data } => {
            write_connect(out, namespace, data.as_ref().map(AsRef::as_ref));
        }
        Body::Disconnect => write_disconnect(out, namespace),
        Body::Event { name: EventName::Text(name), args, id, attachments } => {
            write_event(out, namespace, name, args, *id, attachments.len())
        }
        Body::Event { name: EventName::Number(name), args, id, attachments } => {
            write_head(out, ['2', '5'], attachments.len(), namespace, *id);
            out.push('[');
            out.push_str(name);
            write_rest(out, args);
        }
        Body::Ack { id, args, attachments } => {
            write_ack(out, namespace, *id, args, attachments.len())
        }
        Body::ConnectError { data } => {
            write_head(out, ['4', '4'], 0, namespace, None);
            out.push_str(data.get());
        }
    }
}

/// Type (`types` without and with attachments), count, namespace and ack id.
fn write_head(
    out: &mut String,
    types: [char; 2],
    attachments: usize,
    namespace: &str,
    ack_id: Option<u64>,
) {
    if attachments == 0 {
        out.push(types[0]);
    } else {
        out.push(types[1]);
        // Writing to a String cannot fail.
        let _ = write!(out, "{attachments}-");
    }
    if namespace != MAIN_NAMESPACE {
        out.push_str(namespace);
        out.push(',');
    }
    if let Some(id) = ack_id {
        let _ = write!(out, "{id}");
    }
}

/// The elements after the first, and the closing bracket.
fn write_rest<A: AsRef<str>>(out: &mut String, args_json: &[A]) {
    out.reserve(args_json.iter().map(|arg| arg.as_ref().len() + 1).sum::<usize>() + 1);
    for arg in args_json {
        out.push(',');
        out.push_str(arg.as_ref());
    }
    out.push(']');
}

/// A JSON string literal.
pub(super) fn write_string(out: &mut String, text: &str) {
    if text.bytes().any(|b| matches!(b, b'"' | b'\\' | 0..=0x1F)) {
        let _ = write!(out, "{}", serde_json::Value::from(text));
    } else {
        out.push('"');
        out.push_str(text);
        out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn writes_events_and_acks() {
        assert_eq!(encode_event("/", "hi", &[], None), r#"2["hi"]"#);
        assert_eq!(
            encode_event("/chat", "hi", &["1.50", r#"{"b":1,"a":2}"#], Some(7)),
            r#"2/chat,7["hi",1.50,{"b":1,"a":2}]"#
        );
        assert_eq!(encode_event("/", "a\"b\n", &[], None), r#"2["a\"b\n"]"#);
        assert_eq!(encode_ack("/", 0, &[]), "30[]");
        assert_eq!(encode_ack("/a", u64::MAX, &["null", "2"]), "3/a,18446744073709551615[null,2]");
    }

    #[test]
    fn writes_binary_packets() {
        let place = r#"{"_placeholder":true,"num":0}"#;
        let event = written(|out| write_event(out, "/n", "pic", &[place], Some(3), 1));
        assert_eq!(event, format!(r#"51-/n,3["pic",{place}]"#));
        let ack = written(|out| write_ack(out, "/", Some(3), &[place, place], 2));
        assert_eq!(ack, format!("62-3[{place},{place}]"));
    }

    #[test]
    fn writes_the_life_of_a_namespace() {
        let cases = [
            (written(|o| write_connect(o, "/", None)), "0"),
            (written(|o| write_connect(o, "/a", Some(r#"{"token":"x"}"#))), r#"0/a,{"token":"x"}"#),
            (written(|o| write_connected(o, "/", "s", None)), r#"0{"sid":"s"}"#),
            (written(|o| write_connected(o, "/a", "s", Some("p"))), r#"0/a,{"sid":"s","pid":"p"}"#),
            (written(|o| write_connect_error(o, "/", "no", None)), r#"4{"message":"no"}"#),
            (
                written(|o| write_connect_error(o, "/a", "say \"x\"", Some("[1]"))),
                r#"4/a,{"message":"say \"x\"","data":[1]}"#,
            ),
            (written(|o| write_disconnect(o, "/")), "1"),
            (written(|o| write_disconnect(o, "/a")), "1/a,"),
            (engine_frame(|o| write_disconnect(o, "/")), "41"),
        ];
        for (got, expected) in cases {
            assert_eq!(got, expected);
        }
    }
}
