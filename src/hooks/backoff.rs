//! How long to wait after a request that failed. Pure.

use std::time::Duration;

/// The first pause, at most.
const FIRST: Duration = Duration::from_millis(500);

/// Pauses that double up to a longest one. Each is drawn between half of it and all of it, so that
/// nodes which failed together do not come back together.
#[derive(Debug)]
pub(super) struct Backoff {
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses up to `longest`.
    pub(super) fn new(longest: Duration) -> Self {
        Self { longest, next: FIRST.min(longest) }
    }

    /// A request was accepted.
    pub(super) fn reset(&mut self) {
        self.next = FIRST.min(self.longest);
    }

    /// The next pause; `random` is from 0 to 1. The backend may have `asked` for one, which counts up
    /// to the longest.
    pub(super) fn pause(&mut self, random: f64, asked: Option<Duration>) -> Duration {
        let pause = self.next.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0);
        self.next = (self.next * 2).min(self.longest);
        pause.max(asked.unwrap_or_default().min(self.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_secs(3));
        let whole: Vec<_> = (0..5).map(|_| backoff.pause(1.0, None).as_millis()).collect();
        assert_eq!(whole, [500, 1000, 2000, 3000, 3000]);
        backoff.reset();
        let half: Vec<_> = (0..4).map(|_| backoff.pause(0.0, None).as_millis()).collect();
        assert_eq!(half, [250, 500, 1000, 1500]);
    }

    #[test]
    fn the_backend_may_ask_for_more_time() {
        let mut backoff = Backoff::new(Duration::from_secs(3));
        let asked = |s| Some(Duration::from_secs(s));
        assert_eq!(backoff.pause(1.0, asked(2)), Duration::from_secs(2));
        assert_eq!(backoff.pause(1.0, asked(0)), Duration::from_secs(1));
        assert_eq!(backoff.pause(1.0, asked(3600)), Duration::from_secs(3));
        let mut quick = Backoff::new(Duration::from_millis(10));
        assert_eq!(quick.pause(1.0, None), Duration::from_millis(10));
    }
}
