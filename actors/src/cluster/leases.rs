//! How long a node counts, and who may sweep up after one. Pure; times are
//! milliseconds of a clock that only goes forward.

/// A node's own lease, as it knows it.
///
/// A lease that ends in the store says that its node is dead only if the store was
/// there all the time: while Redis is away nobody can renew, and when it is back
/// every lease may be over. So a node may judge others only after it has renewed
/// its own for the length of a whole lease without a gap of half a lease.
#[derive(Clone, Debug)]
pub struct OwnLease {
    length: u64,
    steady_since: u64,
    renewed: Option<u64>,
}

impl OwnLease {
    /// A lease of this length that was not taken yet.
    pub fn new(length: u64) -> Self {
        Self { length, steady_since: 0, renewed: None }
    }

    /// Time between two renewals.
    pub fn interval(&self) -> u64 {
        (self.length / 7).max(10)
    }

    /// It was taken or renewed.
    pub fn renewed(&mut self, now: u64) {
        let steady = self.renewed.is_some_and(|at| now.saturating_sub(at) <= self.length / 2);
        if !steady {
            self.steady_since = now;
        }
        self.renewed = Some(now);
    }

    /// The store does not know it any more.
    pub fn lost(&mut self) {
        self.renewed = None;
    }

    /// Whether this node may judge that others are dead.
    pub fn may_judge(&self, now: u64) -> bool {
        self.renewed.is_some_and(|at| now.saturating_sub(at) <= self.length / 2)
            && now.saturating_sub(self.steady_since) >= self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_node_judges_nobody() {
        let mut lease = OwnLease::new(7000);
        assert_eq!(lease.interval(), 1000);
        assert!(!lease.may_judge(100_000));
        for now in (0..7000).step_by(1000) {
            lease.renewed(now);
            assert!(!lease.may_judge(now));
        }
        lease.renewed(7000);
        assert!(lease.may_judge(7000));
        assert!(!lease.may_judge(10_501), "its own renewal is overdue");
    }

    #[test]
    fn after_a_gap_the_others_get_time_to_renew() {
        let mut lease = OwnLease::new(7000);
        (0..=20_000).step_by(1000).for_each(|now| lease.renewed(now));
        assert!(lease.may_judge(20_000));
        // Redis was away, or the process stood still.
        lease.renewed(25_000);
        assert!(!lease.may_judge(25_000));
        (26_000..=32_000).step_by(1000).for_each(|now| lease.renewed(now));
        assert!(lease.may_judge(32_000));
        lease.lost();
        assert!(!lease.may_judge(32_000));
        lease.renewed(32_500);
        assert!(!lease.may_judge(32_500));
    }
}
