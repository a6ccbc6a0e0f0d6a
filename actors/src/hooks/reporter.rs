//! Which node tells the backend what happens in the whole fleet. Pure.
//!
//! Every node sees the same changes in the same order and gives each the same id. The
//! living one whose name comes first tells them; the others keep what they would have
//! told for as long as it may take to notice that this one is dead, so that the next
//! one can tell it. So all of it is told at least once, and mostly once.

use std::collections::VecDeque;

use super::event::HookEvent;

/// A node that comes first is left the word only after it has lived so long: it may
/// still be reading what there is.
const HOLD_MS: u64 = 3000;
/// Most events that are kept for a reporter that may be dead.
const MAX_TRAIL: usize = 65_536;

/// What one node knows of the order.
pub struct Reporter {
    keep_ms: u64,
    reports: bool,
    /// Since when another one comes first.
    other_since: Option<u64>,
    trail: VecDeque<(u64, HookEvent)>,
}

impl Reporter {
    /// One that does not report yet, among nodes with leases of so many milliseconds.
    pub fn new(lease_ms: u64) -> Self {
        let keep_ms = lease_ms.saturating_mul(2).saturating_add(5000);
        Self { keep_ms, reports: false, other_since: None, trail: VecDeque::new() }
    }

    /// Takes what happened; gives what this node tells now. Times are milliseconds of a
    /// clock that only goes forward.
    pub fn take(&mut self, event: HookEvent, now: u64) -> Option<HookEvent> {
        if self.reports {
            return Some(event);
        }
        self.expire(now);
        if self.trail.len() == MAX_TRAIL {
            self.trail.pop_front();
        }
        self.trail.push_back((now, event));
        None
    }

    fn expire(&mut self, now: u64) {
        while self.trail.front().is_some_and(|(at, _)| at + self.keep_ms < now) {
            self.trail.pop_front();
        }
    }

    /// Looks at who lives: `first` says whether this node is the first of them, none if
    /// that is not known. Gives what has to be told because the one before may have
    /// died.
    pub fn look(&mut self, first: Option<bool>, now: u64) -> Vec<HookEvent> {
        self.expire(now);
        match first {
            None => Vec::new(),
            Some(true) => {
                self.other_since = None;
                if self.reports {
                    return Vec::new();
                }
                self.reports = true;
                self.trail.drain(..).map(|(_, event)| event).collect()
            }
            Some(false) => {
                let since = *self.other_since.get_or_insert(now);
                if self.reports && now.saturating_sub(since) >= HOLD_MS {
                    self.reports = false;
                }
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hubbub_protocol::id::RoomName;

    use super::*;
    use crate::hooks::event::HookBody;

    fn event(n: u64) -> HookEvent {
        let room = RoomName::new(format!("r{n}")).unwrap();
        HookEvent::of_room(HookBody::RoomOccupied(room), n, None)
    }

    fn times(events: &[HookEvent]) -> Vec<u64> {
        events.iter().map(|event| event.at).collect()
    }

    #[test]
    fn the_next_one_tells_what_the_dead_one_may_not_have_told() {
        let mut reporter = Reporter::new(2000);
        assert!(reporter.look(None, 0).is_empty());
        assert!(reporter.look(Some(false), 0).is_empty());
        for n in [1, 2, 3] {
            assert!(reporter.take(event(n), n * 4000).is_none());
        }
        // The first has been kept for twice the lease and five seconds.
        assert_eq!(times(&reporter.look(Some(true), 13_001)), [2, 3]);
        assert_eq!(reporter.take(event(4), 13_002).unwrap().at, 4);
        assert!(reporter.look(Some(true), 13_003).is_empty());
    }

    #[test]
    fn a_newcomer_that_comes_first_is_given_time() {
        let mut reporter = Reporter::new(2000);
        reporter.look(Some(true), 0);
        reporter.look(Some(false), 1000);
        assert!(reporter.take(event(1), 2000).is_some(), "both tell it, with one id");
        // It was only a moment.
        reporter.look(Some(true), 3500);
        reporter.look(Some(false), 3600);
        reporter.look(Some(false), 6599);
        assert!(reporter.take(event(2), 6599).is_some());
        reporter.look(Some(false), 6600);
        assert!(reporter.take(event(3), 6601).is_none());
        assert_eq!(times(&reporter.look(Some(true), 6700)), [3]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut reporter = Reporter::new(2000);
        for n in 0..MAX_TRAIL as u64 + 5 {
            reporter.take(event(n), 0);
        }
        let kept = reporter.look(Some(true), 0);
        assert_eq!((kept.len(), kept[0].at), (MAX_TRAIL, 5));
    }
}
