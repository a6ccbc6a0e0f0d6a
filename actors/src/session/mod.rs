//! The session: one actor per connection. It reads frames, decides what they ask,
//! and hands it to the room server of its worker and to the presence tracker; what
//! goes out passes the connection's [`Outbound`](crate::outbound::Outbound) queue.
//!
//! | module | holds |
//! |---|---|
//! | `core` | what a session does, whatever it came on |
//! | `dispatch`, `custom` | what each command does |
//! | [`engine`] | Socket.IO: many sessions on one connection, also over polling |
//! | [`plain`] | a WebSocket whose messages go to an application |
//! | `context` | the actor that reads WebSocket frames |
//! | `handle` | what the rest of the hub holds of a session |
//! | [`keeping`], `restore`, `resuming` | what survives the connection, and how it comes back |
//! | [`heartbeat`], `rate`, `fragments` | pure |

mod context;
mod core;
mod custom;
mod dispatch;
pub mod engine;
mod fragments;
mod handle;
pub mod heartbeat;
pub mod keeping;
pub mod plain;
mod rate;
mod receipts;
mod restore;
mod resuming;

use std::{future::Future, sync::Arc, time::Instant};

use actix::Recipient;
use actix_http::error::PayloadError;
use bytes::Bytes;
use bytestring::ByteString;
use futures_util::Stream;
use hubbub_protocol::{
    close::CloseCode,
    event::ReplyId,
    wire::{FormatId, socketio},
};

use self::{context::FrameHandler, core::SessionCore, dispatch::Wait};
pub use self::{
    engine::EngineSettings,
    handle::{Connection, Grants, Identity, SessionHandle, Wire},
    heartbeat::HeartbeatSettings,
};
use crate::{
    messages::{RoomRequest, Watch},
    shared::Shared,
};

/// What a session needs to begin.
pub struct SessionStart {
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
    /// What everybody on the node shares.
    pub shared: Arc<Shared>,
    /// The worker's number.
    pub index: usize,
    /// Its room server.
    pub room_server: Recipient<RoomRequest>,
    /// The bounds of a Socket.IO packet.
    pub packets: Arc<socketio::Limits>,
    /// Its heart.
    pub heart: Recipient<Watch>,
}

/// One connection of the JSON wire.
pub struct Session {
    core: SessionCore,
    /// The token said so in the handshake; opened when the actor starts.
    identity: Option<Box<Identity>>,
}

impl Session {
    /// A session that has not read anything yet.
    pub fn new(start: SessionStart) -> Self {
        let core = SessionCore::new(start.worker, start.connection, start.format);
        Self { core, identity: start.identity.map(Box::new) }
    }
}

/// Starts a session that reads the client's bytes from a stream. The future it
/// gives must be polled by the connection's driver; it ends when the session
/// does.
pub fn start(
    session: Session,
    bytes: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static,
) -> impl Future<Output = ()> {
    context::start(session, bytes)
}

impl FrameHandler for Session {
    const BINARY: bool = false;

    fn shared(&self) -> &Arc<Shared> {
        &self.core.worker.shared
    }

    fn connection(&self) -> &Arc<Connection> {
        &self.core.connection
    }

    fn max_message(&self) -> usize {
        self.core.worker.shared.settings.max_frame_bytes
    }

    fn started(&mut self) -> Option<Wait> {
        let identity = self.identity.take()?;
        self.core.open_or_close(*identity, &ReplyId::None)
    }

    fn sign_of_life(&mut self) {
        self.core.connection.seen(self.core.now());
    }

    fn text(&mut self, text: ByteString) -> Option<Wait> {
        self.core.on_request(|format| format.decode(&text))
    }

    fn binary(&mut self, _: Bytes) -> Option<Wait> {
        self.core.connection.close(CloseCode::BadFrame);
        None
    }

    fn ponged(&self) {
        self.core.outbound().ponged();
        self.core.ponged();
    }

    fn done(&self) {
        if let Some(keeping) = self.core.open.as_ref().and_then(|open| open.keeping.as_ref()) {
            keeping.end();
        }
    }

    fn go_on(&mut self) -> Option<Wait> {
        self.core.go_on(Instant::now())
    }
}
