//! What presence between nodes counts. Registered only where there are others.

use prometheus::{IntCounter, IntGauge, Registry};

/// The counters; docs/presence.md explains each.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct PresenceMetrics {
    pub nodes: IntGauge,
    pub lease_failures: IntCounter,
    pub changes: IntCounter,
    pub resyncs: IntCounter,
    pub swept: IntCounter,
}

impl PresenceMetrics {
    /// Makes the metrics and registers them. Fails if one of the names is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("hubbub_cluster_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let nodes = IntGauge::new("hubbub_cluster_nodes", "Nodes whose lease runs, with this one")?;
        registry.register(Box::new(nodes.clone()))?;
        Ok(Self {
            nodes,
            lease_failures: counter(
                "lease_failures_total",
                "Renewals of this node's lease that failed",
            )?,
            changes: counter("presence_changes_total", "Changes of users that other nodes told")?,
            resyncs: counter(
                "presence_resyncs_total",
                "Times the presence of all nodes was read anew",
            )?,
            swept: counter(
                "swept_users_total",
                "Users taken away from nodes whose lease was over",
            )?,
        })
    }
}
