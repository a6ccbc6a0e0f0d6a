//! What the language can say beyond the shipped vocabularies.

use super::*;
use crate::error::ErrorCode;

#[test]
fn arguments_are_found_mapped_and_completed() {
    let v = parse(
        r#"
        [in.status]
        command = "presence"
        args = { status = { from = ["$1", "state.now"], map = { busy = "away" }, default = "online" } }
        [in.open]
        command = "join"
        args = { roomId = { from = "channel", strip = "\#", prefix = "team-" } }
        "#
        .replace("\\#", "#")
        .as_str(),
    );
    let status = |args: &[Value]| match command(emit(&v, "status", args)) {
        Command::Presence(set) => set.status,
        other => panic!("{other:?}"),
    };
    assert_eq!(status(&[json!({}), json!("busy")]), Status::Away);
    assert_eq!(status(&[json!({"state": {"now": "offline"}})]), Status::Offline);
    assert_eq!(status(&[]), Status::Online);
    let wrong = emit(&v, "status", &[json!(1), json!("gone")]).command.unwrap_err();
    assert!(wrong.message.contains("`argument 2` must be online"), "{wrong}");
    for written in ["#general", "general"] {
        let request = emit(&v, "open", &[json!({"channel": written})]);
        assert!(matches!(command(request), Command::Join(j) if j.room.as_str() == "team-general"));
    }
    let missing = emit(&v, "open", &[json!({})]).command.unwrap_err();
    assert!(missing.message.contains("`channel` is missing"), "{missing}");
}

#[test]
fn one_event_may_be_several_commands_and_the_last_answers() {
    let v = parse(
        r#"
        [[in.switch]]
        command = "leave"
        args = { roomId = "from" }
        [[in.switch]]
        command = "join"
        args = { roomId = "to" }
        [in.seen]
        command = "ignore"
        "#,
    );
    let request = emit(&v, "switch", &[json!({"from": "a", "to": "b"})]);
    assert_eq!(request.reply, ReplyId::None);
    let Command::Batch(items) = command(request) else { panic!() };
    assert!(matches!(&items[0].command, Ok(Command::Leave(l)) if l.room.as_str() == "a"));
    assert!(matches!(&items[1].command, Ok(Command::Join(j)) if j.room.as_str() == "b"));
    assert_eq!([&items[0].reply, &items[1].reply], [&ReplyId::None, &ReplyId::SocketIo(3)]);
    let ignored = emit(&v, "seen", &[]);
    assert_eq!(ignored.reply, ReplyId::SocketIo(3));
    assert!(matches!(command(ignored), Command::Batch(items) if items.is_empty()));
}

#[test]
fn custom_events_say_who_where_and_how() {
    let v = parse(
        r#"
        wires = ["socketio"]
        [events."cursor:move"]
        volatile = true
        echo = false
        data = "$1"
        room = "$0"
        max_bytes = 10
        [events.announce]
        from = ["admin", "staff"]
        to = "all"
        [events.poke]
        to = "user"
        user = "to"
        key = "nonce"
        [events.invoice]
        from = "backend"
        out = { args = ["userId", "data"] }
        [events."*"]
        "#,
    );
    let event = |name: &str, args: &[Value]| match emit(&v, name, args).command {
        Ok(Command::Event(event)) => Ok(event),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.code),
    };
    let cursor = event("cursor:move", &[json!("r1"), json!([1, 2])]).unwrap();
    assert_eq!(cursor.to, EventTarget::Room(Some(room("r1"))));
    assert!(cursor.volatile && !cursor.echo);
    assert_eq!(cursor.data.unwrap().get(), "[1,2]");
    let large = json!("x".repeat(9));
    assert_eq!(event("cursor:move", &[json!("r1"), large]).unwrap_err(), ErrorCode::TooLarge);
    let announce = event("announce", &[json!({"a": 1})]).unwrap();
    assert_eq!(announce.to, EventTarget::Everyone);
    assert_eq!(announce.roles.as_deref(), Some(&["admin".into(), "staff".into()][..]));
    let poke = event("poke", &[json!({"to": "bob", "nonce": "n1"})]).unwrap();
    assert_eq!((poke.to, poke.key.as_deref()), (EventTarget::User(user("bob")), Some("n1")));
    assert!(!poke.volatile);
    assert_eq!(event("invoice", &[]).unwrap_err(), ErrorCode::Forbidden);
    assert_eq!(
        hears(&v, &custom("invoice", Some("bob"), "[7]"), Copy::Others),
        json!(["invoice", "bob", [7]])
    );
    let other = event("anything", &[json!({"roomId": "r2"})]).unwrap();
    assert_eq!((&*other.name, other.to), ("anything", EventTarget::Room(Some(room("r2")))));
    assert_eq!(event("*", &[json!({})]).unwrap().name.as_ref(), "*");
    assert_eq!(event("", &[json!({})]).unwrap_err(), ErrorCode::BadRequest);
}

#[test]
fn shapes_nest_rename_and_leave_out() {
    let v = parse(
        r#"
        time = "epoch_ms"
        [in.x]
        command = "ping"
        [out.message]
        event = "post"
        fields = { author = { object = { id = { from = "userId", prefix = "u-" }, name = "username" } }, at = "timestamp", iso = { from = "timestamp", time = "rfc3339" }, extra = { from = "data", default = {} }, missing = "data", v = { const = [1, "a"] }, kind = { from = "roomId", map = { r1 = 1 } } }
        sender = false
        [[out.presence]]
        when = { status = "off*" }
        event = "gone"
        [[out.presence]]
        when = { socketCount = 1 }
        event = "here"
        [out.joined]
        fields = { room = "roomId", messages = "messages", people = "members" }
        [out.member]
        fields = { id = "userId" }
        "#,
    );
    let text = v.encode_json(&message("r1", "x"), Copy::Others).unwrap();
    assert_eq!(
        String::from_utf8(text).unwrap(),
        format!(
            r#"{{"type":"post","author":{{"id":"u-ann","name":"Ann"}},"at":{},"iso":"{AT_TEXT}","extra":{{}},"v":[1,"a"],"kind":1}}"#,
            AT.0
        )
    );
    assert!(v.encode_json(&message("r1", "x"), Copy::Sender).is_none());
    assert_eq!(frame(&v, &presence(Status::Offline, 0))["type"], "gone");
    assert_eq!(frame(&v, &presence(Status::Online, 1))["type"], "here");
    assert_eq!(frame(&v, &presence(Status::Online, 2)), Value::Null);
    let Event::Stored(one) = message("r1", "x") else { panic!() };
    let Event::Stored(other) = stored("r1", Body::Event { name: "e".into(), data: None }) else {
        panic!()
    };
    let joined = Event::Joined(Joined {
        room: room("r1"),
        position: one.position,
        members: Arc::new([member("r1")].into_iter().collect()),
        member_count: 1,
        recovered: false,
        messages: vec![other, one],
    });
    let joined = frame(&v, &joined);
    assert_eq!(joined["people"], json!([{"id": "ann"}]));
    // What the vocabulary does not have is left out of lists as well.
    assert_eq!(joined["messages"].as_array().unwrap().len(), 1);
    assert_eq!(joined["messages"][0]["type"], "post");
}

#[test]
fn nobody_passes_a_custom_event_off_as_the_hubs() {
    let v = shipped_one("message-new");
    for forged in ["message:new", "user:online", "error"] {
        assert_eq!(hears(&v, &custom(forged, Some("eve"), "{}"), Copy::Others), Value::Null);
    }
    for reserved in ["connect", "disconnect", "connect_error", "newListener"] {
        assert_eq!(hears(&v, &custom(reserved, None, "{}"), Copy::Others), Value::Null);
    }
    let fine = custom("deploy", Some("eve"), "[1]");
    assert_eq!(hears(&v, &fine, Copy::Others), json!(["deploy", [1]]));
}

#[test]
fn unknown_events_are_refused_or_ignored() {
    let strict = parse("[in.a]\ncommand = \"ping\"");
    let refused = emit(&strict, "b", &[]).command.unwrap_err();
    assert_eq!(refused.message, "unknown event `b`");
    let lenient = parse("unknown = \"ignore\"\n[in.a]\ncommand = \"ping\"");
    assert!(matches!(command(emit(&lenient, "b", &[])), Command::Batch(items) if items.is_empty()));
}
