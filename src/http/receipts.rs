//! Who has got a message, and who has read it.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use hubbub_actors::receipt_store::RoomReceipts;
use hubbub_protocol::{
    id::{RoomName, UserId},
    record::Stored,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    error::{ApiError, KeyRefusals},
    params::{Query, RoomPath},
    state::{ApiKey, HttpState},
    trace,
};

/// Who has got one message, and who has read it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Receipts {
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
    /// Everybody who has it, sorted by user id; not who sent it.
    users: Vec<Acknowledged>,
    /// How many have it, whether or not they have read it.
    delivered_count: usize,
    /// How many have read it.
    read_count: usize,
    /// Whether everybody is told who has it. If not, the room has as many users as receipts are
    /// kept of (`receipts.max_members`), and nothing is known of others.
    complete: bool,
}

/// A user who has a message.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledged {
    /// Who.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// `delivered`: a client of the user has said that it has it. `read`: the user has read it.
    pub status: Acknowledgement,
}

/// How far a user is with a message.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Acknowledgement {
    /// A client of the user has it.
    Delivered,
    /// The user has read it.
    Read,
}

/// Who of those kept has a message.
pub(super) fn acknowledged(kept: &RoomReceipts, message: &Stored) -> Vec<Acknowledged> {
    let offset = message.position.offset;
    let others = kept.users.iter().filter(|(user, _)| message.record.user.as_ref() != Some(user));
    others
        .filter(|(_, progress)| progress.delivered.max(progress.read) >= offset)
        .map(|(user, progress)| Acknowledged {
            user_id: user.clone(),
            status: match progress.read >= offset {
                true => Acknowledgement::Read,
                false => Acknowledgement::Delivered,
            },
        })
        .collect()
}

/// Who has got a message
///
/// And who has read it, as clients have said; `not_found` while receipts are off. By offset, or by
/// id (searched in the newest 5000).
#[utoipa::path(
    get, path = "/api/rooms/{room}/messages/{message}/receipts", tag = "rooms",
    params(
        ("room" = String, Path, description = "Name of the room, percent-encoded"),
        ("message" = String, Path, description = "Offset or id of the message"),
    ),
    responses((status = 200, description = "Who has it", body = Receipts), KeyRefusals),
    security(("api_key" = []))
)]
pub async fn receipts(
    _: ApiKey,
    state: web::Data<HttpState>,
    room: RoomPath,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?;
    let wanted = trace::wanted(&request)?;
    let room = room.0;
    let (message, _): (Arc<Stored>, u64) = trace::find(&state, &room, wanted).await?;
    let kept = state.hub.receipts(&room, message.position).await?.ok_or_else(|| {
        ApiError::not_found("receipts are off; see `receipts.vocabularies` of the configuration")
    })?;
    let users = acknowledged(&kept, &message);
    Ok(HttpResponse::Ok().json(Receipts {
        id: message.record.id.to_string(),
        user_id: message.record.user.clone(),
        epoch: message.position.epoch.to_string(),
        offset: message.position.offset,
        delivered_count: users.len(),
        read_count: users.iter().filter(|user| user.status == Acknowledgement::Read).count(),
        complete: !kept.full,
        users,
        room_id: room,
    }))
}
