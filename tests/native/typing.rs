//! Who types.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::*;

const SHORT: (&str, &str) = ("HUBBUB__PRESENCE__TYPING_TIMEOUT_MS", "500");

fn typing(user: &str, is: bool) -> impl Fn(&Value) -> bool + '_ {
    move |e| e["type"] == "typing" && e["userId"] == user && e["isTyping"] == is
}

fn set(is: bool) -> Value {
    json!({"type": "typing", "roomId": "r", "isTyping": is})
}

#[test]
fn the_others_see_it_and_the_typist_does_not() {
    let hub = Hub::start(&[]);
    let mut ann = hub.member("ann", "r");
    let mut bob = hub.member("bob", "r");
    ann.ok(set(true));
    let told = bob.expect("typing", typing("ann", true));
    assert_eq!((&told["roomId"], &told["username"]), (&json!("r"), &json!("ann")));
    ann.ok(set(false));
    bob.expect("stopped", typing("ann", false));
    bob.say("r", "mark");
    ann.hears("mark");
    ann.fence();
    ann.none_kept("echo of one's own typing", kind("typing"));
    let page = ann.ok(json!({"type": "history", "roomId": "r"}));
    assert_eq!(page["messages"].as_array().unwrap().len(), 1, "typing is not stored: {page}");
}

#[test]
fn it_ends_by_itself() {
    let hub = Hub::start(&[SHORT]);
    let mut ann = hub.member("ann", "r");
    let mut bob = hub.member("bob", "r");
    ann.ok(set(true));
    bob.expect("typing", typing("ann", true));
    let started = Instant::now();
    bob.expect("the end by itself", typing("ann", false));
    assert!(started.elapsed() >= Duration::from_millis(400), "{:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert!(bob.find(Duration::from_millis(700), kind("typing")).is_none(), "told twice");
}

#[test]
fn typing_on_keeps_it_alive() {
    let hub = Hub::start(&[SHORT]);
    let mut ann = hub.member("ann", "r");
    let mut bob = hub.member("bob", "r");
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(1500) {
        ann.ok(set(true));
        assert!(bob.find(Duration::from_millis(200), typing("ann", false)).is_none());
    }
    bob.expect("typing", typing("ann", true));
    bob.expect("the end", typing("ann", false));
}

#[test]
fn a_typist_who_vanishes_stops() {
    let hub = Hub::start(&[("HUBBUB__PRESENCE__OFFLINE_GRACE_MS", "300")]);
    let mut bob = hub.member("bob", "r");
    let mut ann = hub.member("ann", "r");
    ann.ok(set(true));
    bob.expect("typing", typing("ann", true));
    drop(ann);
    // Well before the 6 s after which forgotten typing ends.
    bob.expect_within("the end", Duration::from_secs(3), |e| {
        typing("ann", false)(e) || (e["type"] == "user_left" && e["userId"] == "ann")
    });
    let mut carol = hub.member("carol", "r");
    carol.ok(set(true));
    bob.expect("typing", typing("carol", true));
    carol.ok(json!({"type": "leave", "roomId": "r"}));
    bob.expect_within("the end", Duration::from_secs(3), |e| {
        typing("carol", false)(e) || (e["type"] == "user_left" && e["userId"] == "carol")
    });
}

#[test]
fn two_typists_are_told_apart() {
    let hub = Hub::start(&[]);
    let mut ann = hub.member("ann", "r");
    let mut bob = hub.member("bob", "r");
    let mut carol = hub.member("carol", "r");
    ann.ok(set(true));
    bob.ok(set(true));
    carol.expect("ann", typing("ann", true));
    carol.expect("bob", typing("bob", true));
    ann.ok(set(false));
    carol.expect("ann stopped", typing("ann", false));
    carol.fence();
    carol.none_kept("bob stopped", typing("bob", false));
}
