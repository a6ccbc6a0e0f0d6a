//! Events and answers to JSON text.

use serde_json::value::RawValue;

use crate::{
    error::HubError,
    event::{Event, EventKind, Fields, Fieldset, MemberList, Reply, ReplyId},
    timestamp::Timestamp,
};

/// Writes the members of one JSON object into a buffer.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Field names are ours: nothing in them needs escaping.
    fn name(&mut self, name: &str) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn kind(&mut self, kind: &str) {
        self.text_field("type", kind);
    }

    fn text_field(&mut self, name: &str, value: &str) {
        self.name(name);
        string(self.out, value);
    }

    fn close(self) {
        self.out.push(b'}');
    }
}

/// Writes a JSON string. Runs of bytes that need no escape are copied whole.
fn string(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    let bytes = value.as_bytes();
    let mut start = 0;
    for (i, &b) in bytes.iter().enumerate() {
        if b >= 0x20 && b != b'"' && b != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[start..i]);
        start = i + 1;
        match b {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(b >> 4)]);
                out.push(HEX[usize::from(b & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}

fn decimal(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

impl Fields for Object<'_> {
    fn text(&mut self, name: &'static str, value: &str) {
        self.text_field(name, value);
    }

    fn number(&mut self, name: &'static str, value: u64) {
        self.name(name);
        decimal(self.out, value);
    }

    fn flag(&mut self, name: &'static str, value: bool) {
        self.name(name);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn time(&mut self, name: &'static str, value: Timestamp) {
        self.text_field(name, &value.to_string());
    }

    fn raw(&mut self, name: &'static str, value: &RawValue) {
        self.name(name);
        self.out.extend_from_slice(value.get().as_bytes());
    }

    fn list(&mut self, name: &'static str, items: &mut dyn Iterator<Item = &dyn Fieldset>) {
        self.name(name);
        write_list(self.out, items);
    }

    fn members(&mut self, name: &'static str, members: &MemberList) {
        self.name(name);
        let json = members.json(|members, out| {
            write_list(out, &mut members.iter().map(|m| m as &dyn Fieldset));
        });
        self.out.extend_from_slice(json);
    }
}

fn write_list(out: &mut Vec<u8>, items: &mut dyn Iterator<Item = &dyn Fieldset>) {
    out.push(b'[');
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_fieldset(out, item);
    }
    out.push(b']');
}

fn write_fieldset(out: &mut Vec<u8>, item: &dyn Fieldset) {
    let mut object = Object::open(out);
    if let Some(kind) = item.kind() {
        object.kind(kind.as_str());
    }
    item.fields(&mut object);
    object.close();
}

/// Writes anything with fields as one JSON object, with its `type` if it is an
/// event.
pub fn fieldset(item: &dyn Fieldset) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write_fieldset(&mut out, item);
    out
}

/// Appends the fields of a thing as one JSON object without its `type`, for a wire
/// that names events elsewhere. Things in its lists keep theirs.
pub fn write_fields(out: &mut Vec<u8>, item: &dyn Fieldset) {
    let mut object = Object::open(out);
    item.fields(&mut object);
    object.close();
}

/// Appends an answer as one JSON object, for a wire that says elsewhere what is
/// answered. With `ok` it says whether it went well:
/// `{"ok":true,...fields}` or `{"ok":false,"code","message"}`. `id` is the
/// request's own, if it had one among its fields.
pub fn write_answer(
    out: &mut Vec<u8>,
    id: Option<&str>,
    ok: bool,
    reply: &Result<Reply, HubError>,
) {
    let mut object = Object::open(out);
    if let Some(id) = id {
        object.name("id");
        object.out.extend_from_slice(id.as_bytes());
    }
    if ok {
        object.flag("ok", reply.is_ok());
    }
    match reply {
        Ok(reply) => reply.fields(&mut object),
        Err(e) => {
            object.text("code", e.code.as_str());
            object.text("message", &e.message);
        }
    }
    object.close();
}

/// Writes an event.
pub fn event(event: &Event) -> Vec<u8> {
    fieldset(event)
}

/// Writes the answer to a request. An error is written even if the request had
/// no id, and so is an answer that is itself what was asked for (`history`,
/// `members`); a mere confirmation is not.
pub fn reply(id: &ReplyId, reply: &Result<Reply, HubError>) -> Option<Vec<u8>> {
    let id = match id {
        ReplyId::Json(id) => Some(id),
        ReplyId::None | ReplyId::SocketIo(_) => None,
    };
    let mut out = Vec::with_capacity(128);
    let mut object = Object::open(&mut out);
    let kind = match reply {
        Err(_) => EventKind::Error.as_str(),
        Ok(_) if id.is_some() => EventKind::Ack.as_str(),
        Ok(r) => r.standalone()?,
    };
    object.kind(kind);
    if let Some(id) = id {
        object.name("id");
        object.out.extend_from_slice(id.as_bytes());
    }
    match reply {
        Ok(r) => {
            if id.is_some() {
                object.flag("ok", true);
            }
            r.fields(&mut object);
        }
        Err(e) => {
            object.text("code", e.code.as_str());
            object.text("message", &e.message);
        }
    }
    object.close();
    Some(out)
}
