#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::{
    event::{Event, EventKind, Reply, ReplyId},
    recovery,
    wire::{
        Format,
        json::tests::golden,
        socketio::{EventName, Parser, RawJson, Reassembler, write_packet},
    },
};

fn read(message: &[u8]) -> Result<Packet, SocketError> {
    decode(&Bytes::copy_from_slice(message), &Limits::default())
}

/// The message of a text packet.
fn packed(text: &str) -> Vec<u8> {
    encode(text, &[]).unwrap()
}

/// `{"type":2,"nsp":"/","data":["e", <value>]}`.
fn event_with(value: &[u8]) -> Vec<u8> {
    let mut message = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1e".to_vec();
    message.extend_from_slice(value);
    message
}

/// The one argument of an event, as JSON.
fn argument(value: &[u8]) -> Result<String, SocketError> {
    match read(&event_with(value))?.body {
        Body::Event { args, .. } => Ok(args[0].get().to_owned()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn packets_look_as_the_parser_of_npm_writes_them() {
    assert_eq!(packed(r#"2["e",1]"#), event_with(b"\x01"));
    assert_eq!(packed("1/a,"), b"\x82\xa4type\x01\xa3nsp\xa2/a");
    assert_eq!(packed("3/a,7[true]"), b"\x84\xa4type\x03\xa3nsp\xa2/a\xa2id\x07\xa4data\x91\xc3");
    assert_eq!(packed(r#"0{"sid":"s"}"#), b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\x81\xa3sid\xa1s");
    assert!(is_packet(&packed("1")) && !is_packet(b"41") && !is_packet(b""));
    assert_eq!(from_frame(b"42[\"e\",1]"), Some(event_with(b"\x01")));
    assert_eq!(from_frame(b"2"), None);
}

#[test]
fn a_stock_client_sends_options_and_undefined() {
    // {type: 0, data: undefined, options: {compress: true}, nsp: "/"}
    let connect =
        b"\x84\xa4type\x00\xa4data\xd4\x00\x00\xa7options\x81\xa8compress\xc3\xa3nsp\xa1/";
    assert_eq!(read(connect).unwrap().body, Body::Connect { data: None });
    let ack = b"\x84\xa4type\x03\xa2id\x05\xa4data\x90\xa3nsp\xa1/";
    let body = Body::Ack { id: Some(5), args: Vec::new(), attachments: Vec::new() };
    assert_eq!(read(ack).unwrap().body, body);
}

#[test]
fn values_become_json() {
    for (value, json) in [
        (&b"\xc0"[..], "null"),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
        (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808"),
        (b"\xe0", "-32"),
        (b"\xd0\x7f", "127"),
        (b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", "1.5"),
        (b"\xca\x40\x00\x00\x00", "2"),
        (b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "null"),
        (b"\xa3a\"\n", r#""a\"\n""#),
        (b"\x93\xd4\x00\x00\x90\x80", "[null,[],{}]"),
        (b"\x82\xa1a\xd4\x00\x00\xa1b\xc2", r#"{"b":false}"#),
        (b"\xd7\x00\x00\x00\x00\x00\x00\x00\x00\x01", r#""1970-01-01T00:00:00.001Z""#),
        (b"\xd6\xff\x00\x00\x00\x01", r#""1970-01-01T00:00:01.000Z""#),
        (b"\xd7\xff\x07\xa1\x20\x00\x00\x00\x00\x01", r#""1970-01-01T00:00:01.032Z""#),
    ] {
        assert_eq!(argument(value).as_deref(), Ok(json), "{value:x?}");
    }
}

#[test]
fn json_becomes_values() {
    for (json, value) in [
        ("null", &b"\xc0"[..]),
        ("-1", b"\xff"),
        ("1.5", b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"),
        ("1e400", b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"),
        ("18446744073709551616", b"\xcb\x43\xf0\x00\x00\x00\x00\x00\x00"),
        (r#"{ "a" : [ 1 , {} ] , "b" : "" }"#, b"\x82\xa1a\x92\x01\x80\xa1b\xa0"),
        (r#""\"""#, b"\xa1\""),
        (r#""\ud83d\ude00\ud800\n""#, b"\xa8\xf0\x9f\x98\x80\xef\xbf\xbd\n"),
    ] {
        assert_eq!(packed(&format!(r#"2["e",{json}]"#)), event_with(value), "{json}");
    }
    let many = format!("2[\"e\",[{}]]", ["7"; 70_000].join(","));
    let message = packed(&many);
    assert_eq!(message[event_with(b"").len()..][..5], [0xdd, 0, 1, 0x11, 0x70]);
}

#[test]
fn binary_stands_where_it_belongs() {
    let place = r#"{"_placeholder":true,"num":0}"#;
    let text = format!(r#"51-["e",{place}]"#);
    let message = encode(&text, &[Bytes::from_static(b"ab")]).unwrap();
    assert_eq!(message, event_with(b"\xc4\x02ab"));
    for value in [&b"\xc4\x02ab"[..], b"\xc7\x02\x00ab"] {
        let Body::Event { args, attachments, .. } = read(&event_with(value)).unwrap().body else {
            panic!("an event");
        };
        assert_eq!((args[0].get(), &attachments[..]), (place, &[Bytes::from_static(b"ab")][..]));
    }
    assert_eq!(encode(&text, &[]).unwrap()[0], 0x83);
    let two = format!(r#"52-["e",{{"_placeholder":true,"num":1}},{place}]"#);
    assert_eq!(encode(&two, &[Bytes::new()]), Err(SocketError::InvalidPlaceholder));
    let auth = b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\x81\xa1a\xc4\x00";
    assert_eq!(read(auth), Err(SocketError::InvalidPayload));
}

#[test]
fn what_is_malformed_is_refused() {
    use SocketError::*;
    for (message, error) in [
        (&b""[..], InvalidPayload),
        (b"\x90", InvalidPayload),
        (b"\x80", UnknownType),
        (b"\x81\xa4type\x05", UnknownType),
        (b"\x81\xa4type\x01", InvalidNamespace),
        (b"\x82\xa4type\x01\xa3nsp\xa1a", InvalidNamespace),
        (b"\x82\xa4type\x01\xa3nsp\xa3/,a", InvalidNamespace),
        (b"\x82\xa4type\x01\xa3nsp\xc0", InvalidNamespace),
        (b"\x82\xa4type\x01\xa3nsp\xa1/\x00", InvalidPayload),
        (b"\x83\xa4type\x02\xa3nsp\xa1/\xa2id\xff", InvalidAckId),
        (b"\x83\xa4type\x02\xa3nsp\xa1/\xa2id\xc0", InvalidAckId),
        (b"\x82\xa4type\x02\xa3nsp\xa1/", InvalidPayload),
        (b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x90", InvalidEventName),
        (b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa7connect", ReservedEventName),
        (b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\xc0", InvalidPayload),
        (b"\x83\xa4type\x01\xa3nsp\xa1/\xa4data\xc0", InvalidPayload),
        (b"\x81\x01\x01", InvalidPayload),
    ] {
        assert_eq!(read(message), Err(error), "{message:x?}");
    }
    for value in [
        &b"\xc1"[..],
        b"\xd4\x01\x00",
        b"\xd5\x00\x00\x00",
        b"\xc7\x01\x07\x00",
        b"\x81\x01\x01",
        b"\xa1\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
    ] {
        assert_eq!(argument(value), Err(InvalidPayload), "{value:x?}");
    }
}

#[test]
fn every_bound_holds() {
    let deep = |levels: usize| [vec![0x91; levels], vec![0xc0]].concat();
    // The packet's own array is one level.
    assert!(argument(&deep(63)).is_ok());
    assert_eq!(argument(&deep(64)), Err(SocketError::TooDeep { max: 64 }));
    assert_eq!(argument(&deep(900_000)), Err(SocketError::TooDeep { max: 64 }));
    let elements = |count: u16| {
        let mut message = b"\x83\xa4type\x03\xa3nsp\xa1/\xa4data\xdc".to_vec();
        message.extend_from_slice(&count.to_be_bytes());
        message.extend(std::iter::repeat_n(0xc0, count.into()));
        read(&message)
    };
    assert!(elements(256).is_ok());
    assert_eq!(elements(257), Err(SocketError::TooManyElements { max: 256 }));
    let binaries =
        |count: u8| argument(&[vec![0x90 | count], [0xc4, 0].repeat(count.into())].concat());
    assert!(binaries(10).is_ok());
    assert_eq!(binaries(11), Err(SocketError::TooManyAttachments { max: 10 }));
    let long = format!("1/{},", "n".repeat(256));
    assert_eq!(read(&packed(&long)), Err(SocketError::NamespaceTooLong { max: 256 }));
    let limits = Limits { max_packet_bytes: 100, ..Limits::default() };
    let large = SocketError::TooLarge { max: 100 };
    assert_eq!(decode(&event_with(&[0; 100]).into(), &limits), Err(large));
    // Each of these bytes is six of JSON.
    let escapes = event_with(&[&[0xb4][..], &[1; 20]].concat());
    assert!(escapes.len() < 100);
    assert_eq!(decode(&escapes.into(), &limits), Err(large));
}

#[test]
fn a_text_is_read_back_whatever_its_length() {
    for len in [0, 31, 32, 255, 256, 65_535, 65_536] {
        let (text, mut value) = ("x".repeat(len), Vec::new());
        write_text(&mut value, &text);
        assert_eq!(value.len(), text_head(len) + len);
        assert_eq!(read_text(&value), Some(&*text));
    }
    assert_eq!((read_text(b""), read_text(b"\xc0")), (None, None));
}

#[test]
fn after_a_failure_nothing_is_read() {
    let mut reassembler = Reassembler::new(Limits::default()).with_parser(Parser::Msgpack);
    assert!(reassembler.binary(packed("0").into()).unwrap().is_some());
    assert_eq!(reassembler.text(&"0".into()), Err(SocketError::UnexpectedText));
    assert_eq!(reassembler.binary(packed("0").into()), Err(SocketError::AlreadyFailed));
}

#[test]
fn a_format_says_the_same_as_msgpack() {
    let text = Format::socketio("/n".into(), None).with_offsets();
    let packed = text.clone().with_parser(Parser::Msgpack);
    let mut stored_ones = 0;
    for kind in EventKind::ALL {
        let Some((event, _)) = golden(kind) else { continue };
        let expected = text.event(&event).map(|payload| from_frame(&payload).unwrap());
        assert_eq!(packed.event(&event), expected);
        let at = text.event_at(&event, "~1").map(|payload| from_frame(&payload).unwrap());
        assert_eq!(packed.event_at(&event, "~1"), at);
        if let Event::Stored(stored) = &event {
            stored_ones += 1;
            let mut own = String::new();
            recovery::write_own(&mut own, &stored.record.room, stored.position);
            let mut value = Vec::new();
            write_text(&mut value, &own);
            assert_eq!(packed.offset_end(stored), value.len());
            assert!(expected.unwrap().ends_with(&value));
        }
    }
    assert!(stored_ones > 0);
    let reply = packed.reply(&ReplyId::SocketIo(7), &Ok(Reply::Done)).unwrap();
    assert_eq!(reply, from_frame(br#"43/n,7[{"ok":true}]"#).unwrap());
    assert_eq!(packed.disconnect(), from_frame(b"41/n,"));
    assert_eq!(text.disconnect().unwrap(), b"41/n,");
}

/// JSON as the reader writes it.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1000_i16..1000).prop_map(|n| (f64::from(n) + 0.5).into()),
        ".{0,40}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Into::into),
            prop::collection::btree_map(".{0,6}", inner, 0..20)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn packets() -> impl Strategy<Value = Packet> {
    let raw = |value: &serde_json::Value| RawJson::new(value.to_string().into()).unwrap();
    let args = prop::collection::vec(json(), 0..20)
        .prop_map(move |args| args.iter().map(raw).collect::<Vec<_>>());
    let name = "[a-z \"\\\\é]{1,40}"
        .prop_filter("not reserved", |name| !crate::wire::socketio::is_reserved_event(name));
    let body =
        (name, args, any::<Option<u64>>(), any::<bool>()).prop_map(|(name, args, id, is_event)| {
            if is_event {
                let name = EventName::Text(name.into());
                Body::Event { name, args, id, attachments: Vec::new() }
            } else {
                Body::Ack { id, args, attachments: Vec::new() }
            }
        });
    ("/[a-z0-9]{0,8}", body)
        .prop_map(|(namespace, body)| Packet { namespace: namespace.into(), body })
}

proptest! {
    #[test]
    fn comes_back_as_it_went(packet in packets()) {
        let mut text = String::new();
        write_packet(&mut text, &packet);
        let message = encode(&text, &[]).unwrap();
        prop_assert!(is_packet(&message));
        prop_assert_eq!(read(&message), Ok(packet));
    }

    #[test]
    fn never_panics(value in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = argument(&value);
        let _ = read(&value);
    }
}
