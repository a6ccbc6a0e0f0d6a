//! Sessions that come back with `resume`: nothing missing, nothing twice, nothing out
//! of order, also when the hub is killed in a flood. `HUBBUB_RECOVERY_TRIALS` kills it
//! more often.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::*;

const ROOMS: [&str; 3] = ["a", "b", "c"];

/// Sends numbered messages with keys to each room in turn until the connection ends;
/// the number of the first that is not acknowledged.
fn flood(mut ws: Ws, from: u64) -> u64 {
    let mut acked = std::collections::BTreeSet::new();
    let mut next = from;
    let mut waiting = HashMap::new();
    loop {
        while waiting.len() < 16 {
            let room = ROOMS[next as usize % ROOMS.len()];
            let request = json!({
                "type": "message", "roomId": room, "content": format!("{next}"),
                "key": format!("{next}")
            });
            waiting.insert(ws.ask(request), next);
            next += 1;
        }
        let Some(event) = ws.next_event(Instant::now() + SOON) else {
            return (from..next).find(|n| !acked.contains(n)).unwrap_or(next);
        };
        assert_ne!(event["type"], "error", "{event}");
        if event["type"] == "ack" {
            acked.insert(waiting.remove(event["id"].as_str().unwrap()).unwrap());
        }
    }
}

fn audit(listener: &Listener, count: u64) {
    for (at, room) in ROOMS.iter().enumerate() {
        let got = &listener.got[*room];
        let expected: Vec<String> =
            (0..count).filter(|n| *n as usize % ROOMS.len() == at).map(|n| n.to_string()).collect();
        let contents: Vec<&String> = got.iter().map(|(_, content)| content).collect();
        let whole = contents.iter().copied().eq(expected.iter());
        assert!(whole, "{} in {room}: {contents:?}", listener.user);
        assert!(got.windows(2).all(|two| two[1].0 == two[0].0 + 1), "offsets in {room}");
    }
}

#[test]
fn a_killed_hub_loses_doubles_and_reorders_nothing() {
    let trials = std::env::var("HUBBUB_RECOVERY_TRIALS").ok().and_then(|n| n.parse().ok());
    let mut hub = Hub::start(&[
        UNLIMITED,
        ("HUBBUB__HISTORY__MAX_MESSAGES", "1000000"),
        ("HUBBUB__SESSION__OUTBOUND_MAX_BYTES", "67108864"),
    ]);
    let mut crowd: Vec<(Listener, Option<Ws>)> = (0..4)
        .map(|n| {
            let (listener, ws) = Listener::enter(&hub, &ROOMS, &format!("listener{n}"));
            (listener, Some(ws))
        })
        .collect();
    let mut from = 0;
    let mut slowest = Duration::ZERO;
    for trial in 0..trials.unwrap_or(5) {
        let mut ws = hub.ws("sender");
        for room in ROOMS {
            ws.join(room);
        }
        let before = hub.metrics().sum("hubbub_acks_total", &[]);
        let sender = thread::spawn(move || flood(ws, from));
        let hearing: Vec<_> = crowd
            .drain(..)
            .map(|(mut listener, ws)| {
                thread::spawn(move || {
                    listener.hear_on(&mut ws.unwrap(), None);
                    listener
                })
            })
            .collect();
        hub.metric_until("hubbub_acks_total", &[], |n| n > before + 30.0);
        // At a moment that nobody has prepared for.
        thread::sleep(Duration::from_millis((trial * 37) % 150));
        hub.kill();
        from = sender.join().unwrap();
        let listeners: Vec<Listener> = hearing.into_iter().map(|t| t.join().unwrap()).collect();
        hub.restart();
        for mut listener in listeners {
            let began = Instant::now();
            let (ws, answer) = listener.resume(&hub);
            slowest = slowest.max(began.elapsed());
            assert_eq!(answer["recovered"], true, "{answer}");
            assert_eq!(answer["rooms"].as_array().unwrap().len(), ROOMS.len(), "{answer}");
            crowd.push((listener, Some(ws)));
        }
    }
    // What is not acknowledged is sent again, then some more.
    let mut ws = hub.ws("sender");
    let mut heads = HashMap::new();
    for room in ROOMS {
        ws.join(room);
    }
    let count = from + 200;
    for n in from..count {
        let room = ROOMS[n as usize % ROOMS.len()];
        let ack = ws.ok(json!({
            "type": "message", "roomId": room, "content": format!("{n}"), "key": format!("{n}")
        }));
        heads.insert(room, ack["offset"].as_u64().unwrap());
    }
    for (listener, ws) in &mut crowd {
        listener.hear_on(ws.as_mut().unwrap(), Some(&heads));
        audit(listener, count);
    }
    println!("{count} messages, slowest to recover {slowest:?}");
}

#[test]
fn the_newer_connection_wins() {
    let hub = Hub::start(&[]);
    let (mut listener, mut older) = Listener::enter(&hub, &ROOMS, "ann");
    let mut sender = hub.member("bob", "a");
    sender.ok(json!({"type": "message", "roomId": "a", "content": "one"}));
    listener.hear(&older.expect_kind("message"));
    sender.ok(json!({"type": "message", "roomId": "a", "content": "two"}));
    older.expect_kind("message");
    let (mut newer, answer) = listener.resume(&hub);
    assert_eq!(answer["recovered"], true, "{answer}");
    assert_eq!(older.expect_close(4409), "replaced");
    assert_eq!(newer.expect_kind("message")["content"], "two");
    sender.ok(json!({"type": "message", "roomId": "a", "content": "three"}));
    assert_eq!(newer.expect_kind("message")["content"], "three");
    // The earlier session is used up.
    let again = newer.ok(json!({"type": "resume", "sessionId": answer["sessionId"].as_str()
        .unwrap_or("00000000-0000-7000-8000-000000000000"), "positions": {}}));
    assert_eq!((&again["recovered"], &again["rooms"]), (&json!(false), &json!([])));
}

#[test]
fn resuming_gives_no_more_rooms_than_a_session_may_have() {
    let hub = Hub::start(&[("HUBBUB__ROOMS__MAX_PER_SESSION", "4")]);
    let (mut first, older) = Listener::enter(&hub, &ROOMS, "ann");
    drop(older);
    let (mut ws, session) = open(&hub, "ann");
    for room in ["d", "e"] {
        ws.join(room);
    }
    let request =
        json!({"type": "resume", "sessionId": first.session, "positions": first.positions});
    let answer = ws.ok(request);
    assert_eq!(answer["recovered"], false, "{answer}");
    let rooms = answer["rooms"].as_array().unwrap();
    let refused = |room: &&Value| room["code"] == "too_many_rooms";
    assert_eq!((rooms.len(), rooms.iter().filter(refused).count()), (3, 1), "{answer}");
    ws.refused(json!({"type": "join", "roomId": "f"}), "too_many_rooms");
    // All four come along to the next session, and no fifth.
    drop(ws);
    first.session = session;
    let (mut ws, answer) = first.resume(&hub);
    let rooms = answer["rooms"].as_array().unwrap();
    assert_eq!((rooms.len(), rooms.iter().filter(refused).count()), (5, 1), "{answer}");
    ws.refused(json!({"type": "join", "roomId": "f"}), "too_many_rooms");
}

#[test]
fn a_room_that_is_named_but_was_not_kept_comes_back_if_the_user_may_be_in_it() {
    let hub = Hub::start(&[]);
    let (mut first, older) = Listener::enter(&hub, &ROOMS, "ann");
    drop(older);
    // The store lost these joins; the second is not for her.
    first.positions.insert("user:bob".into(), json!({"epoch": "0", "offset": 0}));
    let (mut other, _) = open(&hub, "bob");
    let at = other.join("plaza");
    other.ok(json!({"type": "message", "roomId": "plaza", "content": "missed"}));
    first.positions.insert("plaza".into(), position(&at));
    let (mut ws, answer) = first.resume(&hub);
    let rooms = answer["rooms"].as_array().unwrap();
    let plaza = rooms.iter().find(|room| room["roomId"] == "plaza").unwrap();
    assert_eq!(plaza["recovered"], true, "{answer}");
    assert!(rooms.iter().all(|room| room["roomId"] != "user:bob"), "{answer}");
    assert_eq!(ws.expect_kind("message")["content"], "missed");
}

#[test]
fn what_cannot_be_proved_is_not_recovered() {
    let hub = Hub::start(&[("HUBBUB__HISTORY__MAX_MESSAGES", "10"), UNLIMITED]);
    let (mut listener, ws) = Listener::enter(&hub, &ROOMS, "ann");
    drop(ws);
    let mut sender = hub.member("bob", "a");
    for n in 0..200 {
        sender.ok(json!({"type": "message", "roomId": "a", "content": format!("{n}")}));
    }
    listener.positions.remove("b");
    let (mut ws, answer) = listener.resume(&hub);
    assert_eq!(answer["recovered"], false, "{answer}");
    let room = |name: &str| {
        answer["rooms"].as_array().unwrap().iter().find(|r| r["roomId"] == name).unwrap().clone()
    };
    // The hole is told, with the head of the room; without a position nothing is known.
    assert_eq!((&room("a")["recovered"], &room("a")["offset"]), (&json!(false), &json!(200)));
    assert_eq!(room("a")["messages"].as_array().unwrap().last().unwrap()["content"], "199");
    assert_eq!(room("b")["recovered"], false);
    assert_eq!(room("c")["recovered"], true);
    sender.ok(json!({"type": "message", "roomId": "a", "content": "next"}));
    let next = ws.expect_kind("message");
    assert_eq!((&next["content"], &next["offset"]), (&json!("next"), &json!(201)));
}

#[test]
fn another_user_a_ban_and_the_end_of_the_window_keep_a_session_away() {
    let hub = Hub::start(&[("HUBBUB__SESSION__RECOVERY_MS", "400")]);
    let (mut listener, ws) = Listener::enter(&hub, &ROOMS, "ann");
    let resume = json!({"type": "resume", "sessionId": listener.session, "positions": {}});
    let mut other = hub.ws("bob");
    assert_eq!(other.ok(resume.clone())["rooms"], json!([]));
    drop(ws);
    hub.metric_until("hubbub_sessions", &[], |n| n == 1.0);
    thread::sleep(Duration::from_millis(500));
    let (_ws, answer) = listener.resume(&hub);
    assert_eq!((&answer["recovered"], &answer["rooms"]), (&json!(false), &json!([])));
    // Who may not be in a room any more does not come back into it.
    let (mut listener, ws) = Listener::enter(&hub, &ROOMS, "eve");
    drop(ws);
    let claims = json!({"rooms": ["b"]});
    let mut ws = hub.connect(Handshake::new().query_token(&token("eve", claims)));
    ws.expect_kind("authenticated");
    let answer = ws.ok(json!({
        "type": "resume", "sessionId": listener.session, "positions": listener.positions
    }));
    listener.session = Value::Null;
    for room in answer["rooms"].as_array().unwrap() {
        let may = room["roomId"] == "b";
        assert_eq!(room["recovered"], may, "{room}");
        assert_eq!(room["code"] == "forbidden", !may, "{room}");
    }
    ws.refused(json!({"type": "message", "roomId": "a", "content": "x"}), "not_a_member");
    ws.ok(json!({"type": "message", "roomId": "b", "content": "x"}));
}

/// Contents of the direct messages that came so far.
fn directs(ws: &mut Ws) -> Vec<String> {
    ws.fence();
    let events = ws.take(kind("direct"));
    events.iter().map(|e| e["content"].as_str().unwrap().to_owned()).collect()
}

/// The answers to the hub's pings have come: what they prove is not told again. Messages
/// that came together take two pings.
fn settle(ws: &mut Ws) {
    ws.fence();
    ws.fence();
    ws.fence();
}

#[test]
fn direct_messages_wait_for_their_user() {
    let mut hub = Hub::start(&[]);
    let write = |ws: &mut Ws, content: &str| {
        ws.ok(json!({"type": "direct", "userId": "ann", "content": content}));
    };
    let mut bob = hub.ws("bob");
    for content in ["one", "two"] {
        write(&mut bob, content);
    }
    let mut ann = hub.ws("ann");
    assert_eq!(ann.expect_kind("direct")["content"], "one");
    assert_eq!(ann.expect_kind("direct")["content"], "two");
    settle(&mut ann);
    // All the user's sessions hear what comes now.
    let mut other = hub.ws("ann");
    write(&mut bob, "three");
    assert_eq!(ann.expect_kind("direct")["content"], "three");
    assert_eq!(other.expect_kind("direct")["content"], "three");
    settle(&mut ann);
    settle(&mut other);
    drop((ann, other));
    hub.metric_until("hubbub_sessions", &[], |n| n == 1.0);
    write(&mut bob, "four");
    hub.restart();
    let mut ann = hub.ws("ann");
    assert_eq!(ann.expect_kind("direct")["content"], "four");
    assert_eq!(directs(&mut ann), Vec::<String>::new());
    settle(&mut ann);
    // A connection that gives no sign any more has got nothing.
    ann.auto_pong = false;
    let mut bob = hub.ws("bob");
    write(&mut bob, "five");
    ann.expect_kind("direct");
    drop(ann);
    let mut ann = hub.ws("ann");
    assert_eq!(ann.expect_kind("direct")["content"], "five");
    drop(ann);
}
