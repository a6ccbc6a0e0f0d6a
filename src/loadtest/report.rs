//! What a run found, for people and programs.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, atomic::Ordering},
};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    LoadError,
    audit::Audit,
    cost::{Hubs, Own},
    judge::Verdict,
    options::{Plan, WireChoice},
    pace::Pace,
    progress::{Progress, Sample, time},
    run::Phases,
    tally::{Tally, histogram},
};

/// What is left of a run when everything has ended.
pub struct Ended {
    /// Of each reading thread.
    pub tallies: Vec<Tally>,
    /// Of the pacing thread.
    pub pacing: Arc<Pace>,
    /// The samples.
    pub progress: Progress,
    /// Publishes that were never answered.
    pub unanswered: u64,
    /// When what happened.
    pub phases: Phases,
}

/// Times in microseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Times {
    /// How many were measured.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// Percentiles by name, from `p50` to `p99.99`.
    pub percentiles: BTreeMap<String, u64>,
    /// The longest.
    pub max: u64,
    /// The curve: share of all (0 to 1) and the time within which they came.
    pub curve: Vec<(f64, u64)>,
}

impl Times {
    /// Of what was noted.
    #[must_use]
    pub fn new(histogram: &Histogram<u64>) -> Self {
        let names = [50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99];
        let at = |p: f64| (format!("p{p}"), histogram.value_at_percentile(p));
        let curve = histogram
            .iter_quantiles(5)
            .map(|step| (step.quantile_iterated_to(), step.value_iterated_to()));
        Self {
            count: histogram.len(),
            mean: histogram.mean(),
            percentiles: names.into_iter().map(at).collect(),
            max: histogram.max(),
            curve: if histogram.is_empty() { Vec::new() } else { curve.collect() },
        }
    }

    /// A percentile by its name; 0 if nothing was measured.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.percentiles.get(name).copied().unwrap_or(0)
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return f.write_str("none");
        }
        let p = |name| time(self.get(name));
        write!(
            f,
            "p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
            p("p50"),
            p("p90"),
            p("p99"),
            p("p99.9"),
            time(self.max)
        )
    }
}

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // named as the arguments
pub struct Settings {
    pub run: String,
    pub urls: Vec<String>,
    pub wire: &'static str,
    pub connections: usize,
    pub rooms: usize,
    pub rooms_per_connection: usize,
    pub senders: usize,
    pub rate_from: f64,
    pub rate_to: f64,
    pub size_from: usize,
    pub size_to: usize,
    pub duration_seconds: f64,
    pub warmup_seconds: f64,
    pub churn: f64,
    pub churners: usize,
    pub slow_readers: usize,
    pub keys: bool,
    pub threads: usize,
    pub seed: u64,
}

/// The result of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether the audit found nothing and everybody was there at the end.
    pub passed: bool,
    /// Why not, in a sentence each.
    pub problems: Vec<String>,
    /// What was asked for.
    pub settings: Settings,
    /// Seconds until every connection had joined.
    pub opening_seconds: f64,
    /// Seconds in which messages were due.
    pub sending_seconds: f64,
    /// Whether it was ended early.
    pub interrupted: bool,
    /// Messages that were due.
    pub due: u64,
    /// Messages that were sent.
    pub sent: u64,
    /// Messages that were not sent because their connection was down.
    pub unsent_down: u64,
    /// Messages that were not sent because their socket took no more.
    pub unsent_blocked: u64,
    /// Publishes that were acknowledged.
    pub acked: u64,
    /// Publishes that were refused, by code.
    pub refused: BTreeMap<String, u64>,
    /// Publishes that were not answered although their connection was open.
    pub unanswered: u64,
    /// Publishes whose connection ended before the answer: they may be stored or not.
    pub in_doubt: u64,
    /// Publishes sent again with their key.
    pub resent: u64,
    /// Copies that came.
    pub delivered: u64,
    /// From due to delivered.
    pub latency: Times,
    /// From due to acknowledged.
    pub ack_latency: Times,
    /// Connections that ended although nobody here wanted it, by reason.
    pub closes: BTreeMap<String, u64>,
    /// How many of them came back.
    pub reconnects: u64,
    /// Attempts to come back that failed, by reason.
    pub failed_attempts: BTreeMap<String, u64>,
    /// Slow readers that the hub closed, by reason.
    pub slow_closes: BTreeMap<String, u64>,
    /// Cycles of the churn.
    pub cycles: u64,
    /// From leaving to having joined again.
    pub cycle_time: Times,
    /// The audit.
    pub audit: Verdict,
    /// What this process used.
    pub own: Own,
    /// What the watched hubs used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hubs: Option<Hubs>,
    /// A sample a second.
    pub samples: Vec<Sample>,
}

impl Report {
    /// Puts a run together; `judge` gives the verdict of the audits.
    ///
    /// # Errors
    /// [`LoadError::NothingAcknowledged`] if messages were sent and none was taken.
    pub fn new(
        plan: &Plan,
        ended: Ended,
        judge: impl FnOnce(Vec<Audit>) -> Verdict,
    ) -> Result<Self, LoadError> {
        let Ended { mut tallies, pacing, progress, unanswered, phases } = ended;
        let audits = tallies.iter_mut().map(|t| std::mem::take(&mut t.audit)).collect();
        let load = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
        let sum = |pick: fn(&Tally) -> u64| tallies.iter().map(pick).sum::<u64>();
        let delivered = sum(|t| t.counts.delivered);
        let own = Own::new(&tallies, &pacing, &phases, delivered);
        let hubs = phases.hubs.map(|used| Hubs::new(plan, used, &progress, delivered));
        let open = sum(|t| t.counts.open);
        let mut report = Self {
            passed: true,
            problems: Vec::new(),
            settings: settings(plan),
            opening_seconds: phases.opening.as_secs_f64(),
            sending_seconds: phases.sending.as_secs_f64(),
            interrupted: phases.interrupted,
            due: load(&pacing.due),
            sent: load(&pacing.sent),
            unsent_down: load(&pacing.down),
            unsent_blocked: load(&pacing.blocked),
            acked: sum(|t| t.counts.acked),
            refused: reasons(&tallies, |t| &t.counts.refused),
            unanswered,
            in_doubt: sum(|t| t.counts.in_doubt),
            resent: sum(|t| t.counts.resent),
            delivered,
            latency: Times::new(&merged(&tallies, |t| &t.latency)),
            ack_latency: Times::new(&merged(&tallies, |t| &t.ack)),
            closes: reasons(&tallies, |t| &t.counts.closes),
            reconnects: sum(|t| t.counts.reconnects),
            failed_attempts: reasons(&tallies, |t| &t.counts.failed_attempts),
            slow_closes: reasons(&tallies, |t| &t.counts.slow_closes),
            cycles: sum(|t| t.counts.cycles),
            cycle_time: Times::new(&merged(&tallies, |t| &t.cycle)),
            audit: judge(audits),
            own,
            hubs,
            samples: progress.samples,
        };
        if report.sent > 0 && report.acked == 0 {
            let most = report.refused.iter().max_by_key(|(_, n)| **n);
            let reason = most.map_or("the hub gave no answer".to_owned(), |(code, n)| {
                format!("{n} were refused with {code}")
            });
            return Err(LoadError::NothingAcknowledged { sent: report.sent, reason });
        }
        // A churner may be on its way at the end; everybody else must be there.
        let absent = (plan.connections as u64).saturating_sub(open);
        report.find_problems(absent, plan.churners as u64);
        Ok(report)
    }

    fn find_problems(&mut self, absent: u64, churners: u64) {
        let faults = &self.audit.faults;
        for (count, what) in [
            (faults.lost, "copies were lost"),
            (faults.duplicated, "copies came or were stored twice"),
            (faults.out_of_order, "copies came out of order"),
            (faults.disagreed, "copies differ between members"),
            (faults.sender_order, "messages were stored in another order than sent"),
            (faults.misrouted, "copies went to the wrong member"),
            (faults.damaged, "copies were damaged"),
            (faults.contradicted, "acks name another message's offset"),
            (self.unanswered, "publishes were never answered"),
            (absent.saturating_sub(churners), "connections were lost and not back at the end"),
        ] {
            if count > 0 {
                self.problems.push(format!("{count} {what}"));
            }
        }
        self.passed = self.problems.is_empty();
    }
}

fn settings(plan: &Plan) -> Settings {
    Settings {
        run: plan.run.clone(),
        urls: plan.targets.iter().map(|t| t.url.clone()).collect(),
        wire: match plan.wire {
            WireChoice::Json => "json",
            WireChoice::Socketio => "socketio",
            WireChoice::Both => "both",
        },
        connections: plan.connections,
        rooms: plan.rooms,
        rooms_per_connection: plan.rooms_per_connection,
        senders: plan.senders,
        rate_from: plan.rate.from,
        rate_to: plan.rate.to,
        size_from: plan.size.0,
        size_to: plan.size.1,
        duration_seconds: plan.duration.as_secs_f64(),
        warmup_seconds: plan.warmup.as_secs_f64(),
        churn: plan.churn,
        churners: plan.churners,
        slow_readers: plan.slow_readers,
        keys: plan.keys,
        threads: plan.threads,
        seed: plan.seed,
    }
}

/// One histogram of all threads together.
pub fn merged(tallies: &[Tally], pick: fn(&Tally) -> &Histogram<u64>) -> Histogram<u64> {
    let mut all = histogram();
    for tally in tallies {
        // The bounds are the same.
        let _ = all.add(pick(tally));
    }
    all
}

fn reasons(tallies: &[Tally], pick: fn(&Tally) -> &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for (reason, n) in tallies.iter().flat_map(pick) {
        *all.entry(reason.clone()).or_default() += n;
    }
    all
}
