//! From text to the parts of a packet.

use bytestring::ByteString;
use serde_json::value::RawValue;

use super::{
    Body, EventName, Limits, MAIN_NAMESPACE, MAX_ATTACHMENTS, Packet, RawJson, SocketError,
    find_placeholders, is_reserved_event, scan,
};

/// A text message that was read and checked. With `attachments` above zero
/// as many binary messages must follow before the packet is complete.
#[derive(Debug)]
pub(super) struct Decoded {
    pub packet: Packet,
    pub attachments: usize,
}

/// The parts of a packet as they stand in the text.
pub(super) struct Parts<'a> {
    /// The digit.
    pub kind: u8,
    pub attachments: usize,
    pub namespace: &'a str,
    pub id: Option<u64>,
    /// What is left: JSON, or nothing.
    pub data: &'a str,
}

/// Reads a text message and checks everything that can be checked before its
/// attachments are there.
pub(super) fn decode(text: &ByteString, limits: &Limits) -> Result<Decoded, SocketError> {
    let parts = split(text, limits)?;
    scan::check_shape(parts.data, limits)?;
    let body = body(parts.kind, parts.id, text, parts.data)?;
    if parts.attachments > 0 {
        find_placeholders(parts.data, parts.attachments)?;
    }
    let namespace = if parts.namespace == MAIN_NAMESPACE {
        ByteString::from_static(MAIN_NAMESPACE)
    } else {
        text.slice_ref(parts.namespace)
    };
    Ok(Decoded { packet: Packet { namespace, body }, attachments: parts.attachments })
}

/// What a packet of that type says. `data` is JSON that was measured, or nothing, and a
/// part of `text`; attachments are not looked at.
pub(super) fn body(
    kind: u8,
    id: Option<u64>,
    text: &ByteString,
    data: &str,
) -> Result<Body, SocketError> {
    Ok(match kind {
        b'0' => Body::Connect { data: object(text, data)? },
        b'1' if data.is_empty() => Body::Disconnect,
        b'2' | b'5' => {
            let mut elements = array(text, data)?.into_iter();
            let name = event_name(&elements.next().ok_or(SocketError::InvalidEventName)?)?;
            Body::Event { name, args: elements.collect(), id, attachments: Vec::new() }
        }
        b'3' | b'6' => Body::Ack {
            id,
            // The reference takes an ack without data for one without arguments.
            args: if data.is_empty() { Vec::new() } else { array(text, data)? },
            attachments: Vec::new(),
        },
        b'4' => Body::ConnectError { data: connect_error(text, data)? },
        _ => return Err(SocketError::InvalidPayload),
    })
}

/// Cuts the text: type, attachments, namespace, id, data.
pub(super) fn split<'a>(text: &'a str, limits: &Limits) -> Result<Parts<'a>, SocketError> {
    let kind = match text.as_bytes().first() {
        Some(kind @ b'0'..=b'6') => *kind,
        _ => return Err(SocketError::UnknownType),
    };
    let mut rest = &text[1..];
    let mut attachments = 0;
    if matches!(kind, b'5' | b'6') {
        (attachments, rest) = attachment_count(rest)?;
    }
    let mut namespace = MAIN_NAMESPACE;
    if rest.starts_with('/') {
        (namespace, rest) = rest.split_once(',').unwrap_or((rest, ""));
        if namespace.len() > limits.max_namespace_bytes {
            return Err(SocketError::NamespaceTooLong { max: limits.max_namespace_bytes });
        }
    }
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (id, data) = rest.split_at(digits);
    let id =
        if id.is_empty() { None } else { Some(id.parse().map_err(|_| SocketError::InvalidAckId)?) };
    Ok(Parts { kind, attachments, namespace, id, data })
}

/// The count before the `-`, and what follows it.
fn attachment_count(text: &str) -> Result<(usize, &str), SocketError> {
    let (count, rest) = text.split_once('-').ok_or(SocketError::InvalidAttachmentCount)?;
    if count.is_empty() || !count.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SocketError::InvalidAttachmentCount);
    }
    let too_many = SocketError::TooManyAttachments { max: MAX_ATTACHMENTS };
    // Only digits: what does not parse is too large.
    match count.parse().map_err(|_| too_many)? {
        0 => Err(SocketError::InvalidAttachmentCount),
        count if count > MAX_ATTACHMENTS => Err(too_many),
        count => Ok((count, rest)),
    }
}

/// The elements of a JSON array, each as it stands.
fn array(text: &ByteString, data: &str) -> Result<Vec<RawJson>, SocketError> {
    if !data.starts_with('[') {
        return Err(SocketError::InvalidPayload);
    }
    let elements: Vec<&RawValue> =
        serde_json::from_str(data).map_err(|_| SocketError::InvalidPayload)?;
    Ok(elements
        .into_iter()
        .map(|element| RawJson::trusted(text.slice_ref(element.get())))
        .collect())
}

/// A JSON object or nothing.
fn object(text: &ByteString, data: &str) -> Result<Option<RawJson>, SocketError> {
    if data.is_empty() {
        return Ok(None);
    }
    if !data.starts_with('{') {
        return Err(SocketError::InvalidPayload);
    }
    value(text, data).map(Some)
}

/// An object or a string.
fn connect_error(text: &ByteString, data: &str) -> Result<RawJson, SocketError> {
    if !data.starts_with(['{', '"']) {
        return Err(SocketError::InvalidPayload);
    }
    value(text, data)
}

fn value(text: &ByteString, data: &str) -> Result<RawJson, SocketError> {
    let value: &RawValue = serde_json::from_str(data).map_err(|_| SocketError::InvalidPayload)?;
    Ok(RawJson::trusted(text.slice_ref(value.get())))
}

/// The first element of an event: a string that is not reserved, or a number.
fn event_name(element: &RawJson) -> Result<EventName, SocketError> {
    let json = &element.get();
    let name = match json.as_bytes().first() {
        Some(b'"') if json.contains('\\') => {
            element.parse::<String>().map_err(|_| SocketError::InvalidEventName)?.into()
        }
        Some(b'"') => element.slice(1..json.len() - 1),
        Some(b'-' | b'0'..=b'9') => return Ok(EventName::Number(element.slice(0..json.len()))),
        _ => return Err(SocketError::InvalidEventName),
    };
    if is_reserved_event(&name) {
        return Err(SocketError::ReservedEventName);
    }
    Ok(EventName::Text(name))
}
