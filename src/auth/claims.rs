//! The claims of a token and their bounds.

use serde_json::{Map, Value};

use super::{LEEWAY_SECONDS, TokenError};

/// Longest `sub`, `name`, pattern or role, in bytes.
pub const MAX_TEXT_BYTES: usize = 128;
/// Most patterns in `rooms` or `publish`.
pub const MAX_PATTERNS: usize = 256;
/// Most entries in `roles`.
pub const MAX_ROLES: usize = 64;

/// What a token that passed says of its bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// User id: 1 to 128 bytes without control characters.
    pub sub: String,
    /// Name to show: at most 128 bytes without control characters.
    pub name: Option<String>,
    /// When the token ends, in Unix seconds.
    pub exp: Option<u64>,
    /// Patterns of rooms that may be entered; `None`: every room whose name is not reserved.
    pub rooms: Option<Vec<String>>,
    /// Patterns of rooms that may be published to; `None`: as `rooms`.
    pub publish: Option<Vec<String>>,
    /// Roles, empty if the token has none.
    pub roles: Vec<String>,
}

/// Checks the claims at a time in Unix seconds, with [`LEEWAY_SECONDS`] for clocks that differ.
/// `iat` and claims that are not known are ignored.
///
/// # Errors
/// The first claim that is missing, wrong or over its time.
pub fn check(
    claims: &Map<String, Value>,
    now: u64,
    require_exp: bool,
) -> Result<Claims, TokenError> {
    let exp = seconds(claims, "exp")?;
    match exp {
        None if require_exp => return Err(TokenError::MissingClaim("exp")),
        Some(exp) if exp.saturating_add(LEEWAY_SECONDS) < now => return Err(TokenError::Expired),
        _ => {}
    }
    if seconds(claims, "nbf")?.is_some_and(|nbf| nbf > now.saturating_add(LEEWAY_SECONDS)) {
        return Err(TokenError::NotYetValid);
    }
    let sub = match claims.get("sub") {
        None | Some(Value::Null) => return Err(TokenError::MissingClaim("sub")),
        Some(value) => text("sub", value)?,
    };
    let name = match claims.get("name") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) if name.is_empty() => None,
        Some(value) => Some(text("name", value)?),
    };
    Ok(Claims {
        sub,
        name,
        exp,
        // `null` is refused here: it must not turn into "every room" by accident.
        rooms: list(claims, "rooms", MAX_PATTERNS)?,
        publish: list(claims, "publish", MAX_PATTERNS)?,
        roles: list(claims, "roles", MAX_ROLES)?.unwrap_or_default(),
    })
}

/// A NumericDate (RFC 7519, section 2) in whole seconds.
fn seconds(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<u64>, TokenError> {
    let invalid = TokenError::InvalidClaim { claim, reason: "is no time in Unix seconds" };
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(seconds), _) => Ok(Some(seconds)),
            (None, Some(seconds)) if (0.0..9e15).contains(&seconds) => Ok(Some(seconds as u64)),
            _ => Err(invalid),
        },
        Some(_) => Err(invalid),
    }
}

fn text(claim: &'static str, value: &Value) -> Result<String, TokenError> {
    let invalid = |reason| Err(TokenError::InvalidClaim { claim, reason });
    match value {
        Value::String(text) if text.is_empty() => invalid("is empty"),
        Value::String(text) if text.len() > MAX_TEXT_BYTES => invalid("is longer than 128 bytes"),
        Value::String(text) if text.chars().any(char::is_control) => {
            invalid("has control characters")
        }
        Value::String(text) => Ok(text.clone()),
        _ => invalid("is no text"),
    }
}

fn list(
    claims: &Map<String, Value>,
    claim: &'static str,
    most: usize,
) -> Result<Option<Vec<String>>, TokenError> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::Array(items)) if items.len() > most => {
            Err(TokenError::InvalidClaim { claim, reason: "has too many entries" })
        }
        Some(Value::Array(items)) => {
            items.iter().map(|item| text(claim, item)).collect::<Result<_, _>>().map(Some)
        }
        Some(_) => Err(TokenError::InvalidClaim { claim, reason: "is no list of texts" }),
    }
}
