//! Packets as `socket.io-msgpack-parser` speaks them: each is one binary message, a
//! msgpack map of `type`, `nsp`, `data` and `id`, with binary values where they
//! belong. Nothing is announced, and nothing follows.
//!
//! | msgpack | JSON |
//! |---|---|
//! | nil, bool, str, array, map with str keys | as it is |
//! | integers | as they are, up to 64 bits |
//! | floats | as they are; `null` where JSON has no such number |
//! | bin; ext 0 with a length of its own (an `ArrayBuffer`) | a placeholder, and an attachment |
//! | fixext 1 of type 0 (`undefined`) | left out of an object, else `null` |
//! | fixext 8 of type 0 (`Date`), ext -1 (a timestamp) | RFC 3339 text |
//! | any other ext, other keys | refused |
//!
//! Vocabularies, acks and offsets know only the JSON side: a packet is read into the
//! same [`Packet`] as a text one, and written from the text of
//! [`write_event`](super::write_event) and its family.

mod read;
mod write;

use bytes::Bytes;
use bytestring::ByteString;

use self::read::{Item, Reader};
use super::{
    Body, Limits, Packet, SocketError,
    decode::{self, Parts},
    find_placeholders,
};
use crate::wire::engineio::MESSAGE_PREFIX;

/// Reads one binary message. Its arguments as JSON have the same bound as itself,
/// [`Limits::max_packet_bytes`].
///
/// # Errors
/// See [`SocketError`]; close the connection.
pub fn decode(message: &Bytes, limits: &Limits) -> Result<Packet, SocketError> {
    if message.len() > limits.max_packet_bytes {
        return Err(SocketError::TooLarge { max: limits.max_packet_bytes });
    }
    let mut reader = Reader::new(message);
    let head = head(&mut reader, limits)?;
    let kind = head.kind.ok_or(SocketError::UnknownType)?;
    let namespace = head.namespace.ok_or(SocketError::InvalidNamespace)?;
    let mut attachments = Vec::new();
    let text = match head.data {
        Some(at) => ByteString::from(reader.json_at(at, limits, &mut attachments)?),
        None => ByteString::new(),
    };
    let mut body = decode::body(kind, head.id, &text, &text)?;
    match &mut body {
        Body::Event { attachments: own, .. } | Body::Ack { attachments: own, .. } => {
            if !attachments.is_empty() {
                find_placeholders(&text, attachments.len())?;
            }
            *own = attachments;
        }
        _ if attachments.is_empty() => {}
        _ => return Err(SocketError::InvalidPayload),
    }
    Ok(Packet { namespace: namespace.into(), body })
}

/// What stands around the data.
#[derive(Default)]
struct Head<'a> {
    /// The digit of the text form.
    kind: Option<u8>,
    namespace: Option<&'a str>,
    id: Option<u64>,
    /// Where the data begins.
    data: Option<usize>,
}

/// Reads the whole message once, passing over its data. Keys that are not known, such as
/// the `options` of a stock client, are ignored; of one that comes twice the last counts.
fn head<'a>(reader: &mut Reader<'a>, limits: &Limits) -> Result<Head<'a>, SocketError> {
    let Item::Map(pairs) = reader.next()? else { return Err(SocketError::InvalidPayload) };
    let mut head = Head::default();
    for _ in 0..pairs {
        let Item::Text(key) = reader.next()? else { return Err(SocketError::InvalidPayload) };
        match key {
            "type" => match reader.next()? {
                Item::Uint(kind @ 0..=4) => head.kind = Some(b'0' + kind as u8),
                _ => return Err(SocketError::UnknownType),
            },
            "nsp" => match reader.next()? {
                Item::Text(name) => head.namespace = Some(namespace(name, limits)?),
                _ => return Err(SocketError::InvalidNamespace),
            },
            "id" => match reader.next()? {
                Item::Uint(id) => head.id = Some(id),
                Item::Undefined => head.id = None,
                _ => return Err(SocketError::InvalidAckId),
            },
            "data" => {
                let at = reader.position();
                head.data = match reader.next()? {
                    Item::Undefined => None,
                    item => {
                        reader.skip(item)?;
                        Some(at)
                    }
                };
            }
            _ => {
                let item = reader.next()?;
                reader.skip(item)?;
            }
        }
    }
    if reader.is_at_end() { Ok(head) } else { Err(SocketError::InvalidPayload) }
}

/// A name that the text form can hold as well.
fn namespace<'a>(name: &'a str, limits: &Limits) -> Result<&'a str, SocketError> {
    if name.len() > limits.max_namespace_bytes {
        return Err(SocketError::NamespaceTooLong { max: limits.max_namespace_bytes });
    }
    if !name.starts_with('/') || name.contains(',') {
        return Err(SocketError::InvalidNamespace);
    }
    Ok(name)
}

/// Writes the packet that a text packet is, in place of it and its attachments. The data
/// stands at the end, so that an event ends with its last argument.
///
/// # Errors
/// [`SocketError`] if `text` is none of ours, or names an attachment that there is not.
pub fn encode(text: &str, attachments: &[Bytes]) -> Result<Vec<u8>, SocketError> {
    let Parts { kind, namespace, id, data, .. } = decode::split(text, &Limits::NONE)?;
    let places = match attachments {
        [] => Vec::new(),
        _ => find_placeholders(data, attachments.len())?,
    };
    let kind = match kind {
        b'5' => 2,
        b'6' => 3,
        kind => kind - b'0',
    };
    let mut out = Vec::with_capacity(data.len() + namespace.len() + 32);
    let fields = 2 + u32::from(id.is_some()) + u32::from(!data.is_empty());
    write::map_head(&mut out, fields);
    write::text(&mut out, "type");
    write::uint(&mut out, kind.into());
    write::text(&mut out, "nsp");
    write::text(&mut out, namespace);
    if let Some(id) = id {
        write::text(&mut out, "id");
        write::uint(&mut out, id);
    }
    if !data.is_empty() {
        write::text(&mut out, "data");
        write::json(&mut out, data, &places, attachments);
    }
    Ok(out)
}

/// The same of the payload of a text frame, its Engine.IO prefix included; none if it is
/// no packet of ours.
#[must_use]
pub fn from_frame(payload: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(payload).ok()?.strip_prefix(MESSAGE_PREFIX)?;
    encode(text, &[]).ok()
}

/// Whether the payload of a frame is such a packet: it begins with a map of a few
/// fields, and no text begins with that byte.
#[must_use]
pub fn is_packet(payload: &[u8]) -> bool {
    payload.first().is_some_and(|byte| byte & 0xF0 == 0x80)
}

/// Appends a text as a msgpack value.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    write::text(out, text);
}

/// The text of a value that [`write_text`] wrote.
#[must_use]
pub fn read_text(value: &[u8]) -> Option<&str> {
    let head = match value.first()? {
        0xA0..=0xBF => 1,
        0xD9 => 2,
        0xDA => 3,
        0xDB => 5,
        _ => return None,
    };
    std::str::from_utf8(value.get(head..)?).ok()
}

/// The bytes of a text's value before the text itself.
#[must_use]
pub const fn text_head(len: usize) -> usize {
    match len {
        0..32 => 1,
        32..256 => 2,
        256..65536 => 3,
        _ => 5,
    }
}

#[cfg(test)]
mod tests;
