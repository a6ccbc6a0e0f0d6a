//! Rooms over several nodes: joining, leaving, volatile events, idempotency.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{load::Fleet, support::*};

#[test]
fn members_on_two_nodes_are_in_one_room() {
    let redis = RedisServer::start(&[]);
    let fleet = Fleet::start(2, &redis.url(), &[]);
    let (mut ann, mut ben) = (fleet.hubs[0].member("ann", "r"), fleet.hubs[1].member("ben", "r"));
    let ack = ann.say("r", "hello");
    let heard = ben.hears("hello");
    assert_eq!((&heard["id"], &heard["offset"]), (&ack["messageId"], &ack["offset"]));
    assert_eq!(ann.hears("hello")["id"], ack["messageId"], "the sender's own copy");

    // Volatile events come once, to the sender too.
    ann.ok(json!({"type": "event", "roomId": "r", "name": "n", "data": 7, "volatile": true}));
    for session in [&mut ann, &mut ben] {
        let event = session.expect_kind("event");
        assert_eq!((&event["name"], &event["data"]), (&json!("n"), &json!(7)));
    }
    ann.send(&json!({"type": "typing", "roomId": "r", "isTyping": true}));
    assert_eq!(ben.expect_kind("typing")["userId"], "ann");
    ben.say("r", "end");
    ann.hears("end");
    ben.hears("end");
    ann.none_kept("second copy", kind("event"));
    ben.none_kept("second copy", kind("event"));

    // A key counts on every node.
    let keyed = json!({"type": "message", "roomId": "r", "content": "once", "key": "k"});
    let first = ann.ok(keyed.clone());
    let mut elsewhere = fleet.hubs[1].member("ann", "r");
    let second = elsewhere.ok(keyed);
    assert_eq!((&first["messageId"], &first["offset"]), (&second["messageId"], &second["offset"]));
    ben.hears("once");
    ben.say("r", "fence");
    ben.hears("fence");
    ben.none_kept("second copy", |e| e["content"] == "once");

    // A direct message reaches every session of the user.
    ben.ok(json!({"type": "direct", "userId": "ann", "content": "psst"}));
    for session in [&mut ann, &mut elsewhere] {
        assert_eq!(session.expect_kind("direct")["content"], "psst");
    }

    // Everyone is everyone on every node.
    fleet.hubs[0]
        .api()
        .post("/api/broadcast", &json!({"event": "all", "content": "x"}))
        .expect(202);
    for session in [&mut ann, &mut ben] {
        session.expect("the broadcast", |e| e["type"] == "event" && e["name"] == "all");
    }
}

#[test]
fn a_room_is_heard_only_where_it_has_members() {
    let redis = RedisServer::start(&[]);
    let fleet = Fleet::start(2, &redis.url(), &[]);
    let channels = || redis.command(&["PUBSUB", "NUMSUB", "hubbub:{r}:news"]);
    assert!(channels().ends_with(":0\r\n"), "{}", channels());
    let mut ann = fleet.hubs[0].member("ann", "r");
    assert!(channels().ends_with(":1\r\n"), "{}", channels());
    ann.ok(json!({"type": "leave", "roomId": "r"}));
    let mut again = fleet.hubs[0].member("ben", "r");
    assert!(channels().ends_with(":1\r\n"), "it is left with a delay: {}", channels());
    again.say("r", "x");
    again.hears("x");
}

#[test]
fn who_joins_while_others_publish_misses_nothing() {
    let redis = RedisServer::start(&[]);
    let fleet = Fleet::start(2, &redis.url(), &[]);
    let mut ann = fleet.hubs[0].member("ann", "r0");
    for n in 0..40 {
        let room = format!("r{n}");
        if n > 0 {
            ann.join(&room);
        }
        // Under way while the other node begins to hear the room.
        for m in 0..5 {
            ann.ask(json!({"type": "message", "roomId": room, "content": format!("{n}-{m}")}));
        }
        let mut ben = fleet.hubs[1].ws("ben");
        let joined = ben.join(&room);
        ann.say(&room, &format!("{n}-last"));
        let mut offset = joined["offset"].as_u64().unwrap();
        while offset < 6 {
            let message = ben.expect("a message of the room", |e| {
                e["type"] == "message" && e["roomId"] == room.as_str()
            });
            offset += 1;
            assert_eq!(message["offset"], offset, "nothing is skipped: {message}");
        }
    }
}

/// CPU time of a process, in hundredths of a second.
fn cpu(hub: &Hub) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", hub.pid())).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1;
    // utime and stime: proc(5).
    fields.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum()
}

#[test]
fn a_node_without_members_does_nothing_for_a_busy_room() {
    let redis = RedisServer::start(&[]);
    let fleet = Fleet::start(3, &redis.url(), &[]);
    let (mut ann, mut ben) = (fleet.hubs[0].member("ann", "r"), fleet.hubs[1].member("ben", "r"));
    // Somebody is connected there, in another room.
    let _eve = fleet.hubs[2].member("eve", "quiet");
    let idle = |hub: &Hub| hub.metrics().sum("hubbub_cluster_received_total", &[]);
    let before = (idle(&fleet.hubs[2]), cpu(&fleet.hubs[1]), cpu(&fleet.hubs[2]));
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(2) {
        for _ in 0..20 {
            sent += 1;
            ann.ask(json!({"type": "message", "roomId": "r", "content": format!("{sent}")}));
        }
        ann.hears(&sent.to_string());
    }
    ben.hears(&sent.to_string());
    let busy = cpu(&fleet.hubs[1]) - before.1;
    let quiet = cpu(&fleet.hubs[2]) - before.2;
    println!("{sent} messages: {busy} ticks with a member, {quiet} without");
    assert_eq!(idle(&fleet.hubs[2]), before.0, "nothing of the room comes there");
    assert!(quiet <= 10, "{quiet} hundredths of a second in {:?}", began.elapsed());
}

#[test]
fn a_record_that_cannot_be_read_does_not_stop_its_room() {
    let redis = RedisServer::start(&[]);
    let fleet = Fleet::start(2, &redis.url(), &[]);
    let (mut ann, mut ben) = (fleet.hubs[0].member("ann", "r"), fleet.hubs[1].member("ben", "r"));
    assert_eq!(ann.say("r", "one")["offset"], 1);
    // What a damaged file or a later release may leave: nobody can read it.
    let time = redis.command(&["TIME"]);
    let now = format!("{}000", time.lines().nth(2).unwrap());
    redis.command(&["XADD", "hubbub:{r}:log", "2-0", "t", &now, "r", "\u{7f}no record"]);
    redis.command(&["HSET", "hubbub:{r}:state", "head", "2", "last", "an id that nobody knows"]);
    assert_eq!(ann.say("r", "three")["offset"], 3);
    for session in [&mut ann, &mut ben] {
        let event = session.expect_kind("event");
        assert_eq!((&event["name"], &event["offset"]), (&json!("hubbub.unreadable"), &json!(2)));
        assert_eq!((event.get("userId"), event.get("data")), (None, None));
        assert_eq!(session.hears("three")["offset"], 3);
    }
    // It catches up over it, and each node has told its operator once.
    let mut cy = fleet.hubs[1].ws("cy");
    let (epoch, since) = (ann.say("r", "four")["epoch"].clone(), 1);
    let since = json!({"epoch": epoch, "offset": since});
    let joined = cy.ok(json!({"type": "join", "roomId": "r", "since": since}));
    assert_eq!(joined["recovered"], true, "{joined}");
    let messages = cy.expect_kind("joined")["messages"].clone();
    let offsets: Vec<_> = messages.as_array().unwrap().iter().map(|m| &m["offset"]).collect();
    assert_eq!(offsets, [2, 3, 4], "{messages}");
    for hub in &fleet.hubs {
        hub.metric_until("hubbub_store_unreadable_total", &[], |n| n == 1.0);
        let line = "a stored record cannot be read and is skipped";
        assert_eq!(hub.log.tail(1000).matches(line).count(), 1);
    }
}
