//! A format is a wire together with a vocabulary: what one rendering of an event
//! serves. Members of a room may use different formats; each is rendered once
//! per broadcast.

use std::sync::Arc;

use bytestring::ByteString;

use super::{
    json,
    socketio::{self, Parser, RawJson, engine_frame, msgpack, write_ack, write_event},
};
use crate::{
    error::HubError,
    event::{Event, Reply, ReplyId, Request},
    id::RoomName,
    record::Stored,
    recovery,
    vocabulary::{Answer, Copy, Rendered, Vocabulary},
};

/// Which format a session speaks, as an index into the hub's list of formats.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FormatId(pub u16);

/// A wire together with a vocabulary.
#[derive(Clone, Debug)]
pub enum Format {
    /// One JSON object per text frame, in the `hubbub` vocabulary.
    Json,
    /// One JSON object per text frame, in another vocabulary.
    JsonVocabulary(Arc<Vocabulary>),
    /// Socket.IO packets of one namespace. What is written is the whole payload of a
    /// frame, Engine.IO prefix included, so one rendering serves every member on every
    /// transport.
    SocketIo {
        /// The namespace.
        namespace: ByteString,
        /// The vocabulary; none for `hubbub`, which has a faster way.
        vocabulary: Option<Arc<Vocabulary>>,
        /// Whether events carry the offsets of connection state recovery.
        offsets: bool,
        /// How packets are written. As msgpack they are rendered as text first, and
        /// are the payloads of binary frames.
        parser: Parser,
    },
}

impl Format {
    /// The format of the JSON wire in a vocabulary. The hub's own has a faster one.
    pub fn json(vocabulary: Arc<Vocabulary>) -> Self {
        if vocabulary.name() == "hubbub" { Self::Json } else { Self::JsonVocabulary(vocabulary) }
    }

    /// The format of a Socket.IO namespace in a vocabulary; none for `hubbub`.
    pub fn socketio(namespace: ByteString, vocabulary: Option<Arc<Vocabulary>>) -> Self {
        let vocabulary = vocabulary.filter(|vocabulary| vocabulary.name() != "hubbub");
        Self::SocketIo { namespace, vocabulary, offsets: false, parser: Parser::Default }
    }

    /// The same for clients with another parser.
    #[must_use]
    pub fn with_parser(mut self, wanted: Parser) -> Self {
        if let Self::SocketIo { parser, .. } = &mut self {
            *parser = wanted;
        }
        self
    }

    /// The same with offsets, for sessions that can be recovered: each stored event
    /// ends with one more argument, its [offset](crate::recovery). An event that is
    /// not stored and would end with a text gets a last argument `null`, since a
    /// client takes every text at the end for an offset.
    #[must_use]
    pub fn with_offsets(mut self) -> Self {
        if let Self::SocketIo { offsets, .. } = &mut self {
            *offsets = true;
        }
        self
    }

    /// Whether events carry the offsets of connection state recovery.
    pub fn has_offsets(&self) -> bool {
        matches!(self, Self::SocketIo { offsets: true, .. })
    }

    /// The wire, as logs and metrics show it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Json | Self::JsonVocabulary(_) => "json",
            Self::SocketIo { .. } => "socketio",
        }
    }

    /// The tables of a vocabulary other than the hub's own.
    fn tables(&self) -> Option<&Vocabulary> {
        match self {
            Self::Json => None,
            Self::JsonVocabulary(vocabulary) => Some(vocabulary),
            Self::SocketIo { vocabulary, .. } => vocabulary.as_deref(),
        }
    }

    /// The vocabulary's name.
    pub fn vocabulary(&self) -> &str {
        self.tables().map_or("hubbub", Vocabulary::name)
    }

    /// The rooms that a session of this format joins by itself.
    pub fn auto_join(&self) -> &[RoomName] {
        self.tables().map_or(&[], Vocabulary::auto_join)
    }

    /// Whether the session that sent an event may be told it in another way than
    /// the others, see [`Format::event_for`].
    pub fn distinguishes_sender(&self) -> bool {
        self.tables().is_some_and(Vocabulary::distinguishes_sender)
    }

    /// Which rendering a copy is, see [`Vocabulary::copy`].
    pub fn copy(&self, event: &Event, copy: Copy) -> Copy {
        match (self.tables(), copy) {
            (Some(tables), _) => tables.copy(event, copy),
            (None, Copy::Own) if !matches!(event, Event::Receipt(_)) => Copy::Own,
            (None, _) => Copy::Others,
        }
    }

    /// Whether its sessions are told of everybody's presence.
    pub fn hears_everybody(&self) -> bool {
        self.tables().is_some_and(Vocabulary::hears_everybody)
    }

    /// Whether the answer to a publish holds what was stored.
    pub fn wants_published(&self) -> bool {
        self.tables().is_some_and(Vocabulary::wants_published)
    }

    /// Whether receipts name the message at their offset.
    pub fn wants_receipt_message(&self) -> bool {
        self.tables().is_some_and(Vocabulary::wants_receipt_message)
    }

    /// Reads one text frame. Whatever it holds, there is something to answer. On a
    /// wire that cuts its frames into events first, ask [`decode_event`](Self::decode_event).
    pub fn decode(&self, text: &str) -> Request {
        match self {
            Self::Json => json::decode(text),
            Self::JsonVocabulary(vocabulary) => vocabulary.decode_json(text),
            Self::SocketIo { .. } => Request {
                reply: ReplyId::None,
                command: Err(HubError::bad_request("the frame is not an event")),
            },
        }
    }

    /// Reads one event of the Socket.IO wire: its name, its arguments, and the ack
    /// id if the client wants an answer.
    pub fn decode_event(&self, name: &str, args: &[RawJson], id: Option<u64>) -> Request {
        match self {
            Self::SocketIo { vocabulary: None, .. } => socketio::hubbub::decode(name, args, id),
            Self::SocketIo { vocabulary: Some(vocabulary), .. } => {
                let args: Vec<&str> = args.iter().map(RawJson::get).collect();
                vocabulary.decode_event(name, &args, id)
            }
            Self::Json | Self::JsonVocabulary(_) => Request {
                reply: id.map_or(ReplyId::None, ReplyId::SocketIo),
                command: Err(HubError::bad_request("the wire has no such events")),
            },
        }
    }

    /// Writes an event as the payload of one frame: binary if
    /// [`msgpack::is_packet`], else text; none if the vocabulary does not have the event.
    pub fn event(&self, event: &Event) -> Option<Vec<u8>> {
        self.event_for(event, Copy::Others)
    }

    /// As [`Format::event`], for the session that sent the event, those of the user
    /// it is about, or the others.
    pub fn event_for(&self, event: &Event, copy: Copy) -> Option<Vec<u8>> {
        self.finish(self.text_for(event, copy)?)
    }

    /// An event as text.
    fn text_for(&self, event: &Event, copy: Copy) -> Option<Vec<u8>> {
        if self.tables().is_none() && self.copy(event, copy) == Copy::Own {
            return None;
        }
        match self {
            Self::Json => Some(json::event(event)),
            Self::JsonVocabulary(vocabulary) => vocabulary.encode_json(event, copy),
            Self::SocketIo { namespace, vocabulary, offsets, .. } => {
                let mut packet = match vocabulary {
                    None => socketio::hubbub::event(namespace, event)?,
                    Some(vocabulary) => packet(namespace, &vocabulary.encode(event, copy)?),
                };
                if *offsets {
                    write_offset(&mut packet, event);
                }
                Some(packet)
            }
        }
    }

    /// Writes an event about the session itself with where the session stands
    /// (see [`crate::recovery::Tail`]) where events carry offsets.
    pub fn event_at(&self, event: &Event, tail: &str) -> Option<Vec<u8>> {
        let mut payload = self.text_for(event, Copy::Others)?;
        if self.has_offsets() && payload.ends_with(b"]") {
            end_with(&mut payload, tail);
        }
        self.finish(payload)
    }

    /// How many bytes before the end of a stored event a session's own tail is put into
    /// its offset.
    pub fn offset_end(&self, stored: &Stored) -> usize {
        match self {
            Self::SocketIo { parser: Parser::Msgpack, .. } => {
                let own = own_offset(stored).len();
                msgpack::text_head(own) + own
            }
            _ => OFFSET_END.len(),
        }
    }

    /// Writes that the hub ends a session in a namespace; none on a wire without them.
    pub fn disconnect(&self) -> Option<Vec<u8>> {
        let Self::SocketIo { namespace, .. } = self else { return None };
        let bye = engine_frame(|out| socketio::write_disconnect(out, namespace));
        self.finish(bye.into_bytes())
    }

    /// From text to what travels.
    fn finish(&self, payload: Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Self::SocketIo { parser: Parser::Msgpack, .. } => msgpack::from_frame(&payload),
            _ => Some(payload),
        }
    }

    /// Writes the answer to a request as the payload of one frame, as
    /// [`event`](Self::event) does; none if no answer is expected.
    pub fn reply(&self, id: &ReplyId, reply: &Result<Reply, HubError>) -> Option<Vec<u8>> {
        self.finish(self.reply_text(id, reply)?)
    }

    fn reply_text(&self, id: &ReplyId, reply: &Result<Reply, HubError>) -> Option<Vec<u8>> {
        match self {
            Self::Json => json::reply(id, reply),
            Self::JsonVocabulary(vocabulary) => vocabulary.reply_json(id, reply),
            Self::SocketIo { namespace, vocabulary: None, .. } => {
                socketio::hubbub::reply(namespace, id, reply)
            }
            Self::SocketIo { namespace, vocabulary: Some(vocabulary), .. } => {
                Some(match (vocabulary.reply(id, reply)?, id) {
                    (Answer::Ack(args), ReplyId::SocketIo(id)) => {
                        let text =
                            engine_frame(|out| write_ack(out, namespace, Some(*id), &args, 0));
                        text.into_bytes()
                    }
                    // Only who has an id is answered by an ack.
                    (Answer::Ack(_), _) => return None,
                    (Answer::Event(event), _) => packet(namespace, &event),
                })
            }
        }
    }
}

/// An event of a vocabulary as the payload of a frame.
fn packet(namespace: &str, event: &Rendered) -> Vec<u8> {
    engine_frame(|out| write_event(out, namespace, &event.name, &event.args, None, 0)).into_bytes()
}

/// How a rendered event with an offset ends: what a session's own tail is put
/// before.
const OFFSET_END: &str = "\"]";

/// Ends a rendered event with what keeps or guards the client's offset.
fn write_offset(packet: &mut Vec<u8>, event: &Event) {
    if let Event::Stored(stored) = event {
        end_with(packet, &own_offset(stored));
    } else if packet.ends_with(OFFSET_END.as_bytes()) {
        packet.pop();
        packet.extend_from_slice(b",null]");
    }
}

/// The part of an offset that is everybody's.
fn own_offset(stored: &Stored) -> String {
    let mut own = String::with_capacity(40);
    recovery::write_own(&mut own, &stored.record.room, stored.position);
    own
}

/// Puts one more text at the end of a rendered event.
fn end_with(packet: &mut Vec<u8>, text: &str) {
    packet.pop();
    packet.extend_from_slice(b",\"");
    packet.extend_from_slice(text.as_bytes());
    packet.extend_from_slice(OFFSET_END.as_bytes());
}
