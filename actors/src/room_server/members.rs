//! The members of one room: a plain list while they are few, so that the very many
//! small rooms (every user's personal one, above all) stay small; an index once
//! they are many, so that leaving a large room does not search it.

use hubbub_protocol::id::SessionId;
use indexmap::IndexMap;
use smallvec::SmallVec;

/// From this many members on there is an index.
const MANY: usize = 16;
/// Members that a walk looks at ahead.
const NEAR: usize = 8;

/// Members by session, walked in no order anybody may rely on.
pub struct Members<T>(Kind<T>);

enum Kind<T> {
    /// The first without an allocation of its own.
    Few(SmallVec<[(SessionId, T); 1]>),
    Many(Box<IndexMap<SessionId, T>>),
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self(Kind::Few(SmallVec::new()))
    }
}

impl<T> Members<T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kind::Few(list) => list.len(),
            Kind::Many(map) => map.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A member.
    pub fn get(&self, id: SessionId) -> Option<&T> {
        match &self.0 {
            Kind::Few(list) => list.iter().find(|(i, _)| *i == id).map(|(_, t)| t),
            Kind::Many(map) => map.get(&id),
        }
    }

    /// A member, to change.
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut T> {
        match &mut self.0 {
            Kind::Few(list) => list.iter_mut().find(|(i, _)| *i == id).map(|(_, t)| t),
            Kind::Many(map) => map.get_mut(&id),
        }
    }

    /// Puts a member in; false if it was one already.
    pub fn insert(&mut self, id: SessionId, member: T) -> bool {
        if self.get(id).is_some() {
            return false;
        }
        match &mut self.0 {
            Kind::Few(list) if list.len() + 1 < MANY => list.push((id, member)),
            Kind::Few(list) => {
                let mut map: IndexMap<_, _> = std::mem::take(list).into_iter().collect();
                map.insert(id, member);
                self.0 = Kind::Many(Box::new(map));
            }
            Kind::Many(map) => {
                map.insert(id, member);
            }
        }
        true
    }

    /// Takes a member out.
    pub fn remove(&mut self, id: SessionId) -> Option<T> {
        match &mut self.0 {
            Kind::Few(list) => {
                let at = list.iter().position(|(i, _)| *i == id)?;
                Some(list.swap_remove(at).1)
            }
            Kind::Many(map) => {
                let member = map.swap_remove(&id);
                if map.capacity() > 64 && map.len() * 4 < map.capacity() {
                    map.shrink_to(map.len() * 2);
                }
                member
            }
        }
    }

    /// All members.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &T)> {
        let (few, many) = match &self.0 {
            Kind::Few(list) => (Some(list), None),
            Kind::Many(map) => (None, Some(map)),
        };
        let few = few.into_iter().flatten().map(|(id, t)| (*id, t));
        few.chain(many.into_iter().flat_map(|map| map.iter()).map(|(id, t)| (*id, t)))
    }

    /// All members, to change, a few at a time: `warm` is told of each before `visit` is given
    /// the first of them, so that what is far from the processor comes while others are
    /// looked at.
    pub fn walk(&mut self, warm: impl Fn(&T), mut visit: impl FnMut(SessionId, &mut T)) {
        let mut members = self.iter_mut();
        loop {
            let mut near: SmallVec<[_; NEAR]> = members.by_ref().take(NEAR).collect();
            if near.is_empty() {
                return;
            }
            near.iter().for_each(|(_, member)| warm(member));
            near.iter_mut().for_each(|(id, member)| visit(*id, member));
        }
    }

    /// All members, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (SessionId, &mut T)> {
        let (few, many) = match &mut self.0 {
            Kind::Few(list) => (Some(list), None),
            Kind::Many(map) => (None, Some(map)),
        };
        let few = few.into_iter().flatten().map(|(id, t)| (*id, t));
        few.chain(many.into_iter().flat_map(|map| map.iter_mut()).map(|(id, t)| (*id, t)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against an ordered map, over both kinds.
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((any::<bool>(), 0u128..40, any::<u8>()), 0..200)) {
            let (mut members, mut model) = (Members::default(), BTreeMap::new());
            for (insert, id, value) in steps {
                let key = SessionId(uuid::Uuid::from_u128(id));
                if insert {
                    let new = !model.contains_key(&key);
                    prop_assert_eq!(members.insert(key, value), new);
                    model.entry(key).or_insert(value);
                } else {
                    prop_assert_eq!(members.remove(key), model.remove(&key));
                }
                prop_assert_eq!(members.get(key), model.get(&key));
                prop_assert_eq!(members.len(), model.len());
                let warmed = std::cell::Cell::new(0);
                members.walk(|_| warmed.set(warmed.get() + 1), |_, value| {
                    *value = value.wrapping_add(1);
                });
                prop_assert_eq!(warmed.get(), model.len());
                model.values_mut().for_each(|v| *v = v.wrapping_add(1));
                let mut all: Vec<_> = members.iter().map(|(k, v)| (k, *v)).collect();
                all.sort_unstable();
                prop_assert_eq!(all, model.iter().map(|(k, v)| (*k, *v)).collect::<Vec<_>>());
            }
        }
    }
}
