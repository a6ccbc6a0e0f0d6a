//! Tokens of the tests.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// `auth.jwt_secret` of every hub of the tests.
pub const JWT_SECRET: &str = "only-for-tests-0123456789abcdef0123456789abcdef";
/// `auth.api_key` of every hub of the tests.
pub const API_KEY: &str = "only-for-tests-api-key-0123456789";

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A token of a user that is good for an hour. Members of `extra` go over the
/// usual claims; `null` takes one away.
pub fn token(sub: &str, extra: Value) -> String {
    token_with(Algorithm::HS256, JWT_SECRET, sub, extra)
}

/// As [`token`], signed in another way.
pub fn token_with(algorithm: Algorithm, secret: &str, sub: &str, extra: Value) -> String {
    let mut claims = json!({ "sub": sub, "name": sub, "exp": now() + 3600 });
    for (name, value) in extra.as_object().cloned().unwrap_or_default() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(&name);
        } else {
            claims[&name] = value;
        }
    }
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::new(algorithm), &claims, &key).unwrap()
}
