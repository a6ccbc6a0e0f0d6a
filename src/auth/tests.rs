//! Tokens made by other hands, most of them hostile.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;

use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use super::*;

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys")).join(name)
}

fn pem(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

fn hs256() -> Verifier {
    with(|auth| auth.jwt_secret = Some(Secret::new(SECRET)))
}

fn with(change: impl FnOnce(&mut Auth)) -> Verifier {
    let mut auth = Auth::default();
    change(&mut auth);
    Verifier::from_config(&auth, None).unwrap()
}

fn claims() -> Value {
    json!({"sub": "u1", "exp": NOW + 60})
}

fn merged(extra: Value) -> Value {
    let mut claims = claims();
    for (name, value) in extra.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn sign(claims: &Value) -> String {
    sign_with(SECRET.as_bytes(), Algorithm::HS256, claims)
}

fn sign_with(secret: &[u8], algorithm: Algorithm, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret);
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
}

fn sign_key(algorithm: Algorithm, file: &str, kid: Option<&str>) -> String {
    let pem = pem(file);
    let key = match algorithm {
        Algorithm::RS256 | Algorithm::PS256 => EncodingKey::from_rsa_pem(&pem),
        Algorithm::ES256 => EncodingKey::from_ec_pem(&pem),
        _ => EncodingKey::from_ed_pem(&pem),
    };
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, &claims(), &key.unwrap()).unwrap()
}

/// A token with this header and an empty or wrong signature.
fn forged(header: Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(&header), part(&claims()))
}

#[test]
fn a_right_token_gives_its_claims() {
    let token = sign(&json!({
        "sub": "u1", "name": "Zoë", "exp": NOW + 60, "nbf": NOW, "iat": "ignored",
        "rooms": ["a-*", "b?"], "publish": [], "roles": ["admin"], "other": {"x": 1},
    }));
    let found = hs256().verify_at(&token, NOW).unwrap();
    assert_eq!(found.sub, "u1");
    assert_eq!(found.name.as_deref(), Some("Zoë"));
    assert_eq!(found.exp, Some(NOW + 60));
    assert_eq!(found.rooms, Some(vec!["a-*".to_owned(), "b?".to_owned()]));
    assert_eq!(found.publish, Some(vec![]));
    assert_eq!(found.roles, ["admin"]);
    let least = hs256().verify_at(&sign(&claims()), NOW).unwrap();
    assert_eq!((least.rooms, least.publish, least.name), (None, None, None));
}

#[test]
fn times_are_held_with_five_seconds_of_leeway() {
    let verifier = hs256();
    let check = |extra, now| verifier.verify_at(&sign(&merged(extra)), now).map(|_| ());
    assert_eq!(check(json!({}), NOW + 65), Ok(()));
    assert_eq!(check(json!({}), NOW + 66), Err(TokenError::Expired));
    assert_eq!(check(json!({"nbf": NOW + 5}), NOW), Ok(()));
    assert_eq!(check(json!({"nbf": NOW + 6}), NOW), Err(TokenError::NotYetValid));
    assert_eq!(check(json!({"exp": u64::MAX}), NOW), Ok(()));
    assert_eq!(check(json!({"exp": NOW as f64 + 0.5}), NOW), Ok(()));
    for exp in [json!("tomorrow"), json!(-1), json!(1e300), json!([])] {
        let found = check(json!({ "exp": exp }), NOW).unwrap_err();
        assert_eq!(found.code(), "invalid_claim");
    }
    assert_eq!(check(json!({"exp": null}), NOW), Err(TokenError::MissingClaim("exp")));
    let lax = with(|auth| {
        auth.jwt_secret = Some(Secret::new(SECRET));
        auth.require_exp = false;
    });
    assert_eq!(lax.verify_at(&sign(&json!({"sub": "u"})), NOW).unwrap().exp, None);
    let late = lax.verify_at(&sign(&json!({"sub": "u", "exp": 1})), NOW);
    assert_eq!(late, Err(TokenError::Expired));
}

#[test]
fn claims_out_of_their_bounds_are_refused() {
    let verifier = hs256();
    let check = |claims: Value| verifier.verify_at(&sign(&claims), NOW);
    assert_eq!(check(json!({"exp": NOW + 1})), Err(TokenError::MissingClaim("sub")));
    for (extra, claim) in [
        (json!({"sub": ""}), "sub"),
        (json!({"sub": 7}), "sub"),
        (json!({"sub": "x".repeat(129)}), "sub"),
        (json!({"sub": "a\nb"}), "sub"),
        (json!({"name": "x".repeat(129)}), "name"),
        (json!({"name": "\u{7f}"}), "name"),
        (json!({"name": {}}), "name"),
        (json!({"rooms": null}), "rooms"),
        (json!({"rooms": "a"}), "rooms"),
        (json!({"rooms": [1]}), "rooms"),
        (json!({"rooms": ["x".repeat(129)]}), "rooms"),
        (json!({"publish": vec!["a"; 257]}), "publish"),
        (json!({"roles": vec!["a"; 65]}), "roles"),
    ] {
        match check(merged(extra.clone())) {
            Err(TokenError::InvalidClaim { claim: found, .. }) => assert_eq!(found, claim),
            other => panic!("{extra}: {other:?}"),
        }
    }
    assert!(check(merged(json!({"sub": "x".repeat(128), "rooms": vec!["a"; 256]}))).is_ok());
}

#[test]
fn a_token_without_a_signature_is_refused() {
    for name in ["none", "None", "NONE", "nOnE", ""] {
        let found = hs256().verify_at(&forged(json!({"alg": name}), ""), NOW);
        assert_eq!(found, Err(TokenError::AlgorithmNotAllowed), "{name}");
    }
    let empty = forged(json!({"alg": "HS256"}), "");
    assert_eq!(hs256().verify_at(&empty, NOW), Err(TokenError::BadSignature));
}

#[test]
fn a_token_of_another_key_or_algorithm_is_refused() {
    let wrong = sign_with(b"another secret", Algorithm::HS256, &claims());
    assert_eq!(hs256().verify_at(&wrong, NOW), Err(TokenError::BadSignature));
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let other = sign_with(SECRET.as_bytes(), algorithm, &claims());
        assert_eq!(hs256().verify_at(&other, NOW), Err(TokenError::AlgorithmNotAllowed));
    }
    let token = sign(&claims());
    let (start, signature) = token.rsplit_once('.').unwrap();
    let body = URL_SAFE_NO_PAD.encode(merged(json!({"sub": "admin"})).to_string());
    let swapped = format!("{}.{body}.{signature}", start.split_once('.').unwrap().0);
    assert_eq!(hs256().verify_at(&swapped, NOW), Err(TokenError::BadSignature));
}

#[test]
fn a_public_key_is_no_secret() {
    for (file, algorithm) in
        [("rsa", Algorithm::RS256), ("ec", Algorithm::ES256), ("ed", Algorithm::EdDSA)]
    {
        let public = format!("{file}.pub.pem");
        let verifier = with(|auth| auth.jwt_public_key_file = Some(path(&public)));
        let right = sign_key(algorithm, &format!("{file}.key.pem"), None);
        assert_eq!(verifier.verify_at(&right, NOW).unwrap().sub, "u1");
        // The public key, which everybody has, taken for the secret of HS256.
        let confused = sign_with(&pem(&public), Algorithm::HS256, &claims());
        assert_eq!(verifier.verify_at(&confused, NOW), Err(TokenError::AlgorithmNotAllowed));
        let none = forged(json!({"alg": "none"}), "");
        assert_eq!(verifier.verify_at(&none, NOW), Err(TokenError::AlgorithmNotAllowed));
        let unsigned = forged(json!({ "alg": algorithm }), "AAAA");
        assert_eq!(verifier.verify_at(&unsigned, NOW), Err(TokenError::BadSignature));
    }
    let rsa = with(|auth| auth.jwt_public_key_file = Some(path("rsa.pub.pem")));
    let pss = sign_key(Algorithm::PS256, "rsa.key.pem", None);
    assert_eq!(rsa.verify_at(&pss, NOW), Err(TokenError::AlgorithmNotAllowed));
}

#[test]
fn a_key_set_picks_the_key_by_its_id_and_pins_its_algorithm() {
    let verifier = with(|auth| auth.jwks_file = Some(path("jwks.json")));
    let check = |token: String| verifier.verify_at(&token, NOW).map(|claims| claims.sub);
    let right = Ok("u1".to_owned());
    assert_eq!(check(sign_key(Algorithm::RS256, "rsa.key.pem", Some("rsa-1"))), right);
    assert_eq!(check(sign_key(Algorithm::ES256, "ec.key.pem", Some("ec-1"))), right);
    assert_eq!(check(sign_key(Algorithm::EdDSA, "ed.key.pem", Some("ed-1"))), right);
    let unknown = Err(TokenError::UnknownKey);
    assert_eq!(check(sign_key(Algorithm::RS256, "rsa.key.pem", Some("rsa-2"))), unknown);
    assert_eq!(check(sign_key(Algorithm::RS256, "rsa.key.pem", None)), unknown);
    let other = sign_key(Algorithm::ES256, "ec.key.pem", Some("rsa-1"));
    assert_eq!(check(other), Err(TokenError::AlgorithmNotAllowed));
    let none = forged(json!({"alg": "none", "kid": "rsa-1"}), "");
    assert_eq!(check(none), Err(TokenError::AlgorithmNotAllowed));
    let odd = forged(json!({"alg": "RS256", "kid": {"a": 1}}), "AAAA");
    assert_eq!(check(odd), Err(TokenError::Malformed));
}

#[test]
fn issuer_and_audience_are_required_once_configured() {
    let verifier = with(|auth| {
        auth.jwt_secret = Some(Secret::new(SECRET));
        auth.issuer = Some("me".to_owned());
        auth.audience = Some("hub".to_owned());
    });
    let check = |extra| verifier.verify_at(&sign(&merged(extra)), NOW).map(|_| ());
    assert_eq!(check(json!({"iss": "me", "aud": "hub"})), Ok(()));
    assert_eq!(check(json!({"iss": "me", "aud": ["x", "hub"]})), Ok(()));
    assert_eq!(check(json!({"iss": "you", "aud": "hub"})), Err(TokenError::WrongIssuer));
    assert_eq!(check(json!({"iss": "me", "aud": ["x"]})), Err(TokenError::WrongAudience));
    assert_eq!(check(json!({"aud": "hub"})), Err(TokenError::MissingClaim("iss")));
    assert_eq!(check(json!({"iss": "me"})), Err(TokenError::MissingClaim("aud")));
    // Not configured: another audience does not matter.
    let any = sign(&merged(json!({"iss": "x", "aud": "y"})));
    assert!(hs256().verify_at(&any, NOW).is_ok());
}

#[test]
fn what_is_no_token_is_refused_and_never_repeated() {
    let long = "a".repeat(MAX_TOKEN_BYTES + 1);
    assert_eq!(hs256().verify_at(&long, NOW), Err(TokenError::TooLong));
    let crit = forged(json!({"alg": "HS256", "crit": ["b64"], "b64": false}), "AAAA");
    let body = format!("{}.{}.AAAA", URL_SAFE_NO_PAD.encode("{\"alg\":\"HS256\"}"), "!!!");
    let list = forged(json!(["alg"]), "");
    for token in ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", "äöü.x.y", &crit, &list] {
        assert_eq!(hs256().verify_at(token, NOW), Err(TokenError::Malformed), "{token}");
    }
    let found = hs256().verify_at(&body, NOW).unwrap_err();
    assert!(matches!(found, TokenError::BadSignature | TokenError::Malformed));
    let token = sign(&merged(json!({"sub": "s3cr3t\n"})));
    let error = hs256().verify_at(&token, NOW).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("s3cr3t"));
}

#[test]
fn a_minted_token_passes() {
    let secret = Secret::new(SECRET);
    let grant = Grant {
        sub: "u1".to_owned(),
        name: Some("Ada".to_owned()),
        rooms: Some(vec!["a*".to_owned()]),
        ttl_seconds: 60,
        issuer: Some("me".to_owned()),
        audience: Some("hub".to_owned()),
        ..Grant::default()
    };
    let (token, claims) = mint(&secret, &grant, NOW).unwrap();
    let verifier = with(|auth| {
        auth.jwt_secret = Some(secret.clone());
        auth.issuer = Some("me".to_owned());
        auth.audience = Some("hub".to_owned());
    });
    assert_eq!(verifier.verify_at(&token, NOW).unwrap(), claims);
    assert_eq!(claims.exp, Some(NOW + 60));
    let empty = Grant { sub: String::new(), ..grant.clone() };
    assert_eq!(mint(&secret, &empty, NOW).unwrap_err().code(), "invalid_claim");
    let wide = Grant { rooms: Some(vec!["x".repeat(128); 100]), ..grant };
    assert_eq!(mint(&secret, &wide, NOW).unwrap_err(), TokenError::TooLong);
}

#[test]
fn a_key_must_be_there_and_only_one() {
    let found = Verifier::from_config(&Auth::default(), None).unwrap_err();
    assert_eq!(found, KeyError::None);
    let dev = Secret::random();
    let verifier = Verifier::from_config(&Auth::default(), Some(&dev)).unwrap();
    let grant = Grant { sub: "u".to_owned(), ttl_seconds: 60, ..Grant::default() };
    let (token, _) = mint(&dev, &grant, unix_seconds()).unwrap();
    assert_eq!(verifier.verify(&token).unwrap().sub, "u");
    let both =
        Auth { jwt_secret: Some(dev), jwks_file: Some(path("jwks.json")), ..Auth::default() };
    assert_eq!(Verifier::from_config(&both, None).unwrap_err(), KeyError::Several);
}
