//! A session store in memory: sessions survive their connections, and end with the
//! process.

use std::collections::{BTreeSet, HashMap};

use hashlink::LinkedHashMap;
use hubbub_protocol::{
    id::{RoomName, SessionId, UserId},
    position::Position,
};
use parking_lot::Mutex;

use crate::{
    clock::Clock,
    ports::{PortFuture, StoreError},
    session_store::{
        KeptIdentity, KeptRoom, KeptSession, Owned, Owner, SessionStore, SessionStoreConfig,
    },
};

/// Sessions in memory.
pub struct MemorySessions {
    state: Mutex<State>,
    config: SessionStoreConfig,
    clock: Clock,
}

#[derive(Default)]
struct State {
    sessions: HashMap<SessionId, Entry>,
    /// Those that are lost, the first one in front.
    lost: BTreeSet<(u64, SessionId)>,
    /// Up to where users have got their direct messages, the oldest news in front.
    told: LinkedHashMap<UserId, Position>,
}

struct Entry {
    owner: Owner,
    lost_at: Option<u64>,
    kept: KeptSession,
}

impl State {
    fn remove(&mut self, id: SessionId) {
        if let Some(at) = self.sessions.remove(&id).and_then(|entry| entry.lost_at) {
            self.lost.remove(&(at, id));
        }
    }

    /// Forgets those that were lost at a time or before.
    fn expire(&mut self, until: u64) {
        while let Some(&(at, id)) = self.lost.first()
            && at <= until
        {
            self.remove(id);
        }
    }
}

impl MemorySessions {
    /// An empty store.
    pub fn new(config: SessionStoreConfig, clock: Clock) -> Self {
        Self { state: Mutex::default(), config, clock }
    }

    fn with<T>(&self, f: impl FnOnce(&mut State, u64) -> T) -> T {
        let now = self.clock.now();
        let mut state = self.state.lock();
        state.expire(now.saturating_sub(self.config.recovery_ms.saturating_add(1)));
        f(&mut state, now)
    }

    fn owned(&self, id: SessionId, owner: Owner, f: impl FnOnce(&mut State, u64)) -> Owned {
        let owned = self.with(|state, now| {
            let owned = state.sessions.get(&id).is_some_and(|entry| entry.owner == owner);
            if owned {
                f(state, now);
            }
            owned
        });
        Box::pin(std::future::ready(Ok(owned)))
    }
}

impl SessionStore for MemorySessions {
    fn open(&self, identity: KeptIdentity, owner: Owner) -> Owned {
        let kept = self.with(|state, _| {
            if state.sessions.len() >= self.config.max_sessions {
                let Some(&(_, first)) = state.lost.first() else { return false };
                state.remove(first);
            }
            let id = identity.id;
            let kept = KeptSession { identity, rooms: Vec::new() };
            state.sessions.insert(id, Entry { owner, lost_at: None, kept });
            true
        });
        Box::pin(std::future::ready(Ok(kept)))
    }

    fn join(&self, session: SessionId, owner: Owner, room: KeptRoom) -> Owned {
        self.owned(session, owner, |state, _| {
            if let Some(entry) = state.sessions.get_mut(&session) {
                entry.kept.rooms.retain(|known| known.room != room.room);
                // Most sessions are in few rooms, and a vector would make room for four.
                entry.kept.rooms.reserve_exact(1);
                entry.kept.rooms.push(room);
            }
        })
    }

    fn leave(&self, session: SessionId, owner: Owner, room: &RoomName) -> Owned {
        self.owned(session, owner, |state, _| {
            if let Some(entry) = state.sessions.get_mut(&session) {
                entry.kept.rooms.retain(|known| known.room != *room);
            }
        })
    }

    fn lost(&self, session: SessionId, owner: Owner) -> Owned {
        self.owned(session, owner, |state, now| {
            if let Some(entry) = state.sessions.get_mut(&session)
                && entry.lost_at.is_none()
            {
                entry.lost_at = Some(now);
                state.lost.insert((now, session));
            }
        })
    }

    fn ended(&self, session: SessionId, owner: Owner) -> Owned {
        self.owned(session, owner, |state, _| state.remove(session))
    }

    fn find(&self, session: SessionId) -> PortFuture<Result<Option<KeptSession>, StoreError>> {
        let found =
            self.with(|state, _| state.sessions.get(&session).map(|entry| entry.kept.clone()));
        Box::pin(std::future::ready(Ok(found)))
    }

    fn told(&self, user: &UserId, position: Position) -> PortFuture<Result<(), StoreError>> {
        self.with(|state, _| {
            let older =
                |told: &Position| told.epoch != position.epoch || told.offset < position.offset;
            if state.told.get(user).is_none_or(older) {
                state.told.remove(user);
                if state.told.len() >= self.config.max_sessions {
                    state.told.pop_front();
                }
                state.told.insert(user.clone(), position);
            }
        });
        Box::pin(std::future::ready(Ok(())))
    }

    fn told_up_to(&self, user: &UserId) -> PortFuture<Result<Option<Position>, StoreError>> {
        let told = self.with(|state, _| state.told.get(user).copied());
        Box::pin(std::future::ready(Ok(told)))
    }

    fn claim(
        &self,
        session: SessionId,
        owner: Owner,
    ) -> PortFuture<Result<Option<KeptSession>, StoreError>> {
        let claimed = self.with(|state, _| {
            let entry = state.sessions.get_mut(&session)?;
            entry.owner = owner;
            if let Some(at) = entry.lost_at.take() {
                state.lost.remove(&(at, session));
            }
            Some(entry.kept.clone())
        });
        Box::pin(std::future::ready(Ok(claimed)))
    }
}
