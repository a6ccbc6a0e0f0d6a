//! The shipped vocabularies and the language they are written in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod dialects;
mod docs;
mod errors;
mod hubbub;
mod language;

use std::sync::Arc;

use serde_json::{Value, json, value::RawValue};

use super::*;
use crate::{
    error::HubError,
    event::*,
    id::{MessageId, SessionId, UserId},
    position::{Epoch, Position},
    record::{Body, Record, Stored},
    timestamp::Timestamp,
};

/// 2025-01-15T10:30:00.250Z
const AT: Timestamp = Timestamp(1_736_937_000_250);
const AT_TEXT: &str = "2025-01-15T10:30:00.250Z";
const ID: &str = "00000000-0000-0000-0000-000000000007";

fn shipped_one(name: &str) -> Vocabulary {
    let text = shipped::text(name).unwrap();
    Vocabulary::parse(name, name, text).unwrap_or_else(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"))
    })
}

fn parse(text: &str) -> Vocabulary {
    Vocabulary::parse("test", "test.toml", text).unwrap()
}

fn room(name: &str) -> RoomName {
    RoomName::new(name).unwrap()
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn raw(json: &str) -> Option<Box<RawValue>> {
    Some(RawValue::from_string(json.into()).unwrap())
}

fn stored(room_name: &str, body: Body) -> Event {
    Event::Stored(Arc::new(Stored {
        position: Position { epoch: Epoch(1), offset: 4 },
        record: Record {
            id: MessageId(uuid::Uuid::from_u128(7)),
            room: room(room_name),
            user: Some(user("ann")),
            username: Some("Ann".into()),
            timestamp: AT,
            body,
            trace: None,
        },
    }))
}

fn message(room_name: &str, content: &str) -> Event {
    stored(room_name, Body::Message { content: content.into(), data: None })
}

fn member(room_name: &str) -> Member {
    Member {
        room: room(room_name),
        user: user("ann"),
        username: Some("Ann".into()),
        status: Status::Online,
        socket_count: 2,
        timestamp: AT,
        node: None,
    }
}

fn typing(is_typing: bool) -> Event {
    let (room, user) = (room("r1"), user("ann"));
    Event::Typing(Typing { room, user, username: Some("Ann".into()), is_typing })
}

fn presence(status: Status, socket_count: usize) -> Event {
    Event::Presence(PresenceChanged {
        user: user("ann"),
        status,
        socket_count,
        timestamp: AT,
        username: None,
    })
}

fn custom(name: &str, by: Option<&str>, data: &str) -> Event {
    Event::Volatile(CustomEvent {
        room: None,
        user: by.map(user),
        username: None,
        name: name.into(),
        data: raw(data),
        node: Some("node-1".into()),
        timestamp: AT,
    })
}

fn authenticated() -> Event {
    Event::Authenticated(Authenticated {
        session: SessionId(uuid::Uuid::from_u128(9)),
        user: user("ann"),
        node: "node-1".into(),
        timestamp: AT,
        receipts: false,
    })
}

fn published() -> Reply {
    let position = Position { epoch: Epoch(1), offset: 4 };
    let Event::Stored(stored) = message("r1", "hi") else { panic!() };
    Reply::Published { id: stored.record.id, position, stored: Some(stored) }
}

/// A Socket.IO event as a client emits it.
fn emit(vocabulary: &Vocabulary, name: &str, args: &[Value]) -> Request {
    let args: Vec<String> = args.iter().map(ToString::to_string).collect();
    vocabulary.decode_event(name, &args, Some(3))
}

fn command(request: Request) -> Command {
    request.command.unwrap()
}

/// What a client hears: the event's name, then its arguments.
fn hears(vocabulary: &Vocabulary, event: &Event, copy: Copy) -> Value {
    match vocabulary.encode(event, copy) {
        None => Value::Null,
        Some(rendered) => {
            let args = rendered.args.iter().map(|arg| serde_json::from_str(arg).unwrap());
            [json!(rendered.name)].into_iter().chain(args).collect()
        }
    }
}

/// The frame of the JSON wire.
fn frame(vocabulary: &Vocabulary, event: &Event) -> Value {
    let bytes = vocabulary.encode_json(event, Copy::Others);
    bytes.map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap())
}

/// The arguments of an ack.
fn ack(vocabulary: &Vocabulary, reply: Result<Reply, HubError>) -> Value {
    match vocabulary.reply(&ReplyId::SocketIo(3), &reply) {
        Some(Answer::Ack(args)) => {
            args.iter().map(|a| serde_json::from_str::<Value>(a).unwrap()).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// The event that answers a request that asked for no ack.
fn told(vocabulary: &Vocabulary, reply: Result<Reply, HubError>) -> Value {
    match vocabulary.reply(&ReplyId::None, &reply) {
        None => Value::Null,
        Some(Answer::Event(rendered)) => {
            let args = rendered.args.iter().map(|arg| serde_json::from_str(arg).unwrap());
            [json!(rendered.name)].into_iter().chain(args).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_shipped_vocabulary_compiles() {
    for (name, _) in shipped::SHIPPED {
        let vocabulary = shipped_one(name);
        assert_eq!(vocabulary.name(), name);
        assert!(shipped::get(name).is_some());
    }
    assert!(shipped::get("none-such").is_none());
}
