//! How a session comes back: it is taken from the store and from the connection it
//! may still be on, its rooms are allowed anew, and the history must have everything
//! that the client lacks. What cannot be proved is not recovered.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use hubbub_protocol::{
    error::ErrorCode,
    id::{RoomName, SessionId, UserId},
};

use super::Grants;
use crate::{
    marks::{Standing, hear_from},
    messages::Replace,
    ports::{PortFuture, Range, StoreError},
    session_store::{HearFrom, KeptIdentity, KeptSession, Owner, SessionStore},
    shared::{RoomPolicy, Shared},
};

/// How long a store that fails is asked again: a Redis that restarts is back by then, and
/// who comes back meanwhile is not told that what it had is lost.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// Asks a store, again while it fails and there is time.
async fn patiently<T>(
    ask: impl Fn() -> PortFuture<Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Err(StoreError::Failed(_) | StoreError::Full) if Instant::now() < until => {
                tokio::time::sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

/// A session taken over from the store. Unless somebody [keeps](Claim::keep) it, it is
/// lost again when this is dropped.
pub(super) struct Claim {
    store: Arc<dyn SessionStore>,
    id: SessionId,
    /// Who has it now.
    pub owner: Owner,
    armed: bool,
}

impl Claim {
    /// It is on a connection now, which sees to its end.
    pub(super) fn keep(mut self) -> Owner {
        self.armed = false;
        self.owner
    }

    /// It cannot be recovered: nobody asks for it again.
    pub(super) fn end(mut self) {
        self.armed = false;
        // In order with what comes later; nobody waits for it.
        drop(self.store.ended(self.id, self.owner));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.armed {
            drop(self.store.lost(self.id, self.owner));
        }
    }
}

/// Takes a session over, if it is kept and is the client's. An older connection that
/// it is on in this process is closed with 4409 and hears nothing any more.
pub(super) async fn claim(
    shared: &Shared,
    id: SessionId,
    is_the_clients: impl Fn(&KeptIdentity) -> bool,
) -> Option<(Claim, KeptSession)> {
    let store = shared.sessions.clone()?;
    let failed = |e| log::warn!(session:% = id, error:% = e; "a session cannot be read");
    let found = patiently(|| store.find(id)).await.map_err(failed).ok()??;
    if !is_the_clients(&found.identity) {
        return None;
    }
    // Before it is asked for: whatever comes of it, it does not stay claimed.
    let claim = Claim { store: store.clone(), id, owner: Owner::fresh(), armed: true };
    let kept = patiently(|| store.claim(id, claim.owner)).await.map_err(failed).ok()??;
    let workers = shared.workers.read().clone();
    let replaced = workers.iter().map(|worker| worker.send(Replace { session: id, owner: None }));
    join_all(replaced).await;
    Some((claim, kept))
}

/// Whether a user may still be in a room; if not, why. A personal room is its user's.
///
/// # Errors
/// `forbidden`; `unavailable` if the webhook cannot be asked; `too_many_rooms` if the
/// node has no place for another one.
pub(super) async fn may_be_in(
    shared: &Shared,
    user: &UserId,
    grants: &Grants,
    room: &RoomName,
) -> Result<(), ErrorCode> {
    let allowed = match &shared.policy {
        _ if room.is_reserved() => *room == RoomName::personal(user),
        RoomPolicy::Open => true,
        RoomPolicy::Claims => grants.may_join(room),
        RoomPolicy::Webhook(webhook) => {
            webhook.may_join(user, room, grants).await.map_err(|e| e.code)?
        }
    };
    if !allowed {
        return Err(ErrorCode::Forbidden);
    }
    if !room.is_reserved() && shared.has_no_place_for(room) {
        return Err(ErrorCode::TooManyRooms);
    }
    Ok(())
}

/// From where a client that stands somewhere goes on; none if the history does not
/// have everything since.
pub(super) async fn covered(
    shared: &Shared,
    room: &RoomName,
    standing: Standing,
) -> Option<HearFrom> {
    let failed = |e: StoreError| {
        log::log!(e.level(), room:% = room, error:% = e; "reading history failed, not recovered");
    };
    let since = match standing {
        Standing::At(position) => Some(position),
        Standing::Start => None,
    };
    let history = &shared.history;
    if since.is_none() && patiently(|| history.peek(room)).await.map_err(failed).ok()?.is_none() {
        return Some(HearFrom::Start);
    }
    let after = since.map_or(0, |position| position.offset);
    let page = patiently(|| history.read(room, Range::After(after), 1));
    let page = page.await.map_err(failed).ok()?;
    hear_from(standing, &page)
}
