//! Who may call, and how refusals look.

use actix_web::http::{Method, header};

use super::*;

#[actix_web::test]
async fn without_a_configured_key_the_api_is_closed() {
    let node = Node::start(Config::default());
    for path in ["/api/rooms", "/api/rooms/r", "/api/rooms/r/members", "/api/users/u"] {
        let (status, refused) = node.get(path).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        let expected = ("forbidden", "the HTTP API is closed: set auth.api_key");
        assert_eq!(refusal(&refused), expected, "{path}");
    }
}

#[actix_web::test]
async fn a_missing_or_wrong_key_is_refused_before_the_body_is_read() {
    let node = Node::start(closed());
    for given in [None, Some("Bearer"), Some("Bearer wrong"), Some("Basic x"), Some(KEY)] {
        for request in [
            TestRequest::post().uri("/api/rooms/r/messages"),
            TestRequest::post().uri("/api/users/u/messages"),
            TestRequest::post().uri("/api/users/u/notifications"),
            TestRequest::post().uri("/api/broadcast"),
            TestRequest::post().uri("/api/message"),
            TestRequest::delete().uri("/api/users/u/sessions"),
            TestRequest::get().uri("/api/rooms"),
            TestRequest::get().uri("/api/rooms/r"),
            TestRequest::get().uri("/api/rooms/r/members"),
            TestRequest::get().uri("/api/rooms/r/messages"),
            TestRequest::get().uri("/api/users/u"),
        ] {
            let request = given
                .map(|g| ("authorization", g))
                .into_iter()
                .fold(request.set_payload("not JSON"), TestRequest::insert_header);
            let response = node.call(request).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(response.headers().get("www-authenticate").unwrap(), "Bearer");
            let body: Value = serde_json::from_slice(&bytes(response).await).unwrap();
            assert_eq!(refusal(&body).0, "unauthorized");
        }
    }
    let right = TestRequest::get()
        .uri("/api/rooms")
        .insert_header(("authorization", format!("bearer {KEY}")));
    assert_eq!(node.open(right).await.0, StatusCode::OK);
}

#[actix_web::test]
async fn every_refusal_has_the_same_shape() {
    let node = Node::start(closed());
    for (method, path, status, code) in [
        (Method::GET, "/nowhere", 404, "not_found"),
        (Method::GET, "/api", 404, "not_found"),
        (Method::GET, "/api/rooms//members", 404, "not_found"),
        (Method::PUT, "/api/rooms", 405, "bad_request"),
        (Method::GET, "/api/broadcast", 405, "bad_request"),
        (Method::OPTIONS, "/metrics", 405, "bad_request"),
        (Method::GET, "/ws", 400, "bad_request"),
        (Method::GET, "/api/rooms/%ff", 400, "bad_request"),
        (Method::GET, "/api/rooms/%zz/members", 400, "bad_request"),
        (Method::GET, "/api/rooms/a%0Ab", 400, "bad_request"),
        (Method::GET, "/api/rooms?limit=x", 400, "bad_request"),
        (Method::GET, "/api/rooms?limit=1001", 400, "bad_request"),
        (Method::GET, "/api/rooms?limits=5", 400, "bad_request"),
        (Method::GET, "/api/rooms/r?x=1", 400, "bad_request"),
        (Method::GET, "/api/users/u?x=%", 400, "bad_request"),
    ] {
        let request = TestRequest::default().method(method.clone()).uri(path);
        let (got, body) = node.json(request).await;
        assert_eq!((got.as_u16(), refusal(&body).0), (status, code), "{method} {path}");
    }
    let long = "r".repeat(129);
    let (status, body) = node.get(&format!("/api/rooms/{long}")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(refusal(&body).1.contains("128"));
}

#[actix_web::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let node = Node::start(closed());
    let response = node.call(TestRequest::delete().uri("/api/rooms/r/messages")).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers().get(header::ALLOW).unwrap(), "GET, HEAD, POST");
}

#[actix_web::test]
async fn bodies_are_read_strictly() {
    let node = Node::start(closed());
    let post = async |body: &str| {
        let request = TestRequest::post().uri("/api/rooms/r/messages");
        let (status, body) = node.json(request.set_payload(body.to_owned())).await;
        let (code, message) = refusal(&body);
        (status.as_u16(), code.to_owned(), message.to_owned())
    };
    for (body, named) in [
        ("", "empty"),
        ("{\"content\":", "line 1"),
        ("[1]", "JSON object"),
        (r#"{"content":{"secret":1}}"#, "`content`"),
        (r#"{"data":"secret"}"#, "`content`"),
        (r#"{"content":"secret","contents":"secret"}"#, "`contents`"),
        (r#"{"content":"secret","userId":"a\u0000"}"#, "`userId`"),
        (r#"{"content":"secret","key":""}"#, "`key`"),
        (r#"{"event":"","data":"secret"}"#, "`event`"),
    ] {
        let (status, code, message) = post(body).await;
        assert_eq!((status, &*code), (400, "bad_request"), "{body}");
        assert!(message.contains(named) && !message.contains("secret"), "{body}: {message}");
    }
    assert!(node.state.hub.shared().metrics.errors.with_label_values(&["bad_request"]).get() >= 9);

    let max = node.state.max_body_bytes();
    let sized = |content: usize| format!(r#"{{"content":"{}"}}"#, "x".repeat(content));
    let frame = r#"{"content":""}"#.len();
    let (status, code, _) = post(&sized(max - frame + 1)).await;
    assert_eq!((status, &*code), (413, "too_large"));
    let request = TestRequest::post().uri("/api/rooms/r/messages");
    let (status, _) = node.json(request.set_payload(sized(max - frame))).await;
    assert_eq!(status, StatusCode::ACCEPTED);
}

#[actix_web::test]
async fn answers_are_never_kept() {
    let node = Node::start(closed());
    for path in ["/api/rooms", "/api/ws/health", "/nowhere", "/metrics"] {
        let response = node.call(TestRequest::get().uri(path)).await;
        assert_eq!(response.headers().get(header::CACHE_CONTROL).unwrap(), "no-store", "{path}");
        assert_eq!(response.headers().get(header::X_CONTENT_TYPE_OPTIONS).unwrap(), "nosniff");
    }
}

fn from(origin: &str, method: Method) -> TestRequest {
    TestRequest::default().method(method).uri("/api/ws/health").insert_header(("origin", origin))
}

fn preflight(origin: &str) -> TestRequest {
    from(origin, Method::OPTIONS).insert_header(("access-control-request-method", "POST"))
}

#[actix_web::test]
async fn pages_of_other_origins_are_let_in_by_configuration_alone() {
    let allowed = |headers: &header::HeaderMap| {
        headers.get("access-control-allow-origin").map(|v| v.to_str().unwrap().to_owned())
    };
    for (list, origin, answer) in [
        (vec![], "https://a.example", None),
        (vec!["https://b.example"], "https://a.example", None),
        (vec!["https://b.example"], "null", None),
        (vec!["https://a.example"], "https://a.example", Some("https://a.example")),
        (vec!["*"], "https://a.example", Some("*")),
    ] {
        let mut config = closed();
        config.server.allowed_origins = list.iter().map(|o| o.to_string()).collect();
        let node = Node::start(config);
        let simple = node.call(from(origin, Method::GET)).await;
        assert_eq!(allowed(simple.headers()).as_deref(), answer);
        assert!(simple.headers().get_all("vary").any(|v| v == "origin"));
        assert!(!simple.headers().contains_key("access-control-allow-credentials"));
        let first = node.call(preflight(origin)).await;
        assert_eq!(first.status().as_u16(), if answer.is_some() { 204 } else { 403 });
        assert_eq!(allowed(first.headers()).as_deref(), answer);
        if answer.is_some() {
            let headers = first.headers().get("access-control-allow-headers").unwrap();
            assert_eq!(headers, "authorization, content-type");
        }
        // Not the API.
        let other = TestRequest::get().uri("/healthz").insert_header(("origin", origin));
        assert_eq!(allowed(node.call(other).await.headers()), None);
    }
}

#[actix_web::test]
async fn a_refusal_can_be_read_by_an_allowed_page() {
    let mut config = closed();
    config.server.allowed_origins = vec!["*".to_owned()];
    let node = Node::start(config);
    let request =
        TestRequest::get().uri("/api/rooms").insert_header(("origin", "https://a.example"));
    let response = node.call(request).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(response.headers().contains_key("access-control-allow-origin"));
}

#[actix_web::test]
async fn what_is_added_comes_first_and_keeps_its_errors() {
    let node = Node::start(closed());
    let application = app_with(node.state.clone(), |config| {
        config.route(
            "/socket.io/",
            web::get().to(async || {
                actix_web::HttpResponse::BadRequest().content_type("text/html").body("own")
            }),
        );
    });
    let service = test::init_service(application).await;
    let request = TestRequest::get().uri("/socket.io/").to_request();
    let response = test::call_service(&service, request).await;
    assert_eq!(test::read_body(response).await, "own");
}

/// The application behind the service that the transport takes upgrades from.
#[actix_web::test]
async fn it_is_mounted_on_an_http_service() {
    use actix_service::{IntoServiceFactory, Service, ServiceFactory, map_config};
    use actix_web::dev::AppConfig;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let node = Node::start(closed());
    let application = app(node.state.clone()).into_factory();
    let factory = actix_http::HttpService::build()
        .finish(map_config(application, |_| AppConfig::default()))
        .tcp();
    let service = factory.new_service(()).await.unwrap();
    let listener = actix_rt::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    actix_rt::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            actix_rt::spawn(service.call(stream));
        }
    });
    for (request, status, body) in [
        ("GET /healthz HTTP/1.1", "HTTP/1.1 200", "{\"status\":\"ok\"}"),
        ("HEAD /healthz HTTP/1.1", "HTTP/1.1 200", ""),
        ("GET /api/rooms HTTP/1.1", "HTTP/1.1 401", "auth.api_key>`\"}}"),
        ("GET /api/rooms/%ff HTTP/1.1", "HTTP/1.1 401", "auth.api_key>`\"}}"),
    ] {
        let mut stream = actix_rt::net::TcpStream::connect(address).await.unwrap();
        let request = format!("{request}\r\nhost: h\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(status), "{answer}");
        let (_, content) = answer.split_once("\r\n\r\n").unwrap();
        assert!(content.ends_with(body) && content.is_empty() == body.is_empty(), "{answer}");
    }
}
