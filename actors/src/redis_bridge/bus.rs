//! What the room servers and the history of this node see of the bridge.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use actix::Recipient;
use hubbub_protocol::{
    cluster::{Scope, encode_broadcast},
    id::RoomName,
    record::Stored,
};
use tokio::sync::watch;

use super::{Attend, BridgeMetrics};
use crate::{
    ports::{Audience, Broadcast, Bus, Opening, RoomBus, Spread, Subscription},
    redis::{
        RedisLink,
        keys::{RoomKeys, everyone_channel},
    },
    relay::Relay,
};

/// Volatile events that may be on their way to Redis; more are dropped.
const MAX_ON_THE_WAY: usize = 4096;

/// The bus between nodes: stands around the relay, and is told by the history what
/// this node has stored.
pub struct ClusterBus {
    pub(super) relay: Arc<Relay>,
    pub(super) link: RedisLink,
    pub(super) node: Arc<str>,
    pub(super) metrics: BridgeMetrics,
    pub(super) bridge: OnceLock<Recipient<Attend>>,
    on_the_way: Arc<AtomicUsize>,
}

impl ClusterBus {
    /// A bus over a link, for the room servers of a relay. It carries nothing
    /// before [`RedisBridge::launch`](super::RedisBridge::launch).
    pub fn new(
        link: RedisLink,
        relay: Arc<Relay>,
        node: Arc<str>,
        metrics: BridgeMetrics,
    ) -> Arc<Self> {
        Arc::new(Self {
            relay,
            link,
            node,
            metrics,
            bridge: OnceLock::new(),
            on_the_way: Arc::default(),
        })
    }

    fn tell(&self, message: Attend) {
        if let Some(bridge) = self.bridge.get() {
            bridge.do_send(message);
        }
    }

    /// Publishes to a channel without waiting for the answer.
    fn send(&self, channel: String, envelope: bytes::Bytes) -> bool {
        if self.on_the_way.fetch_add(1, Ordering::Relaxed) >= MAX_ON_THE_WAY {
            self.on_the_way.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let (link, on_the_way) = (self.link.clone(), self.on_the_way.clone());
        let metrics = self.metrics.clone();
        self.link.spawn(async move {
            let mut cmd = redis::cmd(link.publish_command());
            cmd.arg(channel).arg(envelope.as_ref());
            match link.query(&cmd).await {
                Ok(_) => metrics.sent.inc(),
                Err(_) => metrics.lost.inc(),
            }
            on_the_way.fetch_sub(1, Ordering::Relaxed);
        });
        true
    }

    /// Passes a broadcast on to the other nodes.
    fn pass_on(&self, broadcast: &Broadcast) -> bool {
        let prefix = self.link.prefix();
        let channel = |room: &RoomName| RoomKeys::new(prefix, room).channel();
        let (channels, scope, id) = match &broadcast.to {
            Audience::Room(room) => (vec![channel(room)], Scope::Room(room.clone()), 0),
            Audience::Rooms(rooms) => (
                rooms.iter().map(channel).collect(),
                Scope::Rooms(rooms.to_vec()),
                uuid::Uuid::now_v7().as_u128(),
            ),
            Audience::Everyone => (vec![everyone_channel(prefix)], Scope::Everyone, 0),
        };
        let Broadcast { except, except_user, event, .. } = broadcast;
        let envelope =
            encode_broadcast(&self.node, id, &scope, *except, except_user.as_ref(), event);
        // What concerns a single session goes nowhere.
        let Some(envelope) = envelope.map(bytes::Bytes::from) else { return true };
        let mut sent = true;
        for channel in channels {
            sent &= self.send(channel, envelope.clone());
        }
        sent
    }
}

impl Bus for ClusterBus {
    /// What this node has stored itself. It takes the same way as what comes from
    /// Redis, so that the order is the same.
    fn stored(&self, records: &[Arc<Stored>]) {
        self.tell(Attend::Own(records.to_vec()));
    }
}

impl RoomBus for ClusterBus {
    fn subscribe(&self, room: &RoomName, worker: usize) -> Subscription {
        let first = self.relay.subscribe(room, worker).first;
        let (open, opening) = watch::channel(false);
        self.tell(Attend::Enter(room.clone(), open));
        Subscription { first, opening: Some(Opening::new(opening)) }
    }

    fn unsubscribe(&self, room: &RoomName, worker: usize) -> bool {
        let last = self.relay.unsubscribe(room, worker);
        if last {
            self.tell(Attend::Exit(room.clone()));
        }
        last
    }

    fn broadcast(&self, broadcast: &Broadcast, from: Option<usize>) -> Spread {
        let here = self.relay.broadcast(broadcast, from);
        if !self.link.is_up() {
            return Spread { everywhere: false, ..here };
        }
        Spread { congested: here.congested || !self.pass_on(broadcast), ..here }
    }
}
