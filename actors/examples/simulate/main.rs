//! The simulation by hand:
//! `cargo run --release -p hubbub-actors --example simulate -- --seeds 10000`
//!
//! `--seeds N` runs N seeds from `--from` (default 0) on; `--seed N` runs one. `--sabotage NAME` plays
//! a fault of the simulation itself, to see that it is found. A failing seed is shrunk and printed,
//! and the exit code is 1.

mod sim;

use std::{process::ExitCode, time::Instant};

use sim::{event::Sabotage, run, schedule::Schedule, shrink::shrink, world::Stats};

/// Every fault that can be played.
const SABOTAGES: [(&str, Sabotage); 9] = [
    ("lose-message", Sabotage::LoseMessage),
    ("repeat-message", Sabotage::RepeatMessage),
    ("early-ack", Sabotage::EarlyAck),
    ("no-repair", Sabotage::NoRepair),
    ("forget-close", Sabotage::ForgetClose),
    ("no-keys", Sabotage::NoKeys),
    ("no-fence", Sabotage::NoFence),
    ("no-tail", Sabotage::NoTail),
    ("skip-one", Sabotage::SkipOne),
];

/// Runs that one shrinking may take.
const SHRINKING: usize = 5000;

struct Wanted {
    from: u64,
    seeds: u64,
    sabotage: Option<Sabotage>,
}

fn wanted() -> Result<Wanted, String> {
    let mut wanted = Wanted { from: 0, seeds: 1000, sabotage: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{name} needs a number"));
        match name.as_str() {
            "--seeds" => wanted.seeds = number()?,
            "--from" => wanted.from = number()?,
            "--seed" => (wanted.from, wanted.seeds) = (number()?, 1),
            "--sabotage" => {
                let found = SABOTAGES.iter().find(|(name, _)| *name == value);
                let names: Vec<_> = SABOTAGES.iter().map(|(name, _)| *name).collect();
                let (_, sabotage) = found.ok_or(format!("one of {}", names.join(", ")))?;
                wanted.sabotage = Some(*sabotage);
            }
            _ => return Err(format!("{name} is not known: --seeds, --from, --seed, --sabotage")),
        }
    }
    Ok(wanted)
}

fn main() -> ExitCode {
    let wanted = match wanted() {
        Ok(wanted) => wanted,
        Err(reason) => {
            eprintln!("simulate: {reason}");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let mut sum = Stats::default();
    for seed in wanted.from..wanted.from.saturating_add(wanted.seeds) {
        let schedule = Schedule::new(seed);
        match run(&schedule, wanted.sabotage) {
            Ok(stats) => add(&mut sum, stats),
            Err(reason) => {
                report(&schedule, wanted.sabotage, &reason);
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "{} seeds from {} held: {} events, {} messages stored and {} given, {} rejoins recovered and \
         {} started over, {} sessions back, {} gaps filled, in {:.1} s",
        wanted.seeds,
        wanted.from,
        sum.events,
        sum.stored,
        sum.given,
        sum.recovered,
        sum.started_over,
        sum.came_back,
        sum.repairs,
        began.elapsed().as_secs_f64(),
    );
    ExitCode::SUCCESS
}

fn add(sum: &mut Stats, stats: Stats) {
    sum.events += stats.events;
    sum.stored += stats.stored;
    sum.given += stats.given;
    sum.recovered += stats.recovered;
    sum.started_over += stats.started_over;
    sum.repairs += stats.repairs;
    sum.came_back += stats.came_back;
}

fn report(schedule: &Schedule, sabotage: Option<Sabotage>, reason: &str) {
    println!("seed {} failed {reason}", schedule.seed);
    println!("again with: --seed {}", schedule.seed);
    let (short, reason) = shrink(schedule, sabotage, SHRINKING);
    println!(
        "shrunk from {} to {} operations, {:?}, {} messages kept; fails {reason}",
        schedule.ops.len(),
        short.ops.len(),
        short.faults,
        short.kept,
    );
    for (at, op) in &short.ops {
        println!("  {at:>6} ms  {op:?}");
    }
}
