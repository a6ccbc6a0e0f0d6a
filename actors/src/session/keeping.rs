//! What a session has to do with the session store: which connection it is on, and
//! where it stands for its offsets.

use std::sync::atomic::{AtomicBool, Ordering};

use hubbub_protocol::{
    id::{RoomName, SessionId},
    position::Position,
};
use parking_lot::{Mutex, MutexGuard};

use crate::{
    marks::Marks,
    session_store::{Base, KeptRoom, Owner},
};

/// A session that is kept.
pub struct Keeping {
    /// Which connection it is on.
    pub owner: Owner,
    /// Where it stands; only where events carry offsets.
    marks: Option<Box<Mutex<Marks>>>,
    /// Made with the first direct message: most sessions never get one.
    inbox: Mutex<Option<Box<Inbox>>>,
    over: AtomicBool,
}

/// How far a client has got its user's direct messages.
#[derive(Default)]
pub struct Inbox {
    /// What it was handed.
    handed: Option<Position>,
    /// What it had been handed when it was asked for a sign, and which that was.
    asked: Option<(u32, Position)>,
}

impl Inbox {
    /// It was handed one; `ask` asks for a sign and gives its number.
    pub fn handed(&mut self, position: Position, ask: impl FnOnce() -> u32) {
        self.handed = Some(position);
        // One sign at a time, however many messages come.
        self.asked.get_or_insert_with(|| (ask(), position));
    }

    /// It has answered so many signs. Gives what it has now, if that is news.
    pub fn answered(&mut self, signs: u32, ask: impl FnOnce() -> u32) -> Option<Position> {
        let (_, position) = self.asked.take_if(|(sign, _)| *sign <= signs)?;
        if let Some(handed) = self.handed.filter(|handed| *handed != position) {
            self.asked = Some((ask(), handed));
        }
        Some(position)
    }
}

impl Keeping {
    /// A session on a new connection.
    pub fn new(owner: Owner, marks: Option<Marks>) -> Self {
        Self {
            owner,
            marks: marks.map(|marks| Box::new(Mutex::new(marks))),
            inbox: Mutex::default(),
            over: AtomicBool::new(false),
        }
    }

    /// Where it stands, if its events carry offsets.
    pub fn marks(&self) -> Option<&Mutex<Marks>> {
        self.marks.as_deref()
    }

    /// How far its client has got direct messages; none before the first.
    pub fn inbox(&self) -> MutexGuard<'_, Option<Box<Inbox>>> {
        self.inbox.lock()
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

    /// The store does not know where it stands any more: it does not come back.
    pub fn give_up(&self) {
        match self.marks() {
            // Every offset says so from now on.
            Some(marks) => marks.lock().give_up(),
            None => self.end(),
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
    fn a_sign_proves_what_was_handed_before_it_was_asked_for() {
        let at = |offset| Position { epoch: hubbub_protocol::position::Epoch(1), offset };
        let mut inbox = Inbox::default();
        assert_eq!(inbox.answered(9, || 0), None);
        inbox.handed(at(1), || 4);
        inbox.handed(at(2), || 5);
        assert_eq!(inbox.answered(3, || 0), None, "an older one");
        assert_eq!(inbox.answered(4, || 5), Some(at(1)));
        assert_eq!(inbox.answered(4, || 0), None);
        assert_eq!(inbox.answered(5, || 0), Some(at(2)));
        assert_eq!(inbox.answered(6, || 0), None);
    }

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
