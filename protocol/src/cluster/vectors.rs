//! What was released, as bytes: it is read as it was meant, and who knows no more
//! than that reads what is written now.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::{
    tests::{events, records},
    *,
};
use crate::event::Fieldset;

const RELEASED: &str = include_str!("../../tests/vectors/cluster-v1.txt");

fn released() -> BTreeMap<&'static str, Vec<u8>> {
    let lines = RELEASED.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (name, hex) = line.split_once(' ').unwrap();
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            (name, (0..hex.len()).step_by(2).map(byte).collect())
        })
        .collect()
}

/// The name of each event: its kind, and which one of that kind.
fn names(events: &[Event]) -> Vec<String> {
    let mut counted = BTreeMap::new();
    let name = |event: &Event| {
        let kind = event.kind().unwrap().as_str();
        let n: &mut u32 = counted.entry(kind).or_default();
        *n += 1;
        format!("{kind}-{n}")
    };
    events.iter().map(name).collect()
}

/// Everything that nodes tell each other, by name, as it is written now.
fn written() -> Vec<(String, Vec<u8>)> {
    let rooms = ["a", "b"].map(|r| RoomName::new(r).unwrap());
    let except = Some(SessionId(uuid::Uuid::from_u128(3)));
    let user = UserId::new("x").unwrap();
    let records = records().into_iter().map(|r| encode_record(&r));
    let all_events = events();
    let scopes =
        [Scope::Room(rooms[0].clone()), Scope::Rooms(rooms.to_vec()), Scope::Everyone].into_iter();
    let event = |event: &Event| encode_event(event).unwrap();
    let told =
        |to: &Scope| encode_broadcast("n1", 5, to, except, Some(&user), &events()[0]).unwrap();
    let mut all = Vec::new();
    all.extend(records.enumerate().map(|(n, bytes)| (format!("record-{n}"), bytes)));
    all.extend(names(&all_events).into_iter().zip(all_events.iter().map(event)));
    all.extend(scopes.enumerate().map(|(n, to)| (format!("broadcast-{n}"), told(&to))));
    all
}

/// The head of a message, and its fields without regard to their order.
fn parts<'a>(name: &str, bytes: &'a [u8]) -> (&'a [u8], Vec<(u8, &'a [u8])>) {
    // Envelopes have version and kind, records a version, events a kind.
    let (head, rest) = bytes.split_at(if name.starts_with("broadcast") { 2 } else { 1 });
    let (mut reader, mut fields) = (Reader(rest), Vec::new());
    while let Some(field) = reader.next().unwrap() {
        fields.push(field);
    }
    fields.sort_unstable();
    (head, fields)
}

#[test]
fn what_was_released_is_read_as_it_was_meant() {
    let released = released();
    for (n, record) in records().into_iter().enumerate() {
        let mut skipped = Skipped::default();
        let bytes = &released[&*format!("record-{n}")];
        let read = read_record(record.room.clone(), bytes, &mut skipped).unwrap();
        assert_eq!(format!("{read:?}"), format!("{record:?}"));
        assert_eq!(skipped, Skipped::default());
    }
    for (name, event) in names(&events()).into_iter().zip(events()) {
        // What is new was not released then.
        let Some(bytes) = released.get(&*name) else { continue };
        let read = decode_event(bytes).unwrap().unwrap();
        assert_eq!(format!("{read:?}"), format!("{event:?}"));
    }
    for n in 0..3 {
        let bytes = &released[&*format!("broadcast-{n}")];
        let Envelope::Broadcast(read) = decode_envelope(bytes).unwrap() else { panic!() };
        assert_eq!((read.node, read.id, read.except_user.unwrap().as_str()), ("n1", 5, "x"));
        assert_eq!(read.except, Some(SessionId(uuid::Uuid::from_u128(3))));
    }
    // The script of Redis writes this one: actors/src/redis/lua/publish.lua.
    let Envelope::Stored { epoch, first, records } = decode_envelope(&released["stored"]).unwrap()
    else {
        panic!()
    };
    assert_eq!((epoch, first, records.len()), (Epoch(0xab), 41, 2));
    assert_eq!(records[1], released["record-1"]);
}

#[test]
fn who_knows_only_what_was_released_reads_what_is_written_now() {
    let released = released();
    for (name, now) in written() {
        // What is new has no older reader.
        let Some(then) = released.get(&*name) else { continue };
        let (head_now, now) = parts(&name, &now);
        let (head, then) = parts(&name, then);
        assert_eq!(head_now, head, "{name} has another version or kind");
        for field in &then {
            // The event inside a broadcast is looked at by itself.
            let nested = name.starts_with("broadcast") && field.0 == EVENT;
            assert!(nested || now.contains(field), "{name} lacks field {} as it was", field.0);
        }
        assert!(now.len() >= then.len(), "{name} has lost a field");
    }
    assert_eq!(released.len(), 15, "vectors are added, never taken away");
}

#[test]
fn what_only_a_later_release_knows_is_skipped_and_counted() {
    let mut skipped = Skipped::default();
    let room = RoomName::new("r").unwrap();
    // A record without a body of a known kind, but with something else.
    let mut bytes = vec![VERSION];
    let mut w = Writer(&mut bytes);
    w.bytes(1, &[7; 16]);
    w.number(2, 5);
    w.text(99, "a reaction");
    w.text(8, "{}");
    let read = read_record(room.clone(), &bytes, &mut skipped).unwrap();
    let crate::record::Body::Event { name, data: None } = read.body else { panic!("{read:?}") };
    assert_eq!(&*name, UNSUPPORTED);
    assert_eq!(skipped, Skipped { fields: 1, kinds: 1 });
    // With nothing else it is broken.
    let broken = read_record(room, &bytes[..1 + 18 + 3], &mut skipped);
    assert_eq!(broken.unwrap_err(), DecodeError::Missing("body"));
    // Kinds of envelopes and events, fields of either.
    skipped = Skipped::default();
    assert!(matches!(read_envelope(&[VERSION, 77, 1], &mut skipped), Ok(Envelope::Unknown)));
    assert_eq!(skipped, Skipped { fields: 0, kinds: 1 });
    let mut bytes = vec![VERSION, BROADCAST];
    let mut w = Writer(&mut bytes);
    w.bytes(EVENT, &[200, 99, 1, 0]);
    w.text(98, "x");
    assert!(matches!(read_envelope(&bytes, &mut skipped), Ok(Envelope::Unknown)));
    assert_eq!(skipped, Skipped { fields: 2, kinds: 2 });
}

/// Writes the vectors: only for a kind that is new.
#[test]
#[ignore = "writes to stdout what a new kind would be recorded as"]
fn print() {
    for (name, bytes) in written() {
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        println!("{name} {hex}");
    }
}
