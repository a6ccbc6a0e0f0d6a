//! A WebSocket for a connection that polls: it may come to any worker, and goes to
//! the one that owns the connection. There it is probed, and takes over.

use std::{future::poll_fn, rc::Rc, sync::Arc, time::Duration};

use actix::{Actor, Context, Handler, Message, Recipient};
use actix_codec::Decoder;
use actix_http::ws::{Codec, Frame as Received};
use bytes::{Bytes, BytesMut};
use hubbub_actors::{
    frame::Frame,
    outbound::{Class, Drained, FlushList, Outbound, WhenFull},
    session::engine::{polling::PollingRequest, registry::Entry},
};
use hubbub_protocol::wire::deflate::Intake;
use parking_lot::RwLock;
use tokio::sync::oneshot;

use super::{
    Transport,
    engine::Came,
    inbound::inflate,
    socket::{IntoSocket, Moved, Socket},
};

/// How long the client may take from the handshake to the upgrade.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that may wait for a client that is being probed.
const PROBE_QUEUE: usize = 4096;

/// A WebSocket to the worker that owns its connection. As many as connections that
/// are not upgraded yet: each takes one at a time.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Adopt {
    /// The socket, after its handshake.
    pub socket: Moved,
    /// What came with it.
    pub came: Came,
    /// The connection.
    pub entry: Arc<Entry>,
}

/// Who takes WebSockets in, by worker.
#[derive(Clone, Default)]
pub struct Doormen(Arc<RwLock<Vec<Door>>>);

/// A worker's number and its doorman.
type Door = (usize, Recipient<Adopt>);

impl Doormen {
    /// Sends a WebSocket to a worker.
    pub(super) fn send(&self, worker: usize, adopt: Adopt) {
        let doormen = self.0.read();
        match doormen.iter().find(|(w, _)| *w == worker) {
            Some((_, doorman)) => doorman.do_send(adopt),
            None => adopt.entry.end_probe(),
        }
    }
}

/// The actor of a worker that takes WebSockets in.
struct Doorman(Rc<Transport>);

impl Actor for Doorman {
    type Context = Context<Self>;
}

impl Handler<Adopt> for Doorman {
    type Result = ();

    fn handle(&mut self, adopt: Adopt, _: &mut Self::Context) {
        let transport = self.0.clone();
        let Adopt { socket, came, entry } = adopt;
        match socket {
            Moved::Plain(stream) => match actix_web::rt::net::TcpStream::from_std(stream) {
                Ok(stream) => transport.adopt(stream.into_socket(), came, entry),
                Err(error) => {
                    log::warn!(error:%; "a WebSocket was lost on its way to its worker");
                    entry.end_probe();
                }
            },
            Moved::Tls(stream) => transport.adopt(stream.into_socket(), came, entry),
        }
    }
}

impl Transport {
    /// From now on WebSockets for this worker's connections are taken in.
    pub fn open_door(self: Rc<Self>) {
        let worker = self.worker.link.index;
        let doormen = self.doormen.clone();
        let doorman = Doorman(self).start().recipient();
        doormen.0.write().push((worker, doorman));
    }

    /// Probes a WebSocket and, once the client has moved to it, goes on there.
    fn adopt<S: Socket>(self: Rc<Self>, socket: S, came: Came, entry: Arc<Entry>) {
        let max = self.hub.shared().settings.engine.max_payload;
        actix_web::rt::spawn(async move {
            let Came { first, compression } = came;
            let probe = Probe::new(&socket, max, Intake::new(max, compression.is_some(), first));
            let probed = tokio::time::timeout(UPGRADE_TIMEOUT, probe.run(&entry)).await;
            let Ok(Some(first)) = probed else {
                entry.end_probe();
                entry.ask(PollingRequest::ProbeFailed);
                return;
            };
            let (tell, told) = oneshot::channel();
            entry.ask(PollingRequest::TakeOver(tell));
            if let Ok((engine, seat)) = told.await {
                let came = Came { first, compression };
                self.drive_engine(socket, came, engine, seat, false);
            }
        });
    }
}

/// A WebSocket whose client has not moved to it yet.
struct Probe<'a, S> {
    socket: &'a S,
    intake: Intake,
    codec: Codec,
    outbound: Arc<Outbound>,
    buffer: BytesMut,
}

impl<'a, S: Socket> Probe<'a, S> {
    fn new(socket: &'a S, max: usize, intake: Intake) -> Self {
        let flush = Arc::new(FlushList::default());
        Self {
            socket,
            intake,
            codec: Codec::new().max_size(max),
            outbound: Outbound::new(flush, PROBE_QUEUE, WhenFull::Disconnect),
            buffer: BytesMut::new(),
        }
    }

    /// Until the client says that it has moved; gives what came after that. None if
    /// it went away or did something else.
    async fn run(mut self, entry: &Entry) -> Option<Option<Bytes>> {
        loop {
            while let Some(frame) = self.codec.decode(&mut self.buffer).ok()? {
                match frame {
                    Received::Text(text) if &text[..] == b"2probe" => {
                        self.send(&Frame::text(b"3probe")).await?;
                        if !entry.ask(PollingRequest::Probed) {
                            return None;
                        }
                    }
                    Received::Text(text) if text.first() == Some(&b'5') => {
                        // What is decoded of it is plain, and what is not was not begun.
                        self.buffer.extend_from_slice(&self.intake.take_rest().unwrap_or_default());
                        let rest = self.buffer.freeze();
                        return Some((!rest.is_empty()).then_some(rest));
                    }
                    Received::Ping(payload) => self.send(&Frame::pong(&payload)).await?,
                    Received::Pong(_) => {}
                    _ => return None,
                }
            }
            let piece = match self.intake.take_rest() {
                Some(rest) => rest,
                None => {
                    let mut piece = [0; 4096];
                    let read = poll_fn(|cx| self.socket.poll_read(cx, &mut piece)).await;
                    Bytes::copy_from_slice(&piece[..read.ok().filter(|&n| n > 0)?])
                }
            };
            let passed = self.intake.pass(piece, inflate);
            if passed.error.is_some() {
                return None;
            }
            self.buffer.extend_from_slice(&passed.bytes);
        }
    }

    async fn send(&self, frame: &Frame) -> Option<()> {
        self.outbound.push(frame, Class::Reply);
        poll_fn(|cx| match self.socket.drain(cx, &self.outbound) {
            Drained::Blocked => std::task::Poll::Pending,
            Drained::Empty => std::task::Poll::Ready(Some(())),
            Drained::Failed => std::task::Poll::Ready(None),
        })
        .await
    }
}
