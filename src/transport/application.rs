//! What answers on the connections of a node: the hub's rooms, or what a program that
//! embeds the transport puts in their place.

use std::{future::Future, pin::Pin, rc::Rc, sync::Arc};

use actix_codec::{AsyncRead, AsyncWrite, Framed};
use actix_http::{
    Request, RequestHead, Response, StatusCode,
    body::BodySize,
    h1,
    header::{self, HeaderMap},
    ws as http_ws,
};
use futures_util::SinkExt;
use hubbub_actors::{
    messages::Watch,
    session::{
        Connection, Wire,
        engine::{
            app::{Link, MakeApp, MessageApp},
            seat::Seat,
        },
        plain::{self, Plain},
    },
};
use hubbub_protocol::{
    error::{ErrorCode, HubError},
    wire::engineio::{self, EngineError},
};

use super::{
    Drive, JSON_FORMAT, Transport, UpgradeFailed, engine::PATH, handshake, refuse,
    socket::IntoSocket,
};

/// Whether a handshake may be, once that is known.
pub type Admission = Pin<Box<dyn Future<Output = Result<(), EngineError>>>>;

/// Makes what answers on a WebSocket with nothing between.
pub type MakeMessages = Box<dyn FnOnce(Link) -> Box<dyn MessageApp>>;

/// What answers on the connections of a node. Each method has the hub's own behaviour
/// as its default.
pub trait Application: Send + Sync + 'static {
    /// Where Engine.IO is, with a slash at the end; it answers without it too.
    fn path(&self) -> &'static str {
        PATH
    }

    /// Whether an Engine.IO handshake may be.
    fn admit(&self, head: &RequestHead) -> Admission {
        let _ = head;
        Box::pin(std::future::ready(Ok(())))
    }

    /// Adds headers to the answer to an Engine.IO handshake, and to no later one.
    fn greet(&self, headers: &mut HeaderMap) {
        let _ = headers;
    }

    /// What answers on a new Engine.IO connection; none for the hub's rooms.
    fn open(&self, head: &RequestHead) -> Option<MakeApp> {
        let _ = head;
        None
    }

    /// Whether it is told the headers of each POST.
    fn wants_headers(&self) -> bool {
        false
    }

    /// What answers on a WebSocket at a path, with nothing between; none if there is no
    /// such path. Its messages have at most `limits.max_frame_bytes`.
    fn open_plain(&self, path: &str) -> Option<MakeMessages> {
        let _ = path;
        None
    }
}

/// The hub's own rooms.
#[derive(Clone, Copy, Default, Debug)]
pub struct Rooms;

impl Application for Rooms {}

impl Transport {
    /// Asks the application about what [`Query::check`](engineio::Query::check) says is a
    /// handshake. As in the reference, before the version of the protocol is looked at.
    ///
    /// # Errors
    /// Those of the check, and the application's.
    pub(crate) async fn admit(
        &self,
        head: &RequestHead,
        checked: Result<engineio::Request, EngineError>,
    ) -> Result<engineio::Request, EngineError> {
        use engineio::Request::Handshake;
        if let Ok(Handshake { .. }) | Err(EngineError::UnsupportedProtocolVersion) = checked {
            self.application.admit(head).await?;
        }
        checked
    }

    /// Whether a path is that of Engine.IO.
    pub(super) fn is_engine(&self, path: &str) -> bool {
        let ours = self.application.path();
        path == ours || path == ours.trim_end_matches('/')
    }

    /// As [`upgrade`](Self::upgrade), for a WebSocket that is the application's own.
    pub(super) async fn upgrade_plain<T>(
        self: Rc<Self>,
        request: Request,
        mut framed: Framed<T, h1::Codec>,
        make: MakeMessages,
    ) -> Result<(), UpgradeFailed>
    where
        T: IntoSocket + AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let head = request.head();
        if http_ws::verify_handshake(head).is_err() {
            let why = "this is not a WebSocket handshake of version 13";
            let error = HubError::new(ErrorCode::BadRequest, why);
            return refuse(framed, StatusCode::BAD_REQUEST, &error).await;
        }
        let config = &self.config.server;
        if !handshake::origin_allowed(head, &config.allowed_origins) {
            let error = HubError::new(ErrorCode::Forbidden, "see server.allowed_origins");
            return refuse(framed, StatusCode::FORBIDDEN, &error).await;
        }
        let ip = handshake::client_ip(head, &config.trusted_proxies);
        let place = match self.place(ip) {
            Ok(place) => place,
            Err((status, error)) => return refuse(framed, status, &error).await,
        };
        let mut response = http_ws::handshake_response(head);
        let compression = self.compression(head);
        if let Some(agreed) = compression {
            response.insert_header((header::SEC_WEBSOCKET_EXTENSIONS, agreed.answer()));
        }
        let response: Response<()> = response.message_body(()).map_err(|_| UpgradeFailed)?;
        drop(request);
        framed.send(h1::Message::Item((response.drop_body(), BodySize::None))).await?;
        let parts = framed.into_parts();
        let first = (!parts.read_buf.is_empty()).then(|| parts.read_buf.freeze());
        let shared = self.hub.shared().clone();
        let (now, outbound) = (shared.clock.now(), self.queue());
        let connection = Connection::new(Wire::Json, outbound, ip, now, u64::MAX);
        let connection = Arc::new(connection);
        let watch = Watch { connection: connection.clone(), format: JSON_FORMAT };
        self.worker.link.heart.do_send(watch);
        let max = shared.settings.max_frame_bytes;
        let seat = Seat::take(&shared, engineio::Transport::WebSocket, place);
        let plain = Plain::new(shared, connection.clone(), max, make);
        let socket = parts.io.into_socket();
        let drive = Drive { socket, first, connection, max, compression, seat };
        self.drive(drive, |bytes| plain::start(plain, bytes), |reason| reason);
        Ok(())
    }
}
