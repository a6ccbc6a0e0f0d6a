//! Socket.IO packets as msgpack: the input is one binary message.
#![no_main]

use bytes::Bytes;
use hubbub_protocol::wire::socketio::{
    Body, EventName, Limits, MAX_ATTACHMENTS, Packet, RawJson, find_placeholders,
    is_reserved_event, msgpack, write_packet,
};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits =
    Limits { max_packet_bytes: 2000, max_namespace_bytes: 32, max_depth: 16, max_elements: 20 };

fuzz_target!(|data: &[u8]| {
    if let Ok(packet) = msgpack::decode(&Bytes::copy_from_slice(data), &LIMITS) {
        check(&packet);
    }
    // The writer takes any text, valid or not.
    if let Ok(text) = std::str::from_utf8(data) {
        let attachments = [Bytes::from_static(b"0"), Bytes::from_static(b"1")];
        let _ = msgpack::encode(text, &attachments);
    }
});

/// Holds for every packet that was accepted, and writing it gives it back.
fn check(packet: &Packet) {
    assert!(packet.namespace.starts_with('/') && !packet.namespace.contains(','));
    assert!(packet.namespace.len() <= LIMITS.max_namespace_bytes);
    assert!(packet.body.text_bytes() <= LIMITS.max_packet_bytes);
    let attachments = match &packet.body {
        Body::Event { name, args, attachments, .. } => {
            assert!(matches!(name, EventName::Number(_)) || !is_reserved_event(name.as_str()));
            check_arguments(args, attachments);
            attachments.clone()
        }
        Body::Ack { args, attachments, .. } => {
            check_arguments(args, attachments);
            attachments.clone()
        }
        _ => Vec::new(),
    };
    let mut text = String::new();
    write_packet(&mut text, packet);
    let message = msgpack::encode(&text, &attachments).expect("our own text");
    assert!(msgpack::is_packet(&message));
    let limits = Limits { max_packet_bytes: 100_000, ..LIMITS };
    // A binary value may stand twice, where the sender wrote an object like a placeholder.
    if let Ok(again) = msgpack::decode(&message.into(), &limits)
        && attachments.is_empty()
    {
        assert_eq!(&again, packet);
    }
}

/// Arguments are JSON, and every placeholder has its attachment.
fn check_arguments(args: &[RawJson], attachments: &[Bytes]) {
    assert!(attachments.len() <= MAX_ATTACHMENTS);
    assert!(args.len() <= LIMITS.max_elements);
    for arg in args {
        RawJson::new(arg.get().into()).expect("JSON");
        if !attachments.is_empty() {
            find_placeholders(arg.get(), attachments.len()).expect("checked placeholders");
        }
    }
}
