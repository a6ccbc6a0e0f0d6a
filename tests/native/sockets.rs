//! Connections that end in other ways than by the closing handshake leave
//! nothing behind.

use std::{io::Read, time::Duration};

use serde_json::json;
use socket2::SockRef;

use crate::support::*;

const GRACE: (&str, &str) = ("HUBBUB__PRESENCE__OFFLINE_GRACE_MS", "300");

fn nothing_left(hub: &Hub, bob: &mut Ws) {
    assert_eq!(bob.expect_kind("user_left")["userId"], "ann");
    let members = bob.ok(json!({"type": "members", "roomId": "r"}));
    assert_eq!(members["memberCount"], 1, "{members}");
    hub.metric_until("hubbub_connections", &[], |n| n == 1.0);
    hub.metric_until("hubbub_sessions", &[], |n| n == 1.0);
    hub.metric_until("hubbub_closed_total", &["client_gone"], |n| n == 1.0);
}

#[test]
fn a_half_closed_socket_is_closed() {
    let hub = Hub::start(&[GRACE]);
    let mut bob = hub.member("bob", "r");
    let mut ann = hub.member("ann", "r");
    ann.half_close();
    ann.end();
    nothing_left(&hub, &mut bob);
}

#[test]
fn a_reset_ends_the_session() {
    let hub = Hub::start(&[GRACE]);
    let mut bob = hub.member("bob", "r");
    let ann = hub.member("ann", "r");
    SockRef::from(ann.stream()).set_linger(Some(Duration::ZERO)).unwrap();
    drop(ann);
    nothing_left(&hub, &mut bob);
}

#[test]
fn an_end_in_the_middle_of_a_frame_is_no_message() {
    let hub = Hub::start(&[GRACE]);
    let mut bob = hub.member("bob", "r");
    let mut ann = hub.member("ann", "r");
    let frame = masked(0x81, br#"{"type":"message","roomId":"r","content":"half"}"#);
    ann.send_raw(&frame[..frame.len() - 1]);
    drop(ann);
    nothing_left(&hub, &mut bob);
    bob.none_kept("half a message", kind("message"));
}

#[test]
fn a_connection_that_says_nothing_at_all_is_closed() {
    let hub = Hub::start(&[("HUBBUB__LIMITS__HANDSHAKE_TIMEOUT_MS", "300")]);
    let mut silent = Handshake::new().dial(hub.address);
    let mut got = Vec::new();
    let _ = silent.read_to_end(&mut got);
    assert!(got.is_empty() || got.starts_with(b"HTTP/1.1 408"), "{got:?}");
}

#[test]
fn coming_and_going_leaks_nothing() {
    let hub = Hub::start(&[UNLIMITED, GRACE]);
    let files = || std::fs::read_dir(format!("/proc/{}/fd", hub.pid())).unwrap().count();
    let round = |n: usize| {
        for i in 0..n {
            let mut ws = hub.member(&format!("u{}", i % 50), &format!("r{}", i % 7));
            match i % 3 {
                0 => ws.close(),
                1 => drop(ws),
                _ => ws.send_raw(&[0xff; 16]),
            }
        }
        hub.metric_until("hubbub_connections", &[], |n| n == 0.0);
        hub.metric_until("hubbub_rooms", &[], |n| n == 0.0);
    };
    round(150);
    let (files_before, memory_before) = (files(), hub.memory("VmRSS"));
    round(300);
    until("the sockets are closed", SOON, || (files() <= files_before + 3).then_some(()));
    let grown = hub.memory("VmRSS").saturating_sub(memory_before);
    assert!(grown < 4 * 1024 * 1024, "the hub grew by {grown} bytes");
}
