//! What other nodes hold of a user, merged with what this one holds. A user is
//! online with the first session on any node, and gone when no node holds anything
//! of the user any more: no session and no grace.

use std::{collections::HashSet, sync::Arc};

use hubbub_protocol::{
    event::Status,
    id::{RoomName, SessionId, UserId},
};
use smallvec::SmallVec;

use super::{Effect, PresenceTable, User};

/// Another node, by the number that this one gave it.
pub type NodeIndex = u16;

/// What one node holds of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The user's sessions on that node, the oldest first; none while a grace runs.
    pub sessions: SmallVec<[SessionId; 1]>,
    /// The most present of them.
    pub status: Status,
    /// The display name.
    pub username: Option<Arc<str>>,
    /// The rooms that the user is in on that node.
    pub rooms: SmallVec<[RoomName; 1]>,
}

/// What another node holds of a user, as the table keeps it.
pub struct Remote {
    pub(super) node: NodeIndex,
    pub(super) status: Status,
    pub(super) sessions: SmallVec<[SessionId; 1]>,
    pub(super) rooms: SmallVec<[RoomName; 1]>,
}

impl User {
    pub(super) fn remotes(&self) -> &[Remote] {
        self.remote.as_deref().map_or(&[], |remotes| remotes)
    }

    /// Sessions on all nodes, each once: one that has recovered is still told by its old
    /// node until that is swept.
    pub(super) fn socket_count(&self) -> usize {
        if self.remotes().is_empty() {
            return self.sessions.len();
        }
        let here = self.sessions.iter().map(|(id, _)| *id);
        let elsewhere = self.remotes().iter().flat_map(|remote| remote.sessions.iter().copied());
        let mut all: SmallVec<[SessionId; 16]> = here.chain(elsewhere).collect();
        all.sort_unstable();
        all.dedup();
        all.len()
    }

    /// Whether this node has a session of the user, or its grace runs.
    fn is_here(&self) -> bool {
        !self.sessions.is_empty() || self.offline_at > 0
    }

    /// Whether another node has the user in a room.
    pub(super) fn is_elsewhere_in(&self, room: &RoomName) -> bool {
        self.remotes().iter().any(|remote| remote.rooms.contains(room))
    }

    fn is_in(&self, room: &RoomName) -> bool {
        self.rooms.iter().any(|(r, _)| r == room) || self.is_elsewhere_in(room)
    }

    /// Sessions on other nodes that are not here, each once.
    pub(super) fn elsewhere(&self) -> Vec<(NodeIndex, SessionId)> {
        if self.remotes().is_empty() {
            return Vec::new();
        }
        let mut seen: HashSet<SessionId> = self.sessions.iter().map(|(id, _)| *id).collect();
        let remotes = self.remotes().iter();
        remotes
            .flat_map(|r| r.sessions.iter().map(|session| (r.node, *session)))
            .filter(|(_, session)| seen.insert(*session))
            .collect()
    }

    /// Puts what a node holds in place of what it held; gives the latter.
    fn replace(&mut self, node: NodeIndex, new: Option<Remote>) -> Option<Remote> {
        let at = self.remotes().iter().position(|remote| remote.node == node);
        match (at, new) {
            (None, None) => None,
            (None, Some(new)) => {
                self.remote.get_or_insert_default().push(new);
                None
            }
            (Some(at), Some(new)) => {
                let slot = self.remote.as_mut()?.get_mut(at)?;
                Some(std::mem::replace(slot, new))
            }
            (Some(at), None) => {
                let remotes = self.remote.as_mut()?;
                let old = remotes.swap_remove(at);
                if remotes.is_empty() {
                    self.remote = None;
                }
                Some(old)
            }
        }
    }
}

impl PresenceTable {
    /// From now on the table notes whose share of this node changes.
    pub fn note_changes(&mut self) {
        self.changed.get_or_insert_default();
    }

    pub(super) fn touch(&mut self, user: &UserId) {
        if let Some(changed) = &mut self.changed
            && !changed.contains(user)
        {
            changed.insert(user.clone());
        }
    }

    /// Whether the share of somebody changed.
    pub fn has_changes(&self) -> bool {
        self.changed.as_ref().is_some_and(|changed| !changed.is_empty())
    }

    /// Notes these users.
    pub fn touch_some(&mut self, users: &[UserId]) {
        if let Some(changed) = &mut self.changed {
            changed.extend(users.iter().cloned());
        }
    }

    /// Notes every user that this node holds, and those of `also`.
    pub fn touch_all<'a>(&mut self, also: impl IntoIterator<Item = &'a UserId>) {
        let Some(changed) = &mut self.changed else { return };
        changed.extend(also.into_iter().cloned());
        changed.extend(self.users.iter().filter(|(_, u)| u.is_here()).map(|(id, _)| id.clone()));
    }

    /// Takes up to `max` users whose share changed, with what this node holds of
    /// each now; none if it holds nothing any more.
    pub fn take_changes(&mut self, max: usize) -> Vec<(UserId, Option<Held>)> {
        let Some(changed) = &mut self.changed else { return Vec::new() };
        let users: Vec<UserId> = if changed.len() <= max {
            std::mem::take(changed).into_iter().collect()
        } else {
            let some: Vec<_> = changed.iter().take(max).cloned().collect();
            some.iter().for_each(|user| {
                changed.remove(user);
            });
            some
        };
        users.into_iter().map(|user| (user.clone(), self.held(&user))).collect()
    }

    /// What this node holds of a user.
    pub fn held(&self, user: &UserId) -> Option<Held> {
        let entry = self.users.get(user).filter(|entry| entry.is_here())?;
        let has = |s| entry.sessions.iter().any(|(_, x)| *x == s);
        let known = [Status::Online, Status::Away].into_iter().find(|&s| has(s));
        Some(Held {
            sessions: entry.sessions.iter().map(|(id, _)| *id).collect(),
            status: known.unwrap_or(Status::Offline),
            username: entry.username.clone(),
            rooms: entry.rooms.iter().map(|(room, _)| room.clone()).collect(),
        })
    }

    /// How many sessions a user has, on all nodes.
    pub fn socket_count(&self, user: &UserId) -> usize {
        self.users.get(user).map_or(0, |user| user.socket_count())
    }

    /// The users that this node holds.
    pub fn users_here(&self) -> HashSet<UserId> {
        self.users.iter().filter(|(_, u)| u.is_here()).map(|(id, _)| id.clone()).collect()
    }

    /// How many users this node holds.
    pub fn count_here(&self) -> usize {
        self.users.values().filter(|user| user.is_here()).count()
    }

    /// The users that another node holds.
    pub fn users_of(&self, node: NodeIndex) -> Vec<UserId> {
        let holds = |user: &User| user.remotes().iter().any(|remote| remote.node == node);
        self.users.iter().filter(|(_, u)| holds(u)).map(|(id, _)| id.clone()).collect()
    }

    /// Another node holds this of a user now, or nothing any more.
    pub fn set_remote(
        &mut self,
        node: NodeIndex,
        user: &UserId,
        held: Option<Held>,
        now: u64,
    ) -> Vec<Effect> {
        if held.is_none() && !self.users.contains_key(user) {
            return Vec::new();
        }
        let entry = self.users.entry(user.clone()).or_insert_with(|| User::new(now));
        let before = entry.socket_count();
        let new = held.map(|held| {
            if held.username.is_some() && (entry.username.is_none() || entry.sessions.is_empty()) {
                entry.username = held.username;
            }
            let Held { sessions, status, rooms, .. } = held;
            Remote { node, status, sessions, rooms }
        });
        let joins: Vec<RoomName> = new
            .iter()
            .flat_map(|remote| &remote.rooms)
            .filter(|room| !entry.is_in(room))
            .cloned()
            .collect();
        let old = entry.replace(node, new);
        let left: Vec<RoomName> = old.map_or_else(Vec::new, |old| old.rooms.into_vec());
        let left: Vec<RoomName> = left.into_iter().filter(|room| !entry.is_in(room)).collect();
        if !entry.is_here() && entry.remotes().is_empty() {
            return self.go_offline(user, &left, now);
        }
        let changed = entry.socket_count() != before;
        let mut stays = if entry.socket_count() == 0 { Vec::new() } else { entry.room_names() };
        stays.retain(|room| !joins.contains(room));
        let mut effects = Vec::new();
        for room in &left {
            effects.extend(self.remove_member(user, room, now));
        }
        if self.users.get(user).is_some_and(|entry| entry.socket_count() > 0) {
            effects.extend(self.presence_in(user, &stays, now, changed));
        }
        for room in &joins {
            effects.extend(self.add_member(user, room, now));
        }
        effects
    }

    /// Takes over what another table knows of other nodes; nothing is told.
    pub fn adopt_remotes(&mut self, from: &Self, now: u64) {
        for (user, entry) in &from.users {
            for remote in entry.remotes() {
                let held = Held {
                    sessions: remote.sessions.clone(),
                    status: remote.status,
                    username: entry.username.clone(),
                    rooms: remote.rooms.clone(),
                };
                self.set_remote(remote.node, user, Some(held), now);
            }
        }
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
