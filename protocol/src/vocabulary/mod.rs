//! Vocabularies: the names and shapes of events, from TOML to tables.
//!
//! A wire frames events, a vocabulary names and shapes them. The text is
//! compiled once, at start; every mistake in it is told with its line. What is
//! left to do for a frame is to look up a name and to copy fields.
//!
//! | file | holds |
//! |---|---|
//! | `compile`, `reader` | TOML to tables, with every mistake |
//! | `inbound`, `args`, `build` | event names and places of arguments to commands |
//! | `outbound`, `shape`, `bag` | events and answers to names and JSON |
//! | [`shipped`] | the vocabularies that come with the hub |
//!
//! docs/vocabularies.md teaches the format.

mod args;
mod bag;
mod build;
mod compile;
mod decode;
mod encode;
mod error;
mod inbound;
mod outbound;
mod reader;
mod shape;
pub mod shipped;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

pub use self::{
    encode::{Answer, Copy, Rendered},
    error::VocabularyError,
};
use self::{inbound::Table, outbound::Outbound, shape::Rule};
use crate::{error::HubError, id::RoomName};

/// On which wires a vocabulary may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wires {
    /// One JSON object per text frame.
    pub json: bool,
    /// Socket.IO.
    pub socketio: bool,
}

/// How events are framed on the JSON wire.
#[derive(Clone, Debug)]
struct Json {
    /// The field with the event's name.
    kind: Box<str>,
    /// The field with a request's id; none if requests are never answered.
    id: Option<Box<str>>,
    /// The name of the answer to a request.
    ack: Box<str>,
}

/// A compiled vocabulary.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    name: Box<str>,
    wires: Wires,
    json: Json,
    epoch_ms: bool,
    auto_join: Vec<RoomName>,
    user_rooms: bool,
    ignore_unknown: bool,
    hears_everybody: bool,
    inbound: Table,
    outbound: Outbound,
    custom: HashMap<Box<str>, Vec<Rule>>,
    own_names: HashSet<Box<str>>,
    distinguishes: bool,
    wants: Wants,
}

/// What costs the hub something to find out, and is therefore only told to those
/// who ask.
#[derive(Clone, Copy, Default, Debug)]
struct Wants {
    published: bool,
    receipt_message: bool,
}

/// Largest text of a vocabulary, in bytes.
pub const MAX_TEXT: usize = 1024 * 1024;

impl Vocabulary {
    /// Compiles the TOML text of a vocabulary. `file` names the text in errors.
    ///
    /// # Errors
    /// Everything that is wrong with it, by line.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Self, Vec<VocabularyError>> {
        if text.len() > MAX_TEXT {
            return Err(vec![VocabularyError {
                file: file.to_owned(),
                line: 1,
                key: "file".to_owned(),
                reason: format!("is larger than {MAX_TEXT} bytes"),
            }]);
        }
        compile::compile(name, file, text)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it may be used.
    pub fn wires(&self) -> Wires {
        self.wires
    }

    /// The rooms that a session joins by itself.
    pub fn auto_join(&self) -> &[RoomName] {
        &self.auto_join
    }

    /// Whether clients may say who they are by an event, after they have connected.
    pub fn authenticates(&self) -> bool {
        self.inbound.values().any(|inbound| match inbound {
            inbound::Inbound::Commands(rules) => {
                rules.iter().any(|rule| rule.verb == inbound::Verb::Auth)
            }
            inbound::Inbound::Custom(_) => false,
        })
    }

    /// Whether its clients are told of everybody's presence, and not only of those
    /// with whom they share a room.
    pub fn hears_everybody(&self) -> bool {
        self.hears_everybody
    }

    /// What a client is told whose connection is refused: the vocabulary's own
    /// sentence, or the hub's. `no_token` says that it brought no token at all.
    pub fn connect_error<'a>(&'a self, error: &'a HubError, no_token: bool) -> &'a str {
        let find = |code| self.outbound.connect.iter().find(|(known, _)| *known == code);
        let none = find(outbound::NO_TOKEN).filter(|_| no_token);
        none.or_else(|| find(error.code.as_str())).map_or(&*error.message, |(_, text)| text)
    }

    /// Whether the session that sent an event may be told it in another way than
    /// the others: only then the two copies need a rendering each.
    pub fn distinguishes_sender(&self) -> bool {
        self.distinguishes
    }

    /// Whether the answer to a publish holds what was stored.
    pub fn wants_published(&self) -> bool {
        self.wants.published
    }

    /// Whether receipts name the message at their offset.
    pub fn wants_receipt_message(&self) -> bool {
        self.wants.receipt_message
    }
}

/// Appends a JSON string. Escapes are those of the JSON wire.
fn json_text(out: &mut String, text: &str) {
    out.push('"');
    let mut start = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[start..at]);
        start = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            _ => out.push_str(&format!("\\u{byte:04x}")),
        }
    }
    out.push_str(&text[start..]);
    out.push('"');
}
