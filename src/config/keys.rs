//! What a configuration key is: its path, the kind of its value, and the known key nearest to a
//! misspelt one.

use std::fmt;

/// The kind of value a key takes, with its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number from `min` to `max`, both included; `zero` adds 0 as "unlimited".
    Integer {
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
        /// Whether 0 is allowed too, as "unlimited".
        zero: bool,
    },
    /// A text; `optional` keys count an empty one as not set.
    Text {
        /// Whether the key may be left unset.
        optional: bool,
    },
    /// An optional text that is never shown.
    Secret,
    /// An optional address of a service; its password is never shown.
    Url,
    /// The path of a file or a folder.
    Path {
        /// Whether the key may be left unset.
        optional: bool,
    },
    /// An IP address and a port.
    Address,
    /// A list of texts.
    List,
    /// A list of IP networks.
    Networks,
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl Kind {
    /// A whole number from `min` to `max`.
    pub const fn integer(min: u64, max: u64) -> Self {
        Self::Integer { min, max, zero: false }
    }

    /// A whole number up to `max`; 0 means unlimited.
    pub const fn limit(max: u64) -> Self {
        Self::Integer { min: 1, max, zero: true }
    }

    /// Whether the value is never repeated in an error.
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::Url)
    }

    /// Whether the key may be left without a value.
    pub fn is_optional(self) -> bool {
        matches!(
            self,
            Self::Secret
                | Self::Url
                | Self::Text { optional: true }
                | Self::Path { optional: true }
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("true or false"),
            Self::Integer { min, max, zero: false } => {
                write!(f, "a whole number from {min} to {max}")
            }
            Self::Integer { max, zero: true, .. } => {
                write!(f, "a whole number up to {max}, or 0 for unlimited")
            }
            Self::Text { .. } | Self::Secret => f.write_str("a text"),
            Self::Url => f.write_str("an address such as scheme://host:port"),
            Self::Path { .. } => f.write_str("a path"),
            Self::Address => f.write_str("an IP address and a port such as 127.0.0.1:8080"),
            Self::List => f.write_str("a list of texts"),
            Self::Networks => f.write_str("a list of networks such as 10.0.0.0/8"),
            Self::Choice(words) => write!(f, "one of {}", words.join(", ")),
        }
    }
}

/// One configuration key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The section, `server` in `server.listen`.
    pub section: &'static str,
    /// The name in its section, `listen` in `server.listen`.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
}

impl Key {
    /// `section.name`, as errors and documentation spell it.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The environment variable that sets the key.
    pub fn variable(&self) -> String {
        format!("{}{}__{}", super::ENV_PREFIX, self.section, self.name).to_uppercase()
    }
}

/// The key with this path, if there is one.
pub fn find(path: &str) -> Option<&'static Key> {
    let (section, name) = path.split_once('.')?;
    super::KEYS.iter().find(|key| key.section == section && key.name == name)
}

/// Whether a section has this name.
pub fn is_section(name: &str) -> bool {
    super::KEYS.iter().any(|key| key.section == name)
}

/// The known key that looks most like `path`: by edit distance, where the right name in the wrong
/// section counts as one edit; of two that look alike, the one in the section that was named.
pub fn nearest(path: &str) -> &'static Key {
    let (section, leaf) = path.rsplit_once('.').unwrap_or(("", path));
    let distance = |key: &Key| {
        let whole = strsim::damerau_levenshtein(path, &key.path());
        let moved = strsim::damerau_levenshtein(leaf, key.name) + 1;
        (whole.min(moved), key.section != section)
    };
    let first = &super::KEYS[0];
    super::KEYS
        .iter()
        .fold((first, distance(first)), |best, key| {
            let found = distance(key);
            if found < best.1 { (key, found) } else { best }
        })
        .0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_nearest_key_is_the_one_that_was_meant() {
        for (written, meant) in [
            ("server.listn", "server.listen"),
            ("sever.listen", "server.listen"),
            ("server.heartbeat_ms", "session.heartbeat_ms"),
            ("auth.jwt_secert", "auth.jwt_secret"),
            ("listen", "server.listen"),
            ("cluster.redis", "cluster.redis_url"),
            ("log.fromat", "log.format"),
        ] {
            assert_eq!(nearest(written).path(), meant, "for {written}");
        }
    }

    #[test]
    fn keys_know_their_variable() {
        let key = find("server.listen").unwrap();
        assert_eq!(key.variable(), "HUBBUB__SERVER__LISTEN");
        assert!(find("server.listn").is_none());
        assert!(is_section("server") && !is_section("sever"));
    }

    #[test]
    fn no_key_is_there_twice() {
        let paths: std::collections::BTreeSet<_> =
            super::super::KEYS.iter().map(Key::path).collect();
        assert_eq!(paths.len(), super::super::KEYS.len());
    }
}
