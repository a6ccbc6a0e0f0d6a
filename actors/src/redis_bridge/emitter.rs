//! What a backend sends with `@socket.io/redis-emitter`: MessagePack on the
//! channels of `@socket.io/redis-adapter` (the one that is not sharded).
//! <https://socket.io/docs/v4/redis-adapter/#emitter>
//!
//! `[uid, {type, data: [event, ...], nsp}, {rooms, except, flags}]`

use std::sync::Arc;

use hubbub_protocol::{
    event::{CustomEvent, Event},
    id::{RoomName, SessionId, UserId},
    timestamp::Timestamp,
};
use rmpv::Value;
use serde_json::value::RawValue;

use crate::ports::{Audience, Broadcast};

/// Nesting of what is sent, at most.
const MAX_DEPTH: usize = 64;
/// Rooms of one event, at most.
const MAX_ROOMS: usize = 128;
/// Bytes of an event's name, at most.
const MAX_NAME: usize = 128;

/// The pattern of the channels of the main namespace.
pub(super) fn pattern(prefix: &str) -> String {
    format!("{prefix}#/#*")
}

/// Reads one message; none if it is for another namespace. Fails with what is
/// wrong with it.
pub(super) fn decode(bytes: &[u8], now: Timestamp) -> Result<Option<Broadcast>, &'static str> {
    let mut rest = bytes;
    let value = rmpv::decode::read_value_with_max_depth(&mut rest, MAX_DEPTH)
        .map_err(|_| "it is no MessagePack")?;
    let [_, packet, options] = value.as_array().map_or(&[][..], Vec::as_slice) else {
        return Err("it is no list of three");
    };
    if field(packet, "nsp").and_then(Value::as_str).unwrap_or("/") != "/" {
        return Ok(None);
    }
    let data = field(packet, "data").and_then(Value::as_array).ok_or("it has no data")?;
    let (name, arguments) = data.split_first().ok_or("its data is empty")?;
    let name = match name {
        Value::String(name) => name.as_str().ok_or("its name is not UTF-8")?.to_owned(),
        Value::Integer(number) => number.to_string(),
        _ => return Err("its name is no text"),
    };
    if name.is_empty() || name.len() > MAX_NAME {
        return Err("its name is empty or too long");
    }
    let data = match arguments {
        [] => None,
        [one] => Some(raw(json(one))?),
        several => Some(raw(serde_json::Value::Array(several.iter().map(json).collect()))?),
    };
    let to = audience(field(options, "rooms"))?;
    let (except, except_user) = exceptions(field(options, "except"))?;
    let event = CustomEvent {
        room: match &to {
            Audience::Room(room) if room.personal_user().is_none() => Some(room.clone()),
            _ => None,
        },
        user: None,
        username: None,
        name: name.into(),
        data,
        node: None,
        timestamp: now,
    };
    Ok(Some(Broadcast { to, event: Arc::new(Event::Volatile(event)), except, except_user }))
}

fn field<'v>(map: &'v Value, name: &str) -> Option<&'v Value> {
    map.as_map()?.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
}

fn texts(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn audience(rooms: Option<&Value>) -> Result<Audience, &'static str> {
    let names: Vec<_> = texts(rooms).collect();
    if names.len() > MAX_ROOMS {
        return Err("it is for too many rooms");
    }
    let rooms: Result<Vec<_>, _> = names.into_iter().map(RoomName::new).collect();
    let mut rooms = rooms.map_err(|_| "one of its rooms has no valid name")?;
    Ok(match rooms.len() {
        0 => Audience::Everyone,
        1 => Audience::Room(rooms.remove(0)),
        _ => Audience::Rooms(rooms.into()),
    })
}

/// Who does not get it: at most one session, by its id, and one user, as
/// `user:ID`.
fn exceptions(list: Option<&Value>) -> Result<(Option<SessionId>, Option<UserId>), &'static str> {
    let (mut session, mut user) = (None, None);
    for name in texts(list) {
        let unknown = "it excepts something else than one session and one `user:ID`";
        if let Some(id) = name.strip_prefix("user:") {
            let id = UserId::new(id).map_err(|_| unknown)?;
            if user.replace(id).is_some() {
                return Err(unknown);
            }
        } else {
            let id = uuid::Uuid::parse_str(name).map_err(|_| unknown)?;
            if session.replace(SessionId(id)).is_some() {
                return Err(unknown);
            }
        }
    }
    Ok((session, user))
}

/// As JSON: binary as base64, a date as milliseconds since 1970, what JSON does not
/// have as null.
fn json(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Value::Nil => Json::Null,
        Value::Boolean(b) => Json::Bool(*b),
        Value::Integer(n) => match (n.as_i64(), n.as_u64()) {
            (Some(n), _) => n.into(),
            (_, Some(n)) => n.into(),
            _ => Json::Null,
        },
        Value::F32(n) => f64::from(*n).into(),
        Value::F64(n) => (*n).into(),
        Value::String(text) => text.as_str().map_or(Json::Null, Into::into),
        Value::Binary(bytes) => base64(bytes).into(),
        Value::Array(items) => Json::Array(items.iter().map(json).collect()),
        Value::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| {
                let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                (key, json(value))
            });
            Json::Object(pairs.collect())
        }
        Value::Ext(-1, bytes) => date(bytes).map_or(Json::Null, Into::into),
        Value::Ext(..) => Json::Null,
    }
}

/// A timestamp of MessagePack in milliseconds: seconds in 4 bytes; nanoseconds in
/// 30 bits and seconds in 34; or nanoseconds in 4 bytes and seconds in 8.
fn date(bytes: &[u8]) -> Option<i64> {
    let (seconds, nanos) = match bytes.len() {
        4 => (i64::from(u32::from_be_bytes(bytes.try_into().ok()?)), 0),
        8 => {
            let both = u64::from_be_bytes(bytes.try_into().ok()?);
            (i64::try_from(both & 0x3_ffff_ffff).ok()?, i64::try_from(both >> 34).ok()?)
        }
        12 => {
            let nanos = u32::from_be_bytes(bytes[..4].try_into().ok()?);
            (i64::from_be_bytes(bytes[4..].try_into().ok()?), i64::from(nanos))
        }
        _ => return None,
    };
    seconds.checked_mul(1000)?.checked_add(nanos / 1_000_000)
}

fn raw(value: serde_json::Value) -> Result<Box<RawValue>, &'static str> {
    serde_json::value::to_raw_value(&value).map_err(|_| "its data cannot be written as JSON")
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for piece in bytes.chunks(3) {
        let group =
            piece.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - piece.len()));
        for digit in 0..4 {
            let at = (group >> (18 - 6 * digit)) & 63;
            out.push(if digit > piece.len() { '=' } else { DIGITS[at as usize] as char });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn map(pairs: &[(&str, Value)]) -> Value {
        Value::Map(pairs.iter().map(|(k, v)| (Value::from(*k), v.clone())).collect())
    }

    fn list(items: &[&str]) -> Value {
        Value::Array(items.iter().map(|i| Value::from(*i)).collect())
    }

    fn message(nsp: &str, data: Vec<Value>, rooms: &[&str], except: &[&str]) -> Vec<u8> {
        let packet = map(&[("type", 2.into()), ("data", Value::Array(data)), ("nsp", nsp.into())]);
        let options = map(&[("flags", map(&[])), ("rooms", list(rooms)), ("except", list(except))]);
        let mut bytes = Vec::new();
        let value = Value::Array(vec!["emitter".into(), packet, options]);
        rmpv::encode::write_value(&mut bytes, &value).unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> Broadcast {
        decode(bytes, Timestamp(1)).unwrap().unwrap()
    }

    fn custom(broadcast: &Broadcast) -> (&str, Option<&str>) {
        let Event::Volatile(event) = &*broadcast.event else { panic!() };
        (&event.name, event.data.as_ref().map(|d| d.get()))
    }

    #[test]
    fn events_for_rooms_users_and_everyone_are_read() {
        let one = read(&message("/", vec!["news".into(), map(&[("n", 1.into())])], &["r"], &[]));
        assert_eq!(one.to, Audience::Room(RoomName::new("r").unwrap()));
        assert_eq!(custom(&one), ("news", Some(r#"{"n":1}"#)));
        let two = read(&message("/", vec!["e".into(), 1.into(), "x".into()], &["a", "b"], &[]));
        assert!(matches!(&two.to, Audience::Rooms(rooms) if rooms.len() == 2));
        assert_eq!(custom(&two), ("e", Some(r#"[1,"x"]"#)));
        let all = read(&message("/", vec![7.into()], &[], &["user:ann"]));
        assert_eq!((&all.to, custom(&all)), (&Audience::Everyone, ("7", None)));
        assert_eq!(all.except_user.unwrap().as_str(), "ann");
        assert!(
            decode(&message("/other", vec!["e".into()], &[], &[]), Timestamp(1)).unwrap().is_none()
        );
    }

    #[test]
    fn what_json_does_not_have_is_written_as_it_can_be() {
        let bytes = message(
            "/",
            vec![
                "e".into(),
                Value::Binary(b"\xff\x00a".to_vec()),
                Value::Ext(-1, 1_700_000_000_u32.to_be_bytes().to_vec()),
                Value::F64(f64::NAN),
                Value::Nil,
            ],
            &[],
            &[],
        );
        assert_eq!(custom(&read(&bytes)).1, Some(r#"["/wBh",1700000000000,null,null]"#));
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let mut deep = vec![0x91; 200];
        deep.push(0xc0);
        for bytes in [
            vec![],
            vec![0xc1],
            deep,
            message("/", vec![], &[], &[]),
            message("/", vec![Value::Nil], &[], &[]),
            message("/", vec!["e".into()], &["a\u{7}"], &[]),
            message("/", vec!["e".into()], &[], &["some-room"]),
            message("/", vec!["e".into()], &["r"; 200], &[]),
        ] {
            assert!(decode(&bytes, Timestamp(1)).is_err());
        }
    }
}
