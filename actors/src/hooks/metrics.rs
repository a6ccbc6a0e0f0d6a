//! What webhooks count. Registered only where there are any.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, core::Collector,
    exponential_buckets,
};

/// The counters; docs/metrics.md explains each.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct HookMetrics {
    pub queued: IntCounter,
    pub sent: IntCounter,
    pub dropped: IntCounterVec,
    pub requests: IntCounterVec,
    pub request_seconds: Histogram,
    pub delay_seconds: Histogram,
    pub waiting: IntGauge,
    pub waiting_bytes: IntGauge,
    pub oldest_seconds: IntGauge,
}

impl HookMetrics {
    /// Makes the metrics and registers them. Fails if one of the names is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        fn add<C: Collector + Clone + 'static>(
            registry: &Registry,
            made: prometheus::Result<C>,
        ) -> prometheus::Result<C> {
            let collector = made?;
            registry.register(Box::new(collector.clone()))?;
            Ok(collector)
        }
        let counter = |name: &str, help: &str| {
            add(registry, IntCounter::new(format!("hubbub_hooks_{name}"), help))
        };
        let by = |label: &str, values: &[&str], name: &str, help: &str| {
            let opts = Opts::new(format!("hubbub_hooks_{name}"), help);
            let counters = add(registry, IntCounterVec::new(opts, &[label]))?;
            for value in values {
                counters.get_metric_with_label_values(&[value])?;
            }
            Ok::<_, prometheus::Error>(counters)
        };
        let gauge = |name: &str, help: &str| {
            add(registry, IntGauge::new(format!("hubbub_hooks_{name}"), help))
        };
        let seconds = |name: &str, help: &str, first: f64| {
            let opts = HistogramOpts::new(format!("hubbub_hooks_{name}"), help);
            let buckets = exponential_buckets(first, 2.0, 18)?;
            add(registry, Histogram::with_opts(opts.buckets(buckets)))
        };
        Ok(Self {
            queued: counter("queued_total", "Events put into the queue of the webhooks")?,
            sent: counter("sent_total", "Events that the backend has accepted")?,
            dropped: by(
                "reason",
                &["full", "expired"],
                "dropped_total",
                "Events that the backend will not be told, by reason",
            )?,
            requests: by(
                "result",
                &["accepted", "refused", "failed"],
                "requests_total",
                "Requests to the backend, by result",
            )?,
            request_seconds: seconds(
                "request_seconds",
                "One request to the backend, answered or not",
                500e-6,
            )?,
            delay_seconds: seconds(
                "delay_seconds",
                "How long an event had waited when the backend accepted it",
                5e-3,
            )?,
            waiting: gauge("queue_events", "Events that wait for the backend")?,
            waiting_bytes: gauge("queue_bytes", "Bytes of events that wait for the backend")?,
            oldest_seconds: gauge(
                "queue_oldest_seconds",
                "How long the oldest event has waited for the backend",
            )?,
        })
    }
}
