//! What the tracker tells the other nodes through the sync, and takes over from
//! them.

use actix::{Handler, MessageResult};
use hubbub_protocol::id::UserId;

use super::PresenceTracker;
use crate::{
    cluster::{
        Share,
        messages::{ApplyShares, GetUsersOf, TakeShares, TellAgain},
    },
    contain::contain,
};

impl PresenceTracker {
    /// Wakes the sync if the share of this node changed; on a single node the backend is
    /// told.
    pub(super) fn shares_changed(&mut self) {
        self.tell_rooms();
        if let Some(cluster) = &self.shared.cluster
            && self.table.has_changes()
        {
            cluster.changed.notify_one();
        }
    }
}

impl Handler<TakeShares> for PresenceTracker {
    type Result = MessageResult<TakeShares>;

    fn handle(&mut self, take: TakeShares, _: &mut Self::Context) -> Self::Result {
        let changes = self.table.take_changes(take.0);
        let address = |id| self.sessions.get(&id).map(|session| session.connection.peer);
        let share = |(user, held): (UserId, Option<_>)| {
            let share = held.map(|held| Share::new(held, address)).map(|share| {
                let opened = self.openings(share.sessions.iter().map(|(id, _)| *id));
                Share { opened, ..share }
            });
            (user, share)
        };
        MessageResult(changes.into_iter().map(share).collect())
    }
}

impl Handler<TellAgain> for PresenceTracker {
    type Result = ();

    fn handle(&mut self, again: TellAgain, _: &mut Self::Context) {
        if again.all {
            self.table.touch_all(&again.users);
        } else {
            self.table.touch_some(&again.users);
        }
    }
}

impl Handler<ApplyShares> for PresenceTracker {
    type Result = ();

    fn handle(&mut self, apply: ApplyShares, _: &mut Self::Context) {
        let shared = self.shared.clone();
        let now = shared.clock.now();
        for (node, user, held) in apply.shares {
            let applied = contain(&shared, "presence_tracker", || {
                let effects = self.table.set_remote(node, &user, held, now);
                self.tell_from(effects, apply.nodes.get(&node), None);
                self.limit_sessions(&user);
            });
            if applied.is_none() {
                self.rebuild();
            }
        }
    }
}

impl Handler<GetUsersOf> for PresenceTracker {
    type Result = MessageResult<GetUsersOf>;

    fn handle(&mut self, node: GetUsersOf, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.table.users_of(node.0))
    }
}
