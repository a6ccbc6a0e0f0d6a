//! A hub in memory with tight bounds, without sockets.

use std::{sync::Arc, time::Duration};

use hubbub_actors::{
    clock::Clock,
    history::HistoryConfig,
    memory::{MemoryHistory, receipts::MemoryReceipts, sessions::MemorySessions},
    metrics::Metrics,
    outbound::WhenFull,
    presence_tracker::PresenceSettings,
    receipt_store::ReceiptStoreConfig,
    relay::Relay,
    session::{EngineSettings, Grants, HeartbeatSettings, Identity},
    session_store::SessionStoreConfig,
    shared::{Authenticator, ReceiptSettings, RoomPolicy, Settings},
    system::{Hub, Parts, Worker},
};
use hubbub_protocol::{
    error::{ErrorCode, HubError},
    id::UserId,
};
use prometheus::{Registry, core::Collector};

/// Most bytes of a frame and of a message.
pub const MAX_FRAME: usize = 2048;
/// Most bytes that wait for a client.
pub const MAX_WAITING: usize = 64 * 1024;
/// Most rooms of a session.
pub const MAX_ROOMS: usize = 3;
/// Most sessions of a user.
pub const MAX_SESSIONS: usize = 3;

/// Tokens are the names of users; those that begin with `x` are refused.
struct Tokens;

impl Authenticator for Tokens {
    fn authenticate(&self, token: &str) -> Result<Identity, HubError> {
        let bad = || HubError::new(ErrorCode::Unauthorized, "the token is not good");
        let user = UserId::new(token).ok().filter(|_| !token.starts_with('x')).ok_or_else(bad)?;
        let publish = (token == "reader").then(Vec::new);
        let grants = Grants { publish, ..Grants::default() };
        Ok(Identity { user, name: None, expires_at: None, grants: Arc::new(grants) })
    }
}

/// A hub with one worker on this thread.
pub fn hub(limited: bool) -> (Hub, Worker) {
    let clock = Clock::system();
    let relay = Arc::new(Relay::default());
    let (rate, burst) = if limited { (20, 20) } else { (0, 0) };
    let config = HistoryConfig { max_messages: 30, max_rooms: 50, ..HistoryConfig::default() };
    let kept = SessionStoreConfig { recovery_ms: 60_000, max_sessions: 50 };
    let heartbeat = HeartbeatSettings { heartbeat_ms: 60_000, timeout_ms: 60_000 };
    let receipts = ReceiptStoreConfig { max_members: 3, max_rooms: 50, ttl_ms: 60_000 };
    let hub = Hub::start(Parts {
        workers: 1,
        node: "n1".into(),
        clock: clock.clone(),
        metrics: Metrics::new(&Registry::new()).unwrap(),
        settings: Settings {
            compression_min_bytes: None,
            flush_interval_us: 0,
            messages_per_second: rate,
            burst,
            max_frame_bytes: MAX_FRAME,
            max_sessions_per_user: MAX_SESSIONS,
            max_rooms_per_session: MAX_ROOMS,
            max_rooms: 4,
            heartbeat,
            outbound_max_bytes: MAX_WAITING,
            when_full: WhenFull::Disconnect,
            auth_timeout_ms: 60_000,
            anonymous: false,
            presence: PresenceSettings {
                grace_ms: 20,
                announce_max_members: 100,
                everybody: false,
            },
            typing_timeout_ms: 5000,
            receipts: ReceiptSettings { vocabularies: vec!["*".into()], interval_ms: 10 },
            engine: EngineSettings {
                parser: Default::default(),
                heartbeat,
                max_payload: 2 * MAX_FRAME,
                connect_timeout_ms: 60_000,
                namespaces: vec!["/".into(), "/team".into()],
                vocabulary: None,
                choices: Default::default(),
            },
            fault_injection: false,
        },
        authenticator: Arc::new(Tokens),
        policy: RoomPolicy::Claims,
        history: Arc::new(MemoryHistory::new(config, relay.clone())),
        sessions: Some(Arc::new(MemorySessions::new(kept, clock.clone()))),
        receipts: Some(Arc::new(MemoryReceipts::new(receipts, clock))),
        bus: relay.clone(),
        relay,
        link: None,
        cluster: None,
        hooks: None,
        formats: Vec::new(),
    });
    let worker = hub.add_worker();
    (hub, worker)
}

/// How often things happened that a run must not do without.
pub fn counts(hub: &Hub) -> Vec<(String, f64)> {
    let metrics = &hub.shared().metrics;
    let labelled = |name: &str, family: &prometheus::IntCounterVec, labels: &[&str]| {
        let count = |label: &&str| family.with_label_values(&[*label]).get() as f64;
        labels.iter().map(|l| (format!("{name} {l}"), count(l))).collect::<Vec<_>>()
    };
    let errors = ["bad_request", "unauthorized", "forbidden", "not_a_member", "too_many_rooms"];
    let mut counts = labelled("error", &metrics.errors, &errors);
    counts.extend(labelled("session", &metrics.recoveries, &["recovered", "refused"]));
    counts.push(("ack".into(), metrics.acks.get() as f64));
    counts.push(("volatile event".into(), metrics.volatile.get() as f64));
    counts.push(("delivery".into(), metrics.deliveries.get() as f64));
    counts
}

/// How many panics the hub has contained.
pub fn panics(hub: &Hub) -> f64 {
    let families = hub.shared().metrics.panics.collect();
    let counts = families.iter().flat_map(|family| family.get_metric());
    counts.map(|metric| metric.get_counter().get_value()).sum()
}

/// Waits until something holds.
///
/// # Errors
/// What did not, in time.
pub async fn until(what: impl AsyncFn() -> Result<(), String>) -> Result<(), String> {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let now = what().await;
        if now.is_ok() || std::time::Instant::now() > deadline {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Nothing is left of anybody.
pub async fn forgotten(hub: &Hub) -> Result<(), String> {
    let shared = hub.shared();
    let metrics = &shared.metrics;
    let left = [
        ("connections", metrics.connections.get()),
        ("sessions", metrics.sessions.get()),
        ("rooms", metrics.rooms.get()),
        ("rooms of the relay", shared.relay.room_count() as i64),
        ("bytes that wait", metrics.outbound_queue_bytes.get()),
        ("Socket.IO connections", shared.engines.len() as i64),
        ("deliveries", shared.relay.backlog() as i64),
        ("sessions of room servers", hub.sessions().await.len() as i64),
    ];
    match left.into_iter().find(|(_, count)| *count != 0) {
        Some((what, count)) => Err(format!("{count} {what} are left")),
        None => Ok(()),
    }
}

/// No user is known any more.
pub async fn unknown(hub: &Hub) -> Result<(), String> {
    match hub.user_count().await.map_err(|e| e.to_string())? {
        0 => Ok(()),
        count => Err(format!("{count} users are left")),
    }
}
