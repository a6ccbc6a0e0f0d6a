//! The sources together: precedence, every mistake at once, and the documented default file.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::io::Write;

use hubbub_actors::hooks::HookKind;

use super::keys::{Key, Kind};
use super::*;

fn env(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn from(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    load_with(Some(file(text).path()), env(variables))
}

fn problems(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    from(text, variables).unwrap_err().0.iter().map(ToString::to_string).collect()
}

fn warned(text: &str) -> Vec<&'static str> {
    from(text, &[]).unwrap().warnings.iter().map(|warning| warning.key).collect()
}

/// Every leaf key of a TOML text.
fn leaves(text: &str) -> BTreeSet<String> {
    let table: toml::Table = text.parse().unwrap();
    let mut paths = BTreeSet::new();
    for (section, value) in table {
        for name in value.as_table().unwrap().keys() {
            paths.insert(format!("{section}.{name}"));
        }
    }
    paths
}

/// `config/default.toml` with the comment marks of optional keys taken away.
fn default_uncommented() -> String {
    let is_key = |line: &str| {
        line.split_once(" = ").is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        })
    };
    let lines = DEFAULT_TOML.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if is_key(rest) => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn without_anything_the_defaults_stand_and_it_is_development() {
    let loaded = load_with(None, env(&[("PATH", "/bin"), ("HUBBUB_SERVICE_HOST", "x")])).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings, []);
    assert!(loaded.config.development());
}

#[test]
fn the_documented_default_file_equals_the_built_in_defaults() {
    let loaded = from(DEFAULT_TOML, &[]).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings, []);
}

#[test]
fn the_documented_default_file_has_every_key_and_no_other() {
    let known: BTreeSet<String> = KEYS.iter().map(Key::path).collect();
    assert_eq!(leaves(&default_uncommented()), known);
    // What has no default, and only that, is commented out.
    let written = leaves(DEFAULT_TOML);
    for key in KEYS {
        let documented_only = key.kind.is_optional() || key.path() == "history.store";
        assert_eq!(!written.contains(&key.path()), documented_only, "{}", key.path());
    }
    // Each key has a comment above its group.
    for (index, line) in DEFAULT_TOML.lines().enumerate().skip(1) {
        if line.starts_with('[') {
            let next = DEFAULT_TOML.lines().nth(index + 1).unwrap();
            assert!(next.starts_with("# "), "no comment below {line}");
        }
    }
}

#[test]
fn the_struct_has_every_key_and_no_other() {
    let url = ServiceUrl::new("redis://h");
    let mut config = Config::default();
    let path = Some("x".into());
    (config.server.tls_cert, config.server.tls_key) = (path.clone(), path.clone());
    (config.auth.jwks_file, config.auth.jwt_public_key_file) = (path.clone(), path);
    (config.auth.jwt_secret, config.auth.api_key) =
        (Some(Secret::random()), Some(Secret::random()));
    (config.auth.issuer, config.auth.audience) = (Some(String::new()), Some(String::new()));
    (config.rooms.webhook_url, config.cluster.redis_url) = (Some(url.clone()), Some(url));
    config.tracing.otlp_url = Some(ServiceUrl::new("http://h"));
    config.cluster.tls_ca = Some("ca.pem".into());
    config.archive.tls_ca = Some("ca.pem".into());
    config.archive.url = config.cluster.redis_url.clone();
    config.cluster.emitter_prefix = Some("x".into());
    config.webhooks.url = Some(ServiceUrl::new("http://h"));
    config.webhooks.secret = Some(Secret::random());
    config.webhooks.path = Some("x".into());
    let known: BTreeSet<String> = KEYS.iter().map(Key::path).collect();
    assert_eq!(leaves(&config.to_toml().unwrap()), known);
}

#[test]
fn the_choices_of_the_table_are_those_of_the_types() {
    for key in KEYS {
        let Kind::Choice(words) = key.kind else {
            continue;
        };
        for word in words {
            let text = format!("[{}]\n{} = \"{word}\"", key.section, key.name);
            assert!(toml::from_str::<Config>(&text).is_ok(), "{text}");
        }
    }
}

#[test]
fn every_default_and_bound_is_accepted_by_its_own_field() {
    for key in KEYS {
        let Kind::Integer { min, max, zero } = key.kind else {
            continue;
        };
        for value in [min, max].into_iter().chain(zero.then_some(0)) {
            let text = format!("[{}]\n{} = {value}", key.section, key.name);
            let (_, problems) = collect(Some(file(&text).path()), []);
            assert_eq!(problems, [], "{text}");
        }
    }
}

#[test]
fn the_environment_goes_over_the_file_and_the_file_over_the_defaults() {
    let text = "[server]\nlisten = \"127.0.0.1:1\"\nworkers = 2\n[rooms]\npolicy = \"open\"";
    let loaded = from(
        text,
        &[
            ("HUBBUB__SERVER__LISTEN", "127.0.0.1:2"),
            ("HUBBUB__SERVER__TRUSTED_PROXIES", "10.0.0.0/8, ::1,192.168.0.1"),
            ("HUBBUB__SERVER__ALLOWED_ORIGINS", "https://a.example,https://b.example"),
            ("HUBBUB__AUTH__REQUIRE_EXP", "true"),
            ("HUBBUB__LIMITS__BURST", "0"),
            // A secret of digits, or one with commas, is still a text.
            ("HUBBUB__AUTH__JWT_SECRET", "00000000000000000000000000000000,1"),
            ("HUBBUB__AUTH__API_KEY", ""),
        ],
    )
    .unwrap();
    let config = loaded.config;
    assert_eq!(config.server.listen.port(), 2);
    assert_eq!(config.server.workers, 2);
    assert_eq!(config.rooms.policy, RoomPolicy::Open);
    assert_eq!(config.server.trusted_proxies.len(), 3);
    assert_eq!(config.server.allowed_origins, ["https://a.example", "https://b.example"]);
    assert_eq!(config.limits.burst, 0);
    assert_eq!(config.auth.jwt_secret.unwrap().expose(), "00000000000000000000000000000000,1");
    assert_eq!(config.auth.api_key, None);
    assert_eq!(loaded.warnings, []);
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_known_one() {
    let text = "[server]\n\nlistn = \"127.0.0.1:1\"\n[sever]\nworkers = 1\n[nothing]\n";
    let file = file(text);
    let found = load_with(Some(file.path()), env(&[("HUBBUB__SESION__HEARTBEAT_MS", "1")]));
    let found: Vec<String> = found.unwrap_err().0.iter().map(ToString::to_string).collect();
    let path = file.path().display();
    assert!(found.contains(&format!(
        "unknown key `server.listn` in {path}, line 3; did you mean `server.listen`?"
    )));
    assert!(found.contains(&format!(
        "unknown key `sever.workers` in {path}, line 5; did you mean `server.workers`?"
    )));
    assert!(found.iter().any(|line| line.starts_with("unknown key `nothing` in")));
    assert!(found.contains(
        &"unknown key `sesion.heartbeat_ms` in environment variable HUBBUB__SESION__HEARTBEAT_MS; \
          did you mean `HUBBUB__SESSION__HEARTBEAT_MS`?"
            .to_owned()
    ));
    assert_eq!(found.len(), 4, "{found:#?}");
}

#[test]
fn wrong_values_are_all_named_with_what_is_expected() {
    let text = "rooms = 5\n[server]\nlisten = \"localhost\"\ndrain_rate = 0\nworkers = \"two\"\n\
                allowed_origins = \"*\"\ntrusted_proxies = [\"10.0.0.0/99\"]\n\
                [auth]\nanonymous = \"yes\"\napi_key = 1234\n[session]\nwhen_full = \"explode\"\n\
                [server.tls_cert]\nfile = 1\n";
    let found =
        problems(text, &[("HUBBUB__LIMITS__BURST", "-1"), ("HUBBUB__DEV__FAULT_INJECTION", "1")]);
    for (key, part) in [
        ("rooms", "a section, written [rooms]"),
        ("server.listen", "\"localhost\", expected an IP address and a port"),
        ("server.drain_rate", "is 0, expected a whole number from 1"),
        ("server.workers", "\"two\", expected a whole number"),
        ("server.allowed_origins", "\"*\", expected a list"),
        ("server.trusted_proxies", "`10.0.0.0/99` is no network"),
        ("server.tls_cert", "a section, expected a path"),
        ("auth.anonymous", "\"yes\", expected true or false"),
        ("auth.api_key", "is ***, expected a text"),
        ("session.when_full", "expected one of disconnect, drop_oldest, conflate"),
        ("limits.burst", "environment variable HUBBUB__LIMITS__BURST is \"-1\""),
        ("dev.fault_injection", "expected true or false"),
    ] {
        let wanted =
            |line: &&String| line.starts_with(&format!("`{key}` in ")) && line.contains(part);
        assert!(found.iter().any(|line| wanted(&line)), "{key}: {part}\n{found:#?}");
    }
    assert_eq!(found.len(), 12, "{found:#?}");
    assert!(!found.iter().any(|line| line.contains("1234")));
}

#[test]
fn broken_toml_is_named_with_its_line() {
    let found = from("[server]\nlisten = \n", &[]).unwrap_err();
    assert!(matches!(found.0[0], Problem::Syntax { line: 2, .. }), "{found}");
    let found = load_with(Some(Path::new("/nonexistent/hub.toml")), []).unwrap_err();
    assert_eq!(found.0[0].code(), "unreadable");
    assert!(found.to_string().contains("/nonexistent/hub.toml"));
}

#[test]
fn an_open_address_without_a_key_is_refused() {
    for listen in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:80"] {
        let found = problems(&format!("[server]\nlisten = \"{listen}\""), &[]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("set auth.jwt_secret"), "{}", found[0]);
    }
    for listen in ["127.0.0.9:0", "[::1]:8080", "[::ffff:127.0.0.1]:1"] {
        assert!(from(&format!("[server]\nlisten = \"{listen}\""), &[]).is_ok(), "{listen}");
    }
    let secret = ("HUBBUB__AUTH__JWT_SECRET", "0123456789abcdef0123456789abcdef");
    let loaded = from("[server]\nlisten = \"0.0.0.0:1\"", &[secret]).unwrap();
    assert!(!loaded.config.development());
    assert_eq!(loaded.warnings, []);
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    assert_eq!(warned("[auth]\njwt_secret = \"short\""), ["auth.jwt_secret"]);
    let open = "[server]\nlisten = \"0.0.0.0:1\"\n[auth]\nanonymous = true\n\
                jwt_secret = \"0123456789abcdef0123456789abcdef\"";
    assert_eq!(warned(open), ["auth.anonymous"]);
    assert_eq!(warned("[server]\ntrusted_proxies = [\"0.0.0.0/0\"]"), ["server.trusted_proxies"]);
    assert_eq!(warned("[auth]\nrequire_exp = false"), ["auth.require_exp"]);
}

#[test]
fn keys_that_need_each_other_are_checked() {
    for (text, key, part) in [
        ("[server]\ntls_cert = \"/x\"", "server.tls_key", "both or neither"),
        ("[server]\ntls_key = \"/x\"", "server.tls_cert", "both or neither"),
        ("[rooms]\npolicy = \"webhook\"", "rooms.webhook_url", "needs it"),
        ("[history]\nstore = \"redis\"", "history.store", "needs cluster.redis_url"),
        ("[cluster]\nredis_url = \"http://h\"", "cluster.redis_url", "redis://"),
        ("[cluster]\nredis_url = \"redis://:6379\"", "cluster.redis_url", "no host"),
        ("[auth]\njwks_file = \"/nonexistent\"", "auth.jwks_file", "cannot read /nonexistent"),
        ("[server]\nallowed_origins = [\"a.example\"]", "server.allowed_origins", "no origin"),
        ("[node]\nid = \"a b\"", "node.id", "letters"),
        ("[json]\nvocabulary = \"\"", "json.vocabulary", "there is no vocabulary"),
        ("[socketio]\nvocabulary = \"typed-json\"", "socketio.vocabulary", "Socket.IO wire; use"),
        ("[archive]\nurl = \"postgres://h/x\"", "archive.url", "its own file"),
        ("[archive]\nrooms = [\"\"]", "archive.rooms", "empty pattern"),
        ("[archive]\nrooms = [\"*\"]\n[history]\nstore = \"memory\"", "archive.rooms", "for good"),
        (
            "[archive]\nrooms = [\"*\"]\n[cluster]\nredis_url = \"redis://h\"",
            "archive.url",
            "PostgreSQL",
        ),
        ("[history]\npath = \"/dev/null\"", "history.path", "no folder"),
        ("[webhooks]\nurl = \"http://h/x\"", "webhooks.secret", "needs it"),
        ("[webhooks]\nurl = \"http://h/x\"\nsecret = \"short\"", "webhooks.secret", "guessed"),
        ("[webhooks]\nevents = [\"message\"]", "webhooks.events", "message.published"),
        ("[webhooks]\npath = \"/dev/null\"", "webhooks.path", "no folder"),
    ] {
        let found = problems(text, &[]);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with(&format!("`{key}`: ")), "{}", found[0]);
        assert!(found[0].contains(part), "{}", found[0]);
    }
    let keys = "[auth]\njwt_secret = \"0123456789abcdef0123456789abcdef\"\njwks_file = \"tests/keys/jwks.json\"";
    assert!(problems(keys, &[])[0].contains("auth.jwt_secret, auth.jwks_file"));
}

#[test]
fn spans_need_a_build_that_sends_them() {
    let url = |url: &str| problems(&format!("[tracing]\notlp_url = \"{url}\""), &[]);
    let found = url("http://h:4318/v1/traces");
    if cfg!(feature = "otlp") {
        assert_eq!(found, [""; 0]);
        assert!(url("http://h")[0].contains("no path"));
        assert!(url("http://u:p@h/v1/traces")[0].contains("OTEL_EXPORTER_OTLP_HEADERS"));
        assert!(url("grpc://h/v1/traces")[0].contains("http://"));
    } else {
        assert!(found[0].contains("--features otlp"), "{found:?}");
    }
}

#[test]
fn webhooks_are_checked_and_hide_their_secret() {
    let told = "[webhooks]\nurl = \"https://u:hidden@h/x\"\nsecret = \"0123456789abcdef0123456789abcdef\"\n";
    assert_eq!(warned(told), Vec::<String>::new());
    let shown = from(told, &[]).unwrap().config.to_toml().unwrap();
    assert!(!shown.contains("hidden") && !shown.contains("0123456789abcdef"), "{shown}");
    let scheme = problems(&told.replace("https:", "ftp:"), &[]);
    assert!(scheme[0].starts_with("`webhooks.url`: "), "{scheme:?}");
    assert_eq!(warned(&told.replace("0123456789abcdef0123", "0123")), ["webhooks.secret"]);
    assert_eq!(warned(&format!("{told}events = []")), ["webhooks.events"]);
    let memory = format!("{told}[history]\nstore = \"memory\"");
    assert_eq!(warned(&memory), ["webhooks.path"]);
    assert_eq!(warned("[webhooks]\nsecret = \"0123456789abcdef\""), ["webhooks.secret"]);
    let message = HookKind::MessagePublished;
    assert!(!Config::default().webhooks.kinds().unwrap().has(message));
    let all = from(&format!("{told}events = [\"*\"]"), &[]).unwrap().config;
    assert!(all.webhooks.kinds().unwrap().has(message));
}

#[test]
fn redis_keeps_the_history_once_it_is_configured() {
    let url = "[cluster]\nredis_url = \"redis://u:hidden@h:6379\"\n";
    let loaded = from(url, &[]).unwrap();
    assert_eq!(loaded.config.history.store, HistoryStore::Redis);
    let shown = loaded.config.to_toml().unwrap();
    assert!(shown.contains("redis://u:***@h:6379") && !shown.contains("hidden"), "{shown}");
    assert_eq!(warned(&format!("{url}[history]\nstore = \"memory\"")), ["history.store"]);
}

#[test]
fn the_address_of_the_archive_is_checked_and_its_password_hidden() {
    let with =
        |archive: &str| format!("[cluster]\nredis_url = \"redis://h\"\n[archive]\n{archive}");
    for (url, key, part) in [
        ("mysql://u:hidden@h/x", "archive.url", "postgres://"),
        ("postgres://u:hidden@h", "archive.url", "database"),
        ("postgres://u:hidden@h/x?sslmode=maybe", "archive.url", "verify-full"),
        ("postgres://u:hidden@h/x?sslrootcert=a", "archive.url", "archive.tls_ca"),
    ] {
        let found = problems(&with(&format!("rooms = [\"*\"]\nurl = \"{url}\"")), &[]);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with(&format!("`{key}`: ")), "{}", found[0]);
        assert!(found[0].contains(part) && !found[0].contains("hidden"), "{}", found[0]);
    }
    let found = problems(&with("url = \"postgres://h/x\""), &[]);
    assert!(found[0].starts_with("`archive.rooms`: "), "{found:?}");
    let text = with("rooms = [\"*\"]\nurl = \"postgres://u:hidden@h/x?sslmode=verify-full\"");
    let shown = from(&text, &[]).unwrap().config.to_toml().unwrap();
    assert!(shown.contains("postgres://u:***@h/x") && !shown.contains("hidden"), "{shown}");
}

#[test]
fn certificate_and_key_are_tried() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys");
    let pair = |cert: &str, key: &str| {
        from(&format!("[server]\ntls_cert = \"{dir}/{cert}\"\ntls_key = \"{dir}/{key}\""), &[])
    };
    assert!(pair("tls.crt.pem", "ec.key.pem").is_ok());
    for (cert, key, named) in [
        ("ec.key.pem", "ec.key.pem", "server.tls_cert"),
        ("tls.crt.pem", "tls.crt.pem", "server.tls_key"),
        ("tls.crt.pem", "ed.key.pem", "server.tls_cert"),
        ("missing", "ec.key.pem", "server.tls_cert"),
    ] {
        let found = pair(cert, key).unwrap_err();
        assert_eq!(found.0[0].key(), Some(named), "{cert} {key}: {found}");
    }
}

#[test]
fn the_effective_configuration_reads_back() {
    let text = Config::default().to_toml().unwrap();
    assert_eq!(from(&text, &[]).unwrap().config, Config::default());
    let config = Config {
        auth: Auth { jwt_secret: Some(Secret::new("sesame")), ..Auth::default() },
        ..Config::default()
    };
    assert!(!config.to_toml().unwrap().contains("sesame"));
    assert!(!format!("{config:?}").contains("sesame"));
}
