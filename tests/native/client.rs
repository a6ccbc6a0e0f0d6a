//! The tests' own client, held against what a hub may and may not send.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    panic::catch_unwind,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::*;

/// Answers one handshake, then sends these bytes and closes.
fn server(bytes: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut got = Vec::new();
        let mut byte = [0];
        while !got.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            got.push(byte[0]);
        }
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&bytes).unwrap();
        // Reads what is left, so that the end is no reset.
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut got);
    });
    address
}

fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    [raw(first, 0, payload.len()), payload.to_vec()].concat()
}

#[test]
fn events_are_found_and_the_others_kept() {
    let bytes = [
        unmasked(0x81, br#"{"type":"a","n":1}"#),
        unmasked(0x89, b"ping"),
        unmasked(0x81, br#"{"type":"b"}"#),
        unmasked(0x81, br#"{"type":"a","n":2}"#),
        unmasked(0x88, &[&4400_u16.to_be_bytes()[..], b"why"].concat()),
    ];
    let mut ws = Handshake::new().open(server(bytes.concat())).unwrap();
    ws.expect_kind("b");
    assert_eq!(ws.pings, 1);
    assert_eq!(ws.take(kind("a")), [json!({"type": "a", "n": 1})]);
    assert_eq!(ws.expect_kind("a")["n"], 2);
    assert_eq!(ws.expect_close(4400), "why");
    assert!(ws.find(Duration::from_millis(10), |_| true).is_none());
}

#[test]
fn an_end_without_a_close_frame_is_told_apart() {
    let mut ws = Handshake::new().open(server(unmasked(0x81, b"{}"))).unwrap();
    assert_eq!(ws.end(), End::Cut);
    let mut ws = Handshake::new().open(server(unmasked(0x88, b""))).unwrap();
    assert_eq!(ws.end(), End::Close(1005, String::new()));
}

#[test]
fn frames_a_hub_must_not_send_are_seen() {
    for bytes in [
        unmasked(0x01, b"part"),
        unmasked(0xc1, b"{}"),
        masked(0x81, b"{}"),
        unmasked(0x81, b"\xff"),
        unmasked(0x83, b""),
        unmasked(0x89, &[0; 126]),
        vec![0x81, 126, 0, 1, b'x'],
    ] {
        let shown = format!("{bytes:?}");
        let read = catch_unwind(|| {
            let mut ws = Handshake::new().open(server(bytes)).unwrap();
            ws.next_frame(Instant::now() + SOON)
        });
        assert!(read.is_err(), "{shown} passed");
    }
}

#[test]
fn long_frames_are_read_whole() {
    for length in [0, 125, 126, 65_535, 65_536, 300_000] {
        let text = "x".repeat(length);
        let mut ws = Handshake::new().open(server(unmasked(0x81, text.as_bytes()))).unwrap();
        assert_eq!(ws.next_frame(Instant::now() + SOON), Some(Frame::Text(text)));
    }
}
