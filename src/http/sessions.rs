//! Operators look at the sessions of the node and close one.

use std::{net::IpAddr, sync::Arc};

use actix_web::{HttpRequest, HttpResponse, web};
use hubbub_actors::session::SessionHandle;
use hubbub_protocol::{
    close::CloseCode,
    error::{ErrorCode, HubError},
    id::{RoomName, UserId},
    timestamp::Timestamp,
};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    error::{ApiError, KeyRefusals},
    params::Query,
    state::{ApiKey, HttpState},
};

/// Sessions in an answer when the request names no `limit`.
const DEFAULT_SESSIONS: usize = 50;
/// Most sessions in an answer.
const MAX_SESSIONS: usize = 200;
/// Where the id stands in `/api/sessions/{session}`.
const ID_SEGMENT: usize = 3;

/// The first sessions of the node in an order.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sessions {
    /// In the order that was asked for.
    sessions: Vec<Session>,
    /// How many the node has (of the user, if one was named).
    session_count: usize,
    /// Name of the node.
    node_id: String,
}

/// A session of the node.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// UUIDv7.
    id: String,
    /// Whose it is.
    #[schema(value_type = String)]
    user_id: UserId,
    /// The display name, if the token brought one.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    /// The client's address, as trusted proxies report it.
    #[schema(value_type = String)]
    ip: IpAddr,
    /// `json` or `socketio`.
    wire: &'static str,
    /// `online`, `away` or `offline`, as the session says.
    status: &'static str,
    /// When the connection opened, RFC 3339.
    #[schema(value_type = String)]
    opened_at: Timestamp,
    /// When the client last gave a sign of life, RFC 3339.
    #[schema(value_type = String)]
    seen_at: Timestamp,
    /// When the token ends, RFC 3339; none if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    token_ends_at: Option<Timestamp>,
    /// Bytes that wait for the client.
    waiting_bytes: usize,
    /// Publishes that wait for their acknowledgement.
    unacknowledged: usize,
    /// Frames the session has sent; two looks make a rate.
    received_frames: u64,
    /// The last request that was answered with an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<LastError>,
    /// In how many rooms it is.
    room_count: usize,
    /// Their names; only where one session is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    rooms: Option<Vec<RoomName>>,
}

/// An error a session was told.
#[derive(Serialize, ToSchema)]
pub struct LastError {
    /// Its stable code.
    #[schema(value_type = String)]
    code: &'static str,
    /// When, RFC 3339.
    #[schema(value_type = String)]
    at: Timestamp,
}

impl Session {
    fn of(session: &SessionHandle, with_rooms: bool) -> Self {
        let connection = &session.connection;
        let vitals = connection.vitals();
        let rooms = session.rooms();
        let clock = &session.shared.clock;
        Self {
            id: session.id.to_string(),
            user_id: session.user.clone(),
            username: session.username.as_deref().map(ToOwned::to_owned),
            ip: connection.peer,
            wire: session.shared.format(session.format).name(),
            status: session.status().as_str(),
            opened_at: clock.told(connection.opened_at),
            seen_at: clock.told(vitals.last_seen),
            token_ends_at: (vitals.expires_at < u64::MAX).then(|| clock.told(vitals.expires_at)),
            waiting_bytes: connection.outbound.len(),
            unacknowledged: session.unanswered() as usize,
            received_frames: connection.frames_taken(),
            last_error: session
                .last_refusal()
                .map(|(code, at)| LastError { code: code.as_str(), at: clock.told(at) }),
            room_count: rooms.len(),
            rooms: with_rooms.then_some(rooms),
        }
    }
}

/// What comes first in the list.
#[derive(Clone, Copy)]
enum Order {
    Waiting,
    Frames,
    Newest,
    Errors,
}

impl Order {
    fn parse(text: Option<&str>) -> Result<Self, HubError> {
        match text {
            None | Some("waiting") => Ok(Self::Waiting),
            Some("frames") => Ok(Self::Frames),
            Some("newest") => Ok(Self::Newest),
            Some("errors") => Ok(Self::Errors),
            Some(_) => {
                Err(HubError::bad_request("`order` must be waiting, frames, newest or errors"))
            }
        }
    }

    /// The larger, the earlier in the list.
    fn weight(self, session: &SessionHandle) -> u64 {
        match self {
            Self::Waiting => session.connection.outbound.len() as u64,
            Self::Frames => session.connection.frames_taken(),
            Self::Newest => session.connection.opened_at,
            Self::Errors => session.last_refusal().map_or(0, |(_, at)| at),
        }
    }
}

/// List the sessions of this node
///
/// The first `limit` in an order: `waiting` (most bytes that wait first), `frames` (most frames
/// sent), `newest`, or `errors` (the newest error first).
#[utoipa::path(
    get, path = "/api/sessions", tag = "operators",
    params(
        ("user" = Option<String>, Query, description = "Only sessions of this user"),
        ("order" = Option<String>, Query, description = "waiting (default), frames, newest or errors"),
        ("limit" = Option<usize>, Query, description = "1 to 200, default 50"),
    ),
    responses((status = 200, description = "The sessions", body = Sessions), KeyRefusals),
    security(("api_key" = []))
)]
pub async fn list(
    _: ApiKey,
    state: web::Data<HttpState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["user", "order", "limit"])?;
    let user = query.text("user").map(UserId::new).transpose()?;
    let order = Order::parse(query.text("order"))?;
    let limit = query.limit(DEFAULT_SESSIONS, MAX_SESSIONS)?;
    let mut all = state.hub.sessions().await;
    if let Some(user) = user {
        all.retain(|session| session.user == user);
    }
    // What changes meanwhile must not confuse the order: weigh each once. Ids are in the order of
    // time and make it a total one.
    let mut weighed: Vec<_> = all.iter().map(|s| (order.weight(s), s.id, s)).collect();
    weighed.sort_unstable_by_key(|row| std::cmp::Reverse((row.0, row.1)));
    let first = weighed.into_iter().take(limit);
    Ok(HttpResponse::Ok().json(Sessions {
        sessions: first.map(|(_, _, session)| Session::of(session, false)).collect(),
        session_count: all.len(),
        node_id: state.hub.shared().node.to_string(),
    }))
}

/// The session that a path names.
async fn find(state: &HttpState, request: &HttpRequest) -> Result<Arc<SessionHandle>, ApiError> {
    let text = request.uri().path().split('/').nth(ID_SEGMENT).unwrap_or_default();
    let id: Uuid =
        text.parse().map_err(|_| HubError::bad_request("the session in the path is no UUID"))?;
    let mut all = state.hub.sessions().await.into_iter();
    all.find(|session| session.id.0 == id)
        .ok_or_else(|| ApiError::not_found("this node has no such session"))
}

/// Look at a session
///
/// With the names of its rooms.
#[utoipa::path(
    get, path = "/api/sessions/{session}", tag = "operators",
    params(("session" = String, Path, description = "Session id")),
    responses((status = 200, description = "The session", body = Session), KeyRefusals),
    security(("api_key" = []))
)]
pub async fn one(
    _: ApiKey,
    state: web::Data<HttpState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?;
    let session = find(&state, &request).await?;
    Ok(HttpResponse::Ok().json(Session::of(&session, true)))
}

/// A session was closed.
#[derive(Serialize, ToSchema)]
pub struct SessionClosed {
    /// Always 1.
    closed: usize,
}

/// Close a session
///
/// With 4403, so that the client does not come back by itself; the user's other sessions stay.
#[utoipa::path(
    delete, path = "/api/sessions/{session}", tag = "operators",
    params(("session" = String, Path, description = "Session id")),
    responses((status = 200, description = "Closed", body = SessionClosed), KeyRefusals),
    security(("api_key" = []))
)]
pub async fn close(
    _: ApiKey,
    state: web::Data<HttpState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?;
    let session = find(&state, &request).await?;
    session.close(CloseCode::Forbidden);
    log::info!(session = session.id.to_string().as_str(), user = session.user.as_str(); "session sent away");
    Ok(HttpResponse::Ok().json(SessionClosed { closed: 1 }))
}

/// The node was asked to drain.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Draining {
    /// Always true.
    draining: bool,
    /// Name of the node.
    node_id: String,
}

/// Drain this node
///
/// As SIGTERM does: no new connections, every session is asked to come back elsewhere, what was
/// taken is stored, and the process ends.
#[utoipa::path(
    post, path = "/api/nodes/{node}/drain", tag = "operators",
    params(("node" = String, Path, description = "Name of the node that is asked")),
    responses((status = 202, description = "It drains", body = Draining), KeyRefusals),
    security(("api_key" = []))
)]
pub async fn drain(
    _: ApiKey,
    state: web::Data<HttpState>,
    node: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?;
    let here = &state.hub.shared().node;
    if **here != **node {
        let why = format!("this is node {here}; ask the other one itself");
        return Err(HubError::new(ErrorCode::NotFound, why).into());
    }
    log::info!("drain asked for over HTTP");
    state.ask_drain();
    Ok(HttpResponse::Accepted().json(Draining { draining: true, node_id: here.to_string() }))
}
