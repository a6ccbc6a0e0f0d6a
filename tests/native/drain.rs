//! SIGTERM: nobody new, everybody is asked to leave, what is under way is
//! finished.

use std::{
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::*;

#[test]
fn sessions_are_asked_to_leave_and_told_when_to_return() {
    // A single worker accepts by itself, several are handed connections.
    for workers in ["1", "2"] {
        sessions_are_asked_to_leave(workers);
    }
}

fn sessions_are_asked_to_leave(workers: &str) {
    let mut hub = Hub::start(&[("HUBBUB__SERVER__WORKERS", workers)]);
    let mut all: Vec<Ws> = (0..30).map(|i| hub.member(&format!("u{i}"), "r")).collect();
    hub.signal("TERM");
    let mut waits = Vec::new();
    for ws in &mut all {
        let closing = ws.expect_kind("closing");
        assert_eq!(closing["reason"], "draining", "{closing}");
        waits.push(closing["retryAfterMs"].as_u64().unwrap());
        ws.expect_close(1012);
    }
    let first = waits[0];
    assert!(waits.iter().any(|w| *w != first), "all come back together: {waits:?}");
    assert!(waits.iter().all(|w| *w <= 60_000), "{waits:?}");
    assert_eq!(hub.wait_exit(SOON).code(), Some(0));
}

#[test]
fn a_draining_node_is_alive_and_not_ready() {
    // Few at a time, so that there is something to look at.
    let mut hub = Hub::start(&[
        ("HUBBUB__SERVER__DRAIN_RATE", "4"),
        ("HUBBUB__SERVER__DRAIN_TIMEOUT_MS", "20000"),
    ]);
    let all: Vec<Ws> = (0..12).map(|i| hub.member(&format!("u{i}"), "r")).collect();
    assert_eq!(hub.http().get("/readyz").status, 200);
    hub.signal("TERM");
    let probe = |path: &str| hub.http().try_send("GET", path, None).ok().map(|a| a.status);
    until("not ready", SOON, || (probe("/readyz") == Some(503)).then_some(()));
    assert_eq!(probe("/healthz"), Some(200));
    // No new connection: refused at the door or with a code.
    if TcpStream::connect(hub.address).is_ok() {
        let late = Handshake::new().bearer(&token("late", json!({})));
        hub.refusal(late).expect_error(503, "unavailable");
    }
    let started = Instant::now();
    let closing: Vec<_> = all
        .into_iter()
        .map(|mut ws| {
            thread::spawn(move || {
                ws.expect_close(1012);
                Instant::now()
            })
        })
        .collect();
    let ends: Vec<Instant> = closing.into_iter().map(|t| t.join().unwrap()).collect();
    let spread = *ends.iter().max().unwrap() - started;
    assert!(spread > Duration::from_millis(800), "12 sessions at 4 a second took {spread:?}");
    assert_eq!(hub.wait_exit(SOON).code(), Some(0));
}

#[test]
fn never_more_leave_in_a_second_than_the_rate_says() {
    const RATE: usize = 30;
    let mut hub = Hub::start(&[("HUBBUB__SERVER__DRAIN_RATE", "30")]);
    let all: Vec<Ws> = (0..90).map(|i| hub.member(&format!("u{i}"), "r")).collect();
    let watchers: Vec<_> = all
        .into_iter()
        .map(|mut ws| {
            thread::spawn(move || {
                ws.expect_kind("closing");
                let told = Instant::now();
                ws.expect_close(1012);
                told
            })
        })
        .collect();
    hub.signal("TERM");
    let mut told: Vec<Instant> = watchers.into_iter().map(|t| t.join().unwrap()).collect();
    told.sort_unstable();
    for begin in &told {
        let end = *begin + Duration::from_millis(950);
        let within = told.iter().filter(|t| *begin <= **t && **t < end).count();
        assert!(within <= RATE, "{within} were asked in a second");
    }
    let spread = told[89] - told[0];
    assert!(spread < Duration::from_secs(6), "90 at 30 a second took {spread:?}");
    assert_eq!(hub.wait_exit(SOON).code(), Some(0));
}

#[test]
fn what_was_acknowledged_while_draining_is_kept() {
    let mut hub = Hub::start(&[UNLIMITED, ("HUBBUB__SERVER__DRAIN_RATE", "3")]);
    let senders: Vec<_> = (0..4)
        .map(|s| {
            let mut ws = hub.member(&format!("s{s}"), "r");
            thread::spawn(move || {
                let mut acked: Vec<(u64, Value)> = Vec::new();
                let mut open: Vec<String> = Vec::new();
                for n in 0.. {
                    let content = format!("{s}-{n}");
                    open.push(
                        ws.ask(json!({"type": "message", "roomId": "r", "content": content})),
                    );
                    if open.len() < 8 {
                        continue;
                    }
                    let id = open.remove(0);
                    let ours = |e: &Value| e["id"] == *id;
                    let Some(answer) = ws.find(SOON, ours) else { break };
                    match answer["type"].as_str() {
                        Some("ack") => acked.push((
                            answer["offset"].as_u64().unwrap(),
                            answer["messageId"].clone(),
                        )),
                        _ => assert_eq!(answer["code"], "unavailable", "{answer}"),
                    }
                }
                ws.expect_close(1012);
                // Answers that came right before the close count as well.
                for answer in ws.take(|e| e["type"] == "ack") {
                    if let Some(offset) = answer["offset"].as_u64() {
                        acked.push((offset, answer["messageId"].clone()));
                    }
                }
                acked
            })
        })
        .collect();
    hub.metric_until("hubbub_publishes_total", &[], |n| n > 50.0);
    hub.signal("TERM");
    let acked: Vec<(u64, Value)> = senders.into_iter().flat_map(|t| t.join().unwrap()).collect();
    assert_eq!(hub.wait_exit(SOON).code(), Some(0));
    assert!(!hub.log.text().contains("panicked"), "{}", hub.log.tail(20));
    hub.restart();
    let mut ws = hub.member("reader", "r");
    let oldest = ws.ok(json!({"type": "history", "roomId": "r", "after": 0, "limit": 1}));
    let oldest = oldest["messages"][0]["offset"].as_u64().unwrap();
    for (offset, id) in acked.iter().filter(|(offset, _)| *offset >= oldest).take(300) {
        let request = json!({"type": "history", "roomId": "r", "after": offset - 1, "limit": 1});
        let page = ws.ok(request);
        // Only what the bound of 1,000 messages has taken may be gone.
        let found = &page["messages"][0];
        assert_eq!((&found["offset"], &found["id"]), (&json!(offset), id), "{page}");
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut hub = Hub::start(&[
        ("HUBBUB__SERVER__DRAIN_RATE", "1"),
        ("HUBBUB__SERVER__DRAIN_TIMEOUT_MS", "60000"),
    ]);
    let _all: Vec<Ws> = (0..30).map(|i| hub.member(&format!("u{i}"), "r")).collect();
    hub.signal("TERM");
    until("draining", SOON, || {
        let answer = hub.http().try_send("GET", "/readyz", None).ok()?;
        (answer.status == 503).then_some(())
    });
    assert!(hub.is_running());
    hub.signal("TERM");
    hub.wait_exit(Duration::from_secs(3));
}

#[test]
fn who_does_not_leave_is_cut_when_time_is_up() {
    let mut hub = Hub::start(&[("HUBBUB__SERVER__DRAIN_TIMEOUT_MS", "1500")]);
    let mut stubborn = hub.member("ann", "r");
    stubborn.auto_pong = false;
    let started = Instant::now();
    hub.signal("TERM");
    // Never reads, never answers the close.
    assert_eq!(hub.wait_exit(Duration::from_secs(6)).code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    stubborn.expect_close(1012);
}

#[test]
fn an_empty_node_ends_at_once_for_either_signal() {
    for signal in ["TERM", "INT"] {
        let mut hub = Hub::start(&[]);
        let started = Instant::now();
        hub.signal(signal);
        assert_eq!(hub.wait_exit(SOON).code(), Some(0), "{signal}");
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
}
