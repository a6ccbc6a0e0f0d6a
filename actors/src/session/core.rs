//! What a session does, whatever it came on: decides what requests ask, and hands
//! it to the room server of its worker and to the presence tracker.

use std::{collections::VecDeque, net::IpAddr, sync::Arc};

use hubbub_protocol::{
    close::CloseCode,
    error::{ErrorCode, HubError},
    event::{Authenticated, Event, ReplyId, Request},
    id::{RoomName, SessionId},
    wire::FormatId,
};

use super::{
    Connection, Identity, SessionHandle, Wire, WorkerLink,
    dispatch::{Outcome, Wait},
    keeping::{self, Keeping},
    rate::Rate,
};
use crate::{
    frame::Frame,
    marks::Marks,
    messages::{RoomRequest, Watch},
    outbound::{Class, Outbound},
    session_store::{HearFrom, KeptIdentity, Owner},
};

/// One session: one per connection of the JSON wire, one per namespace of a
/// Socket.IO connection.
pub struct SessionCore {
    pub(super) worker: Arc<WorkerLink>,
    /// The session's id, also before somebody opens it.
    pub(super) id: SessionId,
    pub(super) connection: Arc<Connection>,
    pub(super) format: FormatId,
    pub(super) rate: Rate,
    /// What is left of a batch while one of its commands is waited for.
    #[expect(clippy::box_collection, reason = "a session without a batch pays for a pointer only")]
    pub(super) batched: Option<Box<VecDeque<Request>>>,
    pub(super) open: Option<Arc<SessionHandle>>,
    /// The room in which the client was last said to type.
    pub(super) typing: Option<Box<RoomName>>,
    /// What proves, with the id, that a client is this session's.
    secret: u64,
}

/// A session that goes on.
pub(super) struct Restored {
    /// Its id.
    pub id: SessionId,
    /// As it was kept.
    pub secret: u64,
    /// Under which it was taken over.
    pub owner: Owner,
    /// Where it stands.
    pub marks: Marks,
    /// Its rooms, and from where on it hears them.
    pub rooms: Vec<(RoomName, HearFrom)>,
}

impl SessionCore {
    /// A session that nobody has opened yet.
    pub fn new(worker: Arc<WorkerLink>, connection: Arc<Connection>, format: FormatId) -> Self {
        let settings = &worker.shared.settings;
        Self {
            rate: Rate::new(settings.messages_per_second, settings.burst),
            worker,
            id: SessionId(uuid::Uuid::now_v7()),
            connection,
            format,
            batched: None,
            open: None,
            typing: None,
            secret: rand::random(),
        }
    }

    fn peer(&self) -> IpAddr {
        self.connection.peer
    }

    pub(super) fn outbound(&self) -> &Arc<Outbound> {
        &self.connection.outbound
    }

    pub(super) fn now(&self) -> u64 {
        self.worker.shared.clock.now()
    }

    /// Opens the session for who a token names, or tells why not and closes. The
    /// future, if there is one, is to be waited for first.
    pub(super) fn open_or_close(&mut self, identity: Identity, reply: &ReplyId) -> Option<Wait> {
        match self.open(identity) {
            Ok(wait) => wait,
            Err(e) => {
                let code = match e.code {
                    ErrorCode::Unavailable => CloseCode::Draining,
                    _ => CloseCode::Forbidden,
                };
                self.refuse(reply, e);
                self.connection.close(code);
                None
            }
        }
    }

    /// Opens the session for who a token names. The rooms of the vocabulary are joined by
    /// themselves; the future, if there is one, is to be waited for first.
    pub(super) fn open(&mut self, identity: Identity) -> Outcome {
        self.open_with(identity, None, |_| {})
    }

    /// The private id for connection state recovery; none if the session is not kept.
    pub(super) fn pid(&self) -> Option<String> {
        let recoverable = self.worker.shared.sessions.is_some()
            && self.worker.shared.format(self.format).has_offsets();
        recoverable.then(|| keeping::pid(self.id, self.secret))
    }

    /// What it has to do with the session store from now on.
    fn keep(&self, identity: &Identity) -> Option<Keeping> {
        let store = self.worker.shared.sessions.as_ref()?;
        let format = self.worker.shared.format(self.format);
        let owner = Owner::fresh();
        let wire: Box<str> = match &self.connection.wire {
            Wire::Json | Wire::Engine => "json".into(),
            Wire::Namespace { lease } => (&*lease.namespace()).into(),
        };
        let identity = KeptIdentity {
            id: self.id,
            user: identity.user.clone(),
            secret: self.secret,
            wire,
            vocabulary: format.vocabulary().into(),
        };
        // In order with what comes later; a session that could not be kept is not
        // recovered.
        drop(store.open(identity, owner));
        Some(Keeping::new(owner, format.has_offsets().then(|| Marks::new(self.id))))
    }

    /// The same; or a session goes on that has been here before. `greet` may tell the
    /// client so before anything else reaches it.
    pub(super) fn open_with(
        &mut self,
        identity: Identity,
        restored: Option<Restored>,
        greet: impl FnOnce(&Self),
    ) -> Outcome {
        if self.worker.shared.is_banned(&identity.user) {
            let why = "an operator has sent this user away";
            return Err(HubError::new(ErrorCode::Forbidden, why));
        }
        if self.worker.shared.is_draining() {
            let why = "the node is draining; connect to another one";
            return Err(HubError::unavailable(why));
        }
        self.accept(&identity);
        let mut rooms = None;
        let keeping = match restored {
            None => self.keep(&identity),
            Some(restored) => {
                (self.id, self.secret) = (restored.id, restored.secret);
                rooms = Some(restored.rooms);
                Some(Keeping::new(restored.owner, Some(restored.marks)))
            }
        };
        let handle = Arc::new(SessionHandle::new(
            self.id,
            &identity,
            self.format,
            u16::try_from(self.worker.index).unwrap_or(u16::MAX),
            self.connection.clone(),
            self.worker.shared.clone(),
            keeping,
        ));
        log::info!(
            session:% = handle.id, user:% = handle.user, ip:% = self.peer(), worker = self.worker.index,
            wire = self.worker.shared.format(self.format).name(), recovered = rooms.is_some();
            "session opened"
        );
        greet(self);
        self.open = Some(handle.clone());
        if let Some(rooms) = rooms {
            for (room, _) in rooms.iter().filter(|(room, _)| !room.is_reserved()) {
                // So that what the client sends next finds them.
                handle.entered(room.clone());
            }
            self.worker.room_server.do_send(RoomRequest::Restore { session: handle, rooms });
            return Ok(None);
        }
        self.worker.room_server.do_send(RoomRequest::Attach(handle.clone()));
        self.tell_authenticated(&handle);
        Ok(self.auto_join(&handle))
    }

    /// A token was accepted: its end is what the heart looks for now.
    pub(super) fn accept(&self, identity: &Identity) {
        let ends = identity.expires_at.map(|at| self.worker.shared.clock.due(at));
        self.connection.authenticated(ends);
        if identity.expires_at.is_none() && matches!(self.connection.wire, Wire::Namespace { .. }) {
            // It has no heartbeat of its own, and nothing else to look for.
            return;
        }
        self.watch();
    }

    /// Has the heart look at the connection anew.
    pub(super) fn watch(&self) {
        let (connection, format) = (self.connection.clone(), self.format);
        self.worker.heart.do_send(Watch { connection, format });
    }

    pub(super) fn tell_authenticated(&self, handle: &SessionHandle) {
        handle.tell(&Event::Authenticated(Authenticated {
            session: handle.id,
            user: handle.user.clone(),
            node: self.worker.shared.node.clone(),
            timestamp: self.worker.shared.clock.timestamp(),
            receipts: self.keeps_receipts(),
        }));
    }

    /// The client answered a ping: what it was told before, it has.
    pub(super) fn ponged(&self) {
        if let Some(handle) = &self.open {
            handle.ponged();
        }
    }

    /// The client ended the session: it does not come back.
    pub(super) fn end(self) {
        if let Some(keeping) = self.open.as_ref().and_then(|handle| handle.keeping.as_ref()) {
            keeping.end();
        }
    }

    /// Answers with an error, also before there is a session.
    pub(super) fn refuse(&self, reply: &ReplyId, error: HubError) {
        match &self.open {
            Some(handle) => handle.reply(reply, &Err(error)),
            None => {
                self.worker.shared.metrics.errors.with_label_values(&[error.code.as_str()]).inc();
                if let Some(payload) =
                    self.worker.shared.format(self.format).reply(reply, &Err(error))
                {
                    self.outbound().push(&Frame::rendered(&payload), Class::Reply);
                }
            }
        }
    }

    /// Hands a request to the room server, or answers that it is too busy.
    pub(super) fn ask(&self, request: RoomRequest, reply: ReplyId) {
        if self.worker.room_server.try_send(request).is_err() {
            self.refuse(&reply, HubError::unavailable("the hub is busy; try again"));
        }
    }
}

/// However a session ends, also by a panic, no trace of it stays.
impl Drop for SessionCore {
    fn drop(&mut self) {
        if let Some(handle) = self.open.take() {
            let ms = self.now().saturating_sub(self.connection.opened_at);
            let reason = self.outbound().reason();
            log::info!(
                session:% = handle.id, user:% = handle.user, reason, duration_ms = ms,
                sent_bytes = self.outbound().progress();
                "session closed"
            );
            self.worker.room_server.do_send(RoomRequest::Detach(handle));
        }
    }
}
