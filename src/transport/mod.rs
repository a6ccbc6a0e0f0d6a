//! The connections: the HTTP/1 upgrade is taken over, so that the socket is ours
//! after the handshake.
//!
//! | module | holds |
//! |---|---|
//! | [`handshake`] | who asks, from where, with which token |
//! | [`limits`] | how many connections there may be |
//! | [`inbound`] | the client's bytes on their way to the session |
//! | [`driver`] | the one task of a connection |
//! | [`socket`] | plain TCP and TLS |
//! | [`engine`] | Socket.IO over WebSocket |
//! | [`pace`] | plain HTTP, a request at a time |
//! | [`adopt`] | a WebSocket for a connection that polls |
//! | [`application`] | what answers, where it is not the hub's rooms |

pub mod adopt;
pub mod application;
pub mod driver;
pub mod engine;
pub mod handshake;
pub mod inbound;
pub mod limits;
pub mod pace;
pub mod socket;

use std::{future::Future, net::IpAddr, rc::Rc, sync::Arc};

use actix_codec::{AsyncRead, AsyncWrite, Framed};
use actix_http::{
    Request, Response, StatusCode,
    body::{BodySize, BoxBody},
    h1, header, ws as http_ws,
};
use actix_web::http::header::HeaderValue;
use futures_util::SinkExt;
use hubbub_actors::{
    frame::Frame,
    messages::Watch,
    outbound::{Class, Outbound},
    session::{
        self, Connection, Identity, Session, SessionStart, Wire,
        engine::seat::{Place, Seat},
    },
    system::{Hub, Worker},
};
use hubbub_protocol::{
    close::CloseCode,
    error::{ErrorCode, HubError},
    event::ReplyId,
    wire::{
        FormatId,
        deflate::{Agreed, Intake},
        engineio,
    },
};

use self::{
    driver::{Driver, Reason},
    handshake::TokenSource,
    inbound::Inbound,
    limits::{ConnectionLimits, NoPlace},
    socket::{IntoSocket, Socket},
};
use crate::config::Config;

/// The path of the JSON wire.
pub const JSON_PATH: &str = "/ws";

/// The JSON wire's place in the hub's list of formats, unless a client may choose
/// another one.
pub const JSON_FORMAT: FormatId = FormatId(0);

/// What the transport of one worker needs.
pub struct Transport {
    /// The node.
    pub hub: Hub,
    /// This worker's actors.
    pub worker: Worker,
    /// The configuration.
    pub config: Arc<Config>,
    /// The places of the node.
    pub limits: Arc<ConnectionLimits>,
    /// Who takes WebSockets in for connections of other workers.
    pub doormen: adopt::Doormen,
    /// What answers.
    pub application: Arc<dyn application::Application>,
}

/// The connection was lost before the handshake was over.
#[derive(Debug, thiserror::Error)]
#[error("the connection was lost during the handshake")]
pub struct UpgradeFailed;

impl From<std::io::Error> for UpgradeFailed {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

impl From<UpgradeFailed> for Response<BoxBody> {
    fn from(_: UpgradeFailed) -> Self {
        Response::new(StatusCode::BAD_REQUEST).map_into_boxed_body()
    }
}

/// A handshake that was accepted.
struct Accepted {
    ip: IpAddr,
    place: Place,
    /// The format it speaks.
    format: FormatId,
    /// Who it is, if it said so; or why its token was refused, to be told in a way
    /// that a browser can see.
    identity: Result<Option<Identity>, HubError>,
}

impl Transport {
    /// Takes a request that asks for an upgrade, until its connection is handed to
    /// its driver.
    pub async fn upgrade<T>(
        self: Rc<Self>,
        request: Request,
        framed: Framed<T, h1::Codec>,
    ) -> Result<(), UpgradeFailed>
    where
        T: IntoSocket + AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let path = request.head().uri.path();
        if self.is_engine(path) {
            return self.upgrade_engine(request, framed).await;
        }
        if let Some(make) = self.application.open_plain(path) {
            return self.upgrade_plain(request, framed, make).await;
        }
        let accepted = match self.judge(&request) {
            Ok(accepted) => accepted,
            Err((status, error)) => return refuse(framed, status, &error).await,
        };
        let mut response = http_ws::handshake_response(request.head());
        let compression = self.compression(request.head());
        if let Some(agreed) = compression {
            response.insert_header((header::SEC_WEBSOCKET_EXTENSIONS, agreed.answer()));
        }
        if handshake::offers_subprotocol(request.head()) {
            let name = HeaderValue::from_static(handshake::SUBPROTOCOL);
            response.insert_header((header::SEC_WEBSOCKET_PROTOCOL, name));
        }
        let response = response.message_body(()).map_err(|_| UpgradeFailed)?;
        drop(request);
        let outbound = self.queue();
        outbound.push(&handshake::answer(response.headers()), Class::Reply);
        let parts = framed.into_parts();
        let first = (!parts.read_buf.is_empty()).then(|| parts.read_buf.freeze());
        self.connect(parts.io.into_socket(), first, accepted, (outbound, compression));
        Ok(())
    }

    /// What is agreed on of the compression that a client offers, where the configuration
    /// has it.
    fn compression(&self, head: &actix_http::RequestHead) -> Option<Agreed> {
        self.config.session.compression.then(|| handshake::compression(head)).flatten()
    }

    /// Counts a refusal.
    fn refused(
        &self,
        reason: &str,
        status: StatusCode,
        code: ErrorCode,
        message: &'static str,
    ) -> (StatusCode, HubError) {
        self.hub.shared().metrics.refused.with_label_values(&[reason]).inc();
        (status, HubError::new(code, message))
    }

    /// Takes a place for a new connection, or says why there is none.
    pub fn place(&self, ip: IpAddr) -> Result<Place, (StatusCode, HubError)> {
        if self.hub.shared().is_draining() {
            return Err(self.refused(
                "draining",
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorCode::Unavailable,
                "the node is draining; connect to another one",
            ));
        }
        self.limits.take(ip).map_err(|no| match no {
            NoPlace::Node => self.refused(
                "connections",
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorCode::Unavailable,
                "the node has as many connections as it may",
            ),
            NoPlace::Address => self.refused(
                "connections_per_ip",
                StatusCode::TOO_MANY_REQUESTS,
                ErrorCode::RateLimited,
                "this address has as many connections as it may",
            ),
        })
    }

    /// A queue that this worker flushes.
    pub fn queue(&self) -> Arc<Outbound> {
        let settings = &self.hub.shared().settings;
        let flush = self.worker.flush.clone();
        Outbound::new(flush, settings.outbound_max_bytes, settings.when_full)
    }

    /// Whether the handshake is one and may be; if not, how to refuse it.
    fn judge(&self, request: &Request) -> Result<Accepted, (StatusCode, HubError)> {
        let refused = |reason, status, code, why| self.refused(reason, status, code, why);
        let head = request.head();
        if head.uri.path() != JSON_PATH {
            let why = "there is no WebSocket here; it is at /ws";
            return Err(refused("not_found", StatusCode::NOT_FOUND, ErrorCode::NotFound, why));
        }
        if http_ws::verify_handshake(head).is_err() {
            let why = "this is not a WebSocket handshake of version 13";
            let code = ErrorCode::BadRequest;
            return Err(refused("bad_handshake", StatusCode::BAD_REQUEST, code, why));
        }
        if !handshake::origin_allowed(head, &self.config.server.allowed_origins) {
            let why = "pages of this origin may not connect; see server.allowed_origins";
            return Err(refused("origin", StatusCode::FORBIDDEN, ErrorCode::Forbidden, why));
        }
        let Some(format) = self.format(head) else {
            let why = "this vocabulary may not be chosen here; see json.allow_vocabularies";
            let code = ErrorCode::BadRequest;
            return Err(refused("vocabulary", StatusCode::BAD_REQUEST, code, why));
        };
        let ip = handshake::client_ip(head, &self.config.server.trusted_proxies);
        let place = self.place(ip)?;
        let identity = match handshake::token(head) {
            None => Ok(None),
            Some((source, token)) => {
                match self.hub.shared().authenticator.authenticate(&token) {
                    // A browser is told by the session, which closes it with 4403.
                    Ok(identity)
                        if self.hub.shared().is_banned(&identity.user)
                            && !handshake::is_browser(head) =>
                    {
                        let why = "an operator has sent this user away";
                        let status = StatusCode::FORBIDDEN;
                        return Err(refused("banned", status, ErrorCode::Forbidden, why));
                    }
                    Ok(identity) => Ok(Some(identity)),
                    // A page cannot see the status of a refused handshake, only the
                    // close code of an accepted one.
                    Err(e) if source != TokenSource::Header && handshake::is_browser(head) => {
                        Err(e)
                    }
                    Err(e) => {
                        self.hub
                            .shared()
                            .metrics
                            .refused
                            .with_label_values(&["unauthorized"])
                            .inc();
                        return Err((StatusCode::UNAUTHORIZED, e));
                    }
                }
            }
        };
        Ok(Accepted { ip, place, format, identity })
    }

    /// The format of the JSON wire that a handshake asks for: by `?vocabulary=`, where
    /// the configuration allows it, or the configured one; none if there is none such.
    fn format(&self, head: &actix_http::RequestHead) -> Option<FormatId> {
        let Some(wanted) = handshake::query(head, "vocabulary") else {
            return Some(JSON_FORMAT);
        };
        let formats = self.hub.shared().formats.fixed();
        let at = formats
            .iter()
            .take_while(|format| format.name() == "json")
            .position(|format| format.vocabulary() == wanted)?;
        u16::try_from(at).ok().map(FormatId)
    }

    /// Starts the session and the driver of a connection.
    fn connect<S: Socket>(
        &self,
        socket: S,
        first: Option<bytes::Bytes>,
        accepted: Accepted,
        (outbound, compression): (Arc<Outbound>, Option<Agreed>),
    ) {
        let shared = self.hub.shared().clone();
        let settings = &shared.settings;
        let now = shared.clock.now();
        let connection = Arc::new(Connection::new(
            Wire::Json,
            outbound.clone(),
            accepted.ip,
            now,
            now + settings.auth_timeout_ms,
        ));
        let identity = accepted.identity.unwrap_or_else(|error| {
            let refusal = shared.format(accepted.format).reply(&ReplyId::None, &Err(error));
            if let Some(text) = refusal {
                outbound.push(&Frame::text(&text), Class::Reply);
            }
            outbound.close(CloseCode::Unauthorized);
            None
        });
        let session = Session::new(SessionStart {
            worker: self.worker.link.clone(),
            connection: connection.clone(),
            format: accepted.format,
            identity,
        });
        // Before the session starts, which may have the heart look again.
        let watch = Watch { connection: connection.clone(), format: accepted.format };
        self.worker.link.heart.do_send(watch);
        let seat = Seat::take(&shared, engineio::Transport::WebSocket, accepted.place);
        let max = settings.max_frame_bytes;
        let drive = Drive { socket, first, connection, max, compression, seat };
        self.drive(drive, |bytes| session::start(session, bytes), |reason| reason);
    }

    /// Drives a connection to its end; `start` gives what reads its bytes, and
    /// `name` the reason that is counted.
    fn drive<S: Socket, F: Future<Output = ()> + 'static>(
        &self,
        drive: Drive<S>,
        start: impl FnOnce(Inbound<S>) -> F + 'static,
        name: fn(Reason) -> Reason,
    ) {
        let Drive { socket, first, connection, max, compression, seat } = drive;
        let shared = self.hub.shared().clone();
        let outbound = connection.outbound.clone();
        if let Some(agreed) = compression {
            outbound.compress(agreed.window_bits);
        }
        if let Some(writer) = socket.writer() {
            outbound.set_writer(writer);
        }
        let inbound = Inbound {
            socket: socket.clone(),
            intake: Intake::new(max, compression.is_some(), first),
            connection,
            shared: shared.clone(),
            ended: false,
        };
        let stall = u32::try_from(self.config.session.stall_timeout_ms).unwrap_or(u32::MAX);
        let session = Box::pin(start(inbound));
        let driver = Driver::new(socket, outbound, session, seat, name, stall);
        actix_web::rt::spawn(driver);
    }
}

/// A connection about to be driven.
struct Drive<S> {
    socket: S,
    /// What came before.
    first: Option<bytes::Bytes>,
    connection: Arc<Connection>,
    /// Most bytes of a message.
    max: usize,
    /// What was agreed on.
    compression: Option<Agreed>,
    seat: Seat,
}

/// Answers a handshake with an error and ends the connection.
async fn refuse<T: AsyncRead + AsyncWrite + Unpin>(
    mut framed: Framed<T, h1::Codec>,
    status: StatusCode,
    error: &HubError,
) -> Result<(), UpgradeFailed> {
    let body = serde_json::json!({ "error": error }).to_string();
    let response = Response::build(status)
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .force_close()
        .insert_header((header::SEC_WEBSOCKET_VERSION, "13"))
        .message_body(())
        .map_err(|_| UpgradeFailed)?;
    let size = BodySize::Sized(body.len() as u64);
    framed.send(h1::Message::Item((response.drop_body(), size))).await?;
    framed.send(h1::Message::Chunk(Some(body.into()))).await?;
    framed.send(h1::Message::Chunk(None)).await?;
    framed.close().await?;
    Ok(())
}
