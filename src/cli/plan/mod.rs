//! The verb `plan`: how many nodes, how much Redis and bandwidth a load takes.

mod model;

use clap::Args;

use self::model::{Load, Plan};
use super::Failure;

/// The load. The defaults are those of the configuration.
#[derive(Debug, Args)]
pub(super) struct PlanArguments {
    /// Connections at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    connections: u64,
    /// Rooms with a member; without it one for every 100 connections
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    rooms: Option<u64>,
    /// Rooms that a session is in, on average
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    rooms_per_session: f64,
    /// Messages a second in all rooms together; without it one for every 60 connections
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// Bytes of content of a message
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    content: u32,
    /// How long a connection stays, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600.0)]
    stay: f64,
    /// Cores of a node
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    cores: u32,
    /// Most connections of a node (limits.max_connections)
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    node_connections: u64,
    /// Gigabits a second that the network of a node carries
    #[arg(long, value_name = "GBIT", default_value_t = 10.0)]
    network: f64,
    /// Percent of a core or of a network that may be used
    #[arg(long, value_name = "PERCENT", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=100))]
    busy: u32,
    /// Nodes that may be away while the others carry the load
    #[arg(long, value_name = "N", default_value_t = 1)]
    spare: u32,
    /// Messages kept per room (history.max_messages)
    #[arg(long, value_name = "N", default_value_t = 1000)]
    kept: u64,
    /// Hours after which a message goes (history.ttl_ms)
    #[arg(long, value_name = "HOURS", default_value_t = 24.0)]
    kept_hours: f64,
}

/// The plan as text.
pub(super) fn plan(wanted: &PlanArguments) -> Result<String, Failure> {
    let load = load(wanted)?;
    let plan = model::plan(&load);
    if plan.suffices {
        return Ok(describe(&load, &plan));
    }
    Err(format!(
        "no number of nodes suffices: {} messages a second reach nearly every node, since {} members \
         of a room are everywhere; more rooms, a lower rate or more --cores",
        count(load.rate),
        count(plan.members)
    ))
}

fn load(wanted: &PlanArguments) -> Result<Load, Failure> {
    let connections = wanted.connections as f64;
    let load = Load {
        connections,
        rooms: wanted.rooms.map_or((connections / 100.0).ceil(), |rooms| rooms as f64),
        rooms_per_session: wanted.rooms_per_session,
        rate: wanted.rate.unwrap_or(connections / 60.0),
        content_bytes: f64::from(wanted.content),
        stay_seconds: wanted.stay,
        cores: f64::from(wanted.cores),
        node_connections: wanted.node_connections as f64,
        node_bits: wanted.network * 1e9,
        busy: f64::from(wanted.busy) / 100.0,
        spare: f64::from(wanted.spare),
        kept_messages: wanted.kept as f64,
        kept_seconds: wanted.kept_hours * 3600.0,
    };
    for (name, value, least) in [
        ("--rooms-per-session", load.rooms_per_session, 0.0),
        ("--rate", load.rate, 0.0),
        ("--stay", load.stay_seconds, 1.0),
        ("--network", wanted.network, 0.001),
        ("--kept-hours", wanted.kept_hours, 0.0),
    ] {
        if !(value.is_finite() && value >= least && value <= 1e12) {
            return Err(format!("{name} must be a number of at least {least}"));
        }
    }
    Ok(load)
}

fn describe(load: &Load, plan: &Plan) -> String {
    let working = plan.nodes - load.spare;
    let mut rows = vec![
        ("members of a room", count(plan.members)),
        ("messages taken a second", count(load.rate)),
        ("deliveries a second", count(plan.deliveries)),
        (
            "nodes",
            format!(
                "{} ({} for {}, {} to spare) of {} cores",
                count(plan.nodes),
                count(working),
                plan.decided_by,
                count(load.spare),
                count(load.cores)
            ),
        ),
        ("busy cores of all nodes", format!("{:.1}", plan.cores)),
        (
            "a node",
            format!(
                "{} connections (limits.max_connections), {} of memory for them, {} files",
                count(plan.node_connections.ceil()),
                bytes(plan.node_memory),
                count((plan.node_connections + 512.0).ceil())
            ),
        ),
        ("to clients", format!("{}, {} a node", bits(plan.bits), bits(plan.bits / working))),
    ];
    if plan.redis_shards > 0.0 {
        rows.push(("nodes that hear a room", format!("{:.1}", plan.nodes_of_a_room)));
        rows.push((
            "Redis",
            format!(
                "{} primaries ({:.1} busy cores), {} in all, each with a replica",
                count(plan.redis_shards),
                plan.redis_cores,
                bytes(plan.redis_memory)
            ),
        ));
        rows.push(("from Redis to nodes", bits(plan.redis_bits)));
    }
    rows.push((
        "clients of a lost node",
        format!("back in {:.1} s if they come evenly", plan.return_seconds.max(0.1)),
    ));
    let mut text = String::new();
    for (name, value) in rows {
        text.push_str(&format!("{name:<26}{value}\n"));
    }
    let notes: [(bool, &str); 4] = [
        (
            plan.members > 10_000.0,
            "Rooms are large: what a member sees of others (typing, presence) multiplies as well; \
             presence.announce_max_members keeps it down.",
        ),
        (
            plan.redis_shards > 1.0,
            "Several primaries need redis+cluster://. A single room lives on one of them.",
        ),
        (
            plan.redis_shards > 0.0
                && plan.members > 1.0
                && plan.nodes_of_a_room > 0.5 * plan.nodes,
            "A room is on most nodes, so that each hears nearly every message. To keep rooms \
             together, let a proxy send clients of one room to one node.",
        ),
        (
            working > 100.0,
            "More than a hundred nodes: beyond what was measured. Split the users over several \
             clusters.",
        ),
    ];
    for (_, note) in notes.iter().filter(|(applies, _)| *applies) {
        text.push_str(&format!("\n{note}\n"));
    }
    text.push_str("\nA model, not a promise: docs/scaling.md has its constants. Measure with your own load.\n");
    text
}

/// A number with a mark between thousands.
fn count(n: f64) -> String {
    if n.fract() != 0.0 && n < 100.0 {
        return format!("{n:.1}");
    }
    let digits = format!("{n:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn scaled(mut n: f64, step: f64, units: &[&str]) -> String {
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for next in units {
        if n < step {
            break;
        }
        n /= step;
        unit = next;
    }
    format!("{n:.1} {unit}")
}

fn bytes(n: f64) -> String {
    scaled(n, 1024.0, &["bytes", "KiB", "MiB", "GiB", "TiB"])
}

fn bits(n: f64) -> String {
    scaled(n, 1000.0, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(count(1_234_567.0), "1,234,567");
        assert_eq!(count(12.5), "12.5");
        assert_eq!(count(999.0), "999");
        assert_eq!(bytes(3.5 * 1024.0 * 1024.0 * 1024.0), "3.5 GiB");
        assert_eq!(bits(2_500_000.0), "2.5 Mbit/s");
        assert_eq!(bits(0.0), "0.0 bit/s");
    }
}
