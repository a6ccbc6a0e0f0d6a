//! What the tracker has the backend told: sessions of this node, and on a single node
//! who is in which room. In a fleet the latter is told from the log of presence
//! ([`crate::hooks::fleet`]).

use std::sync::Arc;

use actix::Handler;
use hubbub_protocol::id::SessionId;

use super::{Held, PresenceTracker};
use crate::{
    cluster::messages::OpenAgain,
    contain::contain,
    hooks::{
        HookEvent, Hooks,
        view::{Seen, View},
    },
    session::SessionHandle,
    shared::Shared,
};

/// What the tracker keeps for it.
pub(super) struct Told {
    hooks: Arc<Hooks>,
    /// Sessions that opened before this (milliseconds since 1970) opened again then.
    again: u64,
    /// On a single node: who is in which room, as it was told.
    view: Option<View>,
}

impl Told {
    /// None if the backend is told nothing.
    pub(super) fn new(shared: &Shared) -> Option<Self> {
        let hooks = shared.hooks.clone()?;
        let alone = shared.cluster.is_none() && hooks.kinds.rooms();
        Some(Self { hooks, again: 0, view: alone.then(View::default) })
    }

    /// Whether the table has to note who changes.
    pub(super) fn follows_rooms(&self) -> bool {
        self.view.is_some()
    }

    fn opening(&self, session: &SessionHandle) -> u64 {
        session.connection.opened_at.max(self.again)
    }

    pub(super) fn opened(&self, session: &SessionHandle) {
        self.hooks.opened(session, self.opening(session), false);
    }

    pub(super) fn closed(&self, session: &SessionHandle, now: u64) {
        self.hooks.closed(session, self.opening(session), now);
    }
}

impl PresenceTracker {
    /// Tells what changed in rooms, on a single node.
    pub(super) fn tell_rooms(&mut self) {
        let Some(Told { hooks, view: Some(view), .. }) = &mut self.told else { return };
        if !self.table.has_changes() {
            return;
        }
        let now = self.shared.clock.wall();
        for (user, held) in self.table.take_changes(usize::MAX) {
            let seen = held.map(|Held { username, rooms, .. }| {
                let rooms = rooms.into_iter().filter(|room| !room.is_reserved()).collect();
                Seen { username, rooms, ..Seen::default() }
            });
            for body in view.set(0, &hooks.instance, &user, seen).rooms {
                hooks.sink.emit(HookEvent::of_room(body, now, None));
            }
        }
    }

    /// When sessions opened here, for the other nodes; nothing if none of them asks.
    pub(super) fn openings(&self, sessions: impl Iterator<Item = SessionId>) -> Vec<u64> {
        let Some(told) = self.told.as_ref().filter(|told| told.hooks.kinds.sessions()) else {
            return Vec::new();
        };
        let opening = |id| self.sessions.get(&id).map_or(0, |session| told.opening(session));
        sessions.map(opening).collect()
    }
}

impl Handler<OpenAgain> for PresenceTracker {
    type Result = ();

    fn handle(&mut self, _: OpenAgain, _: &mut Self::Context) {
        let shared = self.shared.clone();
        let Some(told) = &mut self.told else { return };
        let done = contain(&shared, "presence_tracker", || {
            // Openings make ids: they go by the clock that does not jump.
            let (opening, now) = (shared.clock.now(), shared.clock.wall());
            for session in self.sessions.values() {
                // Told by others too, under the same id, unless it was told to be open again
                // since.
                told.hooks.lost(session, told.opening(session), now);
                told.hooks.opened(session, opening, true);
            }
            told.again = opening;
            // The others have to know the new openings.
            self.table.touch_all(&[]);
        });
        if done.is_none() {
            self.rebuild();
        }
        self.shares_changed();
    }
}
