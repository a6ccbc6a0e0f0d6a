//! Why did somebody not get a message: where it stands for each member of its room on this node.

use std::{str::FromStr, sync::Arc};

use actix_web::{HttpRequest, HttpResponse, web};
use hubbub_actors::{messages::UserInfo, ports::Range, room_server::look::MemberLook};
use hubbub_protocol::{
    error::HubError,
    id::{RoomName, UserId},
    limits::MAX_PAGE,
    record::Stored,
    timestamp::Timestamp,
};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    error::{ApiError, KeyRefusals},
    params::{Query, RoomPath},
    receipts::{Acknowledged, Acknowledgement, acknowledged},
    state::{ApiKey, HttpState},
};

/// Members of each worker that are looked at.
const MAX_MEMBERS: usize = 500;
/// Pages of history that are searched for an id.
const MAX_PAGES: usize = 25;
/// Clocks of nodes may differ by so much, in milliseconds.
const SKEW_MS: u64 = 60_000;
/// Where the message stands in `/api/rooms/{room}/messages/{message}/trace`.
const MESSAGE_SEGMENT: usize = 5;

/// A stored message, and where it is for the members of its room on this node.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// UUIDv7.
    id: String,
    /// The room.
    #[schema(value_type = String)]
    room_id: RoomName,
    /// Who sent it; none for a backend that named nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    user_id: Option<UserId>,
    /// Which history, 16 hexadecimal digits.
    epoch: String,
    /// Its place there.
    offset: u64,
    /// When a hub took it, RFC 3339; it was acknowledged once it was stored.
    #[schema(value_type = String)]
    taken_at: Timestamp,
    /// The newest offset of the room.
    newest_offset: u64,
    /// Members of this node, or the sessions of the user that was asked for; at most 500 of each
    /// worker.
    sessions: Vec<Reach>,
    /// How many of these sessions have it in their socket.
    written: usize,
    /// Users whose clients have said that they have it, on all nodes; none while receipts are off.
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged: Option<Vec<Acknowledged>>,
    /// In words, for the user that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    /// Name of the node.
    node_id: String,
}

/// Where a message is for one session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    /// UUIDv7.
    session_id: String,
    /// Whose it is.
    #[schema(value_type = String)]
    user_id: UserId,
    /// The display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    /// `written`: handed to the socket; `waiting`: in the queue of the session, which the client does
    /// not empty; `catching_up`: the session still reads the history; `behind`: not queued yet;
    /// `came_later`: connected after the message, which it finds in the history.
    state: State,
    /// Bytes that wait for the client.
    waiting_bytes: usize,
    /// The newest offset that was queued for it.
    queued_offset: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum State {
    Written,
    Waiting,
    CatchingUp,
    Behind,
    CameLater,
}

impl Reach {
    fn of(look: &MemberLook, message: &Stored) -> Self {
        let session = &look.session;
        let waiting_bytes = session.connection.outbound.len();
        let opened_at = session.shared.clock.told(session.connection.opened_at);
        let state = if opened_at.0 > message.record.timestamp.0 {
            State::CameLater
        } else if !look.live {
            State::CatchingUp
        } else if look.cursor < message.position.offset {
            State::Behind
        } else if waiting_bytes > 0 {
            State::Waiting
        } else {
            State::Written
        };
        Self {
            session_id: session.id.to_string(),
            user_id: session.user.clone(),
            username: session.username.as_deref().map(ToOwned::to_owned),
            state,
            waiting_bytes,
            queued_offset: look.cursor,
        }
    }
}

/// Follow a message
///
/// When it was stored, and where it is for each member of the room on this node. With `user` only
/// that user's sessions, and an answer in words. By offset, or by id (searched in the newest 5000).
#[utoipa::path(
    get, path = "/api/rooms/{room}/messages/{message}/trace", tag = "operators",
    params(
        ("room" = String, Path, description = "Name of the room, percent-encoded"),
        ("message" = String, Path, description = "Offset or id of the message"),
        ("user" = Option<String>, Query, description = "Why did this user not get it"),
    ),
    responses((status = 200, description = "Where it is", body = Trace), KeyRefusals),
    security(("api_key" = []))
)]
pub async fn trace(
    _: ApiKey,
    state: web::Data<HttpState>,
    room: RoomPath,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["user"])?;
    let user = query.text("user").map(UserId::new).transpose()?;
    let wanted = wanted(&request)?;
    let room = room.0;
    let (message, newest_offset) = find(&state, &room, wanted).await?;
    let looks = state.hub.look_at_room(&room, user.as_ref(), MAX_MEMBERS).await;
    let mut sessions: Vec<Reach> = looks.iter().map(|look| Reach::of(look, &message)).collect();
    sessions.sort_unstable_by(|a, b| (&a.user_id, &a.session_id).cmp(&(&b.user_id, &b.session_id)));
    let kept = state.hub.receipts(&room, message.position).await?;
    let mut acknowledged = kept.map(|kept| acknowledged(&kept, &message));
    if let (Some(all), Some(user)) = (&mut acknowledged, &user) {
        all.retain(|one| one.user_id == *user);
    }
    let answer = match user {
        None => None,
        Some(user) => {
            let known = state.hub.user(user.clone()).await?;
            let said = acknowledged.iter().flatten().next().map(|one| one.status);
            let reached = answer(&user, &room, known.as_ref(), &sessions);
            Some(match said {
                Some(status) => format!("{} {reached}", said_so(&user, status)),
                None => reached,
            })
        }
    };
    Ok(HttpResponse::Ok().json(Trace {
        id: message.record.id.to_string(),
        user_id: message.record.user.clone(),
        epoch: message.position.epoch.to_string(),
        offset: message.position.offset,
        taken_at: message.record.timestamp,
        newest_offset,
        written: sessions.iter().filter(|reach| reach.state == State::Written).count(),
        acknowledged,
        sessions,
        answer,
        node_id: state.hub.shared().node.to_string(),
        room_id: room,
    }))
}

/// The message that a path names.
pub(super) fn wanted(request: &HttpRequest) -> Result<Wanted, HubError> {
    request.uri().path().split('/').nth(MESSAGE_SEGMENT).unwrap_or_default().parse()
}

/// How a message is named.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    Offset(u64),
    Id(Uuid),
}

impl FromStr for Wanted {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let offset = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        offset.map(Self::Offset).or_else(|| text.parse().ok().map(Self::Id)).ok_or_else(|| {
            HubError::bad_request("the message in the path is neither an offset nor a UUID")
        })
    }
}

/// The message, and the newest offset of its room.
pub(super) async fn find(
    state: &HttpState,
    room: &RoomName,
    wanted: Wanted,
) -> Result<(Arc<Stored>, u64), ApiError> {
    let gone = || ApiError::not_found("the room's history has no such message, or no longer");
    match wanted {
        Wanted::Offset(offset) => {
            let after = Range::After(offset.checked_sub(1).ok_or_else(gone)?);
            let page = state.hub.history(room, after, 1).await?;
            let found = page.records.into_iter().find(|r| r.position.offset == offset);
            Ok((found.ok_or_else(gone)?, page.head.offset))
        }
        Wanted::Id(id) => {
            // A UUIDv7 says when it was made: older pages need not be read.
            let made = id.get_timestamp().map_or(0, |at| {
                let (seconds, nanos) = at.to_unix();
                seconds * 1000 + u64::from(nanos) / 1_000_000
            });
            let mut range = Range::Newest;
            for _ in 0..MAX_PAGES {
                let page = state.hub.history(room, range, MAX_PAGE).await?;
                if let Some(found) = page.records.iter().find(|r| r.record.id.0 == id) {
                    return Ok((found.clone(), page.head.offset));
                }
                let Some(oldest) = page.records.first().filter(|_| page.has_more) else { break };
                if oldest.record.timestamp.0.saturating_add(SKEW_MS) < made {
                    break;
                }
                range = Range::Before(oldest.position.offset);
            }
            Err(gone())
        }
    }
}

/// What a user's client has said, in words.
fn said_so(user: &UserId, status: Acknowledgement) -> String {
    match status {
        Acknowledgement::Read => format!("{user} has read it."),
        Acknowledgement::Delivered => format!("A client of {user} has said that it has it."),
    }
}

/// Why a user has a message or not, in words.
fn answer(user: &UserId, room: &RoomName, known: Option<&UserInfo>, sessions: &[Reach]) -> String {
    let Some(known) = known else {
        return format!(
            "{user} has no session: whoever comes back to {room} gets it from the history."
        );
    };
    let count = |state: State| sessions.iter().filter(|reach| reach.state == state).count();
    if sessions.is_empty() {
        return if known.rooms.contains(room) {
            format!("{user} is a member of {room}, but not through this node.")
        } else {
            format!("{user} is connected, but not a member of {room}.")
        };
    }
    let waiting = sessions.iter().map(|reach| reach.waiting_bytes).max().unwrap_or(0);
    if count(State::Written) > 0 {
        let (written, all) = (count(State::Written), sessions.len());
        format!("It was written to the socket of {written} of {all} sessions of {user}.")
    } else if count(State::Waiting) > 0 {
        format!("It waits in the queue: the client of {user} is slow, {waiting} bytes wait for it.")
    } else if count(State::CatchingUp) > 0 {
        format!("{user} still reads the history of {room}; it comes with that.")
    } else if count(State::Behind) > 0 {
        format!("It is not queued for {user} yet: this node is behind, or repairs a gap.")
    } else {
        format!("{user} connected after it was stored, and finds it in the history of {room}.")
    }
}
