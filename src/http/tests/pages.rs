//! Development mode: the page and its tokens.

use actix_web::http::header;
use serde_json::json;

use super::*;
use crate::auth::{Verifier, unix_seconds};

/// A configuration that is not development mode.
fn production() -> Config {
    let mut config = closed();
    config.auth.jwt_secret = Some(Secret::new("0123456789abcdef0123456789abcdef"));
    config
}

fn wanted(body: Value) -> TestRequest {
    TestRequest::post().uri("/dev/token").set_json(body)
}

#[actix_web::test]
async fn the_page_is_there_in_development_mode_alone() {
    let (dev, prod) = (Node::start(Config::default()), Node::start(production()));
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/assets/chat.js", "text/javascript; charset=utf-8"),
        ("/assets/chat.css", "text/css; charset=utf-8"),
    ] {
        let response = dev.call(TestRequest::get().uri(path)).await;
        assert_eq!(response.status(), StatusCode::OK);
        let headers = response.headers();
        assert_eq!(headers.get(header::CONTENT_TYPE).unwrap(), content_type);
        assert_eq!(headers.get(header::CACHE_CONTROL).unwrap(), "no-cache");
        assert_eq!(headers.get(header::X_CONTENT_TYPE_OPTIONS).unwrap(), "nosniff");
        assert_eq!(headers.get(header::REFERRER_POLICY).unwrap(), "no-referrer");
        let policy = headers.get(header::CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap();
        assert_eq!(
            policy,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; \
             img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        assert!(bytes(response).await.len() > 500);
        let (status, refused) = prod.open(TestRequest::get().uri(path)).await;
        assert_eq!((status, refusal(&refused).0), (StatusCode::NOT_FOUND, "not_found"));
    }
}

#[actix_web::test]
async fn the_operations_page_is_always_there_and_asks_for_the_key() {
    for node in [Node::start(Config::default()), Node::start(production())] {
        for path in ["/ops", "/assets/ops.js", "/assets/ops.css"] {
            let response = node.call(TestRequest::get().uri(path)).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            let policy = response.headers().get(header::CONTENT_SECURITY_POLICY).unwrap();
            assert!(policy.to_str().unwrap().starts_with("default-src 'none'"));
            assert!(bytes(response).await.len() > 500);
        }
    }
}

#[actix_web::test]
async fn a_known_file_is_not_sent_again() {
    let node = Node::start(Config::default());
    let response = node.call(TestRequest::get().uri("/assets/chat.js")).await;
    let tag = response.headers().get(header::ETAG).unwrap().to_str().unwrap().to_owned();
    let strong = tag.trim_start_matches("W/").to_owned();
    for (known, status) in [
        (tag.clone(), 304),
        (strong, 304),
        (format!("\"other\", {tag}"), 304),
        ("*".to_owned(), 304),
        ("\"other\"".to_owned(), 200),
    ] {
        let request = TestRequest::get()
            .uri("/assets/chat.js")
            .insert_header((header::IF_NONE_MATCH, known.clone()));
        let response = node.call(request).await;
        assert_eq!(response.status().as_u16(), status, "{known}");
        assert_eq!(response.headers().get(header::ETAG).unwrap().to_str().unwrap(), tag);
        assert_eq!(bytes(response).await.is_empty(), status == 304);
    }
}

#[actix_web::test]
async fn files_are_compressed_for_those_who_can() {
    let node = Node::start(Config::default());
    let plain = bytes(node.call(TestRequest::get().uri("/assets/chat.js")).await).await;
    let request =
        TestRequest::get().uri("/assets/chat.js").insert_header((header::ACCEPT_ENCODING, "gzip"));
    let response = node.call(request).await;
    assert_eq!(response.headers().get(header::CONTENT_ENCODING).unwrap(), "gzip");
    assert!(response.headers().get_all(header::VARY).any(|value| value == "accept-encoding"));
    assert!(bytes(response).await.len() * 2 < plain.len());
}

#[actix_web::test]
async fn a_token_of_development_mode_is_good_for_twelve_hours() {
    let node = Node::start(Config::default());
    let (status, answer) = node.open(wanted(json!({"sub": "ann", "name": "Ann"}))).await;
    assert_eq!(status, StatusCode::OK);
    let verifier =
        Verifier::from_config(&node.state.config.auth, node.state.development()).unwrap();
    let claims = verifier.verify(answer["token"].as_str().unwrap()).unwrap();
    assert_eq!((claims.sub.as_str(), claims.name.as_deref()), ("ann", Some("Ann")));
    let left = claims.exp.unwrap() - unix_seconds();
    assert!((43_190..=43_200).contains(&left), "{left}");
    assert_eq!(claims.rooms, None);
}

#[actix_web::test]
async fn wrong_wishes_for_a_token_are_refused() {
    let node = Node::start(Config::default());
    for (body, named) in [
        (json!({}), "`sub`"),
        (json!({"sub": ""}), "`sub`"),
        (json!({"sub": 7}), "`sub`"),
        (json!({"sub": "a\u{0}"}), "`sub`"),
        (json!({"sub": "x".repeat(129)}), "`sub`"),
        (json!({"sub": "a", "name": "n".repeat(129)}), "`name`"),
        (json!({"sub": "a", "name": "a\nb"}), "`name`"),
        (json!({"sub": "a", "roles": ["admin"]}), "`roles`"),
    ] {
        let (status, refused) = node.open(wanted(body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(refusal(&refused).1.contains(named), "{refused}");
    }
}

#[actix_web::test]
async fn tokens_are_for_the_own_page_and_for_development_mode() {
    let node = Node::start(Config::default());
    let ask = async |headers: &[(&'static str, &'static str)]| {
        let request = wanted(json!({"sub": "ann"}));
        let request = headers.iter().copied().fold(request, TestRequest::insert_header);
        node.open(request).await.0.as_u16()
    };
    let host = ("host", "localhost:8080");
    assert_eq!(ask(&[host]).await, 200);
    assert_eq!(ask(&[host, ("origin", "http://LOCALHOST:8080")]).await, 200);
    assert_eq!(ask(&[host, ("sec-fetch-site", "same-origin")]).await, 200);
    for origin in [
        "http://evil.example",
        "http://localhost:8081",
        "http://localhost",
        "http://localhost:8080.evil.example",
        "null",
        "",
    ] {
        assert_eq!(ask(&[host, ("origin", origin)]).await, 403, "{origin}");
    }
    assert_eq!(ask(&[host, ("sec-fetch-site", "cross-site")]).await, 403);

    let prod = Node::start(production());
    let (status, refused) = prod.open(wanted(json!({"sub": "ann"}))).await;
    assert_eq!((status, refusal(&refused).0), (StatusCode::NOT_FOUND, "not_found"));
}
