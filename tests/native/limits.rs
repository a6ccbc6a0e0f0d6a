//! Limits: each answers with its code, is counted, and leaves others alone.

use std::{
    io::{ErrorKind, Read},
    net::TcpStream,
    time::Duration,
};

use serde_json::json;

use crate::support::*;

#[test]
fn a_burst_beyond_the_rate_is_refused() {
    let hub = Hub::start(&[
        ("HUBBUB__LIMITS__MESSAGES_PER_SECOND", "5"),
        ("HUBBUB__LIMITS__BURST", "10"),
    ]);
    let mut ann = hub.member("ann", "r");
    let mut bob = hub.member("bob", "r");
    let ids: Vec<String> = (0..20)
        .map(|n| ann.ask(json!({"type": "message", "roomId": "r", "content": format!("{n}")})))
        .collect();
    let answers: Vec<_> = ids.iter().map(|id| ann.answer_to(id)).collect();
    let taken = answers.iter().filter(|a| a.is_ok()).count();
    assert!((8..=13).contains(&taken), "{taken} of 20 were taken");
    for error in answers.iter().filter_map(|a| a.as_ref().err()) {
        assert_eq!(error["code"], "rate_limited", "{error}");
    }
    // The neighbour has a budget of its own.
    bob.say("r", "undisturbed");
    ann.hears("undisturbed");
    // Time heals: after a pause it is taken again.
    until("the budget grows again", SOON, || {
        std::thread::sleep(Duration::from_millis(400));
        ann.request(json!({"type": "message", "roomId": "r", "content": "later"})).ok()
    });
    let counted = hub.metrics().sum("hubbub_errors_total", &["rate_limited"]);
    assert!(counted >= (20 - taken) as f64, "{counted} counted");
}

#[test]
fn lasting_abuse_ends_the_session_and_no_other() {
    let hub =
        Hub::start(&[("HUBBUB__LIMITS__MESSAGES_PER_SECOND", "5"), ("HUBBUB__LIMITS__BURST", "5")]);
    let mut bob = hub.member("bob", "r");
    let mut ann = hub.member("ann", "r");
    let piece = masked(0x81, br#"{"type":"typing","roomId":"r","isTyping":true}"#);
    ann.send_pieces(&piece, 5000);
    match ann.end() {
        End::Close(code, _) => assert_eq!(code, 4429),
        // What it had not read may turn the close into a reset.
        End::Cut => {}
    }
    hub.metric_until("hubbub_closed_total", &["rate_limited"], |n| n == 1.0);
    bob.say("r", "undisturbed");
    bob.hears("undisturbed");
}

#[test]
fn the_oldest_session_of_a_user_makes_room() {
    let hub = Hub::start(&[("HUBBUB__LIMITS__MAX_SESSIONS_PER_USER", "2")]);
    let mut first = hub.member("ann", "r");
    let mut second = hub.member("ann", "r");
    let mut other = hub.member("bob", "r");
    let mut third = hub.member("ann", "r");
    first.expect_close(4409);
    for ws in [&mut second, &mut third, &mut other] {
        ws.fence();
    }
    third.say("r", "here");
    second.hears("here");
    other.hears("here");
    other.none_kept("departure", kind("user_left"));
    hub.metric_until("hubbub_closed_total", &["replaced"], |n| n == 1.0);
}

#[test]
fn connections_per_address_are_bounded() {
    let hub = Hub::start(&[("HUBBUB__LIMITS__MAX_CONNECTIONS_PER_IP", "3")]);
    let way = |user: &str, from: &str| {
        Handshake::new().bearer(&token(user, json!({}))).header("X-Forwarded-For", from)
    };
    let mut held: Vec<Ws> =
        (0..3).map(|i| hub.ws_by(way(&format!("u{i}"), "203.0.113.7"))).collect();
    hub.refusal(way("u3", "203.0.113.7")).expect_error(429, "rate_limited");
    // Behind the proxy somebody else lives at another address.
    hub.ws_by(way("u4", "203.0.113.8")).close();
    // Only the address the trusted proxy saw counts, not what the client claims.
    hub.refusal(way("u5", "198.51.100.1, 203.0.113.7")).expect_error(429, "rate_limited");
    held.pop().unwrap().close();
    until("a place is free again", SOON, || way("u6", "203.0.113.7").open(hub.address).ok())
        .expect_kind("authenticated");
    let counted = hub.metrics().sum("hubbub_refused_total", &[]);
    assert!(counted >= 2.0, "{counted} counted");
    for ws in &mut held {
        ws.fence();
    }
}

#[test]
fn connections_of_an_address_that_say_nothing_are_bounded_too() {
    for workers in ["1", "2"] {
        let hub = Hub::start(&[
            ("HUBBUB__SERVER__WORKERS", workers),
            ("HUBBUB__LIMITS__MAX_CONNECTIONS_PER_IP", "2"),
            ("HUBBUB__LIMITS__HANDSHAKE_TIMEOUT_MS", "60000"),
            ("HUBBUB__SERVER__TRUSTED_PROXIES", "10.0.0.0/8"),
        ]);
        let mut held = [hub.member("ann", "r"), hub.member("bob", "r")];
        let dial = || {
            let stream = TcpStream::connect(hub.address).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            stream
        };
        // Twice the limit, and 64 more; those that are upgraded are counted by themselves.
        let mut silent: Vec<TcpStream> = (0..68).map(|_| dial()).collect();
        until("one too many is closed", SOON, || {
            let mut one = dial();
            match one.read(&mut [0; 1]) {
                Ok(0) => Some(()),
                Err(e) if e.kind() == ErrorKind::ConnectionReset => Some(()),
                // It took a place that was still free.
                _ => {
                    silent.push(one);
                    None
                }
            }
        });
        assert!(silent.len() <= 69, "{}", silent.len());
        let [ann, bob] = &mut held;
        ann.say("r", "unmoved");
        bob.hears("unmoved");
        drop(silent);
        until("there is room again", SOON, || {
            hub.http().try_send("GET", "/healthz", None).ok().filter(|answer| answer.status == 200)
        });
        hub.metric_until("hubbub_refused_total", &["connections_per_ip"], |n| n >= 1.0);
    }
}

#[test]
fn strangers_cannot_claim_an_address() {
    let hub = Hub::start(&[
        ("HUBBUB__LIMITS__MAX_CONNECTIONS_PER_IP", "2"),
        ("HUBBUB__SERVER__TRUSTED_PROXIES", "10.0.0.0/8"),
    ]);
    let way = |user: &str, from: &str| {
        Handshake::new().bearer(&token(user, json!({}))).header("X-Forwarded-For", from)
    };
    let _held = [hub.ws_by(way("u0", "203.0.113.1")), hub.ws_by(way("u1", "203.0.113.2"))];
    hub.refusal(way("u2", "203.0.113.3")).expect_error(429, "rate_limited");
}

#[test]
fn connections_in_all_are_bounded() {
    let hub = Hub::start(&[("HUBBUB__LIMITS__MAX_CONNECTIONS", "3")]);
    let mut held: Vec<Ws> = (0..3).map(|i| hub.ws(&format!("u{i}"))).collect();
    let way = || Handshake::new().bearer(&token("late", json!({})));
    hub.refusal(way()).expect_error(503, "unavailable");
    held.pop().unwrap().close();
    until("a place is free again", SOON, || way().open(hub.address).ok())
        .expect_kind("authenticated");
    for ws in &mut held {
        ws.fence();
    }
}

#[test]
fn connections_that_never_say_who_they_are_count_too() {
    let hub = Hub::start(&[("HUBBUB__LIMITS__MAX_CONNECTIONS_PER_IP", "2")]);
    let _held = [hub.connect(Handshake::new()), hub.connect(Handshake::new())];
    hub.refusal(Handshake::new()).expect_error(429, "rate_limited");
}

#[test]
fn frames_up_to_the_limit_pass_and_larger_ones_do_not() {
    let hub = Hub::start(&[]);
    let mut ann = hub.member("ann", "r");
    let mut bob = hub.member("bob", "r");
    let frame = |size: usize| {
        let empty = r#"{"type":"message","id":"big","roomId":"r","content":""}"#;
        empty.replace("\"\"", &format!("\"{}\"", "x".repeat(size - empty.len())))
    };
    ann.send_text(&frame(65_536));
    assert_eq!(ann.answer_to("big").unwrap()["offset"], 1);
    assert!(bob.expect_kind("message")["content"].as_str().unwrap().len() > 65_000);
    ann.send_text(&frame(65_537));
    ann.expect_close(1009);
    bob.fence();
    hub.metric_until("hubbub_closed_total", &["too_large"], |n| n == 1.0);
}

#[test]
fn a_room_too_many_for_the_node_is_unavailable() {
    let hub = Hub::start(&[("HUBBUB__ROOMS__MAX_ROOMS", "3")]);
    let mut ann = hub.ws("ann");
    let mut bob = hub.ws("bob");
    let mut opened = 0;
    // The personal rooms of open sessions may count as well.
    let refused = (0..5).find_map(|i| {
        let answer = ann.request(json!({"type": "join", "roomId": format!("r{i}")}));
        opened += usize::from(answer.is_ok());
        answer.err()
    });
    let refused = refused.expect("a limit on rooms");
    let code = refused["code"].as_str();
    assert!(matches!(code, Some("unavailable" | "too_many_rooms")), "{refused}");
    if opened > 0 {
        bob.join("r0");
        bob.say("r0", "existing rooms go on");
        ann.hears("existing rooms go on");
    }
}
