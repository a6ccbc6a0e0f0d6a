//! One request of a connection that polls.

use std::{rc::Rc, sync::Arc, time::Duration};

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use hubbub_actors::session::engine::{
    EngineStart,
    polling::{Polling, PollingRequest, Posted},
    registry::Entry,
    seat::Seat,
};
use hubbub_protocol::wire::engineio::{EngineError, Payload, PayloadError, Transport as Kind};
use tokio::sync::oneshot;

use super::answer;
use crate::transport::{Transport, engine::hello, handshake};

/// Opens a connection: its open packet.
pub(super) fn open(transport: &Rc<Transport>, request: &HttpRequest) -> HttpResponse {
    let head = request.head();
    let ip = handshake::client_ip(head, &transport.config.server.trusted_proxies);
    let place = match transport.place(ip) {
        Ok(place) => place,
        Err((status, error)) => return answer::hub_error(status, &error),
    };
    let seat = Seat::take(transport.hub.shared(), Kind::Polling, place);
    let start = EngineStart {
        worker: transport.worker.link.clone(),
        outbound: transport.queue(),
        peer: ip,
        hello: hello(head),
        app: transport.application.open(head),
    };
    let mut response = answer::payload(Polling::launch(start, seat));
    transport.application.greet(response.headers_mut());
    response
}

/// A poll: answered once there is something to say. If the client goes away
/// before, the request's end ends the connection.
pub(super) async fn get(entry: &Entry) -> Result<HttpResponse, EngineError> {
    let (tell, told) = oneshot::channel();
    if !entry.ask(PollingRequest::Poll(tell)) {
        return Err(EngineError::BadRequest);
    }
    told.await.map(answer::payload).map_err(|_| EngineError::SessionUnknown)
}

/// Packets of a client.
pub(super) async fn post(
    transport: &Rc<Transport>,
    request: &HttpRequest,
    body: web::Payload,
    entry: Arc<Entry>,
) -> Result<HttpResponse, EngineError> {
    let broken = || {
        entry.ask(PollingRequest::Break);
        EngineError::BadRequest
    };
    let Some(_posting) = entry.begin_post() else { return Err(broken()) };
    let kind = request.headers().get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/octet-stream")) {
        return Err(broken());
    }
    let settings = &transport.hub.shared().settings.engine;
    let max = settings.max_payload;
    let patience = Duration::from_millis(settings.heartbeat.timeout_ms);
    let received = tokio::time::timeout(patience, receive(request, body, max)).await;
    let payload = match received {
        Ok(Ok(Some(bytes))) => {
            let metrics = &transport.hub.shared().metrics;
            metrics.received_frames.inc();
            metrics.received_bytes.inc_by(bytes.len() as u64);
            Payload::new(bytes, max)
        }
        Ok(Ok(None)) => Err(PayloadError::TooLarge { max }),
        // The client went away in the middle, or takes too long.
        Ok(Err(_)) | Err(_) => return Err(broken()),
    };
    let payload = match payload {
        Ok(payload) => payload,
        Err(PayloadError::TooLarge { .. }) => return Ok(answer::too_large()),
        Err(_) => return Err(broken()),
    };
    let headers = transport.application.wants_headers();
    let headers = headers.then(|| Box::new(request.head().headers().clone()));
    let (tell, told) = oneshot::channel();
    if !entry.ask(PollingRequest::Post(payload, headers, tell)) {
        return Err(EngineError::BadRequest);
    }
    match told.await {
        Ok(Posted::Taken) => Ok(answer::taken()),
        Ok(Posted::Malformed) => Err(EngineError::BadRequest),
        Err(_) => Err(EngineError::SessionUnknown),
    }
}

/// The whole body; none if it is larger than `max`.
async fn receive(
    request: &HttpRequest,
    mut body: web::Payload,
    max: usize,
) -> Result<Option<Bytes>, actix_web::error::PayloadError> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    if length.is_some_and(|length| length > max as u64) {
        return Ok(None);
    }
    let mut whole = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece?;
        if whole.len() + piece.len() > max {
            return Ok(None);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Some(whole.freeze()))
}
