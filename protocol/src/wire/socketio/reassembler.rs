//! Messages in, complete packets out.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

use super::decode::{Decoded, decode};
use super::{Body, Packet, Parser, SocketError, msgpack};

/// The bounds of a [`Reassembler`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a packet, its text and attachments together. Default
    /// 1,000,000, the reference's `maxHttpBufferSize`.
    pub max_packet_bytes: usize,
    /// Most bytes of a namespace. Default 256.
    pub max_namespace_bytes: usize,
    /// Most levels of arrays and objects, the packet's own array included.
    /// Default 64; `serde_json` itself refuses to parse beyond 127.
    pub max_depth: usize,
    /// Most elements of the packet's own array: an event's name and arguments.
    /// Default 256. Each takes 32 bytes here and may take two on the wire.
    pub max_elements: usize,
}

impl Limits {
    /// For what the hub has written itself.
    pub(super) const NONE: Self = Self {
        max_packet_bytes: usize::MAX,
        max_namespace_bytes: usize::MAX,
        max_depth: usize::MAX,
        max_elements: usize::MAX,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_packet_bytes: 1_000_000,
            max_namespace_bytes: 256,
            max_depth: 64,
            max_elements: 256,
        }
    }
}

/// Puts the messages of one Engine.IO session together into packets.
///
/// Feed it the text and binary messages in the order in which they came. It
/// keeps at most one packet, of at most [`Limits::max_packet_bytes`]. After an
/// error the connection is to be closed; whatever else is fed is refused with
/// [`SocketError::AlreadyFailed`].
///
/// How long a packet may wait for its attachments is for the caller to decide:
/// see [`is_waiting`](Self::is_waiting).
#[derive(Debug)]
pub struct Reassembler {
    /// Shared by all sessions.
    limits: Arc<Limits>,
    /// Behind a pointer: an idle session waits for nothing.
    waiting: Option<Box<Waiting>>,
    failed: bool,
    parser: Parser,
}

#[derive(Debug)]
struct Waiting {
    packet: Packet,
    expected: usize,
    buffers: Vec<Bytes>,
    bytes: usize,
}

impl Reassembler {
    /// A reassembler for a fresh session.
    #[must_use]
    pub fn new(limits: impl Into<Arc<Limits>>) -> Self {
        let limits = limits.into();
        Self { limits, waiting: None, failed: false, parser: Parser::Default }
    }

    /// The same for packets of another parser. With [`Parser::Msgpack`] each binary
    /// message is a packet, and texts are refused.
    #[must_use]
    pub fn with_parser(mut self, parser: Parser) -> Self {
        self.parser = parser;
        self
    }

    /// Takes a text message; the packet if it is complete.
    ///
    /// # Errors
    /// See [`SocketError`]; close the connection.
    pub fn text(&mut self, text: &ByteString) -> Result<Option<Packet>, SocketError> {
        self.guarded(|this| this.take_text(text))
    }

    /// Takes a binary message; the packet if this was its last attachment.
    ///
    /// # Errors
    /// See [`SocketError`]; close the connection.
    pub fn binary(&mut self, data: Bytes) -> Result<Option<Packet>, SocketError> {
        self.guarded(|this| this.take_binary(data))
    }

    /// Whether a packet waits for attachments.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Bytes of the packet that waits, its text and attachments so far.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    fn guarded(
        &mut self,
        take: impl FnOnce(&mut Self) -> Result<Option<Packet>, SocketError>,
    ) -> Result<Option<Packet>, SocketError> {
        if self.failed {
            return Err(SocketError::AlreadyFailed);
        }
        let result = take(self);
        if result.is_err() {
            self.failed = true;
            self.waiting = None;
        }
        result
    }

    fn take_text(&mut self, text: &ByteString) -> Result<Option<Packet>, SocketError> {
        if self.parser == Parser::Msgpack {
            return Err(SocketError::UnexpectedText);
        }
        if self.waiting.is_some() {
            return Err(SocketError::TextInsteadOfAttachment);
        }
        self.check_size(text.len())?;
        let Decoded { packet, attachments } = decode(text, &self.limits)?;
        if attachments == 0 {
            return Ok(Some(packet));
        }
        let buffers = Vec::with_capacity(attachments);
        let (expected, bytes) = (attachments, text.len());
        self.waiting = Some(Box::new(Waiting { packet, expected, buffers, bytes }));
        Ok(None)
    }

    fn take_binary(&mut self, data: Bytes) -> Result<Option<Packet>, SocketError> {
        if self.parser == Parser::Msgpack {
            return msgpack::decode(&data, &self.limits).map(Some);
        }
        let mut waiting = self.waiting.take().ok_or(SocketError::UnexpectedAttachment)?;
        waiting.bytes = waiting.bytes.saturating_add(data.len());
        self.check_size(waiting.bytes)?;
        waiting.buffers.push(data);
        if waiting.buffers.len() < waiting.expected {
            self.waiting = Some(waiting);
            return Ok(None);
        }
        let Waiting { mut packet, buffers, .. } = *waiting;
        if let Body::Event { attachments, .. } | Body::Ack { attachments, .. } = &mut packet.body {
            *attachments = buffers;
        }
        Ok(Some(packet))
    }

    fn check_size(&self, bytes: usize) -> Result<(), SocketError> {
        let max = self.limits.max_packet_bytes;
        if bytes > max {
            return Err(SocketError::TooLarge { max });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
