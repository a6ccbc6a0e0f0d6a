//! Messages, direct messages, custom events, receipts: delivered once, in one
//! order, acknowledged after they are stored.

use std::{collections::HashSet, thread};

use serde_json::{Value, json};

use crate::support::*;

fn is_uuid_v7(value: &Value) -> bool {
    value
        .as_str()
        .and_then(|t| uuid::Uuid::parse_str(t).ok())
        .is_some_and(|u| u.get_version_num() == 7)
}

#[test]
fn a_message_reaches_every_member_with_all_it_carries() {
    let hub = Hub::start(&[]);
    let mut ann = hub.ws_as("ann", json!({"name": "Ann \"A\" 🦀"}));
    let epoch = ann.join("r")["epoch"].clone();
    let mut bob = hub.member("bob", "r");
    let data = json!({"n": 1.5, "deep": [[{"x": null}]], "text": "ü\u{1F980}\u{0}\u{2028}"});
    let content = "quote \" backslash \\ newline \n nul \u{0} crab 🦀 line \u{2028}";
    let ack = ann.ok(json!({"type": "message", "roomId": "r", "content": content, "data": data}));
    assert_eq!(ack["offset"], 1);
    assert_eq!(ack["epoch"], epoch);
    assert!(is_uuid_v7(&ack["messageId"]), "{ack}");
    for ws in [&mut ann, &mut bob] {
        let message = ws.hears(content);
        assert_eq!(message["id"], ack["messageId"]);
        assert_eq!(message["roomId"], "r");
        assert_eq!(message["userId"], "ann");
        assert_eq!(message["username"], "Ann \"A\" 🦀");
        assert_eq!(message["data"], data);
        assert_eq!((&message["offset"], &message["epoch"]), (&ack["offset"], &epoch));
        let at = message["timestamp"].as_str().unwrap();
        assert!(at.len() == 24 && at.ends_with('Z') && &at[10..11] == "T", "{at}");
    }
    let second = ann.ok(json!({"type": "message", "roomId": "r", "text": "by its other name"}));
    assert_eq!(second["offset"], 2);
    bob.hears("by its other name");
}

#[test]
fn every_member_sees_one_order_without_holes() {
    const SENDERS: usize = 4;
    const EACH: usize = 60;
    let hub = Hub::start(&[UNLIMITED]);
    let watchers: Vec<Ws> = (0..3).map(|i| hub.member(&format!("watcher{i}"), "r")).collect();
    let senders: Vec<Ws> = (0..SENDERS).map(|i| hub.member(&format!("sender{i}"), "r")).collect();
    let running: Vec<_> = senders
        .into_iter()
        .enumerate()
        .map(|(s, mut ws)| {
            thread::spawn(move || {
                let ids: Vec<String> = (0..EACH)
                    .map(|n| {
                        let content = format!("{s}-{n}");
                        ws.ask(json!({"type": "message", "roomId": "r", "content": content}))
                    })
                    .collect();
                let acks: Vec<Value> = ids.iter().map(|id| ws.answer_to(id).unwrap()).collect();
                assert!(acks.windows(2).all(|w| w[0]["offset"].as_u64() < w[1]["offset"].as_u64()));
                (ws, acks)
            })
        })
        .collect();
    let mut everyone = watchers;
    let mut acked = HashSet::new();
    for sender in running {
        let (ws, acks) = sender.join().unwrap();
        everyone.push(ws);
        acked.extend(acks.iter().map(|a| a["offset"].as_u64().unwrap()));
    }
    assert_eq!(acked, (1..=(SENDERS * EACH) as u64).collect());
    let mut first: Option<Vec<Value>> = None;
    for ws in &mut everyone {
        ws.expect("the last message", |e| e["offset"] == SENDERS * EACH && e["type"] == "message");
        let mut heard = ws.take(kind("message"));
        let offsets: Vec<u64> = heard.iter().map(|m| m["offset"].as_u64().unwrap()).collect();
        assert_eq!(offsets, (1..(SENDERS * EACH) as u64).collect::<Vec<_>>());
        for message in &mut heard {
            message.as_object_mut().unwrap().remove("timestamp");
        }
        assert_eq!(first.get_or_insert_with(|| heard.clone()), &heard);
    }
}

#[test]
fn a_key_publishes_once_through_every_entry() {
    let hub = Hub::start(&[]);
    let mut ann = hub.member("ann", "r");
    let mut tab = hub.member("ann", "r");
    let mut bob = hub.member("bob", "r");
    let keyed =
        |content: &str| json!({"type": "message", "roomId": "r", "content": content, "key": "k1"});
    let first = ann.ok(keyed("once"));
    for (again, ws) in [("again", &mut ann), ("from another tab", &mut tab)] {
        let ack = ws.ok(keyed(again));
        assert_eq!((&ack["messageId"], &ack["offset"]), (&first["messageId"], &first["offset"]));
    }
    let body = json!({"content": "by HTTP", "userId": "ann", "key": "k1"});
    let answer = hub.api().post("/api/rooms/r/messages", &body).expect(202);
    assert_eq!((&answer["id"], &answer["offset"]), (&first["messageId"], &first["offset"]));
    // Another user's key, another room's, and another key are not the same.
    let others = bob.ok(keyed("bob's own"));
    assert_eq!(others["offset"], 2);
    ann.join("r2");
    let elsewhere =
        ann.ok(json!({"type": "message", "roomId": "r2", "content": "elsewhere", "key": "k1"}));
    assert_ne!(elsewhere["messageId"], first["messageId"]);
    bob.say("r", "mark");
    for ws in [&mut ann, &mut tab, &mut bob] {
        ws.hears("mark");
        let heard: Vec<Value> = ws
            .take(|e| e["type"] == "message" && e["roomId"] == "r")
            .iter()
            .map(|m| m["content"].clone())
            .collect();
        assert_eq!(heard, [json!("once"), json!("bob's own")]);
    }
}

#[test]
fn keys_in_flight_together_publish_once() {
    let hub = Hub::start(&[UNLIMITED]);
    let mut ann = hub.member("ann", "r");
    let request = json!({"type": "message", "roomId": "r", "content": "x", "key": "same"});
    let ids: Vec<String> = (0..50).map(|_| ann.ask(request.clone())).collect();
    let acks: Vec<Value> = ids.iter().map(|id| ann.answer_to(id).unwrap()).collect();
    assert!(acks.iter().all(|a| a["messageId"] == acks[0]["messageId"] && a["offset"] == 1));
    ann.say("r", "mark");
    assert_eq!(ann.hears("mark")["offset"], 2);
    assert_eq!(ann.take(|e| e["content"] == "x").len(), 1);
}

#[test]
fn equal_request_ids_are_each_answered() {
    let hub = Hub::start(&[]);
    let mut ann = hub.member("ann", "r");
    for content in ["one", "two"] {
        ann.send(&json!({"type": "message", "roomId": "r", "content": content, "id": "same"}));
    }
    let first = ann.answer_to("same").unwrap();
    let second = ann.answer_to("same").unwrap();
    assert_eq!((&first["offset"], &second["offset"]), (&json!(1), &json!(2)));
    // Numbers come back as numbers, and as they were written.
    ann.send_text(r#"{"type":"members","roomId":"r","id":7}"#);
    ann.expect("the answer to 7", |e| e["id"] == 7 && e["type"] == "ack");
}

#[test]
fn a_batch_is_answered_command_by_command() {
    let hub = Hub::start(&[]);
    let mut ann = hub.member("ann", "r");
    let mut bob = hub.member("bob", "r");
    ann.send(&json!({"type": "batch", "messages": [
        {"type": "message", "roomId": "r", "content": "b1", "id": 1},
        {"type": "message", "roomId": "elsewhere", "content": "b2", "id": 2},
        {"type": "nonsense", "id": 3},
        {"event": "message", "data": {"roomId": "r", "content": "b4", "id": 4}},
        {"type": "batch", "messages": [], "id": 5},
    ]}));
    let mut answer = |id: u64| ann.expect(&format!("answer {id}"), |e| e["id"] == id);
    assert_eq!(answer(1)["offset"], 1);
    assert_eq!(answer(2)["code"], "not_a_member");
    assert_eq!(answer(3)["code"], "bad_request");
    assert_eq!(answer(4)["offset"], 2);
    assert_eq!(answer(5)["code"], "bad_request");
    assert_eq!(bob.hears("b1")["offset"], 1);
    assert_eq!(bob.hears("b4")["offset"], 2);
    let many = vec![json!({"type": "ping"}); 101];
    ann.refused(json!({"type": "batch", "messages": many}), "too_large");
}

#[test]
fn a_direct_message_goes_to_every_session_of_one_user() {
    let hub = Hub::start(&[]);
    let mut ann = hub.ws("ann");
    let (mut phone, mut laptop) = (hub.ws("bob"), hub.member("bob", "r"));
    let mut eve = hub.member("eve", "r");
    let ack = ann.ok(json!({"type": "direct", "userId": "bob", "content": "psst", "data": [1]}));
    assert!(is_uuid_v7(&ack["messageId"]), "{ack}");
    for ws in [&mut phone, &mut laptop] {
        let direct = ws.expect_kind("direct");
        assert_eq!((&direct["userId"], &direct["content"]), (&json!("ann"), &json!("psst")));
        assert_eq!((&direct["id"], &direct["data"]), (&ack["messageId"], &json!([1])));
        assert!(direct.get("roomId").is_none(), "{direct}");
    }
    laptop.say("r", "mark");
    eve.hears("mark");
    eve.fence();
    eve.none_kept("somebody else's message", kind("direct"));
    // A user who is away has it kept; one who never was is no error either.
    ann.ok(json!({"type": "direct", "userId": "never-seen", "content": "hello?"}));
}

#[test]
fn custom_events_are_stored_unless_volatile() {
    let hub = Hub::start(&[]);
    let mut ann = hub.member("ann", "r");
    let mut bob = hub.member("bob", "r");
    let request = |name: &str, volatile: bool| json!({"type": "event", "roomId": "r", "name": name, "data": {"x": 1}, "volatile": volatile});
    let stored = ann.ok(request("move", false));
    assert_eq!(stored["offset"], 1);
    let sent = ann.ok(request("cursor", true));
    assert!(sent.get("offset").is_none(), "{sent}");
    let durable = bob.expect("move", |e| e["type"] == "event" && e["name"] == "move");
    assert_eq!((&durable["offset"], &durable["data"]), (&json!(1), &json!({"x": 1})));
    assert_eq!((&durable["userId"], &durable["roomId"]), (&json!("ann"), &json!("r")));
    let volatile = bob.expect("cursor", |e| e["type"] == "event" && e["name"] == "cursor");
    assert!(volatile.get("offset").is_none(), "{volatile}");
    let page = bob.ok(json!({"type": "history", "roomId": "r"}));
    let names: Vec<_> = page["messages"].as_array().unwrap().iter().map(|m| &m["name"]).collect();
    assert_eq!(names, ["move"], "{page}");
    for name in ["", &"n".repeat(129)] {
        ann.refused(request(name, false), "bad_request");
    }
}

#[test]
fn volatile_events_are_counted_apart_from_publishes() {
    let hub = Hub::start(&[UNLIMITED]);
    let mut ann = hub.member("ann", "r");
    let mut bob = hub.member("bob", "r");
    for n in 0..20 {
        ann.send(
            &json!({"type": "event", "roomId": "r", "name": "v", "data": n, "volatile": true}),
        );
    }
    for n in 0..20 {
        bob.expect("the next volatile event", |e| e["name"] == "v" && e["data"] == n);
    }
}

#[test]
fn receipts_tell_how_far_readers_are() {
    let hub = Hub::start(&[]);
    let mut ann = hub.member("ann", "r");
    let mut bob = hub.member("bob", "r");
    ann.say("r", "one");
    ann.say("r", "two");
    bob.hears("two");
    bob.ok(json!({"type": "read", "roomId": "r", "offset": 2}));
    let receipt = ann.expect("a receipt", |e| e["type"] == "receipt" && e["status"] == "read");
    assert_eq!(
        (&receipt["userId"], &receipt["offset"], &receipt["roomId"]),
        (&json!("bob"), &json!(2), &json!("r"))
    );
}

#[test]
fn a_request_without_id_is_answered_only_when_it_fails() {
    let hub = Hub::start(&[]);
    let mut ann = hub.member("ann", "r");
    ann.send(&json!({"type": "message", "roomId": "r", "content": "silent"}));
    ann.hears("silent");
    ann.fence();
    ann.none_kept("ack without id", kind("ack"));
    ann.send(&json!({"type": "message", "roomId": "not-joined", "content": "x"}));
    let error = ann.expect_kind("error");
    assert_eq!(error["code"], "not_a_member");
    assert!(error.get("id").is_none(), "{error}");
    ann.send(&json!({"type": "members", "roomId": "r"}));
    assert_eq!(ann.expect_kind("members")["memberCount"], 1);
}
