//! Operators look at the nodes.

use actix_web::{HttpRequest, HttpResponse, web};
use hubbub_actors::cluster::{NodeFigures, NodeRow, NodeState};
use hubbub_protocol::timestamp::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    error::{ApiError, KeyRefusals},
    params::Query,
    state::{ApiKey, HttpState},
};

/// Most nodes in an answer.
const MAX_NODES: usize = 1000;

/// The nodes of the cluster.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Nodes {
    /// Sorted by name; at most 1000.
    nodes: Vec<NodeEntry>,
    /// How many there are, with those that are gone and not swept up yet.
    node_count: usize,
    /// How many users are known: those with a session or in their grace.
    users: usize,
    /// How many rooms have a member.
    room_count: usize,
}

/// A node.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeEntry {
    /// Its name.
    node_id: String,
    /// Its name and a number that is new at each start.
    instance: String,
    /// Whether it is the one that answers.
    own: bool,
    /// `ready`; `draining` when it takes no new connections; `gone` when it has said nothing for
    /// the length of a lease, and its users are about to be told as gone.
    state: &'static str,
    /// Version of the hub.
    version: String,
    /// When it started, RFC 3339.
    #[schema(value_type = String)]
    started_at: Timestamp,
    /// When it said this, RFC 3339.
    #[schema(value_type = String)]
    seen_at: Timestamp,
    /// Open client connections, authenticated or not.
    connections: u64,
    /// Authenticated sessions.
    sessions: u64,
    /// Rooms with a member on it.
    rooms: u64,
    /// Durable publishes taken since its start.
    publishes: u64,
    /// Volatile events taken since its start.
    volatile: u64,
    /// Frames queued for a member since its start.
    deliveries: u64,
}

impl NodeEntry {
    fn new(row: NodeRow, own: &str) -> Self {
        let state = match row.figures.state {
            _ if !row.alive => "gone",
            NodeState::Ready => "ready",
            NodeState::Draining => "draining",
        };
        Self {
            node_id: row.node().to_owned(),
            own: *row.instance == *own,
            instance: row.instance.to_string(),
            state,
            version: row.figures.version,
            started_at: Timestamp(row.figures.started),
            seen_at: Timestamp(row.figures.said),
            connections: row.figures.connections,
            sessions: row.figures.sessions,
            rooms: row.figures.rooms,
            publishes: row.figures.publishes,
            volatile: row.figures.volatile,
            deliveries: row.figures.deliveries,
        }
    }
}

/// The nodes that live: this one as it is now, the others as they last said.
pub(super) fn all(state: &HttpState) -> Vec<NodeRow> {
    let mut rows = rows(state);
    rows.retain(|row| row.alive);
    rows
}

fn rows(state: &HttpState) -> Vec<NodeRow> {
    let shared = state.hub.shared();
    let now = shared.clock.wall();
    let started = now.saturating_sub(state.hub.uptime().as_millis() as u64);
    let figures = NodeFigures::of(shared, started);
    let (mut rows, instance) = match &shared.cluster {
        Some(cluster) => (cluster.nodes(), cluster.instance.clone()),
        None => (Vec::new(), shared.node.clone()),
    };
    rows.retain(|row| row.instance != instance);
    rows.push(NodeRow { instance, alive: true, figures });
    rows.sort_unstable_by(|a, b| a.instance.cmp(&b.instance));
    rows
}

/// List the nodes
///
/// Each with what it said within the last second or so.
#[utoipa::path(
    get, path = "/api/nodes", tag = "monitoring",
    responses((status = 200, description = "The nodes", body = Nodes), KeyRefusals),
    security(("api_key" = []))
)]
pub async fn list(
    _: ApiKey,
    state: web::Data<HttpState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?;
    let mut rows = rows(&state);
    let node_count = rows.len();
    rows.truncate(MAX_NODES);
    let shared = state.hub.shared();
    let own = shared.cluster.as_ref().map_or(&shared.node, |cluster| &cluster.instance);
    Ok(HttpResponse::Ok().json(Nodes {
        nodes: rows.into_iter().map(|row| NodeEntry::new(row, own)).collect(),
        node_count,
        users: state.hub.user_count().await?,
        room_count: state.room_count().await?,
    }))
}
