//! What is kept, how it is paged, and how a client comes back without a gap.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::*;

fn offsets(page: &Value) -> Vec<u64> {
    page["messages"].as_array().unwrap().iter().map(|m| m["offset"].as_u64().unwrap()).collect()
}

fn filled(hub: &Hub, messages: u64) -> (Ws, Value) {
    let mut ws = hub.member("ann", "r");
    let mut epoch = Value::Null;
    for n in 1..=messages {
        epoch = ws.say("r", &format!("m{n}"))["epoch"].clone();
    }
    (ws, epoch)
}

#[test]
fn pages_go_both_ways() {
    let hub = Hub::start(&[UNLIMITED]);
    let (mut ws, epoch) = filled(&hub, 120);
    let mut page = |request: Value| {
        let mut all = json!({"type": "history", "roomId": "r"});
        all.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
        let page = ws.ok(all);
        assert_eq!((&page["epoch"], &page["roomId"]), (&epoch, &json!("r")));
        page
    };
    // Without a place: the newest 50.
    let newest = page(json!({}));
    assert_eq!(offsets(&newest), (71..=120).collect::<Vec<_>>());
    assert_eq!(newest["hasMore"], true);
    let before = page(json!({"before": 71, "limit": 60}));
    assert_eq!(offsets(&before), (11..=70).collect::<Vec<_>>());
    assert_eq!(before["hasMore"], true);
    let first = page(json!({"before": 11, "limit": 10}));
    assert_eq!(offsets(&first), (1..=10).collect::<Vec<_>>());
    assert_eq!(first["hasMore"], false);
    let after = page(json!({"after": 0, "limit": 100}));
    assert_eq!(offsets(&after), (1..=100).collect::<Vec<_>>());
    assert_eq!(after["hasMore"], true);
    let last = page(json!({"after": 100, "limit": 20}));
    assert_eq!(offsets(&last), (101..=120).collect::<Vec<_>>());
    assert_eq!(last["hasMore"], false);
    assert_eq!(offsets(&page(json!({"after": 120}))), [0; 0]);
    assert_eq!(offsets(&page(json!({"before": 1}))), [0; 0]);
    let one = &page(json!({"after": 4, "limit": 1}))["messages"][0];
    assert_eq!((&one["content"], &one["userId"]), (&json!("m5"), &json!("ann")));
    assert_eq!(one["type"], "message");
}

#[test]
fn both_places_at_once_give_what_lies_between_or_a_refusal() {
    let hub = Hub::start(&[]);
    let (mut ws, _) = filled(&hub, 10);
    match ws.request(json!({"type": "history", "roomId": "r", "after": 3, "before": 6})) {
        Ok(page) => assert_eq!(offsets(&page), [4, 5]),
        Err(error) => assert_eq!(error["code"], "bad_request", "{error}"),
    }
}

#[test]
fn a_client_that_comes_back_gets_what_it_missed() {
    let hub = Hub::start(&[UNLIMITED]);
    let (mut ann, epoch) = filled(&hub, 20);
    let mut bob = hub.ws("bob");
    let joined = bob.join_since("r", json!({"epoch": epoch, "offset": 15}));
    assert_eq!(joined["recovered"], true);
    assert_eq!(offsets(&joined), (16..=20).collect::<Vec<_>>());
    ann.say("r", "m21");
    assert_eq!(bob.hears("m21")["offset"], 21);
    bob.none_kept("copy of what `joined` held", |e| e["type"] == "message");

    let mut level = hub.ws("carol");
    let joined = level.join_since("r", json!({"epoch": epoch, "offset": 21}));
    assert_eq!((&joined["recovered"], &joined["messages"]), (&json!(true), &json!([])));

    let mut fresh = hub.ws("dave");
    let joined = fresh.join("r");
    assert_eq!((&joined["recovered"], &joined["messages"]), (&json!(false), &json!([])));
    assert_eq!(joined["offset"], 21);
}

#[test]
fn what_cannot_be_proved_is_not_called_recovered() {
    let hub = Hub::start(&[UNLIMITED, ("HUBBUB__HISTORY__MAX_MESSAGES", "10")]);
    let (_ann, epoch) = filled(&hub, 200);
    let mut ws = hub.ws("bob");
    for since in [
        json!({"epoch": "00000000000000ab", "offset": 195}),
        json!({"epoch": epoch, "offset": 1}),
        json!({"epoch": epoch, "offset": 500}),
    ] {
        let joined = ws.join_since("r", since.clone());
        assert_eq!(joined["recovered"], false, "{since}");
        let head = offsets(&joined);
        assert_eq!(head.last(), Some(&200), "{since} {head:?}");
        assert!(head.windows(2).all(|w| w[1] == w[0] + 1), "{head:?}");
        assert_eq!((&joined["offset"], &joined["epoch"]), (&json!(200), &epoch));
        ws.ok(json!({"type": "leave", "roomId": "r"}));
    }
}

#[test]
fn a_long_absence_is_filled_while_the_room_goes_on() {
    const MISSED: u64 = 700;
    let hub = Hub::start(&[UNLIMITED, ("HUBBUB__HISTORY__MAX_MESSAGES", "1000000")]);
    let (mut ann, epoch) = filled(&hub, 5);
    let ids: Vec<String> = (6..=MISSED)
        .map(|n| ann.ask(json!({"type": "message", "roomId": "r", "content": format!("m{n}")})))
        .collect();
    for id in ids {
        ann.answer_to(&id).unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let flood = thread::spawn(move || {
        let mut n = MISSED;
        while !flag.load(Ordering::Relaxed) {
            n += 1;
            ann.say("r", &format!("m{n}"));
        }
        n
    });
    let mut seen: Vec<(u64, u64)> = Vec::new();
    for round in 0..4 {
        let mut bob = hub.ws(&format!("bob{round}"));
        let joined = bob.join_since("r", json!({"epoch": epoch, "offset": 5}));
        assert_eq!(joined["recovered"], true);
        let mut got = offsets(&joined);
        assert_eq!(joined["offset"].as_u64(), got.last().copied(), "{got:?}");
        let goal = MISSED + 50;
        while got.last().is_none_or(|&last| last < goal) {
            let message = bob.expect_kind("message");
            let offset = message["offset"].as_u64().unwrap();
            assert_eq!(message["content"], format!("m{offset}"));
            got.push(offset);
        }
        let wanted: Vec<u64> = (6..6 + got.len() as u64).collect();
        assert_eq!(got, wanted, "a gap, a duplicate or another order");
        seen.push((got[0], got[got.len() - 1]));
    }
    stop.store(true, Ordering::Relaxed);
    let last = flood.join().unwrap();
    assert!(seen.iter().all(|&(first, to)| first == 6 && to <= last));
}

#[test]
fn rooms_are_bounded_by_count() {
    let hub = Hub::start(&[UNLIMITED, ("HUBBUB__HISTORY__MAX_MESSAGES", "25")]);
    let (mut ws, _) = filled(&hub, 300);
    // Trimming may come in steps; the oldest must go and the newest stay.
    let kept = until("old messages go", SOON, || {
        let page = ws.ok(json!({"type": "history", "roomId": "r", "after": 0, "limit": 200}));
        let kept = offsets(&page);
        (kept.len() <= 50).then_some(kept)
    });
    assert!(kept.len() >= 25, "{kept:?}");
    assert_eq!(kept, (301 - kept.len() as u64..=300).collect::<Vec<_>>());
    assert_eq!(ws.say("r", "next")["offset"], 301);
}

#[test]
fn rooms_are_bounded_by_age() {
    let hub = Hub::start(&[UNLIMITED, ("HUBBUB__HISTORY__TTL_MS", "1000")]);
    let (mut ws, _) = filled(&hub, 3);
    until("old messages go", Duration::from_secs(15), || {
        let page = ws.ok(json!({"type": "history", "roomId": "r"}));
        offsets(&page).is_empty().then_some(())
    });
    assert_eq!(ws.say("r", "fresh")["offset"], 4);
    let page = ws.ok(json!({"type": "history", "roomId": "r"}));
    assert_eq!(offsets(&page), [4], "{page}");
}

#[test]
fn an_orderly_restart_keeps_everything() {
    let mut hub = Hub::start(&[UNLIMITED]);
    let (ann, epoch) = filled(&hub, 30);
    drop(ann);
    hub.signal("TERM");
    assert!(hub.wait_exit(SOON).success());
    hub.restart();
    let mut ws = hub.ws("bob");
    let joined = ws.join_since("r", json!({"epoch": epoch, "offset": 10}));
    assert_eq!(joined["recovered"], true);
    assert_eq!(offsets(&joined), (11..=30).collect::<Vec<_>>());
    assert_eq!(ws.say("r", "m31")["offset"], 31);
}

#[test]
fn a_history_in_memory_starts_anew_and_says_so() {
    let mut hub = Hub::start(&[UNLIMITED, ("HUBBUB__HISTORY__STORE", "memory")]);
    let (_ann, epoch) = filled(&hub, 5);
    assert!(!hub.history_path().exists(), "nothing is written to disk");
    hub.restart();
    let mut ws = hub.ws("bob");
    let joined = ws.join_since("r", json!({"epoch": epoch, "offset": 5}));
    assert_eq!(joined["recovered"], false);
    assert_ne!(joined["epoch"], epoch);
}

#[test]
fn two_hubs_never_share_one_folder() {
    let hub = Hub::start(&[]);
    let path = hub.history_path();
    let output = hubbub()
        .env("HUBBUB__SERVER__LISTEN", "127.0.0.1:0")
        .env("HUBBUB__HISTORY__PATH", &path)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let log = {
        let mut child = output;
        let log = Log::follow(child.stderr.take().unwrap());
        let status = until("the second hub gives up", SOON, || {
            let ended = child.try_wait().unwrap();
            if ended.is_none() && log.text().contains("listening") {
                let _ = child.kill();
                let _ = child.wait();
                panic!("a second hub opened the same history");
            }
            ended
        });
        assert_eq!(status.code(), Some(1));
        log
    };
    assert!(!log.text().contains("panicked"), "{}", log.text());
    hub.ws("ann").close();
}
