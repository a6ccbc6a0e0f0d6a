//! Compressed messages (RFC 7692) where the configuration has them; the cases are those of
//! sections 12 and 13 of the Autobahn test suite in small.

use std::time::Instant;

use serde_json::json;

use crate::support::*;

const ON: (&str, &str) = ("HUBBUB__SESSION__COMPRESSION", "true");
const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const PING: &str = r#"{"type":"ping"}"#;

fn offer(user: &str, parameters: &str) -> Handshake {
    Handshake::new().bearer(&token(user, json!({}))).offering(parameters)
}

/// A member of the room with whom compression is agreed on.
fn member(hub: &Hub, user: &str, parameters: &str) -> Ws {
    let mut ws = hub.ws_by(offer(user, parameters));
    ws.join("r");
    ws
}

/// A message of a length that gets much smaller.
fn long(len: usize) -> String {
    "what is said again and again, ".repeat(len / 30 + 1)[..len].to_owned()
}

fn rss_growth(hub: &Hub, before: u64) -> u64 {
    hub.memory("VmHWM").saturating_sub(before)
}

#[test]
fn what_is_offered_is_answered() {
    let hub = Hub::start(&[ON]);
    for (parameters, answer) in [
        ("", Some("")),
        ("; client_max_window_bits", Some("")),
        ("; server_no_context_takeover; client_max_window_bits=9", Some("")),
        ("; server_max_window_bits=10", Some("; server_max_window_bits=10")),
        ("; server_max_window_bits=16, permessage-deflate", Some("")),
        ("; server_max_window_bits=7", None),
        ("; something=else", None),
        ("-not", None),
    ] {
        let expected = answer.map(|rest| format!("{AGREED}{rest}"));
        for target in ["/ws", "/socket.io/?EIO=4&transport=websocket"] {
            let ws = hub.connect(offer("ann", parameters).target(target));
            let got = ws.answer.header("sec-websocket-extensions");
            assert_eq!(got, expected.as_deref(), "{target} {parameters}");
        }
    }
    let ws = hub.ws("ann");
    assert_eq!(ws.answer.header("sec-websocket-extensions"), None);
}

#[test]
fn compressed_messages_are_taken_however_they_come() {
    let hub = Hub::start(&[ON, UNLIMITED]);
    let mut ws = member(&hub, "ann", "");
    let text = format!(
        r#"{{"type":"message","id":"f","roomId":"r","content":"grüße 🦀 {}"}}"#,
        long(2000)
    );
    let data = deflated(text.as_bytes());
    ws.send_frame(0xC1, &data);
    let mut offset = ws.answer_to("f").unwrap()["offset"].as_u64().unwrap();
    // Every cut, pings between the fragments, empty ones.
    for cut in 0..=data.len() {
        let (head, tail) = data.split_at(cut);
        ws.send_frame(0x41, head);
        if cut % 3 == 0 {
            ws.send_frame(0x89, b"between");
        }
        ws.send_frame(0x00, b"");
        ws.send_frame(0x80, tail);
        let ack = ws.answer_to("f").unwrap_or_else(|e| panic!("cut at {cut}: {e}"));
        offset += 1;
        assert_eq!(ack["offset"], offset, "cut at {cut}");
    }
    // A byte at a time; then many in one piece, compressed and not.
    for byte in masked(0xC1, &data) {
        ws.send_raw(&[byte]);
    }
    ws.answer_to("f").unwrap();
    let (packed, plain) = (masked(0xC1, &deflated(PING.as_bytes())), masked(0x81, PING.as_bytes()));
    let piece = [&packed[..], &plain, &packed, &packed, &masked(0x8A, b""), &plain].concat();
    ws.send_raw(&piece.repeat(200));
    for n in 0..1000 {
        ws.expect(&format!("pong {n}"), kind("pong"));
    }
    // Nothing is no event, as without compression; it may be said in several ways.
    for nothing in [&[0x00][..], &[0x02, 0x00], &[]] {
        ws.send_frame(0xC1, nothing);
        assert_eq!(ws.expect_kind("error")["code"], "bad_request");
    }
    // A last block, and one without compression.
    ws.send_frame(0xC1, &[&[0x01, 15, 0, 0xF0, 0xFF][..], PING.as_bytes(), &[0]].concat());
    ws.expect_kind("pong");
    ws.send_frame(0xC1, &[&[0x00, 15, 0, 0xF0, 0xFF][..], PING.as_bytes(), &[0]].concat());
    ws.expect_kind("pong");
    let metrics = hub.metrics();
    let came = data.len() as f64 + 3.0 + 600.0 + 3.0 + 2.0;
    assert_eq!(metrics.sum("hubbub_compressed_messages_total", &["in"]), came);
    let saved = metrics.sum("hubbub_compression_saved_bytes_total", &["in"]);
    assert!(saved > 1900.0 * data.len() as f64, "{saved}");
}

#[test]
fn what_comes_with_the_handshake_may_be_compressed() {
    let hub = Hub::start(&[ON]);
    let packed = masked(0xC1, &deflated(PING.as_bytes()));
    let first = [&packed[..], &masked(0x81, PING.as_bytes()), &packed].concat();
    let mut ws = hub.ws_by(offer("ann", "").followed_by(&first));
    for _ in 0..3 {
        ws.expect_kind("pong");
    }
}

#[test]
fn long_messages_go_out_compressed_to_those_who_agreed() {
    let hub = Hub::start(&[ON, UNLIMITED, ("HUBBUB__SESSION__COMPRESSION_MIN_BYTES", "600")]);
    let mut ann = member(&hub, "ann", "; client_max_window_bits");
    let mut bob = member(&hub, "bob", "; server_max_window_bits=10");
    let mut eve = hub.member("eve", "r");
    let sent = |hub: &Hub| {
        let metrics = hub.metrics();
        let out = |name| metrics.sum(name, &["out"]);
        (out("hubbub_compressed_messages_total"), out("hubbub_compression_saved_bytes_total"))
    };
    let mut counts = Vec::new();
    // Too short; beyond a small window; neither; and what does not get smaller.
    let mut seed = 1u32;
    let noise: String = (0..1500)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from_u32(0x4E00 + (seed >> 19)).unwrap()
        })
        .collect();
    for content in [long(200), long(5000), long(60_000), noise] {
        eve.say("r", &content);
        for ws in [&mut ann, &mut bob, &mut eve] {
            ws.hears(&content);
        }
        counts.push((ann.compressed, bob.compressed, eve.compressed));
    }
    assert_eq!(counts[..3], [(0, 0, 0), (1, 0, 0), (2, 0, 0)]);
    let (messages, saved) = sent(&hub);
    assert_eq!(messages, ann.compressed as f64);
    assert!(saved > 60_000.0, "{saved}");
    // Within the small window it is compressed there too: 1024 bytes with what is around it.
    let content = long(600);
    eve.say("r", &content);
    bob.hears(&content);
    assert_eq!(bob.compressed, 1);
}

#[test]
fn socket_io_compresses_too() {
    let hub = Hub::start(&[ON]);
    let target = "/socket.io/?EIO=4&transport=websocket";
    let mut ws = hub.connect(offer("ann", "").target(target));
    let next = |ws: &mut Ws, start: &str| {
        let deadline = Instant::now() + SOON;
        loop {
            match ws.next_frame(deadline) {
                Some(Frame::Text(text)) if text.starts_with(start) => return text,
                Some(_) => {}
                None => panic!("no {start}"),
            }
        }
    };
    next(&mut ws, "0{");
    ws.send_frame(0xC1, &deflated(b"40"));
    next(&mut ws, "40{");
    ws.send_frame(0xC1, &deflated(br#"420["join",{"roomId":"r"}]"#));
    next(&mut ws, "430[");
    let event = json!(["message", {"roomId": "r", "content": long(5000)}]);
    ws.send_frame(0xC1, &deflated(format!("421{event}").as_bytes()));
    let heard = next(&mut ws, "42[\"message\"");
    assert!(heard.contains(&long(5000)));
    assert_eq!(ws.compressed, 1);
}

#[test]
fn what_breaks_the_rules_is_refused() {
    let hub = Hub::start(&[ON]);
    let ping = deflated(PING.as_bytes());
    for (frames, code) in [
        // Reserved bits where they mean nothing.
        (masked(0xC9, b""), 1002),
        (masked(0xA1, PING.as_bytes()), 1002),
        (masked(0xF1, &ping), 1002),
        (masked(0xC0, &ping), 1002),
        ([masked(0x41, &ping), masked(0xC0, b"")].concat(), 1002),
        ([masked(0x01, b""), masked(0xC0, b"")].concat(), 1002),
        ([masked(0x41, &ping), masked(0xC1, &ping)].concat(), 1002),
        // No deflate data, half of it, something behind its end.
        (masked(0xC1, b"\xff\xff\xff\xff"), 1007),
        (masked(0xC1, &ping[..ping.len() / 2]), 1007),
        (masked(0xC1, PING.as_bytes()), 1007),
        ([masked(0x41, &ping), masked(0x80, b"more")].concat(), 1007),
        // A text that is none once it is inflated.
        (masked(0xC1, &deflated(b"{\"type\":\"\xff\"}")), 1007),
        (masked(0xC1, &deflated(b"\xe2\x82")), 1007),
        // The JSON wire takes no binary.
        (masked(0xC2, &ping), 4400),
        // Longer than a message may be, compressed or inflated.
        (masked(0xC1, &deflated(&[b' '; 65_537])), 1009),
        (raw(0xC1, 0x80, 65_537), 1009),
        ([masked(0x41, &vec![0; 40_000]), raw(0x80, 0x80, 30_000)].concat(), 1009),
    ] {
        let mut ws = hub.ws_by(offer("ann", ""));
        ws.send_raw(&masked(0x81, PING.as_bytes()));
        ws.send_raw(&frames);
        ws.expect_kind("pong");
        ws.expect_close(code);
    }
    // Without an agreement there are no compressed messages.
    let mut ws = hub.ws("ann");
    ws.send_frame(0xC1, &ping);
    ws.expect_close(1002);
}

#[test]
fn a_bomb_costs_no_more_than_its_largest_message() {
    let hub = Hub::start(&[ON, UNLIMITED]);
    let mut bob = hub.member("bob", "r");
    let before = hub.warm();
    // 64 MiB in 64 KiB.
    let bomb = deflated(&vec![b' '; 64 << 20]);
    assert!(bomb.len() <= 65_536 + 2048, "{}", bomb.len());
    for _ in 0..20 {
        let mut ws = hub.ws_by(offer("ann", ""));
        ws.send_frame(0xC1, &bomb[..bomb.len().min(65_000)]);
        match ws.end() {
            End::Close(code, _) => assert_eq!(code, 1009),
            End::Cut => {}
        }
    }
    hub.metric_until("hubbub_closed_total", &["too_large"], |n| n == 20.0);
    // As large as they may be, a thousandth of that as they come, and as many as fit into one piece:
    // each is inflated when the one before is taken.
    let padded = format!("{PING}{}", " ".repeat(65_536 - PING.len()));
    let small = masked(0xC1, &deflated(padded.as_bytes()));
    assert!(small.len() < 200, "{}", small.len());
    let mut crowd: Vec<Ws> = (0..20).map(|n| hub.ws_by(offer(&format!("u{n}"), ""))).collect();
    for ws in &mut crowd {
        ws.send_raw(&small.repeat(300));
    }
    bob.say("r", "undisturbed");
    bob.hears("undisturbed");
    for ws in &mut crowd {
        for n in 0..300 {
            ws.expect(&format!("pong {n}"), kind("pong"));
        }
    }
    let grown = rss_growth(&hub, before);
    assert!(grown < 16 * 1024 * 1024, "the hub grew by {grown} bytes");
}

#[test]
fn bombs_count_against_the_rate() {
    let hub = Hub::start(&[
        ON,
        ("HUBBUB__LIMITS__MESSAGES_PER_SECOND", "20"),
        ("HUBBUB__LIMITS__BURST", "20"),
    ]);
    let mut ws = hub.ws_by(offer("ann", ""));
    let padded = format!("{PING}{}", " ".repeat(65_000));
    ws.send_pieces(&masked(0xC1, &deflated(padded.as_bytes())), 2000);
    match ws.end() {
        End::Close(code, _) => assert_eq!(code, 4429),
        End::Cut => {}
    }
    hub.metric_until("hubbub_closed_total", &["rate_limited"], |n| n == 1.0);
    let inflated = hub.metrics().sum("hubbub_compressed_messages_total", &["in"]);
    assert!(inflated < 300.0, "{inflated}");
}
