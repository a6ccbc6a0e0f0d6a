//! A format is a wire together with a vocabulary: what one rendering of an event
//! serves. Members of a room may use different formats; each is rendered once
//! per broadcast.

use super::json;
use crate::{
    error::HubError,
    event::{Event, Reply, ReplyId, Request},
};

/// Which format a session speaks, as an index into the hub's list of formats.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FormatId(pub u16);

/// A wire together with a vocabulary.
#[derive(Clone, Debug)]
pub enum Format {
    /// One JSON object per text frame, in the `hubbub` vocabulary.
    Json,
}

impl Format {
    /// The name that logs and metrics show.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Json => "json",
        }
    }

    /// Reads one text frame. Whatever it holds, there is something to answer.
    pub fn decode(&self, text: &str) -> Request {
        match self {
            Self::Json => json::decode(text),
        }
    }

    /// Writes an event as the payload of one text frame; none if the vocabulary
    /// does not have the event.
    pub fn event(&self, event: &Event) -> Option<Vec<u8>> {
        match self {
            Self::Json => Some(json::event(event)),
        }
    }

    /// Writes the answer to a request as the payload of one text frame; none if
    /// no answer is expected.
    pub fn reply(&self, id: &ReplyId, reply: &Result<Reply, HubError>) -> Option<Vec<u8>> {
        match self {
            Self::Json => json::reply(id, reply),
        }
    }
}
