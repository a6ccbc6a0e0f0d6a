//! What operators ask: sessions, one message on its way, the drain.

use actix_web::http::Method;
use serde_json::json;

use super::*;

#[actix_web::test]
async fn sessions_are_listed_in_an_order_and_closed_one_by_one() {
    let node = Node::start(closed());
    let mut ann = node.session("ann", &["a", "b"]).await;
    let bob = node.session("bob", &[]).await;
    ann.send(json!({"type": "leave", "roomId": "never", "id": 1}));
    ann.expect("error").await;
    bob.send(json!({"type": "ping"}));

    let (status, list) = node.get("/api/sessions?order=errors").await;
    assert_eq!((status, list["sessionCount"].as_u64()), (StatusCode::OK, Some(2)), "{list}");
    let first = &list["sessions"][0];
    assert_eq!((&first["id"], &first["userId"]), (&json!(ann.id), &json!("ann")));
    assert_eq!((&first["username"], &first["wire"]), (&json!("ANN"), &json!("json")));
    assert_eq!((&first["roomCount"], &first["status"]), (&json!(2), &json!("online")));
    assert_eq!(first["lastError"]["code"], "not_a_member");
    assert!(first["lastError"]["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{first}");
    assert!(first["receivedFrames"].as_u64().unwrap() >= 3, "{first}");
    assert!(first.get("rooms").is_none() && first.get("tokenEndsAt").is_none());
    assert!(list["sessions"][1].get("lastError").is_none(), "{list}");

    let (_, newest) = node.get("/api/sessions?order=newest&limit=1").await;
    assert_eq!(newest["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(newest["sessionCount"], 2);
    let (_, of_bob) = node.get("/api/sessions?user=bob").await;
    assert_eq!(
        (&of_bob["sessionCount"], &of_bob["sessions"][0]["id"]),
        (&json!(1), &json!(bob.id))
    );
    let (status, refused) = node.get("/api/sessions?order=loudest").await;
    assert_eq!((status, refusal(&refused).0), (StatusCode::BAD_REQUEST, "bad_request"));

    let path = format!("/api/sessions/{}", ann.id);
    let (_, one) = node.get(&path).await;
    assert_eq!(one["rooms"], json!(["a", "b"]));
    let delete = || TestRequest::default().method(Method::DELETE).uri(&path);
    assert_eq!(node.json(delete()).await, (StatusCode::OK, json!({"closed": 1})));
    assert_eq!(ann.outbound.reason(), "forbidden");
    let (status, refused) = node.get("/api/sessions/0190a1b2-0000-7000-8000-000000000000").await;
    assert_eq!((status, refusal(&refused).0), (StatusCode::NOT_FOUND, "not_found"));
    let (status, refused) = node.get("/api/sessions/x").await;
    assert_eq!((status, refusal(&refused).0), (StatusCode::BAD_REQUEST, "bad_request"));
}

#[actix_web::test]
async fn a_message_is_followed_to_each_member() {
    let node = Node::start(closed());
    let mut ann = node.session("ann", &["r"]).await;
    let _bob = node.session("bob", &[]).await;
    // Connected after the message, as far as milliseconds tell.
    actix_rt::time::sleep(Duration::from_millis(5)).await;
    let (_, sent) =
        node.post("/api/rooms/r/messages", json!({"content": "hi", "userId": "bot"})).await;
    let id = sent["id"].as_str().unwrap();
    node.post("/api/rooms/r/messages", json!({"content": "more"})).await;

    // Nobody writes the queue of this session: the message waits there.
    let waits = async |what: &str| {
        for _ in 0..200 {
            let (status, trace) =
                node.get(&format!("/api/rooms/r/messages/{what}/trace?user=ann")).await;
            assert_eq!(status, StatusCode::OK, "{trace}");
            if trace["sessions"][0]["state"] == "waiting" {
                return trace;
            }
            actix_rt::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it never waits in the queue")
    };
    let trace = waits(id).await;
    assert_eq!((&trace["id"], &trace["offset"]), (&sent["id"], &sent["offset"]));
    assert_eq!((&trace["userId"], &trace["newestOffset"]), (&json!("bot"), &json!(2)));
    assert_eq!((&trace["epoch"], &trace["nodeId"]), (&sent["epoch"], &json!("n1")));
    assert!(trace["answer"].as_str().unwrap().contains("waits in the queue"), "{trace}");
    assert_eq!(waits("1").await["id"], sent["id"]);

    ann.expect("message").await;
    let (_, trace) = node.get(&format!("/api/rooms/r/messages/{id}/trace")).await;
    assert_eq!(trace["sessions"][0]["state"], "written", "{trace}");
    assert_eq!((&trace["written"], trace.get("answer")), (&json!(1), None));

    let answer = async |user: &str| {
        let (_, trace) = node.get(&format!("/api/rooms/r/messages/1/trace?user={user}")).await;
        trace["answer"].as_str().unwrap().to_owned()
    };
    assert!(answer("ann").await.contains("1 of 1 sessions"));
    assert!(answer("bob").await.contains("not a member"));
    assert!(answer("cy").await.contains("no session"));
    actix_rt::time::sleep(Duration::from_millis(5)).await;
    let _dan = node.session("dan", &["r"]).await;
    assert!(answer("dan").await.contains("connected after"));

    for (path, code) in [
        ("/api/rooms/r/messages/9/trace", "not_found"),
        ("/api/rooms/r/messages/0/trace", "not_found"),
        ("/api/rooms/r/messages/0190a1b2-0000-7000-8000-000000000000/trace", "not_found"),
        ("/api/rooms/r/messages/x/trace", "bad_request"),
    ] {
        assert_eq!(refusal(&node.get(path).await.1).0, code, "{path}");
    }
}

#[actix_web::test]
async fn one_user_is_found_in_a_room_of_more_than_are_looked_at() {
    let node = Node::start(closed());
    let mut crowd = Vec::new();
    for n in 0..510 {
        crowd.push(node.session(&format!("u{n}"), &["r"]).await);
    }
    node.post("/api/rooms/r/messages", json!({"content": "hi"})).await;
    let (_, trace) = node.get("/api/rooms/r/messages/1/trace").await;
    assert_eq!(trace["sessions"].as_array().unwrap().len(), 500);
    for n in 0..510 {
        let path = format!("/api/rooms/r/messages/1/trace?user=u{n}");
        let (_, trace) = node.get(&path).await;
        assert_eq!(trace["sessions"][0]["userId"], format!("u{n}"), "{trace}");
    }
}

#[actix_web::test]
async fn a_drain_is_asked_of_the_node_itself() {
    let node = Node::start(closed());
    let asked = node.state.drain_asked();
    let (status, refused) = node.post("/api/nodes/n2/drain", json!({})).await;
    assert_eq!((status, refusal(&refused).0), (StatusCode::NOT_FOUND, "not_found"));
    assert!(refusal(&refused).1.contains("n1"));
    let (status, answer) = node.post("/api/nodes/n1/drain", json!({})).await;
    assert_eq!((status, answer), (StatusCode::ACCEPTED, json!({"draining": true, "nodeId": "n1"})));
    tokio::time::timeout(Duration::from_secs(1), asked.notified()).await.unwrap();
}

#[actix_web::test]
async fn operators_need_the_key() {
    let node = Node::start(closed());
    for path in ["/api/sessions", "/api/sessions/x", "/api/rooms/r/messages/1/trace"] {
        let (status, _) = node.open(TestRequest::get().uri(path)).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
    }
    let (status, _) = node.open(TestRequest::post().uri("/api/nodes/n1/drain")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}
