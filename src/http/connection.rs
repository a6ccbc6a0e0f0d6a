//! What the hub sees of a request: for who sets up a proxy.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    error::{ApiError, Refusals},
    state::{ApiKey, HttpState},
};
use crate::transport::handshake::client_ip;

/// How a request came to the hub.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Name of the node.
    node_id: String,
    /// Who opened the connection: the client itself, or the last proxy.
    peer: Option<String>,
    /// Whether `server.trusted_proxies` names the peer, so that its headers are believed.
    peer_trusted: bool,
    /// The address that counts for limits and logs.
    ip: String,
    /// `X-Forwarded-For` as it came.
    forwarded_for: Option<String>,
    /// `X-Forwarded-Proto` as it came.
    forwarded_proto: Option<String>,
    /// `Host` as it came.
    host: Option<String>,
}

/// What the hub sees of this request
///
/// Shows whether a proxy passes on addresses, scheme and host; `hubbub doctor --url` reads it.
#[utoipa::path(
    get, path = "/api/connection", tag = "monitoring",
    responses((status = 200, description = "How the request came", body = Connection), Refusals),
    security(("api_key" = []))
)]
pub async fn seen(
    _key: ApiKey,
    state: web::Data<HttpState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let trusted = &state.config.server.trusted_proxies;
    let text = |name: header::HeaderName| {
        let lists = request.headers().get_all(name).filter_map(|value| value.to_str().ok());
        let all: Vec<&str> = lists.collect();
        (!all.is_empty()).then(|| all.join(", "))
    };
    let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
    Ok(HttpResponse::Ok().json(Connection {
        node_id: state.hub.shared().node.to_string(),
        peer: peer.map(|peer| peer.to_string()),
        peer_trusted: peer.is_some_and(|peer| trusted.iter().any(|net| net.contains(&peer))),
        ip: client_ip(request.head(), trusted).to_string(),
        forwarded_for: text(header::HeaderName::from_static("x-forwarded-for")),
        forwarded_proto: text(header::HeaderName::from_static("x-forwarded-proto")),
        host: text(header::HOST),
    }))
}
