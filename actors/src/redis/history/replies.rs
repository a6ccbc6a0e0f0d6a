//! What the scripts answer.

use std::sync::Arc;

use hubbub_protocol::{
    cluster::{DecodeError, decode_record},
    id::{MessageId, RoomName},
    position::{Epoch, Position},
    record::{Record, Stored},
    timestamp::Timestamp,
};
use redis::Value;

use crate::ports::StoreError;

fn strange(what: &str) -> StoreError {
    StoreError::Failed(format!("Redis gave an answer that is not understood: {what}"))
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(n) => u64::try_from(*n).ok(),
        _ => None,
    }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

/// An epoch.
pub(super) fn epoch(value: &Value) -> Result<Epoch, StoreError> {
    bytes(value)
        .and_then(|b| std::str::from_utf8(b).ok()?.parse().ok())
        .ok_or_else(|| strange("no epoch"))
}

/// What became of one record of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was stored at this offset.
    Stored(u64),
    /// Its key had been used for this.
    Known(MessageId, Position),
}

/// The answer to a publish of so many records.
pub(super) fn publish(value: &Value, count: usize) -> Result<(Epoch, Vec<Outcome>), StoreError> {
    let Value::Array(items) = value else { return Err(strange("no list")) };
    let (first, rest) = items.split_first().ok_or_else(|| strange("an empty list"))?;
    let epoch = epoch(first)?;
    if rest.len() != count {
        return Err(strange("a list of another length"));
    }
    let outcomes = rest.iter().map(|item| match number(item) {
        Some(offset) => Ok(Outcome::Stored(offset)),
        None => bytes(item).and_then(known).ok_or_else(|| strange("an unknown outcome")),
    });
    Ok((epoch, outcomes.collect::<Result<_, _>>()?))
}

/// Reads `<when> <epoch> <offset> <id>`.
fn known(bytes: &[u8]) -> Option<Outcome> {
    let mut words = std::str::from_utf8(bytes).ok()?.split(' ').skip(1);
    let epoch = words.next()?.parse().ok()?;
    let offset = words.next()?.parse().ok()?;
    let id = MessageId(uuid::Uuid::parse_str(words.next()?).ok()?);
    Some(Outcome::Known(id, Position { epoch, offset }))
}

/// The answer to a read: where the room stands, its oldest offset, and records in
/// the order in which the script gave them. `unreadable` gives what stands for a record
/// that cannot be read.
pub(super) fn page(
    value: &Value,
    room: &RoomName,
    unreadable: impl Fn(Position, Timestamp, DecodeError) -> Record,
) -> Result<(Position, u64, Vec<Arc<Stored>>), StoreError> {
    let Value::Array(items) = value else { return Err(strange("no list")) };
    let [first, head, oldest, entries @ ..] = items.as_slice() else {
        return Err(strange("a short list"));
    };
    let epoch = epoch(first)?;
    let number = |value| number(value).ok_or_else(|| strange("no number"));
    let head = Position { epoch, offset: number(head)? };
    let mut records = Vec::with_capacity(entries.len() / 3);
    for entry in entries.chunks_exact(3) {
        let position = Position { epoch, offset: number(&entry[0])? };
        let record = bytes(&entry[2]).ok_or_else(|| strange("no record"))?;
        let record = decode_record(room.clone(), record).unwrap_or_else(|e| {
            let taken = bytes(&entry[1]).and_then(|text| std::str::from_utf8(text).ok());
            unreadable(position, Timestamp(taken.and_then(|t| t.parse().ok()).unwrap_or(0)), e)
        });
        records.push(Arc::new(Stored { position, record }));
    }
    Ok((head, number(oldest)?, records))
}
