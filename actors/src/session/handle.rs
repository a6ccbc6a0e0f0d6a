//! What the rest of the hub holds of a connection and of its session.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
};

use hubbub_protocol::{
    close::CloseCode,
    error::{ErrorCode, HubError},
    event::{Event, Reply, ReplyId, Status},
    id::{RoomName, SessionId, UserId},
    pattern,
    position::Position,
    vocabulary::Copy,
    wire::FormatId,
};
use parking_lot::Mutex;

use super::{
    heartbeat::{self, HeartbeatSettings},
    keeping::Keeping,
};
use crate::{
    formats::FormatLease,
    frame::Frame,
    outbound::{Class, Outbound},
    shared::{Settings, Shared},
};

/// What a token allows.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Rooms that may be joined; none means every room that is not reserved.
    pub rooms: Option<Vec<String>>,
    /// Rooms that may be published to; none means as `rooms`.
    pub publish: Option<Vec<String>>,
    /// Roles, for webhooks and vocabularies.
    pub roles: Vec<String>,
}

impl Grants {
    /// Whether the patterns allow joining a room.
    pub fn may_join(&self, room: &RoomName) -> bool {
        self.rooms.as_ref().is_none_or(|p| pattern::any_matches(p, room.as_str()))
    }

    /// Whether the patterns allow publishing to a room.
    pub fn may_publish(&self, room: &RoomName) -> bool {
        match &self.publish {
            Some(patterns) => pattern::any_matches(patterns, room.as_str()),
            None => self.may_join(room),
        }
    }
}

/// Who a token names and what it allows.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The user (`sub`).
    pub user: UserId,
    /// The display name.
    pub name: Option<Arc<str>>,
    /// When the token ends, milliseconds since 1970.
    pub expires_at: Option<u64>,
    /// What it allows.
    pub grants: Arc<Grants>,
}

/// How a connection is spoken to about itself.
pub enum Wire {
    /// The JSON wire: WebSocket pings, close codes.
    Json,
    /// Engine.IO: pings are packets; a close ends the transport, so that the
    /// client comes back.
    Engine,
    /// One namespace on an Engine.IO connection whose queue it shares. Its
    /// heartbeat is that connection's.
    Namespace {
        /// Its format, for as long as the session may speak; it knows the name.
        lease: Arc<FormatLease>,
    },
}

/// One transport, or one namespace on it: what heartbeats and limits look at,
/// before and after there is a session on it.
pub struct Connection {
    /// How it is spoken to.
    pub wire: Wire,
    /// What goes out.
    pub outbound: Arc<Outbound>,
    /// The client's address, as trusted proxies report it.
    pub peer: IpAddr,
    /// When it opened, milliseconds since 1970.
    pub opened_at: u64,
    last_seen: AtomicU64,
    ping_sent: AtomicU64,
    /// When its token ends; while it must authenticate, until when.
    deadline: AtomicU64,
    /// [`AUTHENTICATED`], [`WARNED`]: apart they would take eight bytes more of every connection.
    state: AtomicU8,
    violation: Mutex<Option<CloseCode>>,
    watches: AtomicU32,
    handled: AtomicU64,
}

const AUTHENTICATED: u8 = 1;
const WARNED: u8 = 2;

impl Connection {
    /// A connection that must authenticate until `auth_deadline`.
    pub fn new(
        wire: Wire,
        outbound: Arc<Outbound>,
        peer: IpAddr,
        now: u64,
        auth_deadline: u64,
    ) -> Self {
        Self {
            wire,
            outbound,
            peer,
            opened_at: now,
            last_seen: now.into(),
            ping_sent: 0.into(),
            deadline: auth_deadline.into(),
            state: 0.into(),
            violation: Mutex::default(),
            watches: 0.into(),
            handled: 0.into(),
        }
    }

    /// The session took one frame.
    pub fn took_frame(&self) {
        self.handled.fetch_add(1, Ordering::Relaxed);
    }

    /// How many frames the session has taken: the transport reads no further while
    /// whole frames wait.
    pub fn frames_taken(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    /// The heart looks at it anew: gives the number of this watch; entries of
    /// older ones no longer count.
    pub fn watch(&self) -> u32 {
        self.watches.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// Whether a watch is the newest.
    pub fn is_watched_by(&self, watch: u32) -> bool {
        self.watches.load(Ordering::Relaxed) == watch
    }

    /// The client gave a sign of life.
    pub fn seen(&self, now: u64) {
        self.last_seen.store(now, Ordering::Relaxed);
        self.ping_sent.store(0, Ordering::Relaxed);
    }

    /// A token that ends at `expires_at` was accepted.
    pub fn authenticated(&self, expires_at: Option<u64>) {
        self.deadline.store(expires_at.unwrap_or(u64::MAX), Ordering::Relaxed);
        // Behind it: the one deadline must not be taken for the other.
        self.state.store(AUTHENTICATED, Ordering::Release);
    }

    /// It has until `deadline` to authenticate again; look at it anew.
    pub fn must_authenticate(&self, deadline: u64) {
        self.state.fetch_and(!AUTHENTICATED, Ordering::Relaxed);
        self.deadline.store(deadline, Ordering::Release);
    }

    /// The times of its heartbeat.
    pub fn heartbeat(&self, settings: &Settings) -> HeartbeatSettings {
        match self.wire {
            Wire::Json => settings.heartbeat,
            Wire::Engine => settings.engine.heartbeat,
            Wire::Namespace { .. } => heartbeat::NO_HEARTBEAT,
        }
    }

    /// Closes after what waits is written. On Engine.IO the transport ends, so that
    /// the client comes back by itself; if it should not, the namespace is
    /// disconnected first.
    pub fn close(&self, code: CloseCode) {
        match &self.wire {
            Wire::Json => return self.outbound.close(code),
            Wire::Engine => {}
            Wire::Namespace { lease } if !code.reconnect() => {
                if let Some(bye) = lease.format().disconnect() {
                    self.outbound.push(&Frame::rendered(&bye), Class::Reply);
                }
            }
            Wire::Namespace { .. } => {}
        }
        self.outbound.close_bare(code, false);
    }

    /// The transport saw a frame that must not be: once what came before it is
    /// handled, the connection is closed with this code.
    pub fn violate(&self, code: CloseCode) {
        *self.violation.lock() = Some(code);
    }

    /// What the transport saw.
    pub(super) fn violation(&self) -> Option<CloseCode> {
        *self.violation.lock()
    }

    /// A look at the times, for [`heartbeat::judge`](super::heartbeat::judge).
    pub fn vitals(&self) -> super::heartbeat::Vitals {
        let read = |v: &AtomicU64| v.load(Ordering::Relaxed);
        let state = self.state.load(Ordering::Acquire);
        let is_authenticated = state & AUTHENTICATED != 0;
        let deadline = |holds: bool| if holds { read(&self.deadline) } else { u64::MAX };
        super::heartbeat::Vitals {
            last_seen: read(&self.last_seen),
            ping_sent: Some(read(&self.ping_sent)).filter(|&t| t > 0),
            auth_deadline: deadline(!is_authenticated),
            expires_at: deadline(is_authenticated),
            warned: state & WARNED != 0,
        }
    }

    /// A heartbeat was sent.
    pub fn pinged(&self, now: u64) {
        self.ping_sent.store(now, Ordering::Relaxed);
    }

    /// `token_expiring` was sent.
    pub fn warned(&self) {
        self.state.fetch_or(WARNED, Ordering::Relaxed);
    }
}

/// One authenticated session, as room servers, the tracker and operators hold it.
pub struct SessionHandle {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// The user's display name.
    pub username: Option<Arc<str>>,
    /// The format it speaks.
    pub format: FormatId,
    /// The worker that owns its socket.
    pub worker: u16,
    /// Its transport.
    pub connection: Arc<Connection>,
    /// What everybody on the node shares.
    pub shared: Arc<Shared>,
    /// What it has to do with the session store, if it is kept.
    pub keeping: Option<Keeping>,
    unanswered: AtomicU32,
    held: Mutex<Held>,
    /// The code and the time of the last refusal, in one word; 0 for none.
    refused: AtomicU64,
}

/// What a session holds that changes.
struct Held {
    rooms: Vec<RoomName>,
    grants: Arc<Grants>,
    status: Status,
}

/// Bits of the time in `refused`: milliseconds until the year 10889.
const REFUSED_AT_BITS: u32 = 48;

impl SessionHandle {
    /// A session of an identity on a connection.
    pub fn new(
        id: SessionId,
        identity: &Identity,
        format: FormatId,
        worker: u16,
        connection: Arc<Connection>,
        shared: Arc<Shared>,
        keeping: Option<Keeping>,
    ) -> Self {
        Self {
            id,
            user: identity.user.clone(),
            username: identity.name.clone(),
            format,
            worker,
            connection,
            shared,
            keeping,
            unanswered: AtomicU32::new(0),
            held: Mutex::new(Held {
                rooms: Vec::new(),
                grants: identity.grants.clone(),
                status: Status::default(),
            }),
            refused: AtomicU64::new(0),
        }
    }

    /// Durable publishes that wait for their acknowledgement.
    pub fn unanswered(&self) -> u32 {
        self.unanswered.load(Ordering::Relaxed)
    }

    pub(crate) fn publishing(&self) {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self) {
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
    }

    /// What the token allows now.
    pub fn grants(&self) -> Arc<Grants> {
        self.held.lock().grants.clone()
    }

    /// A fresh token was accepted.
    pub fn set_grants(&self, grants: Arc<Grants>) {
        self.held.lock().grants = grants;
    }

    /// What the session's user said it is.
    pub fn status(&self) -> Status {
        self.held.lock().status
    }

    /// Notes what the session's user said it is. Called by the presence tracker.
    pub(crate) fn set_status(&self, status: Status) {
        self.held.lock().status = status;
    }

    /// The rooms it is in or about to be.
    pub fn rooms(&self) -> Vec<RoomName> {
        self.held.lock().rooms.clone()
    }

    /// How many rooms it is in or about to be.
    pub fn room_count(&self) -> usize {
        self.held.lock().rooms.len()
    }

    /// The room, if it is in exactly one.
    pub fn only_room(&self) -> Option<RoomName> {
        match &self.held.lock().rooms[..] {
            [room] => Some(room.clone()),
            _ => None,
        }
    }

    /// Whether it is in a room or about to be.
    pub fn is_in(&self, room: &RoomName) -> bool {
        self.held.lock().rooms.contains(room)
    }

    /// Notes a room, before the room server is asked to let the session in.
    pub(crate) fn entered(&self, room: RoomName) {
        let rooms = &mut self.held.lock().rooms;
        if !rooms.contains(&room) {
            if rooms.is_empty() {
                rooms.reserve_exact(1);
            }
            rooms.push(room);
        }
    }

    /// Forgets a room. Called by the room server.
    pub(crate) fn left(&self, room: &RoomName) {
        self.held.lock().rooms.retain(|r| r != room);
    }

    /// Answers a request.
    pub fn reply(&self, id: &ReplyId, reply: &Result<Reply, HubError>) {
        if let Err(e) = reply {
            self.shared.metrics.errors.with_label_values(&[e.code.as_str()]).inc();
            self.note_refusal(e.code);
        }
        if let Some(payload) = self.shared.format(self.format).reply(id, reply) {
            self.connection.outbound.push(&Frame::rendered(&payload), Class::Reply);
        }
    }

    fn note_refusal(&self, code: ErrorCode) {
        let at = ErrorCode::ALL.iter().position(|c| *c == code).unwrap_or(0) as u64 + 1;
        let now = self.shared.clock.now() & ((1 << REFUSED_AT_BITS) - 1);
        self.refused.store(at << REFUSED_AT_BITS | now, Ordering::Relaxed);
    }

    /// Why and when (milliseconds since 1970) a request of the session was last
    /// answered with an error.
    pub fn last_refusal(&self) -> Option<(ErrorCode, u64)> {
        let word = self.refused.load(Ordering::Relaxed);
        let at = usize::try_from(word >> REFUSED_AT_BITS).ok()?.checked_sub(1)?;
        Some((*ErrorCode::ALL.get(at)?, word & ((1 << REFUSED_AT_BITS) - 1)))
    }

    /// The client was handed a direct message: it is asked for a sign that it has it.
    pub(crate) fn handed_direct(&self, position: Position) {
        if let Some(keeping) = &self.keeping {
            keeping.inbox().get_or_insert_default().handed(position, || self.ask());
        }
    }

    /// The client answered a ping: direct messages that it has now are not told to a
    /// later session of its user.
    pub(super) fn ponged(&self) {
        let (Some(keeping), Some(store)) = (&self.keeping, &self.shared.sessions) else { return };
        let signs = self.connection.outbound.pongs();
        let mut inbox = keeping.inbox();
        let known = inbox.as_mut().and_then(|inbox| inbox.answered(signs, || self.ask()));
        if let Some(position) = known {
            // At worst it is told again.
            drop(store.told(&self.user, position));
        }
    }

    /// Asks the client for a sign of life.
    fn ask(&self) -> u32 {
        let frame = match self.connection.wire {
            Wire::Json => Frame::ping(b""),
            Wire::Engine | Wire::Namespace { .. } => Frame::text(b"2"),
        };
        self.connection.outbound.ping(&frame)
    }

    /// Tells something about the session itself, with where it stands.
    pub fn tell_at(&self, event: &Event) {
        let marks = self.keeping.as_ref().and_then(|keeping| keeping.marks());
        let Some(tail) = marks.and_then(|marks| marks.lock().tail()) else {
            return self.tell(event);
        };
        if let Some(payload) = self.shared.format(self.format).event_at(event, &tail) {
            self.connection.outbound.push(&Frame::rendered(&payload), Class::Reply);
        }
    }

    /// Tells something about the session itself.
    pub fn tell(&self, event: &Event) {
        if let Some(payload) = self.shared.format(self.format).event(event) {
            self.connection.outbound.push(&Frame::rendered(&payload), Class::Reply);
        }
    }

    /// Tells the session's user something about itself that others are told too, if
    /// its vocabulary has that.
    pub(crate) fn tell_own(&self, event: &Event) {
        let format = self.shared.format(self.format);
        if let Some(payload) = format.event_for(event, format.copy(event, Copy::Own)) {
            self.connection.outbound.push(&Frame::rendered(&payload), Class::Reply);
        }
    }

    /// Closes the connection after what waits is written.
    pub fn close(&self, code: CloseCode) {
        self.connection.close(code);
    }

    /// The room a request means: the named one, or the only one.
    pub fn resolve(&self, room: Option<RoomName>) -> Result<RoomName, HubError> {
        match room.or_else(|| self.only_room()) {
            Some(room) => Ok(room),
            None => {
                Err(HubError::bad_request("`roomId` is missing and not exactly one room is joined"))
            }
        }
    }

    /// Fails unless the session is in a room and may publish to it.
    pub fn check_publish(&self, room: &RoomName) -> Result<(), HubError> {
        if !self.is_in(room) {
            return Err(HubError::new(ErrorCode::NotAMember, "join the room first"));
        }
        if !self.grants().may_publish(room) {
            return Err(HubError::new(
                ErrorCode::Forbidden,
                "the token does not allow publishing to this room",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn publish_defaults_to_rooms() {
        let list = |p: &[&str]| Some(p.iter().map(|s| s.to_string()).collect::<Vec<_>>());
        let room = RoomName::new("team-1").unwrap();
        let all = Grants::default();
        assert!(all.may_join(&room) && all.may_publish(&room));
        let some = Grants { rooms: list(&["team-*"]), ..Grants::default() };
        assert!(some.may_join(&room) && some.may_publish(&room));
        let reader = Grants { rooms: list(&["*"]), publish: list(&[]), roles: vec![] };
        assert!(reader.may_join(&room) && !reader.may_publish(&room));
        assert!(!Grants { rooms: list(&[]), ..Grants::default() }.may_join(&room));
    }
}
