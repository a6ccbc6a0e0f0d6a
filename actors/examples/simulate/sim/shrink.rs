//! Makes a failing schedule short: leaves out what it fails without (delta debugging).

use super::{
    event::Sabotage,
    run,
    schedule::{Faults, Op, Schedule},
};

/// The shortest failing schedule that was found in so many runs, and how it fails.
pub fn shrink(schedule: &Schedule, sabotage: Option<Sabotage>, most: usize) -> (Schedule, String) {
    let mut best = schedule.clone();
    let mut reason = run(&best, sabotage).err().unwrap_or_default();
    let mut runs = 0;
    let mut attempt = |best: &mut Schedule, reason: &mut String, candidate: Schedule| -> bool {
        if runs >= most {
            return false;
        }
        runs += 1;
        match run(&candidate, sabotage) {
            Ok(_) => false,
            Err(why) => {
                (*best, *reason) = (candidate, why);
                true
            }
        }
    };
    // A better network, one kind of trouble after the other.
    for better in [
        |f: &mut Faults| f.drop = 0,
        |f: &mut Faults| f.repeat = 0,
        |f: &mut Faults| f.reorder = 0,
        |f: &mut Faults| f.lose = 0,
    ] {
        let mut candidate = best.clone();
        better(&mut candidate.faults);
        if candidate.faults != best.faults {
            attempt(&mut best, &mut reason, candidate);
        }
    }
    // Halves, quarters, ... single operations left out, until none can be.
    let mut size = best.ops.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut progress = false;
        while at < best.ops.len() {
            let mut candidate = best.clone();
            let end = (at + size).min(candidate.ops.len());
            candidate.ops.drain(at..end);
            if attempt(&mut best, &mut reason, candidate) {
                progress = true;
            } else {
                at += size;
            }
        }
        if size == 1 && !progress {
            break;
        }
        size = if progress { size } else { size.div_ceil(2) }.max(1);
    }
    // Smaller bursts.
    for at in 0..best.ops.len() {
        while let (when, Op::Burst { client, room, count }) = best.ops[at] {
            let mut candidate = best.clone();
            candidate.ops[at] = (when, Op::Burst { client, room, count: count / 2 });
            if count < 2 || !attempt(&mut best, &mut reason, candidate) {
                break;
            }
        }
    }
    (best, reason)
}
