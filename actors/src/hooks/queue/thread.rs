//! The thread that owns the queue.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hubbub_protocol::id::{RoomName, SessionId, UserId};
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    Ask, Batch, Inner, QueueConfig,
    file::{Bounds, File, MEMBER, ROOM, SESSION, Taken, Writing, read_opening},
};
use crate::{
    clock::Clock,
    hooks::{HookBody, HookEvent, HookMember, HookSession, NODE_LOST},
};

/// Shortest time between two commits: what comes meanwhile shares the next one.
const GATHER: Duration = Duration::from_millis(25);
/// How often the age of what waits is looked at, and a failed commit is tried again.
const LOOK: Duration = Duration::from_secs(1);

/// The thread's own.
pub(super) struct Thread {
    inner: Arc<Inner>,
    file: File,
    bounds: Bounds,
    retention_ms: u64,
    clock: Clock,
    /// What could not be stored yet.
    batch: Vec<HookEvent>,
    /// Dropped and not yet left out of the numbers.
    missed: u64,
    looked: Option<Instant>,
    /// When the last commit was tried.
    tried: Option<Instant>,
    /// Events were dropped since one was kept; told once.
    dropping: u64,
    failing: bool,
    settled: bool,
}

impl Thread {
    pub(super) fn new(inner: Arc<Inner>, file: File, config: QueueConfig, clock: Clock) -> Self {
        let bounds = Bounds {
            kinds: config.kinds,
            events: config.max_events,
            bytes: config.max_bytes,
            alone: config.alone,
        };
        Self {
            inner,
            file,
            bounds,
            retention_ms: config.retention_ms,
            clock,
            batch: Vec::new(),
            missed: 0,
            looked: None,
            tried: None,
            dropping: 0,
            failing: false,
            settled: false,
        }
    }

    /// Until it is told to finish.
    pub(super) fn run(mut self, ending: &watch::Sender<bool>) {
        self.settle(NODE_LOST);
        loop {
            let (asks, closing) = self.wait();
            let mut news = false;
            if self.is_due() && (!self.batch.is_empty() || self.missed > 0) {
                self.store();
                news = true;
            }
            if closing && !self.settled && self.batch.is_empty() {
                self.settled = true;
                self.settle("draining");
                news = true;
            }
            if news {
                self.inner.news.notify_one();
            }
            let mut finish = false;
            for ask in asks {
                finish |= self.answer(ask);
            }
            self.look();
            if finish {
                break;
            }
        }
        if self.file.count > 0 {
            log::info!(events = self.file.count; "webhooks wait for the next start");
        }
        drop(self.file);
        let mut inbox = self.inner.inbox.lock();
        inbox.ended = true;
        inbox.asks.clear();
        drop(inbox);
        // Nobody may wait for it any more.
        let _ = ending.send(true);
    }

    /// When the next commit may be.
    fn due(&self) -> Option<Instant> {
        let pause = if self.failing { LOOK } else { GATHER };
        self.tried.map(|tried| tried + pause)
    }

    fn is_due(&self) -> bool {
        self.due().is_none_or(|due| Instant::now() >= due)
    }

    /// Waits for something to do, at most until the next look; takes it.
    fn wait(&mut self) -> (Vec<Ask>, bool) {
        let inner = self.inner.clone();
        let mut inbox = inner.inbox.lock();
        let look = Instant::now() + LOOK;
        loop {
            let events = !inbox.events.is_empty() || inbox.missed > 0;
            let events = events || !self.batch.is_empty() || self.missed > 0;
            let ends = inbox.closing && !self.settled;
            if !inbox.asks.is_empty() || (events && self.is_due()) || (ends && !events) {
                break;
            }
            let until = self.due().filter(|_| events).unwrap_or(look).min(look);
            if inner.ready.wait_until(&mut inbox, until).timed_out() && until == look {
                break;
            }
        }
        // What could not be stored yet comes first, and bounds what is taken.
        if self.batch.is_empty() && self.is_due() {
            self.batch.extend(inbox.events.drain(..).map(|(event, _)| event));
            inbox.bytes = 0;
            self.missed += std::mem::take(&mut inbox.missed);
        }
        // With events that are not due yet the end waits for the next turn.
        let closing = inbox.closing && inbox.events.is_empty();
        (inbox.asks.drain(..).collect(), closing)
    }

    /// Puts what came into the file.
    fn store(&mut self) {
        let (now, bounds, missed) = (self.clock.wall(), self.bounds, self.missed);
        let batch = std::mem::take(&mut self.batch);
        self.tried = Some(Instant::now());
        let stored = self.file.transaction(|writing| {
            writing.skip(missed);
            add_all(writing, &batch, &bounds, now)
        });
        match stored {
            Ok((kept, full)) => {
                self.missed = 0;
                self.count(kept, full + missed);
                self.recovered();
            }
            Err(error) => {
                self.batch = batch;
                self.fail(&error);
            }
        }
    }

    fn fail(&mut self, error: &rusqlite::Error) {
        if !self.failing {
            log::error!(error:%; "the webhooks' queue cannot be written; trying again each second");
        }
        self.failing = true;
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.failing) {
            log::info!("the webhooks' queue can be written again");
        }
    }

    /// Counts what was kept and what was dropped; the log says it once.
    fn count(&mut self, kept: u64, dropped: u64) {
        let metrics = &self.inner.metrics;
        metrics.queued.inc_by(kept);
        metrics.dropped.with_label_values(&["full"]).inc_by(dropped);
        if dropped > 0 && self.dropping == 0 {
            log::error!(
                waiting = self.file.count, bytes = self.file.bytes;
                "the webhooks' queue is full: the backend is not told what happens until it \
                 takes what waits (webhooks.queue_max, webhooks.queue_max_bytes)"
            );
        }
        self.dropping += dropped;
        if dropped == 0 && kept > 0 && self.dropping > 0 {
            let dropped = std::mem::take(&mut self.dropping);
            log::warn!(dropped; "the webhooks' queue has room again; events are missing");
        }
    }

    /// What stands is told to be over: the node was killed, or ends.
    fn settle(&mut self, reason: &'static str) {
        let (now, bounds) = (self.clock.wall(), self.bounds);
        let settled = self.file.transaction(|writing| {
            let standing = writing.standing()?;
            writing.clear()?;
            let ends = standing.iter().filter_map(|row| end(row, reason, now));
            add_all(writing, &ends.collect::<Vec<_>>(), &bounds, now)
        });
        match settled {
            Ok((kept, full)) => self.count(kept, full),
            Err(error) => self.fail(&error),
        }
    }

    /// Answers the one who sends; says whether it was the last time.
    fn answer(&mut self, ask: Ask) -> bool {
        match ask {
            Ask::Peek(max, max_bytes, reply) => {
                let events = match self.file.peek(max, max_bytes) {
                    Ok(events) => events,
                    Err(error) => {
                        self.fail(&error);
                        Vec::new()
                    }
                };
                // Whoever asked may have gone.
                let _ = reply.send(Batch { events, last: self.settled });
                false
            }
            Ask::Sent(up_to, reply) => {
                let removed = self.file.transaction(|writing| writing.remove(Some(up_to), 0));
                if let Err(error) = &removed {
                    self.fail(error);
                }
                self.gauge();
                let _ = reply.send(removed.is_ok());
                false
            }
            Ask::Finish => true,
        }
    }

    /// Each second: drops what is too old, and shows how old the rest is.
    fn look(&mut self) {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return;
        }
        self.looked = Some(Instant::now());
        let now = self.clock.wall();
        let before = now.saturating_sub(self.retention_ms);
        match self.file.oldest() {
            Ok(Some(oldest)) if oldest < before => {
                match self.file.transaction(|writing| writing.remove(None, before)) {
                    Ok(expired) => {
                        let dropped = &self.inner.metrics.dropped;
                        dropped.with_label_values(&["expired"]).inc_by(expired);
                        log::warn!(
                            events = expired;
                            "webhooks waited longer than webhooks.retention_ms and are dropped"
                        );
                    }
                    Err(error) => self.fail(&error),
                }
            }
            Ok(_) => {}
            Err(error) => self.fail(&error),
        }
        self.gauge();
    }

    fn gauge(&self) {
        let metrics = &self.inner.metrics;
        metrics.waiting.set(self.file.count.cast_signed());
        metrics.waiting_bytes.set(self.file.bytes.cast_signed());
        let oldest = self.file.oldest().ok().flatten();
        let age = oldest.map_or(0, |at| self.clock.wall().saturating_sub(at) / 1000);
        metrics.oldest_seconds.set(age.cast_signed());
    }
}

/// Gives how many were kept, and how many the bounds refused.
fn add_all(
    writing: &mut Writing<'_>,
    events: &[HookEvent],
    bounds: &Bounds,
    now: u64,
) -> rusqlite::Result<(u64, u64)> {
    let (mut kept, mut full) = (0, 0);
    for event in events {
        match writing.add(event, bounds, now)? {
            Taken::Kept => kept += 1,
            Taken::Full => full += 1,
            Taken::Unwanted => {}
        }
    }
    Ok((kept, full))
}

/// The end of something that stands; none if it cannot be read.
fn end(
    (kind, a, b, rest): &(i64, String, String, String),
    reason: &'static str,
    now: u64,
) -> Option<HookEvent> {
    match *kind {
        SESSION => {
            let (instance, opened) = read_opening(b)?;
            let (user, username): (UserId, Option<Arc<str>>) = serde_json::from_str(rest).ok()?;
            let id = SessionId(Uuid::parse_str(a).ok()?);
            let session = HookSession { id, user, username, instance: instance.into(), opened };
            Some(HookEvent::closed(session, reason, now))
        }
        MEMBER => {
            let (room, user) = (RoomName::new(a).ok()?, UserId::new(b).ok()?);
            let username = serde_json::from_str(rest).ok()?;
            let member = HookMember { room, user, username };
            Some(HookEvent::of_room(HookBody::MemberLeft(member), now, None))
        }
        ROOM => {
            let room = RoomName::new(a).ok()?;
            Some(HookEvent::of_room(HookBody::RoomVacated(room), now, None))
        }
        _ => None,
    }
}
