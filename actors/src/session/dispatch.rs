//! What each command does: one match.

use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

use actix::Recipient;
use hubbub_protocol::{
    close::CloseCode,
    error::{ErrorCode, HubError},
    event::{
        Auth, Command, Direct, Event, GetMembers, History, Join, Publish, Reply, ReplyId, Request,
        SetTyping,
    },
    id::RoomName,
    record::Body,
    wire::Format,
};

use super::{Identity, SessionHandle, core::SessionCore, handle::Grants, rate::Passage};
use crate::{
    messages::{PresenceUpdate, RoomRequest},
    outbound::ReadPlace,
    ports::Range,
    shared::{RoomPolicy, Shared},
};

/// Something to wait for before the next frame is read.
pub(crate) type Wait = Pin<Box<dyn Future<Output = ()>>>;

pub(super) type Outcome = Result<Option<Wait>, HubError>;

/// The reason a reserved room is refused with.
fn reserved() -> HubError {
    HubError::new(ErrorCode::Forbidden, "the room's name is reserved")
}

impl SessionCore {
    /// Handles one request, read with `decode`. What it asks is answered now or later
    /// by whoever knows; the future, if there is one, is to be waited for first.
    pub(super) fn on_request(&mut self, decode: impl Fn(&Format) -> Request) -> Option<Wait> {
        match self.rate.check() {
            Passage::Free => {}
            Passage::Limited => {
                let request = decode(&self.worker.shared.format(self.format));
                let e = HubError::new(ErrorCode::RateLimited, "too many requests; slow down");
                self.refuse(&request.reply, e);
                return None;
            }
            Passage::Abused => {
                self.connection.close(CloseCode::RateAbused);
                return None;
            }
        }
        let taken = Instant::now();
        let request = decode(&self.worker.shared.format(self.format));
        self.request(request, taken)
    }

    fn request(&mut self, request: Request, taken: Instant) -> Option<Wait> {
        let Request { reply, command } = request;
        let outcome = command.and_then(|c| match (&self.open, c) {
            (_, Command::Ping) => {
                self.pong(&reply);
                Ok(None)
            }
            (_, Command::Auth(auth)) => self.auth(auth, &reply),
            // What a vocabulary ignores needs nobody's name: an error in answer to it
            // could go on for ever.
            (None, Command::Batch(nothing)) if nothing.is_empty() => {
                self.done(&reply);
                Ok(None)
            }
            (None, _) => Err(HubError::new(ErrorCode::Unauthorized, "authenticate first")),
            (Some(handle), command) => {
                let handle = handle.clone();
                self.dispatch(&handle, command, &reply, taken)
            }
        });
        match outcome {
            Ok(wait) => wait,
            Err(e) => {
                self.refuse(&reply, e);
                None
            }
        }
    }

    fn dispatch(
        &mut self,
        handle: &Arc<SessionHandle>,
        command: Command,
        reply: &ReplyId,
        taken: Instant,
    ) -> Outcome {
        match command {
            Command::Auth(_) | Command::Ping => {}
            Command::Join(join) => return self.join(handle, join, reply),
            Command::Resume(resume) => return Ok(Some(self.resume(handle, resume, reply))),
            Command::Leave(leave) => {
                let request = RoomRequest::Leave {
                    session: handle.clone(),
                    room: leave.room,
                    reply: reply.clone(),
                };
                self.ask(request, reply.clone());
            }
            Command::Publish(publish) => return self.publish(handle, publish, reply, taken),
            Command::Direct(direct) => self.direct(handle, direct, reply, taken),
            Command::Event(event) => self.event(handle, event, reply, taken)?,
            Command::Typing(typing) => {
                self.typing(handle, typing)?;
                handle.reply(reply, &Ok(Reply::Done));
            }
            Command::Presence(presence) => {
                let update = PresenceUpdate::SetStatus(handle.clone(), presence.status);
                self.ask(RoomRequest::Presence(update), ReplyId::None);
                handle.reply(reply, &Ok(Reply::Done));
            }
            Command::Read(read) => self.read(handle, read, reply)?,
            Command::Receipts(q) => self.receipts(handle, q, reply)?,
            Command::Delivered(delivered) => self.delivered(handle, delivered, reply)?,
            Command::History(history) => self.history(handle, history, reply)?,
            Command::Members(members) => self.members(handle, members, reply)?,
            Command::Batch(requests) => return Ok(self.batch(requests, reply, taken)),
        }
        Ok(None)
    }

    /// Each command is answered by itself and counts by itself against the rate.
    fn batch(&mut self, requests: Vec<Request>, reply: &ReplyId, taken: Instant) -> Option<Wait> {
        self.batched = Some(Box::new(requests.into()));
        let wait = self.go_on(taken);
        if let Some(handle) = &self.open {
            handle.reply(reply, &Ok(Reply::Done));
        }
        wait
    }

    /// Handles what is left of a batch, up to a command that has to be waited for.
    pub(super) fn go_on(&mut self, taken: Instant) -> Option<Wait> {
        while let Some(request) = self.batched.as_mut().and_then(|batch| batch.pop_front()) {
            if self.rate.check() != Passage::Free {
                let e = HubError::new(ErrorCode::RateLimited, "too many requests; slow down");
                self.refuse(&request.reply, e);
            } else if let Some(wait) = self.request(request, taken) {
                return Some(wait);
            }
        }
        None
    }

    fn pong(&self, reply: &ReplyId) {
        if reply.is_some() {
            return self.done(reply);
        }
        self.push(self.worker.shared.format(self.format).event(&Event::Pong));
    }

    /// Answers what is done, also before there is a session.
    fn done(&self, reply: &ReplyId) {
        if reply.is_some() {
            self.push(self.worker.shared.format(self.format).reply(reply, &Ok(Reply::Done)));
        }
    }

    fn push(&self, payload: Option<Vec<u8>>) {
        if let Some(payload) = payload {
            let frame = crate::frame::Frame::rendered(&payload);
            self.outbound().push(&frame, crate::outbound::Class::Reply);
        }
    }

    fn auth(&mut self, auth: Auth, reply: &ReplyId) -> Outcome {
        // A token has said so before; a client that repeats its name is right.
        if auth.token.is_none()
            && let Some(handle) = &self.open
            && auth.user.as_ref() == Some(&handle.user)
        {
            handle.reply(reply, &Ok(Reply::Done));
            return Ok(None);
        }
        match (identify(&self.worker.shared, auth), &self.open) {
            (Ok(identity), None) => {
                let wait = self.open_or_close(identity, reply);
                if let Some(handle) = &self.open {
                    handle.reply(reply, &Ok(Reply::Done));
                }
                Ok(wait)
            }
            (Ok(identity), Some(handle)) if identity.user == handle.user => {
                self.accept(&identity);
                handle.set_grants(identity.grants);
                self.tell_authenticated(handle);
                handle.reply(reply, &Ok(Reply::Done));
                Ok(None)
            }
            (Ok(_), Some(_)) => {
                Err(HubError::new(ErrorCode::Forbidden, "the token names another user"))
            }
            (Err(e), None) => {
                self.refuse(reply, e);
                self.connection.close(CloseCode::Unauthorized);
                Ok(None)
            }
            // The session goes on with the token it has until that ends.
            (Err(e), Some(_)) => Err(e),
        }
    }

    pub(super) fn join(
        &mut self,
        handle: &Arc<SessionHandle>,
        mut join: Join,
        reply: &ReplyId,
    ) -> Outcome {
        // Everybody in a room holds its name: one copy for all.
        join.room = self.worker.shared.relay.name_of(join.room);
        if join.room.is_reserved() {
            return Err(reserved());
        }
        let max = self.worker.shared.settings.max_rooms_per_session;
        if !handle.is_in(&join.room) && handle.room_count() >= max {
            return Err(too_many_rooms(max));
        }
        let request = RoomRequest::Join {
            session: handle.clone(),
            room: join.room.clone(),
            since: join.since,
            reply: reply.clone(),
        };
        let grants = handle.grants();
        let allowed = match &self.worker.shared.policy {
            RoomPolicy::Open => true,
            RoomPolicy::Claims => grants.may_join(&join.room),
            RoomPolicy::Webhook(webhook) => {
                let decision = webhook.may_join(&handle.user, &join.room, &grants);
                let (worker, handle, reply) = (self.worker.clone(), handle.clone(), reply.clone());
                let room = join.room;
                return Ok(Some(Box::pin(async move {
                    let refusal = match decision.await {
                        Ok(true) => match enter(&worker.room_server, &handle, room, request, max) {
                            Ok(()) => return,
                            Err(e) => e,
                        },
                        Ok(false) => forbidden(),
                        Err(e) => e,
                    };
                    handle.reply(&reply, &Err(refusal));
                })));
            }
        };
        if !allowed {
            return Err(forbidden());
        }
        enter(&self.worker.room_server, handle, join.room, request, max)?;
        Ok(None)
    }

    fn publish(
        &mut self,
        handle: &Arc<SessionHandle>,
        publish: Publish,
        reply: &ReplyId,
        taken: Instant,
    ) -> Outcome {
        let room = handle.resolve(publish.room.clone())?;
        if publish.join && !handle.is_in(&room) {
            let join = Join { room: room.clone(), since: None };
            if let Some(wait) = self.join(handle, join, &ReplyId::None)? {
                // It goes on once that is decided.
                let command = Ok(Command::Publish(Publish { join: false, ..publish }));
                self.batched
                    .get_or_insert_default()
                    .push_front(Request { reply: reply.clone(), command });
                return Ok(Some(wait));
            }
        }
        self.check_publish(handle, &room)?;
        if self.typing.as_deref() == Some(&room) {
            self.typing = None;
            let update = PresenceUpdate::SetTyping(handle.clone(), room.clone(), false);
            self.ask(RoomRequest::Presence(update), ReplyId::None);
        }
        let body = Body::Message { content: publish.content, data: publish.data };
        self.store(handle, room, body, publish.key, reply, taken);
        Ok(None)
    }

    /// A join that is still on its way to the room server counts: it will be
    /// there before the publish.
    pub(super) fn check_publish(
        &self,
        handle: &SessionHandle,
        room: &RoomName,
    ) -> Result<(), HubError> {
        if room.is_reserved() {
            return Err(reserved());
        }
        if !handle.grants().may_publish(room) && handle.is_in(room) {
            return Err(HubError::new(
                ErrorCode::Forbidden,
                "the token does not allow publishing to this room",
            ));
        }
        Ok(())
    }

    fn direct(&self, handle: &Arc<SessionHandle>, direct: Direct, reply: &ReplyId, taken: Instant) {
        let room = RoomName::personal(&direct.user);
        let body = Body::Direct { content: direct.content, data: direct.data };
        self.store(handle, room, body, direct.key, reply, taken);
    }

    pub(super) fn store(
        &self,
        handle: &Arc<SessionHandle>,
        room: RoomName,
        body: Body,
        key: Option<Box<str>>,
        reply: &ReplyId,
        taken: Instant,
    ) {
        let request = RoomRequest::Publish {
            session: handle.clone(),
            room,
            body,
            key,
            reply: reply.clone(),
            taken,
        };
        self.ask(request, reply.clone());
    }

    pub(super) fn emit(
        &self,
        handle: &Arc<SessionHandle>,
        room: RoomName,
        event: Event,
        echo: bool,
        reply: &ReplyId,
    ) {
        let request = RoomRequest::Emit {
            session: handle.clone(),
            room,
            event: Arc::new(event),
            echo,
            reply: reply.clone(),
        };
        self.ask(request, reply.clone());
    }

    fn typing(&mut self, handle: &Arc<SessionHandle>, typing: SetTyping) -> Result<(), HubError> {
        let room = handle.resolve(typing.room)?;
        if !handle.is_in(&room) {
            return Err(HubError::new(ErrorCode::NotAMember, "join the room first"));
        }
        self.typing = typing.is_typing.then(|| Box::new(room.clone()));
        let update = PresenceUpdate::SetTyping(handle.clone(), room, typing.is_typing);
        self.ask(RoomRequest::Presence(update), ReplyId::None);
        Ok(())
    }

    /// What may be joined may be read, without joining.
    fn may_look(&self, handle: &SessionHandle, room: &RoomName) -> Result<(), HubError> {
        let allowed = match &self.worker.shared.policy {
            _ if room.is_reserved() => return Err(reserved()),
            _ if handle.is_in(room) => true,
            RoomPolicy::Open => true,
            RoomPolicy::Claims => handle.grants().may_join(room),
            RoomPolicy::Webhook(_) => {
                return Err(HubError::new(ErrorCode::NotAMember, "join the room first"));
            }
        };
        if allowed { Ok(()) } else { Err(forbidden()) }
    }

    fn history(
        &self,
        handle: &Arc<SessionHandle>,
        q: History,
        reply: &ReplyId,
    ) -> Result<(), HubError> {
        self.may_look(handle, &q.room)?;
        let range = match (q.after, q.before) {
            (None, None) => Range::Newest,
            (Some(after), None) => Range::After(after),
            (None, Some(before)) => Range::Before(before),
            (Some(_), Some(_)) => {
                return Err(HubError::bad_request("`after` and `before` exclude each other"));
            }
        };
        let place = read_place(handle)?;
        let (handle, reply) = (handle.clone(), reply.clone());
        let page = self.worker.shared.history.read(&q.room, range, q.limit);
        let max_bytes = self.worker.shared.page_bytes();
        actix_rt::spawn(async move {
            let page = page.await.map(|page| page.fit(range, max_bytes));
            // What is told next must fit behind what waits already.
            let outbound = &handle.connection.outbound;
            std::future::poll_fn(|cx| outbound.poll_below(1, cx.waker())).await;
            let answer = page.map_err(HubError::from).map(|page| Reply::History {
                room: q.room,
                epoch: page.head.epoch,
                messages: page.records,
                has_more: page.has_more,
            });
            handle.reply(&reply, &answer);
            drop(place);
        });
        Ok(())
    }

    fn members(
        &self,
        handle: &Arc<SessionHandle>,
        q: GetMembers,
        reply: &ReplyId,
    ) -> Result<(), HubError> {
        self.may_look(handle, &q.room)?;
        let place = read_place(handle)?;
        let (handle, reply, shared) = (handle.clone(), reply.clone(), self.worker.shared.clone());
        actix_rt::spawn(async move {
            let Some(link) = shared.tracker.get() else { return };
            let room = q.room.clone();
            let ask = crate::messages::GetMembers { room, after: q.after, limit: q.limit };
            let answer = match link.members.send(ask).await {
                Ok(page) => Ok(Reply::Members {
                    room: q.room,
                    members: page.members.to_vec(),
                    member_count: page.count,
                    has_more: page.has_more,
                }),
                Err(_) => Err(HubError::unavailable("the presence tracker is busy; try again")),
            };
            handle.reply(&reply, &answer);
            drop(place);
        });
        Ok(())
    }
}

/// Who a client says it is, if that is to be believed.
pub(super) fn identify(shared: &Shared, auth: Auth) -> Result<Identity, HubError> {
    match (auth.token, auth.user) {
        (Some(token), _) => shared.authenticator.authenticate(&token),
        (None, Some(user)) if shared.settings.anonymous => Ok(Identity {
            user,
            name: auth.username,
            expires_at: None,
            grants: Arc::new(Grants::default()),
        }),
        _ => Err(HubError::new(ErrorCode::Unauthorized, "a token is needed")),
    }
}

/// Notes the room at once, so that what the client sends next finds it, and asks
/// the room server.
fn enter(
    room_server: &Recipient<RoomRequest>,
    handle: &SessionHandle,
    room: RoomName,
    request: RoomRequest,
    max: usize,
) -> Result<(), HubError> {
    let new = !handle.is_in(&room);
    // Again: others may have been let in while this one was decided.
    if new && handle.room_count() >= max {
        return Err(too_many_rooms(max));
    }
    handle.entered(room.clone());
    room_server.try_send(request).map_err(|_| {
        if new {
            handle.left(&room);
        }
        HubError::unavailable("the hub is busy; try again")
    })
}

/// Reads a connection may wait for at a time, also those of sessions that have ended on
/// it; one more is `rate_limited`.
const MAX_READS: u8 = 8;

pub(super) fn read_place(handle: &Arc<SessionHandle>) -> Result<ReadPlace, HubError> {
    handle.connection.outbound.read_place(MAX_READS).ok_or_else(|| {
        HubError::new(ErrorCode::RateLimited, "too many requests wait for an answer")
    })
}

fn too_many_rooms(max: usize) -> HubError {
    HubError::new(ErrorCode::TooManyRooms, format!("a session may be in {max} rooms"))
}

fn forbidden() -> HubError {
    HubError::new(ErrorCode::Forbidden, "the room may not be joined by this user")
}
