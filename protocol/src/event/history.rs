//! `history`: a page of older messages.

use crate::id::RoomName;

/// Asks for a page of a room's history. With neither bound, the newest page.
#[derive(Clone, Debug)]
pub struct History {
    /// The room.
    pub room: RoomName,
    /// Only messages above this offset.
    pub after: Option<u64>,
    /// Only messages below this offset.
    pub before: Option<u64>,
    /// At most so many, 1 to 200, default 50.
    pub limit: usize,
}
