//! What operators and their tools look at.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::*;

#[test]
fn a_node_is_alive_and_ready() {
    let started = Instant::now();
    let hub = Hub::start(&[]);
    // The release build must do it in 0.3 s; an unoptimized one gets more.
    let allowed = if cfg!(debug_assertions) { 3000 } else { 300 };
    assert!(started.elapsed() < Duration::from_millis(allowed), "{:?}", started.elapsed());
    assert_eq!(hub.http().get("/healthz").status, 200);
    assert_eq!(hub.http().get("/readyz").status, 200);
    let head = hub.http().send("HEAD", "/healthz", None);
    assert!(matches!(head.status, 200 | 405), "{}", head.status);
}

#[test]
fn every_metric_is_there_and_counts() {
    let hub = Hub::start(&[]);
    let mut ann = hub.member("ann", "r");
    let mut bob = hub.member("bob", "r");
    for n in 0..10 {
        ann.say("r", &format!("m{n}"));
    }
    bob.hears("m9");
    hub.api().post("/api/rooms/r/messages", &json!({"content": "by HTTP"})).expect(202);
    bob.hears("by HTTP");
    bob.close();
    hub.metric_until("hubbub_connections", &[], |n| n == 1.0);
    let metrics = hub.metrics();
    for (name, least, most) in [
        ("hubbub_connections", 1.0, 1.0),
        ("hubbub_sessions", 1.0, 1.0),
        ("hubbub_rooms", 1.0, 3.0),
        ("hubbub_publishes_total", 11.0, 11.0),
        ("hubbub_deliveries_total", 22.0, 40.0),
        ("hubbub_acks_total", 10.0, 20.0),
        ("hubbub_outbound_bytes_total", 2000.0, 100_000.0),
        ("hubbub_closed_total", 1.0, 1.0),
        ("hubbub_panics_total", 0.0, 0.0),
        ("hubbub_dropped_total", 0.0, 0.0),
    ] {
        let value = metrics.sum(name, &[]);
        assert!((least..=most).contains(&value), "{name} is {value}:\n{}", metrics.0);
    }
    for histogram in ["hubbub_ack_seconds", "hubbub_store_seconds"] {
        assert!(metrics.sum(&format!("{histogram}_count"), &[]) >= 1.0, "{histogram}");
        let buckets = metrics.sum(&format!("{histogram}_bucket"), &["le=\"+Inf\""]);
        assert!(buckets >= 1.0, "{histogram}");
    }
    for name in [
        "hubbub_refused_total",
        "hubbub_dropped_total",
        "process_resident_memory_bytes",
        "hubbub_panics_total",
    ] {
        assert!(metrics.has(name), "{name} is missing:\n{}", metrics.0);
    }
    // Labels come from fixed lists, never from what clients send.
    assert!(!metrics.0.contains("\"ann\"") && !metrics.0.contains("\"r\""), "{}", metrics.0);
    assert_eq!(metrics.sum("hubbub_closed_total", &["reason=\"done\""]), 1.0);
    let answer = hub.api().get("/metrics");
    let kind = answer.header("content-type").unwrap();
    assert!(kind.starts_with("text/plain"), "{kind}");
}

fn count(value: &Value) -> u64 {
    value.as_u64().or(value.as_array().map(|a| a.len() as u64)).unwrap_or(0)
}

#[test]
fn the_monitoring_of_the_demos_is_served() {
    let hub = Hub::start(&[]);
    let _ann = [hub.member("ann", "r"), hub.member("ann", "s")];
    let _bob = hub.member("bob", "r");
    let stats = hub.api().get("/api/ws/stats").expect(200);
    assert_eq!(stats["activeConnections"], 3, "{stats}");
    assert_eq!(stats["users"], 2, "{stats}");
    assert_eq!(count(&stats["rooms"]), 2, "{stats}");

    let health = hub.http().get("/api/ws/health").expect(200);
    assert_eq!(health["status"], "healthy", "{health}");
    assert!(health["uptime"].as_f64().is_some_and(|s| (0.0..600.0).contains(&s)), "{health}");
    let memory = health["memoryUsage"].as_object().unwrap();
    let rss = memory["rss"].as_u64().unwrap();
    let real = hub.memory("VmRSS");
    assert!(rss > real / 2 && rss < real * 2, "{rss} and {real}");

    let metrics = hub.api().get("/metrics/websocket").expect(200);
    assert_eq!(metrics["activeConnections"], 3, "{metrics}");
    assert_eq!(metrics["connectedSockets"], 3, "{metrics}");
    assert_eq!(count(&metrics["rooms"]), 2, "{metrics}");
}

#[test]
fn names_of_rooms_and_users_need_the_key() {
    let hub = Hub::start(&[]);
    let _ann = hub.member("a-secret-user", "a-secret-room");
    let paths = [
        "/api/ws/stats",
        "/api/ws/health",
        "/metrics/websocket",
        "/metrics",
        "/healthz",
        "/readyz",
        "/api/openapi.json",
        "/",
        "/ops",
    ];
    for path in paths {
        let answer = hub.http().get(path);
        let text = answer.text();
        assert!(!text.contains("a-secret"), "{path} shows {text}");
        assert!(answer.status < 500, "{path}: {text}");
    }
}

#[test]
fn log_lines_are_facts_with_fields() {
    let hub = Hub::start(&[("HUBBUB__NODE__ID", "node-7")]);
    let ws = hub.member("ann", "r");
    ws.close();
    hub.log.wait_for("a line about the session's end", SOON, |line| {
        line["user"] == "ann" && line["reason"].is_string()
    });
    for line in hub.log.text().lines().filter(|l| !l.is_empty()) {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line:?}"));
        for name in ["msg", "level"] {
            assert!(line[name].is_string(), "{name} in {line}");
        }
    }
}

#[test]
fn a_flood_of_equal_lines_is_cut_short() {
    let hub = Hub::start(&[("HUBBUB__LOG__REPEAT_PER_SECOND", "5")]);
    for _ in 0..300 {
        hub.refusal(Handshake::new().query_token("bad")).expect_error(401, "unauthorized");
    }
    let lines = hub.log.text().lines().count();
    assert!(lines < 150, "{lines} lines for 300 equal refusals");
}
