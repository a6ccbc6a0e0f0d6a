//! Engine.IO packets and payloads against the reference parser, see
//! `vectors/make.mjs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use hubbub_protocol::wire::engineio::{Packet, Payload, PayloadWriter};
use serde_json::{Value, json};

fn vectors(kind: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("vectors/engineio.json")).unwrap();
    let vectors = file[kind].as_array().unwrap().clone();
    assert!(!vectors.is_empty());
    vectors
}

/// The packet in the words of the reference. Text behind close, upgrade and
/// noop is not kept.
fn show(packet: &Packet) -> Value {
    let (kind, text) = match packet {
        Packet::Open(text) => ("open", Some(text)),
        Packet::Ping(text) => ("ping", Some(text)),
        Packet::Pong(text) => ("pong", Some(text)),
        Packet::Text(text) => ("message", Some(text)),
        Packet::Close => ("close", None),
        Packet::Upgrade => ("upgrade", None),
        Packet::Noop => ("noop", None),
        Packet::Binary(data) => {
            let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
            return json!({ "type": "message", "hex": hex });
        }
    };
    match text.filter(|text| !text.is_empty()) {
        Some(text) => json!({ "type": kind, "data": &**text }),
        None => json!({ "type": kind }),
    }
}

fn read(payload: &str) -> Vec<Value> {
    Payload::new(Bytes::copy_from_slice(payload.as_bytes()), usize::MAX)
        .unwrap()
        .map(|packet| match packet {
            Ok(packet) => show(&packet),
            Err(_) => json!({ "type": "error", "data": "parser error" }),
        })
        .collect()
}

#[test]
fn reads_what_the_reference_reads() {
    for vector in vectors("decode") {
        let payload = vector["payload"].as_str().unwrap();
        let got = read(payload);
        if vector.get("stricter").is_some() {
            assert_eq!(got.last().unwrap()["type"], "error", "{payload:?}");
        } else {
            assert_eq!(Value::from(got), vector["packets"], "{payload:?}");
        }
    }
}

#[test]
fn writes_what_the_reference_writes() {
    for vector in vectors("encode") {
        let payload = vector["payload"].as_str().unwrap();
        let mut writer = PayloadWriter::new(usize::MAX);
        for packet in Payload::new(Bytes::copy_from_slice(payload.as_bytes()), usize::MAX).unwrap()
        {
            assert!(writer.push(&packet.unwrap()));
        }
        assert_eq!(Value::from(read(payload)), vector["packets"]);
        assert_eq!(writer.finish(), payload);
    }
}
