//! The room server: one per worker, holding the members whose sockets that worker
//! owns. It decides who hears what; the walk over the members never leaves the
//! thread.

mod burst;
mod catchup;
mod fanout;
mod hand_out;
pub mod look;
mod members;
mod newcomers;
mod origins;
mod pace;
mod receipts;
mod restore;
pub mod steps;
pub mod table;

use std::{
    collections::HashMap,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use hubbub_protocol::{
    close::CloseCode,
    error::{ErrorCode, HubError},
    event::{Event, Left, Reply, ReplyId},
    id::{MessageId, RoomName, SessionId},
    record::{Body, Record, Stored},
};

use self::{
    burst::Bursts,
    catchup::Seat,
    newcomers::Newcomers,
    origins::Origins,
    pace::Pages,
    receipts::Receipts,
    table::{Joining, RoomTable},
};
use crate::{
    contain::contain,
    marks::message_id,
    messages::{GetSessions, PresenceUpdate, Replace, RoomDelivery, RoomRequest},
    ports::{Append, Audience, Broadcast, IdempotencyKey, Opening},
    session::SessionHandle,
    sessions::Sessions,
    shared::Shared,
};

/// Messages that may wait for a room server before sessions are told `unavailable`.
pub const MAILBOX: usize = 16_384;

/// The room server of one worker.
pub struct RoomServer {
    shared: Arc<Shared>,
    worker: usize,
    backlog: Arc<AtomicUsize>,
    sessions: Sessions,
    table: RoomTable<Arc<SessionHandle>>,
    /// What members asked for that are not live yet: it is done once they are, so
    /// that who joins and publishes in one breath hears itself.
    held: HashMap<(SessionId, RoomName), Vec<RoomRequest>>,
    held_count: usize,
    /// Rooms that this node does not hear yet.
    openings: HashMap<RoomName, Opening>,
    /// Members that join, and what they are to be told of others.
    newcomers: Newcomers,
    /// Sessions that come back, and the rooms they do not hear yet.
    restoring: HashMap<SessionId, restore::Waiting>,
    /// What members missed, a page at a time.
    pages: Rc<Pages>,
    /// Records that wait for those behind them.
    bursts: Bursts,
    /// Who sent what is on its way through the store.
    origins: Origins,
    /// How far members are, until it is kept.
    receipts: Receipts,
}

/// Requests held for one member that is not live yet; one more is `unavailable`.
const MAX_HELD: usize = 64;
/// Requests held for all members of a worker.
const MAX_HELD_IN_ALL: usize = 4096;

impl RoomServer {
    /// Starts the room server of the current thread and adds it to the relay.
    pub fn launch(shared: Arc<Shared>) -> actix::Addr<Self> {
        Self::create(|ctx| {
            ctx.set_mailbox_capacity(MAILBOX);
            let (worker, backlog) = shared.relay.add_worker(ctx.address().recipient());
            Self {
                worker,
                backlog,
                sessions: Sessions::default(),
                table: RoomTable::default(),
                held: HashMap::new(),
                held_count: 0,
                openings: HashMap::new(),
                newcomers: Newcomers::default(),
                restoring: HashMap::new(),
                pages: Pages::new(),
                bursts: Bursts::new(shared.settings.burst_bytes()),
                origins: Origins::default(),
                receipts: Receipts::default(),
                shared,
            }
        })
    }

    fn request(&mut self, request: RoomRequest, ctx: &mut Context<Self>) {
        let Some(request) = self.hold(request) else { return };
        match request {
            RoomRequest::Attach(session) => self.attach(session, ctx),
            RoomRequest::Detach(session) => self.detach(&session),
            RoomRequest::Join { session, room, since, reply } => {
                self.join(session, room, since, reply, ctx);
            }
            RoomRequest::Restore { session, rooms } => {
                let held = self.sessions.get(&session.id).cloned();
                if let Some(older) = held.as_ref().filter(|held| !Arc::ptr_eq(held, &session)) {
                    // Two came for it at once; this one is later.
                    older.close(CloseCode::Replaced);
                    self.detach(older);
                }
                if !self.sessions.contains(&session.id) {
                    self.admit(session.clone());
                }
                self.check_owner(&session, ctx);
                self.restore(&session, rooms, ctx);
            }
            RoomRequest::Leave { session, room, reply } => self.leave(session, room, reply, ctx),
            RoomRequest::Publish { session, room, body, key, reply, taken } => {
                self.publish(session, room, body, key, reply, taken);
            }
            RoomRequest::Emit { session, room, event, echo, reply } => {
                self.emit(&session, room, event, echo, &reply);
            }
            RoomRequest::Progress { session, room, progress, reply } => {
                self.progress(&session, &room, progress, &reply, ctx);
            }
            RoomRequest::Presence(update) => self.shared.tell_tracker(update),
        }
    }

    /// Keeps a publish of a member that is not live yet for later.
    fn hold(&mut self, request: RoomRequest) -> Option<RoomRequest> {
        let (session, room, reply) = match &request {
            RoomRequest::Publish { session, room, reply, body, .. }
                if !matches!(body, Body::Direct { .. }) =>
            {
                (session, room, reply)
            }
            RoomRequest::Emit { session, room, reply, .. }
            | RoomRequest::Progress { session, room, reply, .. }
            | RoomRequest::Join { session, room, reply, .. } => (session, room, reply),
            _ => return Some(request),
        };
        let member = self.table.room(room).and_then(|r| r.members.get(session.id));
        if member.is_none_or(|m| m.live) {
            return Some(request);
        }
        let held = self.held.entry((session.id, room.clone())).or_default();
        if held.len() >= MAX_HELD || self.held_count >= MAX_HELD_IN_ALL {
            let e = HubError::unavailable("too many requests wait for the join; try again");
            session.reply(reply, &Err(e));
        } else {
            held.push(request);
            self.held_count += 1;
        }
        None
    }

    /// A member is live, or gone: what was held for it goes on.
    fn release(&mut self, session: SessionId, room: &RoomName, ctx: &mut Context<Self>) {
        for request in self.held.remove(&(session, room.clone())).unwrap_or_default() {
            self.held_count -= 1;
            self.request(request, ctx);
        }
    }

    /// Runs a step that began outside a message; a panic in it ends there.
    fn contained(
        &mut self,
        ctx: &mut Context<Self>,
        step: impl FnOnce(&mut Self, &mut Context<Self>),
    ) {
        let shared = self.shared.clone();
        let step = || {
            self.flush_bursts();
            step(self, ctx);
        };
        if contain(&shared, "room_server", step).is_none() {
            self.rebuild(ctx);
        }
    }

    fn attach(&mut self, session: Arc<SessionHandle>, ctx: &mut Context<Self>) {
        let room = RoomName::personal(&session.user);
        self.enter(&room, &session);
        if session.keeping.is_some() {
            let ticket = self.table.ticket(&room, session.id).unwrap_or_default();
            self.open_personal(Seat { session: session.clone(), room, ticket }, ctx);
        } else {
            // What is stored from now on comes, if late: nothing is read that it must follow.
            self.openings.remove(&room);
            self.table.go_live(&room, session.id, None);
        }
        self.admit(session);
    }

    fn admit(&mut self, session: Arc<SessionHandle>) {
        if self.shared.format(session.format).hears_everybody() {
            let everybody = RoomName::everybody();
            self.enter(&everybody, &session);
            self.table.go_live(&everybody, session.id, None);
        }
        self.sessions.insert(session.clone());
        self.shared.metrics.sessions.inc();
        self.wire_sessions(&session).inc();
        self.shared.tell_tracker(PresenceUpdate::Opened(session));
    }

    fn detach(&mut self, session: &Arc<SessionHandle>) {
        // A newer connection may have taken the session over.
        if !self.sessions.get(&session.id).is_some_and(|held| Arc::ptr_eq(held, session)) {
            return;
        }
        self.sessions.remove(&session.id);
        self.restoring.remove(&session.id);
        self.let_go(session);
        let rooms = session.rooms();
        for room in &rooms {
            self.exit(room, session);
        }
        self.exit(&RoomName::personal(&session.user), session);
        if self.shared.format(session.format).hears_everybody() {
            self.exit(&RoomName::everybody(), session);
        }
        self.shared.metrics.sessions.dec();
        self.wire_sessions(session).dec();
        self.shared.tell_tracker(PresenceUpdate::Closed(session.clone(), rooms));
    }

    fn wire_sessions(&self, session: &SessionHandle) -> prometheus::IntGauge {
        let wire = self.shared.format(session.format).name();
        self.shared.metrics.wire_sessions.with_label_values(&[wire])
    }

    /// Puts a session into a room of the table and hears the room.
    fn enter(&mut self, room: &RoomName, session: &Arc<SessionHandle>) -> Joining {
        let joining = self.table.join(room, session.id, session.clone());
        if joining == Joining::First {
            let subscription = self.shared.bus.subscribe(room, self.worker);
            if subscription.first && !room.is_reserved() {
                self.shared.metrics.rooms.inc();
            }
            if let Some(opening) = subscription.opening {
                self.openings.insert(room.clone(), opening);
            }
        }
        joining
    }

    fn exit(&mut self, room: &RoomName, session: &Arc<SessionHandle>) {
        session.left(room);
        self.newcomers.end(session.id, room);
        for request in self.held.remove(&(session.id, room.clone())).unwrap_or_default() {
            self.held_count -= 1;
            if let RoomRequest::Publish { reply, .. }
            | RoomRequest::Emit { reply, .. }
            | RoomRequest::Progress { reply, .. }
            | RoomRequest::Join { reply, .. } = request
            {
                let e = HubError::new(ErrorCode::NotAMember, "the session left the room");
                session.reply(&reply, &Err(e));
            }
        }
        if self.table.leave(room, session.id).1 {
            self.openings.remove(room);
            if self.shared.bus.unsubscribe(room, self.worker) && !room.is_reserved() {
                self.shared.metrics.rooms.dec();
            }
        }
    }

    /// Another connection may have claimed a session while this one waited to be let
    /// in: the store knows which came last.
    fn check_owner(&self, session: &Arc<SessionHandle>, ctx: &mut Context<Self>) {
        let (Some(keeping), Some(store)) = (&session.keeping, &self.shared.sessions) else {
            return;
        };
        let owned = store.owns(session.id, keeping.owner);
        let session = session.clone();
        ctx.spawn(owned.into_actor(self).map(move |owned, act, _| {
            if owned == Ok(false) {
                session.close(CloseCode::Replaced);
                act.detach(&session);
            }
        }));
    }

    /// Tells the store how a session ended: whether it can come back.
    fn let_go(&self, session: &SessionHandle) {
        let (Some(keeping), Some(store)) = (&session.keeping, &self.shared.sessions) else {
            return;
        };
        let closing = session.connection.outbound.closing();
        let over = keeping.is_over() || closing.is_some_and(|code| !code.reconnect());
        // In order with what comes later; nobody waits for it.
        drop(if over {
            store.ended(session.id, keeping.owner)
        } else {
            store.lost(session.id, keeping.owner)
        });
    }

    fn leave(
        &mut self,
        session: Arc<SessionHandle>,
        room: RoomName,
        reply: ReplyId,
        ctx: &mut Context<Self>,
    ) {
        if !self.table.is_member(&room, session.id) || room.is_reserved() {
            let e = HubError::new(ErrorCode::NotAMember, "the session is not in this room");
            return session.reply(&reply, &Err(e));
        }
        self.exit(&room, &session);
        self.shared.tell_tracker(PresenceUpdate::MemberLeft(session.clone(), room.clone()));
        let told = move |session: &SessionHandle, room: RoomName| {
            session.tell_at(&Event::Left(Left { room }));
            session.reply(&reply, &Ok(Reply::Done));
        };
        match (&session.keeping, &self.shared.sessions) {
            (Some(keeping), Some(store)) => {
                keeping.leave(&room);
                let left = store.leave(session.id, keeping.owner, &room);
                // A client that was told so does not come back into the room: if the
                // store does not know it, the session does not come back.
                ctx.spawn(left.into_actor(self).map(move |left, _, _| {
                    if let (Err(_), Some(keeping)) = (left, &session.keeping) {
                        keeping.give_up();
                    }
                    told(&session, room);
                }));
            }
            _ => told(&session, room),
        }
    }

    fn publish(
        &mut self,
        session: Arc<SessionHandle>,
        room: RoomName,
        body: Body,
        key: Option<Box<str>>,
        reply: ReplyId,
        taken: Instant,
    ) {
        // Who may write to a user was asked before.
        let personal = room.personal_user().is_some();
        if !personal && !self.table.is_member(&room, session.id) {
            let e = HubError::new(ErrorCode::NotAMember, "join the room first");
            return session.reply(&reply, &Err(e));
        }
        if self.shared.relay.is_congested() {
            let e = HubError::unavailable("the hub is behind with deliveries; try again");
            return session.reply(&reply, &Err(e));
        }
        self.shared.metrics.publishes.inc();
        let format = self.shared.format(session.format);
        let record = Record {
            id: if format.distinguishes_sender() {
                message_id(session.id)
            } else {
                MessageId(uuid::Uuid::now_v7())
            },
            room,
            user: Some(session.user.clone()),
            username: session.username.clone(),
            timestamp: self.shared.clock.timestamp(),
            body,
            trace: None,
        };
        let key = key.map(|key| IdempotencyKey { user: record.user.clone(), key });
        if format.distinguishes_sender() {
            self.origins.note(record.id, session.id);
        }
        let copy = format.wants_published().then(|| record.clone());
        let hooked = self.shared.told_of(&record);
        session.publishing();
        let done = Box::new(move |result: Result<crate::ports::Appended, _>| {
            let metrics = &session.shared.metrics;
            if result.is_ok() {
                metrics.acks.inc();
                metrics.ack_seconds.observe(taken.elapsed().as_secs_f64());
            }
            if let (Some(record), Ok(appended)) = (hooked, &result) {
                session.shared.tell_published(*record, appended);
            }
            let answer = result
                .map(|a| Reply::Published {
                    id: a.id,
                    position: a.position,
                    stored: copy
                        .filter(|_| !a.duplicate)
                        .map(|record| Arc::new(Stored { position: a.position, record })),
                })
                .map_err(HubError::from);
            session.reply(&reply, &answer);
            session.answered();
        });
        self.shared.history.append(Append { record, key, done });
    }

    fn emit(
        &mut self,
        session: &Arc<SessionHandle>,
        room: RoomName,
        event: Arc<Event>,
        echo: bool,
        reply: &ReplyId,
    ) {
        if !self.table.is_member(&room, session.id) {
            let e = HubError::new(ErrorCode::NotAMember, "join the room first");
            return session.reply(reply, &Err(e));
        }
        self.shared.metrics.volatile.inc();
        let answer = match &*event {
            Event::Volatile(_) => Reply::Sent { id: MessageId(uuid::Uuid::now_v7()) },
            _ => Reply::Done,
        };
        let broadcast = Broadcast {
            to: Audience::Room(room),
            event,
            except: (!echo).then_some(session.id),
            except_user: None,
        };
        self.hand_out(&broadcast, Some(session.id));
        let spread = self.shared.bus.broadcast(&broadcast, Some(self.worker));
        if spread.congested {
            self.shared.metrics.dropped.with_label_values(&["congested"]).inc();
        }
        if !spread.everywhere {
            let e = HubError::unavailable("Redis is away: only members on this node were told");
            session.reply(reply, &Err(e));
        } else if reply.is_some() {
            session.reply(reply, &Ok(answer));
        }
    }

    /// After a panic: the members are those that the sessions name, and whatever
    /// a member may have missed is read again.
    fn rebuild(&mut self, ctx: &mut Context<Self>) {
        self.receipts.rebuild();
        // Their members stand before them, and are given them again.
        drop(self.bursts.take());
        let sessions: Vec<_> = self.sessions.values().cloned().collect();
        self.newcomers = Newcomers::default();
        for session in sessions {
            for room in session.rooms() {
                if self.enter(&room, &session) != Joining::Already {
                    self.table.go_live(&room, session.id, None);
                }
            }
        }
        for (room, after) in self.table.suspect() {
            if !room.is_reserved() || room.personal_user().is_some() {
                self.repair(room, after, ctx);
            }
        }
    }
}

impl Actor for RoomServer {
    type Context = Context<Self>;
}

impl Handler<RoomRequest> for RoomServer {
    type Result = ();

    fn handle(&mut self, request: RoomRequest, ctx: &mut Self::Context) {
        let shared = self.shared.clone();
        let injected = shared.settings.fault_injection && is_panic_request(&request);
        let unanswered = match &request {
            RoomRequest::Emit { session, reply, .. } if reply.is_some() => {
                Some((session.clone(), Some(reply.clone())))
            }
            RoomRequest::Join { session, .. } => Some((session.clone(), None)),
            _ => None,
        };
        let step = || {
            assert!(!injected, "injected fault");
            // A publish changes nothing in the room before it is stored.
            if !matches!(request, RoomRequest::Publish { .. }) {
                self.flush_bursts();
            }
            self.request(request, ctx);
        };
        if contain(&shared, "room_server", step).is_none() {
            match unanswered {
                Some((session, Some(reply))) => {
                    let e = HubError::unavailable("the hub failed; try again");
                    session.reply(&reply, &Err(e));
                }
                // How far its join got is not known: it comes back and joins anew.
                Some((session, None)) => session.close(CloseCode::HubFailure),
                None => {}
            }
            self.rebuild(ctx);
        }
    }
}

fn is_panic_request(request: &RoomRequest) -> bool {
    matches!(request, RoomRequest::Emit { event, .. }
        if matches!(&**event, Event::Volatile(e) if &*e.name == "hubbub.panic.room_server"))
}

impl Handler<RoomDelivery> for RoomServer {
    type Result = ();

    fn handle(&mut self, delivery: RoomDelivery, ctx: &mut Self::Context) {
        let shared = self.shared.clone();
        let count = match &delivery {
            RoomDelivery::Stored(records) => records.len(),
            RoomDelivery::Broadcast(_) | RoomDelivery::Reset(..) | RoomDelivery::Away => 1,
        };
        let others = self.backlog.load(Ordering::Relaxed) > count;
        let step = || {
            if !matches!(delivery, RoomDelivery::Stored(_)) {
                self.flush_bursts();
            }
            match delivery {
                RoomDelivery::Stored(records) => {
                    let alone = count == 1 && !others;
                    for record in records {
                        self.arrive(record, alone, ctx);
                    }
                }
                RoomDelivery::Broadcast(broadcast) => self.hand_out(&broadcast, None),
                RoomDelivery::Reset(room, page) => self.start_over(room, page, ctx),
                RoomDelivery::Away => self.tell_away(),
            }
            if !others {
                self.flush_bursts();
            }
        };
        let done = contain(&shared, "room_server", step);
        self.backlog.fetch_sub(count, Ordering::Relaxed);
        if done.is_none() {
            self.rebuild(ctx);
        }
    }
}

impl Handler<Replace> for RoomServer {
    type Result = ();

    fn handle(&mut self, replace: Replace, _: &mut Self::Context) {
        let Some(session) = self.sessions.get(&replace.session).cloned() else { return };
        let owner = session.keeping.as_ref().map(|keeping| keeping.owner);
        if replace.owner.is_some() && replace.owner != owner {
            return;
        }
        session.close(CloseCode::Replaced);
        self.detach(&session);
    }
}

impl Handler<GetSessions> for RoomServer {
    type Result = Vec<Arc<SessionHandle>>;

    fn handle(&mut self, _: GetSessions, _: &mut Self::Context) -> Self::Result {
        self.sessions.values().cloned().collect()
    }
}
