//! Without any configuration: development mode, and what is refused outside it.

use std::{process::Stdio, time::Duration};

use serde_json::json;

use crate::support::*;

#[test]
fn without_a_secret_the_node_gives_tokens_itself() {
    let hub = Hub::start(&[("HUBBUB__AUTH__JWT_SECRET", ""), ("HUBBUB__AUTH__API_KEY", "")]);
    let given = hub.http().post("/dev/token", &json!({"sub": "ann", "name": "Ann"}));
    assert_eq!(given.status, 200, "{}", given.text());
    let token = given.json()["token"].as_str().unwrap().to_owned();
    let mut ws = hub.ws_by(Handshake::new().query_token(&token));
    ws.join("lobby");
    ws.say("lobby", "hello");
    assert_eq!(ws.hears("hello")["username"], "Ann");
    assert!(hub.log.text().to_lowercase().contains("development"), "{}", hub.log.text());
    hub.http().post("/dev/token", &json!({})).expect_error(400, "bad_request");
    // Pages of other origins cannot fetch themselves a token.
    let foreign = hub.http().header("Origin", "https://evil.example");
    let answer = foreign.post("/dev/token", &json!({"sub": "ann"}));
    assert!(answer.header("access-control-allow-origin").is_none_or(|o| o != "*"));

    let page = hub.http().get("/");
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    let policy = page.header("content-security-policy").expect("a Content-Security-Policy");
    assert!(policy.contains("default-src"), "{policy}");
}

#[test]
fn secrets_differ_from_start_to_start() {
    let settings = [("HUBBUB__AUTH__JWT_SECRET", ""), ("HUBBUB__AUTH__API_KEY", "")];
    let one = Hub::start(&settings);
    let two = Hub::start(&settings);
    let given = one.http().post("/dev/token", &json!({"sub": "ann"})).expect(200);
    let token = given["token"].as_str().unwrap();
    two.refusal(Handshake::new().query_token(token)).expect_error(401, "unauthorized");
}

#[test]
fn with_a_secret_nobody_is_given_a_token() {
    let hub = Hub::start(&[]);
    let answer = hub.http().post("/dev/token", &json!({"sub": "ann"}));
    assert!(matches!(answer.status, 403 | 404), "{}", answer.text());
    assert!(answer.json()["error"]["code"].is_string(), "{}", answer.text());
}

#[test]
fn an_open_door_without_a_lock_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = hubbub()
        .current_dir(folder.path())
        .env("HUBBUB__SERVER__LISTEN", "0.0.0.0:0")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = Log::follow(child.stderr.take().unwrap());
    let status = until("it refuses to start", Duration::from_secs(10), || {
        if log.text().contains("listening") {
            let _ = child.kill();
        }
        child.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(1), "{}", log.text());
    until("it says why", Duration::from_secs(10), || {
        log.text().contains("auth.jwt_secret").then_some(())
    });
    assert!(!folder.path().join("data").exists(), "nothing was opened");
}

#[test]
fn a_port_that_is_taken_is_said_in_a_sentence() {
    let hub = Hub::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let output = hubbub()
        .current_dir(folder.path())
        .env("HUBBUB__SERVER__LISTEN", hub.address.to_string())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&hub.address.to_string()) && !said.contains("panicked"), "{said}");
    hub.ws("ann").close();
}
