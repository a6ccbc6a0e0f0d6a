//! What the command line says of an archive, and TLS to it.

use std::process::Command;

use super::settings;
use crate::{load::Fleet, support::*};

fn verb(name: &str, redis: &RedisServer, url: &str, more: &[(&str, &str)]) -> (bool, String) {
    let mut command = hubbub();
    command
        .arg(name)
        .env("HUBBUB__CLUSTER__REDIS_URL", redis.url())
        .env("HUBBUB__AUTH__JWT_SECRET", JWT_SECRET)
        .envs(settings(url, more));
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(!text.contains("not-to-be-seen"), "{text}");
    (output.status.success(), text)
}

#[test]
fn a_wrong_address_is_named_and_a_right_one_is_looked_at() {
    let (redis, database) = (RedisServer::start(&[]), PostgresServer::start());
    let url = database.url();
    let (fine, text) = verb("check", &redis, &url, &[]);
    assert!(fine, "{text}");
    let (_, text) = verb("doctor", &redis, &url, &[]);
    assert!(text.contains("the first node that starts makes its tables"), "{text}");

    database.sql("CREATE DATABASE old ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    let name = format!("{}/hubbub", database.port);
    let nobody = format!("127.0.0.1:{}", free_port());
    let here = format!("127.0.0.1:{}", database.port);
    for (wrong, named) in [
        (url.replace(&name, &format!("{}/old", database.port)), "LATIN1"),
        (
            url.replace(&name, &format!("{}/missing", database.port)),
            "database \"missing\" does not exist",
        ),
        (url.replace("hubbub:", "nobody:"), "password authentication failed"),
        (url.replace(&here, &nobody), "refused"),
        (format!("{url}?sslmode=require"), "TLS"),
        (format!("{url}?sslmode=sometimes"), "verify-full"),
    ] {
        for name in ["check", "doctor"] {
            let (fine, text) = verb(name, &redis, &wrong, &[]);
            assert!(!fine && text.contains("archive.url"), "{name} {wrong}: {text}");
            assert!(text.contains(named), "{name} {wrong}: {text}");
        }
    }
}

#[test]
fn the_way_to_the_database_is_encrypted_as_sslmode_says() {
    let keys = tempfile::tempdir().unwrap();
    let at = |name: &str| keys.path().join(name).to_str().unwrap().to_owned();
    let openssl = |args: &[&str]| {
        let done = Command::new("openssl").args(args).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let authority = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=authority",
    ];
    for name in ["ca", "other"] {
        let files = ["-keyout", &at(&format!("{name}.key")), "-out", &at(&format!("{name}.pem"))];
        openssl(&[&authority[..], &files[..]].concat());
    }
    let asked = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let names = ["-subj", "/CN=db", "-keyout", &at("server.key"), "-out", &at("server.csr")];
    openssl(&[&asked[..], &names[..]].concat());
    std::fs::write(at("names"), "subjectAltName=DNS:localhost").unwrap();
    let by = ["-CA", &at("ca.pem"), "-CAkey", &at("ca.key"), "-CAcreateserial", "-days", "2"];
    let signed = ["x509", "-req", "-in", &at("server.csr"), "-extfile", &at("names")];
    openssl(&[&signed[..], &by[..], &["-out", &at("server.pem")]].concat());

    let lent = tempfile::tempdir().unwrap();
    let lend = |name: &str| PostgresServer::lend(lent.path(), &keys.path().join(name));
    let cert = format!("ssl_cert_file={}", lend("server.pem").display());
    let key = format!("ssl_key_file={}", lend("server.key").display());
    let database = PostgresServer::start_with(&["ssl=on", &cert, &key]);
    let redis = RedisServer::start(&[]);
    let by_name = database.url().replace("127.0.0.1", "localhost");
    let (ca, other) = (at("ca.pem"), at("other.pem"));
    for (url, mode, authority, works) in [
        (database.url(), "disable", None, true),
        (database.url(), "prefer", None, true),
        (database.url(), "require", None, true),
        (database.url(), "require", Some(&other), false),
        (database.url(), "verify-ca", Some(&ca), true),
        (database.url(), "verify-ca", Some(&other), false),
        (database.url(), "verify-full", Some(&ca), false),
        (by_name.clone(), "verify-full", Some(&ca), true),
    ] {
        let url = format!("{url}?sslmode={mode}");
        let authority = authority.map(|path| ("HUBBUB__ARCHIVE__TLS_CA", path.as_str()));
        let (fine, text) = verb("check", &redis, &url, authority.as_slice());
        assert_eq!(fine, works, "{mode} {authority:?}: {text}");
    }
    let url = format!("{by_name}?sslmode=verify-full");
    let more = [("HUBBUB__ARCHIVE__TLS_CA", ca.as_str())];
    let fleet = Fleet::start(1, &redis.url(), &settings(&url, &more));
    fleet.hubs[0].metric_until("hubbub_archive_up", &[], |up| up == 1.0);
    let encrypted = "SELECT count(*) > 0 AND bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity
        USING (pid) WHERE application_name = 'hubbub'";
    assert_eq!(database.sql(encrypted), "t");
}
