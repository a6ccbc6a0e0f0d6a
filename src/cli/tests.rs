//! Arguments and verbs; what the whole process prints is tested from outside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use clap::CommandFactory;

use super::*;
use crate::config::{Auth, Secret};

fn parse(arguments: &[&str]) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(std::iter::once("hubbub").chain(arguments.iter().copied()))
}

fn token_arguments(arguments: &[&str]) -> token::TokenArguments {
    let all: Vec<&str> = std::iter::once("token").chain(arguments.iter().copied()).collect();
    match parse(&all).unwrap().verb {
        Some(Verb::Token(wanted)) => wanted,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_definition_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn a_node_is_started_without_a_verb() {
    assert!(parse(&[]).unwrap().verb.is_none());
    for arguments in [&["--config", "a.toml", "serve"], &["serve", "--config", "a.toml"]] {
        let parsed = parse(arguments).unwrap();
        assert!(matches!(parsed.verb, Some(Verb::Serve)));
        assert_eq!(parsed.config.unwrap().to_str(), Some("a.toml"));
    }
}

#[test]
fn bad_usage_is_2_and_help_is_0() {
    for bad in [
        &["serv"][..],
        &["--colour"],
        &["token"],
        &["token", "--sub", "u", "--ttl", "0"],
        &["token", "--sub", "u", "--ttl", "soon"],
        &["check", "extra"],
    ] {
        assert_eq!(parse(bad).unwrap_err().exit_code(), 2, "{bad:?}");
    }
    for help in [&["--help"][..], &["token", "--help"], &["check", "--help"], &["--version"]] {
        assert_eq!(parse(help).unwrap_err().exit_code(), 0, "{help:?}");
    }
}

#[test]
fn a_token_is_signed_with_the_configured_secret() {
    let secret = Secret::new("0123456789abcdef0123456789abcdef");
    let auth = Auth { jwt_secret: Some(secret), issuer: Some("me".into()), ..Auth::default() };
    let config = Config { auth, ..Config::default() };
    let wanted = token_arguments(&[
        "--sub",
        "u1",
        "--name",
        "Ada",
        "--rooms",
        "a*,b",
        "--publish",
        "",
        "--role",
        "x",
        "--role",
        "y",
        "--ttl",
        "60",
    ]);
    let token = token::token(&wanted, &config, 1_800_000_000).unwrap();
    let verifier = Verifier::from_config(&config.auth, None).unwrap();
    let claims = verifier.verify_at(&token, 1_800_000_000).unwrap();
    assert_eq!(claims.sub, "u1");
    assert_eq!(claims.name.as_deref(), Some("Ada"));
    assert_eq!(claims.exp, Some(1_800_000_060));
    assert_eq!(claims.rooms, Some(vec!["a*".to_owned(), "b".to_owned()]));
    assert_eq!(claims.publish, Some(vec![]));
    assert_eq!(claims.roles, ["x", "y"]);
}

#[test]
fn a_given_secret_goes_first_and_one_must_be_there() {
    let wanted = token_arguments(&["--sub", "u1", "--secret", "given"]);
    let token = token::token(&wanted, &Config::default(), auth::unix_seconds()).unwrap();
    let given = Secret::new("given");
    let verifier = Verifier::from_config(&Auth::default(), Some(&given)).unwrap();
    let claims = verifier.verify(&token).unwrap();
    assert_eq!((claims.rooms, claims.publish), (None, None));

    let none = token::token(&token_arguments(&["--sub", "u1"]), &Config::default(), 0);
    assert!(none.unwrap_err().contains("set auth.jwt_secret or give --secret"));
    let empty = token_arguments(&["--sub", "", "--secret", "given"]);
    let refused = token::token(&empty, &Config::default(), 0).unwrap_err();
    assert_eq!(refused, "the claim `sub` of the token is empty");
}
