//! A complete Socket.IO packet.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::DeserializeOwned;

/// One JSON value as text, exactly as the sender wrote it, and known to be
/// valid JSON. Shares the message it was cut from: cheap to clone, and keeping
/// it keeps that message.
#[derive(Clone, PartialEq, Eq)]
pub struct RawJson(ByteString);

impl RawJson {
    /// Takes a text that the caller knows to be one JSON value.
    pub(super) const fn trusted(text: ByteString) -> Self {
        Self(text)
    }

    /// Checks that `text` is one JSON value and takes it.
    ///
    /// # Errors
    /// What `serde_json` says when it is not.
    pub fn new(text: ByteString) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<&serde_json::value::RawValue>(&text)?;
        Ok(Self(text))
    }

    /// The JSON text.
    #[must_use]
    pub fn get(&self) -> &str {
        &self.0
    }

    /// A part of the text that shares its buffer.
    pub(super) fn slice(&self, range: Range<usize>) -> ByteString {
        self.0.slice_ref(&self.0[range])
    }

    /// Reads the value as `T`; `Box<RawValue>` and `serde_json::Value` work
    /// too.
    ///
    /// # Errors
    /// What `serde_json` says when the value has another shape, holds a number
    /// that does not fit, or an escape that is half a surrogate pair.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for RawJson {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// An event's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EventName {
    /// The usual case: a string, unescaped; never a reserved one.
    Text(ByteString),
    /// A number, as its JSON text.
    Number(ByteString),
}

impl EventName {
    /// The name as a key to look up: the string, or the number's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(name) | Self::Number(name) => name,
        }
    }
}

/// What a packet says. Where it has attachments, the arguments hold
/// placeholders that were checked: each names one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Type 0. From a client: join the namespace, `data` is the auth object.
    /// From the server: joined, `data` is `{"sid", "pid"?}`.
    Connect {
        /// An object, or nothing.
        data: Option<RawJson>,
    },
    /// Type 1: leave the namespace.
    Disconnect,
    /// Type 2, and type 5 with attachments.
    Event {
        /// The first element of the array.
        name: EventName,
        /// The other elements.
        args: Vec<RawJson>,
        /// Asks for an ack with this id.
        id: Option<u64>,
        /// Binary values, at most [`MAX_ATTACHMENTS`](super::MAX_ATTACHMENTS).
        attachments: Vec<Bytes>,
    },
    /// Type 3, and type 6 with attachments.
    Ack {
        /// The id of the event that is answered. `None` when the sender left
        /// it out; such an ack answers nothing and is ignored.
        id: Option<u64>,
        /// The answer's arguments.
        args: Vec<RawJson>,
        /// Binary values, at most [`MAX_ATTACHMENTS`](super::MAX_ATTACHMENTS).
        attachments: Vec<Bytes>,
    },
    /// Type 4, only from a server: the namespace is refused.
    ConnectError {
        /// An object with `message` and perhaps `data`, or a string.
        data: RawJson,
    },
}

impl Body {
    /// Bytes of the name and the arguments as JSON, without attachments.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let (name, args) = match self {
            Self::Event { name, args, .. } => (name.as_str().len(), &args[..]),
            Self::Ack { args, .. } => (0, &args[..]),
            Self::Connect { data } => (0, data.as_slice()),
            Self::ConnectError { data } => (0, std::slice::from_ref(data)),
            Self::Disconnect => (0, &[][..]),
        };
        name + args.iter().map(|arg| arg.get().len()).sum::<usize>()
    }
}

/// A complete packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The namespace exactly as it stands in the packet, with its `/`; a query
    /// string in it is part of the name. May hold any character but
    /// a comma, so join only those that the configuration lists.
    pub namespace: ByteString,
    /// What it says.
    pub body: Body,
}

/// Whether `name` means something to the libraries themselves and is invalid
/// as an event on the wire.
#[must_use]
pub fn is_reserved_event(name: &str) -> bool {
    matches!(
        name,
        "connect"
            | "connect_error"
            | "disconnect"
            | "disconnecting"
            | "newListener"
            | "removeListener"
    )
}
