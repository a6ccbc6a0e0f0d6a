//! Handing one event to many members: rendered once per format, pushed to each
//! member's queue, counted once. Pure but for the queues.

use std::sync::Arc;

use hubbub_protocol::{id::SessionId, vocabulary::Copy};

use crate::{
    outbound::{Class, Pushed},
    session::SessionHandle,
    shared::{Renderer, Shared},
};

/// Counts what became of the frames of one event.
#[derive(Default)]
pub(super) struct Tally {
    delivered: u64,
    conflated: u64,
    volatile: u64,
    oldest: u64,
}

impl Tally {
    /// Hands the event to a session; `origin` is the one that sent it.
    pub(super) fn push(
        &mut self,
        renderer: &mut Renderer<'_>,
        session: &Arc<SessionHandle>,
        origin: Option<SessionId>,
    ) {
        let class = renderer.class;
        let copy = if renderer.about == Some(&session.user) {
            Copy::Own
        } else if origin == Some(session.id) {
            Copy::Sender
        } else {
            Copy::Others
        };
        let marks = session.keeping.as_ref().and_then(|keeping| keeping.marks());
        // Also of what is not shown to it: it must not come as missed later.
        let tail = renderer
            .stored()
            .zip(marks)
            .and_then(|(stored, marks)| marks.lock().advance(&stored.record.room, stored.position));
        let Some(frame) = renderer.frame(session.format, copy) else { return };
        let pushed = match tail {
            None => session.connection.outbound.push(frame, class),
            Some(tail) => session.connection.outbound.push(&frame.with_tail(&tail), class),
        };
        if let Some(stored) = renderer.stored().filter(|s| s.record.room.personal_user().is_some())
        {
            session.handed_direct(stored.position);
        }
        match pushed {
            Pushed::Queued => self.delivered += 1,
            Pushed::Conflated => {
                self.delivered += 1;
                self.conflated += 1;
            }
            Pushed::DroppedOldest(n) => {
                self.delivered += 1;
                self.oldest += n as u64;
            }
            Pushed::Dropped => self.volatile += 1,
            // Counted when the connection ends.
            Pushed::Overflowed | Pushed::Closed => {}
        }
    }

    pub(super) fn count(self, shared: &Shared) {
        let metrics = &shared.metrics;
        metrics.deliveries.inc_by(self.delivered);
        if self.conflated > 0 {
            metrics.conflated.inc_by(self.conflated);
        }
        if self.volatile > 0 {
            metrics.dropped.with_label_values(&["volatile"]).inc_by(self.volatile);
        }
        if self.oldest > 0 {
            metrics.dropped.with_label_values(&["oldest"]).inc_by(self.oldest);
        }
    }
}

/// The class of what is caught up: never dropped silently, so that the bound and
/// its policy decide.
pub(super) const CATCH_UP: Class = Class::Durable;
