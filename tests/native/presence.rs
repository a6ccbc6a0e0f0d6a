//! Who is there: per user, over several sessions.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::*;

const GRACE: (&str, &str) = ("HUBBUB__PRESENCE__OFFLINE_GRACE_MS", "400");

fn presence<'a>(user: &'a str, status: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |e| e["type"] == "presence" && e["userId"] == user && e["status"] == status
}

/// Asks until a member of the room looks as wanted.
fn member_until(ws: &mut Ws, user: &str, status: &str, sockets: u64) {
    until(&format!("{user} is {status} with {sockets}"), SOON, || {
        let page = ws.ok(json!({"type": "members", "roomId": "r"}));
        let members = page["members"].as_array().unwrap();
        members
            .iter()
            .any(|m| m["userId"] == user && m["status"] == status && m["socketCount"] == sockets)
            .then_some(())
    });
}

#[test]
fn away_and_back_are_told_to_those_who_share_a_room() {
    let hub = Hub::start(&[UNLIMITED]);
    let mut ann = hub.member("ann", "r");
    let mut bob = hub.member("bob", "r");
    let mut stranger = hub.member("carol", "elsewhere");
    ann.join("elsewhere-too");
    for status in ["away", "online", "offline", "online"] {
        ann.ok(json!({"type": "presence", "status": status}));
        let told = bob.expect(status, presence("ann", status));
        assert_eq!(told["socketCount"], 1, "{told}");
        assert!(told["timestamp"].is_string());
        member_until(&mut bob, "ann", status, 1);
    }
    // News in the stranger's own room come after whatever was wrongly told.
    let mut dave = hub.member("dave", "elsewhere");
    dave.ok(json!({"type": "presence", "status": "away"}));
    stranger.expect("news of dave", presence("dave", "away"));
    stranger.none_kept("news of a stranger", |e| e["userId"] == "ann");
}

#[test]
fn news_come_once_however_many_rooms_are_shared() {
    let hub = Hub::start(&[UNLIMITED]);
    let mut ann = hub.ws("ann");
    let mut bob = hub.ws("bob");
    for room in ["r", "s", "t"] {
        ann.join(room);
        bob.join(room);
    }
    ann.ok(json!({"type": "presence", "status": "away"}));
    bob.expect("away", presence("ann", "away"));
    ann.ok(json!({"type": "presence", "status": "online"}));
    bob.expect("online", presence("ann", "online"));
    bob.fence();
    bob.none_kept("second copy", presence("ann", "away"));
}

#[test]
fn several_sessions_are_one_user() {
    let hub = Hub::start(&[UNLIMITED, GRACE]);
    let mut bob = hub.member("bob", "r");
    let mut one = hub.member("ann", "r");
    member_until(&mut bob, "ann", "online", 1);
    let mut two = hub.member("ann", "r");
    member_until(&mut bob, "ann", "online", 2);
    // The most present session counts.
    one.ok(json!({"type": "presence", "status": "away"}));
    member_until(&mut bob, "ann", "online", 2);
    two.ok(json!({"type": "presence", "status": "away"}));
    member_until(&mut bob, "ann", "away", 2);
    two.ok(json!({"type": "presence", "status": "online"}));
    member_until(&mut bob, "ann", "online", 2);
    two.close();
    member_until(&mut bob, "ann", "away", 1);
    bob.none_kept("departure", |e| e["type"] == "user_left" || e["status"] == "offline");
}

#[test]
fn offline_comes_once_and_after_the_grace() {
    let hub = Hub::start(&[GRACE]);
    let mut bob = hub.member("bob", "r");
    let one = hub.member("ann", "r");
    let two = hub.member("ann", "r");
    bob.expect_kind("user_joined");
    drop(one);
    hub.metric_until("hubbub_connections", &[], |n| n == 2.0);
    drop(two);
    let lost = Instant::now();
    let told = bob.expect("offline", presence("ann", "offline"));
    assert!(lost.elapsed() >= Duration::from_millis(350), "after {:?}", lost.elapsed());
    assert_eq!(told["socketCount"], 0, "{told}");
    assert!(bob.find(Duration::from_millis(800), presence("ann", "offline")).is_none());
}

#[test]
fn a_reload_of_the_page_is_no_absence() {
    let hub = Hub::start(&[("HUBBUB__PRESENCE__OFFLINE_GRACE_MS", "1500")]);
    let mut bob = hub.member("bob", "r");
    for _ in 0..3 {
        let ann = hub.member("ann", "r");
        drop(ann);
        hub.metric_until("hubbub_connections", &[], |n| n == 1.0);
    }
    let _ann = hub.member("ann", "r");
    assert!(bob.find(Duration::from_millis(2000), presence("ann", "offline")).is_none());
    assert_eq!(bob.take(kind("user_joined")).len(), 1);
    bob.none_kept("departure", kind("user_left"));
}

#[test]
fn the_backend_sees_who_is_there() {
    let hub = Hub::start(&[GRACE]);
    let api = hub.api();
    let one = hub.member("ann", "r");
    let _two = hub.member("ann", "s");
    let user = until("two sessions", SOON, || {
        let user = api.get("/api/users/ann").expect(200);
        (user["socketCount"] == 2 || user["sessions"].as_array().is_some_and(|s| s.len() == 2))
            .then_some(user)
    });
    assert_eq!(user["status"], "online", "{user}");
    let rooms = user["rooms"].to_string();
    assert!(rooms.contains("\"r\"") && rooms.contains("\"s\""), "{user}");
    drop((one, _two));
    until("ann is offline", SOON, || {
        let answer = api.get("/api/users/ann");
        (answer.status == 404 || answer.json()["status"] == "offline").then_some(())
    });
}
