//! JSON text to requests.

use std::{borrow::Cow, collections::HashMap};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    error::{ErrorCode, HubError},
    event::{
        Auth, Command, Delivered, Direct, EventTarget, GetMembers, GetReceipts, History, Join,
        Leave, Publish, PublishEvent, Read, ReplyId, Request, Resume, SetPresence, SetTyping,
        Status,
    },
    id::{RoomName, SessionId, UserId},
    limits::{
        DEFAULT_PAGE, MAX_BATCH, MAX_DEPTH, MAX_EVENT_NAME, MAX_KEY, MAX_MEMBERS_PAGE, MAX_PAGE,
        MAX_REQUEST_ID, MAX_USER_NAME,
    },
    position::Position,
};

type Raw<'a> = Option<&'a RawValue>;

/// The fields any request may have, each still as its JSON text: a field is
/// looked at only by the request that needs it, and named when it is wrong.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Raw<'a>,
    #[serde(borrow, default)]
    id: Raw<'a>,
    #[serde(borrow, default)]
    token: Raw<'a>,
    #[serde(borrow, default)]
    room_id: Raw<'a>,
    #[serde(borrow, default)]
    user_id: Raw<'a>,
    #[serde(borrow, default)]
    username: Raw<'a>,
    #[serde(borrow, default)]
    content: Raw<'a>,
    #[serde(borrow, default)]
    text: Raw<'a>,
    #[serde(borrow, default)]
    data: Raw<'a>,
    #[serde(borrow, default)]
    key: Raw<'a>,
    #[serde(borrow, default)]
    is_typing: Raw<'a>,
    #[serde(borrow, default)]
    status: Raw<'a>,
    #[serde(borrow, default)]
    offset: Raw<'a>,
    #[serde(borrow, default)]
    session_id: Raw<'a>,
    #[serde(borrow, default)]
    positions: Raw<'a>,
    #[serde(borrow, default)]
    since: Raw<'a>,
    #[serde(borrow, default)]
    after: Raw<'a>,
    #[serde(borrow, default)]
    before: Raw<'a>,
    #[serde(borrow, default)]
    limit: Raw<'a>,
    #[serde(borrow, default)]
    name: Raw<'a>,
    #[serde(borrow, default)]
    volatile: Raw<'a>,
    #[serde(borrow, default)]
    messages: Raw<'a>,
    #[serde(borrow, default)]
    event: Raw<'a>,
}

/// Reads one text frame of the `hubbub` vocabulary.
///
/// Never fails as a whole: a frame that cannot be understood gives a request
/// whose command is the error to answer it with.
pub fn decode(text: &str) -> Request {
    match object(text) {
        Ok(object) => request(&object, true),
        Err(e) if e.is_data() => failed("the frame is not a JSON object with each field once"),
        Err(_) => failed("the frame is not JSON"),
    }
}

/// Reads a request whose event name stands beside its fields, as on the Socket.IO
/// wire: `fields` is one JSON object, or nothing where no field is needed. A
/// `type` and an `id` among the fields mean nothing.
pub fn decode_named(kind: &str, fields: Option<&str>, reply: ReplyId) -> Request {
    let object = match fields.map(object).transpose() {
        Ok(object) => object.unwrap_or_default(),
        Err(_) => {
            let why = "the argument is not a JSON object with each field once";
            return Request { reply, command: Err(HubError::bad_request(why)) };
        }
    };
    Request { reply, command: named(kind, &object, true) }
}

/// A derived struct would read a list as well; only an object will do.
fn object(text: &str) -> Result<Object<'_>, serde_json::Error> {
    match text.trim_start().as_bytes().first() {
        Some(b'{') | None => serde_json::from_str(text),
        Some(_) => {
            serde_json::from_str::<serde::de::IgnoredAny>(text)?;
            Err(serde::de::Error::custom("not an object"))
        }
    }
}

fn failed(message: &'static str) -> Request {
    Request { reply: ReplyId::None, command: Err(HubError::bad_request(message)) }
}

fn request(object: &Object<'_>, batch_allowed: bool) -> Request {
    match reply_id(object.id) {
        Ok(reply) => Request { reply, command: command(object, batch_allowed) },
        Err(e) => Request { reply: ReplyId::None, command: Err(e) },
    }
}

fn reply_id(raw: Raw<'_>) -> Result<ReplyId, HubError> {
    let Some(raw) = raw else { return Ok(ReplyId::None) };
    let text = raw.get();
    let simple = text.starts_with('"')
        || text.starts_with('-')
        || text.as_bytes().first().is_some_and(u8::is_ascii_digit);
    if !simple || text.len() > MAX_REQUEST_ID {
        return Err(HubError::bad_request(format!(
            "`id` must be a string or a number of at most {MAX_REQUEST_ID} bytes"
        )));
    }
    Ok(ReplyId::Json(text.into()))
}

fn command(o: &Object<'_>, batch_allowed: bool) -> Result<Command, HubError> {
    let kind = text("type", o.kind)?.ok_or_else(|| missing("type"))?;
    named(&kind, o, batch_allowed)
}

fn resume(o: &Object<'_>) -> Result<Resume, HubError> {
    let session = text("sessionId", o.session_id)?.ok_or_else(|| missing("sessionId"))?;
    let session = uuid::Uuid::try_parse(&session)
        .map_err(|_| HubError::bad_request("`sessionId` must be the id of a session"))?;
    let shape = "an object of {\"epoch\",\"offset\"} by room";
    let positions: Option<HashMap<RoomName, Position>> = typed("positions", o.positions, shape)?;
    let positions = positions.unwrap_or_default().into_iter().collect();
    Ok(Resume { session: SessionId(session), positions })
}

/// The command of a name.
fn named(kind: &str, o: &Object<'_>, batch_allowed: bool) -> Result<Command, HubError> {
    Ok(match kind {
        "auth" => Command::Auth(auth(o)?),
        "join" | "join_room" => Command::Join(Join {
            room: need_room(o)?,
            since: typed::<Position>("since", o.since, "{\"epoch\",\"offset\"}")?,
        }),
        "resume" => Command::Resume(resume(o)?),
        "leave" | "leave_room" => Command::Leave(Leave { room: need_room(o)? }),
        "message" => Command::Publish(Publish {
            room: room(o)?,
            content: content(o)?,
            data: data(o)?,
            key: key(o)?,
            join: false,
        }),
        "direct" => Command::Direct(Direct {
            user: UserId::new(text("userId", o.user_id)?.ok_or_else(|| missing("userId"))?)?,
            content: content(o)?,
            data: data(o)?,
            key: key(o)?,
        }),
        "typing" => Command::Typing(SetTyping {
            room: room(o)?,
            is_typing: typed("isTyping", o.is_typing, "true or false")?
                .ok_or_else(|| missing("isTyping"))?,
        }),
        "presence" => {
            let status = text("status", o.status)?.ok_or_else(|| missing("status"))?;
            Command::Presence(SetPresence {
                status: Status::parse(&status).ok_or_else(|| {
                    HubError::bad_request("`status` must be online, away or offline")
                })?,
            })
        }
        "read" => Command::Read(Read {
            room: need_room(o)?,
            offset: number("offset", o.offset)?.ok_or_else(|| missing("offset"))?,
        }),
        "delivered" => Command::Delivered(Delivered {
            room: need_room(o)?,
            offset: number("offset", o.offset)?.ok_or_else(|| missing("offset"))?,
        }),
        "event" => Command::Event(PublishEvent {
            to: EventTarget::Room(room(o)?),
            name: event_name(o)?,
            data: data(o)?,
            volatile: typed("volatile", o.volatile, "true or false")?.unwrap_or(false),
            key: key(o)?,
            echo: true,
            roles: None,
        }),
        "history" => Command::History(History {
            room: need_room(o)?,
            after: number("after", o.after)?,
            before: number("before", o.before)?,
            limit: limit(o, DEFAULT_PAGE, MAX_PAGE)?,
        }),
        "receipts" => Command::Receipts(GetReceipts {
            room: need_room(o)?,
            after: text("after", o.after)?.map(UserId::new).transpose()?,
            limit: limit(o, MAX_MEMBERS_PAGE, MAX_MEMBERS_PAGE)?,
        }),
        "members" => Command::Members(GetMembers {
            room: need_room(o)?,
            after: text("after", o.after)?.map(UserId::new).transpose()?,
            limit: limit(o, MAX_MEMBERS_PAGE, MAX_MEMBERS_PAGE)?,
        }),
        "batch" if batch_allowed => Command::Batch(batch(o)?),
        "batch" => return Err(HubError::bad_request("a batch cannot hold a batch")),
        "ping" => Command::Ping,
        other => {
            let shown: String = other.chars().take(40).filter(|c| !c.is_control()).collect();
            return Err(HubError::bad_request(format!("unknown type `{shown}`")));
        }
    })
}

/// The commands of a batch: each item is a command object, or
/// `{"event": <type>, "data": {...fields}}` as batching clients write it.
fn batch(o: &Object<'_>) -> Result<Vec<Request>, HubError> {
    let items: Vec<&RawValue> =
        typed("messages", o.messages, "a list")?.ok_or_else(|| missing("messages"))?;
    if items.len() > MAX_BATCH {
        return Err(HubError::new(
            ErrorCode::TooLarge,
            format!("a batch holds at most {MAX_BATCH} commands"),
        ));
    }
    Ok(items.into_iter().map(batch_item).collect())
}

fn batch_item(raw: &RawValue) -> Request {
    let Ok(item) = object(raw.get()) else {
        return failed("a command in the batch is not an object with each field once");
    };
    match (item.kind, item.event) {
        (None, Some(event)) => {
            let fields = match item.data {
                None => Ok(Object::default()),
                Some(data) => object(data.get()),
            };
            match fields {
                Ok(fields) => request(
                    &Object { kind: Some(event), id: item.id.or(fields.id), ..fields },
                    false,
                ),
                Err(_) => failed("`data` of a command in the batch is not an object"),
            }
        }
        _ => request(&item, false),
    }
}

fn missing(name: &str) -> HubError {
    HubError::bad_request(format!("`{name}` is missing"))
}

/// Reads a field; an absent one and `null` are none.
fn typed<'a, T: Deserialize<'a>>(
    name: &str,
    raw: Raw<'a>,
    expected: &str,
) -> Result<Option<T>, HubError> {
    match raw {
        None => Ok(None),
        Some(raw) => serde_json::from_str(raw.get())
            .map(Some)
            .map_err(|_| HubError::bad_request(format!("`{name}` must be {expected}"))),
    }
}

fn text<'a>(name: &str, raw: Raw<'a>) -> Result<Option<Cow<'a, str>>, HubError> {
    // A derived Cow would always be copied; this borrows where nothing is escaped.
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Ok(typed::<Text<'a>>(name, raw, "a string")?.map(|t| t.0))
}

fn number(name: &str, raw: Raw<'_>) -> Result<Option<u64>, HubError> {
    typed(name, raw, "a whole number, 0 or more")
}

fn limit(o: &Object<'_>, default: usize, max: usize) -> Result<usize, HubError> {
    match typed::<usize>("limit", o.limit, "a whole number")? {
        None => Ok(default),
        Some(n) if (1..=max).contains(&n) => Ok(n),
        Some(_) => Err(HubError::bad_request(format!("`limit` must be 1 to {max}"))),
    }
}

fn room(o: &Object<'_>) -> Result<Option<RoomName>, HubError> {
    text("roomId", o.room_id)?.map(RoomName::new).transpose()
}

fn need_room(o: &Object<'_>) -> Result<RoomName, HubError> {
    room(o)?.ok_or_else(|| missing("roomId"))
}

fn content(o: &Object<'_>) -> Result<Box<str>, HubError> {
    let content = match text("content", o.content)? {
        Some(content) => content,
        None => text("text", o.text)?.ok_or_else(|| missing("content"))?,
    };
    Ok(content.into())
}

fn auth(o: &Object<'_>) -> Result<Auth, HubError> {
    let username = text("username", o.username)?;
    if username.as_ref().is_some_and(|n| n.len() > MAX_USER_NAME) {
        return Err(HubError::bad_request(format!(
            "`username` must have at most {MAX_USER_NAME} bytes"
        )));
    }
    Ok(Auth {
        token: text("token", o.token)?.map(Into::into),
        user: text("userId", o.user_id)?.map(UserId::new).transpose()?,
        username: username.map(|n| n.as_ref().into()),
    })
}

fn key(o: &Object<'_>) -> Result<Option<Box<str>>, HubError> {
    match text("key", o.key)? {
        Some(k) if k.is_empty() || k.len() > MAX_KEY => {
            Err(HubError::bad_request(format!("`key` must have 1 to {MAX_KEY} bytes")))
        }
        key => Ok(key.map(Into::into)),
    }
}

fn event_name(o: &Object<'_>) -> Result<Box<str>, HubError> {
    let name = text("name", o.name)?.ok_or_else(|| missing("name"))?;
    if name.is_empty() || name.len() > MAX_EVENT_NAME {
        return Err(HubError::bad_request(format!("`name` must have 1 to {MAX_EVENT_NAME} bytes")));
    }
    Ok(name.into())
}

fn data(o: &Object<'_>) -> Result<Option<Box<RawValue>>, HubError> {
    let Some(raw) = o.data else { return Ok(None) };
    if depth(raw.get()) > MAX_DEPTH {
        return Err(HubError::bad_request(format!("`data` is nested deeper than {MAX_DEPTH}")));
    }
    Ok(Some(raw.to_owned()))
}

/// How deep arrays and objects nest in a JSON text that is known to be valid.
pub(crate) fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let (mut in_string, mut escaped) = (false, false);
    for b in json.bytes() {
        if in_string {
            match b {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match b {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
