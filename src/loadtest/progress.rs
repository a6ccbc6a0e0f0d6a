//! The live line, and the series of samples that the report plots.

use std::{
    io::{IsTerminal, Write, stderr},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::Serialize;

use super::{
    LoadError,
    pace::Pace,
    process,
    tally::{Tally, histogram},
};

/// How often a sample is taken and the line is written.
const PERIOD: Duration = Duration::from_secs(1);
/// Pauses of the live line while connections are opened.
const OPENING_PERIOD: Duration = Duration::from_millis(250);

/// A second of the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds since the first message was due.
    pub at: f64,
    /// Connections that are open and joined.
    pub connections: u64,
    /// Messages a second that were due.
    pub due: f64,
    /// Messages a second that were acknowledged.
    pub acked: f64,
    /// Copies a second that came.
    pub delivered: f64,
    /// Half of the copies came within so many microseconds.
    pub p50_us: u64,
    /// 99 of 100 came within so many microseconds.
    pub p99_us: u64,
    /// The last came within so many microseconds.
    pub max_us: u64,
    /// 99 of 100 messages were sent no later than so many microseconds after they were due.
    pub send_lag_p99_us: u64,
    /// CPU of this process, in percent of a core.
    pub own_cpu: f64,
    /// CPU of the hubs that are watched, in percent of a core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hub_cpu: Option<f64>,
    /// Their resident memory in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hub_resident: Option<u64>,
}

/// The hubs on this machine that are watched.
#[derive(Debug)]
pub struct Watch {
    pids: Vec<u32>,
    before: process::Usage,
}

impl Watch {
    /// Watches these processes.
    ///
    /// # Errors
    /// [`LoadError::NoProcess`] if one is not there.
    pub fn new(pids: &[u32]) -> Result<Self, LoadError> {
        for pid in pids {
            process::usage(*pid)?;
        }
        let mut watch = Self { pids: pids.to_vec(), before: process::Usage::default() };
        watch.before = watch.usage().unwrap_or_default();
        Ok(watch)
    }

    /// CPU time and resident memory of all together; none if nothing is watched. A hub that has
    /// ended counts as nothing.
    #[must_use]
    pub fn usage(&self) -> Option<process::Usage> {
        (!self.pids.is_empty()).then(|| {
            let usages = self.pids.iter().filter_map(|pid| process::usage(*pid).ok());
            usages.fold(process::Usage::default(), |sum, usage| process::Usage {
                cpu: sum.cpu + usage.cpu,
                user: sum.user + usage.user,
                resident: sum.resident + usage.resident,
            })
        })
    }

    /// The same before the first connection.
    #[must_use]
    pub fn before(&self) -> process::Usage {
        self.before
    }
}

/// See the module.
#[derive(Debug)]
pub struct Progress {
    /// The hubs that are watched.
    pub watch: Watch,
    /// A sample a second.
    pub samples: Vec<Sample>,
    /// What the watched hubs had used when all connections were open and nothing was sent.
    pub open: Option<process::Usage>,
    quiet: bool,
    terminal: bool,
    began: Instant,
    last: Instant,
    before: (u64, u64, u64, Duration, Duration),
}

impl Progress {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(quiet: bool, watch: Watch) -> Self {
        let now = Instant::now();
        Self {
            watch,
            samples: Vec::new(),
            open: None,
            quiet,
            terminal: stderr().is_terminal(),
            began: now,
            last: now,
            before: Default::default(),
        }
    }

    /// Connections are being opened.
    pub fn opening(&mut self, opened: u64, all: u64) {
        let period = if self.terminal { OPENING_PERIOD } else { PERIOD };
        if self.last.elapsed() >= period {
            self.last = Instant::now();
            self.line(&format!("opening: {opened} of {all} connections"));
        }
    }

    /// The first message is due now.
    pub fn begin(&mut self, tallies: &[Arc<Mutex<Tally>>]) {
        self.began = Instant::now();
        self.last = self.began;
        let usage = self.watch.usage();
        self.open = usage;
        let hub = usage.map_or(Duration::ZERO, |u| u.cpu);
        self.before = (0, 0, 0, process::own_cpu(), hub);
        for tally in tallies {
            tally.lock().window.reset();
        }
    }

    /// Takes a sample if it is time.
    pub fn look(&mut self, tallies: &[Arc<Mutex<Tally>>], pace: &Pace) {
        if self.last.elapsed() >= PERIOD {
            self.sample(tallies, pace);
        }
    }

    /// Takes what is left of the last second, and ends the line.
    pub fn end(&mut self, tallies: &[Arc<Mutex<Tally>>], pace: &Pace) {
        if self.last.elapsed() >= PERIOD / 4 {
            self.sample(tallies, pace);
        }
        self.clear();
    }

    /// Takes the live line away.
    pub fn clear(&self) {
        if !self.quiet && self.terminal {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }

    fn sample(&mut self, tallies: &[Arc<Mutex<Tally>>], pace: &Pace) {
        let seconds = self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        let mut window: Histogram<u64> = histogram();
        let (mut delivered, mut acked, mut refused, mut open) = (0, 0, 0, 0);
        for tally in tallies {
            let mut tally = tally.lock();
            // The bounds are the same.
            let _ = window.add(&tally.window);
            tally.window.reset();
            delivered += tally.counts.delivered;
            acked += tally.counts.acked;
            refused += tally.counts.refused.values().sum::<u64>();
            open += tally.counts.open + tally.counts.slow_open;
        }
        let lag = {
            let mut lag = pace.window.lock();
            let p99 = lag.value_at_quantile(0.99);
            lag.reset();
            p99
        };
        let due = pace.due.load(Ordering::Relaxed);
        let usage = self.watch.usage();
        let own = process::own_cpu();
        let hub = usage.map_or(Duration::ZERO, |u| u.cpu);
        let (due_then, acked_then, delivered_then, own_then, hub_then) = self.before;
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        let share = |now: Duration, then: Duration| {
            now.saturating_sub(then).as_secs_f64() / seconds * 100.0
        };
        let sample = Sample {
            at: self.began.elapsed().as_secs_f64(),
            connections: open,
            due: rate(due, due_then),
            acked: rate(acked, acked_then),
            delivered: rate(delivered, delivered_then),
            p50_us: window.value_at_quantile(0.5),
            p99_us: window.value_at_quantile(0.99),
            max_us: window.max(),
            send_lag_p99_us: lag,
            own_cpu: share(own, own_then),
            hub_cpu: usage.map(|_| share(hub, hub_then)),
            hub_resident: usage.map(|u| u.resident),
        };
        self.before = (due, acked, delivered, own, hub);
        let refused = if refused > 0 { format!("  refused {refused}") } else { String::new() };
        let hub = sample.hub_cpu.map(|cpu| format!("  hub {cpu:.0} %")).unwrap_or_default();
        self.line(&format!(
            "{:4.0} s  conns {}  due {:.0}/s  acked {:.0}/s  delivered {:.0}/s  p50 {}  p99 {}  \
             max {}  own {:.0} %{hub}{refused}",
            sample.at,
            sample.connections,
            sample.due,
            sample.acked,
            sample.delivered,
            time(sample.p50_us),
            time(sample.p99_us),
            time(sample.max_us),
            sample.own_cpu,
        ));
        self.samples.push(sample);
    }

    fn line(&self, text: &str) {
        if self.quiet {
            return;
        }
        // Whoever closed stderr does not want to know.
        let _ = if self.terminal {
            write!(stderr(), "\r\x1b[K{text}")
        } else {
            writeln!(stderr(), "{text}")
        };
    }
}

/// Microseconds for people, in three digits.
#[must_use]
pub fn time(micros: u64) -> String {
    let value = micros as f64;
    let exact = |unit: u64, name: &str| format!("{} {name}", micros / unit);
    match micros {
        1_000.. if micros.is_multiple_of(1_000_000) => exact(1_000_000, "s"),
        1_000..1_000_000 if micros.is_multiple_of(1_000) => exact(1_000, "ms"),
        0..1_000 => format!("{micros} us"),
        1_000..10_000 => format!("{:.2} ms", value / 1e3),
        10_000..100_000 => format!("{:.1} ms", value / 1e3),
        100_000..1_000_000 => format!("{:.0} ms", value / 1e3),
        _ => format!("{:.2} s", value / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times_are_short() {
        for (micros, text) in [
            (7, "7 us"),
            (1_234, "1.23 ms"),
            (45_678, "45.7 ms"),
            (450_000, "450 ms"),
            (2_000, "2 ms"),
            (3_000_000, "3 s"),
            (2_500_000, "2.50 s"),
        ] {
            assert_eq!(time(micros), text);
        }
    }
}
