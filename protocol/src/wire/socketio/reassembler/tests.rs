#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;
use crate::wire::socketio::{EventName, RawJson, write_packet};

fn reassembler() -> Reassembler {
    Reassembler::new(Limits::default())
}

fn decode(text: &str) -> Result<Packet, SocketError> {
    let packet = reassembler().text(&ByteString::from(text))?;
    Ok(packet.expect("a packet without attachments"))
}

fn raw(json: &str) -> RawJson {
    RawJson::new(json.into()).unwrap()
}

fn event(namespace: &str, name: &str, args: &[&str], id: Option<u64>) -> Packet {
    Packet {
        namespace: namespace.into(),
        body: Body::Event {
            name: EventName::Text(name.into()),
            args: args.iter().map(|arg| raw(arg)).collect(),
            id,
            attachments: Vec::new(),
        },
    }
}

#[test]
fn reads_events() {
    assert_eq!(decode(r#"2["hi"]"#), Ok(event("/", "hi", &[], None)));
    assert_eq!(
        decode(r#"2/admin,12["a b",1.50,{"z":1,"a":[ ]}]"#),
        Ok(event("/admin", "a b", &["1.50", r#"{"z":1,"a":[ ]}"#], Some(12)))
    );
    assert_eq!(
        decode(r#"20["esc\u0061pe\n",9007199254740993]"#),
        Ok(event("/", "escape\n", &["9007199254740993"], Some(0)))
    );
    assert_eq!(decode(r#"2[""]"#), Ok(event("/", "", &[], None)));
    let Body::Event { name, .. } = decode("2[1e3,2]").unwrap().body else {
        panic!("an event");
    };
    assert_eq!(name, EventName::Number("1e3".into()));
}

#[test]
fn a_namespace_stands_as_it_is() {
    assert_eq!(decode("0/a?x=1&y=/b").unwrap().namespace, "/a?x=1&y=/b");
    assert_eq!(decode("0/%2F Ä,{}").unwrap().namespace, "/%2F Ä");
    assert_eq!(decode("0/,").unwrap().namespace, "/");
    let long = format!("1/{}", "n".repeat(256));
    assert_eq!(decode(&long), Err(SocketError::NamespaceTooLong { max: 256 }));
    assert!(decode(&long[..long.len() - 1]).is_ok());
}

#[test]
fn reads_the_other_kinds() {
    let body = |text: &str| decode(text).unwrap().body;
    assert_eq!(body("0"), Body::Connect { data: None });
    let data = Some(raw(r#"{"token":"x"}"#));
    assert_eq!(body(r#"0/a,{"token":"x"}"#), Body::Connect { data });
    assert_eq!(body("1/a,"), Body::Disconnect);
    let ack = |id, args: &[&str]| Body::Ack {
        id,
        args: args.iter().map(|arg| raw(arg)).collect(),
        attachments: Vec::new(),
    };
    assert_eq!(body("3/a,7[]"), ack(Some(7), &[]));
    assert_eq!(body("37[null,[1]]"), ack(Some(7), &["null", "[1]"]));
    assert_eq!(body("37"), ack(Some(7), &[]));
    assert_eq!(body("3[1]"), ack(None, &["1"]));
    let data = raw(r#"{"message":"no"}"#);
    assert_eq!(body(r#"4/a,{"message":"no"}"#), Body::ConnectError { data });
    assert_eq!(body(r#"4"no""#), Body::ConnectError { data: raw(r#""no""#) });
}

#[test]
fn refuses_malformed_packets() {
    use SocketError as E;
    let cases = [
        ("", E::UnknownType),
        ("7", E::UnknownType),
        ("a", E::UnknownType),
        ("é", E::UnknownType),
        ("0[]", E::InvalidPayload),
        ("0\"x\"", E::InvalidPayload),
        ("0null", E::InvalidPayload),
        ("0{", E::InvalidPayload),
        ("0{} {}", E::InvalidPayload),
        ("1{}", E::InvalidPayload),
        ("1/a,x", E::InvalidPayload),
        ("2", E::InvalidPayload),
        ("2{}", E::InvalidPayload),
        ("2abc[\"x\"]", E::InvalidPayload),
        ("2[\"x\"", E::InvalidPayload),
        ("2[\"x\",]", E::InvalidPayload),
        ("2[\"x\",undefined]", E::InvalidPayload),
        ("2[]", E::InvalidEventName),
        ("2[null]", E::InvalidEventName),
        ("2[true]", E::InvalidEventName),
        ("2[[\"x\"]]", E::InvalidEventName),
        ("2[\"\\ud800\"]", E::InvalidEventName),
        ("218446744073709551616[\"x\"]", E::InvalidAckId),
        ("3x", E::InvalidPayload),
        ("3{}", E::InvalidPayload),
        ("4", E::InvalidPayload),
        ("4[]", E::InvalidPayload),
        ("5[\"x\"]", E::InvalidAttachmentCount),
        ("5-[\"x\"]", E::InvalidAttachmentCount),
        ("50-[\"x\"]", E::InvalidAttachmentCount),
        ("5+1-[\"x\"]", E::InvalidAttachmentCount),
        ("51.5-[\"x\"]", E::InvalidAttachmentCount),
        ("511-[\"x\"]", E::TooManyAttachments { max: 10 }),
        ("599999999999999999999-[\"x\"]", E::TooManyAttachments { max: 10 }),
        ("61-{}", E::InvalidPayload),
    ];
    for (text, error) in cases {
        assert_eq!(decode(text), Err(error), "{text}");
    }
}

#[test]
fn refuses_reserved_names_however_they_are_written() {
    for name in [
        "connect",
        "connect_error",
        "disconnect",
        "disconnecting",
        "newListener",
        "removeListener",
        "c\\u006fnnect",
    ] {
        let text = format!(r#"2["{name}",1]"#);
        assert_eq!(decode(&text), Err(SocketError::ReservedEventName), "{name}");
    }
    assert!(decode(r#"2["Connect"]"#).is_ok());
}

#[test]
fn bounds_depth_and_size() {
    let nested = |levels: usize| format!("2[\"x\",{}{}]", "[".repeat(levels), "]".repeat(levels));
    assert!(decode(&nested(63)).is_ok());
    assert_eq!(decode(&nested(64)), Err(SocketError::TooDeep { max: 64 }));
    assert_eq!(decode(&"2[".repeat(200_000)), Err(SocketError::TooDeep { max: 64 }));
    let many = |n: usize| format!("2[\"x\"{}]", ",1".repeat(n));
    assert!(decode(&many(255)).is_ok());
    let error = SocketError::TooManyElements { max: 256 };
    assert_eq!(decode(&many(256)), Err(error));
    let mut small = Reassembler::new(Limits { max_packet_bytes: 40, ..Limits::default() });
    let text = ByteString::from(r#"52-["x",{"_placeholder":true,"num":1}]"#);
    assert_eq!(small.text(&text), Ok(None));
    assert_eq!(small.waiting_bytes(), 38);
    assert_eq!(small.binary(Bytes::from_static(&[0; 2])), Ok(None));
    let error = SocketError::TooLarge { max: 40 };
    assert_eq!(small.binary(Bytes::from_static(&[0; 1])), Err(error));
    assert_eq!(small.waiting_bytes(), 0);
}

#[test]
fn gathers_attachments() {
    let mut reassembler = reassembler();
    let text = r#"52-/a,7["pic",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#;
    assert_eq!(reassembler.text(&text.into()), Ok(None));
    assert!(reassembler.is_waiting());
    assert_eq!(reassembler.binary(Bytes::from_static(b"zero")), Ok(None));
    let packet = reassembler.binary(Bytes::from_static(b"one")).unwrap().unwrap();
    assert!(!reassembler.is_waiting());
    let Body::Event { attachments, id, args, .. } = packet.body else {
        panic!("an event");
    };
    assert_eq!(attachments, [&b"zero"[..], b"one"]);
    assert_eq!((id, args.len()), (Some(7), 2));
    assert!(reassembler.text(&"2[\"next\"]".into()).unwrap().is_some());
}

#[test]
fn refuses_what_comes_out_of_turn_and_stays_failed() {
    let mut first = reassembler();
    let unexpected = first.binary(Bytes::from_static(b"x"));
    assert_eq!(unexpected, Err(SocketError::UnexpectedAttachment));
    assert_eq!(first.text(&"0".into()), Err(SocketError::AlreadyFailed));

    let mut second = reassembler();
    second.text(&r#"51-["x"]"#.into()).unwrap();
    let early = second.text(&"2[\"y\"]".into());
    assert_eq!(early, Err(SocketError::TextInsteadOfAttachment));
    let late = second.binary(Bytes::new());
    assert_eq!(late, Err(SocketError::AlreadyFailed));

    let mut third = reassembler();
    let bad = third.text(&r#"51-["x",{"_placeholder":true,"num":1}]"#.into());
    assert_eq!(bad, Err(SocketError::InvalidPlaceholder));
    assert!(!third.is_waiting());
}

#[test]
fn placeholders_without_attachments_are_data() {
    let json = r#"{"_placeholder":true,"num":99}"#;
    let text = format!(r#"2["x",{json}]"#);
    assert_eq!(decode(&text), Ok(event("/", "x", &[json], None)));
}

/// JSON values of all kinds, as text.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        "-?[1-9][0-9]{0,30}(\\.[0-9]{1,20})?(e[+-]?[0-9]{1,3})?",
        any::<String>().prop_map(|s| serde_json::Value::from(s).to_string()),
        Just(r#"{"_placeholder":true,"num":0}"#.to_owned()),
    ];
    leaf.prop_recursive(4, 20, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5)
                .prop_map(|v| format!("[ {}]", v.join(" , "))),
            prop::collection::vec((any::<String>(), inner), 0..5).prop_map(|v| {
                let fields: Vec<String> = v
                    .into_iter()
                    .map(|(k, v)| format!("{}:{v}", serde_json::Value::from(k)))
                    .collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

fn packets() -> impl Strategy<Value = Packet> {
    let namespace = prop_oneof![Just("/".to_owned()), "/[^,]{0,20}"];
    let args = prop::collection::vec(json(), 0..4);
    let attachments = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 1..=10);
    let attachments = attachments.prop_map(|a| a.into_iter().map(Bytes::from).collect::<Vec<_>>());
    let name = prop_oneof![
        any::<String>().prop_map(|s| EventName::Text(s.into())),
        any::<i32>().prop_map(|n| EventName::Number(n.to_string().into())),
    ];
    let parts = (namespace, args, attachments, name, any::<Option<u64>>(), any::<bool>(), 0..6);
    parts.prop_map(|(namespace, args, attachments, name, id, plain, kind)| {
        let args: Vec<RawJson> = args.iter().map(|json| raw(json)).collect();
        let attachments = if plain { Vec::new() } else { attachments };
        let body = match kind {
            0 => Body::Connect { data: None },
            1 => Body::Connect { data: Some(raw(&format!("{{\"a\":[{}]}}", args.len()))) },
            2 => Body::Disconnect,
            3 => Body::ConnectError { data: raw("{\"message\":\"no\"}") },
            4 => Body::Ack { id, args, attachments },
            _ => Body::Event { name, args, id, attachments },
        };
        Packet { namespace: namespace.into(), body }
    })
}

proptest! {
    #[test]
    fn comes_back_as_it_went(packet in packets()) {
        let mut text = String::new();
        write_packet(&mut text, &packet);
        let mut reassembler = reassembler();
        let mut got = reassembler.text(&text.into()).unwrap();
        if let Body::Event { attachments, .. } | Body::Ack { attachments, .. } = &packet.body {
            for (n, data) in attachments.iter().enumerate() {
                prop_assert!(got.is_none(), "complete before attachment {}", n);
                got = reassembler.binary(data.clone()).unwrap();
            }
        }
        prop_assert_eq!(got, Some(packet));
    }

    #[test]
    fn never_panics(text in "[0-7]([0-9]{0,3}-)?(/[a-z]{0,3},?)?[0-9]{0,3}.{0,30}") {
        let _ = decode_any(&text);
    }
}

fn decode_any(text: &str) -> Result<Option<Packet>, SocketError> {
    reassembler().text(&ByteString::from(text))
}
