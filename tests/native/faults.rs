//! A panic ends no more than it must: injected through custom events.

use serde_json::json;

use crate::support::*;

const INJECT: (&str, &str) = ("HUBBUB__DEV__FAULT_INJECTION", "true");

fn inject(ws: &mut Ws, actor: &str) {
    ws.send(&json!({
        "type": "event", "roomId": "r", "name": format!("hubbub.panic.{actor}"), "volatile": true,
    }));
}

fn counted(hub: &Hub, actor: &str, times: f64) {
    hub.metric_until("hubbub_panics_total", &[actor], |n| n == times);
}

#[test]
fn a_panic_in_a_session_ends_that_session() {
    let mut hub = Hub::start(&[INJECT, ("HUBBUB__PRESENCE__OFFLINE_GRACE_MS", "200")]);
    let mut bob = hub.member("bob", "r");
    let mut others: Vec<Ws> = (0..5).map(|i| hub.member(&format!("u{i}"), "r")).collect();
    for round in 1..=3 {
        let mut ann = hub.member("ann", "r");
        ann.say("r", &format!("before {round}"));
        inject(&mut ann, "session");
        ann.expect_close(1011);
        counted(&hub, "session", f64::from(round));
        assert_eq!(bob.expect_kind("user_left")["userId"], "ann");
    }
    for ws in &mut others {
        ws.hears("before 3");
        ws.fence();
    }
    bob.say("r", "all well");
    others[0].hears("all well");
    hub.metric_until("hubbub_sessions", &[], |n| n == 6.0);
    assert!(hub.is_running());
    assert_eq!(hub.http().get("/healthz").status, 200);
}

#[test]
fn a_panic_in_a_room_server_is_survived_by_its_rooms() {
    let mut hub = Hub::start(&[INJECT, UNLIMITED]);
    let mut ann = hub.member("ann", "r");
    let mut bob = hub.member("bob", "r");
    let mut far: Vec<Ws> = (0..8).map(|i| hub.member("carol", &format!("room{i}"))).collect();
    let before = ann.say("r", "before")["offset"].as_u64().unwrap();
    bob.hears("before");
    for round in 1..=3_u64 {
        inject(&mut ann, "room_server");
        counted(&hub, "room_server", round as f64);
        let text = format!("after {round}");
        let ack = ann.say("r", &text);
        assert_eq!(ack["offset"], before + round, "the history goes on");
        assert_eq!(bob.hears(&text)["offset"], before + round);
        ann.hears(&text);
        let members = bob.ok(json!({"type": "members", "roomId": "r"}));
        assert_eq!(members["memberCount"], 2, "{members}");
    }
    for (i, ws) in far.iter_mut().enumerate() {
        ws.say(&format!("room{i}"), "here");
        ws.hears("here");
    }
    bob.none_kept("departure", kind("user_left"));
    let mut late = hub.ws("dave");
    assert_eq!(late.join("r")["memberCount"], 3);
    ann.expect("dave's arrival", |e| e["type"] == "user_joined" && e["userId"] == "dave");
    ann.ok(json!({"type": "leave", "roomId": "r"}));
    bob.expect_kind("user_left");
    assert!(hub.is_running());
}

#[test]
fn a_panic_in_the_presence_tracker_forgets_nobody() {
    let mut hub = Hub::start(&[INJECT, UNLIMITED, ("HUBBUB__PRESENCE__OFFLINE_GRACE_MS", "300")]);
    let mut ann = hub.member("ann", "r");
    let mut bob = hub.member("bob", "r");
    let tab = hub.member("bob", "r");
    for round in 1..=2 {
        inject(&mut ann, "presence_tracker");
        counted(&hub, "presence_tracker", f64::from(round));
        until("bob is online with two sessions", SOON, || {
            let page = ann.ok(json!({"type": "members", "roomId": "r"}));
            assert_eq!(page["memberCount"], 2, "{page}");
            let members = page["members"].as_array().unwrap();
            members
                .iter()
                .any(|m| m["userId"] == "bob" && m["status"] == "online" && m["socketCount"] == 2)
                .then_some(())
        });
    }
    ann.none_kept("flapping", |e| e["status"] == "offline" || e["type"] == "user_left");
    drop(tab);
    bob.ok(json!({"type": "presence", "status": "away"}));
    ann.expect("away", |e| e["type"] == "presence" && e["status"] == "away");
    drop(bob);
    ann.expect("offline", |e| e["type"] == "presence" && e["status"] == "offline");
    assert!(hub.is_running());
}

#[test]
fn messages_during_panics_are_stored_once_and_in_order() {
    let hub = Hub::start(&[INJECT, UNLIMITED]);
    let mut ann = hub.member("ann", "r");
    let mut eve = hub.member("eve", "r");
    let mut acked = Vec::new();
    for n in 0..60 {
        let id = ann.ask(json!({"type": "message", "roomId": "r", "content": format!("m{n}")}));
        if n % 20 == 10 {
            inject(&mut eve, "room_server");
        }
        match ann.answer_to(&id) {
            Ok(ack) => acked.push((ack["offset"].as_u64().unwrap(), format!("m{n}"))),
            Err(error) => assert_eq!(error["code"], "unavailable", "{error}"),
        }
    }
    assert!(acked.len() >= 55, "{} of 60", acked.len());
    let page = ann.ok(json!({"type": "history", "roomId": "r", "after": 0, "limit": 200}));
    let messages = page["messages"].as_array().unwrap();
    for (n, message) in messages.iter().enumerate() {
        assert_eq!(message["offset"], n as u64 + 1);
    }
    for (offset, content) in &acked {
        assert_eq!(&messages[*offset as usize - 1]["content"], content);
    }
    // A member misses none of what is stored, whatever happened in between.
    let last = messages.len();
    eve.expect("the last message", |e| e["type"] == "message" && e["offset"] == last);
    let mut heard: Vec<u64> =
        eve.take(kind("message")).iter().map(|m| m["offset"].as_u64().unwrap()).collect();
    heard.push(last as u64);
    assert_eq!(heard, (1..=last as u64).collect::<Vec<_>>());
}

#[test]
fn nothing_is_injected_unless_it_is_switched_on() {
    let hub = Hub::start(&[]);
    let mut ann = hub.member("ann", "r");
    let mut bob = hub.member("bob", "r");
    for actor in ["session", "room_server", "presence_tracker"] {
        inject(&mut ann, actor);
    }
    ann.say("r", "mark");
    bob.hears("mark");
    ann.fence();
    assert_eq!(hub.metrics().sum("hubbub_panics_total", &[]), 0.0);
}
