//! What one reading thread counts and measures.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use super::audit::Audit;

/// Longest latency that is told apart, in microseconds: ten minutes.
const LONGEST: u64 = 600_000_000;
/// Different reasons kept apart; further ones are counted as `other`.
const MAX_REASONS: usize = 64;

/// A histogram of microseconds from 1 to ten minutes, three digits exact, about 200 KiB.
#[must_use]
#[allow(clippy::expect_used)] // the bounds are constants that a test creates it with
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("constant bounds are valid")
}

/// Numbers that only grow, but for `open`.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Copies that came.
    pub delivered: u64,
    /// Publishes that were acknowledged.
    pub acked: u64,
    /// Publishes that were refused, by code.
    pub refused: BTreeMap<String, u64>,
    /// Publishes of connections that ended before the answer.
    pub in_doubt: u64,
    /// Publishes sent again with their key.
    pub resent: u64,
    /// Connections that were open and joined once.
    pub opened: u64,
    /// Connections that are open and joined now.
    pub open: u64,
    /// Slow readers that are open and joined now.
    pub slow_open: u64,
    /// Connections that ended although nobody here wanted it, by reason.
    pub closes: BTreeMap<String, u64>,
    /// The same of slow readers.
    pub slow_closes: BTreeMap<String, u64>,
    /// Connections that came back after that.
    pub reconnects: u64,
    /// Attempts to come back that failed, by reason.
    pub failed_attempts: BTreeMap<String, u64>,
    /// Cycles of the churn.
    pub cycles: u64,
}

/// Counts a reason, within the bound.
pub fn count(map: &mut BTreeMap<String, u64>, reason: &str) {
    let reason = if map.contains_key(reason) || map.len() < MAX_REASONS { reason } else { "other" };
    *map.entry(reason.to_owned()).or_default() += 1;
}

/// See the module.
#[derive(Debug)]
pub struct Tally {
    /// The audit.
    pub audit: Audit,
    /// What is counted.
    pub counts: Counts,
    /// From due to delivered, after the warm-up.
    pub latency: Histogram<u64>,
    /// The same since the last look, warm-up or not.
    pub window: Histogram<u64>,
    /// From due to acknowledged, after the warm-up.
    pub ack: Histogram<u64>,
    /// From leaving to being back, of the churn.
    pub cycle: Histogram<u64>,
    /// How late this thread itself was, while messages were due.
    pub lag: Histogram<u64>,
    /// CPU time of the thread while messages were due.
    pub cpu: Duration,
}

impl Tally {
    /// Nothing yet.
    #[must_use]
    pub fn new(rooms: usize) -> Self {
        Self {
            audit: Audit::new(rooms),
            counts: Counts::default(),
            latency: histogram(),
            window: histogram(),
            ack: histogram(),
            cycle: histogram(),
            lag: histogram(),
            cpu: Duration::ZERO,
        }
    }
}

/// Notes a time; what is longer than ten minutes counts as ten.
pub fn note(histogram: &mut Histogram<u64>, micros: u64) {
    histogram.saturating_record(micros.max(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_can_be_noted() {
        let mut h = histogram();
        for micros in [0, 1, 1000, LONGEST, u64::MAX] {
            note(&mut h, micros);
        }
        assert_eq!(h.len(), 5);
        assert!(h.max() >= LONGEST);
    }

    #[test]
    fn reasons_are_bounded() {
        let mut map = BTreeMap::new();
        for n in 0..1000 {
            count(&mut map, &format!("reason {n}"));
        }
        assert_eq!(map.len(), MAX_REASONS + 1);
        assert_eq!(map.values().sum::<u64>(), 1000);
    }
}
