//! Counts lines by their place in the code and suppresses floods.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use log::{Level, Record};
use parking_lot::Mutex;

const WINDOW: Duration = Duration::from_secs(1);
/// Places kept; beyond that lines are written uncounted until quiet places are forgotten.
const MAX_PLACES: usize = 4096;
/// Longest message kept for the report, in characters.
const MESSAGE_CHARS: usize = 256;

/// Whether a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Write,
    Suppress,
}

/// What counting a line found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    /// It is within the limit.
    Within,
    /// It is the first one over the limit since the last report.
    First,
    /// It is a further one over the limit.
    Further,
}

/// Lines of one place that were not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suppressed {
    pub(super) level: Level,
    pub(super) target: String,
    /// The message of the first of them.
    pub(super) message: String,
    pub(super) count: u64,
}

/// A place in the code: hash of target and file, and the line.
type Place = (u64, u32);

#[derive(Debug)]
struct Window {
    since: Instant,
    written: u32,
    suppressed: Option<Suppressed>,
}

impl Window {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= WINDOW
    }
}

#[derive(Debug)]
pub(super) struct Flood {
    /// Lines per place and second; 0: no limit.
    limit: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    places: HashMap<Place, Window>,
    /// Places with suppressed lines.
    waiting: usize,
}

impl Flood {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, state: Mutex::default() }
    }

    /// Counts a record. Also gives what was suppressed in seconds that are over.
    pub(super) fn pass(&self, record: &Record<'_>, now: Instant) -> (Verdict, Vec<Suppressed>) {
        if self.limit == 0 {
            return (Verdict::Write, Vec::new());
        }
        let (verdict, due) = {
            let mut state = self.state.lock();
            let due = state.due(now, false);
            (state.count(record, now, self.limit), due)
        };
        if verdict == Counted::First {
            // Formatted without the lock: the code that formats a message may log, too.
            let message = record.args().to_string().chars().take(MESSAGE_CHARS).collect();
            self.state.lock().describe(place(record), message);
        }
        let verdict = if verdict == Counted::Within { Verdict::Write } else { Verdict::Suppress };
        (verdict, due)
    }

    /// What was suppressed in seconds that are over, or up to now with `all`.
    pub(super) fn due(&self, now: Instant, all: bool) -> Vec<Suppressed> {
        self.state.lock().due(now, all)
    }
}

impl State {
    fn due(&mut self, now: Instant, all: bool) -> Vec<Suppressed> {
        if self.waiting == 0 {
            return Vec::new();
        }
        let over = self.places.values_mut().filter(|window| all || window.is_over(now));
        let due: Vec<_> = over.filter_map(|window| window.suppressed.take()).collect();
        self.waiting -= due.len();
        due
    }

    fn count(&mut self, record: &Record<'_>, now: Instant, limit: u32) -> Counted {
        let place = place(record);
        if self.places.len() >= MAX_PLACES && !self.places.contains_key(&place) {
            self.places.retain(|_, window| window.suppressed.is_some() || !window.is_over(now));
            if self.places.len() >= MAX_PLACES {
                return Counted::Within;
            }
        }
        let window =
            self.places.entry(place).or_insert(Window { since: now, written: 0, suppressed: None });
        if window.is_over(now) {
            (window.since, window.written) = (now, 0);
        }
        if window.written < limit {
            window.written += 1;
            return Counted::Within;
        }
        match &mut window.suppressed {
            Some(suppressed) => {
                suppressed.count += 1;
                Counted::Further
            }
            None => {
                self.waiting += 1;
                window.suppressed = Some(Suppressed {
                    level: record.level(),
                    target: record.target().to_owned(),
                    message: String::new(),
                    count: 1,
                });
                Counted::First
            }
        }
    }

    fn describe(&mut self, place: Place, message: String) {
        if let Some(suppressed) = self.places.get_mut(&place).and_then(|w| w.suppressed.as_mut()) {
            suppressed.message = message;
        }
    }
}

fn place(record: &Record<'_>) -> Place {
    let mut hasher = DefaultHasher::new();
    record.target().hash(&mut hasher);
    record.file().hash(&mut hasher);
    (hasher.finish(), record.line().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(flood: &Flood, line: u32, now: Instant) -> Verdict {
        flood.pass(&Record::builder().target("t").line(Some(line)).build(), now).0
    }

    #[test]
    fn zero_is_no_limit() {
        let flood = Flood::new(0);
        let now = Instant::now();
        assert!((0..1000).all(|_| pass(&flood, 1, now) == Verdict::Write));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_quiet_places() {
        let flood = Flood::new(1);
        let start = Instant::now();
        for line in 0..MAX_PLACES as u32 + 10 {
            assert_eq!(pass(&flood, line, start), Verdict::Write);
        }
        assert_eq!(flood.state.lock().places.len(), MAX_PLACES);
        // A place beyond the bound is written uncounted, a known one is still limited.
        assert_eq!(pass(&flood, u32::MAX, start), Verdict::Write);
        assert_eq!(pass(&flood, u32::MAX, start), Verdict::Write);
        assert_eq!(pass(&flood, 0, start), Verdict::Suppress);
        let later = start + WINDOW;
        assert_eq!(pass(&flood, u32::MAX, later), Verdict::Write);
        assert_eq!(pass(&flood, u32::MAX, later), Verdict::Suppress);
        assert!(flood.state.lock().places.len() < MAX_PLACES);
    }

    #[test]
    fn each_suppressed_line_is_counted_once() {
        let flood = Flood::new(2);
        let start = Instant::now();
        let written = (0..50).filter(|_| pass(&flood, 7, start) == Verdict::Write).count();
        let due = flood.due(start, true);
        assert_eq!((written, due.len(), due[0].count), (2, 1, 48));
        assert_eq!(flood.due(start + WINDOW, true), []);
    }
}
