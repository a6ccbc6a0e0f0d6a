//! The OpenAPI document says what is mounted, and that is what was promised.

use std::collections::BTreeSet;

use actix_web::http::Method;
use serde_json::json;
use utoipa::OpenApi;

use super::*;
use crate::http::{
    ROUTES,
    body::FromObject,
    dev::Wanted,
    openapi::ApiDocument,
    publish::{Broadcast, Message, Notify, Publish},
};

/// The calls that users may rely on.
const PROMISED: &[(&str, &str)] = &[
    ("post", "/api/rooms/{room}/messages"),
    ("post", "/api/users/{user}/messages"),
    ("post", "/api/users/{user}/notifications"),
    ("post", "/api/broadcast"),
    ("delete", "/api/users/{user}/sessions"),
    ("get", "/api/rooms"),
    ("get", "/api/rooms/{room}"),
    ("get", "/api/rooms/{room}/members"),
    ("get", "/api/rooms/{room}/messages"),
    ("get", "/api/users/{user}"),
    ("post", "/api/message"),
    ("get", "/api/ws/stats"),
    ("get", "/api/ws/health"),
    ("get", "/metrics/websocket"),
    ("get", "/metrics"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/"),
    ("get", "/ops"),
    ("get", "/api/openapi.json"),
    ("post", "/dev/token"),
];

fn document() -> Value {
    serde_json::to_value(ApiDocument::openapi()).unwrap()
}

fn documented(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    let calls = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().keys().map(|method| (method.clone(), path.clone()))
    });
    calls.collect()
}

#[actix_web::test]
async fn the_document_has_every_route_and_no_other() {
    let documented = documented(&document());
    let mounted: BTreeSet<_> = ROUTES
        .iter()
        .flat_map(|(path, methods)| {
            methods.iter().map(|method| (method.to_string(), path.to_string()))
        })
        .collect();
    assert_eq!(documented, mounted);
    for (method, path) in PROMISED {
        assert!(mounted.contains(&(method.to_string(), path.to_string())), "{method} {path}");
    }
    // Mounted is what answers, and not only what a table says.
    let node = Node::start(closed());
    let here = node.session("u", &["r"]).await;
    let id = here.id.clone();
    node.post("/api/rooms/r/messages", json!({"content": "x"})).await;
    for (method, path) in &documented {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let uri = path.replace("{room}", "r").replace("{user}", "u").replace("{session}", &id);
        let uri = uri.replace("{message}", "1").replace("{node}", "n1");
        let response = node.call(TestRequest::default().method(method).uri(&uri)).await;
        let status = response.status().as_u16();
        assert!(![404, 405].contains(&status), "{path}: {status}");
        assert_eq!(response.request().match_pattern().as_deref(), Some(path.as_str()));
    }
}

#[actix_web::test]
async fn the_document_is_served_to_everybody() {
    let node = Node::start(Config::default());
    let (status, served) = node.open(TestRequest::get().uri("/api/openapi.json")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(served, document());
    assert_eq!(served["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(served["components"]["securitySchemes"]["api_key"]["scheme"], "bearer");
}

#[actix_web::test]
async fn the_document_leaves_out_what_a_node_does_not_answer() {
    let mut config = closed();
    config.auth.jwt_secret = Some(Secret::new("0123456789abcdef0123456789abcdef"));
    let node = Node::start(config);
    let (_, served) = node.open(TestRequest::get().uri("/api/openapi.json")).await;
    let (all, here) = (documented(&document()), documented(&served));
    let missing: Vec<_> = all.difference(&here).map(|(_, path)| path.as_str()).collect();
    assert_eq!(missing, ["/", "/assets/chat.css", "/assets/chat.js", "/dev/token"]);
    assert!(!served["tags"].to_string().contains("development"));
}

#[actix_web::test]
async fn what_needs_the_key_says_so() {
    let (document, node) = (document(), Node::start(Config::default()));
    for (method, path) in documented(&document) {
        let operation = &document["paths"][&path][&method];
        let needs_key = operation["security"] == serde_json::json!([{"api_key": []}]);
        let name = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let uri = path.replace("{room}", "r").replace("{user}", "u").replace("{session}", "x");
        let uri = uri.replace("{message}", "1").replace("{node}", "n1");
        let response = node.call(TestRequest::default().method(name).uri(&uri)).await;
        assert_eq!(response.status() == StatusCode::FORBIDDEN, needs_key, "{method} {path}");
        assert!(operation["summary"].is_string(), "{method} {path}");
    }
}

#[actix_web::test]
async fn bodies_have_the_documented_fields() {
    let document = document();
    for (schema, fields) in [
        ("Publish", Publish::FIELDS),
        ("Notify", Notify::FIELDS),
        ("Broadcast", Broadcast::FIELDS),
        ("Message", Message::FIELDS),
        ("Wanted", Wanted::FIELDS),
    ] {
        let known = document["components"]["schemas"][schema]["properties"].as_object().unwrap();
        let known: BTreeSet<_> = known.keys().map(String::as_str).collect();
        assert_eq!(known, fields.iter().copied().collect(), "{schema}");
    }
}

/// Every `$ref` leads somewhere.
#[actix_web::test]
async fn references_are_whole() {
    let text = document().to_string();
    let document = document();
    let mut found = 0;
    for part in text.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
        found += 1;
    }
    assert!(found > 20);
}
