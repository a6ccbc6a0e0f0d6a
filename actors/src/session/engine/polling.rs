//! The actor of a connection while it polls: its GETs drain the queue that its
//! WebSocket will drain later, its POSTs bring packets.

use std::{
    pin::Pin,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use actix::{
    Actor, ActorContext, ActorFuture, ActorFutureExt, AsyncContext, Context, Handler, Message,
    WrapFuture,
};
use actix_http::header::HeaderMap;
use hubbub_protocol::{
    close::CloseCode,
    wire::{
        engineio::{Packet, Payload, PayloadWriter, Transport},
        socketio::Parser,
    },
};
use tokio::sync::oneshot;

use super::{Engine, EngineStart, reason, seat::Seat};
use crate::{contain::contain, frame::Frame, session::context::FrameHandler as _};

/// How long a connection that the hub closes waits for the poll that learns it.
const LAST_POLL: Duration = Duration::from_secs(5);

/// What became of a POST.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Posted {
    /// Its packets were taken.
    Taken,
    /// One of them is none; the connection was closed.
    Malformed,
}

/// The HTTP handlers and the transport to the connection of a sid. Whatever waits
/// is bounded: an actor keeps one poll and one body, and closes for a second one.
/// An answer that is dropped says that there is no such connection.
#[derive(Message)]
#[rtype(result = "()")]
pub enum PollingRequest {
    /// A GET: answered with a body once there is something to say.
    Poll(oneshot::Sender<String>),
    /// A POST, with its headers if the application wants them.
    Post(Payload, Option<Box<HeaderMap>>, oneshot::Sender<Posted>),
    /// The client did what it must not.
    Break,
    /// A WebSocket for it answered the probe: polls are released.
    Probed,
    /// That WebSocket came to nothing.
    ProbeFailed,
    /// The client has moved to the WebSocket; whoever asks goes on with it.
    TakeOver(oneshot::Sender<(Engine, Seat)>),
}

/// A connection that polls.
pub struct Polling {
    engine: Option<Engine>,
    seat: Option<Seat>,
    poll: Option<oneshot::Sender<String>>,
    body: Option<(Payload, oneshot::Sender<Posted>)>,
    /// A packet waits for a decision; what comes after it waits too.
    deciding: bool,
    probing: bool,
    taker: Option<oneshot::Sender<(Engine, Seat)>>,
    /// The hub closes; the next poll is told so.
    last_poll: bool,
}

impl Polling {
    /// Starts the actor on the current worker and gives the open packet.
    pub fn launch(start: EngineStart, seat: Seat) -> String {
        let mut hello = String::new();
        Self::create(|ctx| {
            let registry = &start.worker.shared.engines;
            let registration = registry.add(start.worker.index, Some(ctx.address().recipient()));
            let mut engine = Engine::new(start, registration);
            hello = engine.handshake(Transport::Polling);
            engine.opened();
            Self {
                engine: Some(engine),
                seat: Some(seat),
                poll: None,
                body: None,
                deciding: false,
                probing: false,
                taker: None,
                last_poll: false,
            }
        });
        hello
    }

    /// The end: polls and bodies that wait are answered that there is no such
    /// connection.
    fn end(&mut self, why: &'static str, ctx: &mut Context<Self>) {
        if let Some(engine) = self.engine.take() {
            engine.connection.outbound.fail(why);
            engine.shared().metrics.closed.with_label_values(&[why]).inc();
        }
        self.seat = None;
        self.poll = None;
        self.body = None;
        self.taker = None;
        ctx.stop();
    }

    /// Answers the poll that waits, if there is something to say.
    fn answer(&mut self, ctx: &mut Context<Self>) {
        let Some(engine) = &self.engine else { return };
        let outbound = engine.connection.outbound.clone();
        let closing = outbound.closing();
        match closing {
            Some(CloseCode::Normal) => return self.farewell("6", CloseCode::Normal, ctx),
            Some(code @ (CloseCode::HeartbeatMissed | CloseCode::BadFrame)) => {
                return self.farewell("1", code, ctx);
            }
            _ => {}
        }
        let Some(poll) = self.poll.take() else {
            if closing.is_some() && !self.last_poll {
                self.last_poll = true;
                ctx.run_later(LAST_POLL, |act, ctx| act.end("closed_unheard", ctx));
            }
            return;
        };
        let settings = &engine.shared().settings.engine;
        // Four characters for three bytes.
        let room = match settings.parser {
            Parser::Default => settings.max_payload,
            Parser::Msgpack => settings.max_payload / 4 * 3,
        };
        let frames = outbound.take(room);
        let mut body = Body(PayloadWriter::new(usize::MAX));
        for frame in frames {
            body.push_frame(&frame);
        }
        // What came before the close goes alone: clients handle a close before the
        // packets that stand ahead of it in the same body.
        let ends = closing.filter(|_| body.0.is_empty());
        if ends.is_some() {
            // As the reference: a poll that comes after the close is released first.
            if self.last_poll {
                body.push(&Packet::Noop);
            }
            body.push(&Packet::Close);
        } else if body.0.is_empty() {
            if !self.probing {
                self.poll = Some(poll);
                return;
            }
            body.push(&Packet::Noop);
        }
        let body = body.0.finish();
        engine.shared().metrics.outbound_bytes.inc_by(body.len() as u64);
        if poll.send(body).is_err() {
            self.end("transport_close", ctx);
        } else if let Some(code) = ends {
            self.end(reason(code.reason()), ctx);
        }
    }

    /// Ends at once; a poll that waits gets one packet.
    fn farewell(&mut self, packet: &str, code: CloseCode, ctx: &mut Context<Self>) {
        if let Some(poll) = self.poll.take() {
            // Whether it is heard changes nothing.
            let _ = poll.send(packet.to_owned());
        }
        if let Some((_, posted)) = self.body.take() {
            let malformed = code == CloseCode::BadFrame;
            let _ = posted.send(if malformed { Posted::Malformed } else { Posted::Taken });
        }
        self.end(reason(code.reason()), ctx);
    }

    /// Takes the packets of the body that came, until one needs a decision.
    fn work(&mut self, ctx: &mut Context<Self>) {
        while !self.deciding
            && let Some(engine) = &mut self.engine
            && let Some((payload, _)) = &mut self.body
        {
            let next = if engine.connection.outbound.closing().is_some() {
                // Whatever still comes is not ours to answer.
                None
            } else {
                payload.next()
            };
            match next {
                Some(Ok(packet)) => {
                    let shared = engine.shared().clone();
                    match contain(&shared, "session", || engine.packet(packet)) {
                        Some(None) => {}
                        Some(Some(decision)) => {
                            self.deciding = true;
                            let decided = decision.into_actor(self);
                            ctx.spawn(decided.map(|(), act, ctx| act.go_on(ctx)));
                        }
                        None => engine.connection.close(CloseCode::HubFailure),
                    }
                }
                Some(Err(e)) => engine.fail(e.code()),
                None => {
                    // A body that broke the protocol is told so at the farewell.
                    if engine.connection.outbound.closing() == Some(CloseCode::BadFrame) {
                        break;
                    }
                    if let Some((_, posted)) = self.body.take() {
                        // Who has gone does not hear it.
                        let _ = posted.send(Posted::Taken);
                    }
                }
            }
        }
        self.answer(ctx);
        self.hand_over(ctx);
    }

    /// What was waited for is over: the rest of its batch comes first, then the next
    /// packet.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        let Some(engine) = &mut self.engine else { return };
        let shared = engine.shared().clone();
        match contain(&shared, "session", || engine.go_on()) {
            Some(None) => {}
            Some(Some(decision)) => {
                let decided = decision.into_actor(self);
                ctx.spawn(decided.map(|(), act, ctx| act.go_on(ctx)));
                return;
            }
            None => engine.connection.close(CloseCode::HubFailure),
        }
        self.deciding = false;
        self.work(ctx);
    }

    /// Gives the connection to whom the client has moved, once everything it sent
    /// before is taken.
    fn hand_over(&mut self, ctx: &mut Context<Self>) {
        if self.deciding || self.body.is_some() || self.taker.is_none() {
            return;
        }
        if let (Some(taker), Some(engine), Some(mut seat)) =
            (self.taker.take(), self.engine.take(), self.seat.take())
        {
            engine.registration.on_websocket();
            if let Some(poll) = self.poll.take() {
                let _ = poll.send("6".to_owned());
            }
            seat.change(Transport::WebSocket);
            if let Err((engine, _)) = taker.send((engine, seat)) {
                engine.connection.outbound.fail("transport_close");
                let closed = &engine.shared().metrics.closed;
                closed.with_label_values(&["transport_close"]).inc();
            }
        }
        ctx.stop();
    }
}

/// The body of an answer. It has no bound of its own: the queue has.
struct Body(PayloadWriter);

impl Body {
    fn push(&mut self, packet: &Packet) {
        let _ = self.0.push(packet);
    }

    fn push_frame(&mut self, frame: &Frame) {
        for (is_text, payload) in frame.messages() {
            let _ = match std::str::from_utf8(&payload) {
                Ok(text) if is_text => self.0.push_rendered(text),
                _ => self.0.push_binary(&payload),
            };
        }
    }
}

/// Looks at the queue whenever something was pushed, and at the client that polls.
struct Pump;

impl ActorFuture<Polling> for Pump {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        act: &mut Polling,
        ctx: &mut Context<Polling>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        if let Some(engine) = &act.engine {
            engine.connection.outbound.register_driver(task.waker());
        }
        if act.poll.as_mut().is_some_and(|poll| poll.poll_closed(task).is_ready()) {
            act.end("transport_close", ctx);
        }
        act.answer(ctx);
        Poll::Pending
    }
}

impl Actor for Polling {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.spawn(Pump);
    }
}

impl Handler<PollingRequest> for Polling {
    type Result = ();

    fn handle(&mut self, request: PollingRequest, ctx: &mut Self::Context) {
        let Some(engine) = &mut self.engine else { return };
        if engine.is_lost() {
            engine.connection.close(CloseCode::HeartbeatMissed);
            return self.answer(ctx);
        }
        match request {
            // The pump answers it.
            PollingRequest::Poll(poll) if self.poll.is_none() => self.poll = Some(poll),
            PollingRequest::Post(payload, headers, posted) if self.body.is_none() => {
                if let Some(headers) = headers {
                    engine.posted(*headers);
                }
                self.body = Some((payload, posted));
                self.work(ctx);
            }
            PollingRequest::Poll(_) | PollingRequest::Post(..) | PollingRequest::Break => {
                if let Some(poll) = self.poll.take() {
                    let _ = poll.send("1".to_owned());
                }
                self.end("transport_error", ctx);
            }
            PollingRequest::Probed => self.probing = true,
            PollingRequest::ProbeFailed => self.probing = false,
            PollingRequest::TakeOver(taker) => {
                self.taker = Some(taker);
                self.hand_over(ctx);
            }
        }
    }
}
