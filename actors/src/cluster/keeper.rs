//! Renews this node's lease, and sweeps up after nodes whose lease is over.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant as Clock, Interval, MissedTickBehavior, interval};

use super::{
    ClusterPresence, NodeFigures, NodeRow,
    leases::OwnLease,
    node::node_id,
    store::{Instance, Renewal, Swept},
};
use crate::shared::Shared;

/// Most steps of sweeping between two renewals.
const STEPS: usize = 100;

/// Waits for the next beat; false if the node has left the cluster, also while it
/// waited: one renewal more would have it there again for a whole lease.
async fn next(beat: &mut Interval, ended: &AtomicBool) -> bool {
    beat.tick().await;
    !ended.load(Ordering::Relaxed)
}

/// Keeps the lease.
pub(super) struct Keeper {
    cluster: Arc<ClusterPresence>,
    shared: Arc<Shared>,
    lease: OwnLease,
    started: u64,
    clock: Clock,
    /// What nodes of the same name said last.
    twins: HashMap<Instance, u64>,
}

impl Keeper {
    pub(super) fn new(cluster: Arc<ClusterPresence>, shared: Arc<Shared>) -> Self {
        let lease = OwnLease::new(cluster.lease_ms);
        let started = shared.clock.wall();
        let twins = HashMap::new();
        Self { cluster, shared, lease, started, clock: Clock::now(), twins }
    }

    fn now(&self) -> u64 {
        self.clock.elapsed().as_millis() as u64
    }

    /// Until the node leaves the cluster.
    pub(super) async fn run(mut self) {
        let mut beat = interval(Duration::from_millis(self.lease.interval()));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while next(&mut beat, &self.cluster.ended).await {
            if self.cluster.joined.load(Ordering::Relaxed) {
                self.renew().await;
            }
        }
    }

    async fn renew(&mut self) {
        let figures = NodeFigures::of(&self.shared, self.started);
        let Ok(says) = serde_json::to_string(&figures) else { return };
        let beats = match self.cluster.store.renew(says).await {
            Ok(Renewal::Renewed(beats)) => beats,
            Ok(Renewal::Unknown) => {
                log::warn!("the cluster does not know this node any more; telling it all again");
                self.lease.lost();
                self.cluster.joined.store(false, Ordering::Relaxed);
                self.cluster.rejoin.notify_one();
                return;
            }
            Err(error) => {
                self.cluster.metrics.lease_failures.inc();
                log::warn!(error:%; "the lease of this node could not be renewed");
                return;
            }
        };
        let now = self.now();
        self.lease.renewed(now);
        let dead: Vec<Instance> =
            beats.iter().filter(|beat| !beat.alive).map(|beat| beat.instance.clone()).collect();
        let mut rows: Vec<NodeRow> = beats.into_iter().map(NodeRow::new).collect();
        rows.sort_unstable_by(|a, b| a.instance.cmp(&b.instance));
        let alive = rows.iter().filter(|row| row.alive).count();
        self.cluster.metrics.nodes.set(alive as i64);
        self.cluster.addresses.set_nodes(alive);
        self.look_for_twin(&rows, now);
        *self.cluster.rows.write() = rows;
        if self.lease.may_judge(now) {
            for node in dead {
                self.sweep(node).await;
            }
        }
    }

    /// A node with the same name that says something new is a living one, not the
    /// process before this one. The younger of the two gives way.
    fn look_for_twin(&mut self, rows: &[NodeRow], now: u64) {
        let own = &self.cluster.instance;
        let name = node_id(own);
        for row in rows.iter().filter(|row| row.node() == name && row.instance != *own) {
            let said = row.figures.said;
            let before = self.twins.insert(row.instance.clone(), said);
            if before.is_none_or(|before| before == said) {
                continue;
            }
            log::error!(twin = &*row.instance; "another node has the same name; set node.id");
            let older = (row.figures.started, &row.instance) < (self.started, own);
            if older && now < 2 * self.cluster.lease_ms {
                self.cluster.twin.notify_one();
            }
        }
        self.twins.retain(|twin, _| rows.iter().any(|row| row.instance == *twin));
    }

    /// Takes away what a dead node held, step by step; what is left after some
    /// steps waits for the next renewal.
    async fn sweep(&self, node: Instance) {
        let mut users = 0;
        let swept = &self.cluster.metrics.swept;
        for _ in 0..STEPS {
            match self.cluster.store.sweep(node.clone()).await {
                Ok(Swept::Some(n)) => {
                    users += n;
                    swept.inc_by(n as u64);
                }
                Ok(Swept::All(n)) => {
                    users += n;
                    swept.inc_by(n as u64);
                    log::info!(instance = &*node, users; "swept up after a node whose lease is over");
                    return;
                }
                Ok(Swept::Busy | Swept::Alive) => return,
                Err(error) => {
                    log::warn!(instance = &*node, error:%; "could not sweep up after a node");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_that_leaves_between_two_beats_renews_nothing() {
        let ended = AtomicBool::new(false);
        let mut beat = interval(Duration::from_millis(50));
        assert!(next(&mut beat, &ended).await, "the first beat comes at once");
        let leave = async {
            tokio::task::yield_now().await;
            ended.store(true, Ordering::Relaxed);
        };
        let (goes_on, ()) = tokio::join!(next(&mut beat, &ended), leave);
        assert!(!goes_on);
    }
}
