//! Sessions by id.

use std::{collections::hash_map::RandomState, hash::BuildHasher, sync::Arc};

use hashbrown::hash_table::{Entry, HashTable};
use hubbub_protocol::id::SessionId;

use crate::session::SessionHandle;

/// Sessions by id. A map would keep every id a second time, for as many places as it has.
#[derive(Default)]
pub struct Sessions {
    table: HashTable<Arc<SessionHandle>>,
    hasher: RandomState,
}

impl Sessions {
    /// The session of an id.
    pub fn get(&self, id: &SessionId) -> Option<&Arc<SessionHandle>> {
        self.table.find(self.hasher.hash_one(id), |session| session.id == *id)
    }

    /// Whether there is one.
    pub fn contains(&self, id: &SessionId) -> bool {
        self.get(id).is_some()
    }

    /// Puts a session in, in place of one of the same id.
    pub fn insert(&mut self, session: Arc<SessionHandle>) {
        let Self { table, hasher } = self;
        let same = |held: &Arc<SessionHandle>| held.id == session.id;
        match table.entry(hasher.hash_one(session.id), same, |held| hasher.hash_one(held.id)) {
            Entry::Occupied(mut held) => *held.get_mut() = session,
            Entry::Vacant(place) => drop(place.insert(session)),
        }
    }

    /// Takes the session of an id out.
    pub fn remove(&mut self, id: &SessionId) {
        let hash = self.hasher.hash_one(id);
        if let Ok(held) = self.table.find_entry(hash, |session| session.id == *id) {
            held.remove();
        }
    }

    /// All of them, in no order.
    pub fn values(&self) -> impl Iterator<Item = &Arc<SessionHandle>> {
        self.table.iter()
    }
}
