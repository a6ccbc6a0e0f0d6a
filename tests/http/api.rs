//! Publishing through HTTP.

use serde_json::json;

use crate::support::*;

#[test]
fn a_backend_publishes_into_a_room() {
    let hub = Hub::start(&[]);
    let mut ann = hub.member("ann", "room/with space");
    let path = "/api/rooms/room%2Fwith%20space/messages";
    let body = json!({"content": "hello", "data": {"x": [1]}, "userId": "backend"});
    let answer = hub.api().post(path, &body).expect(202);
    assert_eq!(answer["offset"], 1, "{answer}");
    let message = ann.hears("hello");
    assert_eq!(message["id"], answer["id"]);
    assert_eq!((&message["userId"], &message["data"]), (&json!("backend"), &json!({"x": [1]})));
    assert_eq!(message["roomId"], "room/with space");
    // Without a user it comes from nobody.
    hub.api().post(path, &json!({"content": "anonymous"})).expect(202);
    assert!(ann.hears("anonymous").get("userId").is_none());
    // A custom event, and a room nobody is in.
    let event = json!({"event": "deploy", "data": {"version": 3}});
    hub.api().post(path, &event).expect(202);
    let heard = ann.expect("the event", |e| e["type"] == "event" && e["name"] == "deploy");
    assert_eq!((&heard["offset"], &heard["data"]), (&json!(3), &json!({"version": 3})));
    assert_eq!(hub.api().post("/api/rooms/empty/messages", &body).expect(202)["offset"], 1);
    let mut late = hub.ws("bob");
    assert_eq!(late.join("empty")["offset"], 1);
}

#[test]
fn a_key_makes_it_idempotent() {
    let hub = Hub::start(&[]);
    let mut ann = hub.member("ann", "r");
    let body = json!({"content": "once", "key": "order-7"});
    let first = hub.api().post("/api/rooms/r/messages", &body).expect(202);
    let again = hub.api().post("/api/rooms/r/messages", &body).expect(202);
    assert_eq!((&first["id"], &first["offset"]), (&again["id"], &again["offset"]));
    hub.api().post("/api/rooms/r/messages", &json!({"content": "mark"})).expect(202);
    assert_eq!(ann.hears("mark")["offset"], 2);
    ann.hears("once");
    ann.none_kept("second copy", |e| e["content"] == "once");
}

#[test]
fn users_get_messages_and_notifications_in_every_session() {
    let hub = Hub::start(&[]);
    let mut tabs = [hub.ws("ann"), hub.member("ann", "r")];
    let mut eve = hub.member("eve", "r");
    let sent = hub.api().post("/api/users/ann/messages", &json!({"content": "psst"})).expect(202);
    assert!(sent["id"].is_string(), "{sent}");
    let note = json!({"title": "Build", "body": "It is green.", "data": {"run": 5}});
    assert_eq!(hub.api().post("/api/users/ann/notifications", &note).status, 202);
    for ws in &mut tabs {
        assert_eq!(ws.expect_kind("direct")["content"], "psst");
        let got = ws.expect_kind("notification");
        for name in ["title", "body", "data"] {
            assert_eq!(got[name], note[name], "{got}");
        }
    }
    tabs[1].say("r", "mark");
    eve.hears("mark");
    eve.none_kept("somebody else's", |e| e["type"] == "direct" || e["type"] == "notification");
}

#[test]
fn a_broadcast_reaches_every_session() {
    let hub = Hub::start(&[]);
    let mut all = [hub.ws("ann"), hub.member("bob", "r"), hub.member("carol", "s")];
    let body = json!({"event": "maintenance", "data": {"at": "noon"}});
    let status = hub.api().post("/api/broadcast", &body).status;
    assert_eq!(status, 202);
    for ws in &mut all {
        let got = ws.expect("the broadcast", |e| e["name"] == "maintenance");
        assert_eq!(got["data"], json!({"at": "noon"}));
    }
}

#[test]
fn the_short_form_of_the_demos_works() {
    let hub = Hub::start(&[]);
    let mut ann = hub.member("ann", "r");
    let sent = hub.api().post("/api/message", &json!({"roomId": "r", "text": "short"}));
    assert_eq!(sent.json()["sent"], true, "{}", sent.text());
    assert!((200..300).contains(&sent.status));
    ann.hears("short");
    let missing = hub.api().post("/api/message", &json!({"text": "short"}));
    missing.expect_error(400, "bad_request");
}

#[test]
fn without_the_key_nothing_is_open() {
    let hub = Hub::start(&[]);
    let body = json!({"content": "x", "roomId": "r", "text": "x", "title": "x", "body": "x"});
    let calls = [
        ("POST", "/api/rooms/r/messages"),
        ("POST", "/api/users/ann/messages"),
        ("POST", "/api/users/ann/notifications"),
        ("POST", "/api/broadcast"),
        ("POST", "/api/message"),
        ("DELETE", "/api/users/ann/sessions"),
        ("GET", "/api/rooms"),
        ("GET", "/api/rooms/r"),
        ("GET", "/api/rooms/r/members"),
        ("GET", "/api/rooms/r/messages"),
        ("GET", "/api/users/ann"),
    ];
    let text = body.to_string();
    let strangers = [
        hub.http(),
        hub.http().header("Authorization", "Bearer wrong"),
        hub.http().header("Authorization", &format!("Bearer {API_KEY}x")),
        hub.http().header("Authorization", &format!("Bearer {}", &API_KEY[1..])),
        hub.http().header("Authorization", &format!("Basic {API_KEY}")),
        hub.http().header("Authorization", &format!("Bearer {}", token("ann", json!({})))),
    ];
    let closed = Hub::start(&[("HUBBUB__AUTH__API_KEY", "")]);
    for (method, path) in calls {
        let sent = (method == "POST").then_some(text.as_bytes());
        for stranger in &strangers {
            stranger.send(method, path, sent).expect_error(401, "unauthorized");
        }
        // No key is configured: even an empty one opens nothing.
        for http in [closed.http(), closed.http().header("Authorization", "Bearer "), closed.api()]
        {
            let answer = http.send(method, path, sent);
            assert!(matches!(answer.status, 401 | 403), "{path}: {}", answer.text());
            assert!(answer.json()["error"]["code"].is_string());
        }
    }
    let mut ann = hub.ws("ann");
    assert_eq!(ann.join("r")["offset"], 0, "nothing was published");
}

#[test]
fn every_error_has_one_shape() {
    let hub = Hub::start(&[]);
    let api = hub.api();
    for body in ["", "{", "[]", "7", "{}", r#"{"content":7}"#, r#"{"content":"x","key":5}"#] {
        let answer = api.send("POST", "/api/rooms/r/messages", Some(body.as_bytes()));
        answer.expect_error(400, "bad_request");
    }
    let unknown = json!({"content": "x", "contnet": "y"});
    let answer = api.post("/api/rooms/r/messages", &unknown);
    assert!(matches!(answer.status, 202 | 400), "{}", answer.text());
    let long = format!("/api/rooms/{}/messages", "r".repeat(129));
    api.post(&long, &json!({"content": "x"})).expect_error(400, "bad_request");
    api.post("/api/rooms/%00/messages", &json!({"content": "x"})).expect_error(400, "bad_request");
    api.post("/api/rooms/%ff/messages", &json!({"content": "x"})).expect_error(400, "bad_request");
    for reserved in ["user:ann", "$all"] {
        let path = format!("/api/rooms/{reserved}/messages");
        api.post(&path, &json!({"content": "x"})).expect_error(403, "forbidden");
    }
    for path in ["/api/nothing", "/api/rooms/r/nothing", "/nothing"] {
        api.get(path).expect_error(404, "not_found");
    }
    let wrong = api.send("PUT", "/api/rooms/r/messages", Some(b"{}"));
    assert!(matches!(wrong.status, 404 | 405), "{}", wrong.text());
    assert!(wrong.json()["error"]["code"].is_string(), "{}", wrong.text());
    let huge = json!({"content": "x".repeat(2 * 1024 * 1024)});
    api.post("/api/rooms/r/messages", &huge).expect_error(413, "too_large");
    for query in ["after=x", "limit=0", "limit=100000", "before=-1"] {
        let path = format!("/api/rooms/r/messages?{query}");
        api.get(&path).expect_error(400, "bad_request");
    }
    let deep = format!(r#"{{"content":"x","data":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    let answer = api.send("POST", "/api/rooms/r/messages", Some(deep.as_bytes()));
    answer.expect_error(400, "bad_request");
}

#[test]
fn a_message_as_large_as_a_frame_may_be_passes() {
    let hub = Hub::start(&[]);
    let mut ann = hub.member("ann", "r");
    let content = "x".repeat(60_000);
    hub.api().post("/api/rooms/r/messages", &json!({"content": content})).expect(202);
    ann.hears(&content);
    let larger = json!({"content": "x".repeat(70_000)});
    hub.api().post("/api/rooms/r/messages", &larger).expect_error(413, "too_large");
}
