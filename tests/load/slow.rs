//! Readers that do not read: gone in time, bounded in memory, and no burden to
//! the others.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    alone,
    crowd::{Crowd, MARK, narrow_member, percentile},
    support::*,
};

const HEALTHY: usize = 900;
const STALLED: usize = 100;
/// Bytes of one message's content.
const SIZE: usize = 8 * 1024;
const PAUSE: Duration = Duration::from_millis(100);
const MESSAGES: u64 = 50;
/// `session.outbound_max_bytes` of this test.
const QUEUE: u64 = 128 * 1024;

/// One run: p99 of the healthy with everyone reading and with a hundred stalled,
/// in microseconds.
fn run() -> (u64, u64) {
    let hub = Hub::start(&[
        UNLIMITED,
        ("HUBBUB__LIMITS__MAX_CONNECTIONS_PER_IP", "0"),
        ("HUBBUB__SESSION__OUTBOUND_MAX_BYTES", &QUEUE.to_string()),
        ("HUBBUB__SESSION__STALL_TIMEOUT_MS", "2000"),
        ("HUBBUB__PRESENCE__ANNOUNCE_MAX_MEMBERS", "50"),
        // The crowd answers no pings.
        ("HUBBUB__SESSION__HEARTBEAT_MS", "120000"),
    ]);
    let mut sender = hub.member("sender", "hall");
    let healthy = (0..HEALTHY).map(|i| hub.member(&format!("h{i}"), "hall")).collect();
    let stalled = (0..STALLED).map(|i| narrow_member(&hub, &format!("s{i}"))).collect();
    let crowd = Crowd::read(healthy, stalled);
    let filler = "x".repeat(SIZE);
    let mut flood = || {
        let began = crowd.clock.now();
        for _ in 0..MESSAGES {
            let next = Instant::now() + PAUSE;
            let content = format!("{MARK}{} {filler}", crowd.clock.now());
            sender.send(&json!({"type": "message", "roomId": "hall", "content": content}));
            // The sender is a healthy member as well.
            while sender.find(next.saturating_duration_since(Instant::now()), |_| false).is_some() {
            }
            sender.take(|_| true);
        }
        began..crowd.clock.now()
    };
    let warm = flood();
    let before = hub.memory("VmRSS");
    let reading = flood();
    crowd.stall();
    let stalling = flood();
    let peak = hub.memory("VmHWM");
    let closed = || {
        let metrics = hub.metrics();
        let by =
            |reason: &str| metrics.sum("hubbub_closed_total", &[&format!("reason=\"{reason}\"")]);
        (by("too_slow"), by("stalled"))
    };
    until("all stalled readers are closed and counted", SOON, || {
        let (slow, stalled) = closed();
        (slow + stalled == STALLED as f64).then_some(())
    });
    hub.metric_until("hubbub_connections", &[], |n| n == (HEALTHY + 1) as f64);
    let bound = before + STALLED as u64 * (QUEUE + 64 * 1024) + 16 * 1024 * 1024;
    assert!(peak < bound, "the hub took {peak} bytes, the bounds allow {bound}");
    let samples = crowd.finish();
    let p99 = |phase: &std::ops::Range<u64>| {
        let mut taken: Vec<u64> =
            samples.iter().filter(|(sent, _)| phase.contains(sent)).map(|s| s.1).collect();
        // Every healthy member got every message.
        assert_eq!(taken.len(), HEALTHY * MESSAGES as usize);
        percentile(&mut taken, 0.99)
    };
    let _ = p99(&warm);
    (p99(&reading), p99(&stalling))
}

#[test]
fn a_hundred_stalled_readers_cost_the_others_nothing() {
    let _alone = alone();
    let files = soft_file_limit();
    if files < 2500 {
        eprintln!("skipped: only {files} files may be open; the test needs 2,500");
        return;
    }
    // The machine is not ours alone: the best of three tells what the hub does.
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (reading, stalling) = run();
        eprintln!(
            "p99 of {HEALTHY} members: {reading} us all reading, {stalling} us with {STALLED} stalled"
        );
        if stalling as f64 <= reading as f64 * 1.25 {
            return;
        }
        seen.push((reading, stalling));
    }
    panic!("stalled readers slow the others down: {seen:?}");
}

/// A flood into a room with one member that does not read.
fn flood_past(hub: &Hub, megabytes: usize) {
    let mut sender = hub.member("sender", "hall");
    let content = "y".repeat(16 * 1024);
    for _ in 0..megabytes * 64 {
        sender.say("hall", &content);
        sender.take(|_| true);
    }
}

#[test]
fn a_full_queue_disconnects_with_its_code() {
    let _alone = alone();
    let hub = Hub::start(&[UNLIMITED, ("HUBBUB__SESSION__OUTBOUND_MAX_BYTES", "262144")]);
    let mut slow = narrow_member(&hub, "slow");
    flood_past(&hub, 2);
    // Once it reads again it learns why. (Had it not, the stall timer would end it.)
    slow.expect_close(4413);
    hub.metric_until("hubbub_closed_total", &["too_slow"], |n| n == 1.0);
}

#[test]
fn a_stalled_reader_is_cut_by_the_timer() {
    let _alone = alone();
    let hub = Hub::start(&[
        UNLIMITED,
        ("HUBBUB__SESSION__STALL_TIMEOUT_MS", "800"),
        ("HUBBUB__PRESENCE__OFFLINE_GRACE_MS", "200"),
    ]);
    let mut bob = hub.member("bob", "hall");
    let slow = narrow_member(&hub, "slow");
    let content = "y".repeat(16 * 1024);
    // More than the sockets hold and less than the queue may.
    for _ in 0..40 {
        bob.say("hall", &content);
    }
    let since = Instant::now();
    hub.metric_until("hubbub_closed_total", &["stalled"], |n| n == 1.0);
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
    assert_eq!(bob.expect_kind("user_left")["userId"], "slow");
    hub.metric_until("hubbub_connections", &[], |n| n == 1.0);
    drop(slow);
}

#[test]
fn a_slow_reader_that_reads_on_is_not_stalled() {
    let _alone = alone();
    let hub = Hub::start(&[UNLIMITED, ("HUBBUB__SESSION__STALL_TIMEOUT_MS", "800")]);
    let mut sender = hub.member("sender", "hall");
    let mut slow = narrow_member(&hub, "slow");
    let content = "y".repeat(16 * 1024);
    for _ in 0..40 {
        sender.say("hall", &content);
    }
    // A message now and then, for longer than the timer.
    for offset in 1..=40 {
        let message = slow.expect_kind("message");
        assert_eq!(message["offset"], offset);
        thread::sleep(Duration::from_millis(50));
    }
    slow.fence();
    let metrics = hub.metrics();
    assert_eq!(metrics.sum("hubbub_closed_total", &["stalled"]), 0.0);
}

#[test]
fn old_messages_may_be_dropped_instead() {
    let _alone = alone();
    for policy in ["drop_oldest", "conflate"] {
        let hub = Hub::start(&[
            UNLIMITED,
            ("HUBBUB__SESSION__OUTBOUND_MAX_BYTES", "131072"),
            ("HUBBUB__SESSION__WHEN_FULL", policy),
        ]);
        let mut sender = hub.member("sender", "hall");
        let mut slow = narrow_member(&hub, "slow");
        let content = "z".repeat(8 * 1024);
        for _ in 0..100 {
            sender.say("hall", &content);
            sender.take(|_| true);
        }
        assert!(hub.metrics().sum("hubbub_dropped_total", &[]) > 0.0, "{policy}");
        sender.say("hall", "last");
        // The newest comes, in order, and the offsets show what is missing.
        assert_eq!(slow.hears("last")["offset"], 101, "{policy}");
        let got: Vec<u64> =
            slow.take(kind("message")).iter().map(|m| m["offset"].as_u64().unwrap()).collect();
        assert!(got.len() < 100, "{policy}: nothing was dropped");
        assert!(got.is_sorted(), "{policy}: {got:?}");
        slow.fence();
        assert_eq!(hub.metrics().sum("hubbub_closed_total", &[]), 0.0, "{policy}");
    }
}

#[test]
fn volatile_events_are_dropped_and_close_nobody() {
    let _alone = alone();
    let hub = Hub::start(&[UNLIMITED, ("HUBBUB__SESSION__OUTBOUND_MAX_BYTES", "131072")]);
    let mut sender = hub.member("sender", "hall");
    let mut slow = narrow_member(&hub, "slow");
    let event = json!({"type": "event", "roomId": "hall", "name": "v", "volatile": true,
        "data": "z".repeat(8 * 1024)});
    for _ in 0..100 {
        sender.ok(event.clone());
        sender.take(|_| true);
    }
    assert!(hub.metrics().sum("hubbub_dropped_total", &[]) > 0.0);
    // What is stored still has a place.
    sender.say("hall", "mark");
    slow.hears("mark");
    assert!(slow.take(|e| e["name"] == "v").len() < 100, "nothing was dropped");
    slow.fence();
    assert_eq!(hub.metrics().sum("hubbub_closed_total", &[]), 0.0);
}

#[test]
fn typing_that_waits_is_replaced_by_newer_typing() {
    let _alone = alone();
    let hub = Hub::start(&[UNLIMITED]);
    let mut sender = hub.member("sender", "hall");
    let mut slow = narrow_member(&hub, "slow");
    let content = "y".repeat(16 * 1024);
    for _ in 0..20 {
        sender.say("hall", &content);
        sender.take(|_| true);
    }
    for n in 0..200 {
        sender.ok(json!({"type": "typing", "roomId": "hall", "isTyping": n % 2 == 0}));
    }
    sender.say("hall", "mark");
    slow.hears("mark");
    let typing = slow.take(kind("typing"));
    assert!(typing.len() < 20, "{} of 200 came", typing.len());
    assert_eq!(
        typing.last().map(|t| t["isTyping"].clone()),
        Some(json!(false)),
        "the newest stays"
    );
}
