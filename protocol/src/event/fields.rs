//! How an event shows its fields, so that a wire or a vocabulary can write them
//! in its own shape.

use serde_json::value::RawValue;

use super::{EventKind, MemberList};
use crate::timestamp::Timestamp;

/// Receives the fields of an event, in order. Absent fields are not shown.
pub trait Fields {
    /// A text.
    fn text(&mut self, name: &'static str, value: &str);
    /// A text that is shown only where a vocabulary asks for it by name.
    fn hidden(&mut self, _name: &'static str, _value: &str) {}
    /// A thing whose fields are shown only where a vocabulary asks for them by
    /// name, and that are not there already.
    fn beside(&mut self, _thing: &dyn Fieldset) {}
    /// A whole number.
    fn number(&mut self, name: &'static str, value: u64);
    /// True or false.
    fn flag(&mut self, name: &'static str, value: bool);
    /// A moment.
    fn time(&mut self, name: &'static str, value: Timestamp);
    /// Any JSON, to be passed through untouched.
    fn raw(&mut self, name: &'static str, value: &RawValue);
    /// A list of things with fields of their own.
    fn list(&mut self, name: &'static str, items: &mut dyn Iterator<Item = &dyn Fieldset>);
    /// A list of members, which others may be told as well.
    fn members(&mut self, name: &'static str, members: &MemberList) {
        self.list(name, &mut members.iter().map(|m| m as &dyn Fieldset));
    }
}

/// Something with fields.
pub trait Fieldset {
    /// The event's kind; none for a thing that is only part of an event.
    fn kind(&self) -> Option<EventKind>;
    /// Shows the fields.
    fn fields(&self, out: &mut dyn Fields);
}
