//! When each message is due. Pure: the pacing thread asks, nobody sleeps here.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::options::Arrivals;

/// Messages a second: constant, or rising (or falling) evenly over the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// At the beginning.
    pub from: f64,
    /// At the end.
    pub to: f64,
}

impl Rate {
    /// How many messages are due within `duration`.
    #[must_use]
    pub fn messages(&self, duration: Duration) -> u64 {
        ((self.from + self.to) / 2.0 * duration.as_secs_f64()).round() as u64
    }

    /// When the area below the line of the rate reaches `count`, in seconds.
    fn when(&self, count: f64, duration: f64) -> f64 {
        let slope = (self.to - self.from) / duration;
        if slope.abs() < f64::EPSILON {
            return count / self.from;
        }
        // count = from * t + slope / 2 * t^2, solved for the root that begins at 0.
        let root = (self.from * self.from + 2.0 * slope * count).max(0.0).sqrt();
        (root - self.from) / slope
    }
}

/// The due times of a run, one after the other.
#[derive(Debug)]
pub struct Schedule {
    rate: Rate,
    duration: f64,
    total: u64,
    next: u64,
    /// For [`Arrivals::Poisson`]: how far the random arrivals have come, in messages.
    random: Option<(SmallRng, f64)>,
}

impl Schedule {
    /// A run of `duration`.
    #[must_use]
    pub fn new(rate: Rate, duration: Duration, arrivals: Arrivals, seed: u64) -> Self {
        let random = (arrivals == Arrivals::Poisson).then(|| (SmallRng::seed_from_u64(seed), 0.0));
        let total = rate.messages(duration);
        Self { rate, duration: duration.as_secs_f64(), total, next: 0, random }
    }

    /// How many messages are due in all, unless arrivals are random.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }
}

impl Iterator for Schedule {
    /// Microseconds since the first moment of the run.
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let count = match &mut self.random {
            None if self.next >= self.total => return None,
            None => self.next as f64,
            Some((random, count)) => {
                // Distances of a Poisson process are exponential; the argument is above 0.
                *count += -(1.0 - random.random::<f64>()).ln();
                *count
            }
        };
        self.next += 1;
        let due = self.rate.when(count, self.duration);
        (due < self.duration).then_some((due * 1e6) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(from: f64, to: f64, arrivals: Arrivals) -> Vec<u64> {
        Schedule::new(Rate { from, to }, Duration::from_secs(10), arrivals, 7).collect()
    }

    #[test]
    fn an_even_rate_has_equal_distances() {
        let due = all(100.0, 100.0, Arrivals::Even);
        assert_eq!(due.len(), 1000);
        assert!(due.windows(2).all(|w| (9_999..=10_001).contains(&(w[1] - w[0]))));
    }

    #[test]
    fn a_rising_rate_rises() {
        let due = all(0.0, 200.0, Arrivals::Even);
        assert_eq!(due.len(), 1000);
        let half = due.iter().filter(|d| **d < 5_000_000).count();
        assert!((245..=255).contains(&half), "{half} in the first half, a quarter is right");
        assert!(due.is_sorted());
    }

    #[test]
    fn random_arrivals_keep_the_rate_and_the_seed() {
        let due = all(1000.0, 1000.0, Arrivals::Poisson);
        assert!((9_600..=10_400).contains(&due.len()), "{}", due.len());
        assert_eq!(due, all(1000.0, 1000.0, Arrivals::Poisson));
        let short = due.windows(2).filter(|w| w[1] - w[0] < 500).count();
        // 1 - e^-0.5 of them.
        assert!((0.36..=0.43).contains(&(short as f64 / due.len() as f64)), "{short}");
    }
}
