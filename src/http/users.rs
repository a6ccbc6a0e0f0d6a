//! Backends look at users and send them away.

use std::net::IpAddr;

use actix_web::{HttpRequest, HttpResponse, web};
use hubbub_actors::{
    cluster::{ClusterPresence, RemoteSession, node_id},
    session::SessionHandle,
};
use hubbub_protocol::{
    error::HubError,
    id::{RoomName, SessionId, UserId},
    limits::MAX_BAN_MS,
    timestamp::Timestamp,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    error::{ApiError, KeyRefusals},
    params::{Query, UserPath},
    state::{ApiKey, HttpState},
};

/// A user.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Who.
    #[schema(value_type = String)]
    user_id: UserId,
    /// The display name, if a token brought one.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    /// `online`, `away` or `offline`.
    status: &'static str,
    /// Since when, RFC 3339.
    #[schema(value_type = String)]
    since: Timestamp,
    /// How many sessions there are.
    socket_count: usize,
    /// The sessions, the oldest first.
    sessions: Vec<SessionEntry>,
    /// The rooms, sorted.
    #[schema(value_type = Vec<String>)]
    rooms: Vec<RoomName>,
}

/// A session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionEntry {
    /// UUIDv7.
    id: String,
    /// The node it is on.
    node_id: String,
    /// The client's address, as trusted proxies report it.
    #[schema(value_type = String)]
    ip: IpAddr,
    /// When the connection opened, RFC 3339.
    #[schema(value_type = String)]
    opened_at: Timestamp,
    /// Bytes that wait for the client; only for sessions of the node that answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_bytes: Option<usize>,
}

impl SessionEntry {
    /// A session on another node, as that one tells it.
    fn elsewhere(node: &str, (id, ip): RemoteSession) -> Self {
        Self {
            id: id.to_string(),
            node_id: node.to_owned(),
            ip,
            opened_at: opened_at(id),
            waiting_bytes: None,
        }
    }
}

/// When a session opened: its id (UUIDv7) says so.
fn opened_at(id: SessionId) -> Timestamp {
    let unix = id.0.get_timestamp().map_or((0, 0), |time| time.to_unix());
    Timestamp(unix.0 * 1000 + u64::from(unix.1) / 1_000_000)
}

/// The sessions that other nodes have of a user, those `here` left out.
async fn elsewhere(
    cluster: &ClusterPresence,
    user: UserId,
    here: impl IntoIterator<Item = SessionId>,
) -> Result<Vec<SessionEntry>, HubError> {
    let shares = cluster.find(user).await.map_err(|error| {
        log::warn!(error:%; "the sessions of a user on other nodes cannot be read");
        HubError::unavailable("the sessions on other nodes cannot be read; try again")
    })?;
    let sessions = cluster.sessions_elsewhere(shares, here);
    let entries = sessions.into_iter().map(|(n, s)| SessionEntry::elsewhere(node_id(&n), s));
    Ok(entries.collect())
}

impl From<&SessionHandle> for SessionEntry {
    fn from(session: &SessionHandle) -> Self {
        Self {
            id: session.id.to_string(),
            node_id: session.shared.node.to_string(),
            ip: session.connection.peer,
            opened_at: session.shared.clock.told(session.connection.opened_at),
            waiting_bytes: Some(session.connection.outbound.len()),
        }
    }
}

/// Look at a user
///
/// Presence, sessions and rooms, on all nodes. The hub keeps no list of users: `not_found` says that the user is
/// offline or never was here.
#[utoipa::path(
    get, path = "/api/users/{user}", tag = "users",
    params(("user" = String, Path, description = "User id, percent-encoded")),
    responses((status = 200, description = "The user", body = User), KeyRefusals),
    security(("api_key" = []))
)]
pub async fn one(
    _: ApiKey,
    state: web::Data<HttpState>,
    user: UserPath,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?;
    let user_id = user.0;
    let Some(known) = state.hub.user(user_id.clone()).await? else {
        return Err(ApiError::not_found("the user has no session; the hub keeps no list of users"));
    };
    let mut sessions: Vec<_> = known.sessions.iter().map(|s| SessionEntry::from(&**s)).collect();
    if let Some(cluster) = &state.hub.shared().cluster
        && !known.elsewhere.is_empty()
    {
        let here = known.sessions.iter().map(|session| session.id);
        sessions.extend(elsewhere(cluster, user_id.clone(), here).await?);
    }
    // Ids are in the order of time.
    sessions.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Ok(HttpResponse::Ok().json(User {
        user_id,
        username: known.username.map(|name| name.to_string()),
        status: known.status.as_str(),
        since: known.since,
        socket_count: sessions.len(),
        sessions,
        rooms: known.rooms,
    }))
}

/// Sessions were closed.
#[derive(Serialize, ToSchema)]
pub struct Closed {
    /// How many.
    closed: usize,
}

/// Send a user away
///
/// Closes every session of the user with 4403, on all nodes. With `ban_ms` the user can neither come back nor
/// recover a session for that long, on any node. `unavailable` if the other nodes could not be
/// told: it is done on this one, and may be asked again.
#[utoipa::path(
    delete, path = "/api/users/{user}/sessions", tag = "users",
    params(
        ("user" = String, Path, description = "User id, percent-encoded"),
        ("ban_ms" = Option<u64>, Query, description = "Milliseconds, at most 3155760000000 (100 years); default 0, no ban"),
    ),
    responses((status = 200, description = "Closed", body = Closed), KeyRefusals),
    security(("api_key" = []))
)]
pub async fn close(
    _: ApiKey,
    state: web::Data<HttpState>,
    user: UserPath,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let ban_ms = Query::read(&request, &["ban_ms"])?.number("ban_ms")?.unwrap_or(0);
    if ban_ms > MAX_BAN_MS {
        return Err(HubError::bad_request(format!(
            "`ban_ms` must be at most {MAX_BAN_MS}, which is 100 years"
        ))
        .into());
    }
    let closed = state.hub.close_user(user.0.clone(), ban_ms).await?;
    log::info!(user = user.0.as_str(), closed = closed, ban_ms = ban_ms; "user sent away");
    Ok(HttpResponse::Ok().json(Closed { closed }))
}
