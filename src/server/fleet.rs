//! From the configuration to what connects this node with others.

use std::{sync::Arc, time::Duration};

use hubbub_actors::{
    archive::{Archive, ArchivedHistory},
    history::{HistoryConfig, StoreObserver},
    ports::{History, RoomBus},
    redis::{
        LinkConfig, RedisLink,
        address::Address,
        history::{RedisHistory, Waiting},
    },
    redis_bridge::{BridgeMetrics, ClusterBus, RedisBridge},
    relay::Relay,
};
use prometheus::Registry;

use super::archive;
use crate::config::Config;

/// The link to Redis, and what the bridge counts.
pub struct Fleet {
    /// The link.
    pub link: RedisLink,
    archive: Option<Archive>,
    metrics: BridgeMetrics,
}

/// The way to Redis by the configuration; none if it names none. Fails with a
/// sentence that holds no password.
pub fn link_config(config: &Config) -> Result<Option<LinkConfig>, String> {
    let Some(url) = &config.cluster.redis_url else { return Ok(None) };
    let address = Address::parse(url.expose()).map_err(|e| format!("`cluster.redis_url`: {e}"))?;
    let tls_ca = match &config.cluster.tls_ca {
        None => None,
        Some(path) => Some(
            std::fs::read(path)
                .map_err(|e| format!("`cluster.tls_ca`: cannot read {}: {e}", path.display()))?,
        ),
    };
    Ok(Some(LinkConfig {
        prefix: config.cluster.key_prefix.clone(),
        client_name: format!("hubbub-{}", config.node.id),
        response_timeout: Duration::from_millis(config.cluster.response_timeout_ms),
        connect_timeout: Duration::from_millis(config.cluster.connect_timeout_ms),
        tls_ca,
        ..LinkConfig::new(address)
    }))
}

/// Starts the link, if one is configured. That Redis is away is no failure. Fails
/// with a sentence.
pub fn start(config: &Config, registry: &Registry) -> Result<Option<Fleet>, String> {
    let Some(how) = link_config(config)? else { return Ok(None) };
    // Refused only if a provider has been chosen before, which does as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let metrics = BridgeMetrics::new(registry).map_err(|e| format!("metrics: {e}"))?;
    let link = RedisLink::start(how, Arc::new(metrics.clone()))?;
    let archive = archive::start(config, &link, registry)?;
    Ok(Some(Fleet { link, archive, metrics }))
}

impl Fleet {
    /// The history that all nodes share, and the bus between them.
    pub fn connect(
        &self,
        config: &Config,
        bounds: HistoryConfig,
        relay: &Arc<Relay>,
        observer: Arc<dyn StoreObserver>,
    ) -> (Arc<dyn History>, Arc<dyn RoomBus>) {
        let bus = ClusterBus::new(
            self.link.clone(),
            relay.clone(),
            config.node.id.as_str().into(),
            self.metrics.clone(),
        );
        let timeout = Duration::from_millis(config.cluster.queue_timeout_ms);
        let waiting = Waiting {
            timeout,
            min_replicas: config.cluster.min_replicas,
            replicas_within: Duration::from_millis(config.cluster.response_timeout_ms / 2),
        };
        let link = self.link.clone();
        let history = match &self.archive {
            None => RedisHistory::new(link, bounds, waiting, bus.clone(), observer),
            Some(archive) => {
                let backlog = archive.backlog();
                RedisHistory::archived(link, bounds, waiting, bus.clone(), observer, backlog)
            }
        };
        let emitter = config.cluster.emitter_prefix.as_deref();
        RedisBridge::launch(bus.clone(), history.clone(), timeout, emitter);
        let history: Arc<dyn History> = Arc::new(history);
        match &self.archive {
            None => (history, bus),
            Some(archive) => (Arc::new(ArchivedHistory::new(history, archive.clone())), bus),
        }
    }
}
