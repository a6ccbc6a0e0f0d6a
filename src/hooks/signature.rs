//! What proves that a request is the hub's: HMAC (RFC 2104) with SHA-256 over the time and the body.

use std::fmt::Write;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::config::Secret;

/// The header that carries it: `t=SECONDS,v1=HEX`.
pub(super) const HEADER: &str = "hubbub-signature";

/// Signs with one secret.
pub(super) struct Signer(Hmac<Sha256>);

impl Signer {
    /// One for a secret, of any length.
    pub(super) fn new(secret: &Secret) -> Result<Self, String> {
        let key = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes());
        key.map(Self).map_err(|e| format!("`webhooks.secret`: {e}"))
    }

    /// The header's value for a body that is sent at a time in seconds since 1970: what is signed is
    /// `SECONDS.BODY`.
    pub(super) fn sign(&self, seconds: u64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{seconds}.").as_bytes());
        mac.update(body);
        let mut value = format!("t={seconds},v1=");
        for byte in mac.finalize().into_bytes() {
            // Writing to a String cannot fail.
            let _ = write!(value, "{byte:02x}");
        }
        value
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_is_the_hmac_of_time_and_body() {
        let signer = Signer::new(&Secret::new("a secret of thirty-two bytes ...")).unwrap();
        // printf '1700000000.{"events":[]}' | openssl dgst -sha256 -hmac 'a secret of thirty-two bytes ...'
        assert_eq!(
            signer.sign(1_700_000_000, br#"{"events":[]}"#),
            "t=1700000000,v1=0c4e5f3e0cd487e95de982ad19a99d79020500c0d20ca84e2e34c3691cc197f1"
        );
        assert_ne!(signer.sign(1, b"1.x"), signer.sign(11, b".x"));
    }
}
