//! The simulation in short; `examples/simulate` runs it for as long as one likes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../examples/simulate/sim/mod.rs"]
mod sim;

use sim::{event::Sabotage, run, schedule::Schedule, shrink::shrink};

/// Seeds of a run in CI.
const SEEDS: u64 = 150;

#[test]
fn everything_holds_whatever_happens() {
    let mut sum = [0; 5];
    for seed in 0..SEEDS {
        let schedule = Schedule::new(seed);
        match run(&schedule, None) {
            Ok(stats) => {
                let counts = [
                    stats.given,
                    stats.recovered,
                    stats.started_over,
                    stats.came_back,
                    stats.repairs,
                ];
                for (sum, count) in sum.iter_mut().zip(counts) {
                    *sum += count;
                }
            }
            Err(reason) => {
                let (short, why) = shrink(&schedule, None, 2000);
                panic!("seed {seed}: {reason}\nshrunk: {why}\n{short:#?}");
            }
        }
    }
    // A simulation in which nothing goes wrong proves nothing.
    assert!(sum.iter().all(|count| *count > SEEDS), "{sum:?}");
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    for seed in 0..10 {
        let schedule = Schedule::new(seed);
        let events = || run(&schedule, None).unwrap().events;
        assert_eq!(events(), events(), "seed {seed}");
    }
}

/// Each fault that is played is found within a few seeds, and shrunk.
#[test]
fn what_is_broken_is_found() {
    for sabotage in [
        Sabotage::LoseMessage,
        Sabotage::RepeatMessage,
        Sabotage::EarlyAck,
        Sabotage::NoRepair,
        Sabotage::ForgetClose,
        Sabotage::NoKeys,
        Sabotage::NoFence,
        Sabotage::NoTail,
        Sabotage::SkipOne,
    ] {
        let failing = (0..50).map(Schedule::new).find(|s| run(s, Some(sabotage)).is_err());
        let schedule = failing.unwrap_or_else(|| panic!("{sabotage:?} was not found"));
        let (short, reason) = shrink(&schedule, Some(sabotage), 300);
        assert!(short.ops.len() < schedule.ops.len() * 3 / 4, "{sabotage:?}: {short:#?}");
        assert!(!reason.is_empty());
        assert!(run(&short, Some(sabotage)).is_err(), "{sabotage:?}");
    }
}
