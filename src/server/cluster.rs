//! The presence of the cluster, as the configuration asks.

use std::sync::Arc;

use hubbub_actors::{
    clock::Clock,
    cluster::{ClusterPresence, PresenceMetrics},
    redis::{RedisLink, presence::RedisPresence},
    system::Hub,
};

use prometheus::Registry;

use crate::{config::Config, hooks};

/// Presence over this link. The node gets an instance that is new at each start.
/// Fails with a sentence.
pub fn presence(
    config: &Config,
    link: &RedisLink,
    clock: &Clock,
    registry: &Registry,
) -> Result<Arc<ClusterPresence>, String> {
    let instance = hooks::new_instance(&config.node.id);
    let (lease, online) = (config.cluster.lease_ms, &config.cluster.online_users_key);
    let store = RedisPresence::new(link.clone(), instance.clone(), lease, online, clock.clone());
    let per_address = config.limits.max_connections_per_ip;
    let metrics = PresenceMetrics::new(registry).map_err(|e| format!("metrics: {e}"))?;
    let store = Arc::new(store);
    Ok(Arc::new(ClusterPresence::new(instance, lease, per_address, store, metrics)))
}

/// Ends with a sentence when the node must not go on, since another one has its name.
pub async fn refused(hub: &Hub) -> String {
    match &hub.shared().cluster {
        Some(cluster) => cluster.refused().await,
        None => std::future::pending().await,
    }
    format!(
        "another node of the cluster is called {:?} too; give each its own node.id",
        hub.shared().node
    )
}
