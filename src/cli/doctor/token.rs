//! A token: would the hub take it, and what does it allow.

use super::report::Finding;
use crate::{
    auth::{TokenError, Verifier},
    config::Config,
};

const WHAT: &str = "token";

/// Checks a token with the configured key at `now`, in Unix seconds.
pub(super) fn examine(token: &str, config: &Config, now: u64) -> Finding {
    if !config.auth.has_key() {
        let seen = "no key is configured: in development mode only the running hub knows its own";
        return Finding::warning(
            WHAT,
            seen,
            "set auth.jwt_secret, or ask the hub: POST /dev/token",
        );
    }
    let verifier = match Verifier::from_config(&config.auth, None) {
        Ok(verifier) => verifier,
        Err(error) => return Finding::problem(WHAT, error.to_string(), "mend the key first"),
    };
    match verifier.verify_at(token, now) {
        Ok(claims) => {
            let until = match claims.exp {
                Some(exp) => format!("for {} more seconds", exp.saturating_sub(now)),
                None => "without an end".to_owned(),
            };
            let rooms = claims.rooms.map_or("every room".to_owned(), |list| list.join(", "));
            Finding::fine(WHAT, format!("good for user {:?} {until}, rooms: {rooms}", claims.sub))
        }
        Err(error) => Finding::problem(WHAT, error.to_string(), mend(&error)),
    }
}

fn mend(error: &TokenError) -> &'static str {
    match error {
        TokenError::TooLong => "put less into it: 8 KiB is the bound",
        TokenError::Malformed => "give the whole JWT, three parts with dots, without `Bearer`",
        TokenError::AlgorithmNotAllowed => {
            "sign with the algorithm of the configured key: HS256 for auth.jwt_secret, else that of \
             the public key"
        }
        TokenError::UnknownKey => "publish the key that signs in auth.jwks_file, with this `kid`",
        TokenError::BadSignature => {
            "the issuer signs with another key than the one configured here"
        }
        TokenError::Expired => "get a fresh one; if it is fresh, compare the clocks",
        TokenError::NotYetValid => "compare the clocks of the issuer and of this machine",
        TokenError::MissingClaim(_) | TokenError::InvalidClaim { .. } => {
            "mend what the issuer puts into it"
        }
        TokenError::WrongIssuer => "auth.issuer names another issuer",
        TokenError::WrongAudience => "auth.audience names another audience",
        TokenError::Signing => "",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::report::Level, *};
    use crate::{
        auth::{Grant, mint},
        config::{Auth, Secret},
    };

    #[test]
    fn a_token_is_judged_with_the_configured_key() {
        let secret = Secret::new("0123456789abcdef0123456789abcdef");
        let auth = Auth { jwt_secret: Some(secret.clone()), ..Auth::default() };
        let config = Config { auth, ..Config::default() };
        let grant = Grant {
            sub: "ann".into(),
            name: None,
            rooms: Some(vec!["team-*".into()]),
            publish: None,
            roles: vec![],
            ttl_seconds: 60,
            issuer: None,
            audience: None,
        };
        let (token, _) = mint(&secret, &grant, 1_800_000_000).unwrap();
        let good = examine(&token, &config, 1_800_000_010);
        assert_eq!(good.level, Level::Fine);
        assert!(good.seen.contains("\"ann\" for 50 more seconds, rooms: team-*"), "{good}");
        let late = examine(&token, &config, 1_800_000_100);
        assert!(late.level == Level::Problem && late.mend.contains("fresh"), "{late}");
        let foreign = examine(&token[..token.len() - 4], &config, 1_800_000_010);
        assert_eq!(foreign.level, Level::Problem);
        assert!(!foreign.to_string().contains(&token[..20]), "the token is shown: {foreign}");
        assert_eq!(examine(&token, &Config::default(), 0).level, Level::Warning);
    }
}
