//! Which sessions this node keeps in Redis: those connected here, and those that were
//! lost here a while ago.

use std::collections::{HashMap, VecDeque};

use hubbub_protocol::id::SessionId;

use crate::session_store::Owner;

/// The sessions of this node.
pub(super) struct Kept {
    max: usize,
    here: HashMap<SessionId, Owner>,
    /// Until when each can come back, the one lost first in front. One that did come
    /// back stays until then: that it is told to be over says nothing of its new owner.
    lost: VecDeque<(u64, SessionId, Owner)>,
}

/// Whether there is room for a session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Free,
    /// This one was lost first and is to go.
    Of(SessionId, Owner),
    Nowhere,
}

impl Kept {
    /// At most so many; those that are taken over from elsewhere come on top.
    pub(super) fn new(max: usize) -> Self {
        Self { max, here: HashMap::new(), lost: VecDeque::new() }
    }

    /// A session begins; unless the answer is `Nowhere`, it is here from now on.
    pub(super) fn open(&mut self, id: SessionId, owner: Owner, now: u64) -> Place {
        self.forget(now);
        let place = if self.here.len() + self.lost.len() < self.max {
            Place::Free
        } else if let Some((_, id, owner)) = self.lost.pop_front() {
            Place::Of(id, owner)
        } else {
            return Place::Nowhere;
        };
        self.here.insert(id, owner);
        place
    }

    /// A session goes on here.
    pub(super) fn claimed(&mut self, id: SessionId, owner: Owner) {
        self.here.insert(id, owner);
    }

    /// It is not here any more, unless it has another owner by now.
    pub(super) fn gone(&mut self, id: SessionId, owner: Owner) -> bool {
        let here = self.here.get(&id) == Some(&owner);
        if here {
            self.here.remove(&id);
        }
        here
    }

    /// It was lost, and can come back until a time.
    pub(super) fn lost(&mut self, id: SessionId, owner: Owner, now: u64, until: u64) {
        self.forget(now);
        if self.gone(id, owner) {
            self.lost.push_back((until, id, owner));
        }
    }

    fn forget(&mut self, now: u64) {
        while self.lost.front().is_some_and(|(until, ..)| *until < now) {
            self.lost.pop_front();
        }
        if self.lost.capacity() > 1024 && self.lost.len() < self.lost.capacity() / 8 {
            self.lost.shrink_to(self.lost.len() * 2);
        }
    }

    /// All that are connected here.
    pub(super) fn here(&self) -> Vec<(SessionId, Owner)> {
        self.here.iter().map(|(id, owner)| (*id, *owner)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> SessionId {
        SessionId(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn the_one_lost_first_makes_room() {
        let mut kept = Kept::new(3);
        let owner = Owner(1);
        for n in 1..=3 {
            assert_eq!(kept.open(id(n), owner, 0), Place::Free);
        }
        assert_eq!(kept.open(id(4), owner, 0), Place::Nowhere);
        kept.lost(id(2), owner, 1, 11);
        kept.lost(id(1), owner, 2, 12);
        kept.lost(id(3), Owner(9), 2, 12);
        assert_eq!(kept.open(id(5), owner, 11), Place::Of(id(2), owner));
        assert_eq!(kept.open(id(6), owner, 13), Place::Free, "the window of 1 is over");
        assert_eq!(kept.open(id(7), owner, 13), Place::Nowhere);
        assert!(kept.gone(id(3), owner));
        assert!(!kept.gone(id(3), owner));
        kept.claimed(id(8), owner);
        let mut here: Vec<_> = kept.here().into_iter().map(|(id, _)| id).collect();
        here.sort_unstable();
        assert_eq!(here, [id(5), id(6), id(8)]);
    }
}
