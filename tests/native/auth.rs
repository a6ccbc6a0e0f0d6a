//! Tokens: which are good, in-band authentication, and what happens when one ends.

use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::*;

/// Tokens that no hub may accept, with what is wrong with each.
fn bad_tokens() -> Vec<(&'static str, String)> {
    let signed = |claims| token("ann", claims);
    let good = signed(json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    // {"alg":"none"} and {"alg":"None","typ":"JWT"}
    let none = format!("eyJhbGciOiJub25lIn0.{}.", parts[1]);
    let none_signed = format!("eyJhbGciOiJOb25lIiwidHlwIjoiSldUIn0.{}.{}", parts[1], parts[2]);
    let other = token("eve", json!({}));
    let swapped = format!("{}.{}.{}", parts[0], other.split('.').nth(1).unwrap(), parts[2]);
    vec![
        ("expired", signed(json!({"exp": now() - 3600}))),
        ("not yet valid", signed(json!({"nbf": now() + 3600}))),
        ("alg none", none),
        ("alg none with a signature", none_signed),
        ("another key", token_with(Algorithm::HS256, &"k".repeat(48), "ann", json!({}))),
        ("another algorithm", token_with(Algorithm::HS512, JWT_SECRET, "ann", json!({}))),
        ("other claims under the signature", swapped),
        ("no exp", signed(json!({"exp": null}))),
        ("exp as text", signed(json!({"exp": "tomorrow"}))),
        ("no sub", signed(json!({"sub": null}))),
        ("an empty sub", token("", json!({}))),
        ("a long sub", token(&"u".repeat(129), json!({}))),
        ("a sub that is no text", signed(json!({"sub": {"id": 1}}))),
        ("a control character in sub", token("a\nb", json!({}))),
        ("a long name", signed(json!({"name": "n".repeat(129)}))),
        ("rooms that are no list", signed(json!({"rooms": 7}))),
        ("no signature", format!("{}.{}", parts[0], parts[1])),
        ("garbage", "%00%ff".to_owned()),
    ]
}

#[test]
fn a_bad_token_opens_nothing() {
    let hub = Hub::start(&[]);
    for (what, bad) in bad_tokens() {
        let answer = hub.refusal(Handshake::new().bearer(&bad));
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
        answer.expect_error(401, "unauthorized");

        let mut ws = hub.connect(Handshake::new());
        let error = ws.request(json!({"type": "auth", "token": bad})).expect_err(what);
        assert_eq!(error["code"], "unauthorized", "{what}: {error}");
        ws.expect_close(4401);
    }
    hub.ws("ann").close();
}

#[test]
fn a_connection_may_say_who_it_is_later() {
    let hub = Hub::start(&[]);
    let mut ws = hub.connect(Handshake::new());
    for early in [
        json!({"type": "join", "roomId": "r"}),
        json!({"type": "message", "roomId": "r", "content": "x"}),
        json!({"type": "history", "roomId": "r"}),
        json!({"type": "direct", "userId": "bob", "content": "x"}),
    ] {
        ws.refused(early, "unauthorized");
    }
    ws.none_kept("event before authentication", kind("authenticated"));
    ws.ok(json!({"type": "auth", "token": token("ann", json!({}))}));
    assert_eq!(ws.expect_kind("authenticated")["userId"], "ann");
    ws.join("r");
    assert_eq!(ws.say("r", "hello")["offset"], 1);
    ws.close();
}

#[test]
fn who_never_says_who_it_is_is_closed() {
    let hub = Hub::start(&[("HUBBUB__AUTH__TIMEOUT_MS", "300")]);
    let started = Instant::now();
    let mut ws = hub.connect(Handshake::new());
    ws.expect_close(4401);
    assert!(started.elapsed() >= Duration::from_millis(250), "{:?}", started.elapsed());
    let mut good = hub.ws("ann");
    // Being refused again and again does not buy time.
    let mut busy = hub.connect(Handshake::new());
    busy.refused(json!({"type": "join", "roomId": "r"}), "unauthorized");
    busy.expect_close(4401);
    good.fence();
    hub.metric_until("hubbub_closed_total", &["unauthorized"], |n| n == 2.0);
    good.close();
}

#[test]
fn a_token_that_ends_is_announced_and_enforced() {
    let hub = Hub::start(&[]);
    let end = now() + 3;
    let mut ws = hub.ws_as("ann", json!({"exp": end}));
    let warned = ws.expect_kind("token_expiring");
    let at = warned["at"].as_str().unwrap();
    assert!(at.ends_with('Z') && at.len() == 24, "{warned}");
    ws.join("r");
    ws.expect_close(4401);
    let late = i128::from(now()) - i128::from(end);
    assert!((0..=3).contains(&late), "closed {late} s after the end");
}

#[test]
fn a_fresh_token_keeps_the_session() {
    let hub = Hub::start(&[]);
    let end = now() + 2;
    let mut ws = hub.ws_as("ann", json!({"exp": end}));
    ws.join("r");
    ws.expect_kind("token_expiring");
    ws.ok(json!({"type": "auth", "token": token("ann", json!({}))}));
    until("the first token's end", SOON, || (now() > end + 1).then_some(()));
    ws.say("r", "still here");
    ws.hears("still here");
    ws.close();
}

#[test]
fn a_session_cannot_change_its_user() {
    let hub = Hub::start(&[]);
    let mut ws = hub.member("ann", "r");
    let mut other = hub.member("bob", "r");
    let changed = ws.request(json!({"type": "auth", "token": token("eve", json!({}))}));
    let error = changed.expect_err("another user's token in an open session");
    assert!(matches!(error["code"].as_str(), Some("unauthorized" | "forbidden")), "{error}");
    // Whether it stays open or not, nothing is ever said in eve's name.
    ws.send(&json!({"type": "message", "roomId": "r", "content": "as whom?"}));
    other.say("r", "mark");
    other.hears("mark");
    other.none_kept("message of eve", |e| e["userId"] == "eve");
}

#[test]
fn a_fresh_token_changes_what_is_allowed() {
    let hub = Hub::start(&[]);
    let mut ws = hub.ws_as("ann", json!({"rooms": ["a"]}));
    ws.refused(json!({"type": "join", "roomId": "b"}), "forbidden");
    ws.ok(json!({"type": "auth", "token": token("ann", json!({"rooms": ["a", "b"]}))}));
    ws.join("b");
    ws.close();
}

#[test]
fn patterns_open_rooms() {
    let hub = Hub::start(&[]);
    let claims = json!({"rooms": ["team-*", "hall?"], "publish": ["team-1"]});
    let mut ws = hub.ws_as("ann", claims);
    for room in ["team-1", "team-2", "hall7"] {
        ws.join(room);
    }
    for room in ["steam-1", "hall", "hall77", "TEAM-1", "*"] {
        ws.refused(json!({"type": "join", "roomId": room}), "forbidden");
    }
    ws.say("team-1", "allowed");
    for request in [
        json!({"type": "message", "roomId": "team-2", "content": "x"}),
        json!({"type": "event", "roomId": "team-2", "name": "n", "data": 1}),
        json!({"type": "event", "roomId": "team-2", "name": "n", "volatile": true}),
    ] {
        ws.refused(request, "forbidden");
    }
    let mut none = hub.ws_as("bob", json!({"rooms": []}));
    none.refused(json!({"type": "join", "roomId": "team-1"}), "forbidden");
    let mut all: Ws = hub.ws_as("carol", json!({"rooms": Value::Null}));
    all.join("anything");
}

#[test]
fn a_token_without_an_end_needs_the_setting() {
    let hub = Hub::start(&[("HUBBUB__AUTH__REQUIRE_EXP", "false")]);
    hub.ws_as("ann", json!({"exp": null})).close();
    let expired = token("ann", json!({"exp": now() - 3600}));
    hub.refusal(Handshake::new().bearer(&expired)).expect_error(401, "unauthorized");
}

#[test]
fn issuer_and_audience_are_checked() {
    let hub = Hub::start(&[
        ("HUBBUB__AUTH__ISSUER", "https://login.example.org"),
        ("HUBBUB__AUTH__AUDIENCE", "chat"),
    ]);
    let iss = "https://login.example.org";
    for aud in [json!("chat"), json!(["mail", "chat"])] {
        hub.ws_as("ann", json!({"iss": iss, "aud": aud})).close();
    }
    for claims in [
        json!({}),
        json!({"iss": iss}),
        json!({"aud": "chat"}),
        json!({"iss": "https://other.example.org", "aud": "chat"}),
        json!({"iss": iss, "aud": "mail"}),
    ] {
        let way = Handshake::new().bearer(&token("ann", claims));
        hub.refusal(way).expect_error(401, "unauthorized");
    }
}
