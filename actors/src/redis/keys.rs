//! The names of keys and channels. Everything of a room has the same hash tag, so
//! that it is in one slot of a Redis Cluster; docs/redis.md lists them all.

use hubbub_protocol::id::{MessageId, RoomName};

use crate::ports::IdempotencyKey;

/// The keys and the channel of one room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomKeys {
    /// `<prefix>{<room>}:`
    start: String,
}

impl RoomKeys {
    /// The names for a room. Braces and `%` in its name are percent-encoded.
    pub fn new(prefix: &str, room: &RoomName) -> Self {
        let mut start = String::with_capacity(prefix.len() + room.as_str().len() + 8);
        start.push_str(prefix);
        start.push('{');
        for c in room.as_str().chars() {
            match c {
                '{' => start.push_str("%7B"),
                '}' => start.push_str("%7D"),
                '%' => start.push_str("%25"),
                c => start.push(c),
            }
        }
        start.push_str("}:");
        Self { start }
    }

    fn with(&self, end: &str) -> String {
        format!("{}{end}", self.start)
    }

    /// Hash: epoch, head, id of the newest record, when it was taken.
    pub fn state(&self) -> String {
        self.with("state")
    }

    /// Stream: the records, each with its offset as id.
    pub fn stream(&self) -> String {
        self.with("log")
    }

    /// Hash: up to where the user of a personal room has got the messages.
    pub fn told(&self) -> String {
        self.with("told")
    }

    /// Hash: how far users have got and read the room.
    pub fn receipts(&self) -> String {
        self.with("receipts")
    }

    /// Channel: what the members on every node are told.
    pub fn channel(&self) -> String {
        self.with("news")
    }

    /// String: what a client's key was used for.
    pub fn client_key(&self, key: &IdempotencyKey) -> String {
        match &key.user {
            Some(user) => {
                format!("{}key:{}:{user}:{}", self.start, user.as_str().len(), key.key)
            }
            None => format!("{}key::{}", self.start, key.key),
        }
    }

    /// String: where a publish without a key of its client was stored, for the
    /// case that the hub has to ask again.
    pub fn publish_key(&self, id: MessageId) -> String {
        format!("{}pub:{}", self.start, id.0.simple())
    }
}

/// Channel: what every session of every node is told.
pub fn everyone_channel(prefix: &str) -> String {
    format!("{prefix}everyone")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hubbub_protocol::id::UserId;

    use super::*;

    #[test]
    fn every_key_of_a_room_has_its_tag() {
        let keys = RoomKeys::new("hub:", &RoomName::new("a}{%b").unwrap());
        assert_eq!(keys.state(), "hub:{a%7D%7B%25b}:state");
        assert_eq!(keys.channel(), "hub:{a%7D%7B%25b}:news");
    }

    #[test]
    fn keys_of_different_users_differ() {
        let keys = RoomKeys::new("", &RoomName::new("r").unwrap());
        let key = |user: &str, key: &str| {
            keys.client_key(&IdempotencyKey { user: UserId::new(user).ok(), key: key.into() })
        };
        assert_ne!(key("a:b", "c"), key("a", "b:c"));
        assert_ne!(key("", "1:a:b"), key("a", "b"));
    }
}
