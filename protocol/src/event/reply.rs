//! Answers to requests.

use std::sync::Arc;

use super::{EventKind, Fields, Fieldset, Member, ResumedRoom, UserReceipts};
use crate::{
    id::{MessageId, RoomName},
    position::{Epoch, Position},
    record::Stored,
};

/// What a request that succeeded is answered with.
#[derive(Clone, Debug)]
pub enum Reply {
    /// It is done; there is nothing more to say.
    Done,
    /// It is stored.
    Published {
        /// The message's id; the first one's if the key was known.
        id: MessageId,
        /// Its place in the room's history.
        position: Position,
        /// What was stored, for vocabularies that ask for it
        /// ([`Format::wants_published`](crate::wire::Format::wants_published)); none
        /// if the key was known.
        stored: Option<Arc<Stored>>,
    },
    /// A volatile event was sent.
    Sent {
        /// The event's id.
        id: MessageId,
    },
    /// The session is a member.
    Joined {
        /// The room.
        room: RoomName,
        /// As in the `joined` event.
        position: Position,
        /// As in the `joined` event.
        recovered: bool,
    },
    /// An earlier session goes on.
    Resumed {
        /// Whether everything that was missed follows, in every room.
        recovered: bool,
        /// Its rooms; none if it is not known (any more).
        rooms: Vec<ResumedRoom>,
    },
    /// A page of history.
    History {
        /// The room.
        room: RoomName,
        /// The epoch of its history.
        epoch: Epoch,
        /// Ascending by offset.
        messages: Vec<Arc<Stored>>,
        /// Whether more lie beyond in the direction asked for.
        has_more: bool,
    },
    /// How far users are in a room.
    Receipts {
        /// The room.
        room: RoomName,
        /// The epoch of its history.
        epoch: Epoch,
        /// Sorted by user id.
        users: Vec<UserReceipts>,
        /// Whether more follow.
        has_more: bool,
    },
    /// A page of members.
    Members {
        /// The room.
        room: RoomName,
        /// Sorted by user id.
        members: Vec<Member>,
        /// How many users are members in all.
        member_count: usize,
        /// Whether more follow.
        has_more: bool,
    },
}

impl Reply {
    /// The `type` under which the answer is sent when the request had no id and
    /// the answer is what was asked for; none where it would only confirm.
    pub fn standalone(&self) -> Option<&'static str> {
        match self {
            Self::Resumed { .. } => Some("resumed"),
            Self::History { .. } => Some("history"),
            Self::Receipts { .. } => Some("receipts"),
            Self::Members { .. } => Some("members"),
            Self::Done | Self::Published { .. } | Self::Sent { .. } | Self::Joined { .. } => None,
        }
    }
}

impl Fieldset for Reply {
    fn kind(&self) -> Option<EventKind> {
        Some(EventKind::Ack)
    }

    fn fields(&self, out: &mut dyn Fields) {
        let place = |out: &mut dyn Fields, position: &Position| {
            out.text("epoch", &position.epoch.to_string());
            out.number("offset", position.offset);
        };
        match self {
            Self::Done => {}
            Self::Published { id, position, stored } => {
                out.text("messageId", &id.to_string());
                place(out, position);
                if let Some(stored) = stored {
                    out.beside(&**stored);
                }
            }
            Self::Sent { id } => out.text("messageId", &id.to_string()),
            Self::Joined { room, position, recovered } => {
                out.text("roomId", room.as_str());
                place(out, position);
                out.flag("recovered", *recovered);
            }
            Self::Resumed { recovered, rooms } => {
                out.flag("recovered", *recovered);
                out.list("rooms", &mut rooms.iter().map(|room| room as &dyn Fieldset));
            }
            Self::History { room, epoch, messages, has_more } => {
                out.text("roomId", room.as_str());
                out.text("epoch", &epoch.to_string());
                out.list("messages", &mut messages.iter().map(|m| &**m as &dyn Fieldset));
                out.flag("hasMore", *has_more);
            }
            Self::Receipts { room, epoch, users, has_more } => {
                out.text("roomId", room.as_str());
                out.text("epoch", &epoch.to_string());
                out.list("receipts", &mut users.iter().map(|user| user as &dyn Fieldset));
                out.flag("hasMore", *has_more);
            }
            Self::Members { room, members, member_count, has_more } => {
                out.text("roomId", room.as_str());
                out.list("members", &mut members.iter().map(|m| m as &dyn Fieldset));
                out.number("memberCount", *member_count as u64);
                out.flag("hasMore", *has_more);
            }
        }
    }
}
