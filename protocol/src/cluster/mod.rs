//! What nodes tell each other through Redis: a versioned envelope of fields, so
//! that nodes of two versions understand each other.
//!
//! ```text
//! envelope := version kind field*          version 1, kind 1 stored, kind 2 broadcast
//! field    := tag length bytes             length as LEB128
//! ```
//!
//! A reader skips fields and kinds that it does not know and counts them
//! ([`Skipped`]), so a later release may add some. What an older reader would
//! misunderstand needs another version, which is refused as a whole.
//!
//! What a release has written it reads for ever, and what it reads a later one
//! still writes: `tests/vectors/cluster-v1.txt` holds every kind as it was first
//! released, and is only ever added to.

mod event;
mod record;
#[cfg(test)]
mod tests;
mod tlv;
#[cfg(test)]
mod vectors;

pub use event::{decode_event, encode_event};
pub use record::{UNSUPPORTED, decode_record, encode_record, read_record};

use self::tlv::{Reader, Writer};
use crate::{
    event::Event,
    id::{RoomName, SessionId, UserId},
    position::Epoch,
};

/// The version that is written, and the only one that is read.
pub const VERSION: u8 = 1;
/// Kind of an envelope with stored records; the publishing script writes it.
pub const STORED: u8 = 1;
/// Kind of an envelope with a volatile event.
pub const BROADCAST: u8 = 2;

/// The epoch of stored records: 16 hexadecimal digits.
pub const STORED_EPOCH: u8 = 1;
/// The offset of the first of them, in decimal digits; each further one is one more.
pub const STORED_FIRST: u8 = 2;
/// One record; repeated.
pub const STORED_RECORD: u8 = 3;

const NODE: u8 = 1;
const ID: u8 = 2;
const ROOM: u8 = 3;
const ROOMS: u8 = 4;
const EXCEPT: u8 = 5;
const EXCEPT_USER: u8 = 6;
const EVENT: u8 = 7;

/// Why bytes are no envelope that this release reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They end too soon.
    #[error("it ends too soon")]
    Truncated,
    /// They are of another version.
    #[error("it has version {0}, this release reads {VERSION}")]
    Version(u8),
    /// A field is missing.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// A field is not what it should be.
    #[error("its {0} is not valid")]
    Invalid(&'static str),
}

/// What a reader came across that only a later release knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Fields beside those that are known.
    pub fields: u64,
    /// Kinds of envelopes, events and records.
    pub kinds: u64,
}

/// To whom a broadcast goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The members of a room.
    Room(RoomName),
    /// The members of any of the rooms, once.
    Rooms(Vec<RoomName>),
    /// Every session.
    Everyone,
}

/// A volatile event on its way between nodes.
#[derive(Clone, Debug)]
pub struct ClusterBroadcast<'a> {
    /// The node it comes from, which has handed it out already.
    pub node: &'a str,
    /// Distinguishes it from others where it comes several times; zero elsewhere.
    pub id: u128,
    /// To whom.
    pub to: Scope,
    /// The session that does not get it.
    pub except: Option<SessionId>,
    /// The user none of whose sessions gets it.
    pub except_user: Option<UserId>,
    /// What.
    pub event: Event,
}

/// What an envelope carries.
#[derive(Clone, Debug)]
pub enum Envelope<'a> {
    /// Records that were stored, in the order of their offsets.
    Stored {
        /// Their epoch.
        epoch: Epoch,
        /// The offset of the first; each further one is one more.
        first: u64,
        /// Each as [`encode_record`] wrote it.
        records: Vec<&'a [u8]>,
    },
    /// A volatile event.
    Broadcast(ClusterBroadcast<'a>),
    /// Of a kind that is not known here.
    Unknown,
}

/// The bytes of a broadcast; none if the event concerns a single session only.
pub fn encode_broadcast(
    node: &str,
    id: u128,
    to: &Scope,
    except: Option<SessionId>,
    except_user: Option<&UserId>,
    event: &Event,
) -> Option<Vec<u8>> {
    let event = encode_event(event)?;
    let mut out = Vec::with_capacity(event.len() + 96);
    out.extend([VERSION, BROADCAST]);
    let mut w = Writer(&mut out);
    w.text(NODE, node);
    if id != 0 {
        w.bytes(ID, &id.to_be_bytes());
    }
    match to {
        Scope::Room(room) => w.text(ROOM, room.as_str()),
        Scope::Rooms(rooms) => rooms.iter().for_each(|room| w.text(ROOMS, room.as_str())),
        Scope::Everyone => {}
    }
    if let Some(session) = except {
        w.bytes(EXCEPT, session.0.as_bytes());
    }
    w.some_text(EXCEPT_USER, except_user.map(UserId::as_str));
    w.bytes(EVENT, &event);
    Some(out)
}

/// Reads an envelope.
pub fn decode_envelope(bytes: &[u8]) -> Result<Envelope<'_>, DecodeError> {
    read_envelope(bytes, &mut Skipped::default())
}

/// The same, and counts what was skipped.
pub fn read_envelope<'a>(
    bytes: &'a [u8],
    skipped: &mut Skipped,
) -> Result<Envelope<'a>, DecodeError> {
    let (&version, rest) = bytes.split_first().ok_or(DecodeError::Truncated)?;
    if version != VERSION {
        return Err(DecodeError::Version(version));
    }
    let (&kind, rest) = rest.split_first().ok_or(DecodeError::Truncated)?;
    match kind {
        STORED => stored(Reader(rest), skipped),
        BROADCAST => broadcast(Reader(rest), skipped),
        _ => {
            skipped.kinds += 1;
            Ok(Envelope::Unknown)
        }
    }
}

fn stored<'a>(mut fields: Reader<'a>, skipped: &mut Skipped) -> Result<Envelope<'a>, DecodeError> {
    let (mut epoch, mut first, mut records) = (None, None, Vec::new());
    while let Some((tag, value)) = fields.next()? {
        match tag {
            STORED_EPOCH => {
                let parsed = tlv::text(value, "epoch")?.parse::<Epoch>();
                epoch = Some(parsed.map_err(|_| DecodeError::Invalid("epoch"))?);
            }
            STORED_FIRST => {
                let parsed = tlv::text(value, "offset")?.parse::<u64>();
                first = Some(parsed.map_err(|_| DecodeError::Invalid("offset"))?);
            }
            STORED_RECORD => records.push(value),
            _ => skipped.fields += 1,
        }
    }
    Ok(Envelope::Stored {
        epoch: epoch.ok_or(DecodeError::Missing("epoch"))?,
        first: first.ok_or(DecodeError::Missing("offset"))?,
        records,
    })
}

fn broadcast<'a>(
    mut fields: Reader<'a>,
    skipped: &mut Skipped,
) -> Result<Envelope<'a>, DecodeError> {
    let (mut node, mut id, mut to, mut rooms) = ("", 0, None, Vec::new());
    let (mut except, mut except_user, mut event) = (None, None, None);
    while let Some((tag, value)) = fields.next()? {
        match tag {
            NODE => node = tlv::text(value, "node")?,
            ID => id = tlv::uuid(value, "id")?.as_u128(),
            ROOM => to = Some(Scope::Room(room(value)?)),
            ROOMS => rooms.push(room(value)?),
            EXCEPT => except = Some(SessionId(tlv::uuid(value, "session")?)),
            EXCEPT_USER => except_user = Some(user(value)?),
            EVENT => event = Some(value),
            _ => skipped.fields += 1,
        }
    }
    let event = event.ok_or(DecodeError::Missing("event"))?;
    let Some(event) = event::read_event(event, skipped)? else {
        return Ok(Envelope::Unknown);
    };
    let to = match to {
        Some(to) => to,
        None if rooms.is_empty() => Scope::Everyone,
        None => Scope::Rooms(rooms),
    };
    Ok(Envelope::Broadcast(ClusterBroadcast { node, id, to, except, except_user, event }))
}

fn room(value: &[u8]) -> Result<RoomName, DecodeError> {
    RoomName::new(tlv::text(value, "room")?).map_err(|_| DecodeError::Invalid("room"))
}

fn user(value: &[u8]) -> Result<UserId, DecodeError> {
    UserId::new(tlv::text(value, "user")?).map_err(|_| DecodeError::Invalid("user"))
}
