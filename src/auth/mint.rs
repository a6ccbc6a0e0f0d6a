//! Makes HS256 tokens that the hub itself accepts.

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Map, Value, json};

use super::{Claims, TokenError, claims};
use crate::config::Secret;

/// What a new token says.
#[derive(Debug, Clone, Default)]
pub struct Grant {
    /// User id.
    pub sub: String,
    /// Name to show.
    pub name: Option<String>,
    /// Patterns of rooms; `None` leaves the claim out.
    pub rooms: Option<Vec<String>>,
    /// Patterns of rooms to publish to; `None` leaves the claim out.
    pub publish: Option<Vec<String>>,
    /// Roles; none leaves the claim out.
    pub roles: Vec<String>,
    /// How long it is good, in seconds.
    pub ttl_seconds: u64,
    /// `iss`, as `auth.issuer` asks.
    pub issuer: Option<String>,
    /// `aud`, as `auth.audience` asks.
    pub audience: Option<String>,
}

/// Signs a token (HS256) with `secret` that is good from `now`, in Unix seconds, and gives it with
/// the claims a [`Verifier`](super::Verifier) would read from it.
///
/// # Errors
/// A claim that breaks its bound; [`TokenError::TooLong`] if they do so together.
pub fn mint(secret: &Secret, grant: &Grant, now: u64) -> Result<(String, Claims), TokenError> {
    let mut body = Map::new();
    body.insert("sub".to_owned(), json!(grant.sub));
    body.insert("iat".to_owned(), json!(now));
    body.insert("exp".to_owned(), json!(now.saturating_add(grant.ttl_seconds)));
    let mut add = |claim: &str, value: Value| {
        if !value.is_null() {
            body.insert(claim.to_owned(), value);
        }
    };
    add("name", json!(grant.name));
    add("rooms", json!(grant.rooms));
    add("publish", json!(grant.publish));
    add("iss", json!(grant.issuer));
    add("aud", json!(grant.audience));
    if !grant.roles.is_empty() {
        add("roles", json!(grant.roles));
    }
    let claims = claims::check(&body, now, true)?;
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    let token =
        jsonwebtoken::encode(&Header::default(), &body, &key).map_err(|_| TokenError::Signing)?;
    if token.len() > super::MAX_TOKEN_BYTES {
        return Err(TokenError::TooLong);
    }
    Ok((token, claims))
}
