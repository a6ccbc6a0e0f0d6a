//! Joins, leaves and publishes that follow each other without a pause: at every
//! seam between reading the history and hearing the room.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::*;

fn join(room: &str) -> Value {
    json!({"type": "join", "roomId": room})
}

fn leave(room: &str) -> Value {
    json!({"type": "leave", "roomId": room})
}

fn message(room: &str, content: &str) -> Value {
    json!({"type": "message", "roomId": room, "content": content})
}

/// Fills a room by two senders at once, past any rate limit.
fn filled(hub: &Hub, room: &str, count: usize) -> Value {
    let mut filler = hub.member("filler", room);
    let since = filler.join(room);
    for i in 0..count {
        filler.send(&message(room, &format!("m{i}")));
    }
    filler.hears(&format!("m{}", count - 1));
    json!({"epoch": since["epoch"], "offset": since["offset"]})
}

/// The offsets of everything a client was given of a room, `joined` included.
fn offsets(events: &[Value]) -> Vec<u64> {
    let flat = events.iter().flat_map(|e| match e["type"].as_str() {
        Some("joined") => e["messages"].as_array().cloned().unwrap_or_default(),
        Some("message") => vec![e.clone()],
        _ => Vec::new(),
    });
    flat.filter_map(|m| m["offset"].as_u64()).collect()
}

#[test]
fn who_joins_and_speaks_in_one_breath_hears_itself() {
    let hub = Hub::start(&[UNLIMITED]);
    for round in 0..20 {
        let room = format!("new{round}");
        let mut ann = hub.ws("ann");
        ann.send(&join(&room));
        ann.send(&message(&room, "first"));
        assert_eq!(ann.hears("first")["offset"], 1);
    }
}

#[test]
fn leaving_and_joining_at_once_leaves_no_ghost() {
    let hub = Hub::start(&[UNLIMITED, ("HUBBUB__PRESENCE__OFFLINE_GRACE_MS", "100")]);
    let mut watcher = hub.member("watcher", "g");
    let mut ann = hub.member("ann", "g");
    for request in [leave("g"), join("g"), leave("g"), join("g")] {
        ann.send(&request);
    }
    ann.fence();
    ann.ok(json!({"type": "typing", "roomId": "g", "isTyping": true}));
    watcher.expect("ann's typing", |e| e["type"] == "typing" && e["isTyping"] == true);
    watcher.take(|_| true);
    ann.close();
    watcher.expect("ann's leaving", |e| e["type"] == "user_left" && e["userId"] == "ann");
    assert_eq!(watcher.ok(json!({"type": "members", "roomId": "g"}))["memberCount"], 1);
    watcher.close();
    hub.metric_until("hubbub_rooms", &[], |n| n == 0.0);
}

#[test]
fn a_second_join_never_answers_for_the_first() {
    let hub = Hub::start(&[UNLIMITED]);
    let mut ann = hub.ws("ann");
    ann.send(&join("twice"));
    ann.send(&join("twice"));
    for _ in 0..2 {
        let joined = ann.expect_kind("joined");
        assert_ne!(joined["epoch"], "0000000000000000", "{joined}");
    }
    ann.send(&join("twice"));
    ann.send(&leave("twice"));
    ann.expect_kind("left");
    ann.fence();
    ann.none_kept("a joined after left", kind("joined"));
    ann.refused(message("twice", "x"), "not_a_member");
}

#[test]
fn nothing_comes_after_left_and_rejoining_doubles_nothing() {
    let hub = Hub::start(&[UNLIMITED]);
    let since = filled(&hub, "deep", 900);
    let with_since = json!({"type": "join", "roomId": "deep", "since": since});

    let mut ann = hub.ws("ann");
    ann.send(&with_since);
    ann.send(&leave("deep"));
    ann.expect_kind("left");
    ann.take(|_| true);
    ann.fence();
    ann.none_kept("a message after left", kind("message"));

    let mut bob = hub.ws("bob");
    for request in [&with_since, &leave("deep"), &with_since] {
        bob.send(request);
    }
    bob.expect_kind("left");
    bob.take(|_| true);
    bob.expect("the newest message", |e| {
        e["offset"] == 900 || {
            let messages = e["messages"].as_array();
            messages.is_some_and(|m| m.iter().any(|m| m["offset"] == 900))
        }
    });
    hub.member("carol", "deep").say("deep", "last");
    bob.hears("last");
    let kept = bob.take(|_| true);
    let got = offsets(&kept);
    assert!(got.is_sorted(), "not in order");
    assert_eq!(got.iter().collect::<BTreeSet<_>>().len(), got.len(), "doubled");
}

#[test]
fn many_busy_rooms_recover_at_once() {
    let hub = Hub::start(&[UNLIMITED]);
    let rooms: Vec<String> = (0..12).map(|i| format!("busy{i}")).collect();
    let mut filler = hub.ws("filler");
    let filling = "x".repeat(8 * 1024);
    let mut starts = Vec::new();
    for room in &rooms {
        let joined = filler.join(room);
        starts.push(json!({"epoch": joined["epoch"], "offset": 0}));
        for _ in 0..40 {
            filler.send(&message(room, &filling));
        }
        filler.ok(message(room, "end"));
        filler.take(|_| true);
    }
    let mut ann = hub.ws("ann");
    for (room, since) in rooms.iter().zip(&starts) {
        ann.send(&json!({"type": "join", "roomId": room, "since": since}));
    }
    let mut seen: Vec<Vec<u64>> = vec![Vec::new(); rooms.len()];
    let deadline = std::time::Instant::now() + SOON;
    while seen.iter().any(|s| s.len() < 41) {
        let event = ann.next_event(deadline).expect("all rooms recover before the deadline");
        let at = rooms.iter().position(|r| event["roomId"] == r.as_str());
        if let Some(at) = at {
            seen[at].extend(offsets(std::slice::from_ref(&event)));
        }
    }
    for got in seen {
        assert_eq!(got, (1..=41).collect::<Vec<_>>());
    }
}

#[test]
fn a_page_of_escapes_fits_the_queue() {
    let hub = Hub::start(&[UNLIMITED]);
    let mut ann = hub.member("ann", "odd");
    let odd = "\u{1}".repeat(10_000);
    for _ in 0..30 {
        ann.ok(message("odd", &odd));
        ann.take(|_| true);
    }
    let page = ann.ok(json!({"type": "history", "roomId": "odd", "limit": 30}));
    let messages = page["messages"].as_array().unwrap();
    assert!(!messages.is_empty() && messages.len() < 30, "{}", messages.len());
    assert_eq!(page["hasMore"], true);
    assert_eq!(messages.last().unwrap()["offset"], 30);
}

#[test]
fn a_large_burst_closes_nobody_who_reads() {
    let hub = Hub::start(&[UNLIMITED]);
    let mut reader = hub.member("reader", "burst");
    let mut senders: Vec<Ws> = (0..4).map(|i| hub.member(&format!("s{i}"), "burst")).collect();
    let reading = std::thread::spawn(move || {
        for _ in 0..80 {
            reader.expect_kind("message");
        }
    });
    let large = "x".repeat(50_000);
    let sending: Vec<_> = senders
        .drain(..)
        .map(|mut ws| {
            let request = message("burst", &large);
            std::thread::spawn(move || {
                for _ in 0..20 {
                    ws.send(&request);
                }
                for _ in 0..80 {
                    ws.expect_kind("message");
                }
            })
        })
        .collect();
    reading.join().unwrap();
    sending.into_iter().for_each(|s| s.join().unwrap());
}

#[test]
fn who_is_not_authenticated_is_drained_too() {
    let mut hub = Hub::start(&[("HUBBUB__AUTH__TIMEOUT_MS", "60000")]);
    let mut nobody = hub.connect(Handshake::new());
    hub.signal("TERM");
    nobody.expect_close(1012);
    assert_eq!(hub.wait_exit(SOON).code(), Some(0));
}
