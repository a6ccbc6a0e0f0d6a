//! What the archive counts.

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    exponential_buckets,
};

use super::postgres::DatabaseError;

/// The counters of the archive. Every metric is named and explained in
/// docs/metrics.md.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct ArchiveMetrics {
    pub up: IntGauge,
    pub backlog: IntGauge,
    pub lag: Gauge,
    pub written: IntCounter,
    pub repeated: IntCounter,
    pub taken_over: IntCounter,
    pub strange: IntCounter,
    pub failures: IntCounterVec,
    pub reads: IntCounterVec,
    pub seconds: Histogram,
}

/// What reads of the archive came to.
pub(super) const READS: [&str; 3] = ["found", "behind", "away"];

impl ArchiveMetrics {
    /// Makes the metrics and registers them. Fails if one of the names is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let by = |name: &str, help: &str, label: &str, values: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            for value in values {
                counters.get_metric_with_label_values(&[value])?;
            }
            Ok::<_, prometheus::Error>(counters)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let lag = Gauge::new(
            "hubbub_archive_lag_seconds",
            "How long the oldest message of the fleet has waited for the archive",
        )?;
        registry.register(Box::new(lag.clone()))?;
        let seconds = Histogram::with_opts(
            HistogramOpts::new(
                "hubbub_archive_write_seconds",
                "Time that PostgreSQL took to write messages together",
            )
            .buckets(exponential_buckets(0.5e-3, 2.0, 16)?),
        )?;
        registry.register(Box::new(seconds.clone()))?;
        let mut trouble = DatabaseError::CODES.to_vec();
        trouble.push("redis");
        Ok(Self {
            up: gauge("hubbub_archive_up", "1 while this node can write to PostgreSQL, else 0")?,
            backlog: gauge(
                "hubbub_archive_backlog_messages",
                "Messages of the fleet that wait in Redis for the archive",
            )?,
            lag,
            written: counter(
                "hubbub_archive_written_total",
                "Messages that this node wrote into the archive",
            )?,
            repeated: counter(
                "hubbub_archive_repeated_total",
                "Messages that were in the archive already when this node wrote them",
            )?,
            taken_over: counter(
                "hubbub_archive_taken_over_total",
                "Messages that another process had taken and not written",
            )?,
            strange: counter(
                "hubbub_archive_strange_total",
                "Entries of the backlog that are no messages and were dropped",
            )?,
            failures: by(
                "hubbub_archive_failures_total",
                "Attempts to write into the archive that failed, by what is wrong",
                "trouble",
                &trouble,
            )?,
            reads: by(
                "hubbub_archive_reads_total",
                "Reads of history that went past Redis, by what they came to",
                "outcome",
                &READS,
            )?,
            seconds,
        })
    }
}
