//! Every configuration key: its field, default and kind, in one place.
//!
//! `config/default.toml` documents the same keys for users; a test keeps both equal.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use hubbub_actors::hooks::{HookKind, HookKinds};
use hubbub_protocol::wire::socketio::Parser;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::keys::{Key, Kind};
use super::values::{
    HistoryStore, LogFormat, RoomPolicy, Secret, ServiceUrl, WhenFull, networks, parse_network,
};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;
/// Longest time any key takes, ten years in milliseconds.
const FOREVER: u64 = 3650 * DAY;
/// Largest count a limit takes.
const MANY: u64 = 1_000_000_000;

/// Writes the structs, their defaults and the table of keys from one list of fields.
macro_rules! sections {
    ($(
        $(#[$attribute:meta])*
        $name:ident in $section:literal {
            $(
                $(#[$field_attribute:meta])*
                $field:ident: $type:ty = $default:expr, $kind:expr;
            )*
        }
    )*) => {
        $(
            $(#[$attribute])*
            #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
            #[serde(default, deny_unknown_fields)]
            pub struct $name {
                $( $(#[$field_attribute])* pub $field: $type, )*
            }

            impl Default for $name {
                fn default() -> Self {
                    Self { $( $field: $default, )* }
                }
            }
        )*

        /// Every key in the order of `config/default.toml`.
        pub const KEYS: &[Key] = &[
            $( $( Key { section: $section, name: stringify!($field), kind: $kind }, )* )*
        ];
    };
}

sections! {
    /// Section `node`.
    Node in "node" {
        /// Name of the node in logs, metrics and `nodeId`; empty: host name and 4 random hex digits.
        id: String = String::new(), Kind::Text { optional: false };
    }

    /// Section `server`: where and how the node listens, and how it leaves.
    Server in "server" {
        /// Address and port; port 0 picks a free one.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)), Kind::Address;
        /// Worker threads; 0 is the number of cores. See [`Server::worker_count`].
        workers: usize = 0, Kind::integer(0, 64);
        /// Certificate chain (PEM); together with `tls_key` the node speaks TLS.
        tls_cert: Option<PathBuf> = None, Kind::Path { optional: true };
        /// Private key (PEM) of the certificate.
        tls_key: Option<PathBuf> = None, Kind::Path { optional: true };
        /// Longest time from SIGTERM to the end, in milliseconds.
        drain_timeout_ms: u64 = 25 * SECOND, Kind::integer(1, DAY);
        /// Sessions asked to leave per second while draining.
        drain_rate: u64 = 1000, Kind::integer(1, MANY);
        /// Peers whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
        #[serde(with = "networks")]
        trusted_proxies: Vec<IpNet> = ["127.0.0.0/8", "::1"]
            .iter()
            .filter_map(|text| parse_network(text).ok())
            .collect(), Kind::Networks;
        /// Origins of pages that may connect; empty: the same origin only; `*`: every one.
        allowed_origins: Vec<String> = Vec::new(), Kind::List;
    }

    /// Section `auth`: who a client is.
    Auth in "auth" {
        /// Secret of HS256 tokens.
        jwt_secret: Option<Secret> = None, Kind::Secret;
        /// Public key (PEM) of RS256, ES256 or EdDSA tokens.
        jwt_public_key_file: Option<PathBuf> = None, Kind::Path { optional: true };
        /// Key set (RFC 7517) of tokens; read again when the file changes.
        jwks_file: Option<PathBuf> = None, Kind::Path { optional: true };
        /// Whether a token must have `exp`.
        require_exp: bool = true, Kind::Bool;
        /// Required `iss` of tokens.
        issuer: Option<String> = None, Kind::Text { optional: true };
        /// Required member of `aud` of tokens.
        audience: Option<String> = None, Kind::Text { optional: true };
        /// Key of the HTTP API; none: the API is closed.
        api_key: Option<Secret> = None, Kind::Secret;
        /// Whether a client may name itself without a token.
        anonymous: bool = false, Kind::Bool;
        /// Time for a connection to authenticate in-band, in milliseconds.
        timeout_ms: u64 = 10 * SECOND, Kind::integer(1, HOUR);
    }

    /// Section `rooms`: who may enter, and how many rooms there are.
    Rooms in "rooms" {
        /// Who decides on entering.
        policy: RoomPolicy = RoomPolicy::Claims, Kind::Choice(&["claims", "open", "webhook"]);
        /// The service asked by the policy `webhook`.
        webhook_url: Option<ServiceUrl> = None, Kind::Url;
        /// Time for its answer, in milliseconds; a late one is a refusal.
        webhook_timeout_ms: u64 = 2 * SECOND, Kind::integer(1, HOUR);
        /// How long its answer is kept, in milliseconds; 0: not at all.
        webhook_cache_ms: u64 = 30 * SECOND, Kind::integer(0, DAY);
        /// Rooms one session may be in.
        max_per_session: usize = 128, Kind::integer(1, MANY);
        /// Rooms on this node.
        max_rooms: usize = 100_000, Kind::integer(1, MANY);
    }

    /// Section `session`: heartbeats, slow readers, recovery.
    Session in "session" {
        /// Time between heartbeats, in milliseconds.
        heartbeat_ms: u64 = 25 * SECOND, Kind::integer(10, DAY);
        /// Time for the answer to a heartbeat, in milliseconds.
        timeout_ms: u64 = 20 * SECOND, Kind::integer(10, DAY);
        /// Time without one byte taken by a client that has data or an HTTP answer waiting, in
        /// milliseconds.
        stall_timeout_ms: u64 = 10 * SECOND, Kind::integer(10, DAY);
        /// Bytes that may wait for one client.
        outbound_max_bytes: usize = 1_048_576, Kind::integer(KIB, 1024 * MIB);
        /// What happens beyond that.
        when_full: WhenFull = WhenFull::Disconnect,
            Kind::Choice(&["disconnect", "drop_oldest", "conflate"]);
        /// Time between two rounds of writing, in microseconds; 0: at once.
        flush_interval_us: u64 = 0, Kind::integer(0, 1_000_000);
        /// How long a lost session can come back, in milliseconds; 0: not at all.
        recovery_ms: u64 = 120 * SECOND, Kind::integer(0, DAY);
        /// Whether messages are compressed for WebSocket clients that offer it.
        compression: bool = false, Kind::Bool;
        /// Smallest message that is compressed, in bytes.
        compression_min_bytes: usize = 1024, Kind::integer(0, 64 * MIB);
    }

    /// Section `limits`: what one client, user or address may use.
    Limits in "limits" {
        /// Largest message from a client, in bytes.
        max_frame_bytes: usize = 65_536, Kind::integer(128, 64 * MIB);
        /// Messages per second and session; 0: unlimited.
        messages_per_second: u32 = 50, Kind::limit(MANY);
        /// Messages a session may send at once; 0: as many as in one second.
        burst: u32 = 100, Kind::limit(MANY);
        /// Sessions of one user; 0: unlimited.
        max_sessions_per_user: usize = 16, Kind::limit(MANY);
        /// Connections from one address; 0: unlimited. Of those that are not upgraded twice as
        /// many, and 64 more.
        max_connections_per_ip: usize = 1024, Kind::limit(MANY);
        /// Connections to this node; 0: unlimited.
        max_connections: usize = 100_000, Kind::limit(MANY);
        /// Time for a request head (and the TLS handshake before it), in milliseconds.
        handshake_timeout_ms: u64 = 5 * SECOND, Kind::integer(1, HOUR);
    }

    /// Section `history`: where messages are kept and how many.
    History in "history" {
        /// Where messages are kept.
        store: HistoryStore = HistoryStore::Embedded,
            Kind::Choice(&["embedded", "memory", "redis"]);
        /// Folder of the embedded store.
        path: PathBuf = PathBuf::from("data/"), Kind::Path { optional: false };
        /// Messages kept per room.
        max_messages: u64 = 1000, Kind::integer(1, MANY);
        /// Age at which a message goes, in milliseconds.
        ttl_ms: u64 = DAY, Kind::integer(1, FOREVER);
        /// Messages that may wait for the store.
        queue_max_messages: usize = 16_384, Kind::integer(1, MANY);
        /// Bytes that may wait for the store.
        queue_max_bytes: usize = 67_108_864, Kind::integer(KIB, 64 * 1024 * MIB);
    }

    /// Section `archive`: messages that are kept for good.
    Archive in "archive" {
        /// Patterns of the rooms that are archived; none: nothing is.
        rooms: Vec<String> = Vec::new(), Kind::List;
        /// PostgreSQL that takes them, where the history is in Redis.
        url: Option<ServiceUrl> = None, Kind::Url;
        /// Certificates (PEM) of who signs those of PostgreSQL; none: those that the system trusts.
        tls_ca: Option<PathBuf> = None, Kind::Path { optional: true };
        /// How long PostgreSQL may take to connect or to answer, in milliseconds.
        timeout_ms: u64 = 10 * SECOND, Kind::integer(10, HOUR);
        /// Messages written at once.
        batch_max: usize = 500, Kind::integer(1, 10_000);
        /// How long a message may wait for others to be written with, in milliseconds.
        batch_wait_ms: u64 = 100, Kind::integer(0, HOUR);
        /// Messages that may wait in Redis for PostgreSQL. The same on every node.
        backlog_max: u64 = 1_000_000, Kind::integer(1, MANY);
        /// After what time another node writes what a node took and did not, in milliseconds.
        takeover_ms: u64 = 30 * SECOND, Kind::integer(100, DAY);
    }

    /// Section `cluster`: the other nodes.
    Cluster in "cluster" {
        /// Redis that connects the nodes; none: one node.
        redis_url: Option<ServiceUrl> = None, Kind::Url;
        /// Whether the node is not ready while Redis is away.
        required: bool = true, Kind::Bool;
        /// Certificates (PEM) of who signs those of Redis; none: those that the system trusts.
        tls_ca: Option<PathBuf> = None, Kind::Path { optional: true };
        /// What every key and channel in Redis begins with. The same on every node.
        key_prefix: String = "hubbub:".to_owned(), Kind::Text { optional: false };
        /// How long an answer of Redis may take, in milliseconds.
        response_timeout_ms: u64 = 2 * SECOND, Kind::integer(10, HOUR);
        /// How long opening a connection to Redis may take, in milliseconds.
        connect_timeout_ms: u64 = 2 * SECOND, Kind::integer(10, HOUR);
        /// How long a publish may wait while Redis is away, in milliseconds.
        queue_timeout_ms: u64 = 10 * SECOND, Kind::integer(1, HOUR);
        /// Replicas that must have a message before it is acknowledged.
        min_replicas: u32 = 0, Kind::integer(0, 16);
        /// How long a node that says nothing counts as there, in milliseconds.
        lease_ms: u64 = 7 * SECOND, Kind::integer(500, HOUR);
        /// Redis set of the users who are online, for other programs to read.
        online_users_key: String = "online-users".to_owned(), Kind::Text { optional: false };
        /// What the channels of `@socket.io/redis-emitter` begin with; none: it is not heard.
        emitter_prefix: Option<String> = None, Kind::Text { optional: true };
    }

    /// Section `presence`: who is online and who types.
    Presence in "presence" {
        /// Time from the last session of a user to `offline`, in milliseconds.
        offline_grace_ms: u64 = 2 * SECOND, Kind::integer(0, HOUR);
        /// Time after which a forgotten "is typing" ends, in milliseconds.
        typing_timeout_ms: u64 = 6 * SECOND, Kind::integer(1, HOUR);
        /// Members up to which a room hears of each one that comes and goes.
        announce_max_members: usize = 256, Kind::integer(0, MANY);
    }

    /// Section `receipts`: who has got a message, and who has read it.
    Receipts in "receipts" {
        /// Vocabularies for whose clients receipts are kept, by name; `*` for all. Empty: off.
        vocabularies: Vec<String> = Vec::new(), Kind::List;
        /// Users of a room whose receipts are kept.
        max_members: usize = 256, Kind::integer(1, 10_000);
        /// How long receipts are gathered before they are kept and told, in milliseconds.
        interval_ms: u64 = 200, Kind::integer(10, 60 * SECOND);
    }

    /// Section `socketio`: the Socket.IO wire.
    Socketio in "socketio" {
        /// Vocabulary of its events: a shipped name or the path of a TOML file.
        vocabulary: String = "hubbub".to_owned(), Kind::Text { optional: false };
        /// Vocabularies that a client may choose, by shipped name or path; `*` for all shipped ones.
        allow_vocabularies: Vec<String> = Vec::new(), Kind::List;
        /// How packets are written; clients need the same parser.
        parser: Parser = Parser::Default, Kind::Choice(&["default", "msgpack"]);
        /// Namespaces that clients may join: names, or patterns with `*` and `?`. With
        /// `=VOCABULARY` behind it a namespace has one of its own.
        namespaces: Vec<String> = vec!["/".to_owned()], Kind::List;
        /// Time between pings, in milliseconds.
        ping_interval_ms: u64 = 25 * SECOND, Kind::integer(10, DAY);
        /// Time for the answer to a ping, in milliseconds.
        ping_timeout_ms: u64 = 20 * SECOND, Kind::integer(10, DAY);
        /// Largest polling body or message, in bytes.
        max_http_buffer_bytes: usize = 1_000_000, Kind::integer(100, 64 * MIB);
        /// Time to join a namespace, in milliseconds.
        connect_timeout_ms: u64 = 45 * SECOND, Kind::integer(1, HOUR);
    }

    /// Section `json`: the JSON wire.
    Json in "json" {
        /// Vocabulary of its events: a shipped name or the path of a TOML file.
        vocabulary: String = "hubbub".to_owned(), Kind::Text { optional: false };
        /// Vocabularies that a client may choose, by shipped name or path; `*` for all shipped ones.
        allow_vocabularies: Vec<String> = Vec::new(), Kind::List;
    }

    /// Section `log`. The level comes from `RUST_LOG`.
    Log in "log" {
        /// The shape of log lines.
        format: LogFormat = LogFormat::Text, Kind::Choice(&["text", "json"]);
        /// Lines a second from one place in the code; more are counted, not printed. 0: unlimited.
        repeat_per_second: u32 = 20, Kind::limit(MANY);
    }

    /// Section `tracing`: the way of a message that somebody follows.
    Tracing in "tracing" {
        /// Where spans go (OTLP over HTTP, protobuf), with the path; none: nowhere.
        otlp_url: Option<ServiceUrl> = None, Kind::Url;
    }

    /// Section `webhooks`: what a backend is told of.
    Webhooks in "webhooks" {
        /// Where events are posted; none: nobody is told.
        url: Option<ServiceUrl> = None, Kind::Url;
        /// Key of the signatures.
        secret: Option<Secret> = None, Kind::Secret;
        /// What is told: names of events, or `*` for all.
        events: Vec<String> = usual_events(), Kind::List;
        /// Events in one request.
        batch_max: usize = 100, Kind::integer(1, 1000);
        /// Time for one request, in milliseconds.
        timeout_ms: u64 = 5 * SECOND, Kind::integer(10, HOUR);
        /// Longest pause between two tries, in milliseconds.
        retry_max_ms: u64 = 60 * SECOND, Kind::integer(10, HOUR);
        /// How long an event waits for the backend, in milliseconds.
        retention_ms: u64 = DAY, Kind::integer(SECOND, FOREVER);
        /// Events that may wait.
        queue_max: u64 = 100_000, Kind::integer(1, MANY);
        /// Bytes of events that may wait.
        queue_max_bytes: u64 = 67_108_864, Kind::integer(64 * KIB, 64 * 1024 * MIB);
        /// Folder of the queue; none: `history.path`, or memory with `history.store = "memory"`.
        path: Option<PathBuf> = None, Kind::Path { optional: true };
    }

    /// Section `dev`: for tests only.
    Dev in "dev" {
        /// Opens the entries that make parts of the node fail on purpose.
        fault_injection: bool = false, Kind::Bool;
    }
}

/// What is told unless `webhooks.events` says otherwise: all but messages.
fn usual_events() -> Vec<String> {
    let usual = HookKind::ALL.into_iter().filter(|kind| *kind != HookKind::MessagePublished);
    usual.map(|kind| kind.as_str().to_owned()).collect()
}

impl Webhooks {
    /// What is told; an entry that names nothing as the error.
    pub fn kinds(&self) -> Result<HookKinds, &str> {
        let unknown = |name: &&String| *name != "*" && HookKind::parse(name).is_none();
        if let Some(name) = self.events.iter().find(unknown) {
            return Err(name);
        }
        let all = self.events.iter().any(|name| name == "*");
        Ok(HookKind::ALL
            .into_iter()
            .filter(|kind| all || self.events.iter().any(|name| name == kind.as_str()))
            .collect())
    }
}

impl Server {
    /// `server.workers`, or the number of cores the process may use.
    pub fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            workers => workers,
        }
    }
}

impl Auth {
    /// Whether a secret, a public key or a key set is configured.
    pub fn has_key(&self) -> bool {
        self.jwt_secret.is_some() || self.jwt_public_key_file.is_some() || self.jwks_file.is_some()
    }
}

impl Node {
    /// `node.id`, or a fresh name from the host's name and 4 random hex digits. Call it once per
    /// process.
    pub fn resolve_id(&self) -> String {
        if !self.id.is_empty() {
            return self.id.clone();
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
            .ok()
            .or_else(|| std::env::var("HOSTNAME").ok())
            .unwrap_or_default();
        let mut host: String = host
            .trim()
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
            .take(59)
            .collect();
        if host.is_empty() {
            host.push_str("node");
        }
        let random = uuid::Uuid::new_v4().simple().to_string();
        format!("{host}-{}", &random[..4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_a_name_gets_a_fresh_one() {
        let (a, b) = (Node::default().resolve_id(), Node::default().resolve_id());
        assert!(a.len() >= 6 && a.len() <= 64, "{a}");
        assert_eq!(a[..a.len() - 4], b[..b.len() - 4]);
        assert!(a[a.len() - 4..].chars().all(|c| c.is_ascii_hexdigit()));
        let named = Node { id: "n1".to_owned() };
        assert_eq!(named.resolve_id(), "n1");
    }

    #[test]
    fn workers_default_to_the_cores() {
        assert!(Server::default().worker_count() >= 1);
        assert_eq!(Server { workers: 3, ..Server::default() }.worker_count(), 3);
    }
}
