//! Who a client is: JSON Web Tokens (RFC 7519) checked and made.
//!
//! The algorithm is fixed by the configured key, never by the token: a token whose header asks for
//! another one, `none` included, is refused. No error repeats any part of a token.
//!
//! - [`Verifier`]: token in, [`Claims`] out
//! - [`keys`]: keys from a secret, a PEM file or a key set
//! - [`claims`]: the bounds of each claim
//! - [`mint()`]: tokens for the `token` verb and for development mode

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use serde_json::{Map, Value};

use crate::config::{Auth, Secret};

pub mod claims;
mod key_set;
pub mod keys;
mod mint;

#[cfg(test)]
mod tests;

pub use claims::Claims;
pub use keys::KeyError;
pub use mint::{Grant, mint};

use keys::KeySource;

/// Longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// How far clocks may differ, in seconds.
pub const LEEWAY_SECONDS: u64 = 5;

/// Why a token is refused. `Display` is a sentence that holds nothing of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not three parts of base64url with JSON in them, or an extension that is not known.
    #[error("the token is malformed")]
    Malformed,
    /// The header asks for another algorithm than the key's, or for none.
    #[error("the algorithm of the token is not allowed")]
    AlgorithmNotAllowed,
    /// No key of the key set has the `kid` of the token.
    #[error("the key of the token is not known")]
    UnknownKey,
    /// The signature is not one of the key.
    #[error("the signature of the token is wrong")]
    BadSignature,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is to come.
    #[error("the token is not yet valid")]
    NotYetValid,
    /// A required claim is missing.
    #[error("the token has no claim `{0}`")]
    MissingClaim(&'static str),
    /// A claim has the wrong type or breaks its bound.
    #[error("the claim `{claim}` of the token {reason}")]
    InvalidClaim {
        /// The claim.
        claim: &'static str,
        /// The rest of the sentence.
        reason: &'static str,
    },
    /// `iss` is not `auth.issuer`.
    #[error("the token is from another issuer")]
    WrongIssuer,
    /// `aud` does not name `auth.audience`.
    #[error("the token is for another audience")]
    WrongAudience,
    /// A token could not be signed.
    #[error("the token cannot be signed")]
    Signing,
}

impl TokenError {
    /// What [`code`](Self::code) may say of a token that is checked.
    pub const CODES: [&str; 11] = [
        "too_long",
        "malformed",
        "algorithm_not_allowed",
        "unknown_key",
        "bad_signature",
        "expired",
        "not_yet_valid",
        "missing_claim",
        "invalid_claim",
        "wrong_issuer",
        "wrong_audience",
    ];

    /// A stable word for logs and metrics. Towards clients every one of them is `unauthorized`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::AlgorithmNotAllowed => "algorithm_not_allowed",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::MissingClaim(_) => "missing_claim",
            Self::InvalidClaim { .. } => "invalid_claim",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::Signing => "signing",
        }
    }
}

/// Checks tokens. Cheap to share (`Arc`) between threads; a key set is read again when its file
/// changes.
#[derive(Debug)]
pub struct Verifier {
    keys: KeySource,
    require_exp: bool,
    issuer: Option<String>,
    audience: Option<String>,
}

impl Verifier {
    /// Takes the key that `auth` configures, or `dev_secret` (HS256) if it configures none.
    ///
    /// # Errors
    /// A [`KeyError`] that names the key and what is wrong with its file, also if there is no key
    /// at all.
    pub fn from_config(auth: &Auth, dev_secret: Option<&Secret>) -> Result<Self, KeyError> {
        let keys = match (&auth.jwt_secret, &auth.jwt_public_key_file, &auth.jwks_file) {
            (Some(secret), None, None) => KeySource::secret(secret),
            (None, Some(path), None) => KeySource::public_key(path)?,
            (None, None, Some(path)) => KeySource::key_set(path, Instant::now())?,
            (None, None, None) => KeySource::secret(dev_secret.ok_or(KeyError::None)?),
            _ => return Err(KeyError::Several),
        };
        Ok(Self {
            keys,
            require_exp: auth.require_exp,
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
        })
    }

    /// Checks a token now.
    ///
    /// # Errors
    /// The first reason to refuse it.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        self.verify_at(token, unix_seconds())
    }

    /// Checks a token at a time in Unix seconds.
    ///
    /// # Errors
    /// The first reason to refuse it.
    pub fn verify_at(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let header = read_header(token)?;
        let (algorithm, key) = self.keys.find(header.kid.as_deref(), Instant::now())?;
        if header.algorithm != Some(algorithm) {
            return Err(TokenError::AlgorithmNotAllowed);
        }
        let validation = self.validation(algorithm);
        let claims = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation)
            .map_err(|error| refusal(error.kind()))?
            .claims;
        claims::check(&claims, now, self.require_exp)
    }

    /// What the crate checks: signature, algorithm, issuer and audience. The times are checked by
    /// [`claims::check`], which is given the time.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = self.audience.is_some();
        validation.required_spec_claims.clear();
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        if let Some(audience) = &self.audience {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        validation
    }
}

struct TokenHeader {
    /// `None`: not an algorithm any key here has.
    algorithm: Option<Algorithm>,
    kid: Option<String>,
}

/// Reads what the choice of the key needs. An unknown algorithm is told apart from a broken header.
fn read_header(token: &str) -> Result<TokenHeader, TokenError> {
    let mut parts = token.split('.');
    let (Some(header), Some(_), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenError::Malformed);
    };
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| TokenError::Malformed)?;
    let header: Map<String, Value> =
        serde_json::from_slice(&header).map_err(|_| TokenError::Malformed)?;
    // RFC 7515, section 4.1.11: extensions that are not understood must be refused.
    if header.contains_key("crit") {
        return Err(TokenError::Malformed);
    }
    let algorithm = header.get("alg").and_then(Value::as_str).ok_or(TokenError::Malformed)?;
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) => Some(kid.clone()),
        Some(_) => return Err(TokenError::Malformed),
    };
    Ok(TokenHeader { algorithm: algorithm.parse().ok(), kid })
}

fn refusal(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::BadSignature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => {
            TokenError::AlgorithmNotAllowed
        }
        ErrorKind::InvalidIssuer => TokenError::WrongIssuer,
        ErrorKind::InvalidAudience => TokenError::WrongAudience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => TokenError::MissingClaim("iss"),
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => TokenError::MissingClaim("aud"),
        _ => TokenError::Malformed,
    }
}

/// The time of the system in Unix seconds; 0 before 1970.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
