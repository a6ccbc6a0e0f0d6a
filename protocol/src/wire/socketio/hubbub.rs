//! The `hubbub` vocabulary on the Socket.IO wire: an event's name is its `type`,
//! its fields are the one argument, and an ack callback gets
//! `{"ok":true,...}` or `{"ok":false,"code","message"}`.
//!
//! Everything that is written is the whole payload of a WebSocket text frame (and
//! of a polling record): the Engine.IO prefix `4` and the Socket.IO packet.

use super::{MAIN_NAMESPACE, RawJson};
use crate::{
    error::HubError,
    event::{Event, EventKind, Fieldset, Reply, ReplyId, Request},
    wire::{engineio::MESSAGE_PREFIX, json},
};

/// Reads an event: at most one argument, an object.
///
/// Never fails as a whole: what cannot be understood gives a request whose command
/// is the error to answer it with.
#[must_use]
pub fn decode(name: &str, args: &[RawJson], id: Option<u64>) -> Request {
    let reply = id.map_or(ReplyId::None, ReplyId::SocketIo);
    match args {
        [] => json::decode_named(name, None, reply),
        [fields] => json::decode_named(name, Some(fields.get()), reply),
        _ => {
            let why = "the event takes one argument, an object with its fields";
            Request { reply, command: Err(HubError::bad_request(why)) }
        }
    }
}

/// Writes an event.
#[must_use]
pub fn event(namespace: &str, event: &Event) -> Option<Vec<u8>> {
    let kind = event.kind()?;
    Some(named(namespace, kind.as_str(), |out| json::write_fields(out, event)))
}

/// Writes the answer to a request: an ack where one was asked for. Without one an
/// error goes out as the event `error`, and what was asked for (`history`,
/// `members`) under its own name; a command of a batch is answered under the `id`
/// it came with, as the event `ack` or `error`.
#[must_use]
pub fn reply(namespace: &str, id: &ReplyId, reply: &Result<Reply, HubError>) -> Option<Vec<u8>> {
    let (id, name) = match (id, reply) {
        (ReplyId::SocketIo(id), _) => {
            let mut out = head(namespace, b'3');
            out.extend_from_slice(id.to_string().as_bytes());
            out.push(b'[');
            json::write_answer(&mut out, None, true, reply);
            out.push(b']');
            return Some(out);
        }
        (ReplyId::Json(id), Ok(_)) => (Some(&**id), EventKind::Ack.as_str()),
        (ReplyId::Json(id), Err(_)) => (Some(&**id), EventKind::Error.as_str()),
        (ReplyId::None, Err(_)) => (None, EventKind::Error.as_str()),
        (ReplyId::None, Ok(reply)) => (None, reply.standalone()?),
    };
    let ok = id.is_some() && reply.is_ok();
    Some(named(namespace, name, |out| json::write_answer(out, id, ok, reply)))
}

/// An event with one argument. The names of the vocabulary need no escape.
fn named(namespace: &str, name: &str, argument: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = head(namespace, b'2');
    out.extend_from_slice(b"[\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\",");
    argument(&mut out);
    out.push(b']');
    out
}

fn head(namespace: &str, kind: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.push(MESSAGE_PREFIX as u8);
    out.push(kind);
    if namespace != MAIN_NAMESPACE {
        out.extend_from_slice(namespace.as_bytes());
        out.push(b',');
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{
        error::ErrorCode,
        event::{Command, Left},
        id::RoomName,
    };

    fn args(texts: &[&'static str]) -> Vec<RawJson> {
        texts
            .iter()
            .map(|t| RawJson::new(bytestring::ByteString::from_static(t)).unwrap())
            .collect()
    }

    fn text(bytes: Option<Vec<u8>>) -> String {
        String::from_utf8(bytes.unwrap()).unwrap()
    }

    #[test]
    fn the_name_is_the_type_and_the_argument_holds_the_fields() {
        let request = decode("join", &args(&[r#"{"roomId":"a","type":"leave","id":7}"#]), Some(3));
        assert_eq!(request.reply, ReplyId::SocketIo(3));
        assert!(matches!(request.command, Ok(Command::Join(j)) if j.room.as_str() == "a"));
        assert!(matches!(decode("ping", &[], None).command, Ok(Command::Ping)));
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for bad in [&["1"][..], &["[]"], &["{}", "{}"], &[r#"{"a":1,"roomId":1,"roomId":2}"#]] {
            let request = decode("join", &args(bad), Some(1));
            assert_eq!(request.command.unwrap_err().code, ErrorCode::BadRequest, "{bad:?}");
            assert_eq!(request.reply, ReplyId::SocketIo(1));
        }
    }

    #[test]
    fn events_name_their_namespace() {
        let left = Event::Left(Left { room: RoomName::new("a").unwrap() });
        assert_eq!(text(event("/", &left)), r#"42["left",{"roomId":"a"}]"#);
        assert_eq!(text(event("/n", &left)), r#"42/n,["left",{"roomId":"a"}]"#);
        assert_eq!(text(event("/", &Event::Pong)), r#"42["pong",{}]"#);
    }

    #[test]
    fn answers_go_to_the_callback_that_asked() {
        let done = Ok(Reply::Done);
        let error = Err(HubError::bad_request("no"));
        let ack = ReplyId::SocketIo(12);
        assert_eq!(text(reply("/", &ack, &done)), r#"4312[{"ok":true}]"#);
        assert_eq!(
            text(reply("/n", &ack, &error)),
            r#"43/n,12[{"ok":false,"code":"bad_request","message":"no"}]"#
        );
        assert_eq!(reply("/", &ReplyId::None, &done), None);
        assert_eq!(
            text(reply("/", &ReplyId::None, &error)),
            r#"42["error",{"code":"bad_request","message":"no"}]"#
        );
        let of_batch = ReplyId::Json("\"x\"".into());
        assert_eq!(text(reply("/", &of_batch, &done)), r#"42["ack",{"id":"x","ok":true}]"#);
    }
}
