//! The opening handshake (RFC 6455, section 4) and who gets through it.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::*;

#[test]
fn a_token_may_come_in_three_ways() {
    let hub = Hub::start(&[]);
    let token = token("ann", json!({}));
    let protocol = |ws: &Ws| ws.answer.header("sec-websocket-protocol").map(str::to_owned);
    for (way, answered) in [
        (Handshake::new().query_token(&token), None),
        (Handshake::new().bearer(&token), None),
        (Handshake::new().subprotocol(&token), Some("hubbub")),
    ] {
        let mut ws = hub.connect(way);
        assert_eq!(protocol(&ws).as_deref(), answered);
        let deadline = Instant::now() + SOON;
        let first = ws.next_event(deadline).expect("a first event");
        assert_eq!(first["type"], "authenticated", "{first}");
        assert_eq!(first["userId"], "ann");
        for name in ["sessionId", "nodeId", "timestamp"] {
            assert!(first[name].as_str().is_some_and(|t| !t.is_empty()), "{name} in {first}");
        }
        ws.close();
    }
}

#[test]
fn a_bad_token_is_refused_before_the_upgrade() {
    let hub = Hub::start(&[]);
    for bad in ["nonsense", "a.b.c", &token_with_other_key()] {
        for way in [
            Handshake::new().query_token(bad),
            Handshake::new().bearer(bad),
            Handshake::new().subprotocol(bad),
        ] {
            hub.refusal(way).expect_error(401, "unauthorized");
        }
    }
    let refused = hub.metrics().sum("hubbub_refused_total", &["unauthorized"]);
    assert!(refused >= 9.0, "counted {refused}");
}

fn token_with_other_key() -> String {
    token_with(jsonwebtoken::Algorithm::HS256, &"x".repeat(40), "ann", json!({}))
}

#[test]
fn a_token_never_reaches_the_log() {
    let hub = Hub::start(&[("RUST_LOG", "debug")]);
    let good = token("ann", json!({}));
    let bad = token_with_other_key();
    hub.ws_by(Handshake::new().query_token(&good)).close();
    hub.refusal(Handshake::new().query_token(&bad)).expect_error(401, "unauthorized");
    let mut late = hub.connect(Handshake::new());
    late.send(&json!({"type": "auth", "token": good}));
    late.expect_kind("authenticated");
    late.ok(json!({"type": "join", "roomId": "r"}));
    late.say("r", "a-very-secret-sentence");
    late.close();
    hub.metric_until("hubbub_connections", &[], |n| n == 0.0);
    let log = hub.log.text();
    for secret in [&good, &bad, JWT_SECRET, API_KEY, "a-very-secret-sentence"] {
        let part = secret.rsplit('.').next().unwrap();
        assert!(!log.contains(part), "the log shows {part}");
    }
}

#[test]
fn a_handshake_that_is_none_is_refused() {
    let hub = Hub::start(&[]);
    let good = Handshake::new().query_token(&token("ann", json!({})));
    for broken in [
        good.clone().without("Upgrade"),
        good.clone().without("Connection"),
        good.clone().header("Upgrade", "h2c"),
        good.clone().without("Sec-WebSocket-Key"),
        good.clone().header("Sec-WebSocket-Key", "short"),
    ] {
        let answer = hub.refusal(broken);
        assert!((400..500).contains(&answer.status), "{answer:?}");
    }
    for version in ["8", "14", "x"] {
        let answer = hub.refusal(good.clone().header("Sec-WebSocket-Version", version));
        assert!(matches!(answer.status, 400 | 426), "{answer:?}");
        // RFC 6455, section 4.2.2, item 4: the versions that would do are named.
        assert_eq!(answer.header("sec-websocket-version"), Some("13"), "{answer:?}");
    }
    hub.ws_by(good).close();
}

#[test]
fn header_names_and_values_may_have_any_case() {
    let hub = Hub::start(&[]);
    let token = token("ann", json!({}));
    let way = Handshake::new()
        .without("Connection")
        .without("Upgrade")
        .header("CONNECTION", "keep-alive, UPGRADE")
        .header("upgrade", "WebSocket")
        .header("authorization", &format!("bearer {token}"));
    hub.ws_by(way).close();
}

#[test]
fn pages_of_other_origins_are_kept_out() {
    let hub = Hub::start(&[]);
    let good = Handshake::new().query_token(&token("ann", json!({})));
    for origin in ["https://evil.example", "null", &format!("http://{}.evil.example", hub.address)]
    {
        hub.refusal(good.clone().header("Origin", origin)).expect_error(403, "forbidden");
    }
    hub.ws_by(good.clone().header("Origin", &format!("http://{}", hub.address))).close();
    hub.ws_by(good.clone()).close();

    let origins = "https://chat.example.org,https://two.example.org";
    let listed = Hub::start(&[("HUBBUB__SERVER__ALLOWED_ORIGINS", origins)]);
    for origin in ["https://chat.example.org", "https://two.example.org"] {
        listed.ws_by(good.clone().header("Origin", origin)).close();
    }
    let wrong_scheme = good.clone().header("Origin", "http://chat.example.org");
    listed.refusal(wrong_scheme).expect_error(403, "forbidden");

    let open = Hub::start(&[("HUBBUB__SERVER__ALLOWED_ORIGINS", "*")]);
    open.ws_by(good.header("Origin", "https://anywhere.example")).close();
}

#[test]
fn a_frame_right_behind_the_head_is_not_lost() {
    let hub = Hub::start(&[]);
    let ping = masked(0x81, br#"{"type":"ping"}"#);
    let way = Handshake::new().query_token(&token("ann", json!({}))).followed_by(&ping);
    let mut ws = hub.ws_by(way);
    ws.expect_kind("pong");
    ws.close();
}

#[test]
fn a_slow_handshake_is_cut_and_disturbs_nobody() {
    let hub = Hub::start(&[("HUBBUB__LIMITS__HANDSHAKE_TIMEOUT_MS", "400")]);
    let way = Handshake::new().query_token(&token("ann", json!({})));
    let head = way.head("hub");
    let mut slow: Vec<_> = (0..20).map(|_| way.dial(hub.address)).collect();
    let started = Instant::now();
    let mut sent = head.bytes();
    // A byte at a time, well within any pause between bytes a server might allow.
    while started.elapsed() < Duration::from_millis(300) {
        let byte = [sent.next().unwrap()];
        for stream in &mut slow {
            stream.write_all(&byte).unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut ws = hub.ws("bob");
    ws.fence();
    for stream in &mut slow {
        let mut answer = Vec::new();
        // A reset is as good an end as an orderly one.
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    assert!(started.elapsed() < Duration::from_secs(6), "took {:?}", started.elapsed());
    ws.fence();
    ws.close();
}

#[test]
fn an_endless_head_is_refused() {
    let hub = Hub::start(&[]);
    let way = Handshake::new().query_token(&token("ann", json!({})));
    let mut stream = way.dial(hub.address);
    stream.write_all(b"GET /ws HTTP/1.1\r\nHost: hub\r\n").unwrap();
    let line = format!("X-Filler: {}\r\n", "x".repeat(1000));
    let before = hub.warm();
    let taken = (0..20_000).take_while(|_| stream.write_all(line.as_bytes()).is_ok()).count();
    assert!(taken < 20_000, "20 MB of head were taken");
    assert!(hub.memory("VmRSS") < before + 8 * 1024 * 1024);
    hub.ws_by(way).close();
}
