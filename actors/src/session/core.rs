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
    rate::Rate,
};
use crate::{
    frame::Frame,
    messages::{RoomRequest, Watch},
    outbound::{Class, Outbound},
    shared::Shared,
};

/// One session: one per connection of the JSON wire, one per namespace of a
/// Socket.IO connection.
pub struct SessionCore {
    pub(super) shared: Arc<Shared>,
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
    pub(super) typing: Option<RoomName>,
}

impl SessionCore {
    /// A session that nobody has opened yet.
    pub fn new(
        shared: Arc<Shared>,
        worker: Arc<WorkerLink>,
        connection: Arc<Connection>,
        format: FormatId,
    ) -> Self {
        let settings = &shared.settings;
        Self {
            rate: Rate::new(settings.messages_per_second, settings.burst),
            shared,
            worker,
            id: SessionId(uuid::Uuid::now_v7()),
            connection,
            format,
            batched: None,
            open: None,
            typing: None,
        }
    }

    fn peer(&self) -> IpAddr {
        self.connection.peer
    }

    pub(super) fn outbound(&self) -> &Arc<Outbound> {
        &self.connection.outbound
    }

    pub(super) fn now(&self) -> u64 {
        self.shared.clock.now()
    }

    /// Opens the session for who a token names, or tells why not and closes. The
    /// future, if there is one, is to be waited for first.
    pub(super) fn open_or_close(&mut self, identity: Identity, reply: &ReplyId) -> Option<Wait> {
        match self.open(identity, |_| {}) {
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

    /// Opens the session for who a token names. `greet` may tell the client so
    /// before anything else reaches it. The rooms of the vocabulary are joined by
    /// themselves; the future, if there is one, is to be waited for first.
    pub(super) fn open(
        &mut self,
        identity: Identity,
        greet: impl FnOnce(&SessionHandle),
    ) -> Outcome {
        if self.shared.is_banned(&identity.user) {
            let why = "an operator has sent this user away";
            return Err(HubError::new(ErrorCode::Forbidden, why));
        }
        if self.shared.is_draining() {
            let why = "the node is draining; connect to another one";
            return Err(HubError::unavailable(why));
        }
        self.accept(&identity);
        let handle = Arc::new(SessionHandle::new(
            self.id,
            &identity,
            self.format,
            self.worker.index,
            self.connection.clone(),
            self.shared.clone(),
        ));
        log::info!(
            session:% = handle.id, user:% = handle.user, ip:% = self.peer(), worker = self.worker.index,
            wire = self.shared.format(self.format).name();
            "session opened"
        );
        greet(&handle);
        self.worker.room_server.do_send(RoomRequest::Attach(handle.clone()));
        self.open = Some(handle.clone());
        self.tell_authenticated(&handle);
        Ok(self.auto_join(&handle))
    }

    /// A token was accepted: its end is what the heart looks for now.
    pub(super) fn accept(&self, identity: &Identity) {
        self.connection.authenticated(identity.expires_at);
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
            node: self.shared.node.clone(),
            timestamp: self.shared.clock.timestamp(),
        }));
    }

    /// Answers with an error, also before there is a session.
    pub(super) fn refuse(&self, reply: &ReplyId, error: HubError) {
        match &self.open {
            Some(handle) => handle.reply(reply, &Err(error)),
            None => {
                self.shared.metrics.errors.with_label_values(&[error.code.as_str()]).inc();
                if let Some(text) = self.shared.format(self.format).reply(reply, &Err(error)) {
                    self.outbound().push(&Frame::text(&text), Class::Reply);
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
