//! What the bridge counts.

use hubbub_protocol::cluster::Skipped;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    exponential_buckets,
};

use crate::redis::{LinkObserver, Trouble};

/// The counters of the link and the bridge. Every metric is named and explained
/// in docs/operations.md.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct BridgeMetrics {
    pub up: IntGauge,
    pub errors: IntCounterVec,
    pub seconds: Histogram,
    pub channels: IntGauge,
    pub received: IntCounter,
    pub sent: IntCounter,
    pub lost: IntCounter,
    pub gaps: IntCounter,
    pub repaired: IntCounter,
    pub resets: IntCounterVec,
    pub undecodable: IntCounter,
    pub unknown: IntCounterVec,
    pub emitted: IntCounterVec,
}

impl BridgeMetrics {
    /// Makes the metrics and registers them. Fails if one of the names is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let by = |name: &str, help: &str, label: &str, values: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            for value in values {
                counters.get_metric_with_label_values(&[value])?;
            }
            Ok::<_, prometheus::Error>(counters)
        };
        let seconds = Histogram::with_opts(
            HistogramOpts::new("hubbub_redis_seconds", "From a command to its answer by Redis")
                .buckets(exponential_buckets(50e-6, 2.0, 19)?),
        )?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Self {
            up: gauge("hubbub_redis_up", "1 while Redis answers and is heard, else 0")?,
            errors: by(
                "hubbub_redis_errors_total",
                "Commands and connections that failed, by what is wrong",
                "trouble",
                &Trouble::ALL.map(Trouble::as_str),
            )?,
            seconds,
            channels: gauge("hubbub_redis_rooms", "Rooms whose channel is heard")?,
            received: counter(
                "hubbub_cluster_received_total",
                "Envelopes heard from Redis, those of this node too",
            )?,
            sent: counter(
                "hubbub_cluster_sent_total",
                "Volatile events passed on to the other nodes",
            )?,
            lost: counter(
                "hubbub_cluster_lost_total",
                "Volatile events that could not be passed on",
            )?,
            gaps: counter(
                "hubbub_cluster_gaps_total",
                "Times that a room lacked records and read them from Redis",
            )?,
            repaired: counter(
                "hubbub_cluster_repaired_total",
                "Records read from Redis because they had not been heard",
            )?,
            resets: by(
                "hubbub_cluster_resets_total",
                "Times that members were told that messages are missing, by reason",
                "reason",
                &["trimmed", "new_epoch", "rolled_back"],
            )?,
            undecodable: counter(
                "hubbub_cluster_undecodable_total",
                "Envelopes that this release could not read",
            )?,
            unknown: by(
                "hubbub_cluster_unknown_total",
                "What nodes of a later release told and this one skipped",
                "what",
                &["field", "kind"],
            )?,
            emitted: by(
                "hubbub_emitter_events_total",
                "Events of other programs heard from Redis, by what became of them",
                "result",
                &["told", "ignored", "refused"],
            )?,
        })
    }
}

impl BridgeMetrics {
    /// Counts what was skipped.
    pub(super) fn skipped(&self, Skipped { fields, kinds }: Skipped) {
        for (what, count) in [("field", fields), ("kind", kinds)] {
            if count > 0 {
                self.unknown.with_label_values(&[what]).inc_by(count);
            }
        }
    }
}

impl LinkObserver for BridgeMetrics {
    fn changed(&self, up: bool) {
        self.up.set(i64::from(up));
    }

    fn failed(&self, trouble: Trouble) {
        self.errors.with_label_values(&[trouble.as_str()]).inc();
    }

    fn answered(&self, seconds: f64) {
        self.seconds.observe(seconds);
    }
}
