//! Floods and storms that fit into the frames of the protocol: each meets its bound, and the
//! neighbours go on. `docs/security.md` has the list.

use std::{io::Write, net::TcpStream, time::Duration};

use serde_json::json;

use crate::support::*;

/// `{"content":"unpacked"}` as gzip.
const GZIP: &[u8] = &[
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xab, 0x56, 0x4a, 0xce, 0xcf, 0x2b,
    0x49, 0xcd, 0x2b, 0x51, 0xb2, 0x52, 0x2a, 0xcd, 0x2b, 0x48, 0x4c, 0xce, 0x4e, 0x4d, 0x51, 0xaa,
    0x05, 0x00, 0x7b, 0x96, 0x74, 0xb2, 0x16, 0x00, 0x00, 0x00,
];

/// Limits low enough that a storm meets them at once.
const TIGHT: [(&str, &str); 2] =
    [("HUBBUB__LIMITS__MESSAGES_PER_SECOND", "20"), ("HUBBUB__LIMITS__BURST", "20")];

/// Sends a frame many times and asserts that the session is closed for it, and the neighbour is not
/// disturbed.
fn is_a_flood(hub: &Hub, ws: &mut Ws, frame: &[u8], count: usize) {
    let mut bob = hub.member("bob", "r");
    let before = hub.metrics().sum("hubbub_closed_total", &["rate_limited"]);
    ws.send_pieces(frame, count);
    match ws.end() {
        End::Close(code, _) => assert_eq!(code, 4429),
        // What it had not read may turn the close into a reset.
        End::Cut => {}
    }
    hub.metric_until("hubbub_closed_total", &["rate_limited"], |n| n > before);
    bob.say("r", "undisturbed");
    bob.hears("undisturbed");
}

#[test]
fn tiny_frames_at_full_rate_are_a_flood() {
    let hub = Hub::start(&TIGHT);
    let mut ann = hub.member("ann", "r");
    // Six bytes each, and not even JSON.
    is_a_flood(&hub, &mut ann, &masked(0x81, b""), 20_000);
    let mut eve = hub.member("eve", "r");
    is_a_flood(&hub, &mut eve, &masked(0x81, b"{"), 20_000);
}

#[test]
fn a_storm_of_joins_and_leaves_is_a_flood_and_leaves_nothing() {
    let hub = Hub::start(&TIGHT);
    let mut ann = hub.ws("ann");
    let pair = [
        masked(0x81, br#"{"type":"join","roomId":"storm"}"#),
        masked(0x81, br#"{"type":"leave","roomId":"storm"}"#),
    ]
    .concat();
    is_a_flood(&hub, &mut ann, &pair, 5_000);
    hub.metric_until("hubbub_sessions", &[], |n| n == 0.0);
    hub.metric_until("hubbub_rooms", &[], |n| n == 0.0);
}

#[test]
fn a_storm_of_joins_without_a_limit_ends_where_it_says() {
    let hub = Hub::start(&[UNLIMITED, ("HUBBUB__PRESENCE__OFFLINE_GRACE_MS", "100")]);
    let mut ann = hub.ws("ann");
    let mut bob = hub.member("bob", "storm");
    for _ in 0..500 {
        ann.send(&json!({"type": "join", "roomId": "storm"}));
        ann.send(&json!({"type": "leave", "roomId": "storm"}));
    }
    ann.fence();
    bob.say("storm", "undisturbed");
    bob.hears("undisturbed");
    // The last word was `leave`.
    let members = bob.ok(json!({"type": "members", "roomId": "storm"}));
    assert_eq!(members["memberCount"], 1, "{members}");
    ann.refused(json!({"type": "message", "roomId": "storm", "content": "x"}), "not_a_member");
}

#[test]
fn a_storm_of_presence_is_a_flood() {
    let hub = Hub::start(&TIGHT);
    let mut ann = hub.member("ann", "r");
    let pair = [
        masked(0x81, br#"{"type":"presence","status":"away"}"#),
        masked(0x81, br#"{"type":"presence","status":"online"}"#),
    ]
    .concat();
    is_a_flood(&hub, &mut ann, &pair, 5_000);
}

#[test]
fn nothing_compressed_is_unpacked() {
    let hub = Hub::start(&[]);
    // The extension is offered and not taken.
    let offer = Handshake::new()
        .bearer(&token("ann", json!({})))
        .header("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
    let mut ws = hub.ws_by(offer);
    assert_eq!(ws.answer.header("sec-websocket-extensions"), None);
    // So a frame that says it is compressed breaks the protocol.
    ws.send_frame(0xC1, GZIP);
    ws.expect_close(1002);
    // A body that says so is not opened either.
    let answer = hub.api().header("Content-Encoding", "gzip").send(
        "POST",
        "/api/rooms/r/messages",
        Some(GZIP),
    );
    assert!((400..500).contains(&answer.status), "{} {}", answer.status, answer.text());
    let page = hub.api().get("/api/rooms/r/messages").json();
    assert!(!page.to_string().contains("unpacked"), "{page}");
}

#[test]
fn a_request_with_two_lengths_is_one_request_or_none() {
    let hub = Hub::start(&[]);
    let host = hub.address;
    for lengths in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 4\r\nContent-Length: 60\r\n",
        "Content-Length: +4\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
    ] {
        // Whoever believes the shorter length takes the second request for one of its own.
        let smuggled = format!("GET /healthz?smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let request = format!(
            "POST /api/rooms/r/messages HTTP/1.1\r\nHost: {host}\r\n\
             Authorization: Bearer {API_KEY}\r\nContent-Type: application/json\r\n{lengths}\r\n\
             0\r\n\r\n{smuggled}"
        );
        let mut stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let (first, _) = read_answer(&mut stream, false)
            .unwrap_or_else(|e| panic!("{lengths:?} was not answered: {e}"));
        assert!((400..500).contains(&first.status), "{lengths:?}: {}", first.status);
        // The refusal ends the connection: nothing behind it is taken for a request.
        let second = read_answer(&mut stream, false);
        assert!(second.is_err(), "{lengths:?}: a second answer, {:?}", second.unwrap().0.status);
    }
}
