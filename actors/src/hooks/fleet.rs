//! Follows the log of presence, in which all changes of all nodes stand in one order,
//! and tells the backend what they come to. See [`reporter`](super::reporter) for who
//! tells it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use hubbub_protocol::id::UserId;

use super::{
    HookBody, HookEvent, Hooks, NODE_LOST,
    reporter::Reporter,
    view::{Seen, View},
};
use crate::{
    cluster::{
        NodeRow,
        replicas::{Change, Replicas, Scan},
        store::{Entry, Instance, Logged},
    },
    presence_tracker::NodeIndex,
};

/// What a node knows of what its fleet tells.
pub(crate) struct FleetHooks {
    hooks: Arc<Hooks>,
    replicas: Replicas,
    view: View,
    reporter: Reporter,
    names: HashMap<NodeIndex, Instance>,
    /// Whether the store was read once.
    begun: bool,
}

/// What a change is known by.
struct Cause<'a> {
    /// The entry of the log; none if it does not come from one.
    entry: Option<&'a str>,
    /// When it happened, milliseconds since 1970.
    at: u64,
    /// Whether sessions that are no longer there were taken away by somebody else.
    lost: bool,
}

impl FleetHooks {
    /// Knows nobody yet.
    pub(crate) fn new(hooks: Arc<Hooks>, lease_ms: u64) -> Self {
        Self {
            hooks,
            // None of the nodes is left out, this one neither.
            replicas: Replicas::new("".into(), lease_ms),
            view: View::default(),
            reporter: Reporter::new(lease_ms),
            names: HashMap::new(),
            begun: false,
        }
    }

    /// An entry of the log. Says whether this node was given up by another one although
    /// it lives. `now` is of a clock that only goes forward, `time` is milliseconds since
    /// 1970.
    pub(crate) fn entry(&mut self, logged: &Logged, now: u64, time: u64) -> bool {
        let foreign = logged.by != logged.instance;
        let lost = match &logged.entry {
            Entry::Users(users) => foreign && users.iter().any(|(_, share)| share.is_none()),
            Entry::Gone => foreign,
            _ => false,
        };
        let changes = self.replicas.entry(&logged.instance, logged.entry.clone());
        // An id of the log begins with its time.
        let at = logged.id.split('-').next().and_then(|ms| ms.parse().ok()).unwrap_or(time);
        self.apply(changes, &Cause { entry: Some(&logged.id), at, lost }, now);
        lost && logged.instance == self.hooks.instance
    }

    /// The store was read anew. What is found the first time was told by others.
    pub(crate) fn scanned(&mut self, scan: Scan, now: u64, time: u64) {
        let changes = self.replicas.scanned(scan, now);
        let begun = std::mem::replace(&mut self.begun, true);
        let cause = Cause { entry: None, at: time, lost: false };
        let told = self.changes(changes, &cause);
        if begun {
            self.tell(told, now);
        }
    }

    /// Time goes on; these are the nodes as far as they are known.
    pub(crate) fn tick(&mut self, nodes: &[NodeRow], now: u64, time: u64) {
        let changes = self.replicas.tick(now);
        self.apply(changes, &Cause { entry: None, at: time, lost: true }, now);
        let own = &self.hooks.instance;
        let known = nodes.iter().any(|node| node.instance == *own);
        let before = nodes.iter().any(|node| node.alive && node.instance < *own);
        for event in self.reporter.look(known.then_some(!before), now) {
            self.hooks.sink.emit(event);
        }
    }

    fn apply(&mut self, changes: Vec<Change>, cause: &Cause<'_>, now: u64) {
        let told = self.changes(changes, cause);
        self.tell(told, now);
    }

    fn tell(&mut self, events: Vec<HookEvent>, now: u64) {
        for event in events {
            if let Some(event) = self.reporter.take(event, now) {
                self.hooks.sink.emit(event);
            }
        }
    }

    fn changes(&mut self, changes: Vec<Change>, cause: &Cause<'_>) -> Vec<HookEvent> {
        let mut told = Vec::new();
        for change in changes {
            match change {
                Change::Set(node, user, share) => {
                    let seen = share.as_ref().map(Seen::from);
                    self.set(node, &user, seen, cause, &mut told);
                }
                Change::Only(node, keep) => self.drop_users(node, &keep, cause, &mut told),
                Change::Drop(node) => {
                    self.drop_users(node, &HashSet::new(), cause, &mut told);
                    self.view.forget(node);
                    self.names.remove(&node);
                }
            }
        }
        told
    }

    fn drop_users(
        &mut self,
        node: NodeIndex,
        keep: &HashSet<UserId>,
        cause: &Cause<'_>,
        told: &mut Vec<HookEvent>,
    ) {
        for user in self.view.users_of(node, keep) {
            self.set(node, &user, None, cause, told);
        }
    }

    fn set(
        &mut self,
        node: NodeIndex,
        user: &UserId,
        seen: Option<Seen>,
        cause: &Cause<'_>,
        told: &mut Vec<HookEvent>,
    ) {
        if let Some(instance) = self.replicas.name(node) {
            self.names.insert(node, instance.clone());
        }
        let Some(instance) = self.names.get(&node) else { return };
        let turn = self.view.set(node, instance, user, seen);
        if cause.lost && self.hooks.kinds.sessions() {
            let ended = turn.ended.into_iter();
            told.extend(ended.map(|session| HookEvent::closed(session, NODE_LOST, cause.at)));
        }
        if self.hooks.kinds.rooms() {
            let event = |body: HookBody| HookEvent::of_room(body, cause.at, cause.entry);
            told.extend(turn.rooms.into_iter().map(event));
        }
    }
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
