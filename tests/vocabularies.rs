//! Vocabularies on the JSON wire, from the outside: the dialects as their own
//! clients speak them, a vocabulary of one's own, and members of one room who
//! speak different ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/mod.rs"]
mod support;

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use support::*;

const ANONYMOUS: (&str, &str) = ("HUBBUB__AUTH__ANONYMOUS", "true");
const VOCABULARY: &str = "HUBBUB__JSON__VOCABULARY";
const CHOICE: (&str, &str) = ("HUBBUB__JSON__ALLOW_VOCABULARIES", "*");

/// A connection without a token that names itself.
fn named(hub: &Hub, user: &str) -> Ws {
    let mut ws = hub.connect(Handshake::new());
    ws.send(&json!({"type": "auth", "userId": user}));
    let told = ws.expect_kind("authenticated");
    assert_eq!(told.as_object().unwrap().len(), 2, "{told}");
    assert!(told["timestamp"].as_str().unwrap().ends_with('Z'), "{told}");
    ws
}

fn choosing(hub: &Hub, user: &str, vocabulary: &str) -> Ws {
    let token = token(user, json!({}));
    hub.connect(Handshake::new().query_token(&format!("{token}&vocabulary={vocabulary}")))
}

#[test]
fn typed_json_clients_talk_without_naming_the_room() {
    let hub = Hub::start(&[ANONYMOUS, (VOCABULARY, "typed-json")]);
    assert!(
        hub.log.find(|l| l["msg"].as_str().is_some_and(|m| m.contains("auth.anonymous"))).is_some()
    );
    let (mut ann, mut bob) = (named(&hub, "ann"), named(&hub, "bob"));
    ann.ok(json!({"type": "join_room", "roomId": "room123"}));
    bob.send(&json!({"type": "join_room", "roomId": "room123"}));
    let joined = ann.expect_kind("user_joined");
    assert_eq!(joined["userId"], "bob");
    assert_eq!(joined.as_object().unwrap().len(), 3, "{joined}");
    bob.send(&json!({"type": "message", "text": "Hello everyone!"}));
    for ws in [&mut ann, &mut bob] {
        let message = ws.expect_kind("message");
        assert_eq!(
            (&message["text"], &message["userId"]),
            (&json!("Hello everyone!"), &json!("bob"))
        );
        assert_eq!(message["roomId"], "room123");
        assert!(message["id"].as_str().unwrap().starts_with("msg_"), "{message}");
        assert!(message.get("content").is_none() && message.get("offset").is_none(), "{message}");
    }
    ann.send(&json!({"type": "typing", "roomId": "room123", "isTyping": true}));
    assert_eq!(bob.expect_kind("typing")["isTyping"], true);
    ann.send(&json!({"type": "presence", "status": "away"}));
    bob.expect("away", |e| e["type"] == "presence" && e["status"] == "away");
    bob.send(&json!({"type": "leave_room", "roomId": "room123"}));
    bob.send(&json!({"type": "message", "text": "nobody hears this"}));
    let error = bob.expect_kind("error");
    assert!(error["message"].as_str().unwrap().len() > 5, "{error}");
    ann.fence();
    ann.none_kept("message after leaving", |e| e["text"] == "nobody hears this");
    ann.none_kept("event of another vocabulary", |e| e["type"] == "joined");
}

#[test]
fn a_name_is_not_believed_where_tokens_are_needed() {
    let hub = Hub::start(&[(VOCABULARY, "typed-json")]);
    let mut eve = hub.connect(Handshake::new());
    eve.send(&json!({"type": "auth", "userId": "ann"}));
    eve.expect_kind("error");
    eve.expect_close(4401);
    let mut ann = hub.connect(Handshake::new());
    ann.send(&json!({"type": "auth", "userId": "ann", "token": token("ann", json!({}))}));
    ann.expect_kind("authenticated");
    // Who a token names may say so again; nobody else.
    ann.send(&json!({"type": "auth", "userId": "ann", "id": 1}));
    ann.expect("the ack", |e| e["id"] == 1 && e["type"] == "ack");
    ann.send(&json!({"type": "auth", "userId": "bob", "id": 2}));
    ann.expect("the refusal", |e| e["id"] == 2 && e["type"] == "error");
}

#[test]
fn plain_chat_clients_are_in_the_lobby_by_themselves() {
    let hub = Hub::start(&[(VOCABULARY, "plain-chat")]);
    let open = |user: &str| hub.connect(Handshake::new().query_token(&token(user, json!({}))));
    let (mut ann, mut bob) = (open("ann"), open("bob"));
    bob.fence();
    ann.fence();
    ann.send(&json!({"type": "chat", "message": "Hello World"}));
    for ws in [&mut ann, &mut bob] {
        let chat = ws.expect_kind("chat");
        assert_eq!((&chat["message"], &chat["username"]), (&json!("Hello World"), &json!("ann")));
    }
    bob.send(&json!({"type": "batch", "timestamp": 1, "messages": [
        {"event": "chat", "data": {"message": "one"}},
        {"event": "chat", "data": {"message": "two"}},
    ]}));
    for content in ["one", "two"] {
        ann.expect(content, |e| e["type"] == "chat" && e["message"] == content);
    }
    // Who may not be there is told so, and is not there.
    let rooms = json!({"rooms": ["elsewhere"]});
    let mut eve = hub.connect(Handshake::new().query_token(&token("eve", rooms)));
    assert_eq!(eve.expect_kind("error")["code"], "forbidden");
    ann.send(&json!({"type": "chat", "message": "mark"}));
    bob.expect("mark", |e| e["message"] == "mark");
    eve.fence();
    eve.none_kept("chat", kind("chat"));
}

#[test]
fn members_of_one_room_may_speak_different_vocabularies() {
    let hub = Hub::start(&[CHOICE]);
    let mut ann = hub.member("ann", "r");
    let mut bob = choosing(&hub, "bob", "typed-json");
    bob.expect_kind("authenticated");
    bob.send(&json!({"type": "join_room", "roomId": "r", "id": 1}));
    let ack = bob.expect_kind("ack");
    assert_eq!((&ack["id"], &ack["ok"]), (&json!(1), &json!(true)));
    ann.say("r", "from ann");
    let heard = bob.expect_kind("message");
    assert_eq!(heard["text"], "from ann");
    bob.send(&json!({"type": "message", "roomId": "r", "text": "from bob"}));
    let message = ann.hears("from bob");
    assert_eq!((&message["offset"], &message["userId"]), (&json!(2), &json!("bob")));
    let refusal = hub.refusal(
        Handshake::new().query_token(&format!("{}&vocabulary=chat-ack", token("x", json!({})))),
    );
    assert_eq!(refusal.status, 400, "{}", refusal.text());
}

#[test]
fn a_vocabulary_is_chosen_only_where_the_configuration_allows_it() {
    let hub = Hub::start(&[]);
    let query = |name: &str| {
        Handshake::new().query_token(&format!("{}&vocabulary={name}", token("x", json!({}))))
    };
    let refusal = hub.refusal(query("typed-json"));
    assert_eq!(refusal.status, 400);
    assert!(refusal.text().contains("json.allow_vocabularies"), "{}", refusal.text());
    hub.ws_by(query("hubbub"));
}

/// A vocabulary of the test's own; the folder must outlive the hub.
fn own(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

const MINE: &str = r#"
wires = ["json"]

[json]
id = "nonce"

[in.enter]
command = "join"
args = { roomId = "channel" }

[in.say]
command = "message"
args = { roomId = "channel", content = "words" }

[in.seen]
command = "read"
args = { roomId = "channel", offset = "upTo" }

[in.fence]
command = "ping"

[events.cursor]
room = "channel"
volatile = true
echo = false

[events.announce]
from = ["admin"]
to = "all"

[events.poke]
to = "user"
user = "whom"

[events.invoice]
from = "backend"

[out.joined]
event = "entered"
fields = { channel = "roomId", messages = "messages" }

[out.message]
event = "heard"
fields = { words = "content", by = { object = { id = "userId" } }, n = "offset" }
sender = { event = "said" }

[out.receipt]
event = "seen"
fields = { id = "messageId", by = "userId" }

[out.event]
event = { from = "name" }
fields = { by = "userId", node = "nodeId", "..." = "data" }

[out.pong]

[reply.ok]
fields = { done = { const = true } }

[reply.published]
fields = { done = { const = true }, id = "messageId", words = "content" }

[error]
event = "oops"
fields = { why = "message", code = "code" }
messages = { forbidden = "not for you" }
"#;

fn mine(hub: &Hub, user: &str, claims: Value) -> Ws {
    let mut ws = hub.connect(Handshake::new().query_token(&token(user, claims)));
    ws.send(&json!({"type": "enter", "channel": "c"}));
    let entered = ws.expect_kind("entered");
    assert_eq!(entered["channel"], "c");
    ws
}

#[test]
fn a_vocabulary_of_ones_own_names_and_shapes_everything() {
    let (_folder, path) = own(MINE);
    let node = ("HUBBUB__NODE__ID", "node-7");
    let hub = Hub::start(&[(VOCABULARY, path.to_str().unwrap()), node]);
    let mut ann = mine(&hub, "ann", json!({}));
    let mut tab = mine(&hub, "ann", json!({}));
    let mut bob = mine(&hub, "bob", json!({"roles": ["admin"]}));
    ann.send(&json!({"type": "say", "channel": "c", "words": "hi", "nonce": "n1"}));
    let ack = ann.expect_kind("ack");
    assert_eq!(
        (&ack["nonce"], &ack["done"], &ack["words"]),
        (&json!("n1"), &json!(true), &json!("hi"))
    );
    let shape = |name: &str| json!({"type": name, "words": "hi", "by": {"id": "ann"}, "n": 1});
    assert_eq!(ann.expect_kind("said"), shape("said"));
    // Another session of the same user is another.
    for ws in [&mut tab, &mut bob] {
        assert_eq!(ws.expect_kind("heard"), shape("heard"));
    }
    bob.send(&json!({"type": "seen", "channel": "c", "upTo": 1}));
    let seen = ann.expect_kind("seen");
    assert_eq!((&seen["id"], &seen["by"]), (&ack["id"], &json!("bob")));

    ann.send(&json!({"type": "cursor", "channel": "c", "data": {"x": 1, "by": "forged"}}));
    assert_eq!(
        bob.expect_kind("cursor"),
        json!({"type": "cursor", "by": "ann", "node": "node-7", "x": 1})
    );
    ann.send(&json!({"type": "announce", "data": {}}));
    let refused = ann.expect_kind("oops");
    assert_eq!((&refused["why"], &refused["code"]), (&json!("not for you"), &json!("forbidden")));
    ann.send(&json!({"type": "invoice", "data": {}}));
    assert_eq!(ann.expect_kind("oops")["code"], "forbidden");
    // Everybody, in a room or not.
    let mut eve = hub.connect(Handshake::new().query_token(&token("eve", json!({}))));
    eve.send(&json!({"type": "fence"}));
    eve.expect_kind("pong");
    bob.send(&json!({"type": "announce", "data": {"text": "all"}}));
    for ws in [&mut ann, &mut tab, &mut bob, &mut eve] {
        assert_eq!(ws.expect_kind("announce")["text"], "all");
    }
    bob.send(&json!({"type": "poke", "whom": "eve", "data": {"n": 1}, "nonce": 5}));
    assert_eq!(bob.expect("the ack", |e| e["nonce"] == 5)["done"], true);
    assert_eq!(eve.expect_kind("poke")["by"], "bob");
    ann.send(&json!({"type": "fence"}));
    ann.expect_kind("pong");
    for unexpected in ["heard", "cursor", "poke", "message", "joined", "presence"] {
        ann.none_kept(unexpected, kind(unexpected));
    }
}

#[test]
fn check_tells_every_mistake_in_a_vocabulary() {
    let (folder, path) = own("[in.say]\ncommand = \"mesage\"\n\n[oot]\n");
    let check = |value: &str| {
        let output = hubbub()
            .arg("check")
            .env(VOCABULARY, value)
            .current_dir(folder.path())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = check(path.to_str().unwrap());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("mine.toml, line 2: `in.say.command`"), "{said}");
    assert!(said.contains("did you mean `message`?"), "{said}");
    assert!(said.contains("mine.toml, line 4: `oot`: unknown key; did you mean `out`?"), "{said}");
    let (code, said) = check("typedjson");
    assert_eq!(code, Some(1));
    assert!(said.contains("`json.vocabulary`: there is no vocabulary `typedjson`"), "{said}");
    assert_eq!(check("typed-json").0, Some(0));
}
