//! What makes no sense although each value is right by itself.

mod archive;

use std::path::Path;

use hubbub_actors::{hooks::HookKind, redis::address::Address};
use hubbub_protocol::vocabulary::shipped;

use super::problem::{Problem, Warning};
use super::values::{HistoryStore, RoomPolicy, Secret, ServiceUrl};
use super::vocabulary::{self, Wire};
use super::{Config, tls};

/// Shortest `auth.jwt_secret` without a warning: the size of the hash (RFC 7518, section 3.2).
const SECRET_BYTES: usize = 32;
/// Shortest `auth.api_key` without a warning.
const API_KEY_BYTES: usize = 16;
/// Shortest `webhooks.secret`.
const HOOK_SECRET_BYTES: usize = 16;
/// Longest `node.id`, in bytes.
const NODE_ID_BYTES: usize = 64;

/// Everything that is wrong, and everything that is odd.
pub(super) fn validate(config: &Config) -> (Vec<Problem>, Vec<Warning>) {
    let mut found = Findings::default();
    node(config, &mut found);
    vocabularies(config, &mut found);
    receipts(config, &mut found);
    namespaces(config, &mut found);
    server(config, &mut found);
    auth(config, &mut found);
    rooms(config, &mut found);
    queues(config, &mut found);
    webhooks(config, &mut found);
    stores(config, &mut found);
    archive::archive(config, &mut found);
    tracing(config, &mut found);
    (found.problems, found.warnings)
}

#[derive(Default)]
struct Findings {
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl Findings {
    fn problem(&mut self, key: &'static str, reason: impl Into<String>) {
        self.problems.push(Problem::Invalid { key, reason: reason.into() });
    }

    fn warning(&mut self, key: &'static str, reason: impl Into<String>) {
        self.warnings.push(Warning { key, reason: reason.into() });
    }

    fn file(&mut self, key: &'static str, path: Option<&Path>) {
        let Some(path) = path else { return };
        // Opened and not only looked at: a file that may not be read is as bad as none.
        let readable = std::fs::File::open(path).and_then(|file| file.metadata());
        match readable {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => self.problem(key, format!("{} is no file", path.display())),
            Err(error) => self.problem(key, format!("cannot read {}: {error}", path.display())),
        }
    }

    fn url(&mut self, key: &'static str, url: Option<&ServiceUrl>, schemes: &[&str]) {
        let Some(url) = url else { return };
        if !schemes.contains(&url.scheme()) {
            let known = schemes.iter().map(|s| format!("{s}://")).collect::<Vec<_>>().join(", ");
            self.problem(key, format!("the address must start with one of {known}"));
        } else if url.hosts().split(',').any(|host| host.is_empty() || host.starts_with(':')) {
            self.problem(key, "the address names no host");
        }
    }
}

fn node(config: &Config, found: &mut Findings) {
    let id = &config.node.id;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if id.len() > NODE_ID_BYTES || !id.chars().all(allowed) {
        found.problem(
            "node.id",
            format!("use at most {NODE_ID_BYTES} letters, digits, `-`, `_` and `.`"),
        );
    }
}

fn vocabularies(config: &Config, found: &mut Findings) {
    for (key, name, wire) in [
        ("socketio.vocabulary", &config.socketio.vocabulary, Wire::Socketio),
        ("json.vocabulary", &config.json.vocabulary, Wire::Json),
    ] {
        for reason in vocabulary::load(name, wire).err().into_iter().flatten() {
            found.problem(key, reason);
        }
    }
    for (key, names, wire) in [
        ("socketio.allow_vocabularies", &config.socketio.allow_vocabularies, Wire::Socketio),
        ("json.allow_vocabularies", &config.json.allow_vocabularies, Wire::Json),
    ] {
        for reason in vocabulary::load_all(names, wire).err().into_iter().flatten() {
            found.problem(key, reason);
        }
    }
    for entry in &config.socketio.namespaces {
        let Some(own) = vocabulary::namespace(entry).1 else { continue };
        for reason in vocabulary::load(own, Wire::Socketio).err().into_iter().flatten() {
            found.problem("socketio.namespaces", reason);
        }
    }
}

/// The vocabularies that somebody may speak here, and those that ship with the hub.
fn receipts(config: &Config, found: &mut Findings) {
    let json = [&config.json.vocabulary].into_iter().chain(&config.json.allow_vocabularies);
    let socketio = [&config.socketio.vocabulary].into_iter();
    let socketio = socketio.chain(&config.socketio.allow_vocabularies).map(String::as_str);
    let namespaces = &config.socketio.namespaces;
    let owned = namespaces.iter().filter_map(|entry| vocabulary::namespace(entry).1);
    let named = json.map(String::as_str).chain(socketio).chain(owned);
    let mut known: Vec<String> = named
        .filter_map(|named| Some(Path::new(named).file_stem()?.to_str()?.to_owned()))
        .collect();
    known.extend(shipped::SHIPPED.iter().map(|(name, _)| (*name).to_owned()));
    known.retain(|name| name != "*");
    known.sort_unstable();
    known.dedup();
    let names = config.receipts.vocabularies.iter();
    for name in names.filter(|name| *name != "*" && !known.contains(name)) {
        let reason = format!("there is no vocabulary `{name}`; use `*` or {}", known.join(", "));
        found.problem("receipts.vocabularies", reason);
    }
}

fn namespaces(config: &Config, found: &mut Findings) {
    let names = &config.socketio.namespaces;
    let wrong = |name: &&String| !name.starts_with(['/', '*']) || name.contains(',');
    if names.is_empty() {
        found.problem("socketio.namespaces", "name at least one, such as `/`");
    } else if let Some(name) = names.iter().find(wrong) {
        let reason = format!("`{name}` is no namespace: it begins with `/` and has no comma");
        found.problem("socketio.namespaces", reason);
    }
}

fn server(config: &Config, found: &mut Findings) {
    let server = &config.server;
    let exposed = !server.listen.ip().to_canonical().is_loopback();
    if exposed && !config.auth.has_key() {
        found.problem(
            "server.listen",
            format!(
                "{} can be reached from other machines, and nothing says how to check tokens: set \
                 auth.jwt_secret (or auth.jwt_public_key_file or auth.jwks_file), or listen on \
                 127.0.0.1",
                server.listen
            ),
        );
    }
    if exposed && config.auth.anonymous {
        found.warning(
            "auth.anonymous",
            format!(
                "every machine that reaches {} can call itself any user; turn it off outside \
                 trusted networks",
                server.listen
            ),
        );
    }
    if exposed && config.dev.fault_injection {
        found.warning("dev.fault_injection", "parts of this node fail on request; for tests only");
    }
    match (&server.tls_cert, &server.tls_key) {
        (Some(cert), Some(key)) => {
            if let Err(error) = tls::server_config(cert, key) {
                let key = match error {
                    tls::TlsError::Key { .. } => "server.tls_key",
                    _ => "server.tls_cert",
                };
                found.problem(key, error.to_string());
            }
        }
        (Some(_), None) => {
            found.problem("server.tls_key", "server.tls_cert needs it; set both or neither")
        }
        (None, Some(_)) => {
            found.problem("server.tls_cert", "server.tls_key needs it; set both or neither")
        }
        (None, None) => {}
    }
    if server.trusted_proxies.iter().any(|network| network.prefix_len() == 0) {
        found.warning(
            "server.trusted_proxies",
            "every client may claim any address; name the networks of your proxies",
        );
    }
    origins(&server.allowed_origins, found);
}

fn origins(origins: &[String], found: &mut Findings) {
    for origin in origins {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let right =
            host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', ' ']));
        if origin != "*" && !right {
            found.problem(
                "server.allowed_origins",
                format!("{origin:?} is no origin such as https://chat.example.org, and not `*`"),
            );
        }
    }
    if origins.len() > 1 && origins.iter().any(|origin| origin == "*") {
        found.warning("server.allowed_origins", "`*` allows every origin; the others say nothing");
    }
}

fn auth(config: &Config, found: &mut Findings) {
    let auth = &config.auth;
    let sources: Vec<&str> = [
        ("auth.jwt_secret", auth.jwt_secret.is_some()),
        ("auth.jwt_public_key_file", auth.jwt_public_key_file.is_some()),
        ("auth.jwks_file", auth.jwks_file.is_some()),
    ]
    .into_iter()
    .filter_map(|(key, set)| set.then_some(key))
    .collect();
    if sources.len() > 1 {
        found.problem(
            "auth.jwt_secret",
            format!("tokens are checked by one kind of key; keep one of {}", sources.join(", ")),
        );
    }
    let short = |secret: &Option<Secret>, bytes| {
        secret.as_ref().is_some_and(|secret| secret.expose().len() < bytes)
    };
    if short(&auth.jwt_secret, SECRET_BYTES) {
        found.warning(
            "auth.jwt_secret",
            format!("it is shorter than {SECRET_BYTES} bytes and can be guessed; make one with `openssl rand -hex 32`"),
        );
    }
    if short(&auth.api_key, API_KEY_BYTES) {
        found.warning(
            "auth.api_key",
            format!("it is shorter than {API_KEY_BYTES} bytes and can be guessed; make one with `openssl rand -hex 32`"),
        );
    }
    if let (Some(secret), Some(api_key)) = (&auth.jwt_secret, &auth.api_key)
        && secret == api_key
    {
        found.warning("auth.api_key", "it equals auth.jwt_secret; use two different secrets");
    }
    if !auth.require_exp {
        found.warning("auth.require_exp", "a token without `exp` is good for ever once it is lost");
    }
    found.file("auth.jwt_public_key_file", auth.jwt_public_key_file.as_deref());
    found.file("auth.jwks_file", auth.jwks_file.as_deref());
}

fn rooms(config: &Config, found: &mut Findings) {
    let rooms = &config.rooms;
    found.url("rooms.webhook_url", rooms.webhook_url.as_ref(), &["http", "https"]);
    match (rooms.policy, &rooms.webhook_url) {
        (RoomPolicy::Webhook, None) => {
            found.problem("rooms.webhook_url", "rooms.policy = \"webhook\" needs it");
        }
        (RoomPolicy::Claims | RoomPolicy::Open, Some(_)) => {
            found.warning("rooms.webhook_url", "it is not asked unless rooms.policy = \"webhook\"");
        }
        _ => {}
    }
}

fn tracing(config: &Config, found: &mut Findings) {
    let Some(url) = &config.tracing.otlp_url else { return };
    let key = "tracing.otlp_url";
    if !cfg!(feature = "otlp") {
        let why = "this hub cannot send spans; build it with `cargo build --features otlp`";
        return found.problem(key, why);
    }
    found.url(key, Some(url), &["http", "https"]);
    let rest = url.expose().split_once("://").map_or("", |(_, rest)| rest);
    if rest.contains('@') {
        let why = "user and password are not sent; put a header into OTEL_EXPORTER_OTLP_HEADERS";
        found.problem(key, why);
    } else if !rest.contains('/') {
        found.problem(key, "it has no path; collectors take spans at `/v1/traces`");
    }
}

fn webhooks(config: &Config, found: &mut Findings) {
    let hooks = &config.webhooks;
    found.url("webhooks.url", hooks.url.as_ref(), &["http", "https"]);
    if let Err(name) = hooks.kinds() {
        let known = HookKind::ALL.map(HookKind::as_str).join(", ");
        found.problem("webhooks.events", format!("{name:?} is no event; there are {known}, and *"));
    }
    if hooks.path.as_ref().is_some_and(|path| path.exists() && !path.is_dir()) {
        found.problem("webhooks.path", "it is no folder");
    }
    let (Some(_), secret) = (&hooks.url, &hooks.secret) else {
        if hooks.secret.is_some() {
            found.warning("webhooks.secret", "nothing is signed unless webhooks.url is set");
        }
        return;
    };
    match secret.as_ref().map(|secret| secret.expose().len()) {
        None => found.problem(
            "webhooks.secret",
            "webhooks.url needs it, so that the backend can tell who calls; make one with \
             `openssl rand -hex 32`",
        ),
        Some(length) if length < HOOK_SECRET_BYTES => found.problem(
            "webhooks.secret",
            format!(
                "it is shorter than {HOOK_SECRET_BYTES} bytes and can be guessed; make one with \
                 `openssl rand -hex 32`"
            ),
        ),
        Some(length) if length < SECRET_BYTES => found.warning(
            "webhooks.secret",
            format!(
                "it is shorter than {SECRET_BYTES} bytes; make one with `openssl rand -hex 32`"
            ),
        ),
        Some(_) => {}
    }
    if secret.is_some() && [&config.auth.jwt_secret, &config.auth.api_key].contains(&secret) {
        found.warning(
            "webhooks.secret",
            "it equals a secret of section auth; use different secrets",
        );
    }
    if hooks.events.is_empty() {
        found.warning("webhooks.events", "it is empty, so that nothing is told");
    }
    if hooks.path.is_none() && config.history.store == HistoryStore::Memory {
        found.warning(
            "webhooks.path",
            "what waits for the backend is kept in memory and lost with the process; name a folder",
        );
    }
}

fn queues(config: &Config, found: &mut Findings) {
    if config.session.outbound_max_bytes < config.limits.max_frame_bytes.saturating_mul(2) {
        found.warning(
            "session.outbound_max_bytes",
            "two of the largest messages (limits.max_frame_bytes) do not fit; slow clients are \
             closed at once",
        );
    }
    if config.history.queue_max_bytes < config.limits.max_frame_bytes {
        found.problem(
            "history.queue_max_bytes",
            "it must hold at least one message of limits.max_frame_bytes",
        );
    }
}

fn stores(config: &Config, found: &mut Findings) {
    let url = config.cluster.redis_url.as_ref();
    if let Some(url) = url
        && let Err(reason) = Address::parse(url.expose())
    {
        found.problem("cluster.redis_url", reason);
    }
    found.file("cluster.tls_ca", config.cluster.tls_ca.as_deref());
    if let Some(prefix) = &config.cluster.emitter_prefix
        && prefix.contains(['*', '?', '[', ']', '\\', '#'])
    {
        found.problem("cluster.emitter_prefix", "it must have none of `*?[]\\#`");
    }
    let prefix = &config.cluster.key_prefix;
    if prefix.contains(['{', '}']) || prefix.chars().any(char::is_whitespace) {
        found.problem("cluster.key_prefix", "it must have no braces and no spaces");
    }
    if config.cluster.online_users_key.contains(['{', '}']) {
        found.problem("cluster.online_users_key", "it must have no braces");
    }
    match (config.history.store, url) {
        (HistoryStore::Redis, None) => {
            found.problem("history.store", "\"redis\" needs cluster.redis_url");
        }
        (HistoryStore::Embedded | HistoryStore::Memory, Some(_)) => found.warning(
            "history.store",
            "each node keeps its own history; leave it unset so that the nodes share Redis",
        ),
        _ => {}
    }
    if config.history.path.exists() && !config.history.path.is_dir() {
        let reason = format!("{} is no folder", config.history.path.display());
        found.problem("history.path", reason);
    }
}
