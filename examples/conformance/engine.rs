//! The profiles without Socket.IO: messages that come back.

use std::{collections::BTreeMap, time::SystemTime};

use actix_http::{
    RequestHead,
    header::{self, HeaderMap, HeaderValue},
};
use bytes::Bytes;
use bytestring::ByteString;
use hubbub::transport::application::{Admission, Application, MakeMessages};
use hubbub_actors::session::engine::app::{App, Link, MakeApp, MessageApp};
use hubbub_protocol::wire::engineio::{EngineError, query_pairs};

/// Sends back what comes.
struct Echo(Link);

impl MessageApp for Echo {
    fn text(&mut self, text: ByteString) {
        self.0.send_text(&text);
    }

    fn binary(&mut self, data: Bytes) {
        self.0.send_binary(&data);
    }
}

/// Profile `websocket`.
pub struct WebSocket;

impl Application for WebSocket {
    fn open_plain(&self, path: &str) -> Option<MakeMessages> {
        (path == "/echo").then(|| -> MakeMessages { Box::new(|link| Box::new(Echo(link))) })
    }
}

/// Profile `engine`.
pub struct Engine;

impl Application for Engine {
    fn path(&self) -> &'static str {
        "/engine.io/"
    }

    fn open(&self, _: &RequestHead) -> Option<MakeApp> {
        Some(Box::new(|link| App::Messages(Box::new(Echo(link)))))
    }
}

/// Profile `engine-client`.
pub struct EngineClient;

impl Application for EngineClient {
    fn path(&self) -> &'static str {
        "/engine.io/"
    }

    fn admit(&self, head: &RequestHead) -> Admission {
        let denied = query_pairs(head.uri.query().unwrap_or_default()).any(|(k, _)| k == "deny");
        let answer = if denied { Err(EngineError::Forbidden) } else { Ok(()) };
        Box::pin(std::future::ready(answer))
    }

    fn greet(&self, headers: &mut HeaderMap) {
        let now = header::HttpDate::from(SystemTime::now());
        for cookie in [
            "1=1; Max-Age=86400",
            "2=2; Path=/; HttpOnly; Secure; SameSite=Strict",
            "3=3; Max-Age=0",
            &format!("4=4; Expires={now}"),
        ] {
            if let Ok(cookie) = HeaderValue::from_str(cookie) {
                headers.append(header::SET_COOKIE, cookie);
            }
        }
    }

    fn open(&self, _: &RequestHead) -> Option<MakeApp> {
        Some(Box::new(|link| {
            let echo = ClientEcho { echo: Echo(link), headers: HeaderMap::new() };
            App::Messages(Box::new(echo))
        }))
    }

    fn wants_headers(&self) -> bool {
        true
    }
}

/// Greets, obeys three commands, and sends back the rest.
struct ClientEcho {
    echo: Echo,
    headers: HeaderMap,
}

impl MessageApp for ClientEcho {
    fn opened(&mut self) {
        self.echo.0.send_text("hi");
    }

    fn text(&mut self, text: ByteString) {
        let link = &self.echo.0;
        let _ = match &*text {
            "give binary" => link.send_binary(&[0, 1, 2, 3, 4]),
            "give utf8" => link.send_text("пойду спать всем спокойной ночи"),
            "sendHeaders" => link.send_text(&json(&self.headers)),
            other => link.send_text(other),
        };
    }

    fn binary(&mut self, data: Bytes) {
        self.echo.binary(data);
    }

    fn posted(&mut self, headers: HeaderMap) {
        self.headers = headers;
    }
}

/// Headers as a JSON object.
pub fn json(headers: &HeaderMap) -> String {
    let headers: BTreeMap<&str, String> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    serde_json::json!(headers).to_string()
}

/// The parameters of a query string as JSON.
pub fn query(head: &RequestHead) -> BTreeMap<String, String> {
    query_pairs(head.uri.query().unwrap_or_default())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}
