//! What one node holds of one user, as it travels between nodes: JSON with short
//! names. A reader ignores what it does not know, so that two versions of the hub
//! can run side by side.

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use hubbub_protocol::{
    event::Status,
    id::{RoomName, SessionId},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::store::Instance;
use crate::presence_tracker::Held;

/// A session as other nodes know it: its id and the client's address.
pub type RemoteSession = (SessionId, IpAddr);

/// What one node holds of one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The user's sessions on the node, the oldest first; none while a grace runs.
    #[serde(rename = "s")]
    pub sessions: Vec<RemoteSession>,
    /// The most present of them.
    #[serde(rename = "p", serialize_with = "write_status", deserialize_with = "read_status")]
    pub status: Status,
    /// The display name.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Arc<str>>,
    /// The rooms that the user is in on the node.
    #[serde(rename = "r", default)]
    pub rooms: Vec<RoomName>,
    /// When each of the sessions opened there, in milliseconds since 1970; only for
    /// webhooks.
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    pub opened: Vec<u64>,
}

fn write_status<S: Serializer>(status: &Status, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(status.as_str())
}

fn read_status<'de, D: Deserializer<'de>>(d: D) -> Result<Status, D::Error> {
    let word = String::deserialize(d)?;
    Status::parse(&word).ok_or_else(|| D::Error::custom("no such status"))
}

impl Share {
    /// What this node holds, with the addresses of the sessions.
    pub fn new(held: Held, address: impl Fn(SessionId) -> Option<IpAddr>) -> Self {
        let unknown = IpAddr::from([0, 0, 0, 0]);
        let with_address = |id: &SessionId| (*id, address(*id).unwrap_or(unknown));
        Self {
            sessions: held.sessions.iter().map(with_address).collect(),
            status: held.status,
            username: held.username,
            rooms: held.rooms.into_vec(),
            opened: Vec::new(),
        }
    }

    /// As the table keeps it.
    pub fn into_held(self) -> Held {
        Held {
            sessions: self.sessions.into_iter().map(|(id, _)| id).collect(),
            status: self.status,
            username: self.username,
            rooms: self.rooms.into(),
        }
    }
}

/// The sessions that other nodes have of a user, each once. One that has recovered is
/// still told by its old node until that is swept: this node comes first (`here` are its
/// sessions), then those that live.
pub fn sessions_elsewhere(
    shares: Vec<(Instance, Share)>,
    own: &str,
    here: impl IntoIterator<Item = SessionId>,
    lives: impl Fn(&str) -> bool,
) -> Vec<(Instance, RemoteSession)> {
    let mut seen: HashSet<SessionId> = here.into_iter().collect();
    let mut others: Vec<_> = shares.into_iter().filter(|(node, _)| **node != *own).collect();
    others.sort_by_key(|(node, _)| !lives(node));
    let mut sessions = Vec::new();
    for (node, share) in others {
        let new = share.sessions.into_iter().filter(|(id, _)| seen.insert(*id));
        sessions.extend(new.map(|session| (node.clone(), session)));
    }
    sessions
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_session_that_recovered_is_listed_once() {
        let session = |n| (SessionId(uuid::Uuid::from_u128(n)), IpAddr::from([10, 0, 0, n as u8]));
        let share = |node: &str, ids: &[u128]| {
            let sessions = ids.iter().copied().map(session).collect();
            let share = Share {
                sessions,
                status: Status::Online,
                username: None,
                rooms: vec![],
                opened: vec![],
            };
            (Instance::from(node), share)
        };
        let shares = vec![share("dead#1", &[1, 2, 3]), share("a#1", &[1]), share("b#1", &[2, 4])];
        let found = sessions_elsewhere(shares, "a#1", [session(1).0], |node| node != "dead#1");
        let found: Vec<_> = found.iter().map(|(node, session)| (&**node, *session)).collect();
        assert_eq!(found, [("b#1", session(2)), ("b#1", session(4)), ("dead#1", session(3))]);
    }

    #[test]
    fn a_share_travels() {
        let id = SessionId(uuid::Uuid::from_u128(7));
        let share = Share {
            sessions: vec![(id, "10.0.0.1".parse().unwrap())],
            status: Status::Away,
            username: Some("Ann".into()),
            rooms: vec![RoomName::new("lobby").unwrap()],
            opened: vec![],
        };
        let text = serde_json::to_string(&share).unwrap();
        assert_eq!(
            text,
            r#"{"s":[["00000000-0000-0000-0000-000000000007","10.0.0.1"]],"p":"away","n":"Ann","r":["lobby"]}"#
        );
        assert_eq!(serde_json::from_str::<Share>(&text).unwrap(), share);
        let later: Share = serde_json::from_str(r#"{"s":[],"p":"online","x":1}"#).unwrap();
        let told = Share { opened: vec![1234], ..share.clone() };
        let text = serde_json::to_string(&told).unwrap();
        assert!(text.ends_with(r#""r":["lobby"],"o":[1234]}"#), "{text}");
        assert_eq!(serde_json::from_str::<Share>(&text).unwrap(), told);
        assert!(later.rooms.is_empty() && later.username.is_none());
        assert!(serde_json::from_str::<Share>(r#"{"s":[],"p":"asleep"}"#).is_err());
    }
}
