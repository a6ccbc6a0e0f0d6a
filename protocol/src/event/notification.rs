//! `notification`: from a backend to one user's sessions.

use serde_json::value::RawValue;

use super::{EventKind, Fields, Fieldset};

/// A notification.
#[derive(Clone, Debug)]
pub struct Notification {
    /// Its title.
    pub title: Box<str>,
    /// Its text.
    pub body: Box<str>,
    /// Any JSON beside it.
    pub data: Option<Box<RawValue>>,
}

impl Fieldset for Notification {
    fn kind(&self) -> Option<EventKind> {
        Some(EventKind::Notification)
    }

    fn fields(&self, out: &mut dyn Fields) {
        out.text("title", &self.title);
        out.text("body", &self.body);
        if let Some(data) = &self.data {
            out.raw("data", data);
        }
    }
}
