//! Shapes: how the fields of an event become JSON.

use super::{
    args::Members,
    bag::{Bag, Item},
    json_text,
};
use crate::pattern;

/// What an event or an answer carries.
#[derive(Clone, Debug, Default)]
pub(super) enum Shape {
    /// Every field of the hub, under its own name.
    #[default]
    All,
    /// One object.
    Object(Vec<Member>),
    /// Positional arguments (Socket.IO).
    Args(Vec<Value>),
}

/// One member of an object, or several.
#[derive(Clone, Debug)]
pub(super) enum Member {
    /// A name, as JSON with its quotes, and its value.
    One(Box<str>, Box<str>, Value),
    /// All members of a field's JSON object.
    Spread(Box<str>),
    /// All fields of the hub.
    All,
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Field(Box<Field>),
    Const(Box<str>),
    Object(Vec<Member>),
}

/// A field of the hub and what is done to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Field {
    pub(super) from: Box<str>,
    /// Overrides the vocabulary's own.
    pub(super) epoch_ms: Option<bool>,
    pub(super) strip: Box<str>,
    pub(super) prefix: Box<str>,
    /// Values (as text) that are written as other JSON.
    pub(super) map: Vec<(Box<str>, Box<str>)>,
    /// JSON to write if the field is absent; none leaves it out.
    pub(super) default: Option<Box<str>>,
}

/// The name of an event.
#[derive(Clone, Debug)]
pub(super) enum Name {
    Const(Box<str>),
    /// Taken from a field.
    Field(Box<str>),
}

/// What becomes of the copy for the session that sent it.
#[derive(Clone, Debug, Default)]
pub(super) enum SenderCopy {
    /// It is as everybody's.
    #[default]
    Same,
    /// There is none.
    None,
    /// It has a name and a shape of its own.
    Own(Name, Shape),
}

/// Who is told an event that is about a user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum To {
    /// All but the sessions of that user.
    Others,
    /// That user too.
    Everyone,
    /// That user alone.
    Author,
}

/// How one kind of event is written, if the conditions hold.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) when: Vec<(Box<str>, Box<str>)>,
    pub(super) name: Name,
    pub(super) shape: Shape,
    pub(super) sender: SenderCopy,
    pub(super) to: To,
}

impl Rule {
    /// Whether the fields are as the rule wants them.
    pub(super) fn applies(&self, bag: &Bag<'_>) -> bool {
        self.when.iter().all(|(field, wanted)| {
            bag.get(field).is_some_and(|item| pattern::matches(wanted, &item.plain()))
        })
    }
}

impl Name {
    /// The name; none if its field is absent.
    pub(super) fn of<'a>(&'a self, bag: &'a Bag<'_>) -> Option<&'a str> {
        match self {
            Self::Const(name) => Some(name),
            Self::Field(field) => match bag.get(field)? {
                Item::Text(name) => Some(name),
                _ => None,
            },
        }
    }
}

impl Shape {
    /// Writes the members of the one object, without its braces.
    pub(super) fn members(&self, bag: &Bag<'_>, epoch_ms: bool, out: &mut Object<'_>) {
        match self {
            Self::All => all(bag, epoch_ms, out),
            Self::Object(members) => write_members(members, bag, epoch_ms, out),
            // Refused by the compiler where there is only one object.
            Self::Args(_) => {}
        }
    }

    /// The positional arguments.
    pub(super) fn args(&self, bag: &Bag<'_>, epoch_ms: bool) -> Vec<String> {
        match self {
            Self::All | Self::Object(_) => {
                let mut json = String::with_capacity(128);
                let mut object = Object::open(&mut json);
                self.members(bag, epoch_ms, &mut object);
                object.close();
                vec![json]
            }
            Self::Args(values) => {
                let write = |value: &Value| {
                    let mut json = String::new();
                    if !value.write(bag, epoch_ms, &mut json) {
                        // A place is kept, so that the next argument is where it belongs.
                        json.push_str("null");
                    }
                    json
                };
                values.iter().map(write).collect()
            }
        }
    }
}

impl Shape {
    /// Whether it asks for one of these fields by name.
    pub(super) fn asks_for(&self, fields: &[&str]) -> bool {
        match self {
            Self::All => false,
            Self::Object(members) => members.iter().any(|member| member.asks_for(fields)),
            Self::Args(values) => values.iter().any(|value| value.asks_for(fields)),
        }
    }
}

impl Member {
    fn asks_for(&self, fields: &[&str]) -> bool {
        match self {
            Self::One(_, _, value) => value.asks_for(fields),
            Self::Spread(field) => fields.contains(&&**field),
            Self::All => false,
        }
    }
}

impl Value {
    fn asks_for(&self, fields: &[&str]) -> bool {
        match self {
            Self::Field(field) => fields.contains(&&*field.from),
            Self::Const(_) => false,
            Self::Object(members) => members.iter().any(|member| member.asks_for(fields)),
        }
    }

    /// Writes it; false if there is nothing to write.
    fn write(&self, bag: &Bag<'_>, epoch_ms: bool, out: &mut String) -> bool {
        match self {
            Self::Const(json) => out.push_str(json),
            Self::Object(members) => {
                let mut object = Object::open(out);
                write_members(members, bag, epoch_ms, &mut object);
                object.close();
            }
            Self::Field(field) => return field.write(bag, epoch_ms, out),
        }
        true
    }
}

impl Field {
    fn write(&self, bag: &Bag<'_>, epoch_ms: bool, out: &mut String) -> bool {
        let Some(item) = bag.get(&self.from) else {
            if let Some(json) = &self.default {
                out.push_str(json);
            }
            return self.default.is_some();
        };
        if !self.map.is_empty() {
            let plain = item.plain();
            if let Some((_, json)) = self.map.iter().find(|(from, _)| **from == *plain) {
                out.push_str(json);
                return true;
            }
        }
        if self.strip.is_empty() && self.prefix.is_empty() {
            item.write(out, self.epoch_ms.unwrap_or(epoch_ms));
        } else {
            let plain = item.plain();
            let bare = plain.strip_prefix(&*self.strip).unwrap_or(&plain);
            json_text(out, &format!("{}{bare}", self.prefix));
        }
        true
    }
}

fn all(bag: &Bag<'_>, epoch_ms: bool, out: &mut Object<'_>) {
    let reserved = out.reserved;
    for field in bag.fields.iter().filter(|f| !f.hidden && f.name != reserved) {
        out.name(field.name);
        field.item.write(out.text, epoch_ms);
    }
}

fn write_members(members: &[Member], bag: &Bag<'_>, epoch_ms: bool, out: &mut Object<'_>) {
    for member in members {
        match member {
            Member::All => all(bag, epoch_ms, out),
            Member::Spread(field) => spread(field, members, bag, out),
            Member::One(_, name, value) => {
                let before = out.mark();
                out.raw_name(name);
                if !value.write(bag, epoch_ms, out.text) {
                    out.reset(before);
                }
            }
        }
    }
}

/// Writes the members of a field that is an object, but for those that the shape
/// itself writes: nobody can put a sender's name in their place.
fn spread(field: &str, members: &[Member], bag: &Bag<'_>, out: &mut Object<'_>) {
    let Some(Item::Raw(json)) = bag.get(field) else { return };
    let Ok(found) = Members::parse(json) else { return };
    let own = |name: &str| {
        name == out.reserved
            || members.iter().any(|m| matches!(m, Member::One(n, ..) if **n == *name))
    };
    let kept: Vec<(&str, &str)> = found.iter().filter(|(name, _)| !own(name)).collect();
    for (name, value) in kept {
        out.name(name);
        out.text.push_str(value);
    }
}

/// Writes one JSON object.
pub(super) struct Object<'a> {
    pub(super) text: &'a mut String,
    empty: bool,
    /// A name that no outside JSON may bring: that of the event's type.
    pub(super) reserved: &'a str,
}

impl<'a> Object<'a> {
    pub(super) fn open(text: &'a mut String) -> Self {
        text.push('{');
        Self { text, empty: true, reserved: "" }
    }

    /// The name of the next member.
    pub(super) fn name(&mut self, name: &str) {
        self.comma();
        json_text(self.text, name);
        self.text.push(':');
    }

    /// As [`Object::name`], for a name that is JSON already.
    fn raw_name(&mut self, json: &str) {
        self.comma();
        self.text.push_str(json);
        self.text.push(':');
    }

    fn comma(&mut self) {
        if !self.empty {
            self.text.push(',');
        }
        self.empty = false;
    }

    fn mark(&self) -> (usize, bool) {
        (self.text.len(), self.empty)
    }

    fn reset(&mut self, (len, empty): (usize, bool)) {
        self.text.truncate(len);
        self.empty = empty;
    }

    pub(super) fn close(self) {
        self.text.push('}');
    }
}
