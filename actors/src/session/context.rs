//! The one place that names `actix_web_actors`: the session actor runs in its
//! `WebsocketContext`, fed by the transport's bytes. What goes out never passes
//! the context: see docs/decisions/0002.

use std::{future::Future, time::Instant};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, StreamHandler, WrapFuture};
use actix_http::{error::PayloadError, ws::Codec};
use actix_web_actors::ws::{self, Message, ProtocolError, WebsocketContext};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use hubbub_protocol::{close::CloseCode, event::ReplyId};

use super::{Session, dispatch::Wait};
use crate::{contain::contain, frame::Frame, outbound::Class};

/// Starts a session that reads the client's bytes from a stream. The future it
/// gives must be polled by the connection's driver; it ends when the session
/// does.
pub fn start(
    session: Session,
    bytes: impl Stream<Item = Result<Bytes, PayloadError>> + 'static,
) -> impl Future<Output = ()> {
    // The transport has looked at every header before; this is only a backstop.
    let codec = Codec::new().max_size(session.shared.settings.max_frame_bytes);
    let out = WebsocketContext::with_codec(session, bytes, codec);
    out.for_each(|_| std::future::ready(()))
}

impl Actor for Session {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(identity) = self.identity.take()
            && let Some(decision) = self.open(identity, &ReplyId::None)
        {
            self.wait(decision, ctx);
        }
    }
}

impl Session {
    /// Closes with a code: nothing more is read.
    fn end(&mut self, code: CloseCode, ctx: &mut WebsocketContext<Self>) {
        self.outbound().close(code);
        ctx.stop();
    }

    /// Handles a text; waits with everything that comes after it if that takes a
    /// decision from elsewhere, so that the order is kept.
    fn text(&mut self, text: &str, ctx: &mut WebsocketContext<Self>) {
        if let Some(decision) = self.on_text(text) {
            self.wait(decision, ctx);
        }
    }

    /// Reads nothing more until a decision is there; then goes on with the rest of
    /// the batch it was part of.
    fn wait(&mut self, decision: Wait, ctx: &mut WebsocketContext<Self>) {
        ctx.wait(decision.into_actor(self).map(|(), act, ctx| {
            if let Some(next) = act.go_on(Instant::now()) {
                act.wait(next, ctx);
            }
        }));
    }

    fn message(&mut self, message: Message, ctx: &mut WebsocketContext<Self>) {
        self.connection.seen(self.now());
        let joined = match message {
            Message::Text(text) => return self.text(&text, ctx),
            Message::Ping(payload) => {
                self.outbound().push(&Frame::pong(&payload), Class::Reply);
                Ok(None)
            }
            Message::Pong(_) | Message::Nop => Ok(None),
            Message::Close(reason) => {
                // The handshake ends with the client's own code (RFC 6455, 5.5.1).
                self.outbound().answer_close(reason.map(|r| r.code.into()));
                return ctx.stop();
            }
            Message::Binary(_) => Err(CloseCode::BadFrame),
            Message::Continuation(item) => match item {
                actix_http::ws::Item::FirstText(part) => self.fragments.start(&part).map(|()| None),
                actix_http::ws::Item::FirstBinary(_) => Err(CloseCode::BadFrame),
                actix_http::ws::Item::Continue(part) => self.fragments.append(&part).map(|()| None),
                actix_http::ws::Item::Last(part) => self.fragments.finish(&part).map(Some),
            },
        };
        match joined {
            Ok(Some(text)) => self.text(&text, ctx),
            Ok(None) => {}
            Err(code) => self.end(code, ctx),
        }
    }
}

impl StreamHandler<Result<ws::Message, ProtocolError>> for Session {
    fn handle(&mut self, item: Result<ws::Message, ProtocolError>, ctx: &mut Self::Context) {
        self.connection.took_frame();
        if self.outbound().closing().is_some() {
            // Whatever still comes is not ours to answer.
            return;
        }
        let shared = self.shared.clone();
        let step = || match item {
            Ok(message) => self.message(message, ctx),
            Err(e) => self.end(close_code(&e), ctx),
        };
        if contain(&shared, "session", step).is_none() {
            self.end(CloseCode::HubFailure, ctx);
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        if let Some(code) = self.connection.violation() {
            self.outbound().close(code);
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
