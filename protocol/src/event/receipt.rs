//! `delivered`, `read`, `receipt` and `receipts`.

use super::{EventKind, Fields, Fieldset};
use crate::id::{MessageId, RoomName, UserId};

/// Says that the user has read a room up to an offset.
#[derive(Clone, Debug)]
pub struct Read {
    /// The room.
    pub room: RoomName,
    /// The newest offset that was read.
    pub offset: u64,
}

/// Says that the user's client has a room's messages up to an offset.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The room.
    pub room: RoomName,
    /// The newest offset that the client has, and everything before it.
    pub offset: u64,
}

/// How far a member is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReceiptStatus {
    /// The client has it.
    Delivered,
    /// The user has read it.
    Read,
}

impl ReceiptStatus {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Read => "read",
        }
    }
}

/// Tells the members of a room how far one of them is.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The room.
    pub room: RoomName,
    /// Who.
    pub user: UserId,
    /// Everything up to this offset.
    pub offset: u64,
    /// Is in this state.
    pub status: ReceiptStatus,
    /// The message at the offset, where the hub has looked it up; shown only to
    /// vocabularies that ask for it.
    pub message: Option<MessageId>,
    /// Who wrote that message, unless it is the reader; a vocabulary may tell
    /// nobody else.
    pub author: Option<UserId>,
}

/// Asks how far users are in a room.
#[derive(Clone, Debug)]
pub struct GetReceipts {
    /// The room.
    pub room: RoomName,
    /// Only users after this one.
    pub after: Option<UserId>,
    /// At most so many.
    pub limit: usize,
}

/// How far one user is in a room.
#[derive(Clone, Debug)]
pub struct UserReceipts {
    /// Who.
    pub user: UserId,
    /// A client of the user has everything up to this offset.
    pub delivered: u64,
    /// The user has read everything up to this offset; 0: nothing.
    pub read: u64,
}

impl Fieldset for UserReceipts {
    fn kind(&self) -> Option<EventKind> {
        None
    }

    fn fields(&self, out: &mut dyn Fields) {
        out.text("userId", self.user.as_str());
        out.number("delivered", self.delivered);
        out.number("read", self.read);
    }
}

impl Fieldset for Receipt {
    fn kind(&self) -> Option<EventKind> {
        Some(EventKind::Receipt)
    }

    fn fields(&self, out: &mut dyn Fields) {
        out.text("roomId", self.room.as_str());
        out.text("userId", self.user.as_str());
        out.number("offset", self.offset);
        out.text("status", self.status.as_str());
        if let Some(id) = self.message {
            out.hidden("messageId", &id.to_string());
        }
    }
}
