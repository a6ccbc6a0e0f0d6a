//! Handing one event to many members: rendered once per format, pushed to each
//! member's queue, counted once. Pure but for the queues.

use std::sync::Arc;

use hubbub_protocol::{
    event::Event,
    id::{RoomName, SessionId},
    position::Position,
    vocabulary::Copy,
    wire::FormatId,
};
use smallvec::SmallVec;

use crate::{
    frame::Frame,
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
        self.note(pushed, 1);
    }

    /// Hands all records of a burst to a session that has none of them; false if they must
    /// be handed one by one, and none was.
    pub(super) fn push_all(
        &mut self,
        bundle: &mut Bundle<'_>,
        session: &Arc<SessionHandle>,
    ) -> bool {
        if session.connection.outbound.compresses() {
            // Each is compressed once for all who agreed on it.
            return false;
        }
        if let Some(marks) = session.keeping.as_ref().and_then(|keeping| keeping.marks()) {
            let room = self.room.as_ref().unwrap_or(bundle.room);
            let mut marks = marks.lock();
            // A tail that the first needs the others need too, each its own.
            if marks.advance(room, bundle.first).is_some() {
                return false;
            }
            marks.set(room, bundle.last);
        }
        if let Some(frame) = bundle.frame(session.format) {
            let pushed = session.connection.outbound.push(frame, CATCH_UP);
            self.note(pushed, frame.events() as u64);
        }
        true
    }

    fn note(&mut self, pushed: Pushed, events: u64) {
        match pushed {
            Pushed::Queued => self.delivered += events,
            Pushed::Conflated => {
                self.delivered += events;
                self.conflated += events;
            }
            Pushed::DroppedOldest(n) => {
                self.delivered += events;
                self.oldest += n as u64;
            }
            Pushed::Dropped => self.volatile += events,
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

/// Records of one room that are handed out together: each is rendered once per format, and
/// their frames are joined once per format.
pub(super) struct Bundle<'a> {
    /// Each record's own.
    pub(super) renderers: Vec<Renderer<'a>>,
    room: &'a RoomName,
    first: Position,
    last: Position,
    joined: SmallVec<[(FormatId, Option<Frame>); 2]>,
}

impl<'a> Bundle<'a> {
    /// Of records in the order of their offsets; none of none.
    pub(super) fn new(shared: &'a Shared, records: &'a [Event]) -> Option<Self> {
        let renderers: Vec<_> = records.iter().map(|event| shared.renderer(event)).collect();
        let (first, last) = (renderers.first()?.stored()?, renderers.last()?.stored()?);
        let (room, first, last) = (&first.record.room, first.position, last.position);
        Some(Self { renderers, room, first, last, joined: SmallVec::new() })
    }

    /// The offset before the first, that of the last.
    pub(super) fn span(&self) -> (u64, u64) {
        (self.first.offset - 1, self.last.offset)
    }

    /// All that a format has of them; none if it has nothing.
    fn frame(&mut self, id: FormatId) -> Option<&Frame> {
        let at = match self.joined.iter().position(|(format, _)| *format == id) {
            Some(at) => at,
            None => {
                let frames = self.renderers.iter_mut().filter_map(|r| r.frame(id, Copy::Others));
                let frames: Vec<Frame> = frames.cloned().collect();
                self.joined.push((id, Frame::joined(&frames)));
                self.joined.len() - 1
            }
        };
        self.joined[at].1.as_ref()
    }
}

/// The class of what is caught up: never dropped silently, so that the bound and
/// its policy decide.
pub(super) const CATCH_UP: Class = Class::Durable;
