//! Handing one event to many members: rendered once per format, pushed to each
//! member's queue, counted once. Pure but for the queues.

use std::sync::Arc;

use hubbub_protocol::{
    id::{RoomName, SessionId},
    vocabulary::Copy,
};

use crate::{
    outbound::{Class, Pushed},
    session::SessionHandle,
    shared::{Renderer, Shared},
};

/// Members to whom a record that comes alone is written while they are walked; the rest is
/// left to the flush list, which lets the worker look at something else in between.
const HANDED: u64 = 1024;

/// Counts what became of the frames of one event.
#[derive(Default)]
pub(super) struct Tally {
    /// Nothing else waits to be handed out.
    alone: bool,
    /// The room's name as its members hold it, which is found faster than a copy.
    room: Option<RoomName>,
    handed: u64,
    bytes: u64,
    delivered: u64,
    conflated: u64,
    volatile: u64,
    oldest: u64,
}

impl Tally {
    /// For a record of a room; `alone` if no other waits behind it.
    pub(super) fn of(room: Option<RoomName>, alone: bool) -> Self {
        Self { alone, room, ..Self::default() }
    }

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
        let tail = renderer.stored().zip(marks).and_then(|(stored, marks)| {
            let room = self.room.as_ref().unwrap_or(&stored.record.room);
            marks.lock().advance(room, stored.position)
        });
        let Some(frame) = renderer.frame(session.format, copy) else { return };
        let tailed = tail.map(|tail| frame.with_tail(&tail));
        let (frame, outbound) = (tailed.as_ref().unwrap_or(frame), &session.connection.outbound);
        let pushed = if self.alone && self.handed < HANDED {
            let (pushed, bytes) = outbound.hand(frame, class);
            self.handed += 1;
            self.bytes += bytes;
            pushed
        } else {
            outbound.push(frame, class)
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

    /// How many sessions have it in their queue.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    pub(super) fn count(self, shared: &Shared) {
        let metrics = &shared.metrics;
        metrics.deliveries.inc_by(self.delivered);
        if self.bytes > 0 {
            metrics.outbound_bytes.inc_by(self.bytes);
        }
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
