//! The one place that names `actix_web_actors`: an actor in its `WebsocketContext`,
//! fed by the transport's bytes, reads frames for whoever handles them. What goes
//! out never passes the context: see docs/decisions/0002.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, StreamHandler, WrapFuture};
use actix_codec::Decoder as _;
use actix_http::{
    error::PayloadError,
    ws::{Codec, Frame as Received, Item},
};
use actix_web_actors::ws::{self, Message, ProtocolError, WebsocketContext};
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use futures_util::{Stream, StreamExt};
use hubbub_protocol::close::CloseCode;

use super::{
    Connection,
    dispatch::Wait,
    fragments::{Fragments, Kind, Whole},
};
use crate::{contain::contain, frame::Frame, outbound::Class, shared::Shared};

/// Takes the messages of one WebSocket connection.
pub(super) trait FrameHandler: Unpin + 'static {
    /// Whether binary messages are taken; if not, the first byte of one closes the
    /// connection.
    const BINARY: bool;
    /// What everybody on the node shares.
    fn shared(&self) -> &Arc<Shared>;
    /// The connection.
    fn connection(&self) -> &Arc<Connection>;
    /// Most bytes of a message.
    fn max_message(&self) -> usize;
    /// Before the first message; as a text.
    fn started(&mut self) -> Option<Wait>;
    /// A frame came, whatever it is.
    fn sign_of_life(&mut self);
    /// A text; nothing more is read until what it gives is over.
    fn text(&mut self, text: ByteString) -> Option<Wait>;
    /// Binary data; as a text.
    fn binary(&mut self, data: Bytes) -> Option<Wait>;
    /// The client answered a ping.
    fn ponged(&self) {}
    /// The client said that it is done.
    fn done(&self) {}
    /// What was waited for is over; the rest of the batch it was part of, as a text.
    fn go_on(&mut self) -> Option<Wait>;
}

/// The actor of one WebSocket connection.
struct Reader<H> {
    handler: H,
    fragments: Fragments,
    /// The context's own stream has ended.
    begun: bool,
}

/// Frames out of pieces of bytes. The context's own stream keeps the memory of the last frame
/// for as long as the connection is idle; this one, which stands in its place, gives it back.
struct Decoding<S> {
    pieces: S,
    codec: Codec,
    /// What is left behind the last frame; apart, since few of the idle connections have it.
    rest: Option<Box<BytesMut>>,
    ended: bool,
}

impl<S> Stream for Decoding<S>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    type Item = Result<Message, ProtocolError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let mut buffer = this.rest.take().map(|rest| *rest).unwrap_or_default();
        while !this.ended {
            match this.pieces.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(piece))) if buffer.is_empty() => {
                    // Most pieces are nobody else's, and taken as they are.
                    buffer = piece.try_into_mut().unwrap_or_else(|piece| (&*piece).into());
                }
                Poll::Ready(Some(Ok(piece))) => buffer.extend_from_slice(&piece),
                Poll::Ready(Some(Err(e))) => {
                    let e = std::io::Error::other(e.to_string());
                    return Poll::Ready(Some(Err(ProtocolError::Io(e))));
                }
                Poll::Ready(None) => this.ended = true,
                Poll::Pending => break,
            }
        }
        let decoded = this.codec.decode(&mut buffer);
        if !buffer.is_empty() {
            this.rest = Some(Box::new(buffer));
        }
        match decoded {
            Ok(Some(frame)) => Poll::Ready(Some(message(frame))),
            Ok(None) if this.ended => Poll::Ready(None),
            Ok(None) => Poll::Pending,
            Err(e) => Poll::Ready(Some(Err(e))),
        }
    }
}

/// A frame as the context names it.
fn message(frame: Received) -> Result<Message, ProtocolError> {
    Ok(match frame {
        Received::Text(text) => {
            let text = ByteString::try_from(text).map_err(std::io::Error::other);
            Message::Text(text.map_err(ProtocolError::Io)?)
        }
        Received::Binary(data) => Message::Binary(data),
        Received::Ping(payload) => Message::Ping(payload),
        Received::Pong(payload) => Message::Pong(payload),
        Received::Close(reason) => Message::Close(reason),
        Received::Continuation(item) => Message::Continuation(item),
    })
}

/// Starts an actor that reads the client's bytes from a stream. The future it
/// gives must be polled by the connection's driver; it ends when the actor does.
pub(super) fn start<H: FrameHandler>(
    handler: H,
    bytes: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static,
) -> impl Future<Output = ()> {
    let max = handler.max_message();
    // The transport has looked at every header before; this is only a backstop.
    let codec = Codec::new().max_size(max);
    let frames = Decoding { pieces: bytes, codec, rest: None, ended: false };
    let out = WebsocketContext::with_factory(futures_util::stream::empty(), move |ctx| {
        Reader::add_stream(frames, ctx);
        Reader { handler, fragments: Fragments::default(), begun: false }
    });
    out.for_each(|_| std::future::ready(()))
}

impl<H: FrameHandler> Actor for Reader<H> {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(decision) = self.handler.started() {
            self.wait(decision, ctx);
        }
    }
}

impl<H: FrameHandler> Reader<H> {
    /// Closes with a code: nothing more is read.
    fn end(&mut self, code: CloseCode, ctx: &mut WebsocketContext<Self>) {
        self.handler.connection().close(code);
        ctx.stop();
    }

    /// Handles a message; waits with everything that comes after it if that takes
    /// a decision from elsewhere, so that the order is kept.
    fn whole(&mut self, whole: Whole, ctx: &mut WebsocketContext<Self>) {
        let decision = match whole {
            Whole::Text(text) => self.handler.text(text),
            Whole::Binary(data) => self.handler.binary(data),
        };
        if let Some(decision) = decision {
            self.wait(decision, ctx);
        }
    }

    /// Reads nothing more until a decision is there; then goes on with the rest of
    /// the batch it was part of.
    fn wait(&mut self, decision: Wait, ctx: &mut WebsocketContext<Self>) {
        ctx.wait(decision.into_actor(self).map(|(), act, ctx| {
            if let Some(next) = act.handler.go_on() {
                act.wait(next, ctx);
            }
        }));
    }

    fn message(&mut self, message: Message, ctx: &mut WebsocketContext<Self>) {
        self.handler.sign_of_life();
        let outbound = &self.handler.connection().outbound;
        let max = self.handler.max_message();
        let fragments = &mut self.fragments;
        let joined = match message {
            Message::Text(text) => return self.whole(Whole::Text(text), ctx),
            Message::Binary(_) if !H::BINARY => Err(CloseCode::BadFrame),
            Message::Binary(data) => return self.whole(Whole::Binary(data), ctx),
            Message::Ping(payload) => {
                outbound.push(&Frame::pong(&payload), Class::Reply);
                Ok(None)
            }
            Message::Pong(_) => {
                self.handler.ponged();
                Ok(None)
            }
            Message::Nop => Ok(None),
            Message::Close(reason) => {
                if reason.as_ref().is_some_and(|r| r.code == ws::CloseCode::Normal) {
                    self.handler.done();
                }
                // The handshake ends with the client's own code (RFC 6455, 5.5.1).
                outbound.answer_close(reason.map(|r| r.code.into()));
                return ctx.stop();
            }
            Message::Continuation(item) => match item {
                Item::FirstText(part) => fragments.start(Kind::Text, &part, max).map(|()| None),
                Item::FirstBinary(_) if !H::BINARY => Err(CloseCode::BadFrame),
                Item::FirstBinary(part) => fragments.start(Kind::Binary, &part, max).map(|()| None),
                Item::Continue(part) => fragments.append(&part, max).map(|()| None),
                Item::Last(part) => fragments.finish(&part, max).map(Some),
            },
        };
        match joined {
            Ok(Some(whole)) => self.whole(whole, ctx),
            Ok(None) => {}
            Err(code) => self.end(code, ctx),
        }
    }
}

impl<H: FrameHandler> StreamHandler<Result<ws::Message, ProtocolError>> for Reader<H> {
    fn handle(&mut self, item: Result<ws::Message, ProtocolError>, ctx: &mut Self::Context) {
        let connection = self.handler.connection();
        connection.took_frame();
        if connection.outbound.closing().is_some() {
            // Whatever still comes is not ours to answer.
            return;
        }
        let shared = self.handler.shared().clone();
        let step = || match item {
            Ok(message) => self.message(message, ctx),
            Err(e) => self.end(close_code(&e), ctx),
        };
        if contain(&shared, "session", step).is_none() {
            self.end(CloseCode::HubFailure, ctx);
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        if !std::mem::replace(&mut self.begun, true) {
            // The context's own stream, which there is nothing in.
            return;
        }
        if let Some(code) = self.handler.connection().violation() {
            self.handler.connection().close(code);
        }
        ctx.stop();
    }
}

/// Which close code a codec error means.
fn close_code(error: &ProtocolError) -> CloseCode {
    match error {
        ProtocolError::Overflow => CloseCode::TooBig,
        ProtocolError::Io(e) if e.kind() == std::io::ErrorKind::Other => CloseCode::InvalidText,
        _ => CloseCode::Protocol,
    }
}
