//! The types of configuration values that are more than a number or a text.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize, Serializer};
use subtle::ConstantTimeEq;

/// What is shown in place of a secret.
pub const HIDDEN: &str = "***";

/// A secret text. `Debug` and `Serialize` show `***`; comparing takes the same time wherever the
/// first difference is.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret that came from outside.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// A fresh secret of 64 hexadecimal digits with 244 random bits from the operating system.
    pub fn random() -> Self {
        let (a, b) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
        Self(format!("{}{}", a.simple(), b.simple()))
    }

    /// The secret itself: for keys and comparisons, never for a log or an answer.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `candidate` is this secret, compared in constant time for equal lengths.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(candidate).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

/// The address of another service. `Debug`, `Display` and `Serialize` hide the password in it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct ServiceUrl(String);

impl ServiceUrl {
    /// Wraps an address; [`load`](super::load) has checked its scheme and host.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The whole address with its password: for connecting, never for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The scheme in front of `://`, empty if there is none.
    pub fn scheme(&self) -> &str {
        self.0.split_once("://").map_or("", |(scheme, _)| scheme)
    }

    /// The password in `scheme://user:password@host`, if there is one.
    pub fn password(&self) -> Option<&str> {
        let (userinfo, _) = self.authority().rsplit_once('@')?;
        let (_, password) = userinfo.split_once(':')?;
        (!password.is_empty()).then_some(password)
    }

    /// `host[:port]`, or several of them separated by commas, without user and password.
    pub fn hosts(&self) -> &str {
        let authority = self.authority();
        authority.rsplit_once('@').map_or(authority, |(_, h)| h)
    }

    fn authority(&self) -> &str {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        // A password may hold an unescaped delimiter: what stands before the last `@` is userinfo.
        let end = rest.rfind('@').map_or(end, |at| {
            let after = &rest[at..];
            end.max(at + after.find(['/', '?', '#']).unwrap_or(after.len()))
        });
        &rest[..end]
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.split_once("://"), self.authority().rsplit_once('@')) {
            (Some((scheme, rest)), Some((userinfo, _))) if self.password().is_some() => {
                let user = userinfo.split(':').next().unwrap_or_default();
                write!(f, "{scheme}://{user}:{HIDDEN}{}", &rest[userinfo.len()..])
            }
            _ => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for ServiceUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Who may enter a room (`rooms.policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoomPolicy {
    /// The `rooms` patterns of the token; a token without them opens every room that is not reserved.
    Claims,
    /// Every authenticated user enters every room.
    Open,
    /// The service at `rooms.webhook_url` decides.
    Webhook,
}

/// What happens to a session whose outbound queue is full (`session.when_full`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The session is closed with 4413 and can recover.
    Disconnect,
    /// The oldest waiting frames are dropped.
    DropOldest,
    /// Older frames that a newer one replaces are dropped.
    Conflate,
}

/// Where messages are kept (`history.store`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryStore {
    /// A file under `history.path`; survives a restart of the node.
    Embedded,
    /// The memory of the process; lost with it.
    Memory,
    /// Redis at `cluster.redis_url`; shared by all nodes.
    Redis,
}

/// The shape of log lines (`log.format`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One readable line with `key=value` pairs.
    Text,
    /// One JSON object a line.
    Json,
}

/// Reads `10.0.0.0/8` or a single address such as `::1`.
///
/// # Errors
/// A sentence that says what an entry looks like.
pub fn parse_network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    IpNet::from_str(text)
        .or_else(|_| IpAddr::from_str(text).map(IpNet::from))
        .map_err(|_| format!("`{text}` is no network such as 10.0.0.0/8 and no address"))
}

/// (De)serializes a list of networks as texts.
pub(super) mod networks {
    use super::{IpNet, parse_network};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(networks: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(networks.iter().map(|network| {
            if network.prefix_len() == network.max_prefix_len() {
                network.addr().to_string()
            } else {
                network.to_string()
            }
        }))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
        Vec::<String>::deserialize(deserializer)?
            .iter()
            .map(|text| parse_network(text).map_err(D::Error::custom))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn secrets_are_never_shown() {
        let secret = Secret::new("hunter2hunter2");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
        assert!(secret.matches(b"hunter2hunter2"));
        assert!(!secret.matches(b"hunter2hunter3"));
        assert!(!secret.matches(b"hunter2"));
    }

    #[test]
    fn random_secrets_are_long_and_differ() {
        let (a, b) = (Secret::random(), Secret::random());
        assert_eq!(a.expose().len(), 64);
        assert_ne!(a, b);
    }

    #[test]
    fn the_password_of_an_address_is_hidden() {
        for (url, shown) in [
            ("redis://u:pw@h:6379/0", "redis://u:***@h:6379/0"),
            ("rediss://:pw@h", "rediss://:***@h"),
            ("redis://:p@w/x@h:1/2", "redis://:***@h:1/2"),
            ("redis://h:6379", "redis://h:6379"),
            ("redis://u@h:6379", "redis://u@h:6379"),
            ("no address", "no address"),
        ] {
            assert_eq!(ServiceUrl::new(url).to_string(), shown);
            assert_eq!(format!("{:?}", ServiceUrl::new(url)), format!("\"{shown}\""));
        }
        let url = ServiceUrl::new("redis+cluster://u:pw@a:1,b:2/0");
        assert_eq!(url.scheme(), "redis+cluster");
        assert_eq!(url.hosts(), "a:1,b:2");
        assert_eq!(url.password(), Some("pw"));
    }

    #[test]
    fn networks_and_single_addresses_are_read() {
        assert_eq!(parse_network("127.0.0.0/8").unwrap().prefix_len(), 8);
        assert_eq!(parse_network(" ::1 ").unwrap().prefix_len(), 128);
        assert!(parse_network("10.0.0.0/64").is_err());
        assert!(parse_network("localhost").unwrap_err().contains("localhost"));
    }
}
