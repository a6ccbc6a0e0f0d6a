//! The verbs that look at a node: health, doctor, plan.

use std::{net::TcpListener, process::Output};

use jsonwebtoken::Algorithm;
use serde_json::json;

use crate::support::*;

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let Output { status, stdout, stderr } = hubbub()
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// The doctor's verdict and what it said.
fn doctor(arguments: &[&str], variables: &[(&str, &str)]) -> (bool, String) {
    let all = [&["doctor"], arguments].concat();
    let (code, out, err) = run(&all, variables);
    assert!(matches!(code, Some(0 | 1)), "{code:?} {out}{err}");
    assert!(!out.contains("panicked") && !err.contains("panicked"), "{out}{err}");
    (code == Some(0), out)
}

#[test]
fn health_asks_the_node_of_the_configuration() {
    let mut hub = Hub::start(&[
        ("HUBBUB__SERVER__DRAIN_RATE", "1"),
        ("HUBBUB__SERVER__DRAIN_TIMEOUT_MS", "20000"),
    ]);
    let address = hub.address.to_string();
    let here = [("HUBBUB__SERVER__LISTEN", address.as_str())];
    let (code, out, _) = run(&["health"], &here);
    assert_eq!((code, out.trim()), (Some(0), r#"{"status":"ok"}"#));
    assert_eq!(run(&["health", "--ready"], &here).0, Some(0));
    // As a container has it: the node listens everywhere.
    let everywhere = format!("0.0.0.0:{}", hub.address.port());
    let listen = [("HUBBUB__SERVER__LISTEN", everywhere.as_str())];
    assert_eq!(run(&["health"], &listen).0, Some(0));

    let _sessions: Vec<Ws> = (0..12).map(|i| hub.ws(&format!("u{i}"))).collect();
    hub.signal("TERM");
    until("draining", SOON, || (run(&["health", "--ready"], &here).0 == Some(1)).then_some(()));
    assert_eq!(run(&["health"], &here).0, Some(0), "a draining node is alive");
    let (_, _, err) = run(&["health", "--ready"], &here);
    assert!(err.contains("503") && err.contains("draining"), "{err}");
    hub.kill();
    let (code, _, err) = run(&["health"], &here);
    assert!(code == Some(1) && err.contains("cannot be reached"), "{err}");
}

#[test]
fn health_says_why_it_cannot_ask() {
    let (code, _, err) = run(&["health"], &[("HUBBUB__SERVER__LISTEN", "127.0.0.1:0")]);
    assert!(code == Some(1) && err.contains("--url"), "{err}");
    // Somebody who takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let (code, _, err) = run(&["health", "--url", &url, "--timeout-ms", "200"], &[]);
    assert!(code == Some(1) && err.contains("200 ms"), "{err}");
    assert_eq!(run(&["health", "--timeout-ms", "0"], &[]).0, Some(2));
}

#[test]
fn the_doctor_finds_a_running_hub_or_somebody_else_on_its_port() {
    let hub = Hub::start(&[]);
    let address = hub.address.to_string();
    let here = [("HUBBUB__SERVER__LISTEN", address.as_str())];
    let (well, out) = doctor(&[], &here);
    assert!(well && out.contains("a hub runs on"), "{out}");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || drop(other.accept()));
    let (well, out) = doctor(&[], &[("HUBBUB__SERVER__LISTEN", &taken)]);
    assert!(!well && out.contains("used by another program"), "{out}");
    assert!(out.contains("-> end it"), "{out}");
    thread.join().unwrap();
    let (well, out) = doctor(&[], &[("HUBBUB__SERVER__WORKER", "2")]);
    assert!(!well && out.contains("HUBBUB__SERVER__WORKERS"), "{out}");
}

#[test]
fn the_doctor_walks_the_way_of_the_clients() {
    let hub = Hub::start(&[]);
    let url = format!("http://{}", hub.address);
    let address = hub.address.to_string();
    let settings =
        [("HUBBUB__SERVER__LISTEN", address.as_str()), ("HUBBUB__AUTH__API_KEY", API_KEY)];
    let (well, out) = doctor(&["--url", &url, "--node", &url], &settings);
    for seen in
        ["a hub that is ready", "no X-Forwarded-For", "a WebSocket opens", "polls of one client"]
    {
        assert!(out.contains(seen), "{seen}: {out}");
    }
    assert!(well && out.contains("the clock of http://"), "{out}");
    let wrong = [settings[0], ("HUBBUB__AUTH__API_KEY", "another key")];
    let (well, out) = doctor(&["--url", &url], &wrong);
    assert!(!well && out.contains("answered 401"), "{out}");
    let (well, out) = doctor(&["--url", "http://127.0.0.1:1"], &settings);
    assert!(!well && out.contains("cannot be reached"), "{out}");
}

#[test]
fn the_doctor_judges_tokens() {
    let key = [("HUBBUB__AUTH__JWT_SECRET", JWT_SECRET)];
    let good = token("ann", json!({"rooms": ["team-*"]}));
    let (well, out) = doctor(&["--token", &good], &key);
    assert!(well && out.contains("good for user \"ann\"") && out.contains("team-*"), "{out}");
    let late = token("ann", json!({"exp": now() - 100}));
    let (well, out) = doctor(&["--token", &late], &key);
    assert!(!well && out.contains("expired"), "{out}");
    let forged = token_with(Algorithm::HS256, &"k".repeat(40), "ann", json!({}));
    let (well, out) = doctor(&["--token", &forged], &key);
    assert!(!well && out.contains("another key") && !out.contains(&forged[..30]), "{out}");
}

#[test]
fn the_doctor_examines_redis() {
    let kept = RedisServer::start(&["--appendonly", "yes"]);
    let (url, secret) = (kept.url(), ("HUBBUB__AUTH__JWT_SECRET", JWT_SECRET));
    let (well, out) = doctor(&[], &[("HUBBUB__CLUSTER__REDIS_URL", &url), secret]);
    assert!(
        well && out.contains("append-only file") && out.contains("the clock of Redis"),
        "{out}"
    );
    let lost = RedisServer::start(&[]);
    let url = lost.url();
    let (well, out) = doctor(&[], &[("HUBBUB__CLUSTER__REDIS_URL", &url), secret]);
    assert!(
        !well && out.contains("loses every message") && out.contains("appendonly yes"),
        "{out}"
    );
    drop(lost);
    let (well, out) = doctor(&[], &[("HUBBUB__CLUSTER__REDIS_URL", &url), secret]);
    assert!(!well && out.contains("cannot reach redis://127.0.0.1"), "{out}");
}

#[test]
fn a_plan_is_worked_out() {
    let (code, out, err) =
        run(&["plan", "--connections", "1000000", "--rooms", "100000", "--rate", "20000"], &[]);
    assert_eq!(code, Some(0), "{err}");
    for row in ["members of a room", "200,000", "nodes", "Redis", "Mbit/s", "docs/scaling.md"] {
        assert!(out.contains(row), "{row}: {out}");
    }
    let (_, small, _) = run(&["plan", "--connections", "500", "--spare", "0"], &[]);
    assert!(!small.contains("Redis"), "{small}");
    assert_eq!(run(&["plan"], &[]).0, Some(2));
    let (code, _, err) = run(&["plan", "--connections", "10", "--rate", "nan"], &[]);
    assert!(code == Some(1) && err.contains("--rate"), "{err}");
    let (code, _, err) =
        run(&["plan", "--connections", "10000000", "--rooms", "1", "--rate", "50000"], &[]);
    assert!(code == Some(1) && err.contains("no number of nodes"), "{err}");
}
