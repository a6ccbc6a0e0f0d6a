//! RFC 6455 beneath the events: every frame is judged as section 5 and 7 demand.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::*;

const PING: &str = r#"{"type":"ping"}"#;
const FIN: u8 = 0x80;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const MORE: u8 = 0;

/// Sends raw bytes on a connection of its own and asserts the close code.
fn closes(hub: &Hub, what: &str, bytes: &[u8], code: u16) {
    let mut ws = hub.ws("ann");
    ws.send_raw(bytes);
    match ws.end() {
        End::Close(found, _) => assert_eq!(found, code, "{what}"),
        End::Cut => panic!("{what}: cut without a close frame"),
    }
}

#[test]
fn broken_frames_are_protocol_errors() {
    let hub = Hub::start(&[]);
    let mut neighbour = hub.ws("bob");
    let unmasked = [raw(FIN | TEXT, 0, PING.len()), PING.into()].concat();
    closes(&hub, "not masked", &unmasked, 1002);
    for bit in [0x40, 0x20, 0x10] {
        closes(&hub, "a reserved bit", &masked(FIN | TEXT | bit, PING.as_bytes()), 1002);
        closes(&hub, "a reserved bit in a ping", &masked(FIN | 9 | bit, b""), 1002);
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        closes(&hub, &format!("opcode {opcode}"), &masked(FIN | opcode, b""), 1002);
    }
    closes(&hub, "a continuation of nothing", &masked(FIN | MORE, b"x"), 1002);
    let interleaved = [masked(TEXT, b"{"), masked(FIN | TEXT, PING.as_bytes())].concat();
    closes(&hub, "a message inside a message", &interleaved, 1002);
    for opcode in [8, 9, 10] {
        closes(&hub, "a fragmented control frame", &masked(opcode, b"ab"), 1002);
        closes(&hub, "a long control frame", &masked(FIN | opcode, &[b'x'; 126]), 1002);
    }
    let mut padded = vec![FIN | TEXT, 0x80 | 126, 0, 15, 0, 0, 0, 0];
    padded.extend_from_slice(PING.as_bytes());
    closes(&hub, "a length in too many bytes", &padded, 1002);
    neighbour.fence();
    hub.metric_until("hubbub_closed_total", &["protocol_error"], |n| n >= 25.0);
}

#[test]
fn a_length_beyond_everything_is_refused_by_its_header() {
    let hub = Hub::start(&[]);
    for (length, codes) in [
        (u64::MAX, [1002, 1009]),
        (1 << 63, [1002, 1009]),
        (i64::MAX as u64, [1009, 1009]),
        (10 * 1024 * 1024, [1009, 1009]),
        (65_537, [1009, 1009]),
    ] {
        let mut ws = hub.ws("ann");
        let head = [&[FIN | TEXT, 0x80 | 127][..], &length.to_be_bytes()].concat();
        ws.send_raw(&head);
        match ws.end() {
            End::Close(code, _) => assert!(codes.contains(&code), "{length}: {code}"),
            End::Cut => panic!("{length}: cut without a close frame"),
        }
    }
}

#[test]
fn ten_megabytes_are_not_taken_in() {
    let hub = Hub::start(&[]);
    let mut neighbour = hub.ws("bob");
    let before = hub.warm();
    let mut ws = hub.ws("ann");
    ws.send_raw(&raw(FIN | TEXT, 0x80, 10 * 1024 * 1024));
    ws.send_raw(&[0; 4]);
    ws.send_pieces(&[b'x'; 64 * 1024], 160);
    match ws.end() {
        End::Close(code, _) => assert_eq!(code, 1009),
        // Bytes under way to a closed socket turn the close into a reset.
        End::Cut => {}
    }
    hub.metric_until("hubbub_closed_total", &["too_large"], |n| n == 1.0);
    let grown = hub.memory("VmHWM").saturating_sub(before);
    assert!(grown < 4 * 1024 * 1024, "the hub grew by {grown} bytes");
    neighbour.fence();
}

#[test]
fn fragments_are_one_message_with_one_limit() {
    let hub = Hub::start(&[UNLIMITED]);
    let mut ws = hub.member("ann", "r");
    let text = r#"{"type":"message","id":"f","roomId":"r","content":"grüße 🦀"}"#;
    // Every cut, also inside a character; pings between the fragments.
    for (n, cut) in (0..=text.len()).enumerate() {
        let (head, tail) = text.as_bytes().split_at(cut);
        ws.send_frame(TEXT, head);
        if n % 3 == 0 {
            ws.send_frame(FIN | 9, b"between");
        }
        ws.send_frame(MORE, b"");
        ws.send_frame(FIN | MORE, tail);
        let ack = ws.answer_to("f").unwrap_or_else(|e| panic!("cut at {cut}: {e}"));
        assert_eq!(ack["offset"], n as u64 + 1, "cut at {cut}");
    }
    for byte in PING.bytes().enumerate() {
        let first = if byte.0 == 0 { TEXT } else { MORE };
        let fin = if byte.0 + 1 == PING.len() { FIN } else { 0 };
        ws.send_frame(first | fin, &[byte.1]);
    }
    ws.expect_kind("pong");

    ws.send_frame(TEXT, &[b'x'; 40_000]);
    ws.send_frame(MORE, &[b'x'; 25_000]);
    ws.send_frame(MORE, &[b'x'; 1000]);
    ws.expect_close(1009);
}

#[test]
fn endless_empty_fragments_are_no_way_in() {
    let hub = Hub::start(&[]);
    let before = hub.warm();
    let mut ws = hub.ws("ann");
    ws.send_frame(TEXT, b"");
    let piece: Vec<u8> = masked(MORE, b"").repeat(1000);
    ws.send_pieces(&piece, 100);
    // Either it is an abuse or it is ignored; it never costs memory.
    let mut other = hub.ws("bob");
    other.fence();
    let grown = hub.memory("VmHWM").saturating_sub(before);
    assert!(grown < 4 * 1024 * 1024, "the hub grew by {grown} bytes");
}

#[test]
fn a_byte_at_a_time_is_a_frame_too() {
    let hub = Hub::start(&[]);
    let mut ws = hub.ws("ann");
    for byte in masked(FIN | TEXT, PING.as_bytes()) {
        ws.send_raw(&[byte]);
        std::thread::yield_now();
    }
    ws.expect_kind("pong");
    // And many frames in one piece are many frames.
    ws.send_raw(&masked(FIN | TEXT, PING.as_bytes()).repeat(20));
    for _ in 0..20 {
        ws.expect_kind("pong");
    }
    ws.close();
}

#[test]
fn text_must_be_utf_8() {
    let hub = Hub::start(&[]);
    for bad in [
        &b"\xff"[..],
        b"{\"type\":\"\xc0\xaf\"}",
        b"\xed\xa0\x80",     // a surrogate
        b"\xf4\x90\x80\x80", // beyond U+10FFFF
        b"\xe2\x82",         // cut short
        b"ok \x80",
    ] {
        closes(&hub, &format!("{bad:x?}"), &masked(FIN | TEXT, bad), 1007);
    }
    // Fail fast: the message has not ended, and never could be right.
    closes(&hub, "in the first fragment", &masked(TEXT, b"abc\xff"), 1007);
    let split = [masked(TEXT, b"\xf0\x9f"), masked(MORE, b"\x41")].concat();
    closes(&hub, "over two fragments", &split, 1007);
    let cut = [masked(TEXT, b"x"), masked(FIN | MORE, b"\xf0\x9f\xa6")].concat();
    closes(&hub, "cut short at the end", &cut, 1007);
    hub.metric_until("hubbub_closed_total", &["invalid_utf8"], |n| n == 9.0);
}

#[test]
fn binary_is_refused() {
    let hub = Hub::start(&[]);
    closes(&hub, "a binary frame", &masked(FIN | BINARY, PING.as_bytes()), 4400);
    closes(&hub, "an empty one", &masked(FIN | BINARY, b""), 4400);
    hub.metric_until("hubbub_closed_total", &["bad_frame"], |n| n == 2.0);
}

#[test]
fn pings_are_answered_with_what_they_carried() {
    let hub = Hub::start(&[]);
    let mut ws = hub.ws("ann");
    let long = [7u8; 125];
    for payload in [&b""[..], b"hello", &long] {
        ws.send_frame(FIN | 9, payload);
        let deadline = Instant::now() + SOON;
        loop {
            match ws.next_frame(deadline).expect("a pong") {
                Frame::Pong(found) => {
                    assert_eq!(found, payload);
                    break;
                }
                Frame::Text(_) | Frame::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    // A pong nobody asked for is ignored.
    ws.send_frame(FIN | 10, b"unasked");
    ws.fence();
    ws.close();
}

#[test]
fn a_ping_flood_without_reading_stays_bounded() {
    let hub = Hub::start(&[("HUBBUB__SESSION__STALL_TIMEOUT_MS", "1000")]);
    let mut neighbour = hub.ws("bob");
    let before = hub.warm();
    let way = Handshake::new().bearer(&token("ann", json!({}))).small_window();
    let mut ws = hub.connect(way);
    ws.stream().set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    ws.send_pieces(&masked(FIN | 9, &[b'p'; 125]).repeat(100), 1000);
    let grown = hub.memory("VmHWM").saturating_sub(before);
    assert!(grown < 8 * 1024 * 1024, "the hub grew by {grown} bytes");
    neighbour.fence();
}

#[test]
fn the_closing_handshake_is_answered() {
    let hub = Hub::start(&[]);
    for code in [1000, 1001, 1003, 1008, 1011, 3000, 3999, 4000, 4999] {
        closes(&hub, &format!("close {code}"), &close(code, b"bye"), code);
    }
    let mut ws = hub.ws("ann");
    ws.send_frame(FIN | 8, b"");
    let started = Instant::now();
    match ws.end() {
        End::Close(code, _) => assert!(matches!(code, 1000 | 1005), "{code}"),
        End::Cut => panic!("an empty close frame was not answered"),
    }
    // The hub closes the TCP connection at once (section 7.1.1).
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());

    closes(&hub, "half a code", &masked(FIN | 8, &[3]), 1002);
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535] {
        closes(&hub, &format!("close {code}"), &close(code, b""), 1002);
    }
    closes(&hub, "a reason that is no UTF-8", &close(1000, b"\xff"), 1007);
    // What follows a close frame is not looked at.
    let after = [close(1000, b""), masked(FIN | 3, b""), vec![0xff; 100]].concat();
    closes(&hub, "junk after the close", &after, 1000);
    hub.metric_until("hubbub_connections", &[], |n| n == 0.0);
}
