//! The hub asks for signs of life and lets go of who gives none.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::*;

const FAST: [(&str, &str); 3] = [
    ("HUBBUB__SESSION__HEARTBEAT_MS", "300"),
    ("HUBBUB__SESSION__TIMEOUT_MS", "400"),
    ("HUBBUB__PRESENCE__OFFLINE_GRACE_MS", "200"),
];

#[test]
fn the_silent_are_let_go_without_a_trace() {
    let hub = Hub::start(&FAST);
    let mut bob = hub.member("bob", "r");
    let mut ann = hub.member("ann", "r");
    ann.auto_pong = false;
    // Bob goes on answering pings while Ann does not.
    let lost = std::thread::spawn(move || {
        let since = Instant::now();
        ann.expect_close(4408);
        assert!(ann.pings >= 1, "closed without being asked");
        since.elapsed()
    });
    assert_eq!(bob.expect_kind("user_left")["userId"], "ann");
    let waited = lost.join().unwrap();
    assert!(waited >= Duration::from_millis(350), "closed after {waited:?}");
    assert!(waited < Duration::from_secs(4), "closed after {waited:?}");
    let members = bob.ok(json!({"type": "members", "roomId": "r"}));
    assert_eq!(members["memberCount"], 1, "{members}");
    let metrics = hub.metrics();
    assert_eq!(metrics.sum("hubbub_closed_total", &["heartbeat_missed"]), 1.0);
    assert_eq!(metrics.sum("hubbub_sessions", &[]), 1.0);
}

#[test]
fn the_idle_who_answer_stay() {
    let hub = Hub::start(&FAST);
    let mut ws = hub.member("ann", "r");
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(3000) {
        assert!(ws.find(Duration::from_millis(100), |e| e["type"] == "closing").is_none());
    }
    assert!(ws.pings >= 4, "{} pings in 3 s", ws.pings);
    ws.say("r", "still here");
    ws.close();
}

#[test]
fn any_frame_is_a_sign_of_life() {
    let hub = Hub::start(&FAST);
    let mut ws = hub.member("ann", "r");
    ws.auto_pong = false;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(2500) {
        ws.fence();
        assert!(ws.find(Duration::from_millis(100), |_| false).is_none());
    }
    ws.close();
}

#[test]
fn a_silent_one_that_never_reads_is_let_go_too() {
    let hub = Hub::start(&FAST);
    let ann = hub.member("ann", "r");
    // Nothing is read and nothing answered; only the hub's own books can tell.
    hub.metric_until("hubbub_closed_total", &["heartbeat_missed"], |n| n == 1.0);
    hub.metric_until("hubbub_connections", &[], |n| n == 0.0);
    drop(ann);
}

#[test]
fn connections_without_a_user_are_asked_as_well() {
    let hub = Hub::start(&FAST);
    let mut ws = hub.connect(Handshake::new());
    ws.auto_pong = false;
    ws.expect_close(4408);
}
