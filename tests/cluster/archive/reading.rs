//! History that goes on in the archive where Redis ends.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{SOME_TIME, drained, offsets, page, settings};
use crate::{load::Fleet, support::*};

const ALL: u64 = 700;
const KEPT: u64 = 100;

/// Streams end at whole blocks, so that some more than those are there.
fn trimmed(redis: &RedisServer) {
    let length = redis.command(&["XLEN", "hubbub:{r}:log"]);
    let length: u64 = length.trim().trim_start_matches(':').parse().unwrap();
    assert!(length < ALL - 100, "{length} of {ALL} are in Redis");
}

#[test]
fn history_goes_on_where_redis_ends() {
    let (redis, mut database) = (RedisServer::start(&[]), PostgresServer::start());
    let url = database.url();
    let kept = KEPT.to_string();
    let more = [
        ("HUBBUB__HISTORY__MAX_MESSAGES", kept.as_str()),
        ("HUBBUB__ARCHIVE__BATCH_MAX", "37"),
        ("HUBBUB__ARCHIVE__ROOMS", "r,user:*"),
    ];
    let fleet = Fleet::start(2, &redis.url(), &settings(&url, &more));
    let (hub, other) = (&fleet.hubs[0], &fleet.hubs[1]);
    let mut ann = hub.member("ann", "r");
    let mut sent = BTreeMap::new();
    // What a database may stumble over is given back as it was sent.
    for n in 1..=ALL {
        let content = if n % 50 == 0 { format!("zero \0 {n} ü") } else { format!("m{n}") };
        let data = json!({"n": n, "text": "\u{0}", "nested": [1.5, null]});
        let request = match n % 3 {
            0 => json!({"type": "event", "roomId": "r", "name": format!("e{n}"), "data": data}),
            1 => json!({"type": "message", "roomId": "r", "content": content, "data": data}),
            _ => json!({"type": "message", "roomId": "r", "content": content}),
        };
        ann.ok(request);
    }
    for _ in 1..=ALL {
        let event = ann.expect("its own copy", |e| e["offset"].is_u64() && e["type"] != "ack");
        sent.insert(event["offset"].as_u64().unwrap(), event);
    }
    drained(&redis);
    trimmed(&redis);
    let same = |message: &Value, offset: u64| {
        let told = &sent[&offset];
        for field in ["type", "id", "userId", "username", "content", "name", "data", "timestamp"] {
            assert_eq!(message[field], told[field], "{field} of {offset}");
        }
    };

    // Upwards over HTTP, from another node.
    let mut after = 0;
    let epoch = loop {
        let page = page(other, "r", &format!("after={after}&limit=90"));
        for message in page["messages"].as_array().unwrap() {
            after += 1;
            assert_eq!(message["offset"], after);
            same(message, after);
        }
        if page["hasMore"] == false {
            break page["epoch"].clone();
        }
    };
    assert_eq!(after, ALL);
    // Downwards over the wire.
    let (mut ben, mut before) = (other.member("ben", "r"), ALL + 1);
    loop {
        let asked = json!({"type": "history", "roomId": "r", "before": before, "limit": 90});
        let page = ben.ok(asked);
        for message in page["messages"].as_array().unwrap().iter().rev() {
            before -= 1;
            assert_eq!(message["offset"], before);
            same(message, before);
        }
        if page["hasMore"] == false {
            break;
        }
    }
    assert_eq!(before, 1);
    assert_eq!(offsets(&page(hub, "r", "before=301&limit=2")), [299, 300]);
    assert_eq!(offsets(&page(hub, "r", "limit=3")), [ALL - 2, ALL - 1, ALL]);

    // A member that comes back after a long time has missed nothing.
    let mut cid = other.ws("cid");
    let joined = cid.join_since("r", json!({"epoch": epoch, "offset": 5}));
    assert_eq!(joined["recovered"], true, "{joined}");
    let mut expected = 5;
    for message in joined["messages"].as_array().unwrap() {
        expected += 1;
        same(message, expected);
        assert_eq!(message["offset"], expected);
    }
    while expected < ALL {
        let message = cid.expect("the rest", |e| e["offset"].is_u64());
        expected += 1;
        assert_eq!(message["offset"], expected);
        same(&message, expected);
    }

    // Without the database: what Redis has, and no hole that nobody is told of.
    database.kill();
    hub.api().get("/api/rooms/r/messages?after=5").expect_error(503, "unavailable");
    assert_eq!(offsets(&page(hub, "r", "limit=3")), [ALL - 2, ALL - 1, ALL]);
    let mut dan = other.ws("dan");
    let joined = dan.join_since("r", json!({"epoch": epoch, "offset": 5}));
    assert_eq!((&joined["recovered"], &joined["offset"]), (&json!(false), &json!(ALL)));
    assert!(!joined["messages"].as_array().unwrap().is_empty());
    database.start_again();
    until("the archive is read again", SOME_TIME, || {
        let answer = hub.api().get("/api/rooms/r/messages?after=5&limit=1");
        (answer.status == 200).then(|| assert_eq!(offsets(&answer.json()), [6]))
    });
}

#[test]
fn a_hole_is_a_hole_and_not_an_outage() {
    let (redis, database) = (RedisServer::start(&[]), PostgresServer::start());
    let url = database.url();
    let publish = |hub: &Hub, count: usize| {
        let mut ann = hub.member("ann", "r");
        for n in 0..count {
            ann.ok(json!({"type": "message", "roomId": "r", "content": format!("m{n}")}));
        }
    };
    let small = ("HUBBUB__HISTORY__MAX_MESSAGES", "10");
    // Before there was an archive.
    let fleet = Fleet::start(1, &redis.url(), &[small]);
    publish(&fleet.hubs[0], 50);
    drop(fleet);
    let fleet = Fleet::start(1, &redis.url(), &settings(&url, &[small]));
    let hub = &fleet.hubs[0];
    publish(hub, 400);
    drained(&redis);
    let first = database.sql("SELECT min(room_offset), max(room_offset) FROM hubbub_messages");
    assert_eq!(first, "51|450");
    assert_eq!(offsets(&page(hub, "r", "after=0&limit=2")), [51, 52]);
    let lowest = page(hub, "r", "before=53&limit=10");
    assert_eq!((offsets(&lowest), &lowest["hasMore"]), (vec![51, 52], &json!(false)));
    assert_eq!(offsets(&page(hub, "r", "before=40&limit=10")), [0_u64; 0]);
    // Somebody has been at the table.
    database.sql("DELETE FROM hubbub_messages WHERE room_offset BETWEEN 100 AND 109");
    assert_eq!(offsets(&page(hub, "r", "after=97&limit=9")), [98, 99]);
    assert_eq!(offsets(&page(hub, "r", "after=99&limit=2")), [110, 111]);
    assert_eq!(offsets(&page(hub, "r", "before=112&limit=9")), [110, 111]);
    assert_eq!(offsets(&page(hub, "r", "before=110&limit=2")), [98, 99]);
    let epoch = page(hub, "r", "limit=1")["epoch"].clone();
    let mut ben = hub.ws("ben");
    let joined = ben.join_since("r", json!({"epoch": epoch, "offset": 99}));
    assert_eq!(joined["recovered"], false, "{joined}");
}

#[test]
fn a_room_that_nobody_used_for_long_has_its_history() {
    let (redis, database) = (RedisServer::start(&[]), PostgresServer::start());
    let url = database.url();
    let short = ("HUBBUB__HISTORY__TTL_MS", "1");
    let fleet = Fleet::start(1, &redis.url(), &settings(&url, &[short]));
    let hub = &fleet.hubs[0];
    let post = |n: usize| {
        let body = json!({"content": format!("m{n}")});
        hub.api().post("/api/rooms/r/messages", &body).expect(202)
    };
    for n in 1..=5 {
        assert_eq!(post(n)["offset"], n);
    }
    drained(&redis);
    // As after a day: the stream is gone, and where the room stands is not.
    assert!(redis.command(&["PTTL", "hubbub:{r}:state"]).starts_with(":-1"));
    assert!(!redis.command(&["PTTL", "hubbub:{r}:log"]).starts_with(":-1"));
    redis.command(&["DEL", "hubbub:{r}:log"]);
    assert_eq!(offsets(&page(hub, "r", "limit=3")), [3, 4, 5]);
    assert_eq!(offsets(&page(hub, "r", "before=4")), [1, 2, 3]);
    assert_eq!(post(6)["offset"], 6);
}

#[test]
fn direct_messages_are_archived_where_they_are_named_and_told_within_the_retention() {
    let (redis, database) = (RedisServer::start(&[]), PostgresServer::start());
    let url = database.url();
    let few = [("HUBBUB__HISTORY__MAX_MESSAGES", "10"), ("HUBBUB__ARCHIVE__ROOMS", "*,user:b*")];
    let fleet = Fleet::start(1, &redis.url(), &settings(&url, &few));
    let hub = &fleet.hubs[0];
    let mut ann = hub.ws("ann");
    for n in 0..300 {
        ann.ok(json!({"type": "direct", "userId": "ben", "content": format!("d{n}")}));
    }
    ann.ok(json!({"type": "direct", "userId": "cid", "content": "not kept"}));
    drained(&redis);
    let rooms = "SELECT room, kind, count(*) FROM hubbub_messages GROUP BY 1, 2";
    assert_eq!(database.sql(rooms), "user:ben|direct|300");
    let mut ben = hub.ws("ben");
    let first = ben.expect_kind("direct");
    assert_eq!(first["content"], "d290", "only what is within the retention is told");
    assert_eq!(offsets(&page(hub, "user:ben", "after=0&limit=2")), [1, 2]);
}
