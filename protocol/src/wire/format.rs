//! A format is a wire together with a vocabulary: what one rendering of an event
//! serves. Members of a room may use different formats; each is rendered once
//! per broadcast.

use std::sync::Arc;

use super::json;
use crate::{
    error::HubError,
    event::{Event, Reply, ReplyId, Request},
    id::RoomName,
    vocabulary::{Copy, Vocabulary},
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
}

impl Format {
    /// The format of the JSON wire in a vocabulary. The hub's own has a faster one.
    pub fn json(vocabulary: Arc<Vocabulary>) -> Self {
        if vocabulary.name() == "hubbub" { Self::Json } else { Self::JsonVocabulary(vocabulary) }
    }

    /// The wire, as logs and metrics show it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Json | Self::JsonVocabulary(_) => "json",
        }
    }

    /// The vocabulary's name.
    pub fn vocabulary(&self) -> &str {
        match self {
            Self::Json => "hubbub",
            Self::JsonVocabulary(vocabulary) => vocabulary.name(),
        }
    }

    /// The rooms that a session of this format joins by itself.
    pub fn auto_join(&self) -> &[RoomName] {
        match self {
            Self::Json => &[],
            Self::JsonVocabulary(vocabulary) => vocabulary.auto_join(),
        }
    }

    /// Whether the session that sent an event may be told it in another way than
    /// the others, see [`Format::event_for`].
    pub fn distinguishes_sender(&self) -> bool {
        match self {
            Self::Json => false,
            Self::JsonVocabulary(vocabulary) => vocabulary.distinguishes_sender(),
        }
    }

    /// Whether the answer to a publish holds what was stored.
    pub fn wants_published(&self) -> bool {
        match self {
            Self::Json => false,
            Self::JsonVocabulary(vocabulary) => vocabulary.wants_published(),
        }
    }

    /// Whether receipts name the message at their offset.
    pub fn wants_receipt_message(&self) -> bool {
        match self {
            Self::Json => false,
            Self::JsonVocabulary(vocabulary) => vocabulary.wants_receipt_message(),
        }
    }

    /// Reads one text frame. Whatever it holds, there is something to answer.
    pub fn decode(&self, text: &str) -> Request {
        match self {
            Self::Json => json::decode(text),
            Self::JsonVocabulary(vocabulary) => vocabulary.decode_json(text),
        }
    }

    /// Writes an event as the payload of one text frame; none if the vocabulary
    /// does not have the event.
    pub fn event(&self, event: &Event) -> Option<Vec<u8>> {
        self.event_for(event, Copy::Others)
    }

    /// As [`Format::event`], for the session that sent the event or the others.
    pub fn event_for(&self, event: &Event, copy: Copy) -> Option<Vec<u8>> {
        match self {
            Self::Json => Some(json::event(event)),
            Self::JsonVocabulary(vocabulary) => vocabulary.encode_json(event, copy),
        }
    }

    /// Writes the answer to a request as the payload of one text frame; none if
    /// no answer is expected.
    pub fn reply(&self, id: &ReplyId, reply: &Result<Reply, HubError>) -> Option<Vec<u8>> {
        match self {
            Self::Json => json::reply(id, reply),
            Self::JsonVocabulary(vocabulary) => vocabulary.reply_json(id, reply),
        }
    }
}
