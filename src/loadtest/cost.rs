//! What the run cost this process and the hubs, and whether this process was itself the limit.

use std::{sync::atomic::Ordering, thread, time::Duration};

use serde::Serialize;

use super::{
    options::Plan,
    pace::Pace,
    process::Usage,
    progress::{Progress, time},
    report::{Times, merged},
    run::Phases,
    tally::Tally,
};

/// The load generator counts as the limit if it was later than this in 1 of 100 cases,
const LATE_US: u64 = 10_000;
/// or if one of its threads used more than this share of a core, or all of them this share of the
/// cores they may use.
const BUSY: f64 = 0.9;

/// What this process itself used while messages were due, and until all had come.
#[derive(Debug, Clone, Serialize)]
pub struct Own {
    /// CPU for each copy that came, in microseconds.
    pub cpu_us_per_delivery: f64,
    /// The part of it outside of the kernel.
    pub user_us_per_delivery: f64,
    /// CPU in percent of a core, while messages were due.
    pub cpu_percent: f64,
    /// Cores that it may use.
    pub cores: usize,
    /// Share of a core of the busiest thread.
    pub busiest_thread: f64,
    /// How late messages were sent.
    pub send_lag: Times,
    /// How late the reading threads were.
    pub read_lag: Times,
    /// Why the load generator was itself the limit; empty if it was not.
    pub limits: Vec<String>,
}

impl Own {
    /// From what the threads measured.
    #[must_use]
    pub fn new(tallies: &[Tally], pacing: &Pace, phases: &Phases, delivered: u64) -> Self {
        let seconds = phases.sending.as_secs_f64().max(1e-3);
        let pacer = pacing.cpu.load(Ordering::Relaxed) as f64 / 1e6 / seconds;
        let readers = tallies.iter().map(|t| t.cpu.as_secs_f64() / seconds);
        let mut own = Self {
            cpu_us_per_delivery: per(phases.own.cpu, delivered),
            user_us_per_delivery: per(phases.own.user, delivered),
            cpu_percent: phases.own_sending.as_secs_f64() / seconds * 100.0,
            cores: thread::available_parallelism().map_or(1, usize::from),
            busiest_thread: readers.fold(pacer, f64::max),
            send_lag: Times::new(&pacing.lag.lock()),
            read_lag: Times::new(&merged(tallies, |t| &t.lag)),
            limits: Vec::new(),
        };
        own.limits = own.reasons();
        own
    }

    /// Why this process was the limit.
    fn reasons(&self) -> Vec<String> {
        let mut limits = Vec::new();
        let (send, read) = (self.send_lag.get("p99"), self.read_lag.get("p99"));
        if send > LATE_US {
            limits
                .push(format!("messages were sent late (p99 {} after they were due)", time(send)));
        }
        if read > LATE_US {
            limits.push(format!(
                "its reading threads were late (p99 {}), and the latencies hold that",
                time(read)
            ));
        }
        if self.busiest_thread > BUSY {
            limits.push(format!(
                "a thread used {:.0} % of a core; try more --threads, or another machine",
                self.busiest_thread * 100.0
            ));
        }
        if self.cpu_percent > BUSY * 100.0 * self.cores as f64 {
            limits.push(format!(
                "it used {:.0} % of {} cores, which is all it may use; give it more, or another \
                 machine",
                self.cpu_percent, self.cores
            ));
        }
        limits
    }
}

/// What the watched hubs used.
#[derive(Debug, Clone, Serialize)]
pub struct Hubs {
    /// CPU while messages were due and until all had come, in seconds.
    pub cpu_seconds: f64,
    /// The same for each copy that came, in microseconds.
    pub cpu_us_per_delivery: f64,
    /// The part of it outside of the kernel.
    pub user_us_per_delivery: f64,
    /// CPU for each connection until all had joined, in microseconds.
    pub opening_us_per_connection: f64,
    /// Growth of resident memory for each connection that was opened, in bytes.
    pub resident_per_connection: f64,
    /// Most resident memory seen, in bytes.
    pub resident_peak: u64,
}

impl Hubs {
    /// From what was seen of them.
    #[must_use]
    pub fn new(plan: &Plan, used: Usage, progress: &Progress, delivered: u64) -> Self {
        let before = progress.watch.before();
        let open = progress.open.unwrap_or(before);
        let connections = plan.all_connections() as u64;
        let samples = progress.samples.iter().filter_map(|s| s.hub_resident);
        Self {
            cpu_seconds: used.cpu.as_secs_f64(),
            cpu_us_per_delivery: per(used.cpu, delivered),
            user_us_per_delivery: per(used.user, delivered),
            opening_us_per_connection: per(open.since(before).cpu, connections),
            resident_per_connection: (open.resident as f64 - before.resident as f64)
                / connections as f64,
            resident_peak: samples.fold(open.resident, u64::max),
        }
    }
}

/// Microseconds for each.
fn per(total: Duration, count: u64) -> f64 {
    if count == 0 { 0.0 } else { total.as_secs_f64() * 1e6 / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loadtest::tally::{histogram, note};

    /// Times of which one in fifty is `late`.
    fn times(late: u64) -> Times {
        let mut histogram = histogram();
        for n in 0..100 {
            note(&mut histogram, if n < 2 { late } else { 100 });
        }
        Times::new(&histogram)
    }

    fn own() -> Own {
        Own {
            cpu_us_per_delivery: 1.0,
            user_us_per_delivery: 0.2,
            cpu_percent: 50.0,
            cores: 2,
            busiest_thread: 0.5,
            send_lag: times(500),
            read_lag: times(500),
            limits: Vec::new(),
        }
    }

    #[test]
    fn who_keeps_up_is_no_limit() {
        assert_eq!(own().reasons(), Vec::<String>::new());
    }

    #[test]
    fn each_way_to_be_the_limit_is_told() {
        for (told, limited) in [
            ("sent late (p99 20.0 ms", Own { send_lag: times(20_000), ..own() }),
            ("threads were late (p99 20.0 ms)", Own { read_lag: times(20_000), ..own() }),
            ("a thread used 95 %", Own { busiest_thread: 0.95, ..own() }),
            ("185 % of 2 cores", Own { cpu_percent: 185.0, ..own() }),
        ] {
            let reasons = limited.reasons();
            assert_eq!(reasons.len(), 1, "{reasons:?}");
            assert!(reasons[0].contains(told), "{reasons:?}");
        }
    }
}
