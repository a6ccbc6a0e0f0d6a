//! `members`, and what is told when a user becomes one.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
};

use super::{EventKind, Fields, Fieldset, Status};
use crate::{
    id::{RoomName, UserId},
    timestamp::Timestamp,
};

/// Asks who is in a room.
#[derive(Clone, Debug)]
pub struct GetMembers {
    /// The room.
    pub room: RoomName,
    /// Only users whose id sorts after this one: the last of the page before.
    pub after: Option<UserId>,
    /// At most so many, 1 to 100, default 100.
    pub limit: usize,
}

/// A user in a room. A user with several sessions in it is one member here.
#[derive(Clone, Debug)]
pub struct Member {
    /// The room.
    pub room: RoomName,
    /// Who.
    pub user: UserId,
    /// The display name.
    pub username: Option<Arc<str>>,
    /// The user's status.
    pub status: Status,
    /// How many sessions the user has.
    pub socket_count: usize,
    /// When the user became one, or left.
    pub timestamp: Timestamp,
    /// The node on which the user became one; told only to vocabularies that name it.
    pub node: Option<Arc<str>>,
}

impl Member {
    /// The fields of `user_joined` and `user_left`.
    pub(super) fn announce(&self, out: &mut dyn Fields) {
        out.text("roomId", self.room.as_str());
        out.text("userId", self.user.as_str());
        if let Some(name) = &self.username {
            out.text("username", name);
        }
        out.time("timestamp", self.timestamp);
        if let Some(node) = &self.node {
            out.hidden("nodeId", node);
        }
    }
}

/// As part of a list of members.
impl Fieldset for Member {
    fn kind(&self) -> Option<EventKind> {
        None
    }

    fn fields(&self, out: &mut dyn Fields) {
        out.text("userId", self.user.as_str());
        if let Some(name) = &self.username {
            out.text("username", name);
        }
        out.text("status", self.status.as_str());
        out.number("socketCount", self.socket_count as u64);
    }
}

/// Members of a room as a list that may be told many times: the JSON of all is written once.
#[derive(Debug, Default)]
pub struct MemberList {
    members: Box<[Member]>,
    json: OnceLock<Box<[u8]>>,
}

impl MemberList {
    /// The list as the JSON wire has it: written by `write` when it is asked for first,
    /// then kept for as long as the list. Whoever asks must write the same.
    pub fn json(&self, write: impl FnOnce(&[Member], &mut Vec<u8>)) -> &[u8] {
        self.json.get_or_init(|| {
            let mut json = Vec::new();
            write(&self.members, &mut json);
            json.into()
        })
    }
}

impl Deref for MemberList {
    type Target = [Member];

    fn deref(&self) -> &[Member] {
        &self.members
    }
}

impl FromIterator<Member> for MemberList {
    fn from_iter<I: IntoIterator<Item = Member>>(members: I) -> Self {
        Self { members: members.into_iter().collect(), json: OnceLock::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::MemberList;

    #[test]
    fn the_json_of_a_list_is_written_once() {
        let list = MemberList::default();
        let mut times = 0;
        for _ in 0..3 {
            let json = list.json(|members, out| {
                times += 1;
                out.extend(format!("{} members", members.len()).bytes());
            });
            assert_eq!(json, b"0 members");
        }
        assert_eq!(times, 1);
    }
}
