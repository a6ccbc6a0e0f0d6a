//! The offset of Socket.IO's connection state recovery: the last argument of every
//! stored event, a text that the client keeps without reading it and brings back
//! when it reconnects.
//!
//! ```text
//! offset = [own] ["~" tag ["!"] *(";" slot "." offset ["@" epoch])]
//! own    = room-mark "." offset
//! ```
//!
//! `own` names the record that the event is: it is the same for everybody, so it is
//! part of the body that is encoded once. The rest, the tail, is a session's own:
//! where it stands in its other rooms, by the slots under which the session store
//! keeps them. A room that has not moved since it was joined is left out, so that a
//! session in one room needs no tail. `!` says that nothing can be proved. Numbers
//! are decimal, marks, tags and epochs hexadecimal. See docs/decisions/0012.

use std::fmt::Write as _;

use crate::{
    id::RoomName,
    position::{Epoch, Position},
};

/// Longest offset that is read: a session in the most rooms that a hub is
/// configured for in practice needs less.
pub const MAX_OFFSET_TEXT: usize = 16 * 1024;

/// Names a room and its epoch in 64 bits: FNV-1a, the same on every node and in
/// every version. Two rooms of one session that share a mark cannot be told apart;
/// whoever resolves an offset must look for that.
#[must_use]
pub fn room_mark(room: &RoomName, epoch: Epoch) -> u64 {
    let bytes = room.as_str().bytes().chain([0]).chain(epoch.0.to_be_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Appends the part of an offset that is everybody's.
pub fn write_own(out: &mut String, room: &RoomName, position: Position) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{:x}.{}", room_mark(room, position.epoch), position.offset);
}

/// Where a session stands in one of its rooms, as a tail says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotPosition {
    /// The slot under which the session store keeps the room.
    pub slot: u16,
    /// The newest offset that the client has.
    pub offset: u64,
    /// The epoch, where it is not that of the join.
    pub epoch: Option<Epoch>,
}

/// The part of an offset that is a session's own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tail {
    /// Tells the session from an earlier one of the same client.
    pub tag: u32,
    /// Whether nothing can be proved any more.
    pub broken: bool,
    /// The rooms that have moved.
    pub slots: Vec<SlotPosition>,
}

impl Tail {
    /// Appends it.
    pub fn write(&self, out: &mut String) {
        let _ = write!(out, "~{:x}", self.tag);
        if self.broken {
            out.push('!');
        }
        for at in &self.slots {
            let _ = write!(out, ";{}.{}", at.slot, at.offset);
            if let Some(epoch) = at.epoch {
                let _ = write!(out, "@{:x}", epoch.0);
            }
        }
    }
}

/// What an offset says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Offset {
    /// The room mark and the offset of the record that carried it.
    pub own: Option<(u64, u64)>,
    /// Where the session stood besides.
    pub tail: Option<Tail>,
}

/// The text is no offset of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the offset is not one that this hub gives")]
pub struct BadOffset;

impl std::str::FromStr for Offset {
    type Err = BadOffset;

    fn from_str(text: &str) -> Result<Self, BadOffset> {
        if text.is_empty() || text.len() > MAX_OFFSET_TEXT {
            return Err(BadOffset);
        }
        let (own, tail) = match text.split_once('~') {
            Some((own, tail)) => (own, Some(tail)),
            None => (text, None),
        };
        let own = match own {
            "" => None,
            own => {
                let (mark, offset) = own.split_once('.').ok_or(BadOffset)?;
                Some((hex(mark)?, decimal(offset)?))
            }
        };
        Ok(Self { own, tail: tail.map(read_tail).transpose()? })
    }
}

fn read_tail(text: &str) -> Result<Tail, BadOffset> {
    let mut parts = text.split(';');
    let head = parts.next().ok_or(BadOffset)?;
    let (tag, broken) = head.strip_suffix('!').map_or((head, false), |tag| (tag, true));
    let tag = u32::try_from(hex(tag)?).map_err(|_| BadOffset)?;
    let slots = parts.map(read_slot).collect::<Result<_, _>>()?;
    Ok(Tail { tag, broken, slots })
}

fn read_slot(text: &str) -> Result<SlotPosition, BadOffset> {
    let (slot, rest) = text.split_once('.').ok_or(BadOffset)?;
    let (offset, epoch) = match rest.split_once('@') {
        Some((offset, epoch)) => (offset, Some(Epoch(hex(epoch)?))),
        None => (rest, None),
    };
    let slot = u16::try_from(decimal(slot)?).map_err(|_| BadOffset)?;
    Ok(SlotPosition { slot, offset: decimal(offset)?, epoch })
}

fn hex(text: &str) -> Result<u64, BadOffset> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    if plain { u64::from_str_radix(text, 16).map_err(|_| BadOffset) } else { Err(BadOffset) }
}

fn decimal(text: &str) -> Result<u64, BadOffset> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().map_err(|_| BadOffset) } else { Err(BadOffset) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_offset_reads_back() {
        let room = RoomName::new("lobby").unwrap();
        let position = Position { epoch: Epoch(0xab), offset: 42 };
        let mut text = String::new();
        write_own(&mut text, &room, position);
        let own = Some((room_mark(&room, Epoch(0xab)), 42));
        assert_eq!(text.parse(), Ok(Offset { own, tail: None }));
        let slots = vec![
            SlotPosition { slot: 0, offset: 7, epoch: None },
            SlotPosition { slot: 129, offset: u64::MAX, epoch: Some(Epoch(u64::MAX)) },
        ];
        let tail = Tail { tag: 0xdead_beef, broken: true, slots };
        tail.write(&mut text);
        assert_eq!(text.parse(), Ok(Offset { own, tail: Some(tail.clone()) }));
        let mut alone = String::new();
        tail.write(&mut alone);
        assert_eq!(alone.parse(), Ok(Offset { own: None, tail: Some(tail) }));
    }

    #[test]
    fn what_others_say_is_no_offset() {
        for bad in [
            "",
            "pong",
            "1",
            "x.1",
            "1.",
            ".1",
            "1.-1",
            "1.+1",
            "~",
            "~x",
            "~1;",
            "~1;1",
            "~1;1.1@",
            "~1;70000.1",
            "~1;1.1;",
            "~1~2",
            "1700000000000-0",
            "~123456789",
        ] {
            assert_eq!(bad.parse::<Offset>(), Err(BadOffset), "{bad:?}");
        }
        assert_eq!("1.2".repeat(MAX_OFFSET_TEXT).parse::<Offset>(), Err(BadOffset));
    }

    #[test]
    fn marks_tell_rooms_and_epochs_apart_and_never_change() {
        let (a, b) = (RoomName::new("a").unwrap(), RoomName::new("b").unwrap());
        assert_ne!(room_mark(&a, Epoch(1)), room_mark(&b, Epoch(1)));
        assert_ne!(room_mark(&a, Epoch(1)), room_mark(&a, Epoch(2)));
        // What an older version wrote must be understood.
        assert_eq!(room_mark(&a, Epoch(1)), 0x65d2_0839_07ab_1817);
    }
}
