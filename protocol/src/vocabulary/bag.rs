//! The fields of an event, collected so that a shape can take them in its own
//! order and under its own names.

use serde_json::value::RawValue;

use super::{Vocabulary, json_text};
use crate::{
    event::{Fields, Fieldset},
    timestamp::Timestamp,
};

/// One field's value.
#[derive(Debug)]
pub(super) enum Item {
    Text(String),
    Number(u64),
    Flag(bool),
    Time(Timestamp),
    /// JSON from outside.
    Raw(String),
    /// JSON that this vocabulary has shaped.
    List(String),
}

/// The fields of one event.
pub(super) struct Bag<'v> {
    vocabulary: &'v Vocabulary,
    pub(super) fields: Vec<Field>,
}

/// A field by its name in the hub.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) item: Item,
    /// Not among "all fields".
    pub(super) hidden: bool,
}

impl<'v> Bag<'v> {
    /// The fields of a thing.
    pub(super) fn of(vocabulary: &'v Vocabulary, thing: &dyn Fieldset) -> Self {
        let mut bag = Self::empty(vocabulary);
        thing.fields(&mut bag);
        bag
    }

    /// No fields yet.
    pub(super) fn empty(vocabulary: &'v Vocabulary) -> Self {
        Self { vocabulary, fields: Vec::with_capacity(10) }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Item> {
        self.fields.iter().find(|f| f.name == name).map(|f| &f.item)
    }

    fn add(&mut self, name: &'static str, item: Item) {
        self.fields.push(Field { name, item, hidden: false });
    }
}

impl Item {
    /// The value as a condition compares it: a text as it is, the others as JSON.
    pub(super) fn plain(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Text(text) | Self::Raw(text) | Self::List(text) => text.as_str().into(),
            Self::Number(n) => n.to_string().into(),
            Self::Flag(flag) => flag.to_string().into(),
            Self::Time(time) => time.to_string().into(),
        }
    }

    /// Writes it as JSON.
    pub(super) fn write(&self, out: &mut String, epoch_ms: bool) {
        match self {
            Self::Text(text) => json_text(out, text),
            Self::Raw(json) | Self::List(json) => out.push_str(json),
            Self::Time(time) if epoch_ms => out.push_str(&time.0.to_string()),
            Self::Time(time) => json_text(out, &time.to_string()),
            Self::Number(_) | Self::Flag(_) => out.push_str(&self.plain()),
        }
    }
}

impl Fields for Bag<'_> {
    fn text(&mut self, name: &'static str, value: &str) {
        self.add(name, Item::Text(value.to_owned()));
    }

    fn hidden(&mut self, name: &'static str, value: &str) {
        self.fields.push(Field { name, item: Item::Text(value.to_owned()), hidden: true });
    }

    fn beside(&mut self, thing: &dyn Fieldset) {
        let other = Bag::of(self.vocabulary, thing);
        for field in other.fields {
            if self.get(field.name).is_none() {
                self.fields.push(Field { hidden: true, ..field });
            }
        }
    }

    fn number(&mut self, name: &'static str, value: u64) {
        self.add(name, Item::Number(value));
    }

    fn flag(&mut self, name: &'static str, value: bool) {
        self.add(name, Item::Flag(value));
    }

    fn time(&mut self, name: &'static str, value: Timestamp) {
        self.add(name, Item::Time(value));
    }

    fn raw(&mut self, name: &'static str, value: &RawValue) {
        self.add(name, Item::Raw(value.get().to_owned()));
    }

    fn list(&mut self, name: &'static str, items: &mut dyn Iterator<Item = &dyn Fieldset>) {
        let mut json = String::from("[");
        for item in items {
            let end = json.len();
            if end > 1 {
                json.push(',');
            }
            if !self.vocabulary.item(item, &mut json) {
                json.truncate(end);
            }
        }
        json.push(']');
        self.add(name, Item::List(json));
    }
}
