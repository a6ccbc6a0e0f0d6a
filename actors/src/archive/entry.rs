//! A message on its way into the archive.

use hubbub_protocol::{
    cluster::decode_record,
    id::{MessageId, RoomName, UserId},
    position::{Epoch, Position},
    record::{Body, Record},
    timestamp::Timestamp,
};
use uuid::Uuid;

/// What an archived record is, by its column `kind`.
pub(super) const MESSAGE: &str = "message";
/// See [`MESSAGE`].
pub(super) const DIRECT: &str = "direct";
/// See [`MESSAGE`].
pub(super) const EVENT: &str = "event";

/// One row: a record with its position, in columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub room: RoomName,
    pub position: Position,
    pub sent_at: u64,
    pub id: Option<Uuid>,
    pub kind: Option<String>,
    pub user: Option<String>,
    pub username: Option<String>,
    pub content: Option<String>,
    pub data: Option<String>,
    /// The record's own bytes, where the columns do not say it exactly.
    pub exact: Option<Vec<u8>>,
}

/// PostgreSQL takes no zero byte in a text; what stands for one is only to be read
/// by people.
fn column(text: &str, exact: &mut bool) -> String {
    if text.contains('\0') {
        *exact = false;
        return text.replace('\0', "\u{fffd}");
    }
    text.to_owned()
}

impl Row {
    /// The row of a record in the form that nodes share; `at` is when the store took it, in milliseconds. A record
    /// that cannot be read (of a later version) is kept as it came.
    pub(super) fn new(room: RoomName, position: Position, at: u64, bytes: Vec<u8>) -> Self {
        let Ok(record) = decode_record(room.clone(), &bytes) else {
            return Self {
                room,
                position,
                sent_at: at,
                id: None,
                kind: None,
                user: None,
                username: None,
                content: None,
                data: None,
                exact: Some(bytes),
            };
        };
        let mut exact = true;
        let (kind, content, data) = match &record.body {
            Body::Message { content, data } => (MESSAGE, content, data),
            Body::Direct { content, data } => (DIRECT, content, data),
            Body::Event { name, data } => (EVENT, name, data),
        };
        let user = record.user.as_ref().map(|user| column(user.as_str(), &mut exact));
        let username = record.username.as_deref().map(|name| column(name, &mut exact));
        let content = column(content, &mut exact);
        let data = data.as_ref().map(|data| column(data.get(), &mut exact));
        Self {
            room,
            position,
            sent_at: record.timestamp.0,
            id: Some(record.id.0),
            kind: Some(kind.to_owned()),
            user,
            username,
            content: Some(content),
            data,
            exact: (!exact).then_some(bytes),
        }
    }

    /// The record again. Fails with the reason if the row is not understood.
    pub(super) fn into_record(self) -> Result<Record, String> {
        if let Some(bytes) = &self.exact {
            return decode_record(self.room, bytes).map_err(|e| e.to_string());
        }
        let missing = |what: &str| format!("the row has no {what}");
        let data = match self.data {
            None => None,
            Some(data) => {
                Some(serde_json::value::RawValue::from_string(data).map_err(|e| e.to_string())?)
            }
        };
        let content = self.content.ok_or_else(|| missing("content"))?.into_boxed_str();
        let user = self.user.map(UserId::new);
        Ok(Record {
            id: MessageId(self.id.ok_or_else(|| missing("id"))?),
            room: self.room,
            user: user.transpose().map_err(|e| e.message.into_owned())?,
            username: self.username.map(Into::into),
            timestamp: Timestamp(self.sent_at),
            body: match self.kind.as_deref() {
                Some(MESSAGE) => Body::Message { content, data },
                Some(DIRECT) => Body::Direct { content, data },
                Some(EVENT) => Body::Event { name: content, data },
                _ => return Err(missing("known kind")),
            },
            trace: None,
        })
    }

    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        let len = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        128 + self.room.as_str().len()
            + len(&self.user)
            + len(&self.username)
            + len(&self.content)
            + len(&self.data)
            + self.exact.as_ref().map_or(0, Vec::len)
    }
}

/// Reads the fields of an entry of the backlog; none if one is missing.
pub(super) fn read_fields<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Option<Row> {
    let (mut room, mut epoch, mut offset, mut at, mut record) = (None, None, None, None, None);
    let text = |value: &'a [u8]| std::str::from_utf8(value).ok();
    for (name, value) in fields {
        match name {
            b"room" => room = RoomName::new(text(value)?).ok(),
            b"e" => epoch = text(value)?.parse::<Epoch>().ok(),
            b"o" => offset = text(value)?.parse::<u64>().ok(),
            b"t" => at = text(value)?.parse::<u64>().ok(),
            b"r" => record = Some(value.to_vec()),
            _ => {}
        }
    }
    Some(Row::new(room?, Position { epoch: epoch?, offset: offset? }, at?, record?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hubbub_protocol::{
        cluster::encode_record,
        id::{MessageId, UserId},
    };

    use super::*;

    fn record(body: Body) -> Record {
        Record {
            id: MessageId(Uuid::from_u128(7)),
            room: RoomName::new("r").unwrap(),
            user: UserId::new("ann").ok(),
            username: Some("Ann".into()),
            timestamp: Timestamp(1_700_000_000_123),
            body,
            trace: None,
        }
    }

    #[test]
    fn a_row_gives_the_record_back() {
        let json = |text: &str| serde_json::value::RawValue::from_string(text.into()).ok();
        for (body, exact) in [
            (Body::Message { content: "hi".into(), data: json(r#"{"n": 1.50, "n": 2}"#) }, false),
            (Body::Direct { content: "".into(), data: None }, false),
            (Body::Event { name: "move".into(), data: json("[\"\\u0000\"]") }, false),
            (Body::Message { content: "a\0b".into(), data: None }, true),
        ] {
            let record = record(body);
            let position = Position { epoch: Epoch(u64::MAX), offset: 3 };
            let row = Row::new(record.room.clone(), position, 5, encode_record(&record));
            assert_eq!(row.exact.is_some(), exact);
            let texts = [&row.content, &row.data, &row.user, &row.username];
            assert!(texts.iter().all(|text| text.as_deref().is_none_or(|t| !t.contains('\0'))));
            assert!(row.size() > 128);
            assert_eq!(format!("{:?}", row.into_record().unwrap()), format!("{record:?}"));
        }
    }

    #[test]
    fn a_record_of_a_later_version_is_kept_as_it_came() {
        let room = RoomName::new("r").unwrap();
        let position = Position { epoch: Epoch(1), offset: 3 };
        let row = Row::new(room, position, 5, vec![99, 1, 2]);
        assert_eq!((row.exact.as_deref(), row.kind.is_none()), (Some(&[99, 1, 2][..]), true));
        assert!(row.into_record().is_err());
    }

    #[test]
    fn fields_of_an_entry_are_read_in_any_order() {
        let record = record(Body::Message { content: "hi".into(), data: None });
        let bytes = encode_record(&record);
        let fields = [
            (&b"r"[..], &bytes[..]),
            (b"room", b"r"),
            (b"e", b"00000000000000ab"),
            (b"o", b"12"),
            (b"t", b"99"),
            (b"new", b"?"),
        ];
        let row = read_fields(fields.iter().copied()).unwrap();
        assert_eq!(row.position, Position { epoch: Epoch(0xab), offset: 12 });
        assert!(read_fields(fields.iter().copied().skip(1)).is_none());
    }
}
