//! Socket.IO over HTTP: handshakes, polls, bodies. What asks for a WebSocket does
//! not come here: [`transport`](crate::transport) takes it over before.

mod answer;
mod cors;
mod poll;
mod script;

use std::rc::Rc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method as HttpMethod, StatusCode},
    web::{self, ServiceConfig},
};
use hubbub_protocol::{
    error::HubError,
    wire::engineio::{self, EngineError, Method, Query},
};

use self::cors::Cors;
use crate::transport::{Transport, handshake};

/// Mounts the Socket.IO wire of a worker.
pub fn configure(cfg: &mut ServiceConfig, transport: Rc<Transport>) {
    let path = transport.application.path();
    let paths = [path, path.trim_end_matches('/')];
    cfg.app_data(transport).service(web::resource(paths).route(web::route().to(handle)));
    script::configure(cfg);
}

async fn handle(request: HttpRequest, body: web::Payload) -> HttpResponse {
    let Some(transport) = request.app_data::<Rc<Transport>>().cloned() else {
        return answer::refusal(EngineError::BadRequest);
    };
    let allowed = &transport.config.server.allowed_origins;
    let cors = Cors::of(request.head(), allowed);
    let mut response = if !handshake::origin_allowed(request.head(), allowed) {
        transport.count_refusal("origin");
        answer::refusal(EngineError::Forbidden)
    } else if request.method() == HttpMethod::OPTIONS {
        cors::preflight(request.head())
    } else {
        serve(&transport, &request, body).await.unwrap_or_else(answer::refusal)
    };
    cors.apply(&mut response);
    response
}

async fn serve(
    transport: &Rc<Transport>,
    request: &HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, EngineError> {
    let query = Query::parse(request.query_string());
    let method = match request.method().as_str() {
        "GET" => Method::Get,
        "POST" => Method::Post,
        _ => Method::Other,
    };
    let checked = query.check(method, false);
    let sid = match transport.admit(request.head(), checked).await? {
        engineio::Request::Handshake { .. } => return Ok(poll::open(transport, request)),
        engineio::Request::Session { sid, .. } => sid,
    };
    let engines = &transport.hub.shared().engines;
    let Some(entry) = engines.find(&sid) else { return unknown(transport) };
    query.check_session(entry.transport(), method, false)?;
    match method {
        Method::Post => poll::post(transport, request, body, entry).await,
        Method::Get | Method::Other => poll::get(&entry).await,
    }
}

/// Nobody here has this sid. A draining node says so in a way that lets a proxy ask the next one:
/// while new clients are sent past it, their polls may still come here.
fn unknown(transport: &Transport) -> Result<HttpResponse, EngineError> {
    if !transport.hub.shared().is_draining() {
        return Err(EngineError::SessionUnknown);
    }
    let error = HubError::unavailable("the node is draining and does not know this session");
    Ok(answer::hub_error(StatusCode::SERVICE_UNAVAILABLE, &error))
}
