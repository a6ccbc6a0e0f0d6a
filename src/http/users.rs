//! Backends look at users and send them away.

use std::net::IpAddr;

use actix_web::{HttpRequest, HttpResponse, web};
use hubbub_actors::session::SessionHandle;
use hubbub_protocol::{
    id::{RoomName, UserId},
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
    /// The client's address, as trusted proxies report it.
    #[schema(value_type = String)]
    ip: IpAddr,
    /// When the connection opened, RFC 3339.
    #[schema(value_type = String)]
    opened_at: Timestamp,
    /// Bytes that wait for the client.
    waiting_bytes: usize,
}

impl From<&SessionHandle> for SessionEntry {
    fn from(session: &SessionHandle) -> Self {
        Self {
            id: session.id.to_string(),
            ip: session.connection.peer,
            opened_at: Timestamp(session.connection.opened_at),
            waiting_bytes: session.connection.outbound.len(),
        }
    }
}

/// Look at a user
///
/// Presence, sessions and rooms. The hub keeps no list of users: `not_found` says that the user is
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
    let mut sessions = known.sessions;
    // Ids are in the order of time.
    sessions.sort_unstable_by_key(|session| session.id);
    Ok(HttpResponse::Ok().json(User {
        user_id,
        username: known.username.map(|name| name.to_string()),
        status: known.status.as_str(),
        since: known.since,
        socket_count: sessions.len() + known.elsewhere.len(),
        sessions: sessions.iter().map(|session| SessionEntry::from(&**session)).collect(),
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
/// Closes every session of the user with 4403. With `ban_ms` the user can neither come back nor
/// recover a session for that long.
#[utoipa::path(
    delete, path = "/api/users/{user}/sessions", tag = "users",
    params(
        ("user" = String, Path, description = "User id, percent-encoded"),
        ("ban_ms" = Option<u64>, Query, description = "Milliseconds; default 0, no ban"),
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
    let closed = state.hub.close_user(user.0.clone(), ban_ms).await?;
    log::info!(user = user.0.as_str(), closed = closed, ban_ms = ban_ms; "user sent away");
    Ok(HttpResponse::Ok().json(Closed { closed }))
}
