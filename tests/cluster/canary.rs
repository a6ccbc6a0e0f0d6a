//! Two releases beside each other: a node of the one before ([`FrozenNode`]) and one of this release, on one
//! Redis; and what a node of a later release may say.

use std::thread;

use serde_json::json;

use crate::{
    frozen::{FrozenNode, Publish, field, message},
    load::Fleet,
    support::*,
};

fn old(redis: &RedisServer, rooms: &[&str]) -> FrozenNode {
    let mut channels: Vec<_> = rooms.iter().map(|room| FrozenNode::channel(room)).collect();
    channels.push(FrozenNode::everyone());
    FrozenNode::start("old", redis.port, &channels)
}

#[test]
fn the_release_before_publishes_and_hears_beside_this_one() {
    let redis = RedisServer::start(&[]);
    let fleet = Fleet::start(1, &redis.url(), &[]);
    let mut old = old(&redis, &["r", "user:ben"]);
    let mut ann = fleet.hubs[0].member("ann", "r");

    // From here to there: every kind of record, one of them with a field that came later.
    ann.say("r", "hello");
    ann.ok(json!({"type": "event", "roomId": "r", "name": "move", "data": [1]}));
    ann.ok(json!({"type": "direct", "userId": "ben", "content": "psst"}));
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let api = fleet.hubs[0].api().header("traceparent", trace);
    let body = json!({"content": "followed", "userId": "shop", "data": {"n": 1}});
    api.post("/api/rooms/r/messages", &body).expect(202);
    let heard = old.messages(4);
    let seen: Vec<_> =
        heard.iter().map(|m| (m.offset, &*m.user, m.kind, &*m.text, &*m.data, m.more)).collect();
    assert_eq!(
        seen,
        [
            (1, "ann", 5, "hello", "", false),
            (2, "ann", 7, "move", "[1]", false),
            (1, "ann", 6, "psst", "", false),
            (3, "shop", 5, "followed", "{\"n\":1}", true),
        ]
    );
    assert_eq!(old.history("r"), [&heard[..2], &heard[3..]].concat(), "and in the history");

    // From there to here, two of them in one envelope.
    let data = Some("{\"k\": 1.50}");
    let custom = Publish { kind: 7, data, ..message("old", "turn") };
    assert_eq!(old.publish("r", &[message("old", "good day"), custom]), [Some(4), Some(5)]);
    let heard = ann.hears("good day");
    assert_eq!((&heard["offset"], &heard["userId"]), (&json!(4), &json!("old")));
    assert_eq!(heard["username"], "OLD");
    let turn = ann.expect("the event", |e| e["type"] == "event" && e["name"] == "turn");
    assert_eq!((&turn["offset"], &turn["data"]), (&json!(5), &json!({"k": 1.5})));

    // A key counts in both releases.
    let keyed = json!({"type": "message", "roomId": "r", "content": "once", "key": "k"});
    let first = ann.ok(keyed.clone());
    assert_eq!(first["offset"], 6);
    let again = || [Publish { key: Some("k"), ..message("ann", "once") }];
    assert_eq!(old.publish("r", &again()), [None], "it is known there");
    let other = || [Publish { key: Some("o"), ..message("ann", "twice") }];
    assert_eq!(old.publish("r", &other()), [Some(7)]);
    let known = ann.ok(json!({"type": "message", "roomId": "r", "content": "twice", "key": "o"}));
    assert_eq!(known["offset"], 7, "and here");

    // Who joins here finds what was stored there.
    let mut ben = fleet.hubs[0].member("ben", "r");
    let page = ben.ok(json!({"type": "history", "roomId": "r", "after": 0}));
    let stored = page["messages"].as_array().unwrap();
    let offsets: Vec<_> = stored.iter().map(|m| m["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, [1, 2, 3, 4, 5, 6, 7], "{page}");
    assert_eq!(stored[3]["content"], "good day");
    assert_eq!(fleet.hubs[0].metrics().sum("hubbub_cluster_undecodable_total", &[]), 0.0);
}

#[test]
fn both_releases_see_one_order_while_both_publish() {
    const EACH: usize = 150;
    let redis = RedisServer::start(&[]);
    let fleet = Fleet::start(1, &redis.url(), &[]);
    let old = old(&redis, &["r"]);
    let mut ann = fleet.hubs[0].member("ann", "r");
    let mut twin = old.twin();
    let there = thread::spawn(move || {
        for n in 0..EACH {
            twin.publish("r", &[message("old", &format!("old {n}"))]);
        }
    });
    for n in 0..EACH {
        ann.ask(json!({"type": "message", "roomId": "r", "content": format!("new {n}")}));
    }
    there.join().unwrap();
    let heard = old.messages(2 * EACH);
    for (n, message) in heard.iter().enumerate() {
        assert_eq!(message.offset, n as u64 + 1);
        let here = ann.expect("a message", kind("message"));
        assert_eq!((&here["offset"], &here["content"]), (&json!(n + 1), &json!(message.text)));
    }
}

#[test]
fn volatile_events_pass_between_both_releases() {
    let redis = RedisServer::start(&[]);
    let fleet = Fleet::start(1, &redis.url(), &[]);
    let mut old = old(&redis, &["r"]);
    let mut ann = fleet.hubs[0].member("ann", "r");
    ann.say("r", "hello");

    ann.ok(json!({"type": "event", "roomId": "r", "name": "n", "data": 7, "volatile": true}));
    let event = old.volatile(1);
    assert_eq!((event.text(1), event.text(2)), ("r".to_owned(), "ann".to_owned()));
    assert_eq!((event.text(4), event.text(5)), ("n".to_owned(), "7".to_owned()));
    ann.send(&json!({"type": "typing", "roomId": "r", "isTyping": true}));
    let typing = old.volatile(4);
    assert_eq!((typing.text(2), typing.number(8)), ("ann".to_owned(), 1));
    ann.ok(json!({"type": "read", "roomId": "r", "offset": 1}));
    let receipt = old.volatile(6);
    assert_eq!((receipt.text(9), receipt.number(11)), ("read".to_owned(), 1));
    fleet.hubs[0].api().post("/api/broadcast", &json!({"event": "all"})).expect(202);
    assert_eq!(old.volatile(1).text(4), "all");

    let room = (1, &b"r"[..]);
    let user = (2, &b"old"[..]);
    old.broadcast(Some("r"), 1, &[room, user, (4, b"e"), (5, b"[2]"), (7, &[9])]);
    let event = ann.expect_kind("event");
    // Its own copy of the first one came before.
    let event = if event["name"] == "n" { ann.expect_kind("event") } else { event };
    let event = if event["name"] == "all" { ann.expect_kind("event") } else { event };
    assert_eq!((&event["name"], &event["data"]), (&json!("e"), &json!([2])));
    old.broadcast(Some("r"), 4, &[room, user, (8, &[1])]);
    assert_eq!(ann.expect_kind("typing")["userId"], "old");
    old.broadcast(Some("r"), 6, &[room, user, (9, b"read"), (11, &[1]), (15, b"ann")]);
    ann.expect("the receipt", |e| e["type"] == "receipt" && e["userId"] == "old");
    let member = [room, user, (7, &[9]), (9, b"online"), (10, &[1])];
    old.broadcast(Some("r"), 2, &member);
    assert_eq!(ann.expect_kind("user_joined")["userId"], "old");
    old.broadcast(Some("r"), 3, &member);
    assert_eq!(ann.expect_kind("user_left")["userId"], "old");
    old.broadcast(Some("r"), 5, &member[1..]);
    assert_eq!(ann.expect_kind("presence")["userId"], "old");
    old.broadcast(Some("user:ann"), 7, &[(13, b"t"), (14, b"b")]);
    assert_eq!(ann.expect_kind("notification")["title"], "t");
    old.broadcast(None, 1, &[(4, b"fire"), (7, &[9])]);
    ann.expect("the broadcast", |e| e["type"] == "event" && e["name"] == "fire");
    assert_eq!(fleet.hubs[0].metrics().sum("hubbub_cluster_undecodable_total", &[]), 0.0);
}

#[test]
fn what_a_later_release_says_is_skipped_and_counted() {
    let redis = RedisServer::start(&[]);
    let fleet = Fleet::start(1, &redis.url(), &[]);
    let hub = &fleet.hubs[0];
    let mut later = old(&redis, &["r"]);
    let mut ann = hub.member("ann", "r");
    let channel = FrozenNode::channel("r");
    let counted = |what: &str, count: f64| {
        hub.metric_until("hubbub_cluster_unknown_total", &[&format!("what=\"{what}\"")], |n| {
            assert!(n <= count, "{n} of {count} {what}s");
            n == count
        });
    };

    // A kind of envelope and a kind of event that it does not know.
    later.tell(&channel, &[1, 77, 1, 2, 3]);
    counted("kind", 1.0);
    later.broadcast(Some("r"), 200, &[(1, b"r")]);
    counted("kind", 2.0);
    // Fields that it does not know, in a record and in an event.
    let (id, mut record) = later.record(&message("new", "with more"));
    field(&mut record, 99, b"what only a later release knows");
    later.store("r", &["new"], &[((id, record), None)]);
    assert_eq!(ann.hears("with more")["offset"], 1);
    counted("field", 1.0);
    later.broadcast(Some("r"), 4, &[(1, b"r"), (2, b"new"), (8, &[1]), (99, b"x")]);
    assert_eq!(ann.expect_kind("typing")["userId"], "new");
    counted("field", 2.0);
    // A kind of record: it has its place, and what comes after it is heard.
    let (id, known) = later.record(&message("new", ""));
    let unknown = [&known[..known.len() - 2], &[98, 1, b'x']].concat();
    later.store("r", &["new"], &[((id, unknown), None)]);
    let shown = ann.expect_kind("event");
    assert_eq!((&shown["name"], &shown["offset"]), (&json!("unsupported"), &json!(2)));
    counted("kind", 3.0);
    assert_eq!(hub.metrics().sum("hubbub_cluster_undecodable_total", &[]), 0.0);
    // Another version of the envelope around a record that it can read: it is read from the history.
    later.tell(&channel, &[2, 1, 9, 9, 9]);
    hub.metric_until("hubbub_cluster_undecodable_total", &[], |n| n == 1.0);

    ann.say("r", "still here");
    assert_eq!(ann.hears("still here")["offset"], 3);
    // Who joins finds all of it.
    let mut ben = hub.ws("ben");
    ben.join("r");
    let page = ben.ok(json!({"type": "history", "roomId": "r", "after": 0}));
    assert_eq!(page["messages"].as_array().unwrap().len(), 3, "{page}");
}
