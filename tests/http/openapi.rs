//! The OpenAPI document says what there is.

use serde_json::Value;

use crate::support::*;

/// Every documented call, with the statuses it must name.
const CALLS: &[(&str, &str, &[&str])] = &[
    ("post", "/api/rooms/{room}/messages", &["202", "400", "401"]),
    ("post", "/api/users/{user}/messages", &["202", "400", "401"]),
    ("post", "/api/users/{user}/notifications", &["202", "400", "401"]),
    ("post", "/api/broadcast", &["202", "400", "401"]),
    ("delete", "/api/users/{user}/sessions", &["200", "401"]),
    ("get", "/api/rooms", &["200", "401"]),
    ("get", "/api/rooms/{room}", &["200", "401", "404"]),
    ("get", "/api/rooms/{room}/members", &["200", "401"]),
    ("get", "/api/rooms/{room}/messages", &["200", "400", "401"]),
    ("get", "/api/users/{user}", &["200", "401"]),
    ("post", "/api/message", &["401"]),
    ("get", "/api/ws/stats", &["200"]),
    ("get", "/api/ws/health", &["200"]),
    ("get", "/metrics/websocket", &["200"]),
    ("get", "/metrics", &["200"]),
    ("get", "/healthz", &["200"]),
    ("get", "/readyz", &["200", "503"]),
];

#[test]
fn the_document_has_every_call() {
    let hub = Hub::start(&[]);
    let document = hub.http().get("/api/openapi.json").expect(200);
    let version = document["openapi"].as_str().unwrap();
    assert!(version.starts_with("3."), "{version}");
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    for (method, path, statuses) in CALLS {
        let call = &document["paths"][path][method];
        assert!(call.is_object(), "{method} {path} is missing");
        for status in *statuses {
            assert!(call["responses"][status].is_object(), "{method} {path} lacks {status}");
        }
        assert!(call["summary"].is_string() || call["description"].is_string(), "{method} {path}");
    }
    let schemes = document["components"]["securitySchemes"].as_object().expect("the API key");
    assert!(schemes.values().any(|s| s["scheme"] == "bearer"), "{schemes:?}");
}

#[test]
fn every_reference_in_the_document_leads_somewhere() {
    let hub = Hub::start(&[]);
    let document = hub.http().get("/api/openapi.json").expect(200);
    let mut open = vec![&document];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let pointer = reference.strip_prefix('#').expect("a local reference");
                    assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
                }
                open.extend(fields.values());
            }
            _ => {}
        }
    }
}

#[test]
fn every_documented_path_exists() {
    let hub = Hub::start(&[]);
    let document = hub.http().get("/api/openapi.json").expect(200);
    for (path, calls) in document["paths"].as_object().unwrap() {
        for method in calls.as_object().unwrap().keys() {
            if !["get", "post", "put", "delete", "patch"].contains(&method.as_str()) {
                continue;
            }
            let concrete = ["room", "user", "node", "session", "message", "id"]
                .into_iter()
                .fold(path.clone(), |path, name| path.replace(&format!("{{{name}}}"), "x"));
            assert!(!concrete.contains('{'), "{path} has another parameter");
            // Without a key: 401 where one is needed, anything but 404 and 405 elsewhere.
            let body = (method == "post").then_some(&b"{}"[..]);
            let answer = hub.http().send(&method.to_uppercase(), &concrete, body);
            let development = path.starts_with("/dev/");
            assert!(
                development || !matches!(answer.status, 404 | 405 | 500..),
                "{method} {path}: {} {}",
                answer.status,
                answer.text()
            );
        }
    }
}
