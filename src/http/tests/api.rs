//! What backends do: speak, look, send away.

use serde_json::json;

use super::*;

#[actix_web::test]
async fn a_message_reaches_the_room_and_its_history() {
    let node = Node::start(closed());
    let mut ann = node.session("ann", &["team 1/a"]).await;
    let body = json!({"content": "hi", "data": {"n": 1}, "userId": "bot", "key": "k1"});
    let path = "/api/rooms/team%201%2Fa/messages";
    let (status, first) = node.post(path, body.clone()).await;
    assert_eq!((status, first["offset"].as_u64()), (StatusCode::ACCEPTED, Some(1)));
    // The same key is the same message.
    assert_eq!(node.post(path, body).await, (StatusCode::ACCEPTED, first.clone()));
    let told = ann.expect("message").await;
    assert_eq!(told["id"], first["id"]);
    assert_eq!((&told["roomId"], &told["userId"]), (&json!("team 1/a"), &json!("bot")));
    assert_eq!((&told["content"], &told["data"]), (&json!("hi"), &json!({"n": 1})));

    let (_, second) = node.post(path, json!({"event": "moved", "data": [1]})).await;
    assert_eq!(second["offset"], 2);
    let event = ann.expect("event").await;
    assert_eq!((&event["name"], &event["data"]), (&json!("moved"), &json!([1])));
    let (_, third) = node.post(path, json!({"event": "e", "content": "c", "data": 7})).await;
    assert_eq!(third["offset"], 3);
    assert_eq!(ann.expect("event").await["data"], json!({"content": "c", "data": 7}));

    let (status, page) = node.get(&format!("{path}?limit=2")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&page["epoch"], &page["hasMore"]), (&first["epoch"], &json!(true)));
    let offsets = |page: &Value| {
        let messages = page["messages"].as_array().unwrap();
        messages.iter().map(|m| m["offset"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(offsets(&page), [2, 3]);
    let (_, before) = node.get(&format!("{path}?before=2")).await;
    assert_eq!(before["messages"], json!([told]));
    assert_eq!(before["hasMore"], false);
    let (_, after) = node.get(&format!("{path}?after=1&limit=1")).await;
    assert_eq!((offsets(&after), &after["hasMore"]), (vec![2], &json!(true)));
    let (status, both) = node.get(&format!("{path}?after=1&before=3")).await;
    assert_eq!((status, refusal(&both).0), (StatusCode::BAD_REQUEST, "bad_request"));
}

#[actix_web::test]
async fn the_short_form_publishes_too() {
    let node = Node::start(closed());
    let mut ann = node.session("ann", &["lobby"]).await;
    let (status, sent) = node
        .post("/api/message", json!({"roomId": "lobby", "text": "hello", "userId": "bot"}))
        .await;
    assert_eq!((status, sent), (StatusCode::OK, json!({"sent": true})));
    let told = ann.expect("message").await;
    assert_eq!((&told["content"], &told["offset"]), (&json!("hello"), &json!(1)));
    let (status, refused) = node.post("/api/message", json!({"roomId": "", "text": "x"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(refusal(&refused).1.contains("roomId"));
}

#[actix_web::test]
async fn a_user_gets_messages_events_and_notifications_in_every_session() {
    let node = Node::start(closed());
    let (mut first, mut second) = (node.session("ann", &[]).await, node.session("ann", &[]).await);
    let mut other = node.session("bob", &[]).await;
    let (status, stored) =
        node.post("/api/users/ann/messages", json!({"content": "psst", "userId": "bob"})).await;
    assert_eq!((status, &stored["offset"]), (StatusCode::ACCEPTED, &json!(1)));
    node.post("/api/users/ann/messages", json!({"event": "poke"})).await;
    let body = json!({"title": "T", "body": "B", "data": {"x": true}});
    let (status, sent) = node.post("/api/users/ann/notifications", body).await;
    assert_eq!((status, sent), (StatusCode::ACCEPTED, json!({"sent": true})));
    for client in [&mut first, &mut second] {
        let direct = client.expect("direct").await;
        assert_eq!((&direct["content"], &direct["userId"]), (&json!("psst"), &json!("bob")));
        assert_eq!(client.expect("event").await["name"], "poke");
        let told = client.expect("notification").await;
        assert_eq!((&told["title"], &told["data"]), (&json!("T"), &json!({"x": true})));
    }
    node.post("/api/broadcast", json!({"event": "last"})).await;
    let last = other.expect("event").await;
    assert_eq!((&last["name"], other.seen.len()), (&json!("last"), 0));
}

#[actix_web::test]
async fn a_broadcast_reaches_everybody_and_is_not_stored() {
    let node = Node::start(closed());
    let mut clients = [node.session("ann", &["r"]).await, node.session("bob", &[]).await];
    let body = json!({"content": "tea", "data": 4, "userId": "bot"});
    let (status, sent) = node.post("/api/broadcast", body).await;
    assert_eq!((status, sent), (StatusCode::ACCEPTED, json!({"sent": true})));
    for client in &mut clients {
        let event = client.expect("event").await;
        assert_eq!(event["name"], "broadcast");
        assert_eq!(event["data"], json!({"content": "tea", "data": 4}));
        assert!(event.get("offset").is_none());
    }
    let (status, refused) = node.post("/api/broadcast", json!({"userId": "bot"})).await;
    assert_eq!((status, refusal(&refused).0), (StatusCode::BAD_REQUEST, "bad_request"));
}

#[actix_web::test]
async fn rooms_and_members_are_listed_in_pages() {
    let node = Node::start(closed());
    let _sessions = [
        node.session("ann", &["a", "b", "c"]).await,
        node.session("bob", &["b"]).await,
        node.session("bob", &["b"]).await,
    ];
    let (_, page) = node.get("/api/rooms?limit=2").await;
    let expected = json!([{"roomId": "a", "memberCount": 1}, {"roomId": "b", "memberCount": 2}]);
    assert_eq!(page, json!({"rooms": expected, "roomCount": 3, "hasMore": true}));
    let (_, rest) = node.get("/api/rooms?limit=2&after=b").await;
    assert_eq!(rest["rooms"], json!([{"roomId": "c", "memberCount": 1}]));
    assert_eq!(rest["hasMore"], false);

    let (_, page) = node.get("/api/rooms/b/members?limit=1").await;
    let ann = json!({"userId": "ann", "username": "ANN", "status": "online", "socketCount": 1});
    assert_eq!(page, json!({"roomId": "b", "members": [ann], "memberCount": 2, "hasMore": true}));
    let (_, rest) = node.get("/api/rooms/b/members?after=ann").await;
    assert_eq!((&rest["members"][0]["socketCount"], &rest["hasMore"]), (&json!(2), &json!(false)));

    node.post("/api/rooms/b/messages", json!({"content": "x"})).await;
    let (status, room) = node.get("/api/rooms/b").await;
    assert_eq!((status, &room["memberCount"]), (StatusCode::OK, &json!(2)));
    assert_eq!((&room["offset"], &room["oldestOffset"]), (&json!(1), &json!(1)));
    let (status, refused) = node.get("/api/rooms/nowhere").await;
    assert_eq!((status, refusal(&refused).0), (StatusCode::NOT_FOUND, "not_found"));
}

#[actix_web::test]
async fn a_user_is_shown_and_sent_away() {
    let node = Node::start(closed());
    let (status, offline) = node.get("/api/users/ann").await;
    assert_eq!((status, refusal(&offline).0), (StatusCode::NOT_FOUND, "not_found"));

    let client = node.session("ann", &["b", "a"]).await;
    let (_, online) = node.get("/api/users/ann").await;
    assert_eq!((&online["status"], &online["username"]), (&json!("online"), &json!("ANN")));
    assert_eq!((&online["rooms"], &online["socketCount"]), (&json!(["a", "b"]), &json!(1)));
    let session = &online["sessions"][0];
    assert_eq!(session["ip"], "127.0.0.1");
    assert!(session["openedAt"].as_str().unwrap().ends_with('Z'));
    assert!(session["waitingBytes"].is_u64());
    assert_eq!(session["id"].as_str().unwrap().len(), 36);

    let away = || TestRequest::delete().uri("/api/users/ann/sessions?ban_ms=60000");
    assert_eq!(node.json(away()).await, (StatusCode::OK, json!({"closed": 1})));
    assert_eq!(client.outbound.closing().map(|code| code.code()), Some(4403));
    assert!(node.state.hub.shared().is_banned(&UserId::new("ann").unwrap()));
    let away =
        |ms: &str| TestRequest::delete().uri(&format!("/api/users/bob/sessions?ban_ms={ms}"));
    // A millisecond above 100 years, and what no number of 64 bits holds.
    for ms in ["-1", "3155760000001", "18446744073709551615", "18446744073709551616"] {
        let (status, refused) = node.json(away(ms)).await;
        assert_eq!((status, refusal(&refused).0), (StatusCode::BAD_REQUEST, "bad_request"), "{ms}");
        assert!(refusal(&refused).1.contains("ban_ms"), "{ms}");
        assert!(!node.state.hub.shared().is_banned(&UserId::new("bob").unwrap()), "{ms}");
    }
    assert_eq!(node.json(away("3155760000000")).await.0, StatusCode::OK);
    assert!(node.state.hub.shared().is_banned(&UserId::new("bob").unwrap()));
}

#[actix_web::test]
async fn reserved_rooms_are_refused() {
    let node = Node::start(closed());
    for room in ["user:ann", "user%3aann", "$all"] {
        let path = format!("/api/rooms/{room}/messages");
        let (status, refused) = node.post(&path, json!({"content": "x"})).await;
        assert_eq!((status, refusal(&refused).0), (StatusCode::FORBIDDEN, "forbidden"), "{room}");
    }
    let (status, _) = node.post("/api/message", json!({"roomId": "$x", "text": "x"})).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[actix_web::test]
async fn nothing_is_published_once_the_store_is_closed() {
    let node = Node::start(closed());
    node.state.hub.close().await;
    let (status, refused) = node.post("/api/rooms/r/messages", json!({"content": "x"})).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refusal(&refused).0, "unavailable");
}
