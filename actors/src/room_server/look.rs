//! What an operator sees of a room's members on one worker.

use std::sync::Arc;

use actix::{Handler, Message};
use hubbub_protocol::id::{RoomName, UserId};

use super::RoomServer;
use crate::session::SessionHandle;

/// An operator's question to a room server: how far the members of a room are, or those
/// of one user, at most `limit` of them.
#[derive(Message)]
#[rtype(result = "Vec<MemberLook>")]
pub struct LookAtRoom {
    /// The room.
    pub room: RoomName,
    /// Only the sessions of this user.
    pub user: Option<UserId>,
    /// Most members to tell.
    pub limit: usize,
}

/// How far one member is.
pub struct MemberLook {
    /// Who.
    pub session: Arc<SessionHandle>,
    /// Hears the room; one that still catches up with its history does not yet.
    pub live: bool,
    /// The newest offset that was put into its queue.
    pub cursor: u64,
}

impl Handler<LookAtRoom> for RoomServer {
    type Result = Vec<MemberLook>;

    fn handle(&mut self, look: LookAtRoom, _: &mut Self::Context) -> Self::Result {
        let Some(room) = self.table.room(&look.room) else { return Vec::new() };
        let of_user = |user: &UserId| look.user.as_ref().is_none_or(|wanted| wanted == user);
        let members = room.members.iter().filter(|(_, member)| of_user(&member.who.user));
        members
            .take(look.limit)
            .map(|(_, member)| MemberLook {
                session: member.who.clone(),
                live: member.live,
                cursor: member.cursor,
            })
            .collect()
    }
}
