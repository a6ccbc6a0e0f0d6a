//! What monitoring asks: is the node alive, is it ready, what does it hold.
//!
//! Open to everybody, but for the names of rooms: without the API key they are an empty list
//! beside their number.

use actix_web::{HttpRequest, HttpResponse, web};
use hubbub_actors::cluster::NodeFigures;
use hubbub_protocol::{error::HubError, id::RoomName};
use prometheus::IntGauge;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    error::{ApiError, Refusals},
    metrics::{self, Memory},
    nodes,
    rooms::MAX_ROOMS_PAGE,
    state::HttpState,
};

/// What the nodes hold and have done, taken together.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Open client connections, authenticated or not.
    active_connections: u64,
    /// Authenticated sessions.
    sessions: u64,
    /// Names of rooms with a member, sorted, at most 1000; empty without the API key.
    #[schema(value_type = Vec<String>)]
    rooms: Vec<RoomName>,
    /// How many rooms have a member; at most a second old without the API key.
    room_count: usize,
    /// How many users are known: those with a session or in their grace.
    users: usize,
    /// Durable publishes taken.
    publishes: u64,
    /// Volatile events taken.
    volatile: u64,
    /// Frames queued for a member.
    deliveries: u64,
    /// How many nodes there are.
    nodes: usize,
    /// Name of the node that answers.
    node_id: String,
    /// How long that node runs, in seconds.
    uptime: f64,
}

/// The rooms as far as the caller may know them, and how many there are.
async fn rooms(
    state: &HttpState,
    request: &HttpRequest,
) -> Result<(Vec<RoomName>, usize), HubError> {
    // A key that is not there is no attempt with a wrong one.
    let has_key = request.headers().contains_key("authorization");
    if has_key && state.check_key(request).is_ok() {
        let page = state.hub.rooms(None, MAX_ROOMS_PAGE).await?;
        return Ok((page.rooms.into_iter().map(|(room, _)| room).collect(), page.count));
    }
    Ok((Vec::new(), state.room_count().await?))
}

fn gauge(gauge: &IntGauge) -> u64 {
    u64::try_from(gauge.get()).unwrap_or(0)
}

/// Seconds with three decimals.
fn uptime(state: &HttpState) -> f64 {
    (state.hub.uptime().as_secs_f64() * 1000.0).round() / 1000.0
}

/// What the nodes hold
///
/// Of other nodes it is what they said within the last second or so. Open; the names of rooms are
/// only there for holders of the API key.
#[utoipa::path(
    get, path = "/api/ws/stats", tag = "monitoring",
    responses((status = 200, description = "Counts", body = Stats), Refusals),
    security((), ("api_key" = []))
)]
pub async fn stats(
    state: web::Data<HttpState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (rooms, room_count) = rooms(&state, &request).await?;
    let users = state.hub.user_count().await?;
    let all = nodes::all(&state);
    let sum = |figure: fn(&NodeFigures) -> u64| all.iter().map(|n| figure(&n.figures)).sum();
    Ok(HttpResponse::Ok().json(Stats {
        active_connections: sum(|f| f.connections),
        sessions: sum(|f| f.sessions),
        rooms,
        room_count,
        users,
        publishes: sum(|f| f.publishes),
        volatile: sum(|f| f.volatile),
        deliveries: sum(|f| f.deliveries),
        nodes: all.len(),
        node_id: state.hub.shared().node.to_string(),
        uptime: uptime(&state),
    }))
}

/// What the node's WebSocket side holds.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SocketMetrics {
    /// Open client connections, authenticated or not.
    active_connections: u64,
    /// Authenticated sessions.
    connected_sockets: u64,
    /// Names of rooms with a member, sorted, at most 1000; empty without the API key.
    #[schema(value_type = Vec<String>)]
    rooms: Vec<RoomName>,
    /// How many rooms have a member; at most a second old without the API key.
    room_count: usize,
    /// Name of the node.
    node_id: String,
}

/// What the node's WebSocket side holds
///
/// Open; the names of rooms are only there for holders of the API key.
#[utoipa::path(
    get, path = "/metrics/websocket", tag = "monitoring",
    responses((status = 200, description = "Counts", body = SocketMetrics), Refusals),
    security((), ("api_key" = []))
)]
pub async fn websocket(
    state: web::Data<HttpState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (rooms, room_count) = rooms(&state, &request).await?;
    let shared = state.hub.shared();
    Ok(HttpResponse::Ok().json(SocketMetrics {
        active_connections: gauge(&shared.metrics.connections),
        connected_sockets: gauge(&shared.metrics.sessions),
        rooms,
        room_count,
        node_id: shared.node.to_string(),
    }))
}

/// How the node is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `healthy`, or `draining` once the node is on its way out.
    status: &'static str,
    /// How long the node runs, in seconds.
    uptime: f64,
    /// Memory of the process.
    memory_usage: Memory,
    /// Name of the node.
    node_id: String,
}

/// How the node is
#[utoipa::path(
    get, path = "/api/ws/health", tag = "monitoring",
    responses((status = 200, description = "The node answers", body = Health))
)]
pub async fn health(state: web::Data<HttpState>) -> HttpResponse {
    let shared = state.hub.shared();
    HttpResponse::Ok().json(Health {
        status: if shared.is_draining() { "draining" } else { "healthy" },
        uptime: uptime(&state),
        memory_usage: metrics::memory(),
        node_id: shared.node.to_string(),
    })
}

/// One word.
#[derive(Serialize, ToSchema)]
pub struct Word {
    /// `ok` or `ready`.
    status: &'static str,
}

/// Is the process alive
#[utoipa::path(
    get, path = "/healthz", tag = "monitoring",
    responses((status = 200, description = "It is", body = Word))
)]
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(Word { status: "ok" })
}

/// May the node get new connections
#[utoipa::path(
    get, path = "/readyz", tag = "monitoring",
    responses(
        (status = 200, description = "It may", body = Word),
        (status = 503, description = "It may not, and why", body = super::error::ErrorBody),
    )
)]
pub async fn ready(state: web::Data<HttpState>) -> Result<HttpResponse, ApiError> {
    if state.hub.shared().is_draining() {
        return Err(HubError::unavailable("the node is draining").into());
    }
    let required = state.config.cluster.required;
    if required && state.hub.shared().link.as_ref().is_some_and(|link| !link.is_up()) {
        return Err(HubError::unavailable("Redis is away").into());
    }
    Ok(HttpResponse::Ok().json(Word { status: "ready" }))
}
