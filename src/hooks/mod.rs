//! Tells a backend what happens (`webhooks.url`): takes events from the queue that the actors fill
//! ([`hubbub_actors::hooks`]), signs them and posts them. docs/webhooks.md is for the backend.
//!
//! | file | holds |
//! |---|---|
//! | `sender` | one request after the other, and what becomes of each |
//! | `backoff` | how long to wait after one that failed (pure) |
//! | `signature` | what proves that a request is the hub's (pure) |

mod backoff;
mod sender;
mod signature;

use std::{path::PathBuf, sync::Arc};

use hubbub_actors::{
    clock::Clock,
    hooks::{
        HookMetrics, Hooks,
        queue::{HookQueue, QueueConfig},
    },
};
use prometheus::Registry;

use self::sender::Sender;
use crate::config::{Config, HistoryStore};

/// The folder of the queue; none: memory.
fn folder(config: &Config) -> Option<PathBuf> {
    config.webhooks.path.clone().or_else(|| match config.history.store {
        HistoryStore::Memory => None,
        HistoryStore::Embedded | HistoryStore::Redis => Some(config.history.path.clone()),
    })
}

/// Opens the queue and starts to send, if an address is configured. `instance` is this start of the
/// node among others; none on a single node. Fails with a sentence.
pub fn start(
    config: &Config,
    instance: Option<&Arc<str>>,
    clock: &Clock,
    registry: &Registry,
) -> Result<Option<Arc<Hooks>>, String> {
    let hooks = &config.webhooks;
    let (Some(url), Some(secret)) = (&hooks.url, &hooks.secret) else { return Ok(None) };
    let kinds = hooks.kinds().map_err(|name| format!("`webhooks.events`: {name:?} is no event"))?;
    let metrics = HookMetrics::new(registry).map_err(|e| format!("metrics: {e}"))?;
    let bounds = QueueConfig {
        folder: folder(config),
        kinds,
        max_events: hooks.queue_max,
        max_bytes: hooks.queue_max_bytes,
        retention_ms: hooks.retention_ms,
        alone: instance.is_none(),
    };
    let durable = bounds.folder.is_some();
    let queue = HookQueue::open(bounds, metrics.clone(), clock.clone())
        .map_err(|e| format!("webhooks: {e}"))?;
    log::info!(url:% = url, queue = queue.id(), durable; "webhooks are sent");
    Sender::new(config, url, secret, queue.clone(), metrics, clock.clone())?.start();
    let instance = instance.cloned().unwrap_or_else(|| new_instance(&config.node.id));
    Ok(Some(Arc::new(Hooks { instance, kinds, sink: Arc::new(queue) })))
}

/// Names a start of a node: its id, `#`, and 8 random hexadecimal digits.
pub fn new_instance(node: &str) -> Arc<str> {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{node}#{}", &random[..8]).into()
}
