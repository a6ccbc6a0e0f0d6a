//! The time, from one place, so that tests can bring their own: a steady one for everything that
//! lasts, and that of the calendar for what others read.

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use hubbub_protocol::timestamp::Timestamp;

/// How far the two times may be apart before they count as different: less is the rounding of both
/// and what the system's clock is slewed by.
const SAME_MS: u64 = 100;

/// Milliseconds since 1970. Cheap to clone and to call.
#[derive(Clone)]
pub struct Clock {
    steady: Arc<dyn Fn() -> u64 + Send + Sync>,
    wall: Arc<dyn Fn() -> u64 + Send + Sync>,
}

fn of_the_system() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> Self {
        let (start, since) = (of_the_system(), Instant::now());
        Self {
            steady: Arc::new(move || start + since.elapsed().as_millis() as u64),
            wall: Arc::new(of_the_system),
        }
    }

    /// A clock of one's own, which is steady and the calendar's at once.
    pub fn new(now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let now = Arc::new(now);
        Self { steady: now.clone(), wall: now }
    }

    /// Milliseconds since 1970 as the system's clock said at the start, and from there on without a
    /// jump: for deadlines and whatever else lasts. Means nothing to another process.
    pub fn now(&self) -> u64 {
        (self.steady)()
    }

    /// Milliseconds since 1970 as the system's clock says now, which an operator or a time server may
    /// set forward or back: for what is stored, told, or compared with what others say.
    pub fn wall(&self) -> u64 {
        (self.wall)()
    }

    /// [`wall`](Self::wall) as a timestamp.
    pub fn timestamp(&self) -> Timestamp {
        Timestamp(self.wall())
    }

    /// When something is due by [`now`](Self::now) that the calendar has at `wall`.
    pub fn due(&self, wall: u64) -> u64 {
        let (now, calendar) = (self.now(), self.wall());
        if now.abs_diff(calendar) < SAME_MS {
            return wall;
        }
        wall.saturating_sub(calendar).saturating_add(now)
    }

    /// The calendar's time of a moment that [`now`](Self::now) has at `at`.
    pub fn told(&self, at: u64) -> Timestamp {
        let (now, calendar) = (self.now(), self.wall());
        if now.abs_diff(calendar) < SAME_MS {
            return Timestamp(at);
        }
        Timestamp(at.saturating_add(calendar).saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(steady: u64, wall: u64) -> Clock {
        Clock { steady: Arc::new(move || steady), wall: Arc::new(move || wall) }
    }

    #[test]
    fn a_clock_that_jumped_moves_no_deadline() {
        // The system's clock was set 40 s forward.
        let clock = apart(100_000, 140_000);
        assert_eq!(clock.due(150_000), 110_000);
        assert_eq!(clock.told(110_000), Timestamp(150_000));
        assert_eq!(clock.due(130_000), 100_000, "what is over is over now");
        // And back.
        let clock = apart(100_000, 60_000);
        assert_eq!(clock.due(70_000), 110_000);
        assert_eq!(clock.told(110_000), Timestamp(70_000));
    }

    #[test]
    fn rounding_is_no_jump() {
        let clock = apart(100_000, 100_001);
        assert_eq!((clock.due(150_000), clock.told(150_000)), (150_000, Timestamp(150_000)));
    }

    #[test]
    fn the_systems_clocks_agree() {
        let clock = Clock::system();
        assert!(clock.now().abs_diff(clock.wall()) < SAME_MS);
    }
}
