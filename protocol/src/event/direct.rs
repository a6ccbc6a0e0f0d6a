//! `direct`: a message to one user.

use serde_json::value::RawValue;

use crate::id::UserId;

/// Asks to write to every session of one user.
#[derive(Clone, Debug)]
pub struct Direct {
    /// The receiver.
    pub user: UserId,
    /// The text.
    pub content: Box<str>,
    /// Any JSON beside it.
    pub data: Option<Box<RawValue>>,
    /// Makes it idempotent for ten minutes.
    pub key: Option<Box<str>>,
}
