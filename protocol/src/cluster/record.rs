//! The form of a record between nodes and in the shared history: its room,
//! position and epoch are told beside it.

use super::{
    DecodeError, Skipped, VERSION,
    tlv::{self, Reader, Writer},
};
use crate::{
    id::{MessageId, RoomName, UserId},
    record::{Body, Record},
    timestamp::Timestamp,
    traceparent::TraceParent,
};

const ID: u8 = 1;
const TIMESTAMP: u8 = 2;
const USER: u8 = 3;
const USERNAME: u8 = 4;
const MESSAGE: u8 = 5;
const DIRECT: u8 = 6;
const EVENT: u8 = 7;
const DATA: u8 = 8;
const TRACE: u8 = 9;

/// Name of the custom event that stands for a record of a later release.
pub const UNSUPPORTED: &str = "unsupported";

/// The bytes of a record, without its room.
pub fn encode_record(record: &Record) -> Vec<u8> {
    let username = record.username.as_deref();
    let mut out = Vec::with_capacity(64 + record.body.len() + username.map_or(0, str::len));
    out.push(VERSION);
    let mut w = Writer(&mut out);
    w.bytes(ID, record.id.0.as_bytes());
    w.number(TIMESTAMP, record.timestamp.0);
    w.some_text(USER, record.user.as_ref().map(UserId::as_str));
    w.some_text(USERNAME, username);
    let data = match &record.body {
        Body::Message { content, data } => {
            w.text(MESSAGE, content);
            data
        }
        Body::Direct { content, data } => {
            w.text(DIRECT, content);
            data
        }
        Body::Event { name, data } => {
            w.text(EVENT, name);
            data
        }
    };
    w.some_text(DATA, data.as_ref().map(|data| data.get()));
    if let Some(trace) = &record.trace {
        w.bytes(TRACE, &trace.to_bytes());
    }
    out
}

/// Reads what [`encode_record`] wrote, of this version or a later one that only
/// added fields.
pub fn decode_record(room: RoomName, bytes: &[u8]) -> Result<Record, DecodeError> {
    read_record(room, bytes, &mut Skipped::default())
}

/// The same, and counts what was skipped. A record of a kind that only a later
/// release knows becomes a custom event [`UNSUPPORTED`]: it has its place in the
/// history, where no hole may be.
pub fn read_record(
    room: RoomName,
    bytes: &[u8],
    skipped: &mut Skipped,
) -> Result<Record, DecodeError> {
    let (&version, rest) = bytes.split_first().ok_or(DecodeError::Truncated)?;
    if version != VERSION {
        return Err(DecodeError::Version(version));
    }
    let (mut id, mut timestamp, mut user, mut username) = (None, None, None, None);
    let (mut body, mut data, mut trace, mut more) = (None, None, None, false);
    let mut fields = Reader(rest);
    while let Some((tag, value)) = fields.next()? {
        match tag {
            ID => id = Some(MessageId(tlv::uuid(value, "message id")?)),
            TIMESTAMP => timestamp = Some(Timestamp(tlv::number(value)?)),
            USER => user = Some(super::user(value)?),
            USERNAME => username = Some(tlv::text(value, "user name")?.into()),
            MESSAGE | DIRECT | EVENT => body = Some((tag, tlv::text(value, "text")?)),
            DATA => data = Some(tlv::json(value)?),
            // Nothing depends on it.
            TRACE => trace = TraceParent::from_bytes(value).map(Box::new),
            _ => {
                skipped.fields += 1;
                more = true;
            }
        }
    }
    let (kind, text) = match body {
        Some(body) => body,
        None if more => {
            skipped.kinds += 1;
            data = None;
            (EVENT, UNSUPPORTED)
        }
        None => return Err(DecodeError::Missing("body")),
    };
    Ok(Record {
        id: id.ok_or(DecodeError::Missing("message id"))?,
        room,
        user,
        username,
        timestamp: timestamp.ok_or(DecodeError::Missing("timestamp"))?,
        body: match kind {
            MESSAGE => Body::Message { content: text.into(), data },
            DIRECT => Body::Direct { content: text.into(), data },
            _ => Body::Event { name: text.into(), data },
        },
        trace,
    })
}
