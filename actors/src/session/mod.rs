//! The session: one actor per WebSocket connection. It reads frames, decides what
//! they ask, and hands it to the room server of its worker and to the presence
//! tracker; what goes out passes the connection's [`Outbound`] queue.

mod context;
mod custom;
mod dispatch;
mod fragments;
mod handle;
pub mod heartbeat;
mod rate;

use std::{collections::VecDeque, net::IpAddr, sync::Arc};

use actix::Recipient;
use hubbub_protocol::{
    close::CloseCode,
    error::{ErrorCode, HubError},
    event::{Authenticated, Event, ReplyId, Request},
    id::SessionId,
    wire::FormatId,
};

pub use self::{
    context::start,
    handle::{Connection, Grants, Identity, SessionHandle},
    heartbeat::HeartbeatSettings,
};
use self::{fragments::Fragments, rate::Rate};
use crate::{
    frame::Frame,
    messages::{RoomRequest, Watch},
    outbound::{Class, Outbound},
    shared::Shared,
};

/// What a session needs to begin.
pub struct SessionStart {
    /// What everybody on the node shares.
    pub shared: Arc<Shared>,
    /// What it talks to on its worker.
    pub worker: Arc<WorkerLink>,
    /// The connection.
    pub connection: Arc<Connection>,
    /// The format it speaks.
    pub format: FormatId,
    /// Who it is, if the handshake said so.
    pub identity: Option<Identity>,
}

/// What the sessions of one worker talk to; shared, since every recipient of its
/// own would weigh on every idle connection.
pub struct WorkerLink {
    /// The worker's number.
    pub index: usize,
    /// Its room server.
    pub room_server: Recipient<RoomRequest>,
    /// Its heart.
    pub heart: Recipient<Watch>,
}

/// One WebSocket connection's actor.
pub struct Session {
    shared: Arc<Shared>,
    worker: Arc<WorkerLink>,
    connection: Arc<Connection>,
    format: FormatId,
    fragments: Fragments,
    rate: Rate,
    /// What is left of a batch while one of its commands is waited for.
    batched: VecDeque<Request>,
    open: Option<Arc<SessionHandle>>,
    /// The token said so in the handshake; opened when the actor starts.
    identity: Option<Identity>,
    /// The room in which the client was last said to type.
    typing: Option<hubbub_protocol::id::RoomName>,
}

impl Session {
    /// A session that has not read anything yet.
    pub fn new(start: SessionStart) -> Self {
        let settings = &start.shared.settings;
        Self {
            fragments: Fragments::new(settings.max_frame_bytes),
            rate: Rate::new(settings.messages_per_second, settings.burst),
            shared: start.shared,
            worker: start.worker,
            connection: start.connection,
            format: start.format,
            batched: VecDeque::new(),
            open: None,
            identity: start.identity,
            typing: None,
        }
    }

    /// The client's address.
    pub fn peer(&self) -> IpAddr {
        self.connection.peer
    }

    fn outbound(&self) -> &Arc<Outbound> {
        &self.connection.outbound
    }

    fn now(&self) -> u64 {
        self.shared.clock.now()
    }

    /// Opens the session for who a token names, or tells why not.
    /// The rooms of the vocabulary are joined by themselves; the future, if there is
    /// one, is to be waited for first.
    fn open(&mut self, identity: Identity, reply: &ReplyId) -> Option<dispatch::Wait> {
        if self.shared.is_banned(&identity.user) {
            let e = HubError::new(ErrorCode::Forbidden, "an operator has sent this user away");
            self.refuse(reply, e);
            self.outbound().close(CloseCode::Forbidden);
            return None;
        }
        if self.shared.is_draining() {
            let e = HubError::unavailable("the node is draining; connect to another one");
            self.refuse(reply, e);
            self.outbound().close(CloseCode::Draining);
            return None;
        }
        self.accept(&identity);
        let handle = Arc::new(SessionHandle::new(
            SessionId(uuid::Uuid::now_v7()),
            &identity,
            self.format,
            self.worker.index,
            self.connection.clone(),
            self.shared.clone(),
        ));
        log::info!(
            session:% = handle.id, user:% = handle.user, ip:% = self.peer(), worker = self.worker.index;
            "session opened"
        );
        self.worker.room_server.do_send(RoomRequest::Attach(handle.clone()));
        self.open = Some(handle.clone());
        self.tell_authenticated(&handle);
        self.auto_join(&handle)
    }

    /// A token was accepted: its end is what the heart looks for now.
    fn accept(&self, identity: &Identity) {
        self.connection.authenticated(identity.expires_at);
        let (connection, format) = (self.connection.clone(), self.format);
        self.worker.heart.do_send(Watch { connection, format });
    }

    fn tell_authenticated(&self, handle: &SessionHandle) {
        handle.tell(&Event::Authenticated(Authenticated {
            session: handle.id,
            user: handle.user.clone(),
            node: self.shared.node.clone(),
            timestamp: self.shared.clock.timestamp(),
        }));
    }

    /// Answers with an error, also before there is a session.
    fn refuse(&self, reply: &ReplyId, error: HubError) {
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
    fn ask(&self, request: RoomRequest, reply: ReplyId) {
        if self.worker.room_server.try_send(request).is_err() {
            self.refuse(&reply, HubError::unavailable("the hub is busy; try again"));
        }
    }
}

/// However a session ends, also by a panic, no trace of it stays.
impl Drop for Session {
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
