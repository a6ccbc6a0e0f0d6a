//! Members that come back with where they stand: room after room, so that what they
//! missed needs no more room in their queue than one page.

use std::{collections::VecDeque, sync::Arc};

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use hubbub_protocol::{
    close::CloseCode,
    id::{RoomName, SessionId, UserId},
    position::Position,
};
use tokio::sync::oneshot;

use super::{RoomServer, catchup::Seat, steps::begun, table::Joining};
use crate::{
    messages::PresenceUpdate,
    ports::{Range, StoreError},
    session::SessionHandle,
    session_store::{Base, HearFrom},
    shared::Shared,
};

/// The rooms of a member that wait for their turn.
pub(super) type Waiting = VecDeque<(Seat, HearFrom)>;

impl RoomServer {
    /// Makes an attached session a member of rooms again. It hears each from where it
    /// stands on.
    pub(super) fn restore(
        &mut self,
        session: &Arc<SessionHandle>,
        rooms: Vec<(RoomName, HearFrom)>,
        ctx: &mut Context<Self>,
    ) {
        let mut waiting = Waiting::new();
        for (room, from) in rooms {
            if self.enter(&room, session) == Joining::Already {
                continue;
            }
            if !room.is_reserved() {
                session.entered(room.clone());
                // Nobody waits for the members.
                let (answer, _) = oneshot::channel();
                let (session, room) = (session.clone(), room.clone());
                self.shared.tell_tracker(PresenceUpdate::MemberJoined { session, room, answer });
            }
            let ticket = self.table.ticket(&room, session.id).unwrap_or_default();
            waiting.push_back((Seat { session: session.clone(), room, ticket }, from));
        }
        self.restoring.entry(session.id).or_default().append(&mut waiting);
        self.restore_next(session.id, ctx);
    }

    /// A restored member hears one room: on with the next.
    pub(super) fn restore_next(&mut self, session: SessionId, ctx: &mut Context<Self>) {
        let Some(waiting) = self.restoring.get_mut(&session) else { return };
        let Some((seat, from)) = waiting.pop_front() else {
            self.restoring.remove(&session);
            return;
        };
        // What is read must not end before what is heard begins.
        let opening = self.openings.get(&seat.room).cloned();
        let heard = async move {
            match opening {
                Some(opening) => opening.heard().await,
                None => true,
            }
        };
        ctx.spawn(heard.into_actor(self).map(move |heard, act, ctx| {
            act.contained(ctx, |act, ctx| {
                if !heard {
                    // It comes back for it.
                    return seat.session.close(CloseCode::HubFailure);
                }
                act.openings.remove(&seat.room);
                match from {
                    HearFrom::At(position) => act.read_on(seat, position, 0, ctx),
                    HearFrom::Start => act.begin_live(seat, ctx),
                }
            });
        }));
    }

    /// Lets a member hear a room whose history had not begun when somebody looked. It
    /// may have begun since, before this worker heard the room; and what the worker
    /// knows of it may be of a history that the store has forgotten.
    pub(super) fn begin_live(&mut self, seat: Seat, ctx: &mut Context<Self>) {
        let stood = self.table.room(&seat.room).and_then(|room| room.position);
        let head = self.shared.history.peek(&seat.room);
        ctx.spawn(head.into_actor(self).map(move |head, act, ctx| {
            act.contained(ctx, |act, ctx| {
                let stands = act.table.room(&seat.room).and_then(|room| room.position);
                let head = match head {
                    Ok(head) => head,
                    Err(e) => {
                        log::log!(e.level(), room:% = seat.room, error:% = e; "reading history failed, beginning");
                        // It comes back for it.
                        return seat.session.close(CloseCode::HubFailure);
                    }
                };
                match begun(head, stood, stands) {
                    Some(from) => act.read_on(seat, from, 0, ctx),
                    None => act.go_live_anywhere(seat, ctx),
                }
            });
        }));
    }

    /// A session that is kept begins to hear its personal room once the store knows
    /// from where on.
    pub(super) fn open_personal(&mut self, seat: Seat, ctx: &mut Context<Self>) {
        let (shared, room) = (self.shared.clone(), seat.room.clone());
        let user = seat.session.user.clone();
        let opening = self.openings.get(&seat.room).cloned();
        let base = async move {
            if let Some(opening) = opening {
                // If it is not heard in time, what is stored comes late.
                let _ = opening.heard().await;
            }
            let failed = |e| {
                log::warn!(room:% = room, error:% = e; "reading direct messages failed, they wait");
                Base::Unknown
            };
            personal_base(&shared, &room, &user).await.unwrap_or_else(failed)
        };
        ctx.spawn(base.into_actor(self).map(|base, act, ctx| {
            act.contained(ctx, |act, ctx| {
                act.openings.remove(&seat.room);
                act.keep_personal(seat, base, ctx);
            });
        }));
    }

    fn keep_personal(&mut self, seat: Seat, base: Base, ctx: &mut Context<Self>) {
        let (Some(keeping), Some(store)) = (&seat.session.keeping, &self.shared.sessions) else {
            return self.go_live_anywhere(seat, ctx);
        };
        let kept = keeping.enter(&seat.room, base);
        let joined = store.join(seat.session.id, keeping.owner, kept);
        ctx.spawn(joined.into_actor(self).map(move |_, act, ctx| {
            // If it could not be kept, the store does not have the room, and the session
            // is not recovered.
            act.contained(ctx, |act, ctx| match base {
                // What came while nobody of the user was there is told now.
                Base::At(position) => act.read_on(seat, position, 0, ctx),
                Base::Start => act.begin_live(seat, ctx),
                Base::Unknown => act.go_live_anywhere(seat, ctx),
            });
        }));
    }
}

/// From where on a new session of a user is told direct messages: after those that the
/// user has got, as far as they are kept.
async fn personal_base(
    shared: &Shared,
    room: &RoomName,
    user: &UserId,
) -> Result<Base, StoreError> {
    let Some(head) = shared.history.peek(room).await? else { return Ok(Base::Start) };
    let told = match &shared.sessions {
        Some(store) => store.told_up_to(user).await?,
        None => None,
    };
    let told = told.filter(|told| told.epoch == head.epoch).map_or(0, |told| told.offset);
    if told >= head.offset {
        return Ok(Base::At(head));
    }
    let page = shared.history.read(room, Range::After(told), 1).await?;
    let offset = told.max(page.recent.saturating_sub(1));
    Ok(Base::At(Position { epoch: page.head.epoch, offset }))
}
