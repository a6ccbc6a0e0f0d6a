//! What a node says of itself to the others, and what the rest of the hub asks of
//! the cluster.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use hubbub_protocol::id::{SessionId, UserId};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{
    RemoteSession, Share,
    addresses::Addresses,
    metrics::PresenceMetrics,
    share::sessions_elsewhere,
    store::{Away, Beat, Instance, PresenceStore},
};
use crate::shared::Shared;

/// Whether a node takes new connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// It does.
    #[default]
    Ready,
    /// It is on its way out.
    Draining,
}

/// What a node says of itself, each second. A reader takes the default for what an
/// older version does not say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeFigures {
    /// When it started, milliseconds since 1970.
    pub started: u64,
    /// When it said this, milliseconds since 1970.
    pub said: u64,
    /// The version of the hub.
    pub version: String,
    /// Whether it takes new connections.
    pub state: NodeState,
    /// Open client connections.
    pub connections: u64,
    /// Authenticated sessions.
    pub sessions: u64,
    /// Rooms with a member on it.
    pub rooms: u64,
    /// Durable publishes taken.
    pub publishes: u64,
    /// Volatile events taken.
    pub volatile: u64,
    /// Frames queued for a member.
    pub deliveries: u64,
}

impl NodeFigures {
    /// What this node says now.
    pub fn of(shared: &Shared, started: u64) -> Self {
        let metrics = &shared.metrics;
        let gauge = |gauge: &prometheus::IntGauge| u64::try_from(gauge.get()).unwrap_or(0);
        Self {
            started,
            said: shared.clock.wall(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: if shared.is_draining() { NodeState::Draining } else { NodeState::Ready },
            connections: gauge(&metrics.connections),
            sessions: gauge(&metrics.sessions),
            rooms: gauge(&metrics.rooms),
            publishes: metrics.publishes.get(),
            volatile: metrics.volatile.get(),
            deliveries: metrics.deliveries.get(),
        }
    }
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeRow {
    /// Which start of it.
    pub instance: Instance,
    /// Whether its lease runs.
    pub alive: bool,
    /// What it said last.
    pub figures: NodeFigures,
}

impl NodeRow {
    pub(super) fn new(beat: Beat) -> Self {
        // What cannot be read was said by a version that says it otherwise.
        let figures = serde_json::from_str(&beat.says).unwrap_or_default();
        Self { instance: beat.instance, alive: beat.alive, figures }
    }

    /// The id of the node.
    pub fn node(&self) -> &str {
        node_id(&self.instance)
    }
}

/// The id of the node that an instance is a start of.
pub fn node_id(instance: &str) -> &str {
    instance.rsplit_once('#').map_or(instance, |(node, _)| node)
}

/// The cluster as one node sees it.
pub struct ClusterPresence {
    /// This node.
    pub instance: Instance,
    /// Length of a lease in milliseconds.
    pub lease_ms: u64,
    pub(super) store: Arc<dyn PresenceStore>,
    /// Something of this node changed.
    pub(crate) changed: Notify,
    pub(super) rejoin: Notify,
    pub(super) joined: AtomicBool,
    pub(super) ended: AtomicBool,
    pub(super) rows: RwLock<Vec<NodeRow>>,
    pub(super) addresses: Addresses,
    pub(super) twin: Notify,
    pub(super) metrics: PresenceMetrics,
}

impl ClusterPresence {
    /// A cluster that this node has not joined yet. An address may have
    /// `max_per_address` connections on all nodes together, 0: any number.
    pub fn new(
        instance: Instance,
        lease_ms: u64,
        max_per_address: usize,
        store: Arc<dyn PresenceStore>,
        metrics: PresenceMetrics,
    ) -> Self {
        Self {
            instance,
            lease_ms,
            store,
            changed: Notify::new(),
            rejoin: Notify::new(),
            joined: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            rows: RwLock::default(),
            addresses: Addresses::new(max_per_address),
            twin: Notify::new(),
            metrics,
        }
    }

    /// Connections from an address on other nodes, approximately.
    pub fn connections_elsewhere(&self, address: IpAddr) -> usize {
        self.addresses.elsewhere(address)
    }

    /// This node has so many connections from an address now.
    pub fn note_connections(&self, address: IpAddr, count: usize) {
        if self.addresses.note(address, count) {
            self.changed.notify_one();
        }
    }

    /// Ends when this node must not go on, since another one has the same name and
    /// was there before.
    pub async fn refused(&self) {
        self.twin.notified().await;
    }

    /// The nodes, at most a second old; empty until this one has joined.
    pub fn nodes(&self) -> Vec<NodeRow> {
        self.rows.read().clone()
    }

    /// Has every other node close the sessions of a user, and keep the user away
    /// until then if it lies ahead.
    pub async fn send_away(&self, user: UserId, until: u64) -> Result<(), Away> {
        self.store.send_away(user, until).await
    }

    /// What every node holds of a user.
    pub async fn find(&self, user: UserId) -> Result<Vec<(Instance, Share)>, Away> {
        self.store.find(user).await
    }

    /// The sessions of [`find`](Self::find) on other nodes, each once; `here` are those
    /// on this one.
    pub fn sessions_elsewhere(
        &self,
        shares: Vec<(Instance, Share)>,
        here: impl IntoIterator<Item = SessionId>,
    ) -> Vec<(Instance, RemoteSession)> {
        let rows = self.rows.read();
        let lives = |node: &str| rows.iter().any(|row| *row.instance == *node && row.alive);
        sessions_elsewhere(shares, &self.instance, here, lives)
    }

    /// This node ends: what it held lasts `grace_ms` more.
    pub async fn retire(&self, grace_ms: u64) {
        self.ended.store(true, Ordering::Relaxed);
        self.changed.notify_one();
        if self.joined.load(Ordering::Relaxed)
            && let Err(error) = self.store.retire(grace_ms).await
        {
            log::warn!(error:%; "could not leave the cluster; the lease will end by itself");
        }
    }
}
