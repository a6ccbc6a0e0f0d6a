//! The command line and the configuration.

use std::{fs, process::Output};

use serde_json::json;

use crate::support::*;

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    hubbub()
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(folder.path())
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Fails with a code and without a panic; what it said on standard error.
fn fails(output: &Output, code: i32) -> String {
    let said = err(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(!said.contains("panicked") && said.len() > 10, "{said}");
    said
}

#[test]
fn help_is_everywhere_and_bad_usage_is_two() {
    let help = out(&run(&["--help"], &[]));
    for verb in ["serve", "token", "check", "doctor", "health", "plan", "config"] {
        assert!(help.contains(verb), "{help}");
        let own = run(&[verb, "--help"], &[]);
        assert!(own.status.success() && out(&own).contains("Usage"), "{verb}");
    }
    assert!(out(&run(&["--version"], &[])).starts_with("hubbub "));
    for bad in [&["nonsense"][..], &["serve", "--nonsense"], &["token"], &["config", "extra"]] {
        fails(&run(bad, &[]), 2);
    }
}

#[test]
fn an_unknown_key_names_the_nearest() {
    let said = fails(&run(&["check"], &[("HUBBUB__LIMITS__MAX_FRAME_BYTE", "1")]), 1);
    assert!(said.contains("HUBBUB__LIMITS__MAX_FRAME_BYTES"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.toml");
    fs::write(&file, "[server]\nlisten = \"127.0.0.1:0\"\nworker = 2\n").unwrap();
    let path = file.to_str().unwrap();
    for verb in ["check", "serve"] {
        let said = fails(&run(&[verb, "--config", path], &[]), 1);
        assert!(said.contains("server.workers") && said.contains("line 3"), "{said}");
    }
}

#[test]
fn every_mistake_is_said_at_once() {
    let output = run(
        &["check"],
        &[
            ("HUBBUB__SERVER__LISTEN", "nowhere"),
            ("HUBBUB__LIMITS__BURST", "many"),
            ("HUBBUB__SESSION__WHEN_FULL", "explode"),
            ("HUBBUB__HISTORY__STORE", "redis"),
        ],
    );
    let said = fails(&output, 1);
    for key in ["server.listen", "limits.burst", "session.when_full", "history.store"] {
        assert!(said.contains(key), "{key}: {said}");
    }
    let missing = fails(&run(&["check", "--config", "/does/not/exist.toml"], &[]), 1);
    assert!(missing.contains("/does/not/exist.toml"), "{missing}");
    let good = run(&["check"], &[("HUBBUB__AUTH__JWT_SECRET", JWT_SECRET)]);
    assert!(good.status.success(), "{}", err(&good));
}

#[test]
fn secrets_are_never_shown() {
    let secrets = [("HUBBUB__AUTH__JWT_SECRET", JWT_SECRET), ("HUBBUB__AUTH__API_KEY", API_KEY)];
    let wrong = [secrets[0], secrets[1], ("HUBBUB__LIMITS__BURST", "x")];
    for output in [run(&["config"], &secrets), run(&["check"], &secrets), run(&["check"], &wrong)] {
        let said = out(&output) + &err(&output);
        assert!(!said.contains(JWT_SECRET) && !said.contains(API_KEY), "{said}");
    }
}

#[test]
fn the_effective_configuration_can_be_used_again() {
    let output = run(&["config"], &[("HUBBUB__LIMITS__BURST", "77")]);
    assert!(output.status.success(), "{}", err(&output));
    let text = out(&output);
    let table: toml::Table = text.parse().unwrap();
    assert_eq!(table["limits"]["burst"].as_integer(), Some(77));
    let default = run(&["config", "--default"], &[]);
    assert!(default.status.success());
    let documented = out(&default);
    for section in ["server", "auth", "rooms", "session", "limits", "history", "presence", "log"] {
        assert!(documented.contains(&format!("[{section}]")), "{section}");
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("effective.toml", &text), ("default.toml", &documented)] {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        let checked = run(&["check", "--config", file.to_str().unwrap()], &[]);
        assert!(checked.status.success(), "{name}: {}", err(&checked));
    }
}

#[test]
fn the_environment_goes_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.toml");
    fs::write(&file, "[limits]\nburst = 5\nmessages_per_second = 6\n").unwrap();
    let path = file.to_str().unwrap();
    let output = run(&["config", "--config", path], &[("HUBBUB__LIMITS__BURST", "7")]);
    let table: toml::Table = out(&output).parse().unwrap();
    assert_eq!(table["limits"]["burst"].as_integer(), Some(7));
    assert_eq!(table["limits"]["messages_per_second"].as_integer(), Some(6));
}

#[test]
fn a_minted_token_opens_a_session() {
    let hub = Hub::start(&[]);
    let secret = [("HUBBUB__AUTH__JWT_SECRET", JWT_SECRET)];
    let arguments = &["token", "--sub", "ann", "--rooms", "r"];
    let minted = run(arguments, &secret);
    assert!(minted.status.success(), "{}", err(&minted));
    let token = out(&minted).trim().to_owned();
    assert_eq!(token.split('.').count(), 3, "{token}");
    let mut ws = hub.connect(Handshake::new().query_token(&token));
    assert_eq!(ws.expect_kind("authenticated")["userId"], "ann");
    ws.ok(json!({"type": "join", "roomId": "r"}));
    ws.refused(json!({"type": "join", "roomId": "other"}), "forbidden");
    // Without a secret there is nothing to sign with.
    let said = fails(&run(arguments, &[]), 1);
    assert!(said.contains("auth.jwt_secret"), "{said}");
}
