//! From the configuration to the parts of a node.

use std::sync::Arc;

use hubbub_actors::{
    archive::ArchivedRooms,
    clock::Clock,
    embedded::EmbeddedHistory,
    history::{HistoryConfig, StoreObserver},
    memory::{MemoryHistory, receipts::MemoryReceipts, sessions::MemorySessions},
    metrics::Metrics,
    outbound::WhenFull,
    ports::{History, RoomBus},
    presence_tracker::PresenceSettings,
    receipt_store::{ReceiptStore, ReceiptStoreConfig},
    redis::{receipts::RedisReceipts, sessions::RedisSessions},
    relay::Relay,
    session::{EngineSettings, Grants, HeartbeatSettings, Identity},
    session_store::{SessionStore, SessionStoreConfig},
    shared::{Authenticator, ReceiptSettings, RoomPolicy, Settings},
};
use hubbub_protocol::{
    error::{ErrorCode, HubError},
    id::UserId,
    wire::Format,
};

use prometheus::IntCounterVec;

use super::fleet::Fleet;
use crate::{
    auth::{TokenError, Verifier},
    config::{
        self, Config,
        vocabulary::{self, Wire},
    },
};

/// The bounds and times that the actors know. Fails with a sentence.
pub fn settings(config: &Config) -> Result<Settings, String> {
    let (namespaces, vocabulary, choices) = vocabulary::socketio(&config.socketio)?;
    let engine = EngineSettings {
        heartbeat: HeartbeatSettings {
            heartbeat_ms: config.socketio.ping_interval_ms,
            timeout_ms: config.socketio.ping_timeout_ms,
        },
        max_payload: config.socketio.max_http_buffer_bytes,
        connect_timeout_ms: config.socketio.connect_timeout_ms,
        parser: config.socketio.parser,
        namespaces,
        vocabulary,
        choices,
    };
    let json = formats(config)?;
    Ok(Settings {
        messages_per_second: config.limits.messages_per_second,
        burst: config.limits.burst,
        max_frame_bytes: config.limits.max_frame_bytes,
        max_sessions_per_user: config.limits.max_sessions_per_user,
        max_rooms_per_session: config.rooms.max_per_session,
        max_rooms: config.rooms.max_rooms,
        heartbeat: HeartbeatSettings {
            heartbeat_ms: config.session.heartbeat_ms,
            timeout_ms: config.session.timeout_ms,
        },
        outbound_max_bytes: config.session.outbound_max_bytes,
        when_full: match config.session.when_full {
            config::WhenFull::Disconnect => WhenFull::Disconnect,
            config::WhenFull::DropOldest => WhenFull::DropOldest,
            config::WhenFull::Conflate => WhenFull::Conflate,
        },
        flush_interval_us: config.session.flush_interval_us,
        compression_min_bytes: config
            .session
            .compression
            .then_some(config.session.compression_min_bytes),
        auth_timeout_ms: config.auth.timeout_ms,
        anonymous: config.auth.anonymous,
        presence: PresenceSettings {
            grace_ms: config.presence.offline_grace_ms,
            announce_max_members: config.presence.announce_max_members,
            everybody: engine.vocabularies().any(|v| v.hears_everybody())
                || json.iter().any(Format::hears_everybody),
        },
        typing_timeout_ms: config.presence.typing_timeout_ms,
        receipts: ReceiptSettings {
            vocabularies: config.receipts.vocabularies.clone(),
            interval_ms: config.receipts.interval_ms,
        },
        engine,
        fault_injection: config.dev.fault_injection,
    })
}

/// The formats that sessions may speak: that of the JSON wire comes first, the
/// others are those that a client may choose. Fails with a sentence.
pub fn formats(config: &Config) -> Result<Vec<Format>, String> {
    let vocabulary = vocabulary::load(&config.json.vocabulary, Wire::Json)
        .map_err(|errors| format!("`json.vocabulary`: {}", errors.join("; ")))?;
    let mut formats = vec![Format::json(Arc::new(vocabulary))];
    let allowed = vocabulary::load_all(&config.json.allow_vocabularies, Wire::Json)
        .map_err(|errors| format!("`json.allow_vocabularies`: {}", errors.join("; ")))?;
    for vocabulary in allowed {
        if formats.iter().all(|format| format.vocabulary() != vocabulary.name()) {
            formats.push(Format::json(Arc::new(vocabulary)));
        }
    }
    Ok(formats)
}

/// The vocabularies, other than the hub's own, whose clients may say who they are after
/// they have connected.
pub fn late_vocabularies(config: &Config) -> Vec<String> {
    let (_, usual, choices) = vocabulary::socketio(&config.socketio).unwrap_or_default();
    let namespaces = choices.namespaces.into_iter().map(|(_, vocabulary)| vocabulary);
    let socketio = usual.into_iter().chain(namespaces).chain(choices.allowed);
    let mut json = vec![config.json.vocabulary.clone()];
    json.extend(config.json.allow_vocabularies.iter().cloned());
    let json = vocabulary::load_all(&json, Wire::Json).unwrap_or_default();
    let all = socketio.chain(json.into_iter().map(Arc::new));
    let late = all.filter(|v| v.authenticates() && v.name() != "hubbub");
    let mut names: Vec<String> = late.map(|v| v.name().to_owned()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What a node keeps, and what connects its room servers.
pub struct Stores {
    /// The history of rooms.
    pub history: Arc<dyn History>,
    /// What connects the room servers.
    pub bus: Arc<dyn RoomBus>,
    /// What survives a connection, if anything does.
    pub sessions: Option<Arc<dyn SessionStore>>,
    /// How far users have got and read rooms, if that is kept.
    pub receipts: Option<Arc<dyn ReceiptStore>>,
}

/// Opens the stores that the configuration asks for, and what connects the room
/// servers. Fails with a sentence.
pub fn stores(
    config: &Config,
    fleet: Option<&Fleet>,
    relay: &Arc<Relay>,
    metrics: &Metrics,
) -> Result<Stores, String> {
    let bounds = HistoryConfig {
        max_messages: usize::try_from(config.history.max_messages).unwrap_or(usize::MAX),
        ttl_ms: config.history.ttl_ms,
        queue_max_messages: config.history.queue_max_messages,
        queue_max_bytes: config.history.queue_max_bytes,
        // Personal rooms have a history too.
        max_rooms: config.rooms.max_rooms.saturating_mul(2),
        archived: ArchivedRooms::new(&config.archive.rooms),
    };
    match config.history.store {
        config::HistoryStore::Memory => {
            let sessions = session_bounds(config).map(|bounds| {
                Arc::new(MemorySessions::new(bounds, Clock::system())) as Arc<dyn SessionStore>
            });
            let receipts = receipt_bounds(config).map(|bounds| {
                Arc::new(MemoryReceipts::new(bounds, Clock::system())) as Arc<dyn ReceiptStore>
            });
            let history = Arc::new(MemoryHistory::new(bounds, relay.clone()));
            Ok(Stores { history, bus: relay.clone(), sessions, receipts })
        }
        config::HistoryStore::Embedded => {
            let observer = Arc::new(Observer(metrics.clone()));
            let history =
                EmbeddedHistory::open(&config.history.path, bounds, relay.clone(), observer)
                    .map_err(|e| format!("the history cannot be opened: {e}"))?;
            let sessions = session_bounds(config)
                .map(|bounds| Arc::new(history.sessions(bounds)) as Arc<dyn SessionStore>);
            let receipts = receipt_bounds(config)
                .map(|bounds| Arc::new(history.receipts(bounds)) as Arc<dyn ReceiptStore>);
            Ok(Stores { history: Arc::new(history), bus: relay.clone(), sessions, receipts })
        }
        config::HistoryStore::Redis => {
            let fleet = fleet.ok_or("history.store = \"redis\" needs cluster.redis_url")?;
            let observer = Arc::new(Observer(metrics.clone()));
            let (history, bus) = fleet.connect(config, bounds, relay, observer);
            let sessions = session_bounds(config).map(|bounds| {
                let (link, ttl) = (fleet.link.clone(), config.history.ttl_ms);
                let sessions = RedisSessions::start(link, bounds, ttl, Clock::system());
                Arc::new(sessions) as Arc<dyn SessionStore>
            });
            let receipts = receipt_bounds(config).map(|bounds| {
                Arc::new(RedisReceipts::new(fleet.link.clone(), bounds)) as Arc<dyn ReceiptStore>
            });
            Ok(Stores { history, bus, sessions, receipts })
        }
    }
}

/// The bounds of the session store; none if sessions do not survive.
fn session_bounds(config: &Config) -> Option<SessionStoreConfig> {
    let connections = match config.limits.max_connections {
        0 => usize::MAX,
        max => max,
    };
    (config.session.recovery_ms > 0).then_some(SessionStoreConfig {
        recovery_ms: config.session.recovery_ms,
        max_sessions: connections.saturating_mul(2),
    })
}

/// The bounds of the store of receipts; none if they are off.
fn receipt_bounds(config: &Config) -> Option<ReceiptStoreConfig> {
    (!config.receipts.vocabularies.is_empty()).then_some(ReceiptStoreConfig {
        max_members: config.receipts.max_members,
        max_rooms: config.rooms.max_rooms,
        ttl_ms: config.history.ttl_ms,
    })
}

struct Observer(Metrics);

impl StoreObserver for Observer {
    fn committed(&self, records: usize, _bytes: usize, seconds: f64) {
        self.0.store_seconds.observe(seconds);
        self.0.store_batch.observe(records as f64);
    }

    fn failed(&self, records: usize) {
        self.0.store_failures.inc_by(records as u64);
    }

    fn unreadable(&self) {
        self.0.store_unreadable.inc();
    }

    fn queue(&self, len: usize, bytes: usize) {
        self.0.store_queue_messages.set(len as i64);
        self.0.store_queue_bytes.set(bytes as i64);
    }
}

/// Tokens by the configured key.
pub struct Tokens {
    verifier: Verifier,
    clock: Clock,
    refusals: IntCounterVec,
    /// What most tokens allow, kept once.
    everything: Arc<Grants>,
}

impl Tokens {
    /// Tokens of a verifier; what is refused is counted by [`TokenError::code`].
    pub fn new(verifier: Verifier, clock: Clock, refusals: &IntCounterVec) -> Self {
        for code in TokenError::CODES {
            refusals.with_label_values(&[code]);
        }
        Self { verifier, clock, refusals: refusals.clone(), everything: Arc::default() }
    }

    fn grants(
        &self,
        rooms: Option<Vec<String>>,
        publish: Option<Vec<String>>,
        roles: Vec<String>,
    ) -> Arc<Grants> {
        if rooms.is_none() && publish.is_none() && roles.is_empty() {
            return self.everything.clone();
        }
        Arc::new(Grants { rooms, publish, roles })
    }
}

impl Authenticator for Tokens {
    fn authenticate(&self, token: &str) -> Result<Identity, HubError> {
        let unauthorized = |code: &str, why: String| {
            self.refusals.with_label_values(&[code]).inc();
            HubError::new(ErrorCode::Unauthorized, why)
        };
        let claims = self
            .verifier
            .verify_at(token, self.clock.wall() / 1000)
            .map_err(|e| unauthorized(e.code(), e.to_string()))?;
        Ok(Identity {
            user: UserId::new(&claims.sub)
                .map_err(|e| unauthorized("invalid_claim", e.message.into_owned()))?,
            name: claims.name.as_deref().map(Into::into),
            expires_at: claims.exp.map(|seconds| seconds.saturating_mul(1000)),
            grants: self.grants(claims.rooms, claims.publish, claims.roles),
        })
    }
}

/// Who decides about joining.
pub fn policy(config: &Config, metrics: &Metrics) -> RoomPolicy {
    match config.rooms.policy {
        config::RoomPolicy::Claims => RoomPolicy::Claims,
        config::RoomPolicy::Open => RoomPolicy::Open,
        config::RoomPolicy::Webhook => {
            RoomPolicy::Webhook(Arc::new(crate::webhook::Webhook::new(&config.rooms, metrics)))
        }
    }
}
