//! The form of a volatile event between nodes.

use super::{
    DecodeError, Skipped, room,
    tlv::{self, Reader, Writer},
    user,
};
use crate::{
    event::{
        CustomEvent, Event, Member, Notification, PresenceChanged, Receipt, ReceiptStatus, Status,
        Typing,
    },
    id::MessageId,
    timestamp::Timestamp,
};

const CUSTOM: u8 = 1;
const USER_JOINED: u8 = 2;
const USER_LEFT: u8 = 3;
const TYPING: u8 = 4;
const PRESENCE: u8 = 5;
const RECEIPT: u8 = 6;
const NOTIFICATION: u8 = 7;

const ROOM: u8 = 1;
const USER: u8 = 2;
const USERNAME: u8 = 3;
const NAME: u8 = 4;
const DATA: u8 = 5;
const NODE: u8 = 6;
const TIMESTAMP: u8 = 7;
const IS_TYPING: u8 = 8;
const STATUS: u8 = 9;
const SOCKETS: u8 = 10;
const OFFSET: u8 = 11;
const MESSAGE: u8 = 12;
const TITLE: u8 = 13;
const BODY: u8 = 14;
const AUTHOR: u8 = 15;

/// The bytes of an event; none for one that concerns a single session only.
pub fn encode_event(event: &Event) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(128);
    match event {
        Event::Volatile(e) => {
            let mut w = start(&mut out, CUSTOM);
            w.some_text(ROOM, e.room.as_ref().map(|r| r.as_str()));
            w.some_text(USER, e.user.as_ref().map(|u| u.as_str()));
            w.some_text(USERNAME, e.username.as_deref());
            w.text(NAME, &e.name);
            w.some_text(DATA, e.data.as_ref().map(|d| d.get()));
            w.some_text(NODE, e.node.as_deref());
            w.number(TIMESTAMP, e.timestamp.0);
        }
        Event::UserJoined(e) | Event::UserLeft(e) => {
            let joined = matches!(event, Event::UserJoined(_));
            let mut w = start(&mut out, if joined { USER_JOINED } else { USER_LEFT });
            w.text(ROOM, e.room.as_str());
            w.text(USER, e.user.as_str());
            w.some_text(USERNAME, e.username.as_deref());
            w.text(STATUS, e.status.as_str());
            w.number(SOCKETS, e.socket_count as u64);
            w.number(TIMESTAMP, e.timestamp.0);
            w.some_text(NODE, e.node.as_deref());
        }
        Event::Typing(e) => {
            let mut w = start(&mut out, TYPING);
            w.text(ROOM, e.room.as_str());
            w.text(USER, e.user.as_str());
            w.some_text(USERNAME, e.username.as_deref());
            w.number(IS_TYPING, u64::from(e.is_typing));
        }
        Event::Presence(e) => {
            let mut w = start(&mut out, PRESENCE);
            w.text(USER, e.user.as_str());
            w.text(STATUS, e.status.as_str());
            w.number(SOCKETS, e.socket_count as u64);
            w.number(TIMESTAMP, e.timestamp.0);
            w.some_text(USERNAME, e.username.as_deref());
        }
        Event::Receipt(e) => {
            let mut w = start(&mut out, RECEIPT);
            w.text(ROOM, e.room.as_str());
            w.text(USER, e.user.as_str());
            w.number(OFFSET, e.offset);
            w.text(STATUS, e.status.as_str());
            if let Some(id) = e.message {
                w.bytes(MESSAGE, id.0.as_bytes());
            }
            w.some_text(AUTHOR, e.author.as_ref().map(|u| u.as_str()));
        }
        Event::Notification(e) => {
            let mut w = start(&mut out, NOTIFICATION);
            w.text(TITLE, &e.title);
            w.text(BODY, &e.body);
            w.some_text(DATA, e.data.as_ref().map(|d| d.get()));
        }
        Event::Authenticated(_)
        | Event::Joined(_)
        | Event::Left(_)
        | Event::Stored(_)
        | Event::TokenExpiring(_)
        | Event::Closing(_)
        | Event::Pong => return None,
    }
    Some(out)
}

fn start(out: &mut Vec<u8>, kind: u8) -> Writer<'_> {
    out.push(kind);
    Writer(out)
}

/// The fields of any event.
#[derive(Default)]
struct Found<'a> {
    room: Option<&'a [u8]>,
    user: Option<&'a [u8]>,
    username: Option<&'a [u8]>,
    name: Option<&'a [u8]>,
    data: Option<&'a [u8]>,
    node: Option<&'a [u8]>,
    timestamp: Option<&'a [u8]>,
    is_typing: Option<&'a [u8]>,
    status: Option<&'a [u8]>,
    sockets: Option<&'a [u8]>,
    offset: Option<&'a [u8]>,
    message: Option<&'a [u8]>,
    title: Option<&'a [u8]>,
    body: Option<&'a [u8]>,
    author: Option<&'a [u8]>,
}

fn need<'a>(value: Option<&'a [u8]>, what: &'static str) -> Result<&'a [u8], DecodeError> {
    value.ok_or(DecodeError::Missing(what))
}

impl Found<'_> {
    fn username(&self) -> Result<Option<std::sync::Arc<str>>, DecodeError> {
        self.username.map(|name| Ok(tlv::text(name, "user name")?.into())).transpose()
    }

    fn node(&self) -> Result<Option<std::sync::Arc<str>>, DecodeError> {
        self.node.map(|node| Ok(tlv::text(node, "node")?.into())).transpose()
    }

    fn data(&self) -> Result<Option<Box<serde_json::value::RawValue>>, DecodeError> {
        self.data.map(tlv::json).transpose()
    }

    fn timestamp(&self) -> Result<Timestamp, DecodeError> {
        Ok(Timestamp(tlv::number(need(self.timestamp, "timestamp")?)?))
    }

    fn sockets(&self) -> Result<usize, DecodeError> {
        let count = tlv::number(need(self.sockets, "sockets")?)?;
        usize::try_from(count).map_err(|_| DecodeError::Invalid("sockets"))
    }

    fn status(&self) -> Result<Status, DecodeError> {
        let text = tlv::text(need(self.status, "status")?, "status")?;
        Status::parse(text).ok_or(DecodeError::Invalid("status"))
    }

    fn member(&self) -> Result<Member, DecodeError> {
        Ok(Member {
            room: room(need(self.room, "room")?)?,
            user: user(need(self.user, "user")?)?,
            username: self.username()?,
            status: self.status()?,
            socket_count: self.sockets()?,
            timestamp: self.timestamp()?,
            node: self.node()?,
        })
    }
}

/// Reads what [`encode_event`] wrote; none for a kind that is not known here.
pub fn decode_event(bytes: &[u8]) -> Result<Option<Event>, DecodeError> {
    read_event(bytes, &mut Skipped::default())
}

/// The same, and counts what was skipped.
pub(super) fn read_event(
    bytes: &[u8],
    skipped: &mut Skipped,
) -> Result<Option<Event>, DecodeError> {
    let (&kind, rest) = bytes.split_first().ok_or(DecodeError::Truncated)?;
    let mut f = Found::default();
    let mut fields = Reader(rest);
    while let Some((tag, value)) = fields.next()? {
        let place = match tag {
            ROOM => &mut f.room,
            USER => &mut f.user,
            USERNAME => &mut f.username,
            NAME => &mut f.name,
            DATA => &mut f.data,
            NODE => &mut f.node,
            TIMESTAMP => &mut f.timestamp,
            IS_TYPING => &mut f.is_typing,
            STATUS => &mut f.status,
            SOCKETS => &mut f.sockets,
            OFFSET => &mut f.offset,
            MESSAGE => &mut f.message,
            TITLE => &mut f.title,
            BODY => &mut f.body,
            AUTHOR => &mut f.author,
            _ => {
                skipped.fields += 1;
                continue;
            }
        };
        *place = Some(value);
    }
    Ok(Some(match kind {
        CUSTOM => Event::Volatile(CustomEvent {
            room: f.room.map(room).transpose()?,
            user: f.user.map(user).transpose()?,
            username: f.username()?,
            name: tlv::text(need(f.name, "name")?, "name")?.into(),
            data: f.data()?,
            node: f.node()?,
            timestamp: f.timestamp()?,
        }),
        USER_JOINED => Event::UserJoined(f.member()?),
        USER_LEFT => Event::UserLeft(f.member()?),
        TYPING => Event::Typing(Typing {
            room: room(need(f.room, "room")?)?,
            user: user(need(f.user, "user")?)?,
            username: f.username()?,
            is_typing: tlv::number(need(f.is_typing, "typing")?)? != 0,
        }),
        PRESENCE => Event::Presence(PresenceChanged {
            user: user(need(f.user, "user")?)?,
            status: f.status()?,
            socket_count: f.sockets()?,
            timestamp: f.timestamp()?,
            username: f.username()?,
        }),
        RECEIPT => Event::Receipt(Receipt {
            room: room(need(f.room, "room")?)?,
            user: user(need(f.user, "user")?)?,
            offset: tlv::number(need(f.offset, "offset")?)?,
            status: match tlv::text(need(f.status, "status")?, "status")? {
                "delivered" => ReceiptStatus::Delivered,
                "read" => ReceiptStatus::Read,
                _ => return Err(DecodeError::Invalid("status")),
            },
            message: f.message.map(|id| Ok(MessageId(tlv::uuid(id, "message id")?))).transpose()?,
            author: f.author.map(user).transpose()?,
        }),
        NOTIFICATION => Event::Notification(Notification {
            title: tlv::text(need(f.title, "title")?, "title")?.into(),
            body: tlv::text(need(f.body, "body")?, "body")?.into(),
            data: f.data()?,
        }),
        _ => {
            skipped.kinds += 1;
            return Ok(None);
        }
    }))
}
