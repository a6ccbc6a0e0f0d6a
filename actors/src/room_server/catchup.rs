//! How a member gets from what it has to hearing the room, and how a room that
//! misses records gets them: page by page, each page waiting until the client
//! has taken most of the one before.

use std::{future::poll_fn, sync::Arc};

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use hubbub_protocol::{
    error::{ErrorCode, HubError},
    event::{Event, Joined, Reply, ReplyId},
    id::RoomName,
    limits::{DEFAULT_PAGE, MAX_MEMBERS_PAGE, MAX_PAGE},
    position::{Epoch, Position},
    record::Stored,
};
use tokio::sync::oneshot;

use super::{
    RoomServer,
    fanout::{CATCH_UP, Tally},
    table::{GoLive, Joining},
};
use crate::{
    messages::{MembersPage, PresenceUpdate},
    ports::{Page, Range, StoreError},
    session::SessionHandle,
    shared::Shared,
};

/// Where a new member begins.
enum Start {
    /// Wherever the room stands when it becomes live.
    Here,
    /// At a position, after these records.
    At { position: Position, recovered: bool, messages: Vec<Arc<Stored>>, more: bool },
}

/// The position told when the store could not say one: it matches no history, so
/// a client that comes back with it is told `recovered: false`.
const UNKNOWN: Position = Position { epoch: Epoch(0), offset: 0 };

/// Times a member may find the room in another epoch than the history before it
/// is let in all the same.
const MAX_ROUNDS: usize = 1000;

impl RoomServer {
    pub(super) fn join(
        &mut self,
        session: Arc<SessionHandle>,
        room: RoomName,
        since: Option<Position>,
        reply: ReplyId,
        ctx: &mut Context<Self>,
    ) {
        let settings = &self.shared.settings;
        let full = !self.shared.relay.is_occupied(&room)
            && self.shared.relay.room_count() >= settings.max_rooms;
        if full {
            session.left(&room);
            let e = HubError::new(ErrorCode::TooManyRooms, "the hub holds as many rooms as it may");
            return session.reply(&reply, &Err(e));
        }
        if !self.sessions.contains_key(&session.id) {
            return;
        }
        let joining = self.enter(&room, &session);
        let (answer, members) = oneshot::channel();
        if joining == Joining::Already {
            // Asked again: answered with where things stand, from then on as before.
            let room_name = room.clone();
            let shared = self.shared.clone();
            let page = async move { list_members(&shared, room_name).await };
            let position = self.table.room(&room).and_then(|r| r.position);
            ctx.spawn(page.into_actor(self).map(move |page, act, _| {
                let at = position.unwrap_or(UNKNOWN);
                let start =
                    Start::At { position: at, recovered: false, messages: vec![], more: false };
                act.tell_joined(&session, &room, &start, page, &reply);
            }));
            return;
        }
        self.shared.tell_tracker(PresenceUpdate::MemberJoined {
            session: session.clone(),
            room: room.clone(),
            answer,
        });
        // A room somebody hears already tells by itself where it stands.
        let known = self.table.room(&room).and_then(|r| r.position).is_some();
        let shared = self.shared.clone();
        let asked = room.clone();
        let prepare = async move {
            let start = match since {
                None if known => Start::Here,
                since => find_start(&shared, &asked, since).await,
            };
            (start, members.await.unwrap_or_default())
        };
        ctx.spawn(prepare.into_actor(self).map(move |(start, page), act, ctx| {
            act.joined(session, room, start, page, reply, ctx);
        }));
    }

    fn joined(
        &mut self,
        session: Arc<SessionHandle>,
        room: RoomName,
        start: Start,
        page: MembersPage,
        reply: ReplyId,
        ctx: &mut Context<Self>,
    ) {
        if !self.table.is_member(&room, session.id) {
            let e = HubError::new(ErrorCode::Gone, "the session left before it was in");
            return session.reply(&reply, &Err(e));
        }
        let start = match start {
            Start::Here => {
                let position = self.table.room(&room).and_then(|r| r.position).unwrap_or(UNKNOWN);
                Start::At { position, recovered: false, messages: vec![], more: false }
            }
            at => at,
        };
        self.tell_joined(&session, &room, &start, page, &reply);
        let Start::At { position, more, .. } = start else { return };
        if more {
            self.read_on(session, room, position, 0, ctx);
        } else {
            self.go_live(session, room, position, 0, ctx);
        }
    }

    fn tell_joined(
        &self,
        session: &Arc<SessionHandle>,
        room: &RoomName,
        start: &Start,
        page: MembersPage,
        reply: &ReplyId,
    ) {
        let Start::At { position, recovered, messages, .. } = start else { return };
        session.tell(&Event::Joined(Joined {
            room: room.clone(),
            position: *position,
            members: page.members.into(),
            member_count: page.count,
            recovered: *recovered,
            messages: messages.clone(),
        }));
        let answer =
            Reply::Joined { room: room.clone(), position: *position, recovered: *recovered };
        session.reply(reply, &Ok(answer));
    }

    /// Lets a member hear the room that has everything up to a position, or reads
    /// on if the room is further.
    fn go_live(
        &mut self,
        session: Arc<SessionHandle>,
        room: RoomName,
        have: Position,
        round: usize,
        ctx: &mut Context<Self>,
    ) {
        let caught_up = (have != UNKNOWN && round < MAX_ROUNDS).then_some(have);
        match self.table.go_live(&room, session.id, caught_up) {
            GoLive::Live(bridge) => {
                self.send(&session, bridge);
                self.release(session.id, &room, ctx);
            }
            GoLive::Behind => self.read_on(session, room, have, round + 1, ctx),
            GoLive::Gone => {}
        }
    }

    fn read_on(
        &mut self,
        session: Arc<SessionHandle>,
        room: RoomName,
        have: Position,
        round: usize,
        ctx: &mut Context<Self>,
    ) {
        let outbound = session.connection.outbound.clone();
        let history = self.shared.history.clone();
        let asked = room.clone();
        let page = async move {
            poll_fn(|cx| outbound.poll_below(1, cx.waker())).await;
            history.read(&asked, Range::After(have.offset), MAX_PAGE).await
        };
        ctx.spawn(page.into_actor(self).map(move |page, act, ctx| {
            let Some(page) = act.page(page, "catching up", &room) else {
                // Nothing may be skipped in silence: the client comes back for it.
                return session.close(hubbub_protocol::close::CloseCode::HubFailure);
            };
            let reaches = page.head.epoch == have.epoch && have.offset + 1 >= page.oldest;
            if !reaches {
                // The rest was trimmed, or the history began anew, meanwhile.
                return session.close(hubbub_protocol::close::CloseCode::HubFailure);
            }
            let now = page.records.last().map_or(have, |r| r.position);
            act.send(&session, page.records);
            if page.has_more {
                act.read_on(session, room, now, round, ctx);
            } else {
                act.go_live(session, room, now, round, ctx);
            }
        }));
    }

    fn send(&self, session: &Arc<SessionHandle>, records: Vec<Arc<Stored>>) {
        for record in records {
            let event = Event::Stored(record);
            let mut renderer = self.shared.renderer(&event);
            debug_assert_eq!(renderer.class, CATCH_UP);
            let mut tally = Tally::default();
            tally.push(&mut renderer, session, None);
            tally.count(&self.shared);
        }
    }

    /// Reads what a room misses above an offset, and hands it out.
    pub(super) fn repair(&mut self, room: RoomName, after: u64, ctx: &mut Context<Self>) {
        let history = self.shared.history.clone();
        let asked = room.clone();
        let page = async move { history.read(&asked, Range::After(after), MAX_PAGE).await };
        ctx.spawn(page.into_actor(self).map(move |page, act, ctx| {
            let Some(page) = act.page(page, "filling a gap", &room) else {
                let again = std::time::Duration::from_millis(200);
                ctx.run_later(again, move |act, ctx| act.repair(room, after, ctx));
                return;
            };
            let (fresh, more) = act.table.repaired(&room, page.head, page.records, page.has_more);
            for record in fresh {
                act.hand_out_stored(record);
            }
            if more {
                let at = act.table.room(&room).and_then(|r| r.position).map_or(0, |p| p.offset);
                act.repair(room, at, ctx);
            }
        }));
    }

    fn page(
        &self,
        page: Result<Page, StoreError>,
        doing: &'static str,
        room: &RoomName,
    ) -> Option<Page> {
        page.map_err(|e| log::warn!(room:% = room, error:% = e; "reading history failed, {doing}"))
            .ok()
    }
}

async fn find_start(shared: &Shared, room: &RoomName, since: Option<Position>) -> Start {
    let unknown =
        || Start::At { position: UNKNOWN, recovered: false, messages: vec![], more: false };
    let failed = |e: StoreError| {
        log::warn!(room:% = room, error:% = e; "reading history failed, joining without it");
        unknown()
    };
    let Some(since) = since else {
        return match shared.history.head(room).await {
            Ok(position) => Start::At { position, recovered: false, messages: vec![], more: false },
            Err(e) => failed(e),
        };
    };
    match shared.history.read(room, Range::After(since.offset), MAX_PAGE).await {
        Err(e) => return failed(e),
        Ok(page) => {
            let covered = page.head.epoch == since.epoch
                && since.offset <= page.head.offset
                && since.offset + 1 >= page.oldest;
            if covered {
                return Start::At {
                    position: page.records.last().map_or(since, |r| r.position),
                    recovered: true,
                    messages: page.records,
                    more: page.has_more,
                };
            }
        }
    }
    match shared.history.read(room, Range::Newest, DEFAULT_PAGE).await {
        Err(e) => failed(e),
        Ok(page) => {
            Start::At { position: page.head, recovered: false, messages: page.records, more: false }
        }
    }
}

async fn list_members(shared: &Shared, room: RoomName) -> MembersPage {
    let Some(link) = shared.tracker.get() else { return MembersPage::default() };
    let ask = crate::messages::GetMembers { room, after: None, limit: MAX_MEMBERS_PAGE };
    link.members.send(ask).await.unwrap_or_default()
}
