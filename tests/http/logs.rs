//! What the log tells, and what it must never tell. That every line is JSON and holds no secret is asserted
//! for the hub of every test, when it ends.

use serde_json::json;

use crate::support::*;

const CANARY: &str = "canary-7f3a";

#[test]
fn no_content_and_no_token_reaches_the_log_at_any_level() {
    let hub = Hub::start(&[("RUST_LOG", "trace"), ("HUBBUB__LOG__REPEAT_PER_SECOND", "0")]);
    let good = token("ann", json!({}));
    let signature = good.rsplit('.').next().unwrap().to_owned();
    let ways: [fn(&str) -> Handshake; 3] = [
        |token| Handshake::new().query_token(token),
        |token| Handshake::new().bearer(token),
        |token| Handshake::new().subprotocol(token),
    ];
    let mut sessions: Vec<Ws> = ways.iter().map(|way| hub.ws_by(way(&good))).collect();
    for way in ways {
        let forged = format!("{}{CANARY}", &good[..good.len() - 8]);
        hub.refusal(way(&forged));
    }
    let mut in_band = hub.connect(Handshake::new());
    in_band.send(&json!({"type": "auth", "token": good}));
    in_band.expect_kind("authenticated");
    let ann = &mut sessions[0];
    ann.join("r");
    ann.say("r", &format!("{CANARY} said"));
    ann.hears(&format!("{CANARY} said"));
    ann.ok(json!({"type": "event", "roomId": "r", "name": "e", "data": {"x": CANARY}}));
    ann.ok(json!({"type": "direct", "userId": "bob", "content": CANARY}));
    ann.send_text(&format!("{{\"type\":\"{CANARY}"));
    ann.refused(json!({"type": "message", "roomId": "nowhere", "content": CANARY}), "not_a_member");
    let api = hub.api();
    api.post("/api/rooms/r/messages", &json!({"content": CANARY, "data": CANARY})).expect(202);
    api.post("/api/users/ann/notifications", &json!({"title": CANARY, "body": CANARY})).expect(202);
    api.post("/api/broadcast", &json!({"event": "e", "data": CANARY})).expect(202);
    hub.http().get(&format!("/api/rooms?key={CANARY}&token={good}"));
    sessions[1].send_frame(0x82, CANARY.as_bytes());
    sessions[1].end();
    hub.log.wait_for("the end of a session", SOON, |l| l["msg"] == "session closed");
    hub.log.assert_sound(&[CANARY, &signature]);
    assert!(hub.log.find(|l| l["level"] == "trace").is_some(), "nothing at trace was logged");
}

#[test]
fn the_id_of_a_session_finds_its_story() {
    let hub = Hub::start(&[]);
    let mut ann = Handshake::new().bearer(&token("ann", json!({}))).open(hub.address).ok().unwrap();
    let session = ann.expect_kind("authenticated")["sessionId"].as_str().unwrap().to_owned();
    let _bob = hub.member("bob", "r");
    ann.join("r");
    ann.close();
    let of_ann = |msg: &'static str| {
        let session = session.clone();
        move |l: &serde_json::Value| l["msg"] == msg && l["session"] == session.as_str()
    };
    let opened = hub.log.wait_for("opened", SOON, of_ann("session opened"));
    assert_eq!((&opened["user"], &opened["ip"]), (&json!("ann"), &json!("127.0.0.1")), "{opened}");
    assert!(opened["node"].is_string() && opened["wire"] == "json", "{opened}");
    let closed = hub.log.wait_for("closed", SOON, of_ann("session closed"));
    assert_eq!((&closed["user"], &closed["reason"]), (&json!("ann"), &json!("done")), "{closed}");
    assert!(closed["duration_ms"].is_u64() && closed["sent_bytes"].is_u64(), "{closed}");
    assert!(opened["ts"].as_str() <= closed["ts"].as_str(), "{opened} {closed}");
}
