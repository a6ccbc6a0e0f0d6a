#![allow(clippy::unwrap_used)]
use hubbub_protocol::{
    id::MessageId,
    position::{Epoch, Position},
    record::Record,
};
use serde_json::{Value, json};

use super::*;

fn session() -> HookSession {
    HookSession {
        id: SessionId(Uuid::from_u128(7)),
        user: UserId::new("ann").unwrap(),
        username: Some("Ann \"A\"".into()),
        instance: "n.1#0123abcd".into(),
        opened: 1_767_225_599_007,
    }
}

fn json(event: &HookEvent) -> Value {
    serde_json::from_str(&event.to_json().unwrap()).unwrap()
}

#[test]
fn sessions_are_told_with_their_node_and_time() {
    let opened = HookEvent::opened(session(), "json", false);
    assert_eq!(
        json(&opened),
        json!({
            "id": opened.id, "type": "session.opened", "timestamp": "2025-12-31T23:59:59.007Z",
            "data": {
                "sessionId": "00000000-0000-0000-0000-000000000007", "userId": "ann",
                "username": "Ann \"A\"", "nodeId": "n.1", "wire": "json",
            },
        })
    );
    assert_eq!(json(&HookEvent::opened(session(), "json", true))["data"]["again"], true);
    let closed = HookEvent::closed(session(), NODE_LOST, session().opened + 1500);
    assert_eq!(
        json(&closed)["data"],
        json!({
            "sessionId": "00000000-0000-0000-0000-000000000007", "userId": "ann",
            "username": "Ann \"A\"", "nodeId": "n.1", "reason": "node_lost",
            "openedAt": "2025-12-31T23:59:59.007Z", "durationMs": 1500,
        })
    );
    assert_ne!(opened.id, closed.id);
}

#[test]
fn the_end_of_one_opening_has_one_id() {
    let id = |session: HookSession, reason, at| HookEvent::closed(session, reason, at).id;
    let one = id(session(), "client_gone", 1);
    assert_eq!(one, id(session(), NODE_LOST, 2), "whoever tells it, and why");
    let later = HookSession { opened: session().opened + 1, ..session() };
    assert_ne!(one, id(later, "client_gone", 1));
    let elsewhere = HookSession { instance: "n2#0123abcd".into(), ..session() };
    assert_ne!(one, id(elsewhere, "client_gone", 1));
}

#[test]
fn what_happens_in_rooms_has_an_id_by_its_cause() {
    let room = RoomName::new("lobby").unwrap();
    let member =
        HookMember { room: room.clone(), user: UserId::new("ann").unwrap(), username: None };
    let id = |body, cause| HookEvent::of_room(body, 1, cause).id;
    let joined = || HookBody::MemberJoined(member.clone());
    assert_eq!(id(joined(), Some("5-0")), id(joined(), Some("5-0")));
    assert_ne!(id(joined(), Some("5-0")), id(joined(), Some("5-1")));
    assert_ne!(id(joined(), Some("5-0")), id(HookBody::MemberLeft(member.clone()), Some("5-0")));
    assert_ne!(id(joined(), None), id(joined(), None));
    let told = HookEvent::of_room(joined(), 1, None);
    assert_eq!(json(&told)["data"], json!({"roomId": "lobby", "userId": "ann"}));
    let vacated = HookEvent::of_room(HookBody::RoomVacated(room), 1, None);
    assert_eq!(json(&vacated)["data"], json!({"roomId": "lobby"}));
}

#[test]
fn a_message_keeps_its_id_and_its_data_as_it_was() {
    let stored = |room: &str, body| Stored {
        position: Position { epoch: Epoch(255), offset: 9 },
        record: Record {
            id: MessageId(Uuid::from_u128(8)),
            room: RoomName::new(room).unwrap(),
            user: Some(UserId::new("ann").unwrap()),
            username: None,
            timestamp: Timestamp(0),
            body,
            trace: None,
        },
    };
    let data = RawValue::from_string(r#"{"n":1.50}"#.into()).unwrap();
    let body = Body::Message { content: "hi".into(), data: Some(data) };
    let event = HookEvent::published(stored("lobby", body), "n1".into());
    assert_eq!(event.id, Uuid::from_u128(8));
    let text = event.to_json().unwrap();
    assert!(text.contains(r#""data":{"n":1.50}"#), "{text}");
    let told = json(&event);
    assert_eq!(told["data"]["kind"], "message");
    assert_eq!(told["data"]["roomId"], "lobby");
    assert_eq!(told["data"]["offset"], 9);
    assert_eq!(told["timestamp"], "1970-01-01T00:00:00.000Z");
    let direct = Body::Direct { content: "psst".into(), data: None };
    let told = json(&HookEvent::published(stored("user:bob", direct), "n1".into()));
    assert_eq!(told["data"]["toUserId"], "bob");
    assert_eq!(told["data"].get("roomId"), None);
    let custom = Body::Event { name: "move".into(), data: None };
    let told = json(&HookEvent::published(stored("lobby", custom), "n1".into()));
    assert_eq!((&told["data"]["kind"], &told["data"]["name"]), (&json!("event"), &json!("move")));
}

#[test]
fn kinds_make_a_set() {
    let all: HookKinds = HookKind::ALL.into_iter().collect();
    for kind in HookKind::ALL {
        assert_eq!(HookKind::parse(kind.as_str()), Some(kind));
        let only: HookKinds = [kind].into_iter().collect();
        assert!(all.has(kind) && only.has(kind));
        assert_eq!(HookKind::ALL.into_iter().filter(|k| only.has(*k)).count(), 1);
        assert_eq!(only.sessions(), kind.as_str().starts_with("session."));
        assert_eq!(
            only.rooms(),
            kind.as_str().starts_with("member.") || kind.as_str().starts_with("room.")
        );
    }
    assert_eq!(HookKind::parse("message"), None);
    assert!(!HookKinds::default().rooms());
}
