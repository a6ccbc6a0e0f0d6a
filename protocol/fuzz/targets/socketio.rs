//! Socket.IO packets: the input is a series of messages, each after a byte for
//! its kind (even: text) and one for its length.
#![no_main]

use bytes::Bytes;
use bytestring::ByteString;
use hubbub_protocol::wire::socketio::{
    Body, EventName, Limits, MAX_ATTACHMENTS, Packet, RawJson, Reassembler, find_placeholders,
    is_reserved_event, substitute, write_packet,
};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits =
    Limits { max_packet_bytes: 600, max_namespace_bytes: 32, max_depth: 16, max_elements: 20 };

fuzz_target!(|data: &[u8]| {
    let mut reassembler = Reassembler::new(LIMITS);
    let mut rest = data;
    let mut failed = false;
    while let [kind, len, after @ ..] = rest {
        let (message, tail) = after.split_at(usize::from(*len).min(after.len()));
        rest = tail;
        let message = Bytes::copy_from_slice(message);
        let answer = if kind % 2 == 1 {
            reassembler.binary(message)
        } else if let Ok(text) = ByteString::try_from(message) {
            reassembler.text(&text)
        } else {
            continue;
        };
        assert!(!failed || answer.is_err(), "reads on after an error");
        assert!(reassembler.waiting_bytes() <= LIMITS.max_packet_bytes);
        match answer {
            Ok(Some(packet)) => check(&packet),
            Ok(None) => assert!(reassembler.is_waiting()),
            Err(_) => {
                failed = true;
                assert!(!reassembler.is_waiting());
            }
        }
    }

    // The scanner alone takes any text, valid JSON or not.
    if let Ok(text) = std::str::from_utf8(data) {
        for placeholder in find_placeholders(text, 4).unwrap_or_default() {
            assert!(placeholder.index < 4);
            assert!(text[placeholder.span].starts_with(['{', '[']));
        }
    }
});

/// Holds for every packet that was accepted, and writing it gives it back.
fn check(packet: &Packet) {
    assert!(packet.namespace.starts_with('/'));
    assert!(packet.namespace.len() <= LIMITS.max_namespace_bytes);
    let mut attachments = &Vec::new();
    match &packet.body {
        Body::Event { name, args, attachments: bytes, .. } => {
            attachments = bytes;
            assert!(matches!(name, EventName::Number(_)) || !is_reserved_event(name.as_str()));
            check_arguments(args, bytes);
        }
        Body::Ack { args, attachments: bytes, .. } => {
            attachments = bytes;
            check_arguments(args, bytes);
        }
        Body::Connect { data } => {
            assert!(data.as_ref().is_none_or(|data| data.get().starts_with('{')));
        }
        Body::ConnectError { data } => assert!(data.get().starts_with(['{', '"'])),
        Body::Disconnect => {}
    }

    let mut text = String::new();
    write_packet(&mut text, packet);
    // Escapes may make the second text longer than the first.
    let mut reassembler =
        Reassembler::new(Limits { max_packet_bytes: 6 * LIMITS.max_packet_bytes, ..LIMITS });
    let mut again = reassembler.text(&text.into()).expect("our own text");
    for bytes in attachments {
        assert!(again.is_none());
        again = reassembler.binary(bytes.clone()).expect("an attachment");
    }
    assert_eq!(again.as_ref(), Some(packet));
}

/// Arguments are JSON, and with attachments every placeholder can be replaced.
fn check_arguments(args: &[RawJson], attachments: &[Bytes]) {
    assert!(attachments.len() <= MAX_ATTACHMENTS);
    assert!(args.len() <= LIMITS.max_elements);
    for arg in args {
        RawJson::new(arg.get().into()).expect("JSON");
        if !attachments.is_empty() {
            let render = |_: &Bytes, out: &mut String| out.push_str("null");
            let json = substitute(arg.get(), attachments, render).expect("checked placeholders");
            RawJson::new(json.into()).expect("JSON still");
        }
    }
}
