//! A WebSocket whose messages go to an application as they come, with nothing between.

use std::{future::Future, sync::Arc};

use actix_http::error::PayloadError;
use bytes::Bytes;
use bytestring::ByteString;
use futures_util::Stream;

use super::{
    Connection,
    context::{self, FrameHandler},
    dispatch::Wait,
    engine::app::{Link, MessageApp},
};
use crate::shared::Shared;

/// One such connection.
pub struct Plain {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    max: usize,
    app: Box<dyn MessageApp>,
}

impl Plain {
    /// A connection whose messages have at most `max` bytes.
    pub fn new(
        shared: Arc<Shared>,
        connection: Arc<Connection>,
        max: usize,
        make: impl FnOnce(Link) -> Box<dyn MessageApp>,
    ) -> Self {
        let app = make(Link::plain(connection.clone()));
        Self { shared, connection, max, app }
    }
}

/// Starts it; as [`session::start`](super::start).
pub fn start(
    plain: Plain,
    bytes: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static,
) -> impl Future<Output = ()> {
    context::start(plain, bytes)
}

impl FrameHandler for Plain {
    const BINARY: bool = true;

    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    fn max_message(&self) -> usize {
        self.max
    }

    fn started(&mut self) -> Option<Wait> {
        self.app.opened();
        None
    }

    fn sign_of_life(&mut self) {
        self.connection.seen(self.shared.clock.now());
    }

    fn text(&mut self, text: ByteString) -> Option<Wait> {
        self.app.text(text);
        None
    }

    fn binary(&mut self, data: Bytes) -> Option<Wait> {
        self.app.binary(data);
        None
    }

    fn go_on(&mut self) -> Option<Wait> {
        None
    }
}
