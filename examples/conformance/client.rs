//! Profile `socket-client`: what the suite of socket.io-client expects.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actix_http::RequestHead;
use bytes::Bytes;
use hubbub::transport::application::{Admission, Application};
use hubbub_actors::session::engine::app::{
    Accepted, App, ConnectRefused, MakeApp, NamespaceApp, SocketApp, SocketEvent, SocketLink,
};
use hubbub_protocol::{
    timestamp::Timestamp,
    wire::socketio::{Attachments, RawJson},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{engine, recovery::Recovery};

/// The namespaces that there are.
pub const NAMESPACES: [&str; 7] = ["/", "/foo", "/timeout_socket", "/valid", "/asd", "/abc", "/no"];

/// How long a handshake takes.
const HANDSHAKE: Duration = Duration::from_millis(10);

/// The profile.
#[derive(Default)]
pub struct SocketClient {
    recovery: Recovery,
}

impl Application for SocketClient {
    fn admit(&self, _: &RequestHead) -> Admission {
        Box::pin(async {
            tokio::time::sleep(HANDSHAKE).await;
            Ok(())
        })
    }

    fn open(&self, head: &RequestHead) -> Option<MakeApp> {
        let query = engine::query(head);
        let handshake = json!({
            "headers": serde_json::from_str::<Value>(&engine::json(head.headers())).ok(),
            "time": now().to_string(),
            "address": head.peer_addr.map(|peer| peer.ip().to_string()),
            "xdomain": head.headers().contains_key("origin"),
            "secure": false,
            "issued": now().0,
            "url": head.uri.path_and_query().map(ToString::to_string),
            "query": query,
        });
        let recovery = self.recovery.clone();
        let client = Client { query, handshake, recovery };
        Some(Box::new(|_| App::Namespaces(Box::new(client))))
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or_default())
}

/// One connection.
struct Client {
    query: BTreeMap<String, String>,
    handshake: Value,
    recovery: Recovery,
}

impl NamespaceApp for Client {
    fn connect(
        &mut self,
        link: &SocketLink,
        auth: Option<&RawJson>,
    ) -> Result<Accepted, ConnectRefused> {
        let refused = |message: &str| ConnectRefused { message: message.to_owned(), data: None };
        let fails = self.query.get("fail").is_some_and(|fail| !fail.is_empty());
        match link.namespace() {
            "/" if fails => return Err(refused("Auth failed (main namespace)")),
            "/no" => return Err(refused("Auth failed (custom namespace)")),
            _ => {}
        }
        let auth: Value = auth.and_then(|auth| auth.parse().ok()).unwrap_or_else(|| json!({}));
        let mut handshake = self.handshake.clone();
        handshake["auth"] = auth.clone();
        let before = auth["pid"].as_str().zip(auth["offset"].as_str());
        let restored = before.and_then(|(pid, offset)| {
            let sid = self.recovery.restore(pid, link.namespace(), offset)?;
            Some((pid.to_owned(), sid))
        });
        let recovered = restored.is_some();
        let fresh = || (Uuid::new_v4().simple().to_string(), Uuid::new_v4().simple().to_string());
        let (pid, sid) = restored.unwrap_or_else(fresh);
        let socket = Answers {
            link: link.clone(),
            handshake,
            recovery: self.recovery.clone(),
            recovered,
            pid: pid.clone(),
            sid: sid.clone(),
            asked: 0,
            offset: 0,
            seen: Vec::new(),
        };
        Ok(Accepted { sid, pid: Some(pid), socket: Box::new(socket) })
    }
}

/// One socket.
struct Answers {
    link: SocketLink,
    handshake: Value,
    recovery: Recovery,
    recovered: bool,
    pid: String,
    sid: String,
    /// The id of the next question to the client.
    asked: u64,
    /// How many events it was told.
    offset: u64,
    /// What came of the events that must come in order.
    seen: Vec<&'static str>,
}

const UTF8: [&str; 5] = ["てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"];

impl Answers {
    /// Sends an event that the client can come back after.
    fn emit(&mut self, name: &str, arg: Option<&str>, attachments: &[Bytes]) {
        self.offset += 1;
        let offset = format!("{}-{}", self.sid, self.offset);
        let quoted = Value::from(&*offset).to_string();
        let args: Vec<&str> = arg.into_iter().chain([&*quoted]).collect();
        self.link.emit(name, &args, None, attachments);
        self.recovery.told(&self.pid, &self.sid, self.link.namespace(), offset);
    }

    fn emit_buffer(&mut self, name: &str) {
        let mut attachments = Attachments::default();
        if let Ok(placeholder) = attachments.attach(Bytes::from_static(b"asdfasdf")) {
            self.emit(name, Some(&placeholder), &attachments.into_inner());
        }
    }

    fn main_namespace(&mut self, name: &str, args: &[RawJson], id: Option<u64>, binary: bool) {
        let date = Value::from(now().to_string());
        let first = args.first().map(RawJson::get);
        match name {
            "hi" => self.emit("hi", None, &[]),
            "ack" => {
                self.link.emit::<&str>("ack", &[], Some(self.asked), &[]);
                self.asked += 1;
            }
            "getDate" => self.emit("takeDate", Some(&date.to_string()), &[]),
            "getDateObj" => {
                self.emit("takeDateObj", Some(&json!({ "date": date }).to_string()), &[]);
            }
            "getUtf8" => {
                for text in UTF8 {
                    self.emit("takeUtf8", Some(&Value::from(text).to_string()), &[]);
                }
            }
            "false" => self.emit("false", Some("false"), &[]),
            "doge" => self.emit_buffer("doge"),
            "getbin" => self.emit_buffer("takebin"),
            "buffa" if is_buffer(args, binary) => self.emit("buffack", None, &[]),
            "jsonbuff" if is_mixed(args, binary) => self.emit("jsonbuff-ack", None, &[]),
            "abuff1" if is_buffer(args, binary) => self.seen.push("abuff1"),
            "abuff2" if self.seen.contains(&"abuff1") => self.emit("abuff2-ack", None, &[]),
            "blob" if is_buffer(args, binary) => self.emit("back", None, &[]),
            "jsonblob" if is_mixed(args, binary) => self.emit("jsonblob-ack", None, &[]),
            "blob1" if is_buffer(args, binary) => self.seen.push("blob1"),
            "blob2" if self.seen.ends_with(&["blob1"]) && first == Some("\"second\"") => {
                self.seen.push("blob2");
            }
            "blob3" if self.seen.ends_with(&["blob1", "blob2"]) && is_buffer(args, binary) => {
                self.emit("blob3-ack", None, &[]);
            }
            _ => {}
        }
        let Some(id) = id else { return };
        match name {
            "echo" => self.answer(id, first.unwrap_or("null")),
            "getAckDate" => self.answer(id, &date.to_string()),
            "getHandshake" => self.answer(id, &self.handshake.to_string()),
            "getId" => self.answer(id, &Value::from(&*self.sid).to_string()),
            _ => {}
        }
    }

    fn answer(&self, id: u64, arg: &str) {
        self.link.ack(id, &[arg], &[]);
    }
}

/// Whether the first argument is binary.
fn is_buffer(args: &[RawJson], binary: bool) -> bool {
    let value: Option<Value> = args.first().and_then(|arg| arg.parse().ok());
    binary && value.is_some_and(|value| value["_placeholder"] == true)
}

/// Whether the first argument is `{hello: "lol", message: <binary>, goodbye: "gotcha"}`.
fn is_mixed(args: &[RawJson], binary: bool) -> bool {
    let value: Option<Value> = args.first().and_then(|arg| arg.parse().ok());
    binary
        && value.is_some_and(|value| {
            value["hello"] == "lol"
                && value["message"]["_placeholder"] == true
                && value["goodbye"] == "gotcha"
        })
}

impl SocketApp for Answers {
    fn joined(&mut self) {
        if self.link.namespace() == "/abc" && !self.recovered {
            self.emit("handshake", Some(&self.handshake.to_string()), &[]);
        }
    }

    fn event(&mut self, event: SocketEvent) {
        let SocketEvent { name, args, id, attachments } = event;
        match (self.link.namespace(), name.as_str(), id) {
            ("/", name, id) => self.main_namespace(name, &args, id, !attachments.is_empty()),
            ("/foo", "getId", Some(id)) => self.answer(id, &Value::from(&*self.sid).to_string()),
            _ => {}
        }
    }

    fn acknowledged(&mut self, _: u64, args: Vec<RawJson>, _: Vec<Bytes>) {
        let args: Vec<Value> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
        if args.first() == Some(&json!(5)) && args.get(1).is_some_and(|arg| arg["test"] == true) {
            self.emit("got it", None, &[]);
        }
    }

    fn left(&mut self) {
        self.recovery.forget(&self.pid);
    }
}
