//! What the hub tells about the session itself.

use std::sync::Arc;

use super::{EventKind, Fields, Fieldset};
use crate::{
    id::{SessionId, UserId},
    timestamp::Timestamp,
};

/// The session is open.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// The session's id.
    pub session: SessionId,
    /// Who the token names.
    pub user: UserId,
    /// The node that holds the connection.
    pub node: Arc<str>,
    /// The hub's time.
    pub timestamp: Timestamp,
    /// Whether the hub keeps receipts for the session's vocabulary: only then
    /// `delivered` is of use. Left out if not.
    pub receipts: bool,
}

impl Fieldset for Authenticated {
    fn kind(&self) -> Option<EventKind> {
        Some(EventKind::Authenticated)
    }

    fn fields(&self, out: &mut dyn Fields) {
        out.text("sessionId", &self.session.to_string());
        out.text("userId", self.user.as_str());
        out.text("nodeId", &self.node);
        out.time("timestamp", self.timestamp);
        if self.receipts {
            out.flag("receipts", true);
        }
    }
}

/// The token ends soon: send a fresh one in-band or be closed with 4401.
#[derive(Clone, Debug)]
pub struct TokenExpiring {
    /// When it ends.
    pub at: Timestamp,
}

impl Fieldset for TokenExpiring {
    fn kind(&self) -> Option<EventKind> {
        Some(EventKind::TokenExpiring)
    }

    fn fields(&self, out: &mut dyn Fields) {
        out.time("at", self.at);
    }
}

/// The hub is about to close the connection.
#[derive(Clone, Debug)]
pub struct Closing {
    /// Why, in one word.
    pub reason: &'static str,
    /// Milliseconds to wait before coming back.
    pub retry_after_ms: u64,
}

impl Fieldset for Closing {
    fn kind(&self) -> Option<EventKind> {
        Some(EventKind::Closing)
    }

    fn fields(&self, out: &mut dyn Fields) {
        out.text("reason", self.reason);
        out.number("retryAfterMs", self.retry_after_ms);
    }
}
