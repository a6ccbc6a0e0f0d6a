//! Redis that is away, full, read-only, or has lost what it knew.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    load::{Fleet, ready},
    support::*,
};

const IMPATIENT: (&str, &str) = ("HUBBUB__CLUSTER__QUEUE_TIMEOUT_MS", "1500");

#[test]
fn publishes_wait_and_are_refused_and_nothing_is_told_in_silence() {
    let mut redis = RedisServer::start(&["--appendonly", "yes"]);
    let fleet = Fleet::start(2, &redis.url(), &[IMPATIENT]);
    let hub = &fleet.hubs[0];
    let (mut ann, mut here) = (hub.member("ann", "r"), hub.member("here", "r"));
    let mut there = fleet.hubs[1].member("there", "r");
    // Who is still being let in when Redis goes is sent away to come again.
    for user in ["ann", "here", "there"] {
        ann.ok(json!({"type": "direct", "userId": user, "content": "settled"}));
    }
    for member in [&mut ann, &mut here, &mut there] {
        member.expect_kind("direct");
    }
    redis.kill();
    until("the node is not ready", SOON, || {
        let answer = hub.http().get("/readyz");
        (answer.status == 503)
            .then(|| assert!(answer.text().contains("Redis"), "{}", answer.text()))
    });
    assert_eq!(hub.http().get("/healthz").status, 200);
    assert_eq!(hub.metrics().sum("hubbub_redis_up", &[]), 0.0);

    let told = here.expect("the sign", |e| e["type"] == "error" && e["id"].is_null());
    assert_eq!(told["code"], "unavailable");
    // A publish waits, then is refused.
    let asked = Instant::now();
    ann.refused(json!({"type": "message", "roomId": "r", "content": "late"}), "unavailable");
    assert!(asked.elapsed() >= Duration::from_millis(1400), "after {:?}", asked.elapsed());
    // A volatile event reaches who is here, and the sender is told that it is all.
    let volatile =
        |name: &str| json!({"type": "event", "roomId": "r", "name": name, "volatile": true});
    ann.refused(volatile("local"), "unavailable");
    assert_eq!(here.expect_kind("event")["name"], "local");
    hub.api().post("/api/broadcast", &json!({"event": "e"})).expect_error(503, "unavailable");
    hub.api()
        .post("/api/users/here/notifications", &json!({"title": "t", "body": "b"}))
        .expect_error(503, "unavailable");
    // A room that is not heard cannot be joined.
    ann.refused(json!({"type": "join", "roomId": "other"}), "unavailable");

    // One that waits is stored when Redis is back in time. On a machine that starts it
    // slowly it is not: another try then.
    let stored = (0..5).any(|_| {
        let id = ann.ask(json!({"type": "message", "roomId": "r", "content": "in time"}));
        redis.start_again();
        let stored = ann.answer_to(&id).is_ok();
        if !stored {
            redis.kill();
        }
        stored
    });
    assert!(stored, "what waited was refused although Redis came back");
    for member in [&mut ann, &mut here, &mut there] {
        assert_eq!(member.hears("in time")["offset"], 1);
        member.none_kept("refused message", |e| e["content"] == "late");
    }
    ready(hub);
    ann.ok(volatile("everywhere"));
    assert_eq!(there.expect_kind("event")["name"], "everywhere");
    ann.join("other");
}

#[test]
fn a_redis_that_takes_no_writes_is_named() {
    let redis = RedisServer::start(&[]);
    let fleet = Fleet::start(1, &redis.url(), &[IMPATIENT]);
    let hub = &fleet.hubs[0];
    let mut ann = hub.member("ann", "r");
    let message = || json!({"type": "message", "roomId": "r", "content": "x".repeat(1000)});
    ann.ok(message());

    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let asked = Instant::now();
    ann.refused(message(), "unavailable");
    assert!(asked.elapsed() < Duration::from_millis(1000), "it is refused at once");
    hub.metric_until("hubbub_redis_errors_total", &["trouble=\"full\""], |n| n > 0.0);
    until("a log line", SOON, || hub.log.find(|l| l["trouble"] == "full"));
    assert_eq!(hub.http().get("/readyz").status, 200, "reading goes on");
    ann.ok(json!({"type": "history", "roomId": "r"}));
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    ann.ok(message());

    redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    ann.refused(message(), "unavailable");
    hub.metric_until("hubbub_redis_errors_total", &["trouble=\"read_only\""], |n| n > 0.0);
    until("it is not ready", SOON, || (hub.http().get("/readyz").status == 503).then_some(()));
    redis.command(&["REPLICAOF", "NO", "ONE"]);
    ready(hub);
    assert_eq!(ann.ok(message())["offset"], 3);
}

#[test]
fn a_redis_that_lost_everything_is_told() {
    let mut redis = RedisServer::start(&[]);
    let fleet = Fleet::start(2, &redis.url(), &[]);
    let (mut ann, mut ben) = (fleet.hubs[0].member("ann", "r"), fleet.hubs[1].member("ben", "r"));
    for n in 0..5 {
        ann.say("r", &format!("old {n}"));
    }
    ben.hears("old 4");
    let old = ann.hears("old 4");
    redis.restart();
    fleet.hubs.iter().for_each(ready);
    ann.say("r", "new");
    for member in [&mut ann, &mut ben] {
        let joined = member.expect("the sign", |e| e["type"] == "joined");
        assert_eq!(joined["recovered"], false);
        assert_ne!(joined["epoch"], old["epoch"]);
        let told = joined["messages"].as_array().unwrap().iter().any(|m| m["content"] == "new");
        if !told {
            assert_eq!(member.hears("new")["offset"], 1);
        }
    }
    ann.say("r", "newer");
    for member in [&mut ann, &mut ben] {
        assert_eq!(member.hears("newer")["offset"], 2);
    }
    let since = json!({"epoch": old["epoch"], "offset": old["offset"]});
    let mut late = fleet.hubs[1].ws("late");
    assert_eq!(late.join_since("r", since)["recovered"], false);
}

#[test]
fn a_redis_that_lost_its_last_second_gets_another_epoch() {
    let mut redis = RedisServer::start(&[]);
    let fleet = Fleet::start(2, &redis.url(), &[]);
    let (mut ann, mut ben) = (fleet.hubs[0].member("ann", "r"), fleet.hubs[1].member("ben", "r"));
    for n in 1..=3 {
        ann.say("r", &format!("kept {n}"));
    }
    redis.command(&["SAVE"]);
    for n in 4..=6 {
        ann.say("r", &format!("lost {n}"));
    }
    let lost = ben.hears("lost 6");
    ann.hears("lost 6");
    redis.restart();
    fleet.hubs.iter().for_each(ready);
    for member in [&mut ann, &mut ben] {
        let joined = member.expect("the sign", |e| e["type"] == "joined");
        assert_eq!((&joined["recovered"], &joined["offset"]), (&json!(false), &json!(3)));
        assert_ne!(joined["epoch"], lost["epoch"], "offsets 4 to 6 will be others");
    }
    assert_eq!(ann.say("r", "next")["offset"], 4);
    assert_eq!(ben.hears("next")["offset"], 4);
    let since = json!({"epoch": lost["epoch"], "offset": lost["offset"]});
    assert_eq!(fleet.hubs[0].ws("late").join_since("r", since)["recovered"], false);
}

#[test]
fn what_was_trimmed_while_nobody_heard_is_told() {
    let redis = RedisServer::start(&[]);
    let proxy = Proxy::to(redis.port);
    let few = ("HUBBUB__HISTORY__MAX_MESSAGES", "10");
    let fleet = Fleet::start(1, &redis.url(), &[few]);
    let other = format!("redis://127.0.0.1:{}", proxy.port);
    let cut = Fleet::start(1, &other, &[few, ("HUBBUB__NODE__ID", "cut-off")]);
    let (mut ann, mut ben) = (fleet.hubs[0].member("ann", "r"), cut.hubs[0].member("ben", "r"));
    ann.say("r", "before");
    ben.hears("before");
    proxy.silence(true);
    // Otherwise all of it would wait in the network and still come.
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    until("the other node is back", SOON, || {
        redis.command(&["PUBSUB", "NUMSUB", "hubbub:{r}:news"]).ends_with(":1\r\n").then_some(())
    });
    ann.say("r", "back");
    ann.hears("back");
    // More than is kept, even where Redis keeps whole blocks.
    for n in 0..300 {
        ann.ask(json!({"type": "message", "roomId": "r", "content": format!("m{n}")}));
    }
    ann.hears("m299");
    until("the node notices", SOON, || {
        (cut.hubs[0].http().get("/readyz").status == 503).then_some(())
    });
    proxy.silence(false);
    let joined = ben.expect("the sign", |e| e["type"] == "joined");
    assert_eq!((&joined["recovered"], &joined["offset"]), (&json!(false), &json!(302)));
    let messages = joined["messages"].as_array().unwrap();
    assert_eq!(messages.last().unwrap()["content"], "m299");
    ann.say("r", "after");
    assert_eq!(ben.hears("after")["offset"], 303);
    cut.hubs[0].metric_until("hubbub_cluster_resets_total", &["reason=\"trimmed\""], |n| n == 1.0);
}
