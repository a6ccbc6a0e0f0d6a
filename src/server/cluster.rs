//! The presence of the cluster, as the configuration asks.

use std::sync::Arc;

use hubbub_actors::{
    clock::Clock,
    cluster::ClusterPresence,
    redis::{RedisLink, presence::RedisPresence},
};

use crate::config::Config;

/// Presence over this link. The node gets an instance that is new at each start.
pub fn presence(config: &Config, link: &RedisLink, clock: &Clock) -> Arc<ClusterPresence> {
    let random = uuid::Uuid::new_v4().simple().to_string();
    let instance: Arc<str> = format!("{}#{}", config.node.id, &random[..8]).into();
    let (lease, online) = (config.cluster.lease_ms, &config.cluster.online_users_key);
    let store = RedisPresence::new(link.clone(), instance.clone(), lease, online, clock.clone());
    Arc::new(ClusterPresence::new(instance, lease, Arc::new(store)))
}
