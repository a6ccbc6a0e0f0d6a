//! Receipts: who has got a message and who has read it, as far as clients say so.

use serde_json::{Value, json};

use crate::support::*;

const ON: (&str, &str) = ("HUBBUB__RECEIPTS__VOCABULARIES", "hubbub");
const QUICK: (&str, &str) = ("HUBBUB__RECEIPTS__INTERVAL_MS", "20");

fn delivered(ws: &mut Ws, offset: u64) {
    ws.ok(json!({"type": "delivered", "roomId": "r", "offset": offset}));
}

/// Who has a message by HTTP: user and status.
fn users(hub: &Hub, message: &Value) -> Vec<(String, String)> {
    let message = message.to_string().replace('"', "");
    let answer = hub.api().get(&format!("/api/rooms/r/messages/{message}/receipts")).expect(200);
    let users = answer["users"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    users.map(|user| (text(&user["userId"]), text(&user["status"]))).collect()
}

/// Waits until these users have a message.
fn until_users(hub: &Hub, message: u64, wanted: &[(&str, &str)]) {
    let wanted: Vec<_> = wanted.iter().map(|(u, s)| ((*u).to_owned(), (*s).to_owned())).collect();
    until("the receipts are kept", SOON, || (users(hub, &json!(message)) == wanted).then_some(()));
}

#[test]
fn without_a_word_in_the_configuration_nothing_is_kept() {
    let hub = Hub::start(&[]);
    let mut ann = hub.connect(Handshake::new().query_token(&token("ann", json!({}))));
    assert!(ann.expect_kind("authenticated").get("receipts").is_none());
    ann.join("r");
    let mut bob = hub.member("bob", "r");
    ann.say("r", "one");
    bob.hears("one");
    bob.refused(json!({"type": "delivered", "roomId": "r", "offset": 1}), "bad_request");
    // What is read is passed on as ever.
    bob.ok(json!({"type": "read", "roomId": "r", "offset": 1}));
    let told = ann.expect_kind("receipt");
    assert_eq!(
        told,
        json!({"type": "receipt", "roomId": "r", "userId": "bob", "offset": 1,
        "status": "read"})
    );
    hub.api().get("/api/rooms/r/messages/1/receipts").expect_error(404, "not_found");
    assert!(
        hub.api().get("/api/rooms/r/messages/1/trace").expect(200).get("acknowledged").is_none()
    );
    assert_eq!(hub.metrics().sum("hubbub_receipts_total", &[]), 0.0);
}

#[test]
fn authors_are_told_who_has_got_and_read_what_they_wrote() {
    let mut hub = Hub::start(&[ON, QUICK]);
    let mut ann = hub.connect(Handshake::new().query_token(&token("ann", json!({}))));
    assert_eq!(ann.expect_kind("authenticated")["receipts"], true);
    ann.join("r");
    let (mut bob, mut eve) = (hub.member("bob", "r"), hub.member("eve", "r"));
    let ids: Vec<Value> = ["one", "two"].map(|text| ann.say("r", text)["messageId"].clone()).into();
    bob.say("r", "three");
    for ws in [&mut bob, &mut eve] {
        ws.hears("three");
    }
    delivered(&mut bob, 1);
    let told = ann.expect_kind("receipt");
    assert_eq!(
        told,
        json!({"type": "receipt", "roomId": "r", "userId": "bob", "offset": 1,
        "status": "delivered"})
    );
    assert_eq!(users(&hub, &ids[0]), [("bob".into(), "delivered".into())]);
    assert_eq!(users(&hub, &ids[1]), []);

    // Late ones and those of what was never sent change nothing; each author hears of its own.
    delivered(&mut eve, 999);
    assert_eq!(ann.expect_kind("receipt")["offset"], 3);
    let told = bob.expect_kind("receipt");
    assert_eq!((&told["userId"], &told["offset"]), (&json!("eve"), &json!(3)));
    delivered(&mut eve, 2);
    until_users(&hub, 3, &[("eve", "delivered")]);

    // What is read is told to all at once, and kept.
    bob.ok(json!({"type": "read", "roomId": "r", "offset": 2}));
    for ws in [&mut ann, &mut eve] {
        let told = ws.expect_kind("receipt");
        assert_eq!((&told["status"], &told["offset"]), (&json!("read"), &json!(2)));
    }
    until_users(&hub, 2, &[("bob", "read"), ("eve", "delivered")]);
    let answer = hub.api().get("/api/rooms/r/messages/2/receipts").expect(200);
    assert_eq!(
        (&answer["deliveredCount"], &answer["readCount"], &answer["complete"]),
        (&json!(2), &json!(1), &json!(true))
    );
    assert_eq!((&answer["id"], &answer["userId"]), (&ids[1], &json!("ann")));

    // A member may ask, page by page.
    let page = eve.ok(json!({"type": "receipts", "roomId": "r", "limit": 1}));
    assert_eq!(page["receipts"], json!([{"userId": "bob", "delivered": 2, "read": 2}]));
    assert_eq!((&page["hasMore"], page["epoch"].as_str().unwrap().len()), (&json!(true), 16));
    let page = eve.ok(json!({"type": "receipts", "roomId": "r", "after": "bob"}));
    assert_eq!(page["receipts"], json!([{"userId": "eve", "delivered": 3, "read": 0}]));
    assert_eq!(page["hasMore"], false);
    hub.ws("zoe").refused(json!({"type": "receipts", "roomId": "r"}), "not_a_member");

    // An operator sees it beside where the message is.
    let trace = |user: &str| {
        hub.api().get(&format!("/api/rooms/r/messages/2/trace?user={user}")).expect(200)
    };
    assert_eq!(trace("bob")["acknowledged"], json!([{"userId": "bob", "status": "read"}]));
    let answer = trace("bob")["answer"].as_str().unwrap().to_owned();
    assert!(answer.starts_with("bob has read it."), "{answer}");
    let answer = trace("eve")["answer"].as_str().unwrap().to_owned();
    assert!(answer.starts_with("A client of eve has said that it has it."), "{answer}");
    assert_eq!(trace("ann")["acknowledged"], json!([]));

    for ws in [&mut ann, &mut bob, &mut eve] {
        ws.fence();
        ws.none_kept("one receipt too many", kind("receipt"));
    }
    hub.restart();
    assert_eq!(
        users(&hub, &json!(2)),
        [("bob".into(), "read".into()), ("eve".into(), "delivered".into())]
    );
}

#[test]
fn a_hundred_receipts_are_told_as_one() {
    let interval = ("HUBBUB__RECEIPTS__INTERVAL_MS", "500");
    let hub = Hub::start(&[ON, UNLIMITED, interval]);
    let (mut ann, mut bob) = (hub.member("ann", "r"), hub.member("bob", "r"));
    for n in 0..100 {
        ann.say("r", &n.to_string());
    }
    bob.hears("99");
    for offset in 1..=100 {
        bob.send(&json!({"type": "delivered", "roomId": "r", "offset": offset}));
    }
    bob.fence();
    let mut told = Vec::new();
    while told.last() != Some(&100) {
        told.push(ann.expect_kind("receipt")["offset"].as_u64().unwrap());
    }
    assert!(told.len() <= 3, "{told:?}");
    bob.none_kept("an answer nobody asked for", kind("ack"));
}

#[test]
fn an_author_is_told_of_messages_that_are_long_past() {
    let hub = Hub::start(&[ON, QUICK, UNLIMITED]);
    let (mut ann, mut bob) = (hub.member("ann", "r"), hub.member("bob", "r"));
    ann.say("r", "the first");
    let mut eve = hub.member("eve", "r");
    // More than a worker keeps at hand.
    for n in 0..150 {
        eve.say("r", &n.to_string());
    }
    bob.hears("149");
    delivered(&mut bob, 151);
    let told = ann.expect_kind("receipt");
    assert_eq!((&told["userId"], &told["offset"]), (&json!("bob"), &json!(151)));
}

#[test]
fn a_room_keeps_so_many_users() {
    let hub = Hub::start(&[ON, QUICK, ("HUBBUB__RECEIPTS__MAX_MEMBERS", "2")]);
    let mut ann = hub.member("ann", "r");
    let mut others: Vec<Ws> = ["a", "b", "c"].map(|user| hub.member(user, "r")).into();
    ann.say("r", "one");
    for ws in &mut others {
        ws.hears("one");
        delivered(ws, 1);
        hub.metric_until("hubbub_receipts_total", &[], |n| n > 0.0);
    }
    hub.metric_until("hubbub_receipts_total", &["what=\"untracked\""], |n| n == 1.0);
    let answer = hub.api().get("/api/rooms/r/messages/1/receipts").expect(200);
    assert_eq!((&answer["deliveredCount"], &answer["complete"]), (&json!(2), &json!(false)));
}

#[test]
fn each_vocabulary_has_them_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let text = r#"
        wires = ["json"]
        [json]
        id = "id"
        [in.enter]
        command = "join"
        args = { roomId = "room" }
        [in.say]
        command = "message"
        args = { roomId = "room", content = "words" }
        [in.got]
        command = "delivered"
        args = { roomId = "room", offset = "at" }
        [reply.ok]
        fields = { ok = { const = true }, "..." = "*" }
        [error]
        [out.authenticated]
        event = "hello"
        fields = { receipts = { from = "receipts", default = false } }
        [out.message]
        event = "heard"
        fields = { at = "offset" }
        [out.receipt]
        event = "has"
        fields = { who = "userId", at = "offset", what = "status", id = "messageId" }
    "#;
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    let settings = |name| {
        let allowed = ("HUBBUB__JSON__ALLOW_VOCABULARIES", path);
        [allowed, QUICK, ("HUBBUB__RECEIPTS__VOCABULARIES", name)]
    };
    let hub = Hub::start(&settings("mine"));
    let mine = |user: &str| {
        let target = format!("/ws?vocabulary={path}&token={}", token(user, json!({})));
        let handshake = Handshake::new().target(&target.replace(path, "mine"));
        let mut ws = hub.connect(handshake);
        assert_eq!(ws.expect_kind("hello")["receipts"], true);
        ws.ok(json!({"type": "enter", "room": "r"}));
        ws
    };
    let (mut ann, mut bob) = (mine("ann"), mine("bob"));
    let mut plain = hub.member("eve", "r");
    ann.ok(json!({"type": "say", "room": "r", "words": "one"}));
    plain.say("r", "two");
    bob.expect("the second", |e| e["type"] == "heard" && e["at"] == 2);
    plain.refused(json!({"type": "delivered", "roomId": "r", "offset": 1}), "bad_request");
    bob.ok(json!({"type": "got", "room": "r", "at": 2}));
    let told = ann.expect_kind("has");
    assert_eq!(
        (&told["who"], &told["at"], &told["what"]),
        (&json!("bob"), &json!(2), &json!("delivered"))
    );
    assert!(told["id"].as_str().is_some_and(|id| id.len() == 36), "{told}");
    plain.say("r", "three");
    plain.hears("three");
    plain.none_kept("a receipt of a vocabulary without them", kind("receipt"));
    // The session that reads in a vocabulary without receipts is told on, and not kept.
    plain.ok(json!({"type": "read", "roomId": "r", "offset": 1}));
    assert_eq!(ann.expect_kind("has")["what"], "read");
    assert_eq!(users(&hub, &json!(1)), [("bob".into(), "delivered".into())]);
}
