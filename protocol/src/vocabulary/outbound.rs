//! What clients are sent: compiles `[out]`, `[reply]` and `[error]`.

use super::{
    error::suggest,
    reader::{Entries, Entry, Reader},
    shape::{Field, Member, Name, Rule, SenderCopy, Shape, To, Value},
};
use crate::event::EventKind;

/// The part of a list (`members`) that is no event of its own.
pub(super) const MEMBER: &str = "member";

/// What `[out]` may have, with the fields of each.
const KINDS: [(&str, &[&str]); 16] = [
    ("authenticated", &["sessionId", "userId", "nodeId", "timestamp", "receipts"]),
    ("joined", &["roomId", "epoch", "offset", "members", "memberCount", "recovered", "messages"]),
    ("left", &["roomId"]),
    ("message", STORED),
    ("direct", STORED),
    (
        "event",
        &[
            "id",
            "roomId",
            "userId",
            "username",
            "name",
            "data",
            "nodeId",
            "epoch",
            "offset",
            "timestamp",
        ],
    ),
    ("user_joined", &["roomId", "userId", "username", "timestamp", "nodeId"]),
    ("user_left", &["roomId", "userId", "username", "timestamp"]),
    ("typing", &["roomId", "userId", "username", "isTyping"]),
    ("presence", &["userId", "status", "socketCount", "timestamp", "username"]),
    ("receipt", &["roomId", "userId", "offset", "status", "messageId"]),
    ("notification", &["title", "body", "data"]),
    ("token_expiring", &["at"]),
    ("closing", &["reason", "retryAfterMs"]),
    ("pong", &[]),
    (MEMBER, &["userId", "username", "status", "socketCount"]),
];

const STORED: &[&str] =
    &["id", "roomId", "userId", "username", "content", "data", "epoch", "offset", "timestamp"];

/// The answers that `[reply]` may have, with the fields of each. `ok` stands for
/// all that are not named, `error` for refusals.
const REPLIES: [(&str, &[&str]); 8] = [
    (
        "ok",
        &[
            "messageId",
            "epoch",
            "offset",
            "roomId",
            "recovered",
            "messages",
            "members",
            "memberCount",
            "hasMore",
        ],
    ),
    ("done", &[]),
    (
        "published",
        &[
            "messageId",
            "epoch",
            "offset",
            "roomId",
            "userId",
            "username",
            "content",
            "data",
            "timestamp",
        ],
    ),
    ("sent", &["messageId"]),
    ("joined", &["roomId", "epoch", "offset", "recovered"]),
    ("history", &["roomId", "epoch", "messages", "hasMore"]),
    ("members", &["roomId", "members", "memberCount", "hasMore"]),
    ("error", ERROR),
];

const ERROR: &[&str] = &["code", "message"];

/// Every kind and answer with its fields.
#[cfg(test)]
pub(super) fn known() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    KINDS.iter().chain(&REPLIES[1..]).copied()
}

/// The place of a kind in [`Outbound::kinds`].
pub(super) fn slot(kind: Option<EventKind>) -> Option<usize> {
    let name = kind.map_or(MEMBER, EventKind::as_str);
    KINDS.iter().position(|(known, _)| *known == name)
}

/// The place of an answer in [`Outbound::replies`].
pub(super) fn reply_slot(name: &str) -> Option<usize> {
    REPLIES.iter().position(|(known, _)| *known == name)
}

/// How one kind of answer is written.
#[derive(Clone, Debug, Default)]
pub(super) struct ReplyRule {
    pub(super) shape: Option<Shape>,
    /// Under which it is sent when the request asked for no answer.
    pub(super) event: Option<Box<str>>,
}

/// All that clients are sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbound {
    /// By [`slot`]; the first rule that applies is taken.
    pub(super) kinds: [Vec<Rule>; 16],
    pub(super) replies: [ReplyRule; 8],
    /// Sentences of a refused connection by error code, or [`NO_TOKEN`].
    pub(super) connect: Vec<(&'static str, Box<str>)>,
    /// The event that tells of an error that answers no ack, with its shape.
    pub(super) error: Option<(Box<str>, Shape)>,
    /// Sentences by error code.
    pub(super) messages: Vec<(&'static str, Box<str>)>,
}

/// Reads `[out]`.
pub(super) fn events<'t>(reader: &mut Reader<'t>, section: &Entry<'t>, into: &mut Outbound) {
    for kind in reader.table(section).unwrap_or_default() {
        let found = KINDS.iter().position(|(name, _)| *name == kind.key);
        let Some(slot) = found else {
            let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
            reader.unknown(&kind, &names);
            continue;
        };
        let (name, fields) = KINDS[slot];
        into.kinds[slot] = rules(reader, &kind, name, fields);
    }
}

/// Reads the rules of a custom event.
pub(super) fn custom<'t>(reader: &mut Reader<'t>, entry: &Entry<'t>, name: &str) -> Vec<Rule> {
    let fields = KINDS.iter().find(|(kind, _)| *kind == "event").map_or(STORED, |(_, f)| f);
    rules(reader, entry, name, fields)
}

fn rules<'t>(
    reader: &mut Reader<'t>,
    entry: &Entry<'t>,
    name: &str,
    fields: &[&'static str],
) -> Vec<Rule> {
    let tables = reader.tables(entry).unwrap_or_default();
    let kind = if fields.contains(&"name") { "event" } else { name };
    tables.into_iter().map(|keys| rule(reader, keys, (kind, name), fields)).collect()
}

fn rule<'t>(
    reader: &mut Reader<'t>,
    keys: Entries<'t>,
    (kind, name): (&str, &str),
    fields: &[&'static str],
) -> Rule {
    let mut rule = Rule {
        to: recipients(kind)[0].1,
        when: Vec::new(),
        name: Name::Const(name.into()),
        shape: Shape::All,
        sender: SenderCopy::Same,
    };
    let mut sender = None;
    for entry in keys {
        match entry.key {
            "when" => {
                for condition in reader.table(&entry).unwrap_or_default() {
                    if known_field(reader, &condition, condition.key, fields) {
                        let wanted = reader.json(&condition).map(|json| plain(&json));
                        rule.when.extend(wanted.map(|w| (condition.key.into(), w)));
                    }
                }
            }
            "to" => {
                let known = recipients(kind);
                let words: Vec<&'static str> = known.iter().map(|(word, _)| *word).collect();
                let word = reader.word(&entry, &words);
                rule.to =
                    known.iter().find(|(w, _)| Some(*w) == word).map_or(rule.to, |(_, to)| *to);
            }
            "sender" => sender = Some(entry),
            _ => named_shape(reader, &entry, fields, &mut rule.name, &mut rule.shape, true),
        }
    }
    if let Some(entry) = sender {
        rule.sender = if entry.is_false() {
            SenderCopy::None
        } else {
            let (mut name, mut shape) = (rule.name.clone(), rule.shape.clone());
            for key in reader.table(&entry).unwrap_or_default() {
                named_shape(reader, &key, fields, &mut name, &mut shape, false);
            }
            SenderCopy::Own(name, shape)
        };
    }
    rule
}

/// Who may be told a kind of event, what is usual first.
fn recipients(kind: &str) -> &'static [(&'static str, To)] {
    match kind {
        "user_joined" | "typing" | "presence" => {
            &[("others", To::Others), ("everyone", To::Everyone)]
        }
        // Who leaves hears of it by `left`.
        "user_left" => &[("others", To::Others)],
        "receipt" => &[("everyone", To::Everyone), ("author", To::Author)],
        _ => &[("everyone", To::Everyone)],
    }
}

/// A condition's value as text: a JSON string without its quotes.
fn plain(json: &str) -> Box<str> {
    match serde_json::from_str::<String>(json) {
        Ok(text) => text.into(),
        Err(_) => json.into(),
    }
}

/// Reads `event`, `fields` or `args`.
fn named_shape<'t>(
    reader: &mut Reader<'t>,
    entry: &Entry<'t>,
    fields: &[&'static str],
    name: &mut Name,
    shape: &mut Shape,
    with_more: bool,
) {
    match entry.key {
        "event" if entry.is_text() => {
            if let Some(text) = reader.name(entry) {
                *name = Name::Const(text.into());
            }
        }
        "event" => {
            for key in reader.table(entry).unwrap_or_default() {
                match key.key {
                    "from" => {
                        if let Some(field) = reader.text(&key)
                            && known_field(reader, &key, field, fields)
                        {
                            *name = Name::Field(field.into());
                        }
                    }
                    _ => reader.unknown(&key, &["from"]),
                }
            }
        }
        "fields" => *shape = Shape::Object(members(reader, entry, fields)),
        "args" => {
            let mut values = Vec::new();
            for item in reader.items(entry).unwrap_or_default() {
                values.extend(value(reader, &item, fields));
            }
            *shape = Shape::Args(values);
        }
        _ if with_more => {
            reader.unknown(entry, &["event", "fields", "args", "when", "sender", "to"])
        }
        _ => reader.unknown(entry, &["event", "fields", "args"]),
    }
}

fn members<'t>(reader: &mut Reader<'t>, entry: &Entry<'t>, fields: &[&'static str]) -> Vec<Member> {
    let mut members = Vec::new();
    for key in reader.table(entry).unwrap_or_default() {
        if key.key == "..." {
            match reader.text(&key) {
                Some("*") => members.push(Member::All),
                Some(field) if known_field(reader, &key, field, fields) => {
                    members.push(Member::Spread(field.into()));
                }
                _ => {}
            }
            continue;
        }
        if let Some(value) = value(reader, &key, fields) {
            let mut json = String::new();
            super::json_text(&mut json, key.key);
            members.push(Member::One(key.key.into(), json.into(), value));
        }
    }
    members
}

fn value<'t>(reader: &mut Reader<'t>, entry: &Entry<'t>, fields: &[&'static str]) -> Option<Value> {
    let mut field = Field::default();
    if !entry.is_table() {
        let from = reader.text(entry)?;
        if !known_field(reader, entry, from, fields) {
            return None;
        }
        field.from = from.into();
        return Some(Value::Field(field.into()));
    }
    let mut other = None;
    for key in reader.table(entry)? {
        match key.key {
            "const" => other = reader.json(&key).map(Value::Const),
            "object" => other = Some(Value::Object(members(reader, &key, fields))),
            "from" => {
                if let Some(from) = reader.text(&key)
                    && known_field(reader, &key, from, fields)
                {
                    field.from = from.into();
                }
            }
            "time" => field.epoch_ms = time(reader, &key),
            "strip" => field.strip = reader.name(&key).unwrap_or_default().into(),
            "prefix" => field.prefix = reader.name(&key).unwrap_or_default().into(),
            "default" => field.default = reader.json(&key),
            "map" => {
                for pair in reader.table(&key).unwrap_or_default() {
                    let json = reader.json(&pair);
                    field.map.extend(json.map(|json| (Box::from(pair.key), json)));
                }
            }
            _ => reader.unknown(
                &key,
                &["from", "const", "object", "time", "strip", "prefix", "default", "map"],
            ),
        }
    }
    match other {
        None if field.from.is_empty() => {
            reader.fault(entry, "says neither `from` nor `const` nor `object`");
            None
        }
        None => Some(Value::Field(field.into())),
        Some(_) if !field.from.is_empty() => {
            reader.fault(entry, "`from`, `const` and `object` exclude each other");
            None
        }
        other => other,
    }
}

/// Reads how times are written; true for epoch milliseconds.
pub(super) fn time<'t>(reader: &mut Reader<'t>, entry: &Entry<'t>) -> Option<bool> {
    reader.word(entry, &["rfc3339", "epoch_ms"]).map(|word| word == "epoch_ms")
}

fn known_field(reader: &mut Reader<'_>, at: &Entry<'_>, field: &str, fields: &[&str]) -> bool {
    let known = fields.contains(&field);
    if !known {
        reader.fault(at, format!("there is no field `{field}` here; {}", suggest(field, fields)));
    }
    known
}

/// Reads `[reply]`.
pub(super) fn replies<'t>(reader: &mut Reader<'t>, section: &Entry<'t>, into: &mut Outbound) {
    for reply in reader.table(section).unwrap_or_default() {
        let found = REPLIES.iter().position(|(name, _)| *name == reply.key);
        let Some(slot) = found else {
            let names: Vec<&str> = REPLIES.iter().map(|(name, _)| *name).collect();
            reader.unknown(&reply, &names);
            continue;
        };
        let fields = REPLIES[slot].1;
        let mut rule = ReplyRule::default();
        for key in reader.table(&reply).unwrap_or_default() {
            match key.key {
                "event" => rule.event = reader.name(&key).map(Into::into),
                "fields" | "args" => {
                    let (mut name, mut shape) = (Name::Const("".into()), Shape::All);
                    named_shape(reader, &key, fields, &mut name, &mut shape, false);
                    rule.shape = Some(shape);
                }
                _ => reader.unknown(&key, &["event", "fields", "args"]),
            }
        }
        into.replies[slot] = rule;
    }
}

/// In `[connect_error]`: there was no token at all.
pub(super) const NO_TOKEN: &str = "no_token";

/// Reads `[connect_error]`.
pub(super) fn connect<'t>(reader: &mut Reader<'t>, section: &Entry<'t>, into: &mut Outbound) {
    let mut codes = crate::error::ErrorCode::ALL.map(|code| code.as_str()).to_vec();
    codes.push(NO_TOKEN);
    for pair in reader.table(section).unwrap_or_default() {
        match codes.iter().find(|code| **code == pair.key) {
            Some(code) => {
                let text = reader.text(&pair);
                into.connect.extend(text.map(|text| (*code, text.into())));
            }
            None => reader.unknown(&pair, &codes),
        }
    }
}

/// Reads `[error]`.
pub(super) fn error<'t>(reader: &mut Reader<'t>, section: &Entry<'t>, into: &mut Outbound) {
    let (mut name, mut shape) = (Name::Const(EventKind::Error.as_str().into()), Shape::All);
    for key in reader.table(section).unwrap_or_default() {
        match key.key {
            "messages" => {
                let codes = crate::error::ErrorCode::ALL.map(|code| code.as_str());
                for pair in reader.table(&key).unwrap_or_default() {
                    match codes.iter().find(|code| **code == pair.key) {
                        Some(code) => {
                            let text = reader.text(&pair);
                            into.messages.extend(text.map(|text| (*code, text.into())));
                        }
                        None => reader.unknown(&pair, &codes),
                    }
                }
            }
            "event" | "fields" | "args" => {
                named_shape(reader, &key, ERROR, &mut name, &mut shape, false);
            }
            _ => reader.unknown(&key, &["event", "fields", "args", "messages"]),
        }
    }
    if let Name::Const(name) = name {
        into.error = Some((name, shape));
    }
}
