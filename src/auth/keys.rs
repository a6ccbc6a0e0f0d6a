//! Keys that check tokens, each with the one algorithm it is for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, crypto};

use super::TokenError;
use super::key_set::KeySet;
use crate::config::Secret;

/// Largest key file, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Shortest modulus of an RSA key.
const RSA_BYTES: usize = 256;
/// Length of an Ed25519 public key.
const ED25519_BYTES: usize = 32;

/// Why there is no key to check tokens with. `Display` is a sentence that names the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing is configured and no secret for development is given.
    #[error(
        "no key to check tokens with; set auth.jwt_secret, auth.jwt_public_key_file or auth.jwks_file"
    )]
    None,
    /// More than one kind of key is configured.
    #[error("set only one of auth.jwt_secret, auth.jwt_public_key_file and auth.jwks_file")]
    Several,
    /// The file can't be read.
    #[error("cannot read the key file {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file holds a private key.
    #[error("{} holds a private key; the hub needs only the public one (`openssl pkey -pubout`)", path.display())]
    Private {
        /// The file.
        path: PathBuf,
    },
    /// The file holds no usable public key.
    #[error("{} holds no public key (PEM) for RS256 (2048 bits or more), ES256 (P-256) or EdDSA (Ed25519)", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// The file is no key set, or one of its keys can't be used.
    #[error("{} is no usable key set (RFC 7517): {reason}", path.display())]
    KeySet {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl KeyError {
    /// A stable word for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::None => "no_key",
            Self::Several => "several_keys",
            Self::Unreadable { .. } => "unreadable",
            Self::Private { .. } => "private_key",
            Self::NotAKey { .. } => "not_a_key",
            Self::KeySet { .. } => "bad_key_set",
        }
    }
}

/// A key with the algorithm it is for.
pub(super) type Pinned = (Algorithm, Arc<DecodingKey>);

/// Where the key of a token comes from.
#[derive(Debug)]
pub(super) enum KeySource {
    /// One key for every token.
    One(Pinned),
    /// A key set, by `kid`.
    Set(KeySet),
}

impl KeySource {
    pub(super) fn secret(secret: &Secret) -> Self {
        let key = DecodingKey::from_secret(secret.expose().as_bytes());
        Self::One((Algorithm::HS256, Arc::new(key)))
    }

    pub(super) fn public_key(path: &Path) -> Result<Self, KeyError> {
        let pem = read(path)?;
        if pem.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private { path: path.to_owned() });
        }
        if !pem.contains("PUBLIC KEY-----") {
            return Err(KeyError::NotAKey { path: path.to_owned() });
        }
        let pem = pem.as_bytes();
        let candidates = [
            (Algorithm::RS256, DecodingKey::from_rsa_pem(pem)),
            (Algorithm::ES256, DecodingKey::from_ec_pem(pem)),
            (Algorithm::EdDSA, DecodingKey::from_ed_pem(pem)),
        ];
        candidates
            .into_iter()
            .filter_map(|(algorithm, key)| Some((algorithm, key.ok()?)))
            .find(|(algorithm, key)| works(key, *algorithm))
            .map(|(algorithm, key)| Self::One((algorithm, Arc::new(key))))
            .ok_or_else(|| KeyError::NotAKey { path: path.to_owned() })
    }

    pub(super) fn key_set(path: &Path, now: Instant) -> Result<Self, KeyError> {
        Ok(Self::Set(KeySet::open(path, now)?))
    }

    /// The key for a token with this `kid`. Reads a changed key set again.
    pub(super) fn find(&self, kid: Option<&str>, now: Instant) -> Result<Pinned, TokenError> {
        match self {
            Self::One(key) => Ok(key.clone()),
            Self::Set(set) => set.find(kid, now).ok_or(TokenError::UnknownKey),
        }
    }
}

pub(super) fn read(path: &Path) -> Result<String, KeyError> {
    let unreadable = |reason: String| KeyError::Unreadable { path: path.to_owned(), reason };
    let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if size > MAX_FILE_BYTES {
        return Err(unreadable(format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))
}

/// Whether a key can check signatures of an algorithm at all.
pub(super) fn works(key: &DecodingKey, algorithm: Algorithm) -> bool {
    let long_enough = match (algorithm, key.kind()) {
        // RFC 7518, section 3.3: at least 2048 bits.
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, .. }) => {
            n.iter().skip_while(|byte| **byte == 0).count() >= RSA_BYTES
        }
        (Algorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => der.len() > RSA_BYTES,
        // RFC 8032, section 5.1.5. The crate takes the length for granted.
        (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(key)) => key.len() == ED25519_BYTES,
        _ => true,
    };
    long_enough && crypto::verify("", b"", key, algorithm).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys");

    fn pinned(file: &str) -> Result<Algorithm, KeyError> {
        let source = KeySource::public_key(&Path::new(DIR).join(file))?;
        Ok(source.find(None, Instant::now()).unwrap().0)
    }

    #[test]
    fn the_type_of_a_public_key_fixes_the_algorithm() {
        assert_eq!(pinned("rsa.pub.pem"), Ok(Algorithm::RS256));
        assert_eq!(pinned("ec.pub.pem"), Ok(Algorithm::ES256));
        assert_eq!(pinned("ed.pub.pem"), Ok(Algorithm::EdDSA));
    }

    #[test]
    fn files_without_a_usable_public_key_are_refused() {
        assert_eq!(pinned("rsa.key.pem").unwrap_err().code(), "private_key");
        assert_eq!(pinned("ec384.pub.pem").unwrap_err().code(), "not_a_key");
        assert_eq!(pinned("jwks.json").unwrap_err().code(), "not_a_key");
        assert_eq!(pinned("tls.crt.pem").unwrap_err().code(), "not_a_key");
        assert_eq!(pinned("missing").unwrap_err().code(), "unreadable");
    }
}
