//! What is done to whom, and when: nothing of it hangs on anything but the seed. Pure.

use std::fmt;

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};

/// One harm. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of a node, and a start after a while.
    KillHub { node: usize, down: u64 },
    /// A node is stopped, as by a debugger or a starved machine, and goes on.
    FreezeHub { node: usize, for_ms: u64 },
    /// SIGTERM, and a start after the drain.
    DrainHub { node: usize },
    /// `kill -9` of Redis, and a start after a while.
    KillRedis { down: u64 },
    /// Redis is stopped and goes on.
    FreezeRedis { for_ms: u64 },
    /// Nothing passes between a node and Redis, and nobody is told.
    Partition { node: usize, for_ms: u64 },
    /// The connections between a node and Redis are cut, so many times.
    Cut { node: usize, times: u64 },
    /// Each piece between all nodes and Redis takes so much longer.
    SlowRedis { by: u64, for_ms: u64 },
    /// The disk of Redis is full.
    FullDisk { for_ms: u64 },
    /// A node may open no file and take no connection, while its connections to Redis are cut.
    NoFiles { node: usize, for_ms: u64 },
    /// The clock of a node jumps, and stays so.
    ClockJump { node: usize, seconds: i64 },
}

impl Fault {
    /// One word, for the count.
    pub fn name(&self) -> &'static str {
        match self {
            Self::KillHub { .. } => "kill-hub",
            Self::FreezeHub { .. } => "freeze-hub",
            Self::DrainHub { .. } => "drain-hub",
            Self::KillRedis { .. } => "kill-redis",
            Self::FreezeRedis { .. } => "freeze-redis",
            Self::Partition { .. } => "partition",
            Self::Cut { .. } => "cut",
            Self::SlowRedis { .. } => "slow-redis",
            Self::FullDisk { .. } => "full-disk",
            Self::NoFiles { .. } => "no-files",
            Self::ClockJump { .. } => "clock-jump",
        }
    }

    /// What it falls on: a node and what is its own, or Redis. Two at a time fall on different ones.
    fn place(&self) -> Option<usize> {
        match self {
            Self::KillHub { node, .. }
            | Self::FreezeHub { node, .. }
            | Self::DrainHub { node }
            | Self::Partition { node, .. }
            | Self::Cut { node, .. }
            | Self::NoFiles { node, .. }
            | Self::ClockJump { node, .. } => Some(*node),
            _ => None,
        }
    }

    /// Whether it makes sense for a single node without Redis.
    fn needs_redis(&self) -> bool {
        let place = self.place().is_some();
        let way = matches!(self, Self::Partition { .. } | Self::Cut { .. });
        way || !place && !matches!(self, Self::FullDisk { .. })
    }

    fn draw(random: &mut SmallRng, nodes: usize) -> Self {
        let node = random.random_range(0..nodes);
        match random.random_range(0..15) {
            0 | 1 => Self::KillHub { node, down: random.random_range(0..3000) },
            // Now and then longer than the lease of a node.
            2 | 3 => Self::FreezeHub { node, for_ms: brief(random, 9000) },
            4 => Self::DrainHub { node },
            5 | 6 => Self::KillRedis { down: random.random_range(0..2500) },
            7 => Self::FreezeRedis { for_ms: brief(random, 5000) },
            8 | 9 => Self::Partition { node, for_ms: brief(random, 9000) },
            10 => Self::Cut { node, times: random.random_range(1..6) },
            11 => Self::SlowRedis {
                by: random.random_range(2..120),
                for_ms: random.random_range(500..4000),
            },
            12 => Self::FullDisk { for_ms: random.random_range(200..2500) },
            13 => Self::NoFiles { node, for_ms: random.random_range(500..4000) },
            _ => {
                let most = *[2, 40, 900, 7200].choose(random).unwrap_or(&2);
                Self::ClockJump { node, seconds: random.random_range(-most..=most) }
            }
        }
    }
}

/// Mostly short.
fn brief(random: &mut SmallRng, most: u64) -> u64 {
    let least = 50;
    if random.random_bool(0.7) {
        random.random_range(least..most / 4)
    } else {
        random.random_range(most / 4..most)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// One or two faults at the same time, and the calm before them in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Milliseconds in which nothing new is done.
    pub calm: u64,
    /// What is done then.
    pub faults: Vec<Fault>,
}

/// All steps of a seed, without an end.
pub struct Schedule {
    random: SmallRng,
    nodes: usize,
}

impl Schedule {
    /// Of a seed.
    pub fn new(seed: u64, nodes: usize) -> Self {
        Self { random: SmallRng::seed_from_u64(seed), nodes }
    }
}

impl Iterator for Schedule {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let calm = self.random.random_range(100..1500);
        let mut draw = || loop {
            let fault = Fault::draw(&mut self.random, self.nodes);
            if self.nodes > 1 || !fault.needs_redis() {
                return fault;
            }
        };
        let mut faults = vec![draw()];
        let second = draw();
        if self.random.random_bool(0.35) && second.place() != faults[0].place() {
            faults.push(second);
        }
        Some(Step { calm, faults })
    }
}

#[test]
fn a_seed_says_everything() {
    let steps = |seed| Schedule::new(seed, 3).take(200).collect::<Vec<_>>();
    assert_eq!(steps(1), steps(1));
    assert_ne!(steps(1), steps(2));
    let names: std::collections::BTreeSet<_> =
        steps(1).iter().flat_map(|s| s.faults.iter().map(Fault::name)).collect();
    assert_eq!(names.len(), 11, "{names:?}");
    let alone = Schedule::new(1, 1).take(200).flat_map(|step| step.faults);
    assert!(!alone.into_iter().any(|fault| fault.needs_redis()));
}
