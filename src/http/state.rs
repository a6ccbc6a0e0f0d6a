//! What every HTTP handler shares, and who may call it.

use std::{
    future::{Ready, ready},
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header, web};
use hubbub_actors::system::Hub;
use hubbub_protocol::error::{ErrorCode, HubError};
use parking_lot::Mutex;
use prometheus::Registry;
use tokio::sync::Notify;

use super::{error::ApiError, metrics::Figures};
use crate::config::{Config, Secret};

/// Bytes that a request body may have beyond `limits.max_frame_bytes`: names, keys and quotes
/// around a message that is just as large as one from a client may be.
pub const BODY_EXTRA_BYTES: usize = 4 * 1024;

/// How long a count of rooms is good for those who have no key: counting visits every room.
const COUNT_FOR: Duration = Duration::from_secs(1);

/// What every HTTP handler of a node shares. Made once; the clones for the workers share it all.
#[derive(Clone)]
pub struct HttpState {
    /// The running node.
    pub hub: Hub,
    /// Its configuration; `node.id` is set.
    pub config: Arc<Config>,
    /// Holds the hub's metrics; the process figures are added to it.
    pub registry: Registry,
    /// Signs the tokens of development mode; none outside of it.
    pub dev_secret: Option<Secret>,
    figures: Figures,
    room_count: Arc<Mutex<Option<(Instant, usize)>>>,
    drain: Arc<Notify>,
}

impl HttpState {
    /// Adds the figures of the process, of the build and of the configuration to the registry.
    ///
    /// # Errors
    /// One of these names is registered already.
    pub fn new(
        hub: Hub,
        config: Arc<Config>,
        registry: Registry,
        dev_secret: Option<Secret>,
    ) -> prometheus::Result<Self> {
        let figures = Figures::register(&registry, &hub.shared().node, &config)?;
        Ok(Self {
            hub,
            config,
            registry,
            dev_secret,
            figures,
            room_count: Arc::default(),
            drain: Arc::default(),
        })
    }

    /// An operator asks the node to drain and end.
    pub(super) fn ask_drain(&self) {
        self.drain.notify_one();
    }

    /// Wakes whoever ends the node when an operator asks for it.
    pub fn drain_asked(&self) -> Arc<Notify> {
        self.drain.clone()
    }

    /// The figures that are read anew for each scrape.
    pub(super) fn figures(&self) -> &Figures {
        &self.figures
    }

    /// The secret of development mode, if the node is in it.
    pub fn development(&self) -> Option<&Secret> {
        self.dev_secret.as_ref().filter(|_| self.config.development())
    }

    /// Largest request body, in bytes.
    pub fn max_body_bytes(&self) -> usize {
        self.config.limits.max_frame_bytes.saturating_add(BODY_EXTRA_BYTES)
    }

    /// Whether a request carries the API key: `Authorization: Bearer <auth.api_key>`, compared in
    /// constant time.
    ///
    /// # Errors
    /// `forbidden` if no key is configured, `unauthorized` if the request's is missing or wrong.
    pub fn check_key(&self, request: &HttpRequest) -> Result<(), HubError> {
        let Some(key) = &self.config.auth.api_key else {
            return Err(HubError::new(
                ErrorCode::Forbidden,
                "the HTTP API is closed: set auth.api_key",
            ));
        };
        let Some(given) = request.headers().get(header::AUTHORIZATION) else {
            return Err(HubError::new(
                ErrorCode::Unauthorized,
                "the API key is missing: send `Authorization: Bearer <auth.api_key>`",
            ));
        };
        let given = given.as_bytes();
        let (scheme, rest) = given.split_at(given.len().min(7));
        if scheme.eq_ignore_ascii_case(b"bearer ") && key.matches(rest.trim_ascii()) {
            return Ok(());
        }
        let peer = request.peer_addr().map(|peer| peer.ip().to_string());
        log::warn!(peer = peer.as_deref().unwrap_or("unknown"); "wrong API key");
        Err(HubError::new(ErrorCode::Unauthorized, "the API key is wrong"))
    }

    /// How many rooms have a member; at most a second old.
    ///
    /// # Errors
    /// `unavailable` while the presence tracker does not answer.
    pub async fn room_count(&self) -> Result<usize, HubError> {
        let known = *self.room_count.lock();
        if let Some((at, count)) = known
            && at.elapsed() < COUNT_FOR
        {
            return Ok(count);
        }
        let count = self.hub.rooms(None, 0).await?.count;
        *self.room_count.lock() = Some((Instant::now(), count));
        Ok(count)
    }
}

/// The state that [`app_with`](super::app_with) put there.
pub(super) fn state(request: &HttpRequest) -> Result<&web::Data<HttpState>, ApiError> {
    request
        .app_data::<web::Data<HttpState>>()
        .ok_or_else(|| HubError::unavailable("the HTTP API is not set up").into())
}

/// A handler that takes it is for holders of the API key only. Stands first among the arguments,
/// so that nothing of a stranger's request is read.
pub struct ApiKey(());

impl FromRequest for ApiKey {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(state(request).and_then(|state| Ok(Self(state.check_key(request)?))))
    }
}
