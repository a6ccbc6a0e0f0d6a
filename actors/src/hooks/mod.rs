//! What a backend is told of: sessions, members, rooms, messages.
//!
//! | file | holds |
//! |---|---|
//! | `event` | the events, their ids, their JSON |
//! | `view` | who is in which room on all nodes, as it was told (pure) |
//! | `reporter` | which node of a fleet tells what concerns all (pure) |
//! | `fleet` | follows the log of presence and reports from it |
//! | `queue` | the durable queue: a file, or memory |
//! | `metrics` | what is counted |
//!
//! Whoever sees something happen hands it to [`Hooks`], which never waits. The queue
//! keeps it; the process, which alone speaks HTTP, takes it from there.

mod event;
pub(crate) mod fleet;
mod metrics;
pub mod queue;
pub(crate) mod reporter;
pub(crate) mod view;

use std::sync::Arc;

use hubbub_protocol::record::Stored;

pub use self::{
    event::{HookBody, HookEvent, HookKind, HookKinds, HookMember, HookSession, NODE_LOST},
    metrics::HookMetrics,
};
use crate::{ports::PortFuture, session::SessionHandle};

/// The port: takes events on their way to the backend.
pub trait HookSink: Send + Sync + 'static {
    /// Takes an event. Never blocks, called from any thread; beyond its bounds the sink
    /// drops the event and counts it.
    fn emit(&self, event: HookEvent);

    /// Takes no more, and has what it can still be told within a few seconds.
    fn close(&self) -> PortFuture<()>;
}

/// What a node tells the backend, and where to. Only there if it tells anything.
pub struct Hooks {
    /// This start of this node: `<node id>#<8 hexadecimal digits>`.
    pub instance: Arc<str>,
    /// What the backend wants to be told.
    pub kinds: HookKinds,
    /// Where events go.
    pub sink: Arc<dyn HookSink>,
}

impl Hooks {
    /// Whether durable publishes are told.
    pub fn publishes(&self) -> bool {
        self.kinds.has(HookKind::MessagePublished)
    }

    /// A session opened here at a time, or is there again.
    pub(crate) fn opened(&self, session: &SessionHandle, opened: u64, again: bool) {
        if self.kinds.sessions() {
            let wire = session.shared.format(session.format).name();
            self.sink.emit(HookEvent::opened(self.session(session, opened), wire, again));
        }
    }

    /// A session that opened here at a time closed.
    pub(crate) fn closed(&self, session: &SessionHandle, opened: u64, now: u64) {
        if self.kinds.sessions() {
            let over = session.keeping.as_ref().is_some_and(|keeping| keeping.is_over());
            let reason = match session.connection.outbound.reason() {
                "client_gone" | "transport_close" | "done" if over => "client_left",
                reason => reason,
            };
            self.sink.emit(HookEvent::closed(self.session(session, opened), reason, now));
        }
    }

    /// A session that opened here at a time was told to be over, although it is not.
    pub(crate) fn lost(&self, session: &SessionHandle, opened: u64, now: u64) {
        if self.kinds.sessions() {
            self.sink.emit(HookEvent::closed(self.session(session, opened), NODE_LOST, now));
        }
    }

    fn session(&self, session: &SessionHandle, opened: u64) -> HookSession {
        HookSession {
            id: session.id,
            user: session.user.clone(),
            username: session.username.clone(),
            instance: self.instance.clone(),
            opened,
        }
    }

    /// A publish that this node took is stored.
    pub(crate) fn published(&self, stored: Stored, node: &Arc<str>) {
        self.sink.emit(HookEvent::published(stored, node.clone()));
    }
}
