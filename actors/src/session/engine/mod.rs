//! Socket.IO: one connection, and a session for each namespace that its client
//! joins. The connection may be a WebSocket, or HTTP long-polling that becomes one:
//! the [`Engine`] is what stays the same, with its sessions and its queue.
//!
//! | module | holds |
//! |---|---|
//! | `connect` | who may join which namespace |
//! | [`app`] | what an embedder answers with instead |
//! | `recover` | a session that comes back |
//! | [`polling`] | the actor of a connection while it polls |
//! | [`registry`] | where the connection of a sid is |
//! | [`seat`] | what a connection is counted by |
//! | `vocabulary` | which vocabulary a namespace is spoken to in |

pub mod app;
mod connect;
pub mod polling;
mod recover;
pub mod registry;
pub mod seat;
mod vocabulary;

use std::{future::Future, net::IpAddr, sync::Arc, time::Instant};

use actix_http::{error::PayloadError, header::HeaderMap};
use bytes::Bytes;
use bytestring::ByteString;
use futures_util::Stream;
use hubbub_protocol::{
    close::CloseCode,
    error::{ErrorCode, HubError},
    event::{ReplyId, Request},
    vocabulary::Vocabulary,
    wire::{
        FormatId,
        engineio::{self, Handshake, Transport},
        socketio::{self, Body, MAIN_NAMESPACE, Parser, Reassembler, msgpack},
    },
};

pub use self::vocabulary::Choices;
use self::{
    app::{App, Link, MakeApp, SocketApp, SocketEvent},
    recover::Recovering,
    registry::Registration,
};
use super::{
    Connection, HeartbeatSettings, Wire, WorkerLink,
    context::{self, FrameHandler},
    core::SessionCore,
    dispatch::Wait,
    rate::{Passage, Rate},
};
use crate::{frame::Frame, messages::Watch, outbound::Class, outbound::Outbound, shared::Shared};

/// Most namespaces that one connection may have joined.
pub const MAX_NAMESPACES: usize = 16;

/// Times and bounds of the Socket.IO wire.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// `socketio.ping_interval_ms` and `socketio.ping_timeout_ms`.
    pub heartbeat: HeartbeatSettings,
    /// `socketio.max_http_buffer_bytes`: of a polling body and of a message.
    pub max_payload: usize,
    /// `socketio.connect_timeout_ms`.
    pub connect_timeout_ms: u64,
    /// `socketio.parser`.
    pub parser: Parser,
    /// `socketio.namespaces`: names, or patterns with `*` and `?`.
    pub namespaces: Vec<String>,
    /// `socketio.vocabulary`; none for `hubbub`.
    pub vocabulary: Option<Arc<Vocabulary>>,
    /// Others, by the namespace or by the client's wish.
    pub choices: Choices,
}

/// What a connection needs to begin.
pub struct EngineStart {
    /// What it talks to on its worker.
    pub worker: Arc<WorkerLink>,
    /// Its queue.
    pub outbound: Arc<Outbound>,
    /// The client's address.
    pub peer: IpAddr,
    /// What the handshake says for every CONNECT that does not say it itself; none if
    /// it says nothing.
    pub hello: Option<Box<Hello>>,
    /// What answers in place of the hub's rooms.
    pub app: Option<MakeApp>,
}

/// What the handshake of a connection may say.
#[derive(Debug)]
pub struct Hello {
    /// A token.
    pub token: Option<Box<str>>,
    /// `?vocabulary=`.
    pub vocabulary: Option<Box<str>>,
}

/// One Socket.IO connection, on whatever transport.
pub struct Engine {
    worker: Arc<WorkerLink>,
    connection: Arc<Connection>,
    hello: Option<Box<Hello>>,
    reassembler: Reassembler,
    joined: Vec<Joined>,
    /// What most connections never have.
    rare: Option<Box<Rare>>,
    registration: Registration,
    /// What answers in place of the hub's rooms. Behind a pointer: a hub has none.
    app: Option<Box<App>>,
}

#[derive(Default)]
struct Rare {
    /// A CONNECT that asks a session back, while that is looked for.
    recovering: Option<Box<Recovering>>,
    /// Made when it joins, leaves or acknowledges again.
    control: Option<Control>,
}

/// What a connection is counted by that its sessions are not.
struct Control {
    /// How often it may join, leave and acknowledge.
    rate: Rate,
    /// Of the sessions that have left, for those that come: at most one for each
    /// namespace that was joined at a time.
    left: Vec<Rate>,
}

struct Joined {
    /// Its name; none for the main one, in which most are.
    namespace: Option<Box<str>>,
    member: Member,
}

impl Joined {
    fn new(namespace: &str, member: Member) -> Self {
        let namespace = (namespace != MAIN_NAMESPACE).then(|| namespace.into());
        Self { namespace, member }
    }

    fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(MAIN_NAMESPACE)
    }
}

/// Who answers in a namespace.
enum Member {
    /// A session of the hub.
    Session(SessionCore),
    /// An application.
    App(Box<dyn SocketApp>),
}

impl Engine {
    /// A connection that must join a namespace soon.
    pub fn new(start: EngineStart, registration: Registration) -> Self {
        let settings = &start.worker.shared.settings.engine;
        let now = start.worker.shared.clock.now();
        let deadline = now + settings.connect_timeout_ms;
        let connection = Connection::new(Wire::Engine, start.outbound, start.peer, now, deadline);
        let connection = Arc::new(connection);
        let app = start.app.map(|make| Box::new(make(Link::engine(connection.clone()))));
        if let Some(App::Messages(_)) = app.as_deref() {
            // There is no namespace to join.
            connection.authenticated(None);
        }
        let engine = Self {
            connection,
            app,
            hello: start.hello,
            reassembler: Reassembler::new(start.worker.packets.clone())
                .with_parser(settings.parser),
            joined: Vec::new(),
            rare: None,
            registration,
            worker: start.worker,
        };
        engine.watch();
        engine
    }

    /// The open packet, its `0` included.
    pub fn handshake(&self, transport: Transport) -> String {
        let settings = &self.worker.shared.settings.engine;
        let mut text = String::with_capacity(160);
        Handshake {
            sid: self.registration.sid().to_string(),
            upgrades: match transport {
                Transport::Polling => vec![Transport::WebSocket],
                Transport::WebSocket => Vec::new(),
            },
            ping_interval: settings.heartbeat.heartbeat_ms,
            ping_timeout: settings.heartbeat.timeout_ms,
            max_payload: settings.max_payload as u64,
        }
        .encode(&mut text);
        text
    }

    /// The open packet is on its way.
    fn opened(&mut self) {
        if let Some(App::Messages(app)) = self.app.as_deref_mut() {
            app.opened();
        }
    }

    /// A POST with these headers came.
    fn posted(&mut self, headers: HeaderMap) {
        if let Some(App::Messages(app)) = self.app.as_deref_mut() {
            app.posted(headers);
        }
    }

    /// What heartbeats and limits look at.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// What everybody on the node shares.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.worker.shared
    }

    fn now(&self) -> u64 {
        self.worker.shared.clock.now()
    }

    /// Has the heart look at the connection anew.
    fn watch(&self) {
        // The connection itself is never told anything in a format.
        let (connection, format) = (self.connection.clone(), FormatId(0));
        self.worker.heart.do_send(Watch { connection, format });
    }

    /// Whether the last pong is too long ago, to the millisecond.
    fn is_lost(&self) -> bool {
        let times = self.worker.shared.settings.engine.heartbeat;
        self.now() >= self.connection.vitals().last_seen + times.heartbeat_ms + times.timeout_ms
    }

    /// Takes one Engine.IO packet. What it gives is to be waited for before the
    /// next is given.
    fn packet(&mut self, packet: engineio::Packet) -> Option<Wait> {
        match packet {
            engineio::Packet::Pong(_) => {
                self.connection.seen(self.now());
                self.connection.outbound.ponged();
                for joined in &self.joined {
                    if let Member::Session(core) = &joined.member {
                        core.ponged();
                    }
                }
            }
            engineio::Packet::Text(text) => return self.message(text),
            engineio::Packet::Binary(data) => return self.attachment(data),
            engineio::Packet::Close => self.connection.close(CloseCode::Normal),
            // Pings come from the hub.
            engineio::Packet::Ping(_) => self.fail("a ping from the client"),
            engineio::Packet::Open(_) | engineio::Packet::Upgrade | engineio::Packet::Noop => {}
        }
        None
    }

    /// Closes after something that a client must not send.
    fn fail(&self, why: &str) {
        log::debug!(ip:% = self.connection.peer, why; "a Socket.IO connection broke the protocol");
        self.connection.close(CloseCode::BadFrame);
    }

    fn message(&mut self, text: ByteString) -> Option<Wait> {
        if let Some(App::Messages(app)) = self.app.as_deref_mut() {
            app.text(text);
            return None;
        }
        match self.reassembler.text(&text) {
            Ok(Some(packet)) => self.socket_packet(packet, text.len()),
            Ok(None) => None,
            Err(e) => {
                self.fail(e.code());
                None
            }
        }
    }

    fn attachment(&mut self, data: Bytes) -> Option<Wait> {
        if let Some(App::Messages(app)) = self.app.as_deref_mut() {
            app.binary(data);
            return None;
        }
        match self.reassembler.binary(data) {
            Ok(Some(packet)) => {
                let bytes = packet.body.text_bytes();
                self.socket_packet(packet, bytes)
            }
            Ok(None) => None,
            Err(e) => {
                self.fail(e.code());
                None
            }
        }
    }

    fn socket_packet(&mut self, packet: socketio::Packet, bytes: usize) -> Option<Wait> {
        let at = self.joined.iter().position(|j| j.namespace() == &*packet.namespace);
        match (packet.body, at) {
            (Body::Event { name, args, id, attachments }, Some(at)) => {
                self.event(at, SocketEvent { name, args, id, attachments }, bytes)
            }
            (Body::Connect { data }, None) => {
                if !self.may_control() {
                    return None;
                }
                self.connect(packet.namespace, data.as_ref())
            }
            (Body::Disconnect, Some(at)) => {
                if self.may_control() {
                    match self.joined.swap_remove(at).member {
                        Member::App(mut app) => app.left(),
                        Member::Session(mut core) => {
                            // Who leaves and comes back has no new burst.
                            let rate = std::mem::replace(&mut core.rate, Rate::new(0, 0));
                            self.control().left.push(rate);
                            core.end();
                        }
                    }
                    self.left();
                }
                None
            }
            // Nothing was asked; like an id that is unknown, it is ignored.
            (Body::Ack { id, args, attachments }, Some(at)) => {
                if self.may_control()
                    && let Some(id) = id
                    && let Member::App(app) = &mut self.joined[at].member
                {
                    app.acknowledged(id, args, attachments);
                }
                None
            }
            (Body::Connect { .. }, Some(_)) => {
                self.fail("a second CONNECT");
                None
            }
            (Body::ConnectError { .. }, _) => {
                self.fail("a CONNECT_ERROR from the client");
                None
            }
            (_, None) => {
                self.fail("a packet before CONNECT");
                None
            }
        }
    }

    fn event(&mut self, at: usize, event: SocketEvent, bytes: usize) -> Option<Wait> {
        let core = match &mut self.joined[at].member {
            Member::Session(core) => core,
            Member::App(app) => {
                app.event(event);
                return None;
            }
        };
        let SocketEvent { name, args, id, attachments } = event;
        let max = self.worker.shared.settings.max_frame_bytes;
        let refusal = if !attachments.is_empty() {
            Some(HubError::bad_request("this event takes no binary data; encode it as text"))
        } else if bytes > max {
            let why = format!("an event may have {max} bytes");
            Some(HubError::new(ErrorCode::TooLarge, why))
        } else {
            None
        };
        core.on_request(|format| match &refusal {
            None => format.decode_event(name.as_str(), &args, id),
            Some(error) => Request {
                reply: id.map_or(ReplyId::None, ReplyId::SocketIo),
                command: Err(error.clone()),
            },
        })
    }

    /// Without a namespace it has as long as at the beginning to join one.
    fn left(&self) {
        if self.joined.is_empty() {
            let wait = self.worker.shared.settings.engine.connect_timeout_ms;
            self.connection.must_authenticate(self.now() + wait);
            self.watch();
        }
    }

    /// Counts a packet that is no event: who sends too many is closed.
    fn control(&mut self) -> &mut Control {
        let settings = &self.worker.shared.settings;
        self.rare.get_or_insert_default().control.get_or_insert_with(|| {
            let rate = Rate::new(settings.messages_per_second, settings.burst);
            Control { rate, left: Vec::new() }
        })
    }

    /// The rate of a session that has left.
    fn left_rate(&mut self) -> Option<Rate> {
        self.rare.as_mut()?.control.as_mut()?.left.pop()
    }

    fn may_control(&mut self) -> bool {
        match self.control().rate.check() {
            Passage::Free => true,
            Passage::Limited | Passage::Abused => {
                self.connection.close(CloseCode::RateAbused);
                false
            }
        }
    }

    /// Pushes an Engine.IO packet of the connection itself.
    fn push(&self, text: &str) {
        self.connection.outbound.push(&Frame::text(text.as_bytes()), Class::Reply);
    }

    /// Pushes a Socket.IO packet of the connection itself, as its parser reads it.
    fn push_packet(&self, text: String) {
        let frame = match self.worker.shared.settings.engine.parser {
            Parser::Default => Some(Frame::text(text.as_bytes())),
            Parser::Msgpack => {
                msgpack::from_frame(text.as_bytes()).map(|packet| Frame::binary(&packet))
            }
        };
        if let Some(frame) = frame {
            self.connection.outbound.push(&frame, Class::Reply);
        }
    }
}

/// Starts a connection on a WebSocket; as [`session::start`](super::start). `hello`
/// sends the open packet; a connection that has polled before has sent it.
pub fn start(
    mut engine: Engine,
    hello: bool,
    bytes: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static,
) -> impl Future<Output = ()> {
    engine.registration.on_websocket();
    if hello {
        engine.push(&engine.handshake(Transport::WebSocket));
        engine.opened();
    }
    context::start(engine, bytes)
}

impl FrameHandler for Engine {
    const BINARY: bool = true;

    fn shared(&self) -> &Arc<Shared> {
        &self.worker.shared
    }

    fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    fn max_message(&self) -> usize {
        // Before the message stands its Engine.IO prefix.
        self.worker.shared.settings.engine.max_payload
    }

    fn started(&mut self) -> Option<Wait> {
        None
    }

    /// Only a pong counts.
    fn sign_of_life(&mut self) {}

    fn text(&mut self, text: ByteString) -> Option<Wait> {
        match engineio::Packet::decode(&text) {
            Ok(packet) => self.packet(packet),
            Err(e) => {
                self.fail(e.code());
                None
            }
        }
    }

    fn binary(&mut self, data: Bytes) -> Option<Wait> {
        self.attachment(data)
    }

    fn go_on(&mut self) -> Option<Wait> {
        if let Some(recovering) = self.rare.as_mut().and_then(|rare| rare.recovering.take()) {
            self.rare.take_if(|rare| rare.control.is_none());
            return self.recovered(*recovering);
        }
        // Whatever waits, waits for one command of one session.
        self.joined.iter_mut().find_map(|joined| match &mut joined.member {
            Member::Session(core) => core.go_on(Instant::now()),
            Member::App(_) => None,
        })
    }
}

/// The reason that logs and metrics show for the end of such a connection.
pub fn reason(reason: &'static str) -> &'static str {
    const MISSED: &str = CloseCode::HeartbeatMissed.reason();
    const DONE: &str = CloseCode::Normal.reason();
    const BAD: &str = CloseCode::BadFrame.reason();
    match reason {
        MISSED => "ping_timeout",
        DONE | "client_gone" => "transport_close",
        BAD => "parse_error",
        other => other,
    }
}
