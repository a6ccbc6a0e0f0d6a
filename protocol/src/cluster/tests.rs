#![allow(clippy::unwrap_used, clippy::expect_used)]
use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::{
    event::{
        CustomEvent, Member, Notification, PresenceChanged, Receipt, ReceiptStatus, Status, Typing,
    },
    id::MessageId,
    record::{Body, Record},
    timestamp::Timestamp,
    traceparent::TraceParent,
};

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.into()).unwrap()
}

pub(super) fn records() -> Vec<Record> {
    [
        Body::Message { content: "hi \"there\"\n".into(), data: Some(raw(r#"{"n": 1.50}"#)) },
        Body::Direct { content: "".into(), data: None },
        Body::Event { name: "move".into(), data: Some(raw("[]")) },
    ]
    .into_iter()
    .map(|body| Record {
        id: MessageId(uuid::Uuid::from_u128(7)),
        room: RoomName::new("r").unwrap(),
        user: UserId::new("u").ok(),
        username: Some("Ann \"A\"".into()),
        timestamp: Timestamp(1_700_000_000_123),
        body,
        trace: None,
    })
    .collect()
}

pub(super) fn events() -> Vec<Event> {
    let (room, user) = (RoomName::new("r").unwrap(), UserId::new("u").unwrap());
    let member = Member {
        room: room.clone(),
        user: user.clone(),
        username: Some("Ann".into()),
        status: Status::Away,
        socket_count: 300,
        timestamp: Timestamp(5),
        node: Some("n2".into()),
    };
    let custom = CustomEvent {
        room: Some(room.clone()),
        user: Some(user.clone()),
        username: None,
        name: "n".into(),
        data: Some(raw("{}")),
        node: Some("n1".into()),
        timestamp: Timestamp(u64::MAX),
    };
    let bare = CustomEvent { room: None, user: None, data: None, node: None, ..custom.clone() };
    vec![
        Event::Volatile(custom),
        Event::Volatile(bare),
        Event::UserJoined(member.clone()),
        Event::UserLeft(member),
        Event::Typing(Typing {
            room: room.clone(),
            user: user.clone(),
            username: None,
            is_typing: true,
        }),
        Event::Presence(PresenceChanged {
            user: user.clone(),
            status: Status::Offline,
            socket_count: 0,
            timestamp: Timestamp(1),
            username: Some("Ann".into()),
        }),
        Event::Receipt(Receipt {
            room,
            user: user.clone(),
            author: Some(user),
            offset: 1 << 40,
            status: ReceiptStatus::Read,
            message: Some(MessageId(uuid::Uuid::from_u128(9))),
        }),
        Event::Notification(Notification {
            title: "t".into(),
            body: "b".into(),
            data: Some(raw("1")),
        }),
    ]
}

#[test]
fn records_read_back() {
    for record in records() {
        let bytes = encode_record(&record);
        let back = decode_record(record.room.clone(), &bytes).unwrap();
        assert_eq!(format!("{record:?}"), format!("{back:?}"));
        let trace = TraceParent { trace_id: 1 << 127, span_id: 7, flags: 1 };
        let followed = Record { trace: Some(Box::new(trace)), ..record.clone() };
        let back = decode_record(record.room.clone(), &encode_record(&followed)).unwrap();
        assert_eq!(back.trace.as_deref(), Some(&trace));
        let mut newer = bytes.clone();
        Writer(&mut newer).text(99, "a field of a later release");
        assert!(decode_record(record.room.clone(), &newer).is_ok());
        newer[0] = 2;
        let refused = decode_record(record.room.clone(), &newer);
        assert_eq!(refused.unwrap_err(), DecodeError::Version(2));
        for end in 0..bytes.len() {
            assert!(decode_record(record.room.clone(), &bytes[..end]).is_err() || end > 20);
        }
    }
}

#[test]
fn broadcasts_read_back() {
    let rooms = ["a", "b"].map(|r| RoomName::new(r).unwrap());
    for event in events() {
        for to in [Scope::Room(rooms[0].clone()), Scope::Rooms(rooms.to_vec()), Scope::Everyone] {
            let except = Some(SessionId(uuid::Uuid::from_u128(3)));
            let user = UserId::new("x").unwrap();
            let mut bytes = encode_broadcast("n1", 5, &to, except, Some(&user), &event).unwrap();
            Writer(&mut bytes).text(99, "a field of a later release");
            let Envelope::Broadcast(back) = decode_envelope(&bytes).unwrap() else { panic!() };
            assert_eq!((back.node, back.id, back.to), ("n1", 5, to));
            assert_eq!((back.except, back.except_user), (except, Some(user)));
            assert_eq!(format!("{:?}", back.event), format!("{event:?}"));
        }
    }
}

#[test]
fn stored_records_are_found_in_their_envelope() {
    let payloads: Vec<_> = records().iter().map(encode_record).collect();
    let mut bytes = vec![VERSION, STORED];
    let mut w = Writer(&mut bytes);
    w.text(STORED_EPOCH, "00000000000000ab");
    w.text(STORED_FIRST, "41");
    payloads.iter().for_each(|p| w.bytes(STORED_RECORD, p));
    let Envelope::Stored { epoch, first, records } = decode_envelope(&bytes).unwrap() else {
        panic!()
    };
    assert_eq!((epoch, first), (Epoch(0xab), 41));
    assert_eq!(records, payloads);
}

#[test]
fn what_is_not_known_is_told_apart_from_what_is_wrong() {
    assert!(matches!(decode_envelope(&[VERSION, 77, 1, 2, 3]), Ok(Envelope::Unknown)));
    assert!(matches!(decode_envelope(&[9, STORED]), Err(DecodeError::Version(9))));
    assert!(matches!(decode_envelope(&[]), Err(DecodeError::Truncated)));
    let unknown_event = {
        let mut bytes = vec![VERSION, BROADCAST];
        Writer(&mut bytes).bytes(EVENT, &[200]);
        bytes
    };
    assert!(matches!(decode_envelope(&unknown_event), Ok(Envelope::Unknown)));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_envelope(&bytes);
        let _ = decode_event(&bytes);
        let _ = decode_record(RoomName::new("r").unwrap(), &bytes);
        let mut stored = vec![VERSION, STORED];
        stored.extend(&bytes);
        let _ = decode_envelope(&stored);
        stored[1] = BROADCAST;
        let _ = decode_envelope(&stored);
    }
}
