//! Epoch and offset: where a room's history stands.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number that changes when a room's history begins anew, so that an offset
/// of an older history is never mistaken for one of this.
/// Written as 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is no epoch: it must be 1 to 16 hexadecimal digits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an epoch is 16 hexadecimal digits")]
pub struct BadEpoch;

impl FromStr for Epoch {
    type Err = BadEpoch;

    fn from_str(text: &str) -> Result<Self, BadEpoch> {
        if text.is_empty() || text.len() > 16 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(BadEpoch);
        }
        u64::from_str_radix(text, 16).map(Epoch).map_err(|_| BadEpoch)
    }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A place in a room's history. Offsets count the durable messages of a room
/// from 1, without holes; offset 0 is the place before the first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Position {
    /// Which history.
    pub epoch: Epoch,
    /// The newest message that is included.
    pub offset: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_epoch_is_text() {
        let p = Position { epoch: Epoch(0xab), offset: 7 };
        let text = serde_json::to_string(&p).unwrap();
        assert_eq!(text, r#"{"epoch":"00000000000000ab","offset":7}"#);
        assert_eq!(serde_json::from_str::<Position>(&text).unwrap(), p);
        for bad in ["", "xyz", "00000000000000000", "+1", "-1"] {
            assert!(bad.parse::<Epoch>().is_err(), "{bad}");
        }
    }
}
