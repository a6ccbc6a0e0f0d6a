#![allow(clippy::unwrap_used, clippy::panic)]
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::{
    error::{ErrorCode, HubError},
    event::{
        Authenticated, Closing, Command, CustomEvent, Event, EventKind, Fieldset, Joined, Left,
        Member, Notification, PresenceChanged, Receipt, ReceiptStatus, Reply, ReplyId, Status,
        TokenExpiring, Typing,
    },
    id::{MessageId, RoomName, SessionId, UserId},
    position::{Epoch, Position},
    record::{Body, Record, Stored},
    timestamp::Timestamp,
};

fn command(value: Value) -> Command {
    decode(&value.to_string()).command.unwrap()
}

fn refusal(text: &str) -> HubError {
    decode(text).command.unwrap_err()
}

#[test]
fn every_request_is_understood() {
    assert!(
        matches!(command(json!({"type":"auth","token":"t"})), Command::Auth(a) if a.token.as_deref() == Some("t"))
    );
    for join in ["join", "join_room"] {
        let c = command(json!({"type":join,"roomId":"r","since":{"epoch":"0a","offset":3}}));
        let Command::Join(j) = c else { panic!("{c:?}") };
        assert_eq!(j.since, Some(Position { epoch: Epoch(10), offset: 3 }));
    }
    for leave in ["leave", "leave_room"] {
        assert!(
            matches!(command(json!({"type":leave,"roomId":"r"})), Command::Leave(l) if l.room.as_str() == "r")
        );
    }
    for content in ["content", "text"] {
        let c = command(json!({"type":"message",content:"hi","data":{"a":[1]},"key":"k"}));
        let Command::Publish(p) = c else { panic!("{c:?}") };
        assert_eq!((&*p.content, p.room, p.key.as_deref()), ("hi", None, Some("k")));
        assert_eq!(p.data.unwrap().get(), r#"{"a":[1]}"#);
    }
    assert!(
        matches!(command(json!({"type":"direct","userId":"u","content":"x"})), Command::Direct(d) if d.user.as_str() == "u")
    );
    assert!(
        matches!(command(json!({"type":"typing","roomId":"r","isTyping":true})), Command::Typing(t) if t.is_typing)
    );
    assert!(
        matches!(command(json!({"type":"presence","status":"away"})), Command::Presence(p) if p.status == Status::Away)
    );
    assert!(
        matches!(command(json!({"type":"read","roomId":"r","offset":9})), Command::Read(r) if r.offset == 9)
    );
    assert!(
        matches!(command(json!({"type":"receipts","roomId":"r","after":"u"})), Command::Receipts(q) if q.limit == 100 && q.after.is_some())
    );
    assert!(
        matches!(command(json!({"type":"delivered","roomId":"r","offset":9})), Command::Delivered(d) if d.offset == 9)
    );
    assert!(
        matches!(command(json!({"type":"event","roomId":"r","name":"n","volatile":true})), Command::Event(e) if e.volatile && e.data.is_none())
    );
    assert!(
        matches!(command(json!({"type":"history","roomId":"r","before":7,"limit":5})), Command::History(h) if h.before == Some(7) && h.limit == 5)
    );
    assert!(
        matches!(command(json!({"type":"members","roomId":"r"})), Command::Members(m) if m.limit == 100)
    );
    assert!(matches!(command(json!({"type":"ping","unknown":1})), Command::Ping));
}

#[test]
fn a_batch_keeps_the_ids_of_its_commands() {
    let c = command(json!({"type":"batch","timestamp":1,"messages":[
        {"type":"ping","id":1},
        {"event":"message","data":{"roomId":"r","content":"x","id":"two"}},
        {"type":"batch","messages":[],"id":3},
        7,
    ]}));
    let Command::Batch(items) = c else { panic!("{c:?}") };
    assert_eq!(items[0].reply, ReplyId::Json("1".into()));
    assert_eq!(items[1].reply, ReplyId::Json("\"two\"".into()));
    assert!(matches!(items[1].command, Ok(Command::Publish(_))));
    assert_eq!(items[2].command.as_ref().unwrap_err().message, "a batch cannot hold a batch");
    assert!(items[3].command.is_err());
    let many = vec![json!({"type":"ping"}); 101];
    assert_eq!(
        refusal(&json!({"type":"batch","messages":many}).to_string()).code,
        ErrorCode::TooLarge
    );
}

#[test]
fn what_is_wrong_is_named() {
    for (text, expected) in [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ("7", "not a JSON object"),
        (r#"{"type":"ping","type":"ping"}"#, "each field once"),
        (r#"{}"#, "`type` is missing"),
        (r#"{"type":5}"#, "`type` must be a string"),
        (r#"{"type":"nope"}"#, "unknown type `nope`"),
        (r#"{"type":"join"}"#, "`roomId` is missing"),
        (r#"{"type":"join","roomId":5}"#, "`roomId` must be a string"),
        (r#"{"type":"join","roomId":""}"#, "must not be empty"),
        (r#"{"type":"join","roomId":"r","since":7}"#, "`since` must be"),
        (r#"{"type":"message","roomId":"r"}"#, "`content` is missing"),
        (r#"{"type":"message","content":{"a":1}}"#, "`content` must be a string"),
        (r#"{"type":"typing","roomId":"r","isTyping":"yes"}"#, "`isTyping` must be true or false"),
        (r#"{"type":"presence","status":"here"}"#, "online, away or offline"),
        (r#"{"type":"read","roomId":"r","offset":-1}"#, "`offset` must be a whole number"),
        (r#"{"type":"event","roomId":"r"}"#, "`name` is missing"),
        (r#"{"type":"history","roomId":"r","limit":0}"#, "`limit` must be 1 to 200"),
        (r#"{"type":"ping","id":{}}"#, "`id` must be a string or a number"),
    ] {
        let e = refusal(text);
        assert_eq!(e.code, ErrorCode::BadRequest, "{text}");
        assert!(e.message.contains(expected), "{text}: {}", e.message);
    }
}

#[test]
fn an_understood_id_is_kept_with_the_error() {
    let r = decode(r#"{"type":"join","id":"a1"}"#);
    let text = String::from_utf8(reply(&r.reply, &Err(r.command.unwrap_err())).unwrap()).unwrap();
    assert_eq!(
        text,
        r#"{"type":"error","id":"a1","code":"bad_request","message":"`roomId` is missing"}"#
    );
}

#[test]
fn deep_data_is_refused() {
    let deep = |n: usize| {
        format!(r#"{{"type":"message","content":"","data":{}{}}}"#, "[".repeat(n), "]".repeat(n))
    };
    assert!(decode(&deep(32)).command.is_ok());
    assert!(refusal(&deep(33)).message.contains("nested deeper"));
    assert!(refusal(&deep(100_000)).message.contains("nested deeper"));
    assert_eq!(decode::depth(r#"{"a":"[[[\"[["}"#), 1);
}

fn stored(body: Body) -> Arc<Stored> {
    Arc::new(Stored {
        position: Position { epoch: Epoch(1), offset: 2 },
        record: Record {
            id: MessageId(uuid::Uuid::from_u128(3)),
            room: RoomName::new("r").unwrap(),
            user: Some(UserId::new("u").unwrap()),
            username: Some("Ann".into()),
            timestamp: Timestamp(0),
            body,
            trace: None,
        },
    })
}

fn raw(json: &str) -> Option<Box<serde_json::value::RawValue>> {
    Some(serde_json::value::RawValue::from_string(json.into()).unwrap())
}

/// One golden text per kind of event; the match keeps the list complete.
pub(crate) fn golden(kind: EventKind) -> Option<(Event, &'static str)> {
    let room = RoomName::new("r").unwrap();
    let user = UserId::new("u").unwrap();
    let member = Member {
        room: room.clone(),
        user: user.clone(),
        username: Some("Ann".into()),
        status: Status::Online,
        socket_count: 2,
        timestamp: Timestamp(0),
        node: None,
    };
    Some(match kind {
        EventKind::Authenticated => (
            Event::Authenticated(Authenticated {
                session: SessionId(uuid::Uuid::from_u128(5)),
                user,
                node: "n1".into(),
                timestamp: Timestamp(0),
                receipts: false,
            }),
            r#"{"type":"authenticated","sessionId":"00000000-0000-0000-0000-000000000005","userId":"u","nodeId":"n1","timestamp":"1970-01-01T00:00:00.000Z"}"#,
        ),
        EventKind::Joined => (
            Event::Joined(Joined {
                room,
                position: Position { epoch: Epoch(1), offset: 2 },
                members: Arc::new([member].into_iter().collect()),
                member_count: 1,
                recovered: true,
                messages: vec![stored(Body::Message { content: "x".into(), data: None })],
            }),
            r#"{"type":"joined","roomId":"r","epoch":"0000000000000001","offset":2,"members":[{"userId":"u","username":"Ann","status":"online","socketCount":2}],"memberCount":1,"recovered":true,"messages":[{"type":"message","id":"00000000-0000-0000-0000-000000000003","roomId":"r","userId":"u","username":"Ann","content":"x","epoch":"0000000000000001","offset":2,"timestamp":"1970-01-01T00:00:00.000Z"}]}"#,
        ),
        EventKind::Left => (Event::Left(Left { room }), r#"{"type":"left","roomId":"r"}"#),
        EventKind::Message => (
            Event::Stored(stored(Body::Message {
                content: "a\"\\\n\t\u{1}é".into(),
                data: raw("[1.50]"),
            })),
            r#"{"type":"message","id":"00000000-0000-0000-0000-000000000003","roomId":"r","userId":"u","username":"Ann","content":"a\"\\\n\t\u0001é","data":[1.50],"epoch":"0000000000000001","offset":2,"timestamp":"1970-01-01T00:00:00.000Z"}"#,
        ),
        EventKind::Direct => (
            Event::Stored(stored(Body::Direct { content: "x".into(), data: None })),
            r#"{"type":"direct","id":"00000000-0000-0000-0000-000000000003","userId":"u","username":"Ann","content":"x","epoch":"0000000000000001","offset":2,"timestamp":"1970-01-01T00:00:00.000Z"}"#,
        ),
        EventKind::Event => (
            Event::Volatile(CustomEvent {
                node: Some("n".into()),
                room: Some(room),
                user: Some(user),
                username: None,
                name: "move".into(),
                data: raw(r#"{"x":1}"#),
                timestamp: Timestamp(0),
            }),
            r#"{"type":"event","roomId":"r","userId":"u","name":"move","data":{"x":1},"timestamp":"1970-01-01T00:00:00.000Z"}"#,
        ),
        EventKind::UserJoined => (
            Event::UserJoined(member),
            r#"{"type":"user_joined","roomId":"r","userId":"u","username":"Ann","timestamp":"1970-01-01T00:00:00.000Z"}"#,
        ),
        EventKind::UserLeft => (
            Event::UserLeft(member),
            r#"{"type":"user_left","roomId":"r","userId":"u","username":"Ann","timestamp":"1970-01-01T00:00:00.000Z"}"#,
        ),
        EventKind::Typing => (
            Event::Typing(Typing { room, user, username: Some("Ann".into()), is_typing: true }),
            r#"{"type":"typing","roomId":"r","userId":"u","username":"Ann","isTyping":true}"#,
        ),
        EventKind::Presence => (
            Event::Presence(PresenceChanged {
                user,
                status: Status::Away,
                socket_count: 1,
                timestamp: Timestamp(0),
                username: None,
            }),
            r#"{"type":"presence","userId":"u","status":"away","socketCount":1,"timestamp":"1970-01-01T00:00:00.000Z"}"#,
        ),
        EventKind::Receipt => (
            Event::Receipt(Receipt {
                room,
                user,
                offset: 4,
                status: ReceiptStatus::Read,
                message: None,
                author: None,
            }),
            r#"{"type":"receipt","roomId":"r","userId":"u","offset":4,"status":"read"}"#,
        ),
        EventKind::Notification => (
            Event::Notification(Notification {
                title: "t".into(),
                body: "b".into(),
                data: raw("{}"),
            }),
            r#"{"type":"notification","title":"t","body":"b","data":{}}"#,
        ),
        EventKind::TokenExpiring => (
            Event::TokenExpiring(TokenExpiring { at: Timestamp(1) }),
            r#"{"type":"token_expiring","at":"1970-01-01T00:00:00.001Z"}"#,
        ),
        EventKind::Closing => (
            Event::Closing(Closing { reason: "draining", retry_after_ms: 7 }),
            r#"{"type":"closing","reason":"draining","retryAfterMs":7}"#,
        ),
        EventKind::Pong => (Event::Pong, r#"{"type":"pong"}"#),
        EventKind::Ack | EventKind::Error => return None,
    })
}

#[test]
fn every_event_has_its_golden_text() {
    for kind in EventKind::ALL {
        let Some((e, text)) = golden(kind) else { continue };
        assert_eq!(e.kind(), Some(kind));
        assert_eq!(String::from_utf8(event(&e)).unwrap(), text);
        serde_json::from_str::<Value>(text).unwrap();
    }
}

#[test]
fn answers() {
    let id = ReplyId::Json("7".into());
    let text = |id: &ReplyId, r| reply(id, &r).map(|b| String::from_utf8(b).unwrap());
    assert_eq!(text(&id, Ok(Reply::Done)).unwrap(), r#"{"type":"ack","id":7,"ok":true}"#);
    assert_eq!(text(&ReplyId::None, Ok(Reply::Done)), None);
    let published = Reply::Published {
        id: MessageId(uuid::Uuid::nil()),
        position: Position { epoch: Epoch(1), offset: 2 },
        stored: Some(stored(Body::Message { content: "x".into(), data: None })),
    };
    assert_eq!(
        text(&id, Ok(published)).unwrap(),
        r#"{"type":"ack","id":7,"ok":true,"messageId":"00000000-0000-0000-0000-000000000000","epoch":"0000000000000001","offset":2}"#
    );
    let history = Reply::History {
        room: RoomName::new("r").unwrap(),
        epoch: Epoch(1),
        messages: vec![],
        has_more: false,
    };
    assert_eq!(
        text(&ReplyId::None, Ok(history)).unwrap(),
        r#"{"type":"history","roomId":"r","epoch":"0000000000000001","messages":[],"hasMore":false}"#
    );
    assert_eq!(
        text(&ReplyId::None, Err(HubError::unavailable("later"))).unwrap(),
        r#"{"type":"error","code":"unavailable","message":"later"}"#
    );
}
