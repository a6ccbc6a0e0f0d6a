//! What an embedder answers with in place of the hub's rooms: messages as they come,
//! or Socket.IO namespaces. The layers below, from the socket to the packets, their
//! bounds and their order, are the hub's own.

use std::sync::Arc;

use actix_http::header::HeaderMap;
use bytes::Bytes;
use bytestring::ByteString;
use hubbub_protocol::{
    close::CloseCode,
    wire::{
        engineio::MESSAGE_PREFIX,
        socketio::{self, EventName, Parser, RawJson, engine_frame, msgpack},
    },
};

use super::MAX_NAMESPACES;
use crate::{
    frame::Frame,
    outbound::{Class, Pushed},
    session::Connection,
};

/// Makes what answers on a connection, once there is one.
pub type MakeApp = Box<dyn FnOnce(Link) -> App>;

/// What answers on a connection.
pub enum App {
    /// Texts and binaries: Engine.IO alone, or a WebSocket without it.
    Messages(Box<dyn MessageApp>),
    /// Socket.IO namespaces.
    Namespaces(Box<dyn NamespaceApp>),
}

/// Answers the messages of one connection; dropped when it ends.
pub trait MessageApp: Send + 'static {
    /// The connection is open, and what opens it is on its way.
    fn opened(&mut self) {}
    /// A text.
    fn text(&mut self, text: ByteString);
    /// Binary data.
    fn binary(&mut self, data: Bytes);
    /// What comes next came in a POST with these headers, where the transport was told
    /// to keep them.
    fn posted(&mut self, headers: HeaderMap) {
        drop(headers);
    }
}

/// Lets clients join the namespaces of one connection, those that
/// `socketio.namespaces` knows; dropped when it ends.
pub trait NamespaceApp: Send + 'static {
    /// A client wants to join a namespace that it is not in. `auth` is a JSON object.
    ///
    /// # Errors
    /// Why it may not, to be told as `connect_error`.
    fn connect(
        &mut self,
        namespace: &SocketLink,
        auth: Option<&RawJson>,
    ) -> Result<Accepted, ConnectRefused>;
}

/// A namespace was joined.
pub struct Accepted {
    /// The socket's id, told to the client.
    pub sid: String,
    /// The id under which it can come back, told to the client alone.
    pub pid: Option<String>,
    /// Answers its packets.
    pub socket: Box<dyn SocketApp>,
}

/// Why a namespace cannot be joined.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectRefused {
    /// The message of the `connect_error`.
    pub message: String,
    /// Its `data`.
    pub data: Option<RawJson>,
}

impl ConnectRefused {
    /// The connection has joined as many as it may.
    pub(super) fn full() -> Self {
        let message = format!("a connection may join {MAX_NAMESPACES} namespaces");
        Self { message, data: None }
    }
}

/// Answers the packets of one namespace; dropped when the client leaves it or the
/// connection ends.
pub trait SocketApp: Send + 'static {
    /// The answer to CONNECT is on its way.
    fn joined(&mut self) {}
    /// An event.
    fn event(&mut self, event: SocketEvent);
    /// The answer to an event that asked for one.
    fn acknowledged(&mut self, id: u64, args: Vec<RawJson>, attachments: Vec<Bytes>) {
        drop((id, args, attachments));
    }
    /// The client leaves the namespace, which is dropped next.
    fn left(&mut self) {}
}

/// One event of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketEvent {
    /// Its name.
    pub name: EventName,
    /// Its arguments, with placeholders for what is binary.
    pub args: Vec<RawJson>,
    /// The client waits for an answer with this id.
    pub id: Option<u64>,
    /// The binary values, by the number of their placeholders.
    pub attachments: Vec<Bytes>,
}

/// A way to the client of one connection; cheap to clone. What is sent waits in the
/// connection's queue, whose bound closes it.
#[derive(Clone)]
pub struct Link {
    connection: Arc<Connection>,
    /// Whether texts go in Engine.IO packets.
    packets: bool,
}

impl Link {
    /// Over Engine.IO.
    pub(super) fn engine(connection: Arc<Connection>) -> Self {
        Self { connection, packets: true }
    }

    /// Over WebSocket alone.
    pub(in crate::session) fn plain(connection: Arc<Connection>) -> Self {
        Self { connection, packets: false }
    }

    /// Sends a text.
    pub fn send_text(&self, text: &str) -> Pushed {
        if !self.packets {
            return self.push(&Frame::text(text.as_bytes()));
        }
        let mut packet = String::with_capacity(text.len() + 1);
        packet.push(MESSAGE_PREFIX);
        packet.push_str(text);
        self.push(&Frame::text(packet.as_bytes()))
    }

    /// Sends binary data.
    pub fn send_binary(&self, data: &[u8]) -> Pushed {
        self.push(&Frame::binary(data))
    }

    /// Closes once what waits is sent.
    pub fn close(&self) {
        self.connection.close(CloseCode::Normal);
    }

    /// The connection.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    fn push(&self, frame: &Frame) -> Pushed {
        self.connection.outbound.push(frame, Class::Reply)
    }
}

/// A way to the client in one namespace; cheap to clone.
#[derive(Clone)]
pub struct SocketLink {
    link: Link,
    namespace: ByteString,
    parser: Parser,
}

impl SocketLink {
    pub(super) fn new(link: Link, namespace: ByteString, parser: Parser) -> Self {
        Self { link, namespace, parser }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The way to the client of the connection.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Sends an event. With an `id` the client is asked for an answer; the placeholders
    /// in `args` name the attachments.
    pub fn emit<A: AsRef<str>>(
        &self,
        name: &str,
        args: &[A],
        id: Option<u64>,
        attachments: &[Bytes],
    ) -> Pushed {
        self.send(attachments, |out| {
            socketio::write_event(out, &self.namespace, name, args, id, attachments.len());
        })
    }

    /// Answers an event that came with an id.
    pub fn ack<A: AsRef<str>>(&self, id: u64, args: &[A], attachments: &[Bytes]) -> Pushed {
        self.send(attachments, |out| {
            socketio::write_ack(out, &self.namespace, Some(id), args, attachments.len());
        })
    }

    /// Sends a packet with its attachments.
    fn send(&self, attachments: &[Bytes], write: impl FnOnce(&mut String)) -> Pushed {
        if self.parser == Parser::Default {
            let text = engine_frame(write);
            return self.link.push(&Frame::with_attachments(text.as_bytes(), attachments));
        }
        let mut text = String::new();
        write(&mut text);
        match msgpack::encode(&text, attachments) {
            Ok(packet) => self.link.push(&Frame::binary(&packet)),
            // A placeholder without its attachment: nothing that a client could read.
            Err(_) => Pushed::Dropped,
        }
    }
}
