//! Membership: joining, leaving, who is told, who may.

use std::time::Duration;

use serde_json::json;

use crate::support::*;

const GRACE: (&str, &str) = ("HUBBUB__PRESENCE__OFFLINE_GRACE_MS", "400");

#[test]
fn joining_tells_where_one_is_and_with_whom() {
    let hub = Hub::start(&[]);
    let mut ann = hub.ws("ann");
    let id = ann.ask(json!({"type": "join", "roomId": "häuser 7"}));
    let joined = ann.expect_kind("joined");
    assert_eq!(joined["roomId"], "häuser 7");
    assert_eq!(joined["offset"], 0);
    assert_eq!(joined["recovered"], false);
    assert_eq!(joined["messages"], json!([]));
    let epoch = joined["epoch"].as_str().unwrap();
    assert!(epoch.len() == 16 && epoch.bytes().all(|b| b.is_ascii_hexdigit()), "{joined}");
    let ack = ann.answer_to(&id).unwrap();
    for name in ["roomId", "epoch", "offset", "recovered"] {
        assert_eq!(ack[name], joined[name], "{name}");
    }
    ann.say("häuser 7", "one");

    let mut bob = hub.ws("bob");
    let joined = bob.join("häuser 7");
    assert_eq!(joined["offset"], 1);
    assert_eq!(joined["memberCount"], 2);
    let names: Vec<_> = joined["members"].as_array().unwrap().iter().collect();
    assert_eq!(names.len(), 2, "{joined}");
    for (member, user) in names.iter().zip(["ann", "bob"]) {
        assert_eq!(member["userId"], user);
        assert_eq!(member["username"], user);
        assert_eq!(member["status"], "online");
        assert_eq!(member["socketCount"], 1);
    }
    let told = ann.expect_kind("user_joined");
    assert_eq!((&told["userId"], &told["roomId"]), (&json!("bob"), &json!("häuser 7")));
    assert!(told["timestamp"].is_string());
    bob.fence();
    bob.none_kept("news of oneself", |e| e["type"] == "user_joined" && e["userId"] == "bob");
}

#[test]
fn a_user_joins_and_leaves_once_however_many_sessions() {
    let hub = Hub::start(&[]);
    let mut bob = hub.member("bob", "r");
    let mut one = hub.member("ann", "r");
    let mut two = hub.member("ann", "r");
    two.join("r"); // again, which changes nothing
    assert_eq!(bob.expect_kind("user_joined")["userId"], "ann");
    one.ok(json!({"type": "leave", "roomId": "r"}));
    one.expect_kind("left");
    two.say("r", "mark one");
    bob.hears("mark one");
    bob.none_kept("second arrival", kind("user_joined"));
    bob.none_kept("early departure", kind("user_left"));
    two.ok(json!({"type": "leave_room", "roomId": "r"}));
    // An explicit leave is told at once, without the grace of a lost connection.
    let left = bob.expect_within("user_left", Duration::from_millis(1500), kind("user_left"));
    assert_eq!((&left["userId"], &left["roomId"]), (&json!("ann"), &json!("r")));
    two.refused(json!({"type": "message", "roomId": "r", "content": "x"}), "not_a_member");
    let members = bob.ok(json!({"type": "members", "roomId": "r"}));
    assert_eq!(members["memberCount"], 1, "{members}");
}

#[test]
fn a_lost_connection_leaves_after_the_grace() {
    let hub = Hub::start(&[GRACE]);
    let mut bob = hub.member("bob", "r");
    let ann = hub.member("ann", "r");
    bob.expect_kind("user_joined");
    drop(ann);
    let lost = std::time::Instant::now();
    assert_eq!(bob.expect_kind("user_left")["userId"], "ann");
    assert!(lost.elapsed() >= Duration::from_millis(350), "after {:?}", lost.elapsed());
    let members = bob.ok(json!({"type": "members", "roomId": "r"}));
    assert_eq!(members["memberCount"], 1, "{members}");
}

#[test]
fn who_comes_back_in_time_never_left() {
    let hub = Hub::start(&[("HUBBUB__PRESENCE__OFFLINE_GRACE_MS", "3000")]);
    let mut bob = hub.member("bob", "r");
    let ann = hub.member("ann", "r");
    bob.expect_kind("user_joined");
    drop(ann);
    hub.metric_until("hubbub_connections", &[], |n| n == 1.0);
    let mut back = hub.member("ann", "r");
    // Past the end of the grace that began when the first connection was lost.
    assert!(bob.find(Duration::from_millis(3500), kind("user_left")).is_none());
    bob.none_kept("flapping", |e| e["type"] == "user_joined" || e["status"] == "offline");
    back.say("r", "here");
    bob.hears("here");
}

#[test]
fn reserved_rooms_are_closed_to_clients() {
    let hub = Hub::start(&[]);
    let mut ann = hub.ws("ann");
    for room in ["user:ann", "user:bob", "$all", "$"] {
        for request in [
            json!({"type": "join", "roomId": room}),
            json!({"type": "message", "roomId": room, "content": "x"}),
            json!({"type": "event", "roomId": room, "name": "n", "volatile": true}),
        ] {
            ann.refused(request, "forbidden");
        }
    }
    let mut named = hub.ws_as("eve", json!({"rooms": ["*"]}));
    named.refused(json!({"type": "join", "roomId": "user:ann"}), "forbidden");
}

#[test]
fn outsiders_can_do_nothing_in_a_room() {
    let hub = Hub::start(&[]);
    let mut inside = hub.member("ann", "r");
    inside.say("r", "private");
    let mut outside = hub.ws_as("eve", json!({"rooms": ["elsewhere"]}));
    outside.join("elsewhere");
    for request in [
        json!({"type": "message", "roomId": "r", "content": "x"}),
        json!({"type": "event", "roomId": "r", "name": "n"}),
        json!({"type": "event", "roomId": "r", "name": "n", "volatile": true}),
        json!({"type": "typing", "roomId": "r", "isTyping": true}),
        json!({"type": "read", "roomId": "r", "offset": 1}),
        json!({"type": "history", "roomId": "r"}),
        json!({"type": "members", "roomId": "r"}),
        json!({"type": "join", "roomId": "r"}),
    ] {
        let error = outside.request(request.clone()).expect_err("an outsider is refused");
        let code = error["code"].as_str();
        assert!(matches!(code, Some("not_a_member" | "forbidden")), "{request}: {error}");
    }
    for unknown in ["never seen", "R"] {
        let request = json!({"type": "message", "roomId": unknown, "content": "x"});
        outside.refused(request, "not_a_member");
    }
    inside.say("r", "mark");
    inside.hears("mark");
    inside.none_kept("news of an outsider", |e| e["userId"] == "eve");
}

#[test]
fn a_thousand_joins_end_at_the_limit() {
    let hub = Hub::start(&[UNLIMITED]);
    let mut ws = hub.ws("ann");
    let ids: Vec<String> =
        (0..1000).map(|i| ws.ask(json!({"type": "join", "roomId": format!("r{i}")}))).collect();
    let answers: Vec<_> = ids.iter().map(|id| ws.answer_to(id)).collect();
    assert!(answers[..128].iter().all(Result::is_ok), "{:?}", answers[127]);
    for answer in &answers[128..] {
        let error = answer.as_ref().expect_err("beyond rooms.max_per_session");
        assert_eq!(error["code"], "too_many_rooms", "{error}");
    }
    // One more for one less; a room the session is in already costs nothing.
    ws.ok(json!({"type": "join", "roomId": "r5"}));
    ws.ok(json!({"type": "leave", "roomId": "r0"}));
    ws.ok(json!({"type": "join", "roomId": "r999"}));
    ws.refused(json!({"type": "join", "roomId": "r0"}), "too_many_rooms");
    ws.close();
}

#[test]
fn empty_rooms_are_freed() {
    let hub = Hub::start(&[UNLIMITED, GRACE]);
    let mut ws = hub.ws("ann");
    for i in 0..100 {
        ws.ok(json!({"type": "join", "roomId": format!("r{i}")}));
    }
    hub.metric_until("hubbub_rooms", &[], |n| n >= 100.0);
    for i in 0..50 {
        ws.ok(json!({"type": "leave", "roomId": format!("r{i}")}));
    }
    hub.metric_until("hubbub_rooms", &[], |n| (50.0..60.0).contains(&n));
    drop(ws);
    hub.metric_until("hubbub_rooms", &[], |n| n == 0.0);
    hub.metric_until("hubbub_sessions", &[], |n| n == 0.0);
}

#[test]
fn the_room_may_be_left_out_while_there_is_one() {
    let hub = Hub::start(&[]);
    let mut ws = hub.ws("ann");
    let nowhere = ws.request(json!({"type": "message", "text": "where?"}));
    let code = nowhere.expect_err("no room is joined")["code"].clone();
    assert!(code == "bad_request" || code == "not_a_member", "{code}");
    ws.join("one");
    ws.ok(json!({"type": "message", "text": "here"}));
    assert_eq!(ws.hears("here")["roomId"], "one");
    ws.join("two");
    ws.refused(json!({"type": "message", "text": "where?"}), "bad_request");
}

#[test]
fn large_rooms_are_listed_in_pages() {
    let hub = Hub::start(&[]);
    let mut all: Vec<Ws> = (0..130).map(|i| hub.member(&format!("u{i:03}"), "hall")).collect();
    let mut late = hub.ws("zoe");
    let joined = late.join("hall");
    assert_eq!(joined["memberCount"], 131);
    assert_eq!(joined["members"].as_array().unwrap().len(), 100);
    let mut seen: Vec<String> = Vec::new();
    loop {
        let mut request = json!({"type": "members", "roomId": "hall", "limit": 60});
        if let Some(last) = seen.last() {
            request["after"] = json!(last);
        }
        let page = all[0].ok(request);
        assert_eq!(page["memberCount"], 131);
        let users = page["members"].as_array().unwrap();
        seen.extend(users.iter().map(|m| m["userId"].as_str().unwrap().to_owned()));
        if page["hasMore"] == false {
            break;
        }
        assert_eq!(users.len(), 60);
    }
    let mut wanted: Vec<String> = (0..130).map(|i| format!("u{i:03}")).collect();
    wanted.push("zoe".into());
    assert_eq!(seen, wanted);
}

#[test]
fn an_open_policy_ignores_patterns_but_not_reserved_names() {
    let hub = Hub::start(&[("HUBBUB__ROOMS__POLICY", "open")]);
    let mut ws = hub.ws_as("ann", json!({"rooms": ["only-this"]}));
    ws.join("anything");
    ws.refused(json!({"type": "join", "roomId": "user:bob"}), "forbidden");
}
