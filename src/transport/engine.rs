//! Socket.IO over WebSocket: a new connection, or the upgrade of one that polls.

use std::{rc::Rc, sync::Arc};

use actix_codec::{AsyncRead, AsyncWrite, Framed};
use actix_http::{
    Request, RequestHead, Response, StatusCode, body::BodySize, h1, header, ws as http_ws,
};
use bytes::Bytes;
use futures_util::SinkExt;
use hubbub_actors::{
    outbound::Class,
    session::engine::{
        self, Engine, EngineStart, Hello,
        registry::Entry,
        seat::{Place, Seat},
    },
};
use hubbub_protocol::wire::{
    deflate::Agreed,
    engineio::{self, EngineError, Method, Query},
};

use super::{
    Drive, Transport, UpgradeFailed,
    adopt::Adopt,
    handshake, refuse,
    socket::{IntoSocket, Socket},
};

/// The path of the Socket.IO wire.
pub const PATH: &str = "/socket.io/";

/// What an upgrade is for.
enum Purpose {
    /// A new connection.
    Open,
    /// One that polls.
    Continue(Arc<Entry>),
}

/// What came with a WebSocket.
pub struct Came {
    /// What the client sent behind its handshake.
    pub first: Option<Bytes>,
    /// What was agreed on.
    pub compression: Option<Agreed>,
}

/// What a handshake says for its CONNECTs: a token, of its query or its header, and
/// the vocabulary that it asks for.
pub fn hello(head: &RequestHead) -> Option<Box<Hello>> {
    let token = handshake::token(head).map(|(_, token)| token).filter(|token| !token.is_empty());
    let vocabulary = handshake::query(head, "vocabulary");
    if token.is_none() && vocabulary.is_none() {
        return None;
    }
    Some(Box::new(Hello { token: token.map(Into::into), vocabulary: vocabulary.map(Into::into) }))
}

impl Transport {
    /// As [`upgrade`](Self::upgrade), for the Socket.IO wire.
    pub(super) async fn upgrade_engine<T>(
        self: Rc<Self>,
        request: Request,
        mut framed: Framed<T, h1::Codec>,
    ) -> Result<(), UpgradeFailed>
    where
        T: IntoSocket + AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let purpose = match self.judge_engine(&request).await {
            Ok(purpose) => purpose,
            Err(error) => return abort(framed, error).await,
        };
        let ip = handshake::client_ip(request.head(), &self.config.server.trusted_proxies);
        let place = match purpose {
            Purpose::Continue(_) => None,
            Purpose::Open => match self.place(ip) {
                Ok(place) => Some(place),
                Err((status, error)) => return refuse(framed, status, &error).await,
            },
        };
        let hello = hello(request.head());
        let mut response = http_ws::handshake_response(request.head());
        let compression = self.compression(request.head());
        if let Some(agreed) = compression {
            response.insert_header((header::SEC_WEBSOCKET_EXTENSIONS, agreed.answer()));
        }
        let mut response = response.message_body(()).map_err(|_| UpgradeFailed)?;
        let mut app = None;
        if let Purpose::Open = purpose {
            self.application.greet(response.headers_mut());
            app = self.application.open(request.head());
        }
        drop(request);
        let outbound = self.queue();
        match purpose {
            Purpose::Open => {
                outbound.push(&handshake::answer(response.headers()), Class::Reply);
            }
            // It has a queue, which does not know of this socket yet.
            Purpose::Continue(_) => {
                let answer = h1::Message::Item((response.drop_body(), BodySize::None));
                framed.send(answer).await?;
            }
        }
        let parts = framed.into_parts();
        let first = (!parts.read_buf.is_empty()).then(|| parts.read_buf.freeze());
        let came = Came { first, compression };
        match (purpose, place) {
            (Purpose::Open, Some(place)) => {
                let start = EngineStart {
                    worker: self.worker.link.clone(),
                    outbound,
                    peer: ip,
                    hello,
                    app,
                };
                self.open_engine(parts.io.into_socket(), came, start, place);
            }
            (Purpose::Continue(entry), _) if entry.begin_probe() => {
                let worker = entry.worker;
                let adopt = Adopt { socket: parts.io.into_moved()?, came, entry };
                self.doormen.send(worker, adopt);
            }
            // One that is on a WebSocket already, or about to be: this one goes.
            _ => {}
        }
        Ok(())
    }

    async fn judge_engine(&self, request: &Request) -> Result<Purpose, EngineError> {
        let head = request.head();
        let query = Query::parse(head.uri.query().unwrap_or_default());
        let method = match head.method.as_str() {
            "GET" => Method::Get,
            "POST" => Method::Post,
            _ => Method::Other,
        };
        if !handshake::origin_allowed(head, &self.config.server.allowed_origins) {
            self.count_refusal("origin");
            return Err(EngineError::Forbidden);
        }
        let purpose = match self.admit(head, query.check(method, true)).await? {
            engineio::Request::Handshake { .. } => Purpose::Open,
            engineio::Request::Session { sid, .. } => {
                let shared = self.hub.shared();
                let entry = shared.engines.find(&sid).ok_or(EngineError::SessionUnknown)?;
                query.check_session(entry.transport(), method, true)?;
                Purpose::Continue(entry)
            }
        };
        if http_ws::verify_handshake(head).is_err() {
            return Err(EngineError::BadRequest);
        }
        Ok(purpose)
    }

    /// Counts a handshake that is refused.
    pub fn count_refusal(&self, reason: &str) {
        self.hub.shared().metrics.refused.with_label_values(&[reason]).inc();
    }

    fn open_engine<S: Socket>(&self, socket: S, came: Came, start: EngineStart, place: Place) {
        let shared = self.hub.shared();
        let websocket = engineio::Transport::WebSocket;
        let seat = Seat::take(shared, websocket, place);
        let registration = shared.engines.add(self.worker.link.index, None);
        let engine = Engine::new(start, registration);
        self.drive_engine(socket, came, engine, seat, true);
    }

    /// Drives a connection on a WebSocket; `hello` if its open packet is to be sent.
    pub(super) fn drive_engine<S: Socket>(
        &self,
        socket: S,
        came: Came,
        engine: Engine,
        seat: Seat,
        hello: bool,
    ) {
        let connection = engine.connection().clone();
        let max = engine.shared().settings.engine.max_payload;
        let Came { first, compression } = came;
        let drive = Drive { socket, first, connection, max, compression, seat };
        self.drive(drive, move |bytes| engine::start(engine, hello, bytes), engine::reason);
    }
}

/// Refuses an upgrade as the reference does: 400 and the sentence as text.
async fn abort<T: AsyncRead + AsyncWrite + Unpin>(
    mut framed: Framed<T, h1::Codec>,
    error: EngineError,
) -> Result<(), UpgradeFailed> {
    let status = StatusCode::from_u16(EngineError::UPGRADE_STATUS).unwrap_or_default();
    let body = error.message();
    let response = Response::build(status)
        .insert_header((header::CONTENT_TYPE, "text/html"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONNECTION, "close"))
        .message_body(())
        .map_err(|_| UpgradeFailed)?;
    let size = BodySize::Sized(body.len() as u64);
    framed.send(h1::Message::Item((response.drop_body(), size))).await?;
    framed.send(h1::Message::Chunk(Some(Bytes::from_static(body.as_bytes())))).await?;
    framed.send(h1::Message::Chunk(None)).await?;
    framed.close().await?;
    Ok(())
}
