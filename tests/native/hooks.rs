//! `webhooks.url`: a backend is told what happens.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::*;

const GRACE: (&str, &str) = ("HUBBUB__PRESENCE__OFFLINE_GRACE_MS", "100");
const QUICK: (&str, &str) = ("HUBBUB__WEBHOOKS__RETRY_MAX_MS", "50");

fn hub(url: &str, settings: &[(&str, &str)]) -> Hub {
    let mut all = vec![
        ("HUBBUB__WEBHOOKS__URL", url),
        ("HUBBUB__WEBHOOKS__SECRET", HOOK_SECRET),
        ("HUBBUB__NODE__ID", "n1"),
        GRACE,
        QUICK,
        UNLIMITED,
    ];
    all.extend(settings);
    Hub::start(&all)
}

/// `type` and who or what it is about.
fn words(events: &[Value]) -> Vec<String> {
    let text = |event: &Value, field: &str| event["data"][field].as_str().map(str::to_owned);
    let word = |event: &Value| {
        let about = [text(event, "roomId"), text(event, "userId")];
        let about: Vec<String> = about.into_iter().flatten().collect();
        format!("{} {}", event["type"].as_str().unwrap(), about.join("/"))
    };
    events.iter().map(word).collect()
}

fn assert_numbered(events: &[Value]) {
    let numbers: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    let queues: HashSet<&str> = events.iter().map(|e| e["queue"].as_str().unwrap()).collect();
    assert_eq!(queues.len(), 1);
}

#[test]
fn a_backend_is_told_in_order() {
    let receiver = Receiver::start();
    let hub = hub(&receiver.url(), &[("HUBBUB__WEBHOOKS__EVENTS", "*")]);
    let mut ann = hub.ws("ann");
    ann.join("r");
    let mut bob = hub.member("bob", "r");
    let message = json!({
        "type": "message", "roomId": "r", "content": "hi", "data": {"n": 1}, "key": "k1",
    });
    let ack = ann.ok(message.clone());
    assert_eq!(ann.ok(message)["messageId"], ack["messageId"]);
    bob.ok(json!({"type": "direct", "userId": "ann", "content": "psst"}));
    bob.ok(json!({"type": "leave", "roomId": "r"}));
    bob.close();
    receiver.expect(1, "session.closed", "userId", "bob");
    // A second session is no second member, and a grace is no end.
    let second = hub.member("ann", "r");
    ann.close();
    receiver.expect(1, "session.closed", "userId", "ann");
    drop(second);
    receiver.expect(1, "room.vacated", "roomId", "r");
    let events = receiver.events();
    assert_eq!(
        words(&events),
        [
            "session.opened ann",
            "room.occupied r",
            "member.joined r/ann",
            "session.opened bob",
            "member.joined r/bob",
            "message.published r/ann",
            "message.published bob",
            "member.left r/bob",
            "session.closed bob",
            "session.opened ann",
            "session.closed ann",
            "session.closed ann",
            "member.left r/ann",
            "room.vacated r",
        ]
    );
    let published = &events[5];
    assert_eq!(published["id"], ack["messageId"]);
    let data = &published["data"];
    assert_eq!(
        (&data["kind"], &data["content"], &data["data"], &data["offset"], &data["nodeId"]),
        (&json!("message"), &json!("hi"), &json!({"n": 1}), &ack["offset"], &json!("n1"))
    );
    assert_eq!(
        (&events[6]["data"]["kind"], &events[6]["data"]["toUserId"]),
        (&json!("direct"), &json!("ann"))
    );
    let (opened, closed) = (&events[3]["data"], &events[8]["data"]);
    assert_eq!(opened["sessionId"], closed["sessionId"]);
    assert_eq!((&opened["wire"], &opened["nodeId"]), (&json!("json"), &json!("n1")));
    assert!(closed["reason"].as_str().is_some_and(|r| !r.is_empty()), "{closed}");
    assert!(closed["durationMs"].as_u64().is_some_and(|ms| ms < 60_000), "{closed}");
    assert!(events[0]["timestamp"].as_str().is_some_and(|t| t.ends_with('Z')));
    // The repetition of the publish was told under the same id, and has a number of its own.
    assert_numbered(&receiver.all());
    assert_eq!(receiver.all().len(), events.len() + 1);
    hub.metric_until("hubbub_hooks_sent_total", &[], |n| n == events.len() as f64 + 1.0);
    let metrics = hub.metrics();
    assert_eq!(metrics.sum("hubbub_hooks_queued_total", &[]), events.len() as f64 + 1.0);
    assert_eq!(metrics.sum("hubbub_hooks_dropped_total", &[]), 0.0);
}

#[test]
fn a_backend_is_told_only_what_it_asks_for() {
    let (usual, rooms) = (Receiver::start(), Receiver::start());
    let only = [("HUBBUB__WEBHOOKS__EVENTS", "room.occupied,room.vacated")];
    let hubs = [hub(&usual.url(), &[]), hub(&rooms.url(), &only)];
    for hub in &hubs {
        let mut ann = hub.member("ann", "r");
        ann.say("r", "hello");
        ann.close();
    }
    usual.expect(1, "room.vacated", "roomId", "r");
    rooms.expect(1, "room.vacated", "roomId", "r");
    assert_eq!(
        words(&usual.all()),
        [
            "session.opened ann",
            "room.occupied r",
            "member.joined r/ann",
            "session.closed ann",
            "member.left r/ann",
            "room.vacated r",
        ]
    );
    assert_eq!(words(&rooms.all()), ["room.occupied r", "room.vacated r"]);
    assert_numbered(&rooms.all());
}

#[test]
fn what_is_not_accepted_comes_again() {
    let receiver = Receiver::start();
    receiver.answer(Mode::Refuse(500));
    let settings = [
        ("HUBBUB__WEBHOOKS__TIMEOUT_MS", "200"),
        ("HUBBUB__WEBHOOKS__EVENTS", "*"),
        ("HUBBUB__WEBHOOKS__BATCH_MAX", "10"),
    ];
    let hub = hub(&receiver.url(), &settings);
    let mut ann = hub.member("ann", "r");
    for n in 0..40 {
        ann.say("r", &format!("{n}"));
    }
    hub.metric_until("hubbub_hooks_requests_total", &["result=\"refused\""], |n| n >= 3.0);
    receiver.answer(Mode::Hang);
    hub.metric_until("hubbub_hooks_requests_total", &["result=\"failed\""], |n| n >= 2.0);
    assert!(receiver.all().is_empty());
    hub.metric_until("hubbub_hooks_queue_events", &[], |n| n == 43.0);
    receiver.answer(Mode::Take);
    receiver.expect(40, "message.published", "userId", "ann");
    let events = receiver.all();
    assert_numbered(&events);
    let contents: Vec<&str> =
        events[3..].iter().map(|event| event["data"]["content"].as_str().unwrap()).collect();
    assert_eq!(contents, (0..40).map(|n| n.to_string()).collect::<Vec<_>>());
    let batches = receiver.batches();
    assert!(batches.len() < 10 && batches.iter().all(|n| *n <= 10), "{batches:?}");
    hub.metric_until("hubbub_hooks_queue_events", &[], |n| n == 0.0);
    // The log says it once for each time that it fails, however often it is tried.
    let lines =
        |text: &str| hub.log.count(|line| line["msg"].as_str().is_some_and(|m| m.contains(text)));
    assert_eq!(lines("does not take events"), 1);
    assert_eq!(lines("answers again"), 1);
}

#[test]
fn a_request_that_is_too_large_is_made_smaller() {
    let receiver = Receiver::start();
    receiver.answer(Mode::Refuse(413));
    let hub = hub(&receiver.url(), &[("HUBBUB__WEBHOOKS__EVENTS", "*")]);
    let mut ann = hub.member("ann", "r");
    for n in 0..30 {
        ann.say("r", &format!("{n}"));
    }
    hub.metric_until("hubbub_hooks_requests_total", &["result=\"refused\""], |n| n >= 10.0);
    receiver.answer(Mode::Take);
    receiver.expect(30, "message.published", "userId", "ann");
    assert_numbered(&receiver.all());
    assert_eq!(receiver.batches()[0], 1);
    assert!(receiver.batches().iter().any(|n| *n > 1), "{:?}", receiver.batches());
}

#[test]
fn a_killed_hub_goes_on_where_it_was() {
    let port = free_port();
    let mut hub = hub(&Receiver::url_of(port), &[("HUBBUB__WEBHOOKS__EVENTS", "*")]);
    let mut ann = hub.member("ann", "r");
    let ack = ann.say("r", "hello");
    let mut bob = hub.member("bob", "s");
    bob.ok(json!({"type": "leave", "roomId": "s"}));
    bob.close();
    hub.metric_until("hubbub_hooks_queue_events", &[], |n| n == 10.0);
    hub.kill();
    hub.restart();
    let carol = hub.member("carol", "r");
    hub.metric_until("hubbub_hooks_queue_events", &[], |n| n == 16.0);
    hub.kill();
    hub.restart();
    let receiver = Receiver::start_on(port);
    receiver.expect(1, "session.closed", "userId", "carol");
    receiver.expect(2, "room.vacated", "roomId", "r");
    let all = receiver.all();
    assert_numbered(&all);
    let words = words(&all);
    assert_eq!(
        words,
        [
            "session.opened ann",
            "room.occupied r",
            "member.joined r/ann",
            "message.published r/ann",
            "session.opened bob",
            "room.occupied s",
            "member.joined s/bob",
            "member.left s/bob",
            "room.vacated s",
            "session.closed bob",
            // After the first kill.
            "session.closed ann",
            "member.left r/ann",
            "room.vacated r",
            "session.opened carol",
            "room.occupied r",
            "member.joined r/carol",
            // After the second one.
            "session.closed carol",
            "member.left r/carol",
            "room.vacated r",
        ]
    );
    assert_eq!(all[3]["id"], ack["messageId"]);
    assert_eq!(all[10]["data"]["reason"], "node_lost");
    assert_eq!(all[10]["data"]["sessionId"], all[0]["data"]["sessionId"]);
    drop((ann, carol));
}

#[test]
fn a_node_that_ends_tells_so() {
    let receiver = Receiver::start();
    let mut hub = hub(&receiver.url(), &[]);
    let _ann = hub.member("ann", "r");
    receiver.expect(1, "member.joined", "userId", "ann");
    hub.signal("TERM");
    assert!(hub.wait_exit(SOON).success());
    let closed = receiver.expect(1, "session.closed", "userId", "ann");
    assert_eq!(closed[0]["data"]["reason"], "draining");
    receiver.expect(1, "member.left", "userId", "ann");
    receiver.expect(1, "room.vacated", "roomId", "r");
    assert_numbered(&receiver.all());
}

/// The median time from a publish to its acknowledgement.
fn median_ack(hub: &Hub, count: usize) -> Duration {
    let mut ann = hub.member("ann", "r");
    let mut times: Vec<Duration> = (0..count)
        .map(|n| {
            let began = Instant::now();
            ann.say("r", &format!("{n}"));
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn a_hanging_backend_slows_nobody() {
    let receiver = Receiver::start();
    receiver.answer(Mode::Hang);
    let memory = ("HUBBUB__HISTORY__STORE", "memory");
    let settings = [
        memory,
        ("HUBBUB__WEBHOOKS__EVENTS", "*"),
        ("HUBBUB__WEBHOOKS__TIMEOUT_MS", "60000"),
        ("HUBBUB__WEBHOOKS__QUEUE_MAX", "100"),
    ];
    let told = hub(&receiver.url(), &settings);
    let silent = Hub::start(&[memory, UNLIMITED]);
    // In turns, so that what else the machine does concerns both.
    let rounds: Vec<_> =
        (0..5).map(|_| (median_ack(&silent, 400), median_ack(&told, 400))).collect();
    let best = |times: Vec<Duration>| times.into_iter().min().unwrap();
    let without = best(rounds.iter().map(|(silent, _)| *silent).collect());
    let with = best(rounds.iter().map(|(_, told)| *told).collect());
    assert!(with < without * 2 + Duration::from_millis(1), "{with:?}, {without:?} without");
    // The queue keeps its bound, and says so once.
    assert_eq!(receiver.requests(), 1);
    told.metric_until("hubbub_hooks_queue_events", &[], |n| n == 100.0);
    told.metric_until("hubbub_hooks_dropped_total", &["reason=\"full\""], |n| n > 1900.0);
    let full = |line: &Value| line["msg"].as_str().is_some_and(|m| m.contains("queue is full"));
    assert_eq!(told.log.count(full), 1);
    assert!(silent.metrics().0.lines().all(|line| !line.contains("hubbub_hooks_")));
}
