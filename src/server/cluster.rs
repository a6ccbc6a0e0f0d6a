//! The presence of the cluster, as the configuration asks.

use std::sync::Arc;

use hubbub_actors::{
    clock::Clock,
    cluster::ClusterPresence,
    redis::{RedisLink, presence::RedisPresence},
    system::Hub,
};

use crate::config::Config;

/// Presence over this link. The node gets an instance that is new at each start.
pub fn presence(config: &Config, link: &RedisLink, clock: &Clock) -> Arc<ClusterPresence> {
    let random = uuid::Uuid::new_v4().simple().to_string();
    let instance: Arc<str> = format!("{}#{}", config.node.id, &random[..8]).into();
    let (lease, online) = (config.cluster.lease_ms, &config.cluster.online_users_key);
    let store = RedisPresence::new(link.clone(), instance.clone(), lease, online, clock.clone());
    let per_address = config.limits.max_connections_per_ip;
    Arc::new(ClusterPresence::new(instance, lease, per_address, Arc::new(store)))
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
