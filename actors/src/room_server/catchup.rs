//! How a member gets from what it has to hearing the room, and how a room that
//! misses records gets them: page by page, each page waiting until the client
//! has taken most of the one before.

use std::{future::poll_fn, sync::Arc, time::Instant};

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use hubbub_protocol::{
    close::CloseCode,
    error::{ErrorCode, HubError},
    event::{Event, Joined, Member, Reply, ReplyId},
    id::RoomName,
    limits::{DEFAULT_PAGE, MAX_MEMBERS_PAGE, MAX_PAGE},
    position::Position,
    record::Stored,
};
use tokio::sync::oneshot;

use super::{
    RoomServer,
    fanout::{CATCH_UP, Tally},
    steps::{
        Next, Start, Taken, UNKNOWN, base, next, repaired, stands, start_after, start_anew, taken,
    },
    table::Joining,
};
use crate::{
    marks::is_from,
    messages::{MembersPage, PresenceUpdate},
    ports::{Page, Range, StoreError},
    session::SessionHandle,
    session_store::Base,
    shared::Shared,
};

/// Messages read at a time for a member that has more to catch up on: so few that others do not
/// notice how long it takes to hand them out.
const CATCH_UP_PAGE: usize = 64;

/// One membership on its way to hearing the room.
pub(super) struct Seat {
    pub session: Arc<SessionHandle>,
    pub room: RoomName,
    /// Which joining it belongs to: one that was left meanwhile goes no further.
    pub ticket: u32,
}

impl RoomServer {
    pub(super) fn join(
        &mut self,
        session: Arc<SessionHandle>,
        room: RoomName,
        since: Option<Position>,
        reply: ReplyId,
        ctx: &mut Context<Self>,
    ) {
        if self.shared.has_no_place_for(&room) {
            session.left(&room);
            let e = HubError::new(ErrorCode::TooManyRooms, "the hub holds as many rooms as it may");
            return session.reply(&reply, &Err(e));
        }
        if !self.sessions.contains(&session.id) {
            return;
        }
        let joining = self.enter(&room, &session);
        // A leave that was still on its way when the session noted the room has
        // taken it off again.
        session.entered(room.clone());
        let ticket = self.table.ticket(&room, session.id).unwrap_or_default();
        let seat = Seat { session, room, ticket };
        if joining == Joining::Already {
            return self.join_again(seat, reply, ctx);
        }
        self.newcomers.begin(seat.session.id, &seat.room);
        let (answer, members) = oneshot::channel();
        self.shared.tell_tracker(PresenceUpdate::MemberJoined {
            session: seat.session.clone(),
            room: seat.room.clone(),
            answer,
        });
        let outbound = seat.session.connection.outbound.clone();
        let opening = self.openings.get(&seat.room).cloned();
        let heard = async move {
            let heard = match opening {
                Some(opening) => opening.heard().await,
                None => true,
            };
            if since.is_some() {
                // No page is read for a client that has not taken those before.
                poll_fn(|cx| outbound.poll_below(1, cx.waker())).await;
            }
            heard
        };
        ctx.spawn(heard.into_actor(self).map(move |heard, act, ctx| {
            act.contained(ctx, |act, ctx| act.prepare(seat, since, heard, members, reply, ctx));
        }));
    }

    /// The room is heard, or will not be: finds where the member begins. A membership
    /// that was left meanwhile costs nothing more.
    fn prepare(
        &mut self,
        seat: Seat,
        since: Option<Position>,
        heard: bool,
        members: oneshot::Receiver<MembersPage>,
        reply: ReplyId,
        ctx: &mut Context<Self>,
    ) {
        if !self.holds(&seat) {
            return seat.session.reply(&reply, &Err(gone()));
        }
        // A room somebody hears already tells by itself where it stands.
        let known = self.table.room(&seat.room).and_then(|r| r.position).is_some();
        let (shared, asked) = (self.shared.clone(), seat.room.clone());
        let outbound = seat.session.connection.outbound.clone();
        let pages = self.pages.clone();
        let prepared = async move {
            if !heard {
                return (Start::Refused, MembersPage::default());
            }
            let start = match since {
                None if known => Start::Here,
                None => find_start(&shared, &asked, None).await,
                since => {
                    let _place = pages.place().await;
                    find_start(&shared, &asked, since).await
                }
            };
            let page = members.await.unwrap_or_default();
            // Last: what is told next must fit behind what waits already.
            poll_fn(|cx| outbound.poll_below(1, cx.waker())).await;
            (start, page)
        };
        let fresh = since.is_none();
        ctx.spawn(prepared.into_actor(self).map(move |(start, page), act, ctx| {
            act.contained(ctx, |act, ctx| act.found(seat, start, fresh, page, reply, ctx));
        }));
    }

    /// A live member asked again: it is told where things stand and goes on as
    /// before. (What a member asks that is not live yet is held until it is.)
    fn join_again(&mut self, seat: Seat, reply: ReplyId, ctx: &mut Context<Self>) {
        let (shared, room) = (self.shared.clone(), seat.room.clone());
        let page = async move { list_members(&shared, room).await };
        ctx.spawn(page.into_actor(self).map(move |page, act, ctx| {
            act.contained(ctx, |act, _| {
                if !act.holds(&seat) {
                    return seat.session.reply(&reply, &Err(gone()));
                }
                let start = Start::at(stands(&act.table, &seat.room, seat.session.id));
                act.tell_joined(&seat, &start, page, &reply);
            });
        }));
    }

    /// Whether the membership is still the one that the seat was made for.
    fn holds(&self, seat: &Seat) -> bool {
        self.table.ticket(&seat.room, seat.session.id) == Some(seat.ticket)
    }

    /// It is known where the member begins: the session store is told before the
    /// client, so that no client knows of a membership that would not survive.
    fn found(
        &mut self,
        seat: Seat,
        start: Start,
        fresh: bool,
        page: MembersPage,
        reply: ReplyId,
        ctx: &mut Context<Self>,
    ) {
        if !self.holds(&seat) {
            return seat.session.reply(&reply, &Err(gone()));
        }
        if matches!(start, Start::Refused) {
            let e = HubError::unavailable("Redis is away, so the room cannot be joined; try again");
            return self.refuse_join(&seat, &reply, e);
        }
        self.openings.remove(&seat.room);
        let start = match start {
            Start::Here => {
                let position = self.table.room(&seat.room).and_then(|r| r.position);
                Start::at(position.unwrap_or(UNKNOWN))
            }
            at => at,
        };
        let Start::At { position, .. } = start else { return };
        let (Some(keeping), Some(store)) = (&seat.session.keeping, &self.shared.sessions) else {
            return self.joined(seat, start, page, &reply, ctx);
        };
        let base = base(position, fresh);
        let kept = keeping.enter(&seat.room, base);
        let keep = store.join(seat.session.id, keeping.owner, kept);
        ctx.spawn(keep.into_actor(self).map(move |kept, act, ctx| {
            act.contained(ctx, |act, ctx| {
                let marks = seat.session.keeping.as_ref().and_then(|keeping| keeping.marks());
                match (kept, marks) {
                    // A JSON client names its rooms when it comes back.
                    (Err(e), Some(_)) => act.refuse_join(&seat, &reply, e.into()),
                    (_, Some(marks)) if base == Base::Unknown && position != UNKNOWN => {
                        marks.lock().set(&seat.room, position);
                        act.joined(seat, start, page, &reply, ctx);
                    }
                    _ => act.joined(seat, start, page, &reply, ctx),
                }
            });
        }));
    }

    /// Undoes a join that the session store does not take.
    fn refuse_join(&mut self, seat: &Seat, reply: &ReplyId, e: HubError) {
        if self.holds(seat) {
            if let Some(keeping) = &seat.session.keeping {
                keeping.leave(&seat.room);
                if let Some(store) = &self.shared.sessions {
                    // It may have been kept although the answer did not come.
                    drop(store.leave(seat.session.id, keeping.owner, &seat.room));
                }
            }
            self.exit(&seat.room, &seat.session);
            let left = PresenceUpdate::MemberLeft(seat.session.clone(), seat.room.clone());
            self.shared.tell_tracker(left);
        }
        seat.session.reply(reply, &Err(e));
    }

    fn joined(
        &mut self,
        seat: Seat,
        start: Start,
        page: MembersPage,
        reply: &ReplyId,
        ctx: &mut Context<Self>,
    ) {
        if !self.holds(&seat) {
            return seat.session.reply(reply, &Err(gone()));
        }
        let news = self.newcomers.listed(seat.session.id, &seat.room, &page);
        let began = Instant::now();
        self.tell_joined(&seat, &start, page, reply);
        if matches!(&start, Start::At { messages, .. } if !messages.is_empty()) {
            self.pages.pay(began.elapsed());
        }
        for event in news {
            let mut tally = Tally::default();
            tally.push(&mut self.shared.renderer(&event), &seat.session, None);
            tally.count(&self.shared);
        }
        let Start::At { position, more, .. } = start else { return };
        if more {
            self.read_on(seat, position, 0, ctx);
        } else {
            self.go_live(seat, position, 0, ctx);
        }
    }

    fn tell_joined(&self, seat: &Seat, start: &Start, page: MembersPage, reply: &ReplyId) {
        let Start::At { position, recovered, messages, .. } = start else { return };
        let (position, recovered) = (*position, *recovered);
        seat.session.tell_at(&Event::Joined(Joined {
            room: seat.room.clone(),
            position,
            members: page.members,
            member_count: page.count,
            recovered,
            messages: messages.clone(),
        }));
        let answer = Reply::Joined { room: seat.room.clone(), position, recovered };
        seat.session.reply(reply, &Ok(answer));
        // It was told to the others before the member could hear it.
        if self.shared.format(seat.session.format).vocabulary() != "hubbub" {
            seat.session.tell_own(&Event::UserJoined(self.as_member(seat)));
        }
    }

    /// What the others are told of who joins.
    fn as_member(&self, seat: &Seat) -> Member {
        Member {
            room: seat.room.clone(),
            user: seat.session.user.clone(),
            username: seat.session.username.clone(),
            status: seat.session.status(),
            socket_count: 1,
            timestamp: self.shared.clock.timestamp(),
            node: Some(self.shared.node.clone()),
        }
    }

    /// Lets a member hear the room that has everything up to a position, or reads
    /// on if the room is further.
    pub(super) fn go_live(
        &mut self,
        seat: Seat,
        have: Position,
        round: usize,
        ctx: &mut Context<Self>,
    ) {
        if !self.holds(&seat) {
            return self.restore_next(seat.session.id, ctx);
        }
        match next(&mut self.table, &seat.room, seat.session.id, have, round) {
            Next::Live(bridge) => {
                self.send(&seat.session, bridge);
                self.is_live(&seat, ctx);
            }
            Next::Read { doubted } => {
                if doubted {
                    self.repair(seat.room.clone(), 0, ctx);
                }
                self.read_on(seat, have, round + 1, ctx);
            }
            Next::Never => seat.session.close(CloseCode::HubFailure),
            Next::Gone => self.restore_next(seat.session.id, ctx),
        }
    }

    /// Lets a member hear the room from wherever it stands.
    pub(super) fn go_live_anywhere(&mut self, seat: Seat, ctx: &mut Context<Self>) {
        if self.holds(&seat) {
            self.table.go_live(&seat.room, seat.session.id, None);
        }
        self.is_live(&seat, ctx);
    }

    fn is_live(&mut self, seat: &Seat, ctx: &mut Context<Self>) {
        self.newcomers.end(seat.session.id, &seat.room);
        self.release(seat.session.id, &seat.room, ctx);
        self.restore_next(seat.session.id, ctx);
    }

    pub(super) fn read_on(
        &mut self,
        seat: Seat,
        have: Position,
        round: usize,
        ctx: &mut Context<Self>,
    ) {
        let outbound = seat.session.connection.outbound.clone();
        let (history, asked) = (self.shared.history.clone(), seat.room.clone());
        let (pages, max_bytes) = (self.pages.clone(), self.shared.page_bytes());
        let page = async move {
            poll_fn(|cx| outbound.poll_below(1, cx.waker())).await;
            // Who was at the head once is near it: were it kept waiting, it would never get there
            // in a busy room.
            let place = if round == 0 { Some(pages.place().await) } else { None };
            let range = Range::After(have.offset);
            let page = history.read(&asked, range, CATCH_UP_PAGE).await;
            (page.map(|page| page.fit(range, max_bytes)), place)
        };
        ctx.spawn(page.into_actor(self).map(move |(page, place), act, ctx| {
            let began = Instant::now();
            act.contained(ctx, |act, ctx| act.take_page(seat, have, round, page, ctx));
            if let Some(place) = place {
                place.pay(began.elapsed());
            }
        }));
    }

    fn take_page(
        &mut self,
        seat: Seat,
        have: Position,
        round: usize,
        page: Result<Page, StoreError>,
        ctx: &mut Context<Self>,
    ) {
        if !self.holds(&seat) {
            return self.restore_next(seat.session.id, ctx);
        }
        let page = self.page(page, "catching up", &seat.room);
        let Some(Taken { have, records, more }) = page.and_then(|page| taken(have, page)) else {
            // The client comes back for it.
            return seat.session.close(CloseCode::HubFailure);
        };
        self.send(&seat.session, records);
        if more {
            self.read_on(seat, have, round, ctx);
        } else {
            self.go_live(seat, have, round, ctx);
        }
    }

    fn send(&self, session: &Arc<SessionHandle>, records: Vec<Arc<Stored>>) {
        for record in records {
            let own = record.record.user.as_ref() == Some(&session.user)
                && is_from(record.record.id, session.id);
            let event = Event::Stored(record);
            let mut renderer = self.shared.renderer(&event);
            debug_assert_eq!(renderer.class, CATCH_UP);
            let mut tally = Tally::default();
            tally.push(&mut renderer, session, own.then_some(session.id));
            tally.count(&self.shared);
        }
    }

    /// Reads what a room misses above an offset, and hands it out.
    pub(super) fn repair(&mut self, room: RoomName, after: u64, ctx: &mut Context<Self>) {
        let (history, asked) = (self.shared.history.clone(), room.clone());
        let page = async move { history.read(&asked, Range::After(after), MAX_PAGE).await };
        ctx.spawn(page.into_actor(self).map(move |page, act, ctx| {
            act.contained(ctx, |act, ctx| act.take_repair(room, after, page, ctx));
        }));
    }

    fn take_repair(
        &mut self,
        room: RoomName,
        after: u64,
        page: Result<Page, StoreError>,
        ctx: &mut Context<Self>,
    ) {
        let Some(page) = self.page(page, "filling a gap", &room) else {
            let again = std::time::Duration::from_millis(200);
            ctx.run_later(again, move |act, ctx| act.repair(room, after, ctx));
            return;
        };
        let Some((fresh, above)) = repaired(&mut self.table, &room, page) else {
            return self.find_anew(room, ctx);
        };
        for record in fresh {
            self.hand_out_stored(record, false);
        }
        if let Some(above) = above {
            self.repair(room, above, ctx);
        }
    }

    /// Reads the newest messages of a room whose members lack some that are gone.
    fn find_anew(&mut self, room: RoomName, ctx: &mut Context<Self>) {
        let (history, asked) = (self.shared.history.clone(), room.clone());
        let page = async move { history.read(&asked, Range::Newest, DEFAULT_PAGE).await };
        ctx.spawn(page.into_actor(self).map(move |page, act, ctx| {
            act.contained(ctx, |act, ctx| match act.page(page, "starting over", &room) {
                Some(page) => act.start_over(room, Arc::new(page), ctx),
                None => {
                    let again = std::time::Duration::from_millis(200);
                    ctx.run_later(again, move |act, ctx| act.find_anew(room, ctx));
                }
            });
        }));
    }

    /// Messages of a room are gone that its members were not given: they are told
    /// so, as if they joined anew, and go on from where it stands.
    pub(super) fn start_over(&mut self, room: RoomName, page: Arc<Page>, ctx: &mut Context<Self>) {
        if !self.table.hold(&room) {
            return;
        }
        let (shared, asked) = (self.shared.clone(), room.clone());
        let members = async move { list_members(&shared, asked).await };
        ctx.spawn(members.into_actor(self).map(move |members, act, ctx| {
            act.contained(ctx, |act, ctx| act.started_over(room, &page, members, ctx));
        }));
    }

    fn started_over(
        &mut self,
        room: RoomName,
        page: &Page,
        members: MembersPage,
        ctx: &mut Context<Self>,
    ) {
        let (told, more) = self.table.start_over(&room, page.head);
        let joined = Event::Joined(Joined {
            room: room.clone(),
            position: page.head,
            members: members.members,
            member_count: members.count,
            recovered: false,
            messages: page.records.clone(),
        });
        for session in told {
            if let Some(marks) = session.keeping.as_ref().and_then(|keeping| keeping.marks()) {
                marks.lock().set(&room, page.head);
            }
            session.tell_at(&joined);
        }
        if more {
            self.repair(room, page.head.offset, ctx);
        }
    }

    fn page(
        &self,
        page: Result<Page, StoreError>,
        doing: &'static str,
        room: &RoomName,
    ) -> Option<Page> {
        page.map_err(|e| {
            log::log!(e.level(), room:% = room, error:% = e; "reading history failed, {doing}");
        })
        .ok()
    }
}

fn gone() -> HubError {
    HubError::new(ErrorCode::Gone, "the session left before it was in")
}

async fn find_start(shared: &Shared, room: &RoomName, since: Option<Position>) -> Start {
    let failed = |e: StoreError| {
        log::log!(e.level(), room:% = room, error:% = e; "reading history failed, joining without it");
        Start::at(UNKNOWN)
    };
    let Some(since) = since else {
        return shared.history.head(room).await.map_or_else(failed, Start::at);
    };
    let max_bytes = shared.page_bytes();
    let range = Range::After(since.offset);
    match shared.history.read(room, range, MAX_PAGE).await {
        // What it asks for is perhaps in an archive that is away; the newest are here.
        Err(e) => drop(failed(e)),
        Ok(page) => {
            if let Some(start) = start_after(since, page.fit(range, max_bytes)) {
                return start;
            }
        }
    }
    shared.history.read(room, Range::Newest, DEFAULT_PAGE).await.map_or_else(failed, start_anew)
}

async fn list_members(shared: &Shared, room: RoomName) -> MembersPage {
    let Some(link) = shared.tracker.get() else { return MembersPage::default() };
    let ask = crate::messages::GetMembers { room, after: None, limit: MAX_MEMBERS_PAGE };
    link.members.send(ask).await.unwrap_or_default()
}
