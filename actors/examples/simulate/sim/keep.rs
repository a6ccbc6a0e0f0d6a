//! The session store and the way to it: the hub's own store in memory, which all nodes share.

use futures_util::FutureExt;
use hubbub_actors::session_store::{KeptIdentity, Owner, SessionStore};
use hubbub_protocol::id::SessionId;

use super::{
    check::Violation,
    event::{After, Answered, Call, Down, Event, Sabotage},
    recovery::PATIENCE_MS,
    store::STORE_TIMEOUT_MS,
    world::World,
};

/// How long a session is kept without a connection.
pub const RECOVERY_MS: u64 = 8000;

impl World {
    /// Asks the session store; an answer comes in any case. Calls of a node arrive in their order.
    pub fn call(
        &mut self,
        node: usize,
        session: SessionId,
        owner: Owner,
        call: Call,
        after: After,
    ) {
        let life = self.nodes[node].life;
        let Some(ms) = self.store_trip(node) else {
            if matches!(call, Call::Lost | Call::Ended) {
                // Told again when the store can be reached.
                let over = matches!(call, Call::Ended);
                self.nodes[node].ends.push((session, owner, over));
            }
            let answered = Answered::Failed;
            return self.after(STORE_TIMEOUT_MS, Event::Answered { node, life, after, answered });
        };
        let arrives = self.nodes[node].calls_at.max(self.now + ms);
        self.nodes[node].calls_at = arrives;
        self.at(arrives, Event::Call { node, life, session, owner, call, after });
    }

    /// The session store has answered.
    pub fn answered(
        &mut self,
        node: usize,
        after: After,
        answered: Answered,
    ) -> Result<(), Violation> {
        match (after, answered) {
            (After::Nothing, _) => Ok(()),
            (After::Joined { seat, start, fresh }, answered) => {
                self.kept(node, seat, start, fresh, &answered)
            }
            (After::Opened(session), Answered::Owned(true)) => {
                if let Some(state) = self.nodes[node].sessions.get_mut(&session) {
                    state.stored = true;
                }
                Ok(())
            }
            (After::Opened(_), _) => Ok(()),
            (After::Left(session, conn), answered) => {
                let state = self.nodes[node].sessions.get_mut(&session);
                let Some(state) = state.filter(|state| state.conn == conn) else { return Ok(()) };
                if matches!(answered, Answered::Failed) {
                    state.keeping.give_up();
                    state.stored &= state.keeping.marks().is_some();
                }
                let offset = self.tail(node, session);
                self.tell(node, session, Down::Left(offset));
                Ok(())
            }
            (After::Owner(session, conn), Answered::Owned(false)) => {
                let state = self.nodes[node].sessions.get(&session);
                match state.is_some_and(|state| state.conn == conn) {
                    true => self.close(node, session, true),
                    false => Ok(()),
                }
            }
            (After::Owner(..), _) => Ok(()),
            (After::Found(conn) | After::Claimed(conn), Answered::Failed) => {
                if self.patiently(node, conn) { Ok(()) } else { self.not_back(node, conn) }
            }
            (After::Found(conn), Answered::Session(Some(kept))) => {
                let this = &mut self.nodes[node];
                let Some(client) = this.conns.get(&conn).map(|c| c.client) else { return Ok(()) };
                if kept.identity.user != self.clients[client].user {
                    return self.not_back(node, conn);
                }
                if let Some(claiming) = this.claims.get_mut(&conn) {
                    claiming.armed = true;
                    claiming.until = self.now + PATIENCE_MS;
                }
                self.ask_again(node, conn);
                Ok(())
            }
            (After::Claimed(conn), Answered::Session(Some(kept))) => self.claimed(node, conn, kept),
            (After::Found(conn) | After::Claimed(conn), _) => self.not_back(node, conn),
        }
    }

    /// Ends that the store did not take are told again.
    pub fn tell_ends(&mut self, node: usize) {
        if self.nodes[node].cut_until > self.now {
            return;
        }
        for (session, owner, over) in std::mem::take(&mut self.nodes[node].ends) {
            let call = if over { Call::Ended } else { Call::Lost };
            self.call(node, session, owner, call, After::Nothing);
        }
    }

    /// A call has reached the session store.
    pub fn called(
        &mut self,
        node: usize,
        life: u32,
        session: SessionId,
        owner: Owner,
        call: Call,
        after: After,
    ) {
        let before = self.keepers.get(&session).copied();
        let unfenced = before.filter(|_| self.sabotage == Some(Sabotage::NoFence));
        let by = unfenced.map_or(owner, |(owner, _)| owner);
        let store = &self.sessions;
        let owned = |future: hubbub_actors::session_store::Owned| match future.now_or_never() {
            Some(Ok(owned)) => Answered::Owned(owned),
            _ => Answered::Failed,
        };
        let read = |future: hubbub_actors::ports::PortFuture<_>| match future.now_or_never() {
            Some(Ok(found)) => Answered::Session(found),
            _ => Answered::Failed,
        };
        let takes = matches!(call, Call::Open(_) | Call::Claim);
        let answered = match call {
            Call::Open(identity) => owned(store.open(identity, owner)),
            Call::Join(room) => owned(store.join(session, by, room)),
            Call::Leave(room) => owned(store.leave(session, by, &room)),
            Call::Owns => owned(store.owns(session, by)),
            Call::Lost => owned(store.lost(session, by)),
            Call::Ended => owned(store.ended(session, by)),
            Call::Find => read(store.find(session)),
            Call::Claim => read(store.claim(session, owner)),
        };
        let took = matches!(answered, Answered::Owned(true) | Answered::Session(Some(_)));
        if takes && took {
            self.keepers.insert(session, (owner, node));
            if let Some((owner, node)) = before.filter(|(_, there)| *there != node)
                && !self.random.per_mille(self.faults.drop)
            {
                let (life, ms) = (self.nodes[node].life, self.latency());
                self.after(ms, Event::Replaced { node, life, session, owner });
            }
        }
        if self.nodes[node].life != life {
            // The node died meanwhile: the store sees that it is not alive.
            drop(self.sessions.lost(session, owner));
            return;
        }
        match self.store_trip(node) {
            Some(ms) => self.after(ms, Event::Answered { node, life, after, answered }),
            None => {
                let answered = Answered::Failed;
                self.after(STORE_TIMEOUT_MS, Event::Answered { node, life, after, answered });
            }
        }
    }

    /// A node has died: the store sees that it is not alive.
    pub fn died(&mut self, kept: impl IntoIterator<Item = (SessionId, Owner)>) {
        for (session, owner) in kept {
            drop(self.sessions.lost(session, owner));
        }
    }

    /// What the store has of every session that is connected is what it was told.
    pub fn kept_settled(&self) -> Result<(), Violation> {
        for node in &self.nodes {
            for (id, session) in &node.sessions {
                let found = self.sessions.find(*id).now_or_never().and_then(Result::ok).flatten();
                let missing = match &found {
                    None if session.stored => Some("it is not kept".to_owned()),
                    None => None,
                    Some(kept) => session
                        .safe
                        .iter()
                        .find(|room| {
                            let name = super::world::room_name(**room);
                            !kept.rooms.iter().any(|kept| kept.room == name)
                        })
                        .map(|room| format!("its room {room} is not kept")),
                };
                if let Some(what) = missing {
                    return Err(format!("session {}: {what}", id.0.as_u128()));
                }
            }
        }
        Ok(())
    }

    /// Nothing is kept of anybody.
    pub fn kept_empty(&self) -> Result<(), Violation> {
        for id in self.keepers.keys() {
            if let Some(Ok(Some(_))) = self.sessions.find(*id).now_or_never() {
                return Err(format!("session {} is still kept", id.0.as_u128()));
            }
        }
        Ok(())
    }
}

/// A session as the store knows it.
pub fn identity(id: SessionId, user: &hubbub_protocol::id::UserId) -> KeptIdentity {
    let (wire, vocabulary) = ("json".into(), "hubbub".into());
    KeptIdentity { id, user: user.clone(), secret: 0, wire, vocabulary }
}
