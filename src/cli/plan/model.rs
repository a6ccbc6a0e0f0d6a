//! How much of everything a load needs: a small model whose constants were measured.
//!
//! docs/scaling.md has the same constants, where each comes from, and what the model leaves out; a test
//! keeps both equal.

macro_rules! constants {
    ($( $constant:ident = $name:literal, $value:literal; )*) => {
        $( const $constant: f64 = $value; )*
        /// All of them, named as in docs/scaling.md, in the units of their names.
        #[cfg(test)]
        const CONSTANTS: &[(&str, f64)] = &[ $( ($name, $value) ),* ];
    };
}

constants! {
    DELIVERY_US = "CPU of a delivery, us", 7.6;
    MESSAGE_US = "CPU of a message on each node that has members, us", 200.0;
    CONNECT_US = "CPU of a connection that comes and goes, us", 121.0;
    IDLE_US = "CPU of an idle connection a second, us", 1.0;
    HUB_KIB = "memory of a connection in the hub, KiB", 3.9;
    KERNEL_KIB = "memory of a connection in the kernel, KiB", 3.8;
    FRAME_BYTES = "bytes of a message beside its content", 260.0;
    PACKET_BYTES = "bytes of TCP, IP and Ethernet around a frame", 78.0;
    REDIS_PUBLISH_US = "CPU of Redis for a publish, us", 45.0;
    REDIS_COPY_US = "CPU of Redis for each node that hears it, us", 1.0;
    REDIS_RECORD_BYTES = "memory of Redis for a record beside its bytes", 75.0;
    REDIS_KEY_BYTES = "memory of Redis for an idempotency key", 191.0;
}

/// More nodes than that are no plan.
const MOST_NODES: f64 = 100_000.0;
/// Seconds that an idempotency key is kept.
const KEY_SECONDS: f64 = 600.0;

/// The load, and what a node and the history may be.
#[derive(Clone, Debug)]
pub(super) struct Load {
    /// Connections in all.
    pub(super) connections: f64,
    /// Rooms in all.
    pub(super) rooms: f64,
    /// Rooms that a session is in.
    pub(super) rooms_per_session: f64,
    /// Messages a second in all rooms together.
    pub(super) rate: f64,
    /// Bytes of content.
    pub(super) content_bytes: f64,
    /// How long a connection stays, in seconds.
    pub(super) stay_seconds: f64,
    /// Cores of a node.
    pub(super) cores: f64,
    /// Most connections of a node.
    pub(super) node_connections: f64,
    /// Bits a second that a node's network carries.
    pub(super) node_bits: f64,
    /// Part of a core, or of a network, that may be used, up to 1.
    pub(super) busy: f64,
    /// Nodes that may be away.
    pub(super) spare: f64,
    /// `history.max_messages`.
    pub(super) kept_messages: f64,
    /// `history.ttl_ms`, in seconds.
    pub(super) kept_seconds: f64,
}

/// What it takes.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) members: f64,
    pub(super) deliveries: f64,
    /// Nodes, with the spare ones, and what decides on their number.
    pub(super) nodes: f64,
    pub(super) decided_by: &'static str,
    /// Whether these nodes suffice; if not, no number of them does.
    pub(super) suffices: bool,
    /// Nodes that have members of a room, on average.
    pub(super) nodes_of_a_room: f64,
    /// Busy cores of all nodes together.
    pub(super) cores: f64,
    /// Bytes of memory of a node: hub and kernel.
    pub(super) node_memory: f64,
    /// Connections of a node when the spare ones are away.
    pub(super) node_connections: f64,
    /// Bits a second that leave all nodes together.
    pub(super) bits: f64,
    /// Busy cores of Redis; a shard has one.
    pub(super) redis_cores: f64,
    pub(super) redis_shards: f64,
    pub(super) redis_memory: f64,
    /// Bits a second from Redis to the nodes.
    pub(super) redis_bits: f64,
    /// Seconds until the clients of a lost node are back, at the rate the others can take.
    pub(super) return_seconds: f64,
}

/// Works it out. More nodes mean that more nodes hear a room, so it is gone through until it stands.
pub(super) fn plan(load: &Load) -> Plan {
    let members = (load.connections * load.rooms_per_session / load.rooms).max(0.0);
    let deliveries = load.rate * members;
    let frame = load.content_bytes + FRAME_BYTES;
    let bits = deliveries * (frame + PACKET_BYTES) * 8.0;
    let mut working = 1.0;
    let mut result = step(load, working, members, deliveries, bits);
    // Each round has at least as many nodes as the last; beyond the number of members it stands.
    while result.0 > working && working < MOST_NODES {
        working = result.0;
        result = step(load, working, members, deliveries, bits);
    }
    let suffices = result.0 <= working;
    let (working, decided_by, cores, nodes_of_a_room) = result;
    let nodes = working + load.spare;
    let node_connections = load.connections / working;
    let redis = nodes > 1.0;
    let redis_us = REDIS_PUBLISH_US + nodes_of_a_room * REDIS_COPY_US;
    let redis_cores = if redis { load.rate * redis_us / 1e6 } else { 0.0 };
    let kept = (load.rate / load.rooms * load.kept_seconds).min(load.kept_messages) * load.rooms;
    let keys = load.rate * KEY_SECONDS * REDIS_KEY_BYTES;
    let history = kept * (frame + REDIS_RECORD_BYTES) + keys;
    let connects = load.cores * load.busy * 1e6 / CONNECT_US * (nodes - 1.0).max(1.0);
    Plan {
        members,
        deliveries,
        nodes,
        decided_by,
        suffices,
        nodes_of_a_room,
        cores,
        node_memory: node_connections * (HUB_KIB + KERNEL_KIB) * 1024.0,
        node_connections,
        bits,
        redis_cores,
        redis_shards: if redis { (redis_cores / load.busy).ceil().max(1.0) } else { 0.0 },
        redis_memory: if redis { history } else { 0.0 },
        redis_bits: if redis {
            load.rate * nodes_of_a_room * (frame + PACKET_BYTES) * 8.0
        } else {
            0.0
        },
        return_seconds: load.connections / nodes / connects,
    }
}

/// How many nodes it takes if `working` of them share the rooms, what decides, the busy cores, and on
/// how many of them a room is.
fn step(
    load: &Load,
    working: f64,
    members: f64,
    deliveries: f64,
    bits: f64,
) -> (f64, &'static str, f64, f64) {
    // Members fall on nodes as they come.
    let nodes_of_a_room = working * (1.0 - (1.0 - 1.0 / working).powf(members));
    let us = deliveries * DELIVERY_US
        + load.rate * nodes_of_a_room.max(1.0) * MESSAGE_US
        + load.connections * IDLE_US
        + load.connections / load.stay_seconds * CONNECT_US;
    let cores = us / 1e6;
    let wanted = [
        (load.connections / load.node_connections, "connections"),
        (cores / (load.cores * load.busy), "CPU"),
        (bits / (load.node_bits * load.busy), "network"),
    ];
    let (most, why) = wanted
        .into_iter()
        .fold((0.0, "connections"), |best, one| if one.0 > best.0 { one } else { best });
    (most.ceil().max(1.0), why, cores, nodes_of_a_room)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn load(connections: f64, rooms: f64, rate: f64) -> Load {
        Load {
            connections,
            rooms,
            rooms_per_session: 1.0,
            rate,
            content_bytes: 200.0,
            stay_seconds: 3600.0,
            cores: 4.0,
            node_connections: 100_000.0,
            node_bits: 10e9,
            busy: 0.6,
            spare: 1.0,
            kept_messages: 1000.0,
            kept_seconds: 86_400.0,
        }
    }

    #[test]
    fn a_laptop_needs_no_redis() {
        let plan = plan(&Load { spare: 0.0, ..load(1000.0, 50.0, 10.0) });
        assert_eq!((plan.nodes, plan.redis_shards, plan.members), (1.0, 0.0, 20.0));
        assert_eq!(plan.deliveries, 200.0);
        assert!(plan.cores < 0.02, "{plan:?}");
    }

    #[test]
    fn a_million_idle_connections_are_decided_by_their_number() {
        let plan = plan(&load(1e6, 1e5, 100.0));
        assert_eq!((plan.nodes, plan.decided_by), (11.0, "connections"));
        let gib = plan.node_memory / 1024.0 / 1024.0 / 1024.0;
        assert!((0.7..0.8).contains(&gib), "{gib}");
    }

    #[test]
    fn loud_rooms_are_decided_by_cpu_and_more_load_never_needs_less() {
        let plans = [100.0, 1000.0, 10_000.0, 100_000.0].map(|rate| plan(&load(1e6, 1e5, rate)));
        assert_eq!(plans[3].decided_by, "CPU");
        for pair in plans.windows(2) {
            assert!(pair[0].nodes <= pair[1].nodes && pair[0].redis_cores < pair[1].redis_cores);
        }
        let large = plan(&load(10e6, 1.0, 1000.0));
        assert!(large.nodes > 1000.0 && large.nodes.is_finite(), "{large:?}");
        assert!(large.nodes_of_a_room > large.nodes * 0.9);
    }

    #[test]
    fn what_every_node_must_hear_no_number_of_nodes_can_take() {
        assert!(!plan(&load(10e6, 1.0, 50_000.0)).suffices);
        assert!(plan(&load(10e6, 1e6, 50_000.0)).suffices);
    }

    #[test]
    fn what_is_kept_is_bounded_by_number_and_age() {
        let by_number = plan(&load(1e6, 1e3, 10_000.0)).redis_memory;
        let bytes = 1e6 * (200.0 + FRAME_BYTES + REDIS_RECORD_BYTES);
        let keys = 10_000.0 * KEY_SECONDS * REDIS_KEY_BYTES;
        assert!((by_number - bytes - keys).abs() < 1.0, "{by_number}");
        let by_age = plan(&Load { kept_seconds: 10.0, ..load(1e6, 1e3, 10_000.0) }).redis_memory;
        assert!(by_age < by_number, "{by_age}");
    }

    #[test]
    fn the_page_on_scaling_has_the_same_constants() {
        let page = include_str!("../../../docs/scaling.md");
        let rows: Vec<Vec<&str>> = page
            .lines()
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        for (name, value) in CONSTANTS {
            let row = rows.iter().find(|row| row[0] == *name);
            let row = row.unwrap_or_else(|| panic!("docs/scaling.md has no row {name:?}"));
            assert_eq!(row[1].parse::<f64>().unwrap(), *value, "{name}");
        }
    }
}
