//! What a session has to do with the session store: which connection it is on, and
//! where it stands for its offsets.

use std::sync::atomic::{AtomicBool, Ordering};

use hubbub_protocol::id::{RoomName, SessionId};
use parking_lot::Mutex;

use crate::{
    marks::Marks,
    session_store::{Base, KeptRoom, Owner},
};

/// A session that is kept.
pub struct Keeping {
    /// Which connection it is on.
    pub owner: Owner,
    /// Where it stands; only where events carry offsets.
    marks: Option<Mutex<Marks>>,
    over: AtomicBool,
}

impl Keeping {
    /// A session on a new connection.
    pub fn new(owner: Owner, marks: Option<Marks>) -> Box<Self> {
        Box::new(Self { owner, marks: marks.map(Mutex::new), over: AtomicBool::new(false) })
    }

    /// Where it stands, if its events carry offsets.
    pub fn marks(&self) -> Option<&Mutex<Marks>> {
        self.marks.as_ref()
    }

    /// A room that it is about to be in, for the store.
    pub fn enter(&self, room: &RoomName, base: Base) -> KeptRoom {
        let slot = self.marks().map_or(0, |marks| marks.lock().enter(room, base));
        KeptRoom { slot, room: room.clone(), base }
    }

    /// Forgets a room.
    pub fn leave(&self, room: &RoomName) {
        if let Some(marks) = self.marks() {
            marks.lock().leave(room);
        }
    }

    /// The client ended it: it does not come back.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether the client ended it.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// The private id of a Socket.IO session: its id and its secret, 48 hexadecimal
/// digits.
pub fn pid(id: SessionId, secret: u64) -> String {
    format!("{}{secret:016x}", id.0.simple())
}

/// Reads what [`pid`] wrote.
pub fn read_pid(text: &str) -> Option<(SessionId, u64)> {
    let plain = text.len() == 48 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let (id, secret) = text.split_at_checked(32).filter(|_| plain)?;
    let id = uuid::Uuid::try_parse(id).ok()?;
    Some((SessionId(id), u64::from_str_radix(secret, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_reads_back() {
        let id = SessionId(uuid::Uuid::now_v7());
        for secret in [0, 7, u64::MAX] {
            assert_eq!(read_pid(&pid(id, secret)), Some((id, secret)));
        }
        for bad in ["", "x", &"g".repeat(48), &"0".repeat(47), &"é".repeat(24)] {
            assert_eq!(read_pid(bad), None, "{bad}");
        }
    }
}
