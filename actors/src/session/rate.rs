//! How often a session may ask.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Whether a request may pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passage {
    /// It may.
    Free,
    /// It may not; the client should slow down.
    Limited,
    /// It may not, and the client does not slow down.
    Abused,
}

/// Refusals, less what passed meanwhile, after which a session is closed: as many
/// bursts, and at least [`MIN_STRIKES`].
const STRIKE_BURSTS: u32 = 5;
const MIN_STRIKES: u32 = 20;

/// The rate limit of one session.
pub struct Rate(Option<Box<Limited>>);

struct Limited {
    limiter: DefaultDirectRateLimiter,
    strikes: u32,
    max_strikes: u32,
}

impl Rate {
    /// At most `per_second` requests a second on average, `burst` at once. A
    /// `per_second` of 0 means no limit; a burst is at least 1.
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self(NonZeroU32::new(per_second).map(|rate| {
            let burst = NonZeroU32::new(burst).unwrap_or(rate);
            Box::new(Limited {
                limiter: RateLimiter::direct(Quota::per_second(rate).allow_burst(burst)),
                strikes: 0,
                max_strikes: burst.get().saturating_mul(STRIKE_BURSTS).max(MIN_STRIKES),
            })
        }))
    }

    /// Counts a request.
    pub fn check(&mut self) -> Passage {
        let Some(limited) = &mut self.0 else { return Passage::Free };
        if limited.limiter.check().is_ok() {
            limited.strikes = limited.strikes.saturating_sub(1);
            return Passage::Free;
        }
        limited.strikes += 1;
        if limited.strikes > limited.max_strikes { Passage::Abused } else { Passage::Limited }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_abuse_shows() {
        let mut rate = Rate::new(1, 10);
        let passed = (0..10).filter(|_| rate.check() == Passage::Free).count();
        assert_eq!(passed, 10);
        assert_eq!(rate.check(), Passage::Limited);
        assert!((0..60).any(|_| rate.check() == Passage::Abused));
        let mut free = Rate::new(0, 0);
        assert!((0..10_000).all(|_| free.check() == Passage::Free));
    }
}
