//! What monitoring asks.

use serde_json::json;

use super::*;

#[actix_web::test]
async fn counts_are_open_and_names_need_the_key() {
    let node = Node::start(closed());
    let _sessions = [node.session("ann", &["a", "b"]).await, node.session("bob", &["b"]).await];
    node.post("/api/rooms/b/messages", json!({"content": "x"})).await;
    for path in ["/api/ws/stats", "/metrics/websocket"] {
        let (status, open) = node.open(TestRequest::get().uri(path)).await;
        assert_eq!((status, &open["rooms"]), (StatusCode::OK, &json!([])), "{path}");
        assert_eq!((&open["roomCount"], &open["nodeId"]), (&json!(2), &json!("n1")));
        let wrong = TestRequest::get().uri(path).insert_header(("authorization", "Bearer x"));
        assert_eq!(node.open(wrong).await.1["rooms"], json!([]));
        let (_, known) = node.get(path).await;
        assert_eq!((&known["rooms"], &known["roomCount"]), (&json!(["a", "b"]), &json!(2)));
        assert!(known["activeConnections"].is_u64());
    }
    let (_, stats) = node.get("/api/ws/stats").await;
    assert_eq!((&stats["users"], &stats["sessions"]), (&json!(2), &json!(2)));
    assert_eq!((&stats["publishes"], stats["uptime"].is_f64()), (&json!(1), true));
    let (_, sockets) = node.get("/metrics/websocket").await;
    assert_eq!(sockets["connectedSockets"], 2);
}

#[actix_web::test]
async fn a_draining_node_is_alive_and_not_ready() {
    let node = Node::start(Config::default());
    let get = async |path: &str| node.open(TestRequest::get().uri(path)).await;
    assert_eq!(get("/healthz").await, (StatusCode::OK, json!({"status": "ok"})));
    assert_eq!(get("/readyz").await, (StatusCode::OK, json!({"status": "ready"})));
    let (_, health) = get("/api/ws/health").await;
    assert_eq!(health["status"], "healthy");
    assert!(health["uptime"].as_f64().unwrap() >= 0.0);
    assert!(health["memoryUsage"]["rss"].as_u64().unwrap() > 1 << 20);

    node.state.hub.begin_drain();
    assert_eq!(get("/healthz").await.0, StatusCode::OK);
    let (status, refused) = get("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refusal(&refused), ("unavailable", "the node is draining"));
    assert_eq!(get("/api/ws/health").await.1["status"], "draining");
}

#[actix_web::test]
async fn prometheus_finds_the_hub_and_the_process() {
    let node = Node::start(Config::default());
    let _session = node.session("ann", &["a"]).await;
    let response = node.call(TestRequest::get().uri("/metrics")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let content_type = response.headers().get("content-type").unwrap();
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    let text = String::from_utf8(bytes(response).await.to_vec()).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        format!("hubbub_build_info{{node=\"n1\",version=\"{version}\"}} 1\n"),
        "\nhubbub_users 1\n".to_owned(),
        "\nhubbub_sessions 1\n".to_owned(),
        "\nhubbub_uptime_seconds ".to_owned(),
        "\nprocess_resident_memory_bytes ".to_owned(),
        "\nprocess_open_fds ".to_owned(),
        "\nhubbub_ack_seconds_bucket{".to_owned(),
    ] {
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
}

#[actix_web::test]
async fn head_is_answered_where_get_is() {
    let node = Node::start(Config::default());
    for path in ["/healthz", "/readyz", "/metrics", "/"] {
        let request = TestRequest::default().method(actix_web::http::Method::HEAD).uri(path);
        assert_eq!(node.call(request).await.status(), StatusCode::OK, "{path}");
    }
}
