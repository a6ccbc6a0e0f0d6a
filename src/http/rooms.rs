//! Backends look at rooms.

use actix_web::{HttpRequest, HttpResponse, http::header::ContentType, web};
use hubbub_actors::ports::{Page, Range};
use hubbub_protocol::{
    error::HubError,
    event::{EventKind, Fields, Fieldset},
    id::{RoomName, UserId},
    limits::{DEFAULT_PAGE, MAX_MEMBERS_PAGE, MAX_PAGE},
    wire::json::fieldset,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    error::{ApiError, KeyRefusals},
    params::{Query, RoomPath},
    state::{ApiKey, HttpState},
};

/// Rooms in a page when the request names no `limit`.
const DEFAULT_ROOMS: usize = 100;
/// Most rooms in a page.
pub(super) const MAX_ROOMS_PAGE: usize = 1000;

/// A page of rooms that have a member.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rooms {
    /// Sorted by name.
    rooms: Vec<RoomEntry>,
    /// How many rooms have a member.
    room_count: usize,
    /// Whether more follow the last one.
    has_more: bool,
}

/// A room with a member.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomEntry {
    /// Its name.
    #[schema(value_type = String)]
    room_id: RoomName,
    /// How many users are members.
    member_count: usize,
}

/// List the rooms
///
/// Those that have a member, sorted by name.
#[utoipa::path(
    get, path = "/api/rooms", tag = "rooms",
    params(
        ("after" = Option<String>, Query, description = "Only rooms after this one: the last of the page before"),
        ("limit" = Option<usize>, Query, description = "1 to 1000, default 100"),
    ),
    responses((status = 200, description = "A page", body = Rooms), KeyRefusals),
    security(("api_key" = []))
)]
pub async fn list(
    _: ApiKey,
    state: web::Data<HttpState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["after", "limit"])?;
    let after = query.text("after").map(RoomName::new).transpose()?;
    let limit = query.limit(DEFAULT_ROOMS, MAX_ROOMS_PAGE)?;
    // One more says whether more follow.
    let mut page = state.hub.rooms(after, limit + 1).await?;
    let has_more = page.rooms.len() > limit;
    page.rooms.truncate(limit);
    let rooms = page.rooms.into_iter();
    Ok(HttpResponse::Ok().json(Rooms {
        rooms: rooms.map(|(room_id, member_count)| RoomEntry { room_id, member_count }).collect(),
        room_count: page.count,
        has_more,
    }))
}

/// A room.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    /// Its name.
    #[schema(value_type = String)]
    room_id: RoomName,
    /// How many users are members.
    member_count: usize,
    /// Which history it has, 16 hexadecimal digits.
    epoch: String,
    /// Offset of the newest message; 0 if there never was one.
    offset: u64,
    /// Offset of the oldest message still kept; `offset + 1` if none is.
    oldest_offset: u64,
}

/// Look at a room
///
/// `not_found` if it has neither a member nor a history.
#[utoipa::path(
    get, path = "/api/rooms/{room}", tag = "rooms",
    params(("room" = String, Path, description = "Name of the room, percent-encoded")),
    responses((status = 200, description = "The room", body = Room), KeyRefusals),
    security(("api_key" = []))
)]
pub async fn one(
    _: ApiKey,
    state: web::Data<HttpState>,
    room: RoomPath,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?;
    let room_id = room.0;
    let member_count = state.hub.members(room_id.clone(), None, 1).await?.count;
    let page = state.hub.history(&room_id, Range::Newest, 1).await?;
    if member_count == 0 && page.head.offset == 0 {
        return Err(ApiError::not_found("the room has no members and no history"));
    }
    Ok(HttpResponse::Ok().json(Room {
        room_id,
        member_count,
        epoch: page.head.epoch.to_string(),
        offset: page.head.offset,
        oldest_offset: page.oldest,
    }))
}

/// List the members of a room
///
/// Sorted by user id. Each is `{"userId","username"?,"status","socketCount"}`.
#[utoipa::path(
    get, path = "/api/rooms/{room}/members", tag = "rooms",
    params(
        ("room" = String, Path, description = "Name of the room, percent-encoded"),
        ("after" = Option<String>, Query, description = "Only users after this one: the last of the page before"),
        ("limit" = Option<usize>, Query, description = "1 to 100, default 100"),
    ),
    responses((status = 200, description = "A page", body = MembersDoc), KeyRefusals),
    security(("api_key" = []))
)]
pub async fn members(
    _: ApiKey,
    state: web::Data<HttpState>,
    room: RoomPath,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["after", "limit"])?;
    let after = query.text("after").map(UserId::new).transpose()?;
    let limit = query.limit(MAX_MEMBERS_PAGE, MAX_MEMBERS_PAGE)?;
    let page = state.hub.members(room.0.clone(), after, limit).await?;
    Ok(render(|out| {
        out.text("roomId", room.0.as_str());
        out.list("members", &mut page.members.iter().map(|m| m as &dyn Fieldset));
        out.number("memberCount", page.count as u64);
        out.flag("hasMore", page.has_more);
    }))
}

/// Read the history of a room
///
/// Ascending by offset; without `after` and `before` the newest messages. Messages look as on the
/// JSON wire. A page ends early after 256 KiB of bodies; `hasMore` says so.
#[utoipa::path(
    get, path = "/api/rooms/{room}/messages", tag = "rooms",
    params(
        ("room" = String, Path, description = "Name of the room, percent-encoded"),
        ("after" = Option<u64>, Query, description = "The oldest messages above this offset"),
        ("before" = Option<u64>, Query, description = "The newest messages below this offset"),
        ("limit" = Option<usize>, Query, description = "1 to 200, default 50"),
    ),
    responses((status = 200, description = "A page", body = MessagesDoc), KeyRefusals),
    security(("api_key" = []))
)]
pub async fn messages(
    _: ApiKey,
    state: web::Data<HttpState>,
    room: RoomPath,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["after", "before", "limit"])?;
    let range = match (query.number("after")?, query.number("before")?) {
        (None, None) => Range::Newest,
        (Some(after), None) => Range::After(after),
        (None, Some(before)) => Range::Before(before),
        (Some(_), Some(_)) => {
            return Err(HubError::bad_request("`after` and `before` exclude each other").into());
        }
    };
    let limit = query.limit(DEFAULT_PAGE, MAX_PAGE)?;
    let Page { head, records, has_more, .. } = state.hub.history(&room.0, range, limit).await?;
    Ok(render(|out| {
        out.text("epoch", &head.epoch.to_string());
        out.list("messages", &mut records.iter().map(|r| &**r as &dyn Fieldset));
        out.flag("hasMore", has_more);
    }))
}

/// Answers with fields, written as the JSON wire writes them.
fn render(fields: impl Fn(&mut dyn Fields)) -> HttpResponse {
    struct Answer<F>(F);
    impl<F: Fn(&mut dyn Fields)> Fieldset for Answer<F> {
        fn kind(&self) -> Option<EventKind> {
            None
        }

        fn fields(&self, out: &mut dyn Fields) {
            (self.0)(out);
        }
    }
    HttpResponse::Ok().content_type(ContentType::json()).body(fieldset(&Answer(fields)))
}

/// A page of members.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", as = Members)]
#[expect(dead_code, reason = "describes what `render` writes")]
pub(super) struct MembersDoc {
    /// The room.
    room_id: String,
    /// Sorted by user id.
    members: Vec<MemberDoc>,
    /// How many users are members in all.
    member_count: usize,
    /// Whether more follow the last one.
    has_more: bool,
}

/// A member of a room: a user, with however many sessions.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", as = Member)]
#[expect(dead_code, reason = "describes what `render` writes")]
pub(super) struct MemberDoc {
    /// Who.
    user_id: String,
    /// The display name.
    username: Option<String>,
    /// `online`, `away` or `offline`.
    status: String,
    /// How many sessions the user has.
    socket_count: usize,
}

/// A page of a room's history.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", as = Messages)]
#[expect(dead_code, reason = "describes what `render` writes")]
pub(super) struct MessagesDoc {
    /// Which history, 16 hexadecimal digits.
    epoch: String,
    /// Ascending by offset.
    messages: Vec<StoredDoc>,
    /// Whether more lie beyond in the direction that was asked for.
    has_more: bool,
}

/// A stored message (`content`) or custom event (`name`).
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", as = Stored)]
#[expect(dead_code, reason = "describes what `render` writes")]
pub(super) struct StoredDoc {
    /// `message`, `direct` or `event`.
    r#type: String,
    /// UUIDv7.
    id: String,
    /// The room; not with `direct`.
    room_id: Option<String>,
    /// Who sent it.
    user_id: Option<String>,
    /// The sender's display name.
    username: Option<String>,
    /// The text of a message.
    content: Option<String>,
    /// The name of a custom event.
    name: Option<String>,
    /// Any JSON.
    data: Option<serde_json::Value>,
    /// Which history, 16 hexadecimal digits.
    epoch: String,
    /// Its place there.
    offset: u64,
    /// RFC 3339 in UTC with milliseconds.
    timestamp: String,
}
