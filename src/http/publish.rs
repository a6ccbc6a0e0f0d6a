//! Backends speak to rooms, users and everybody.

use actix_web::{HttpResponse, web};
use hubbub_protocol::{
    error::HubError,
    event::Notification,
    id::{RoomName, UserId},
    record::Body,
};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use super::{
    body::{FromObject, Object, Strict},
    error::{ApiError, KeyRefusals},
    followed::Followed,
    params::{RoomPath, UserPath, check_open},
    state::{ApiKey, HttpState},
};

/// Name of a broadcast that brings none.
const BROADCAST: &str = "broadcast";

/// A message, or with `event` a custom event.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Publish {
    /// The text; required unless `event` is there. A custom event carries it as
    /// `data.content`, and `data` beside it as `data.data`.
    content: Option<Box<str>>,
    /// Any JSON, nested at most 32 deep, passed through untouched.
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<Box<RawValue>>,
    /// Makes it a custom event of this name, 1 to 128 bytes.
    event: Option<Box<str>>,
    /// The user in whose name it is sent.
    #[schema(value_type = Option<String>)]
    user_id: Option<UserId>,
    /// Makes the publish idempotent for ten minutes per room and `userId`, 1 to 128 bytes.
    key: Option<Box<str>>,
}

impl FromObject for Publish {
    const FIELDS: &'static [&'static str] = &["content", "data", "event", "userId", "key"];

    fn from_object(object: &Object<'_>) -> Result<Self, HubError> {
        let event = object.event()?;
        let content =
            if event.is_some() { object.text("content")? } else { Some(object.need("content")?) };
        Ok(Self {
            content,
            data: object.data()?,
            event,
            user_id: object.user()?,
            key: object.key()?,
        })
    }
}

/// A message was stored and handed to the members.
#[derive(Serialize, ToSchema)]
pub struct Published {
    /// Its id (UUIDv7); with a known `key` that of the first publish.
    id: String,
    /// The history it belongs to, 16 hexadecimal digits.
    epoch: String,
    /// Its place there.
    offset: u64,
}

/// Something without a place in a history was handed over.
#[derive(Serialize, ToSchema)]
pub struct Sent {
    /// Always true.
    sent: bool,
}

/// What a custom event carries.
fn event_data(
    content: Option<Box<str>>,
    data: Option<Box<RawValue>>,
) -> Result<Option<Box<RawValue>>, HubError> {
    #[derive(Serialize)]
    struct Both {
        content: Box<str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<Box<RawValue>>,
    }
    match content {
        None => Ok(data),
        Some(content) => to_raw_value(&Both { content, data })
            .map(Some)
            .map_err(|_| HubError::bad_request("`content` cannot be carried by an event")),
    }
}

async fn publish(
    state: &HttpState,
    room: RoomName,
    body: Publish,
    direct: bool,
    trace: Followed,
) -> Result<HttpResponse, ApiError> {
    let Publish { content, data, event, user_id, key } = body;
    let body = match (event, content) {
        (Some(name), content) => Body::Event { name, data: event_data(content, data)? },
        (None, content) => {
            let content = content.unwrap_or_default();
            if direct { Body::Direct { content, data } } else { Body::Message { content, data } }
        }
    };
    let appended = state.hub.publish_followed(room, user_id, body, key, trace.0).await?;
    Ok(HttpResponse::Accepted().json(Published {
        id: appended.id.to_string(),
        epoch: appended.position.epoch.to_string(),
        offset: appended.position.offset,
    }))
}

/// Publish to a room
///
/// Stores a message, or with `event` a custom event, and hands it to the members. Answered after
/// it is durable.
#[utoipa::path(
    post, path = "/api/rooms/{room}/messages", tag = "publish",
    params(
        ("room" = String, Path, description = "Name of the room, percent-encoded"),
        ("traceparent" = Option<String>, Header, description = "W3C Trace Context; if sampled, the \
            way of the message is recorded"),
    ),
    request_body = Publish,
    responses((status = 202, description = "Stored", body = Published), KeyRefusals),
    security(("api_key" = []))
)]
pub async fn to_room(
    _: ApiKey,
    state: web::Data<HttpState>,
    room: RoomPath,
    trace: Followed,
    body: Strict<Publish>,
) -> Result<HttpResponse, ApiError> {
    publish(&state, room.open()?, body.0, false, trace).await
}

/// Write to a user
///
/// Stores a direct message, or with `event` a custom event, in the user's personal room and hands
/// it to every session of the user; it stays in the history of the user's personal room.
#[utoipa::path(
    post, path = "/api/users/{user}/messages", tag = "publish",
    params(
        ("user" = String, Path, description = "User id, percent-encoded"),
        ("traceparent" = Option<String>, Header, description = "W3C Trace Context; if sampled, the \
            way of the message is recorded"),
    ),
    request_body = Publish,
    responses((status = 202, description = "Stored", body = Published), KeyRefusals),
    security(("api_key" = []))
)]
pub async fn to_user(
    _: ApiKey,
    state: web::Data<HttpState>,
    user: UserPath,
    trace: Followed,
    body: Strict<Publish>,
) -> Result<HttpResponse, ApiError> {
    publish(&state, RoomName::personal(&user.0), body.0, true, trace).await
}

/// A notification.
#[derive(ToSchema)]
pub struct Notify {
    /// Its title.
    title: Box<str>,
    /// Its text.
    body: Box<str>,
    /// Any JSON, nested at most 32 deep, passed through untouched.
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<Box<RawValue>>,
}

impl FromObject for Notify {
    const FIELDS: &'static [&'static str] = &["title", "body", "data"];

    fn from_object(object: &Object<'_>) -> Result<Self, HubError> {
        Ok(Self { title: object.need("title")?, body: object.need("body")?, data: object.data()? })
    }
}

/// Notify a user
///
/// Reaches the sessions that the user has now. It is not stored.
#[utoipa::path(
    post, path = "/api/users/{user}/notifications", tag = "publish",
    params(("user" = String, Path, description = "User id, percent-encoded")),
    request_body = Notify,
    responses((status = 202, description = "Handed over", body = Sent), KeyRefusals),
    security(("api_key" = []))
)]
pub async fn notify(
    _: ApiKey,
    state: web::Data<HttpState>,
    user: UserPath,
    body: Strict<Notify>,
) -> Result<HttpResponse, ApiError> {
    let Notify { title, body, data } = body.0;
    state.hub.notify(&user.0, Notification { title, body, data })?;
    Ok(HttpResponse::Accepted().json(Sent { sent: true }))
}

/// An event for everybody; at least one of `event`, `content` and `data`.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Broadcast {
    /// The event's name, 1 to 128 bytes; `broadcast` if left out.
    event: Option<Box<str>>,
    /// A text, carried as `data.content`, and `data` beside it as `data.data`.
    content: Option<Box<str>>,
    /// Any JSON, nested at most 32 deep, passed through untouched.
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<Box<RawValue>>,
    /// The user in whose name it is sent.
    #[schema(value_type = Option<String>)]
    user_id: Option<UserId>,
}

impl FromObject for Broadcast {
    const FIELDS: &'static [&'static str] = &["event", "content", "data", "userId"];

    fn from_object(object: &Object<'_>) -> Result<Self, HubError> {
        let all = Self {
            event: object.event()?,
            content: object.text("content")?,
            data: object.data()?,
            user_id: object.user()?,
        };
        if all.event.is_none() && all.content.is_none() && all.data.is_none() {
            return Err(HubError::bad_request("`event` or `content` is missing"));
        }
        Ok(all)
    }
}

/// Tell everybody
///
/// Hands a custom event to every session. It is volatile: at most once, not stored, and a session
/// that cannot take it right now misses it.
#[utoipa::path(
    post, path = "/api/broadcast", tag = "publish",
    request_body = Broadcast,
    responses((status = 202, description = "Handed over", body = Sent), KeyRefusals),
    security(("api_key" = []))
)]
pub async fn broadcast(
    _: ApiKey,
    state: web::Data<HttpState>,
    body: Strict<Broadcast>,
) -> Result<HttpResponse, ApiError> {
    let Broadcast { event, content, data, user_id } = body.0;
    let name = event.unwrap_or_else(|| BROADCAST.into());
    state.hub.broadcast(user_id, name, event_data(content, data)?)?;
    Ok(HttpResponse::Accepted().json(Sent { sent: true }))
}

/// A text for a room.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Message {
    /// The room.
    #[schema(value_type = String)]
    room_id: RoomName,
    /// The text.
    text: Box<str>,
    /// The user in whose name it is sent.
    #[schema(value_type = Option<String>)]
    user_id: Option<UserId>,
}

impl FromObject for Message {
    const FIELDS: &'static [&'static str] = &["roomId", "text", "userId"];

    fn from_object(object: &Object<'_>) -> Result<Self, HubError> {
        let room_id = RoomName::new(object.need("roomId")?)
            .map_err(|e| HubError::bad_request(format!("`roomId`: {}", e.message)))?;
        Ok(Self { room_id, text: object.need("text")?, user_id: object.user()? })
    }
}

/// Publish a text to a room
///
/// The short form of `POST /api/rooms/{room}/messages`. Answered after the message is durable.
#[utoipa::path(
    post, path = "/api/message", tag = "publish",
    params(("traceparent" = Option<String>, Header, description = "W3C Trace Context; if sampled, the \
        way of the message is recorded")),
    request_body = Message,
    responses((status = 200, description = "Stored", body = Sent), KeyRefusals),
    security(("api_key" = []))
)]
pub async fn message(
    _: ApiKey,
    state: web::Data<HttpState>,
    trace: Followed,
    body: Strict<Message>,
) -> Result<HttpResponse, ApiError> {
    let Message { room_id, text, user_id } = body.0;
    check_open(&room_id)?;
    let body = Body::Message { content: text, data: None };
    state.hub.publish_followed(room_id, user_id, body, None, trace.0).await?;
    Ok(HttpResponse::Ok().json(Sent { sent: true }))
}
