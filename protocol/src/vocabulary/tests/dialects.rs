//! What the clients of each dialect send and expect, name by name.

use super::*;
use crate::error::ErrorCode;

const BOTH: [Copy; 2] = [Copy::Others, Copy::Sender];

fn direct() -> Event {
    stored("user:bob", Body::Direct { content: "psst".into(), data: None })
}

fn joins(request: Request, wanted: &str) {
    let Command::Join(join) = command(request) else { panic!("no join") };
    assert_eq!(join.room.as_str(), wanted);
}

fn leaves(request: Request, wanted: &str) {
    let Command::Leave(leave) = command(request) else { panic!("no leave") };
    assert_eq!(leave.room.as_str(), wanted);
}

fn publishes(request: Request, room: Option<&str>, content: &str) {
    let Command::Publish(publish) = command(request) else { panic!("no publish") };
    assert_eq!((publish.room.as_ref().map(RoomName::as_str), &*publish.content), (room, content));
}

fn types(request: Request, room: Option<&str>, is_typing: bool) {
    let Command::Typing(typing) = command(request) else { panic!("no typing") };
    assert_eq!((typing.room.as_ref().map(RoomName::as_str), typing.is_typing), (room, is_typing));
}

#[test]
fn join_room() {
    let v = shipped_one("join-room");
    assert_eq!(v.wires(), Wires { json: false, socketio: true });
    joins(emit(&v, "join-room", &[json!("r1")]), "r1");
    let sent = json!({"roomId": "r1", "content": "hi"});
    publishes(emit(&v, "message", &[sent]), Some("r1"), "hi");
    let to_user = emit(&v, "message", &[json!({"roomId": "user:bob", "content": "psst"})]);
    assert!(matches!(command(to_user), Command::Direct(d) if d.user.as_str() == "bob"));
    for copy in BOTH {
        assert_eq!(
            hears(&v, &message("r1", "hi"), copy),
            json!(["message", {"type": "message", "id": ID, "roomId": "r1", "userId": "ann",
                "username": "Ann", "content": "hi", "timestamp": AT.0}])
        );
    }
    assert_eq!(
        hears(&v, &Event::UserJoined(member("r1")), Copy::Others),
        json!(["user-joined", {"id": "ann", "userId": "ann", "name": "Ann", "username": "Ann",
            "roomId": "r1"}])
    );
    assert_eq!(
        hears(&v, &direct(), Copy::Others),
        json!(["direct-message", {"id": ID, "userId": "ann", "username": "Ann",
            "content": "psst", "timestamp": AT.0}])
    );
    let update = custom("user-update", None, r#"{"plan":"pro"}"#);
    assert_eq!(hears(&v, &update, Copy::Others), json!(["user-update", {"plan": "pro"}]));
    assert_eq!(
        hears(&v, &typing(true), Copy::Others),
        json!(["typing", {"type": "typing", "roomId": "r1", "userId": "ann", "username": "Ann",
            "isTyping": true}])
    );
    assert_eq!(ack(&v, Ok(published())), json!([{"success": true, "id": ID}]));
    assert_eq!(ack(&v, Ok(Reply::Done)), json!([{"success": true}]));
    let refused = HubError::new(ErrorCode::NotAMember, "join the room first");
    assert_eq!(
        ack(&v, Err(refused)),
        json!([{"success": false, "error": "join the room first", "code": "not_a_member"}])
    );
    for silent in [authenticated(), Event::Pong] {
        assert_eq!(hears(&v, &silent, Copy::Others), Value::Null);
    }
}

#[test]
fn chat_auth() {
    let v = shipped_one("chat-auth");
    let auth = emit(&v, "auth", &[json!({"id": "user123", "username": "john"})]);
    let Command::Auth(auth) = command(auth) else { panic!() };
    assert_eq!(auth.user.unwrap().as_str(), "user123");
    assert_eq!((auth.username.as_deref(), auth.token), (Some("john"), None));
    assert!(v.wants_receipt_message() && !v.wants_published() && !v.distinguishes_sender());
    let numbered = emit(&v, "auth", &[json!({"id": 42})]);
    assert!(
        matches!(command(numbered), Command::Auth(a) if a.user.clone().unwrap().as_str() == "42")
    );
    assert_eq!(ack(&v, Ok(Reply::Done)), json!([{"success": true}]));
    joins(emit(&v, "room:join", &[json!("room1")]), "room1");
    leaves(emit(&v, "room:leave", &[json!("room1")]), "room1");
    // The client passes an undefined callback as one more argument: it comes as null.
    joins(emit(&v, "room:join", &[json!("room1"), Value::Null]), "room1");
    let sent = json!({"roomId": "room1", "text": "Hello everyone!"});
    publishes(emit(&v, "chat:message", &[sent, Value::Null]), Some("room1"), "Hello everyone!");
    types(emit(&v, "typing:start", &[json!("room1")]), Some("room1"), true);
    types(emit(&v, "typing:stop", &[json!("room1")]), Some("room1"), false);
    let read = emit(&v, "chat:message:read", &[json!({"roomId": "room1", "offset": 4})]);
    assert!(matches!(command(read), Command::Read(r) if r.offset == 4));
    for copy in BOTH {
        assert_eq!(
            hears(&v, &message("room1", "hi"), copy),
            json!(["chat:message", {"id": format!("msg_{ID}"), "senderId": "ann",
                "senderName": "Ann", "text": "hi", "roomId": "room1", "timestamp": AT_TEXT,
                "status": "delivered", "offset": 4}])
        );
    }
    let receipt = |status| {
        Event::Receipt(Receipt {
            room: room("room1"),
            user: user("bob"),
            offset: 4,
            status,
            message: Some(MessageId(uuid::Uuid::from_u128(7))),
            author: Some(user("ann")),
        })
    };
    assert_eq!(
        hears(&v, &receipt(ReceiptStatus::Read), Copy::Own),
        json!(["chat:message:ack", {"messageId": format!("msg_{ID}"), "status": "read",
            "roomId": "room1", "userId": "bob", "offset": 4}])
    );
    // It is for the author alone; what is for everybody has one rendering.
    let read = receipt(ReceiptStatus::Read);
    assert_eq!(hears(&v, &read, Copy::Others), Value::Null);
    assert_eq!(v.copy(&read, Copy::Own), Copy::Own);
    for all in [Event::UserJoined(member("r")), typing(true), presence(Status::Away, 1)] {
        assert_eq!(v.copy(&all, Copy::Own), Copy::Others);
    }
    assert_eq!(hears(&v, &Event::UserLeft(member("r")), Copy::Own), Value::Null);
    assert_eq!(hears(&v, &receipt(ReceiptStatus::Delivered), Copy::Own), Value::Null);
    // What its client makes of what it was told is no mistake.
    for name in ["error", "authenticated"] {
        let ignored = command(emit(&v, name, &[Value::Null]));
        assert!(matches!(ignored, Command::Batch(none) if none.is_empty()));
    }
    assert_eq!(
        hears(&v, &Event::UserJoined(member("room1")), Copy::Others),
        json!(["room:user:joined", {"userId": "ann", "username": "Ann", "timestamp": AT_TEXT}])
    );
    assert_eq!(
        hears(&v, &Event::UserLeft(member("room1")), Copy::Others),
        json!(["room:user:left", {"userId": "ann", "timestamp": AT_TEXT}])
    );
    for on in [true, false] {
        assert_eq!(
            hears(&v, &typing(on), Copy::Others),
            json!(["typing:indicator", {"userId": "ann", "username": "Ann", "isTyping": on}])
        );
    }
    assert_eq!(
        hears(&v, &presence(Status::Online, 1), Copy::Others),
        json!(["user:online", {"userId": "ann", "status": "online", "timestamp": AT_TEXT}])
    );
    assert_eq!(
        hears(&v, &presence(Status::Offline, 0), Copy::Others),
        json!(["user:offline", {"userId": "ann", "timestamp": AT_TEXT}])
    );
    let update = custom("user:update", None, r#"{"a":1}"#);
    assert_eq!(hears(&v, &update, Copy::Others), json!(["user:update", {"a": 1}]));
    let refused = || HubError::new(ErrorCode::Unauthorized, "authenticate first");
    assert_eq!(
        told(&v, Err(refused())),
        json!(["error", {"message": "Not authenticated", "code": "unauthorized"}])
    );
    assert_eq!(
        ack(&v, Err(refused())),
        json!([{"success": false, "message": "Not authenticated", "code": "unauthorized"}])
    );
}

#[test]
fn typed_json() {
    let v = shipped_one("typed-json");
    let decode = |value: Value| v.decode_json(&value.to_string());
    let auth = json!({"type": "auth", "userId": "user123", "token": "jwt_token_here"});
    let Command::Auth(auth) = command(decode(auth)) else { panic!() };
    assert_eq!(auth.token.as_deref(), Some("jwt_token_here"));
    assert_eq!(auth.user.unwrap().as_str(), "user123");
    joins(decode(json!({"type": "join_room", "roomId": "room123"})), "room123");
    leaves(decode(json!({"type": "leave_room", "roomId": "room123"})), "room123");
    publishes(
        decode(json!({"type": "message", "text": "Hello everyone!"})),
        None,
        "Hello everyone!",
    );
    let full = json!({"type": "message", "roomId": "room123", "text": "Hello everyone!",
        "timestamp": "2025-01-15T10:30:00Z"});
    publishes(decode(full), Some("room123"), "Hello everyone!");
    let is_typing = json!({"type": "typing", "roomId": "room123", "isTyping": true});
    types(decode(is_typing), Some("room123"), true);
    for status in ["online", "away", "offline"] {
        let Command::Presence(set) = command(decode(json!({"type": "presence", "status": status})))
        else {
            panic!()
        };
        assert_eq!(set.status.as_str(), status);
    }
    assert_eq!(frame(&v, &authenticated()), json!({"type": "authenticated", "timestamp": AT_TEXT}));
    assert_eq!(
        frame(&v, &Event::UserJoined(member("room123"))),
        json!({"type": "user_joined", "userId": "ann", "timestamp": AT_TEXT})
    );
    assert_eq!(
        frame(&v, &message("room123", "hi")),
        json!({"type": "message", "id": format!("msg_{ID}"), "userId": "ann", "text": "hi",
            "roomId": "room123", "timestamp": AT_TEXT})
    );
    assert_eq!(
        frame(&v, &typing(true)),
        json!({"type": "typing", "roomId": "r1", "userId": "ann", "isTyping": true})
    );
    assert_eq!(
        frame(&v, &presence(Status::Away, 1)),
        json!({"type": "presence", "userId": "ann", "status": "away", "timestamp": AT_TEXT})
    );
    let notification = Event::Notification(Notification {
        title: "New message".into(),
        body: "You have a new message".into(),
        data: raw("{}"),
    });
    assert_eq!(
        frame(&v, &notification),
        json!({"type": "notification", "title": "New message",
            "body": "You have a new message", "data": {}})
    );
    let error = v.reply_json(&ReplyId::None, &Err(HubError::bad_request("no"))).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&error).unwrap(),
        json!({"type": "error", "message": "no", "code": "bad_request"})
    );
    assert_eq!(v.reply_json(&ReplyId::None, &Ok(Reply::Done)), None);
    for silent in [Event::Left(Left { room: room("r") }), Event::UserLeft(member("r"))] {
        assert_eq!(frame(&v, &silent), Value::Null);
    }
    assert!(
        v.encode_json(&custom("message", Some("eve"), r#"{"text":"forged"}"#), Copy::Others)
            .is_none()
    );
    assert_eq!(
        frame(&v, &custom("sale", None, r#"{"type":"message","price":1.50,"userId":"boss"}"#)),
        json!({"type": "sale", "price": 1.50})
    );
}

#[test]
fn message_new() {
    let v = shipped_one("message-new");
    joins(emit(&v, "room:join", &[json!("r1")]), "r1");
    leaves(emit(&v, "room:leave", &[json!("r1")]), "r1");
    publishes(
        emit(&v, "message:send", &[json!({"roomId": "r1", "content": "hi"})]),
        Some("r1"),
        "hi",
    );
    for copy in BOTH {
        assert_eq!(
            hears(&v, &message("r1", "hi"), copy),
            json!(["message:new", {"id": ID, "roomId": "r1", "userId": "ann", "username": "Ann",
                "content": "hi", "createdAt": AT_TEXT, "timestamp": AT_TEXT}])
        );
    }
    assert_eq!(
        hears(&v, &Event::UserJoined(member("r1")), Copy::Others),
        json!(["room:user-joined", {"userId": "ann", "roomId": "r1"}])
    );
    let online = presence(Status::Online, 1);
    assert!(v.hears_everybody());
    assert_eq!(hears(&v, &online, Copy::Others), json!(["user:online", {"userId": "ann"}]));
    assert_eq!(v.copy(&online, Copy::Own), Copy::Others);
    let refused = HubError::new(ErrorCode::Unauthorized, "a token is needed");
    assert_eq!(v.connect_error(&refused, true), "Authentication required");
    assert_eq!(v.connect_error(&refused, false), "Invalid token");
    let offline = presence(Status::Offline, 0);
    assert_eq!(hears(&v, &offline, Copy::Others), json!(["user:offline", {"userId": "ann"}]));
    let refused = HubError::new(ErrorCode::Forbidden, "the room may not be joined by this user");
    assert_eq!(
        told(&v, Err(refused)),
        json!(["error", {"message": "Access denied", "code": "forbidden"}])
    );
}

#[test]
fn chat_ack() {
    let v = shipped_one("chat-ack");
    assert!(v.distinguishes_sender() && v.wants_published() && !v.wants_receipt_message());
    publishes(
        emit(&v, "chat:message", &[json!({"content": "hi", "roomId": "r1"})]),
        Some("r1"),
        "hi",
    );
    let is_typing = json!({"roomId": "r1", "isTyping": false});
    types(emit(&v, "chat:typing", &[is_typing]), Some("r1"), false);
    joins(emit(&v, "room:join", &[json!("r1")]), "r1");
    joins(emit(&v, "join:global", &[json!("r1")]), "global:r1");
    let shape = json!({"id": ID, "userId": "ann", "username": "Ann", "content": "hi",
        "timestamp": AT_TEXT, "roomId": "r1"});
    let event = message("r1", "hi");
    assert_eq!(hears(&v, &event, Copy::Others), json!(["chat:message", shape]));
    assert_eq!(hears(&v, &event, Copy::Sender), json!(["chat:message:sent", shape]));
    assert_eq!(ack(&v, Ok(published())), json!([{"success": true, "message": shape}]));
    assert_eq!(
        ack(&v, Err(HubError::unavailable("later"))),
        json!([{"success": false, "error": "later", "code": "unavailable"}])
    );
    assert_eq!(
        hears(&v, &typing(true), Copy::Others),
        json!(["chat:typing", {"userId": "ann", "username": "Ann", "isTyping": true}])
    );
    assert_eq!(
        hears(&v, &Event::UserJoined(member("r1")), Copy::Others),
        json!(["room:user_joined", {"userId": "ann", "username": "Ann"}])
    );
    assert_eq!(
        hears(&v, &Event::UserLeft(member("r1")), Copy::Others),
        json!(["room:user_left", {"userId": "ann", "username": "Ann"}])
    );
    // In other rooms who joins is not told so; what is global says on which node.
    assert_eq!(hears(&v, &Event::UserJoined(member("r1")), Copy::Own), Value::Null);
    let global = Member { node: Some("node-1".into()), ..member("global:r1") };
    for copy in [Copy::Others, Copy::Own] {
        assert_eq!(
            hears(&v, &Event::UserJoined(global.clone()), copy),
            json!(["user:joined", {"userId": "ann", "workerId": "node-1"}])
        );
    }
    // What the hub sent comes back from a client that echoes: nothing new.
    for (name, value) in [
        ("chat:message", json!({"id": ID, "content": "hi", "roomId": "r1"})),
        ("chat:typing", json!({"userId": "ann", "isTyping": true})),
        ("user:online", json!({"userId": "ann"})),
    ] {
        let ignored = command(emit(&v, name, &[value]));
        assert!(matches!(ignored, Command::Batch(none) if none.is_empty()), "{name}");
    }
    assert_eq!(
        hears(&v, &presence(Status::Online, 2), Copy::Others),
        json!(["user:online", {"userId": "ann", "socketCount": 2}])
    );
    let offline = presence(Status::Offline, 0);
    assert_eq!(hears(&v, &offline, Copy::Others), json!(["user:offline", {"userId": "ann"}]));
    let request = emit(&v, "broadcast:global", &[json!({"text": "all", "fromWorker": "forged"})]);
    let Command::Event(sent) = command(request) else { panic!() };
    assert_eq!((sent.to, &*sent.name), (EventTarget::Everyone, "global:message"));
    assert!(sent.volatile && sent.echo && sent.roles.is_none());
    let event = custom("global:message", Some("ann"), sent.data.unwrap().get());
    assert_eq!(
        hears(&v, &event, Copy::Others),
        json!(["global:message", {"text": "all", "fromWorker": "node-1"}])
    );
    let large = json!({"text": "x".repeat(20_000)});
    let refused = emit(&v, "broadcast:global", &[large]).command.unwrap_err();
    assert_eq!(refused.code, ErrorCode::TooLarge);
}

#[test]
fn plain_chat() {
    let v = shipped_one("plain-chat");
    assert_eq!(v.auto_join(), [room("lobby")]);
    let decode = |value: Value| v.decode_json(&value.to_string());
    publishes(decode(json!({"type": "chat", "message": "Hello World"})), None, "Hello World");
    assert_eq!(
        frame(&v, &message("lobby", "Hello World")),
        json!({"type": "chat", "id": ID, "message": "Hello World", "userId": "ann",
            "username": "Ann", "roomId": "lobby", "timestamp": AT_TEXT})
    );
    let batch = json!({"type": "batch", "timestamp": 1,
        "messages": [{"event": "chat", "data": {"message": "one"}}, {"type": "chat", "message": "two"}]});
    let Command::Batch(items) = command(decode(batch)) else { panic!() };
    for (item, content) in items.into_iter().zip(["one", "two"]) {
        publishes(item, None, content);
    }
    assert_eq!(frame(&v, &authenticated()), Value::Null);
}
