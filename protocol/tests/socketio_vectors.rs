//! Socket.IO packets against the reference parser, see `vectors/make.mjs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use hubbub_protocol::wire::socketio::{
    Attachments, Body, EventName, Limits, Packet, RawJson, Reassembler, SocketError, substitute,
    write_ack, write_connect, write_connect_error, write_disconnect, write_event, write_packet,
};
use serde_json::{Map, Value, json};

fn vectors(kind: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("vectors/socketio.json")).unwrap();
    let vectors = file[kind].as_array().unwrap().clone();
    assert!(!vectors.is_empty());
    vectors
}

fn from_hex(hex: &str) -> Bytes {
    (0..hex.len() / 2).map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap()).collect()
}

fn to_hex(data: &Bytes) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The arguments with `{"$hex": ...}` for binary values.
fn show_args(args: &[RawJson], attachments: &[Bytes]) -> Vec<Value> {
    let show = |arg: &RawJson| {
        if attachments.is_empty() {
            return arg.parse().unwrap();
        }
        let render = |data: &Bytes, out: &mut String| {
            out.push_str(&json!({ "$hex": to_hex(data) }).to_string());
        };
        let json = substitute(arg.get(), attachments, render).unwrap();
        serde_json::from_str(&json).unwrap()
    };
    args.iter().map(show).collect()
}

/// The packet in the words of the reference, numbers as doubles.
fn show(packet: &Packet) -> Value {
    let mut shown = Map::new();
    shown.insert("nsp".to_owned(), (&*packet.namespace).into());
    let (kind, id, data) = match &packet.body {
        Body::Connect { data } => (0, None, data.as_ref().map(|data| data.parse().unwrap())),
        Body::Disconnect => (1, None, None),
        Body::ConnectError { data } => (4, None, Some(data.parse().unwrap())),
        Body::Event { name, args, id, attachments } => {
            let name = match name {
                EventName::Text(name) => Value::from(&**name),
                EventName::Number(number) => serde_json::from_str(number).unwrap(),
            };
            let mut data = vec![name];
            data.extend(show_args(args, attachments));
            (2, *id, Some(Value::from(data)))
        }
        Body::Ack { id, args, attachments } => (3, *id, Some(show_args(args, attachments).into())),
    };
    shown.insert("type".to_owned(), kind.into());
    if let Some(id) = id {
        shown.insert("id".to_owned(), id.into());
    }
    if let Some(data) = data {
        shown.insert("data".to_owned(), data);
    }
    doubles(shown.into())
}

/// JavaScript has one kind of number.
fn doubles(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().unwrap().into(),
        Value::Array(list) => list.into_iter().map(doubles).collect(),
        Value::Object(map) => map.into_iter().map(|(k, v)| (k, doubles(v))).collect(),
        other => other,
    }
}

fn read(messages: &Value) -> (Vec<Packet>, Result<(), SocketError>) {
    let mut reassembler = Reassembler::new(Limits::default());
    let mut packets = Vec::new();
    for message in messages.as_array().unwrap() {
        let answer = match message.as_str() {
            Some(text) => reassembler.text(&text.into()),
            None => reassembler.binary(from_hex(message["hex"].as_str().unwrap())),
        };
        match answer {
            Ok(packet) => packets.extend(packet),
            Err(error) => return (packets, Err(error)),
        }
    }
    (packets, Ok(()))
}

#[test]
fn reads_what_the_reference_reads() {
    for vector in vectors("decode") {
        let messages = &vector["messages"];
        let (packets, end) = read(messages);
        if vector.get("stricter").is_some() {
            assert!(end.is_err(), "{messages}");
            continue;
        }
        let refused = vector.get("error").is_some();
        assert_eq!(end.is_err(), refused, "{messages}: {end:?}");
        let expected: Value = vector["packets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|packet| {
                let mut packet = packet.clone();
                let fields = packet.as_object_mut().unwrap();
                match fields["type"].as_u64().unwrap() {
                    // An id means something to events and acks only.
                    0 | 1 | 4 => drop(fields.remove("id")),
                    // An ack without data has no arguments.
                    3 => drop(fields.entry("data").or_insert_with(|| json!([]))),
                    _ => {}
                }
                doubles(packet)
            })
            .collect();
        let got: Value = packets.iter().map(show).collect();
        assert_eq!(got, expected, "{messages}");
    }
}

/// Takes the binary values out of `value`.
fn extract(value: &Value, attachments: &mut Attachments) -> Value {
    match value {
        Value::Object(map) if map.contains_key("$hex") => {
            let data = from_hex(map["$hex"].as_str().unwrap());
            serde_json::from_str(&attachments.attach(data).unwrap()).unwrap()
        }
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.clone(), extract(value, attachments))).collect()
        }
        Value::Array(list) => list.iter().map(|v| extract(v, attachments)).collect(),
        other => other.clone(),
    }
}

/// Writes a packet that the reference was given.
fn write(packet: &Value) -> Vec<Value> {
    let namespace = packet["nsp"].as_str().unwrap();
    let id = packet["id"].as_u64();
    let mut attachments = Attachments::default();
    let data = packet.get("data").map(|d| extract(d, &mut attachments));
    let elements: Vec<String> = data
        .as_ref()
        .and_then(Value::as_array)
        .map(|list| list.iter().map(Value::to_string).collect())
        .unwrap_or_default();
    let mut out = String::new();
    match packet["type"].as_u64().unwrap() {
        0 => {
            let auth = data.map(|data| data.to_string());
            write_connect(&mut out, namespace, auth.as_deref());
        }
        1 => write_disconnect(&mut out, namespace),
        2 if packet["data"][0].is_string() => {
            let name = packet["data"][0].as_str().unwrap();
            let args = &elements[1..];
            write_event(&mut out, namespace, name, args, id, attachments.len());
        }
        2 => {
            // Only whole packets have numbers for names: write what was read.
            let text = format!("2[{}]", elements.join(","));
            let (packets, _) = read(&json!([text]));
            write_packet(&mut out, &packets[0]);
        }
        3 => write_ack(&mut out, namespace, id, &elements, attachments.len()),
        4 => {
            let data = data.unwrap();
            let message = data["message"].as_str().unwrap();
            let more = data.get("data").map(Value::to_string);
            write_connect_error(&mut out, namespace, message, more.as_deref());
        }
        other => panic!("type {other}"),
    }
    let mut messages = vec![Value::from(out)];
    let attachments = attachments.into_inner();
    messages.extend(attachments.iter().map(|data| json!({ "hex": to_hex(data) })));
    messages
}

#[test]
fn writes_what_the_reference_writes() {
    for vector in vectors("encode") {
        assert_eq!(Value::from(write(&vector["packet"])), vector["messages"]);
        let (packets, end) = read(&vector["messages"]);
        assert_eq!((packets.len(), end), (1, Ok(())), "{vector}");
    }
}
