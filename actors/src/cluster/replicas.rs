//! What is known of the other nodes, and what changes when they tell something.
//! Pure: gives back what the table of presence has to be told.
//!
//! Nobody is taken for gone because the store does not say anything of them: it may
//! have lost its data. Only these end what is known of a user on a node: the node
//! says so; the node was swept; the node has told all that it holds, and the user
//! was not among it; or the store has not known the node for the length of a lease.

use std::collections::{HashMap, HashSet};

use hubbub_protocol::id::UserId;

use super::{
    Share,
    store::{Entry, Instance, Listed},
};
use crate::presence_tracker::NodeIndex;

/// What the table has to be told.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// A node holds this of a user, or nothing any more.
    Set(NodeIndex, UserId, Option<Share>),
    /// A node holds nothing but of these.
    Only(NodeIndex, HashSet<UserId>),
    /// A node holds nothing any more; its number is free after that.
    Drop(NodeIndex),
}

/// How much of a node is known.
#[derive(Debug)]
enum Known {
    /// All that it holds.
    All,
    /// What it holds of these; what was known before holds until it has told all.
    Part(HashSet<UserId>),
    /// The store does not know the node; what was known holds until then.
    Missing(u64),
}

/// The other nodes.
pub struct Replicas {
    own: Instance,
    patience: u64,
    nodes: HashMap<Instance, (NodeIndex, Known)>,
}

/// What a scan found: every user that each node holds, as far as it has told.
pub type Scan = Vec<(Listed, HashMap<UserId, Share>)>;

impl Replicas {
    /// Knows nobody; `patience` is how long (in milliseconds) a node that the store
    /// does not know is waited for.
    pub fn new(own: Instance, patience: u64) -> Self {
        Self { own, patience, nodes: HashMap::new() }
    }

    /// The name of a node by its number.
    pub fn name(&self, index: NodeIndex) -> Option<&Instance> {
        self.nodes.iter().find(|(_, (i, _))| *i == index).map(|(name, _)| name)
    }

    fn index(&mut self, instance: &Instance, known: Known) -> NodeIndex {
        if let Some((index, _)) = self.nodes.get(instance) {
            return *index;
        }
        let used: HashSet<_> = self.nodes.values().map(|(index, _)| *index).collect();
        let free = (0..NodeIndex::MAX).find(|i| !used.contains(i)).unwrap_or(NodeIndex::MAX);
        self.nodes.insert(instance.clone(), (free, known));
        free
    }

    /// A node has something to say.
    pub fn entry(&mut self, instance: &Instance, entry: Entry) -> Vec<Change> {
        if *instance == self.own {
            return Vec::new();
        }
        match entry {
            Entry::Announcing => {
                self.index(instance, Known::All);
                if let Some((_, known)) = self.nodes.get_mut(instance) {
                    *known = Known::Part(HashSet::new());
                }
                Vec::new()
            }
            Entry::Announced => {
                let Some((index, known)) = self.nodes.get_mut(instance) else { return Vec::new() };
                match std::mem::replace(known, Known::All) {
                    Known::Part(told) => vec![Change::Only(*index, told)],
                    Known::All | Known::Missing(_) => Vec::new(),
                }
            }
            Entry::Users(users) => {
                let index = self.index(instance, Known::All);
                if let Some((_, Known::Part(told))) = self.nodes.get_mut(instance) {
                    told.extend(users.iter().map(|(user, _)| user.clone()));
                }
                users.into_iter().map(|(user, share)| Change::Set(index, user, share)).collect()
            }
            Entry::Gone => {
                self.nodes.remove(instance).map(|(i, _)| Change::Drop(i)).into_iter().collect()
            }
            Entry::SendAway(..) | Entry::Addresses(_) | Entry::Other => Vec::new(),
        }
    }

    /// The store was read anew, because this node begins or the log was lost.
    pub fn scanned(&mut self, scan: Scan, now: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        let listed: HashSet<Instance> = scan.iter().map(|(l, _)| l.instance.clone()).collect();
        for (instance, (_, known)) in &mut self.nodes {
            if !listed.contains(instance) && !matches!(known, Known::Missing(_)) {
                *known = Known::Missing(now + self.patience);
            }
        }
        for (Listed { instance, complete }, users) in scan {
            if instance == self.own {
                continue;
            }
            let index = self.index(&instance, Known::All);
            let told: HashSet<UserId> = users.keys().cloned().collect();
            let set = users.into_iter().map(|(user, share)| Change::Set(index, user, Some(share)));
            changes.extend(set);
            let known = if complete {
                changes.push(Change::Only(index, told));
                Known::All
            } else {
                Known::Part(told)
            };
            self.nodes.insert(instance, (index, known));
        }
        changes
    }

    /// Gives up on nodes that the store did not know for too long.
    pub fn tick(&mut self, now: u64) -> Vec<Change> {
        let over = |known: &Known| matches!(known, Known::Missing(until) if *until <= now);
        let gone = self.nodes.extract_if(|_, (_, known)| over(known));
        gone.map(|(_, (index, _))| Change::Drop(index)).collect()
    }
}

#[cfg(test)]
#[path = "replicas_tests.rs"]
mod tests;
