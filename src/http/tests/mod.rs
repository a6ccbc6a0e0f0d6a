//! The HTTP side over a real hub with a history in memory.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod api;
mod document;
mod forgotten;
mod joining;
mod monitoring;
mod operators;
mod pages;
mod shape;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use actix_web::{
    body::MessageBody,
    dev::ServiceResponse,
    http::StatusCode,
    test::{self, TestRequest},
    web,
};
use bytes::Bytes;
use hubbub_actors::{
    clock::Clock,
    history::HistoryConfig,
    memory::MemoryHistory,
    metrics::Metrics,
    outbound::{Outbound, WhenFull},
    presence_tracker::PresenceSettings,
    relay::Relay,
    session::{
        self, Connection, EngineSettings, HeartbeatSettings, Identity, Session, SessionStart, Wire,
    },
    shared::{Authenticator, ReceiptSettings, RoomPolicy, Settings},
    system::{Hub, Parts, Worker},
};
use hubbub_protocol::{
    error::HubError,
    id::UserId,
    wire::{Format, FormatId},
};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{HttpState, app, app_with};
use crate::config::{Config, Secret};

const KEY: &str = "the key of the tests";

/// Nobody is found silent, also where a test moves the clock.
const PATIENT: HeartbeatSettings =
    HeartbeatSettings { heartbeat_ms: 86_400_000, timeout_ms: 86_400_000 };

struct NoTokens;

impl Authenticator for NoTokens {
    fn authenticate(&self, _: &str) -> Result<Identity, HubError> {
        unreachable!("sessions of these tests are authenticated")
    }
}

/// A node without sockets.
struct Node {
    state: HttpState,
    worker: Worker,
}

/// A configuration with an API key.
fn closed() -> Config {
    let mut config = Config::default();
    config.auth.api_key = Some(Secret::new(KEY));
    config
}

impl Node {
    fn start(config: Config) -> Self {
        Self::start_at(config, Clock::system())
    }

    fn start_at(config: Config, clock: Clock) -> Self {
        let registry = prometheus::Registry::new();
        let relay = Arc::new(Relay::default());
        let history =
            MemoryHistory::with_clock(HistoryConfig::default(), relay.clone(), clock.clone());
        let hub = Hub::start(Parts {
            workers: 2,
            node: "n1".into(),
            clock,
            metrics: Metrics::new(&registry).unwrap(),
            settings: Settings {
                messages_per_second: 0,
                burst: 0,
                max_frame_bytes: config.limits.max_frame_bytes,
                max_sessions_per_user: 0,
                max_rooms_per_session: 100,
                max_rooms: 100,
                heartbeat: PATIENT,
                outbound_max_bytes: 1 << 20,
                compression_min_bytes: None,
                when_full: WhenFull::Disconnect,
                flush_interval_us: 0,
                auth_timeout_ms: 60_000,
                anonymous: false,
                presence: PresenceSettings {
                    grace_ms: 0,
                    announce_max_members: 100,
                    everybody: false,
                },
                typing_timeout_ms: 6000,
                receipts: ReceiptSettings::default(),
                engine: EngineSettings {
                    heartbeat: PATIENT,
                    max_payload: config.socketio.max_http_buffer_bytes,
                    connect_timeout_ms: config.socketio.connect_timeout_ms,
                    parser: config.socketio.parser,
                    namespaces: config.socketio.namespaces.clone(),
                    vocabulary: None,
                    choices: Default::default(),
                },
                fault_injection: false,
            },
            authenticator: Arc::new(NoTokens),
            policy: RoomPolicy::Open,
            history: Arc::new(history),
            cluster: None,
            hooks: None,
            sessions: None,
            receipts: None,
            bus: relay.clone(),
            link: None,
            relay,
            formats: vec![Format::Json],
        });
        let worker = hub.add_worker();
        let secret = config.development().then(|| Secret::new("a secret of this start"));
        let state = HttpState::new(hub, Arc::new(config), registry, secret).unwrap();
        Self { state, worker }
    }

    /// Answers one request.
    async fn call(&self, request: TestRequest) -> ServiceResponse<impl MessageBody> {
        let service = test::init_service(app(self.state.clone())).await;
        test::call_service(&service, request.to_request()).await
    }

    /// Status and JSON of the answer to a request with the API key.
    async fn json(&self, request: TestRequest) -> (StatusCode, Value) {
        self.open(request.insert_header(("authorization", format!("Bearer {KEY}")))).await
    }

    /// Status and JSON of the answer to a request without it.
    async fn open(&self, request: TestRequest) -> (StatusCode, Value) {
        let response = self.call(request).await;
        let status = response.status();
        let content_type = response.headers().get("content-type").cloned();
        assert_eq!(content_type.unwrap(), "application/json", "{status}");
        (status, serde_json::from_slice(&bytes(response).await).unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.json(TestRequest::get().uri(path)).await
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.json(TestRequest::post().uri(path).set_json(body)).await
    }

    /// A session of a user that is in these rooms.
    async fn session(&self, user: &str, rooms: &[&str]) -> Client {
        let shared = self.state.hub.shared().clone();
        let now = shared.clock.now();
        let outbound = Outbound::new(self.worker.flush.clone(), 1 << 20, WhenFull::Disconnect);
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let session = Session::new(SessionStart {
            worker: self.worker.link.clone(),
            connection: Arc::new(Connection::new(
                Wire::Json,
                outbound.clone(),
                peer,
                now,
                now + 60_000,
            )),
            format: FormatId(0),
            identity: Some(Identity {
                user: UserId::new(user).unwrap(),
                name: Some(user.to_uppercase().into()),
                expires_at: None,
                grants: Arc::default(),
            }),
        });
        let (frames, read) = mpsc::unbounded_channel();
        let read = futures_util::stream::unfold(read, async |mut read| {
            let frame: Bytes = read.recv().await?;
            Some((Ok(frame), read))
        });
        actix_rt::spawn(session::start(session, Box::pin(read)));
        let mut client = Client { id: String::new(), outbound, frames, seen: Vec::new() };
        let opened = client.expect("authenticated").await;
        client.id = opened["sessionId"].as_str().unwrap().to_owned();
        for room in rooms {
            client.send(serde_json::json!({"type": "join", "roomId": room}));
            client.expect("joined").await;
        }
        client
    }
}

/// The far end of a session.
struct Client {
    /// Of its session.
    id: String,
    outbound: Arc<Outbound>,
    frames: mpsc::UnboundedSender<Bytes>,
    seen: Vec<Value>,
}

impl Client {
    /// Sends a masked text frame (RFC 6455, section 5.2).
    fn send(&self, event: Value) {
        let payload = event.to_string();
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        if payload.len() < 126 {
            frame = vec![0x81, 0x80 | u8::try_from(payload.len()).unwrap()];
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload.as_bytes());
        self.frames.send(frame.into()).unwrap();
    }

    /// Waits for the next event of a type.
    async fn expect(&mut self, kind: &str) -> Value {
        let found = eventually(|| {
            let taken = self.outbound.take(usize::MAX);
            let texts = taken.iter().flat_map(|frame| frame.messages());
            let events = texts.map(|(_, text)| serde_json::from_slice(&text));
            self.seen.extend(events.filter_map(Result::ok));
            let at = self.seen.iter().position(|event| event["type"] == kind)?;
            Some(self.seen.drain(..=at).next_back().unwrap())
        });
        found.await.unwrap_or_else(|| panic!("no `{kind}` but {:?}", self.seen))
    }
}

/// Waits until something is there.
async fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..2000 {
        if let Some(found) = look() {
            return Some(found);
        }
        actix_rt::time::sleep(Duration::from_millis(5)).await;
    }
    None
}

async fn bytes(response: ServiceResponse<impl MessageBody>) -> Bytes {
    test::read_body(response).await
}

/// Code and sentence of a refusal.
fn refusal(body: &Value) -> (&str, &str) {
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    (body["error"]["code"].as_str().unwrap(), body["error"]["message"].as_str().unwrap())
}
