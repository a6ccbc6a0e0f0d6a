//! What clients send: event names to commands, compiled from `[in]` and
//! `[events]`.

use std::{collections::HashMap, sync::Arc};

use super::{
    args::Place,
    reader::{Entries, Entry, Reader},
};

/// What an event asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    Auth,
    Join,
    Leave,
    Message,
    Direct,
    Typing,
    Presence,
    Read,
    Delivered,
    Event,
    History,
    Members,
    Batch,
    Ping,
    Ignore,
}

/// The commands by name, with the arguments they take.
const VERBS: [(&str, Verb, &[&str]); 15] = [
    ("auth", Verb::Auth, &["token", "userId", "username"]),
    ("join", Verb::Join, &["roomId", "since"]),
    ("leave", Verb::Leave, &["roomId"]),
    ("message", Verb::Message, &["roomId", "content", "data", "key"]),
    ("direct", Verb::Direct, &["userId", "content", "data", "key"]),
    ("typing", Verb::Typing, &["roomId", "isTyping"]),
    ("presence", Verb::Presence, &["status"]),
    ("read", Verb::Read, &["roomId", "offset"]),
    ("delivered", Verb::Delivered, &["roomId", "offset"]),
    ("event", Verb::Event, &["roomId", "name", "data", "volatile", "key"]),
    ("history", Verb::History, &["roomId", "after", "before", "limit"]),
    ("members", Verb::Members, &["roomId", "after", "limit"]),
    ("batch", Verb::Batch, &["messages"]),
    ("ping", Verb::Ping, &[]),
    ("ignore", Verb::Ignore, &[]),
];

/// Where one argument's value comes from.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    /// The first of these that is there.
    pub(super) places: Vec<Place>,
    /// A JSON value if none is.
    pub(super) default: Option<Box<str>>,
    /// Texts that stand for other values (JSON).
    pub(super) map: Vec<(Box<str>, Box<str>)>,
    /// Taken from the front of a text, if it is there.
    pub(super) strip: Box<str>,
    /// Put in front of a text.
    pub(super) prefix: Box<str>,
    /// Whether a number counts as its text.
    pub(super) numbers: bool,
}

/// One command of an event.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) verb: Verb,
    pub(super) args: Vec<(&'static str, Source)>,
    /// A message joins its room first.
    pub(super) join: bool,
    /// With a value there the event is one of the hub's that came back.
    pub(super) echo: Option<Place>,
}

/// Who may send a custom event.
#[derive(Clone, Debug)]
pub(super) enum Senders {
    Members,
    Backend,
    Roles(Arc<[Box<str>]>),
}

/// Who gets a custom event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    Room,
    User,
    Everyone,
}

/// A custom event that clients may send.
#[derive(Clone, Debug)]
pub(super) struct Custom {
    /// Its name in the hub; none for the name under which it came.
    pub(super) name: Option<Box<str>>,
    pub(super) senders: Senders,
    pub(super) to: Target,
    pub(super) room: Source,
    pub(super) user: Source,
    pub(super) data: Source,
    pub(super) key: Option<Source>,
    pub(super) echo: bool,
    pub(super) volatile: bool,
    pub(super) max_bytes: usize,
}

/// What an event name means.
#[derive(Clone, Debug)]
pub(super) enum Inbound {
    Commands(Vec<Rule>),
    Custom(Box<Custom>),
}

/// Largest `data` of a custom event that says nothing else, in bytes.
const MAX_BYTES: usize = 65_536;

/// The name of the custom event that stands for all that are not named.
pub(super) const ANY: &str = "*";

/// Event names to what they mean.
pub(super) type Table = HashMap<Box<str>, Inbound>;

/// Reads `[in]`.
pub(super) fn commands<'t>(reader: &mut Reader<'t>, section: &Entry<'t>, table: &mut Table) {
    for event in reader.table(section).unwrap_or_default() {
        if let Some(fault) = super::reader::name_fault(event.key) {
            reader.fault(&event, fault);
        }
        let mut rules = Vec::new();
        let mut aliases = Vec::new();
        for keys in reader.tables(&event).unwrap_or_default() {
            rules.extend(rule(reader, &event, keys, &mut aliases));
        }
        aliases.push(event.key);
        for name in aliases {
            if table.insert(name.into(), Inbound::Commands(rules.clone())).is_some() {
                reader.fault(&event, format!("`{name}` is defined twice"));
            }
        }
    }
}

fn rule<'t>(
    reader: &mut Reader<'t>,
    event: &Entry<'t>,
    keys: Entries<'t>,
    aliases: &mut Vec<&'t str>,
) -> Option<Rule> {
    let mut verb = None;
    let mut named = false;
    let mut args = None;
    let mut echo = None;
    let mut join = None;
    for entry in keys {
        match entry.key {
            "command" => {
                named = true;
                let names: Vec<&'static str> = VERBS.iter().map(|(name, ..)| *name).collect();
                let word = reader.word(&entry, &names);
                verb = VERBS.iter().find(|(name, ..)| Some(*name) == word);
            }
            "aliases" => aliases.extend(reader.texts(&entry).unwrap_or_default()),
            "args" => args = Some(entry),
            "echo" => echo = places(reader, &entry).unwrap_or_default().into_iter().next(),
            "join" => join = Some(entry),
            _ => reader.unknown(&entry, &["command", "args", "aliases", "echo", "join"]),
        }
    }
    if !named {
        reader.fault(event, "`command` is missing: what the event asks for");
    }
    let (_, verb, known) = verb?;
    let join = match join {
        Some(entry) if *verb != Verb::Message => {
            reader.fault(&entry, "goes with `command = \"message\"`");
            false
        }
        Some(entry) => reader.flag(&entry).unwrap_or_default(),
        None => false,
    };
    let mut sources: Vec<(&'static str, Source)> = Vec::new();
    match args {
        None => {
            for name in *known {
                let places = Place::parse(name).into_iter().collect();
                sources.push((name, Source { places, ..Source::default() }));
            }
        }
        Some(args) => {
            for entry in reader.table(&args).unwrap_or_default() {
                match known.iter().find(|name| **name == entry.key) {
                    Some(name) => sources.extend(source(reader, &entry).map(|s| (*name, s))),
                    None => reader.unknown(&entry, known),
                }
            }
        }
    }
    Some(Rule { verb: *verb, args: sources, join, echo })
}

/// Reads where a value comes from: a path, a list of paths, or a table.
fn source<'t>(reader: &mut Reader<'t>, entry: &Entry<'t>) -> Option<Source> {
    let mut source = Source::default();
    if !entry.is_table() {
        source.places = places(reader, entry)?;
        return Some(source);
    }
    let mut constant = false;
    for key in reader.table(entry)? {
        match key.key {
            "from" => source.places = places(reader, &key).unwrap_or_default(),
            "const" => {
                constant = true;
                source.default = reader.json(&key);
            }
            "default" => source.default = reader.json(&key),
            "map" => {
                for pair in reader.table(&key).unwrap_or_default() {
                    let json = reader.json(&pair);
                    source.map.extend(json.map(|json| (Box::from(pair.key), json)));
                }
            }
            "strip" => source.strip = reader.name(&key).unwrap_or_default().into(),
            "prefix" => source.prefix = reader.name(&key).unwrap_or_default().into(),
            "numbers" => source.numbers = reader.flag(&key).unwrap_or_default(),
            _ => {
                let known = ["from", "const", "default", "map", "strip", "prefix", "numbers"];
                reader.unknown(&key, &known);
            }
        }
    }
    if constant && !source.places.is_empty() {
        reader.fault(entry, "`const` and `from` exclude each other; `default` goes with `from`");
    } else if source.places.is_empty() && source.default.is_none() {
        reader.fault(entry, "says neither `from` nor `const`");
    }
    Some(source)
}

fn places<'t>(reader: &mut Reader<'t>, entry: &Entry<'t>) -> Option<Vec<Place>> {
    let mut places = Vec::new();
    for text in reader.texts(entry)? {
        match Place::parse(text) {
            Ok(place) => places.push(place),
            Err(fault) => reader.fault(entry, fault),
        }
    }
    Some(places)
}

/// Reads what clients may send of `[events.NAME]`. `rest` gets the keys that are
/// about what clients are sent.
pub(super) fn custom<'t>(
    reader: &mut Reader<'t>,
    event: &Entry<'t>,
    json_wire: bool,
    rest: &mut Entries<'t>,
) -> Option<Custom> {
    let path = |text: &str| Source {
        places: Place::parse(text).into_iter().collect(),
        ..Source::default()
    };
    let mut custom = Custom {
        name: (event.key != ANY).then(|| event.key.into()),
        senders: Senders::Members,
        to: Target::Room,
        room: path("roomId"),
        user: path("userId"),
        data: path(if json_wire { "data" } else { "$0" }),
        key: None,
        echo: true,
        volatile: false,
        max_bytes: MAX_BYTES,
    };
    let mut volatile = None;
    for entry in reader.table(event)? {
        match entry.key {
            "name" => custom.name = reader.name(&entry).map(Into::into).or(custom.name),
            "from" => custom.senders = senders(reader, &entry),
            "to" => {
                custom.to = match reader.word(&entry, &["room", "user", "all"]) {
                    Some("all") => Target::Everyone,
                    Some("user") => Target::User,
                    _ => Target::Room,
                }
            }
            "room" => custom.room = source(reader, &entry).unwrap_or_default(),
            "user" => custom.user = source(reader, &entry).unwrap_or_default(),
            "data" => custom.data = source(reader, &entry).unwrap_or_default(),
            "key" => custom.key = source(reader, &entry),
            "echo" => custom.echo = reader.flag(&entry).unwrap_or(true),
            "volatile" => {
                volatile = reader.flag(&entry);
                if volatile == Some(false) && custom.to == Target::Everyone {
                    reader.fault(&entry, "what goes to all is volatile");
                }
            }
            "max_bytes" => {
                let bytes = reader.number(&entry).and_then(|n| usize::try_from(n).ok());
                custom.max_bytes = bytes.unwrap_or(MAX_BYTES);
            }
            "out" => rest.push(entry),
            _ => {
                let known = [
                    "name",
                    "from",
                    "to",
                    "room",
                    "user",
                    "data",
                    "key",
                    "echo",
                    "volatile",
                    "max_bytes",
                    "out",
                ];
                reader.unknown(&entry, &known);
            }
        }
    }
    custom.volatile = volatile.unwrap_or(custom.to == Target::Everyone);
    if !custom.echo && !custom.volatile {
        reader.fault(event, "`echo = false` needs `volatile = true`: what is stored comes to all");
    }
    Some(custom)
}

fn senders<'t>(reader: &mut Reader<'t>, entry: &Entry<'t>) -> Senders {
    if entry.is_text() {
        return match reader.word(entry, &["members", "backend"]) {
            Some("backend") => Senders::Backend,
            _ => Senders::Members,
        };
    }
    let roles = reader.texts(entry).unwrap_or_default();
    if roles.is_empty() {
        reader.fault(entry, "expected members, backend or a list of roles");
    }
    Senders::Roles(roles.into_iter().map(Into::into).collect())
}

/// What an unknown event is answered with; `word` is what the wire calls its name.
pub(super) fn unknown(word: &str, name: &str) -> String {
    let shown: String = name.chars().take(40).filter(|c| !c.is_control()).collect();
    format!("unknown {word} `{shown}`")
}
