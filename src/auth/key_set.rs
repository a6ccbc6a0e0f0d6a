//! Key sets (RFC 7517) in a file that is read again when it changes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::Mutex;

use super::keys::{KeyError, Pinned, read, works};

/// How often a key set's file is looked at, at most.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// Most keys in a key set.
const MAX_KEYS: usize = 256;

/// The keys of a file that is read again when it changes.
#[derive(Debug)]
pub(super) struct KeySet {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    checked: Instant,
    stamp: Option<Stamp>,
    keys: Keys,
}

#[derive(Debug, Default)]
struct Keys {
    by_id: HashMap<String, Pinned>,
    /// Keys without `kid`; such a key is used only if it is alone.
    nameless: Vec<Pinned>,
}

/// What changes when a file does: its time and its length.
type Stamp = (SystemTime, u64);

impl KeySet {
    pub(super) fn open(path: &Path, now: Instant) -> Result<Self, KeyError> {
        let (stamp, keys) = (stamp(path), parse(path, &read(path)?)?);
        let state = Mutex::new(State { checked: now, stamp, keys });
        Ok(Self { path: path.to_owned(), state })
    }

    pub(super) fn find(&self, kid: Option<&str>, now: Instant) -> Option<Pinned> {
        let mut state = self.state.lock();
        if now.saturating_duration_since(state.checked) >= CHECK_EVERY {
            state.checked = now;
            self.refresh(&mut state);
        }
        match kid {
            Some(kid) => state.keys.by_id.get(kid).cloned(),
            None => {
                let mut all = state.keys.by_id.values().chain(&state.keys.nameless);
                all.next().filter(|_| all.next().is_none()).cloned()
            }
        }
    }

    /// Takes a changed file; one that can't be used leaves the keys as they are and is tried again.
    fn refresh(&self, state: &mut State) {
        let found = stamp(&self.path);
        if found == state.stamp {
            return;
        }
        match read(&self.path).and_then(|text| parse(&self.path, &text)) {
            Ok(keys) => {
                let count = keys.by_id.len() + keys.nameless.len();
                log::info!(file:% = self.path.display(), keys = count; "key set read again");
                state.keys = keys;
                state.stamp = found;
            }
            Err(error) => {
                log::error!(reason:% = error; "key set cannot be read, the old one stays")
            }
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn parse(path: &Path, text: &str) -> Result<Keys, KeyError> {
    let bad = |reason: String| KeyError::KeySet { path: path.to_owned(), reason };
    let set: JwkSet = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
    if set.keys.len() > MAX_KEYS {
        return Err(bad(format!("it has more than {MAX_KEYS} keys")));
    }
    let mut keys = Keys::default();
    for (index, jwk) in set.keys.iter().enumerate() {
        if !checks_signatures(jwk) {
            continue;
        }
        let id = jwk.common.key_id.as_deref();
        let named = || id.map_or_else(|| format!("key {}", index + 1), |id| format!("key {id:?}"));
        let algorithm = pin(jwk).ok_or_else(|| {
            bad(format!("{} is for no algorithm of HS256, RS256, ES256, EdDSA", named()))
        })?;
        let key = DecodingKey::from_jwk(jwk)
            .ok()
            .filter(|key| works(key, algorithm))
            .ok_or_else(|| bad(format!("{} is broken", named())))?;
        let pinned = (algorithm, Arc::new(key));
        match id {
            None => keys.nameless.push(pinned),
            Some(id) => {
                if keys.by_id.insert(id.to_owned(), pinned).is_some() {
                    return Err(bad(format!("{} is there twice", named())));
                }
            }
        }
    }
    if keys.by_id.is_empty() && keys.nameless.is_empty() {
        return Err(bad("it has no key for signatures".to_owned()));
    }
    Ok(keys)
}

/// Whether `use` and `key_ops` allow to check signatures with the key.
fn checks_signatures(jwk: &Jwk) -> bool {
    let signs =
        !matches!(&jwk.common.public_key_use, Some(used) if *used != PublicKeyUse::Signature);
    let verifies =
        jwk.common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    signs && verifies
}

/// The one algorithm a key is for: that of its type, if `alg` does not say otherwise.
fn pin(jwk: &Jwk) -> Option<Algorithm> {
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::OctetKey(key) if !key.value.is_empty() => {
            (Algorithm::HS256, KeyAlgorithm::HS256)
        }
        _ => return None,
    };
    let said = jwk.common.key_algorithm.as_ref();
    said.is_none_or(|said| *said == name).then_some(algorithm)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_key_set_is_read_again_when_it_changes_and_survives_a_broken_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jwks.json");
        let key =
            |kid: &str| format!(r#"{{"keys":[{{"kty":"oct","kid":"{kid}","k":"c2VjcmV0"}}]}}"#);
        std::fs::write(&path, key("one")).unwrap();
        let start = Instant::now();
        let set = KeySet::open(&path, start).unwrap();
        assert!(set.find(Some("one"), start).is_some());
        assert!(set.find(None, start).is_some(), "the only key needs no kid");

        std::fs::write(&path, key("second")).unwrap();
        let early = start + CHECK_EVERY - Duration::from_millis(1);
        assert!(set.find(Some("second"), early).is_none());
        assert!(set.find(Some("second"), start + CHECK_EVERY).is_some());
        assert!(set.find(Some("one"), start + CHECK_EVERY).is_none());

        std::fs::write(&path, "no JSON").unwrap();
        assert!(set.find(Some("second"), start + 2 * CHECK_EVERY).is_some());
        std::fs::remove_file(&path).unwrap();
        assert!(set.find(Some("second"), start + 3 * CHECK_EVERY).is_some());
        std::fs::write(&path, key("third-key")).unwrap();
        assert!(set.find(Some("third-key"), start + 4 * CHECK_EVERY).is_some());
    }

    #[test]
    fn key_sets_that_pin_nothing_are_refused() {
        let path = Path::new("set.json");
        for (text, part) in [
            ("[]", "invalid"),
            (r#"{"keys":[]}"#, "no key for signatures"),
            (r#"{"keys":[{"kty":"oct","kid":"a","k":"c2Vj","use":"enc"}]}"#, "no key"),
            (r#"{"keys":[{"kty":"oct","kid":"a","k":"c2Vj","alg":"HS512"}]}"#, "no algorithm"),
            (r#"{"keys":[{"kty":"oct","kid":"a","k":""}]}"#, "no algorithm"),
            (
                r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"c2Vj"}]}"#,
                "key \"a\" is broken",
            ),
            (r#"{"keys":[{"kty":"RSA","kid":"a","n":"c2Vj","e":"AQAB"}]}"#, "broken"),
            (
                r#"{"keys":[{"kty":"oct","kid":"a","k":"c2Vj"},{"kty":"oct","kid":"a","k":"c2Vj"}]}"#,
                "twice",
            ),
        ] {
            let error = parse(path, text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
