//! From the TOML of a vocabulary to its tables.

use toml::de::DeTable;

use super::{
    Json, Vocabulary, Wires,
    error::VocabularyError,
    inbound::{self, Inbound},
    outbound::{self, Outbound},
    reader::{Entry, Reader},
    shape::{Member, Name, Rule, SenderCopy, Shape, To},
};
use crate::id::RoomName;

/// Most rooms in `auto_join`.
const MAX_AUTO_JOIN: usize = 16;

/// The keys at the top.
const KEYS: [&str; 14] = [
    "description",
    "wires",
    "time",
    "auto_join",
    "user_rooms",
    "unknown",
    "presence",
    "json",
    "in",
    "events",
    "out",
    "reply",
    "error",
    "connect_error",
];

pub(super) fn compile(
    name: &str,
    file: &str,
    text: &str,
) -> Result<Vocabulary, Vec<VocabularyError>> {
    let mut reader = Reader::new(file, text);
    let (document, faults) = DeTable::parse_recoverable(text);
    for fault in &faults {
        let at = fault.span().map_or(0, |span| span.start);
        reader.fault_at(at, "syntax", fault.message());
    }
    if !faults.is_empty() {
        return Err(reader.errors);
    }
    let mut vocabulary = Vocabulary::empty(name);
    let entries = reader.document(document.get_ref());
    // What the sections need to know comes first, wherever it stands.
    for entry in &entries {
        settings(&mut reader, entry, &mut vocabulary);
    }
    for entry in &entries {
        sections(&mut reader, entry, &mut vocabulary);
    }
    vocabulary.note_names();
    check(&mut reader, &entries, &vocabulary);
    reader.errors.sort_by_key(|error| error.line);
    if reader.errors.is_empty() { Ok(vocabulary) } else { Err(reader.errors) }
}

fn settings<'t>(reader: &mut Reader<'t>, entry: &Entry<'t>, vocabulary: &mut Vocabulary) {
    match entry.key {
        "description" => {
            reader.text(entry);
        }
        "wires" => {
            let texts = reader.texts(entry).unwrap_or_default();
            vocabulary.wires = Wires { json: false, socketio: false };
            for text in &texts {
                match *text {
                    "json" => vocabulary.wires.json = true,
                    "socketio" => vocabulary.wires.socketio = true,
                    _ => reader.fault(entry, format!("`{text}` is no wire: json or socketio")),
                }
            }
            if texts.is_empty() {
                reader.fault(entry, "names no wire: json, socketio or both");
            }
        }
        "time" => vocabulary.epoch_ms = outbound::time(reader, entry).unwrap_or_default(),
        "auto_join" => {
            for room in reader.texts(entry).unwrap_or_default() {
                match RoomName::new(room) {
                    Ok(room) if !room.is_reserved() => vocabulary.auto_join.push(room),
                    Ok(_) => reader.fault(entry, format!("the name `{room}` is reserved")),
                    Err(error) => reader.fault(entry, error.message),
                }
            }
            if vocabulary.auto_join.len() > MAX_AUTO_JOIN {
                reader.fault(entry, format!("expected at most {MAX_AUTO_JOIN} rooms"));
            }
        }
        "user_rooms" => vocabulary.user_rooms = reader.flag(entry).unwrap_or_default(),
        "unknown" => {
            vocabulary.ignore_unknown = reader.word(entry, &["error", "ignore"]) == Some("ignore");
        }
        "presence" => {
            vocabulary.hears_everybody = reader.word(entry, &["shared", "all"]) == Some("all");
        }
        "json" => json(reader, entry, &mut vocabulary.json),
        "in" | "events" | "out" | "reply" | "error" | "connect_error" => {}
        _ => reader.unknown(entry, &KEYS),
    }
}

fn json<'t>(reader: &mut Reader<'t>, section: &Entry<'t>, json: &mut Json) {
    for key in reader.table(section).unwrap_or_default() {
        match key.key {
            "type" => json.kind = reader.name(&key).unwrap_or("type").into(),
            "id" => json.id = reader.name(&key).map(Into::into),
            "ack" => json.ack = reader.name(&key).unwrap_or("ack").into(),
            _ => reader.unknown(&key, &["type", "id", "ack"]),
        }
    }
}

fn sections<'t>(reader: &mut Reader<'t>, entry: &Entry<'t>, vocabulary: &mut Vocabulary) {
    match entry.key {
        "in" => inbound::commands(reader, entry, &mut vocabulary.inbound),
        "out" => outbound::events(reader, entry, &mut vocabulary.outbound),
        "reply" => outbound::replies(reader, entry, &mut vocabulary.outbound),
        "error" => outbound::error(reader, entry, &mut vocabulary.outbound),
        "connect_error" => outbound::connect(reader, entry, &mut vocabulary.outbound),
        "events" => {
            for event in reader.table(entry).unwrap_or_default() {
                custom(reader, &event, vocabulary);
            }
        }
        _ => {}
    }
}

fn custom<'t>(reader: &mut Reader<'t>, event: &Entry<'t>, vocabulary: &mut Vocabulary) {
    if let Some(fault) = super::reader::name_fault(event.key) {
        reader.fault(event, fault);
    }
    let mut rest = Vec::new();
    let Some(custom) = inbound::custom(reader, event, vocabulary.wires.json, &mut rest) else {
        return;
    };
    for out in rest {
        match &custom.name {
            Some(name) => {
                let rules = outbound::custom(reader, &out, name);
                vocabulary.custom.insert(name.clone(), rules);
            }
            None => reader.fault(&out, "events that have no name here are written by [out.event]"),
        }
    }
    if vocabulary.inbound.insert(event.key.into(), Inbound::Custom(custom.into())).is_some() {
        reader.fault(event, "the event is in `in` as well");
    }
}

/// What is wrong only in the light of the whole.
fn check<'t>(reader: &mut Reader<'t>, entries: &[Entry<'t>], vocabulary: &Vocabulary) {
    let find = |key: &str| entries.iter().find(|entry| entry.key == key);
    if !vocabulary.wires.socketio
        && let Some(connect) = find("connect_error")
    {
        reader.fault(connect, "`wires` does not have socketio");
    }
    if vocabulary.inbound.is_empty() {
        reader.fault_at(0, "in", "there is no event that clients may send");
    }
    if !vocabulary.wires.json {
        if let Some(json) = find("json") {
            reader.fault(json, "`wires` does not have json");
        }
        return;
    }
    let kind = &vocabulary.json.kind;
    let mut faults: Vec<String> = Vec::new();
    let mut look = |shape: &Shape| match shape {
        Shape::Args(_) => {
            faults.push("`args` is for vocabularies with wires = [\"socketio\"]".into())
        }
        Shape::Object(members) => {
            let clash = |m: &Member| matches!(m, Member::One(name, ..) if name == kind);
            if members.iter().any(clash) {
                faults.push(format!("the field `{kind}` holds the event's name on the JSON wire"));
            }
        }
        Shape::All => {}
    };
    for rule in vocabulary.rules() {
        look(&rule.shape);
        if let SenderCopy::Own(_, shape) = &rule.sender {
            look(shape);
        }
    }
    let replies = vocabulary.outbound.replies.iter().filter_map(|reply| reply.shape.as_ref());
    replies.chain(vocabulary.outbound.error.as_ref().map(|(_, shape)| shape)).for_each(look);
    for fault in faults {
        reader.fault_at(0, "out", fault);
    }
}

impl Vocabulary {
    fn empty(name: &str) -> Self {
        Self {
            name: name.into(),
            wires: Wires { json: true, socketio: true },
            json: Json { kind: "type".into(), id: None, ack: "ack".into() },
            epoch_ms: false,
            auto_join: Vec::new(),
            user_rooms: false,
            ignore_unknown: false,
            hears_everybody: false,
            inbound: inbound::Table::new(),
            outbound: Outbound::default(),
            custom: std::collections::HashMap::new(),
            own_names: std::collections::HashSet::new(),
            distinguishes: false,
            wants: super::Wants::default(),
        }
    }

    /// Every rule of an event, custom ones too.
    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.outbound.kinds.iter().chain(self.custom.values()).flatten()
    }

    /// Notes the names that are the vocabulary's own.
    fn note_names(&mut self) {
        let mut names: std::collections::HashSet<Box<str>> = std::collections::HashSet::new();
        let mut distinguishes = false;
        let mut note = |name: &Name| {
            if let Name::Const(name) = name {
                names.insert(name.clone());
            }
        };
        for rule in self.outbound.kinds.iter().flatten() {
            note(&rule.name);
            if let SenderCopy::Own(name, _) = &rule.sender {
                note(name);
            }
        }
        for rule in self.rules() {
            distinguishes |= !matches!(rule.sender, SenderCopy::Same);
        }
        names.extend(self.outbound.error.iter().map(|(name, _)| name.clone()));
        names.extend(self.outbound.replies.iter().filter_map(|reply| reply.event.clone()));
        names.insert(self.json.ack.clone());
        self.own_names = names;
        self.distinguishes = distinguishes;
        let stored = ["roomId", "userId", "username", "content", "data", "timestamp"];
        let published = outbound::reply_slot("published")
            .and_then(|slot| self.outbound.replies[slot].shape.as_ref());
        let of = |kind| outbound::slot(Some(kind)).map_or(&[][..], |s| &self.outbound.kinds[s]);
        let receipts = of(crate::event::EventKind::Receipt);
        self.wants = super::Wants {
            published: published.is_some_and(|shape| shape.asks_for(&stored)),
            receipt_message: receipts
                .iter()
                .any(|rule| rule.to == To::Author || rule.shape.asks_for(&["messageId"])),
        };
    }
}
