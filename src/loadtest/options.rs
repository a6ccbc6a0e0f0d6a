//! What the command line asks for, and the plan that comes of it.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, ValueEnum};

use super::{LoadError, schedule::Rate, target::Target, values, wire::Wire};

/// Most connections of one run.
const MAX_CONNECTIONS: usize = 1_000_000;
/// Most messages of one run: each takes about 30 bytes until the audit.
const MAX_MESSAGES: u64 = 20_000_000;
/// Shortest content: the marker that the audit reads must fit.
pub const MIN_CONTENT: usize = 64;
/// Longest content.
const MAX_CONTENT: usize = 1 << 20;

/// Which wire the connections speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WireChoice {
    /// The JSON wire, `/ws`
    Json,
    /// Socket.IO over WebSocket, `/socket.io/`
    Socketio,
    /// Every other connection speaks Socket.IO
    Both,
}

/// How the messages are spread over the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Arrivals {
    /// At equal distances
    Even,
    /// At random, as of many people who know nothing of each other
    Poisson,
}

/// The arguments of `hubbub loadtest`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The messages are due at fixed times, whatever the hub does (open loop), and latency counts from the \
time a message was due. Every copy is checked by its content: lost, twice, out of order, in the \
wrong room, damaged. Exit code: 0 if the audit found nothing, 1 if it did or the run failed.

Example: 1,000 connections in 10 rooms, 500 messages a second for 30 seconds:
  hubbub loadtest --connections 1000 --rooms 10 --rate 500 --duration 30s --html report.html

The hub's own limits count here too: see docs/loadtest.md for the settings of a hub under load.")]
pub struct LoadArguments {
    /// Address of a node, http://HOST:PORT or ws://HOST:PORT; several nodes are taken in turn
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:8080"
    )]
    pub url: Vec<String>,
    /// Wire that the connections speak
    #[arg(long, value_enum, default_value_t = WireChoice::Json)]
    pub wire: WireChoice,
    /// Connections, each with a user of its own
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    pub connections: usize,
    /// Rooms; the connections are spread over them
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub rooms: usize,
    /// Rooms that each connection joins
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub rooms_per_connection: usize,
    /// Connections that send, each to one room [default: one for each room]
    #[arg(long, value_name = "N")]
    pub senders: Option<usize>,
    /// Messages a second of all senders together; FROM..TO rises evenly over the duration
    #[arg(long, value_name = "RATE", default_value = "10", value_parser = values::rate)]
    pub rate: Rate,
    /// How the messages are spread over the time
    #[arg(long, value_enum, default_value_t = Arrivals::Even)]
    pub arrivals: Arrivals,
    /// Bytes of a message's content, at least 64; FROM..TO varies them
    #[arg(long, value_name = "BYTES", default_value = "128", value_parser = values::sizes)]
    pub size: (usize, usize),
    /// Time in which the connections are opened [default: 1 ms for each]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub ramp: Option<Duration>,
    /// Time from the first message on that the latencies leave out
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = values::duration)]
    pub warmup: Duration,
    /// How long messages are sent, the warm-up included
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::duration)]
    pub duration: Duration,
    /// How long to wait for what is under way at the end
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = values::duration)]
    pub drain: Duration,
    /// Connections a second that leave and come back with nothing but their token
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    pub churn: f64,
    /// Connections that take part in the churn [default: a tenth, if there is churn]
    #[arg(long, value_name = "N")]
    pub churners: Option<usize>,
    /// Further connections that join and then read slowly; the audit leaves them out
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub slow_readers: usize,
    /// Bytes a second that a slow reader reads; 0 is none at all
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub slow_rate: usize,
    /// Source addresses in turn, such as 127.0.0.2,127.0.0.3 or 127.0.0.2-127.0.0.9
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',', value_parser = values::addresses)]
    pub source: Vec<values::AddressRange>,
    /// Sign the tokens (HS256) with this secret; without it auth.jwt_secret of --config or the
    /// environment, and without that the hub's POST /dev/token. Other users of the machine can see
    /// arguments: prefer the environment
    #[arg(long, env = "HUBBUB_LOADTEST_JWT_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub jwt_secret: Option<String>,
    /// Give every message a key, and send what was not answered again after a reconnect
    #[arg(long)]
    pub keys: bool,
    /// Threads that read [default: half of the cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Process ids of hubs on this machine, to report their CPU and memory
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// Seed of what is random
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a report with plots, one HTML file that needs nothing else
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// No progress line
    #[arg(long, short)]
    pub quiet: bool,
}

/// A run that has been checked and makes sense.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The nodes, with their addresses.
    pub targets: Vec<Target>,
    /// Wires.
    pub wire: WireChoice,
    /// Connections that the audit covers.
    pub connections: usize,
    /// Rooms.
    pub rooms: usize,
    /// Rooms of each connection.
    pub rooms_per_connection: usize,
    /// The first so many connections send.
    pub senders: usize,
    /// Messages a second.
    pub rate: Rate,
    /// Spread over the time.
    pub arrivals: Arrivals,
    /// Smallest and largest content in bytes.
    pub size: (usize, usize),
    /// Time in which the connections are opened.
    pub ramp: Duration,
    /// Left out of the latencies.
    pub warmup: Duration,
    /// Time in which messages are due.
    pub duration: Duration,
    /// Wait at the end.
    pub drain: Duration,
    /// Leaving and coming back, per second.
    pub churn: f64,
    /// The last so many connections take part in it.
    pub churners: usize,
    /// Further connections that read slowly.
    pub slow_readers: usize,
    /// Their bytes a second.
    pub slow_rate: usize,
    /// Source addresses; empty lets the system choose.
    pub sources: Vec<IpAddr>,
    /// Whether messages have keys.
    pub keys: bool,
    /// Threads that read.
    pub threads: usize,
    /// Hubs to watch.
    pub pids: Vec<u32>,
    /// Seed of what is random.
    pub seed: u64,
    /// Name of the run: 8 hexadecimal digits, in users, rooms and contents.
    pub run: String,
}

impl Plan {
    /// Checks what was asked for and looks up the targets.
    ///
    /// # Errors
    /// [`LoadError::Usage`] with the argument and why it cannot be.
    pub fn new(wanted: &LoadArguments, run: String) -> Result<Self, LoadError> {
        let refuse = |reason: String| Err(LoadError::Usage(reason));
        let targets = wanted.url.iter().map(|url| Target::parse(url)).collect::<Result<_, _>>()?;
        let connections = wanted.connections;
        if !(1..=MAX_CONNECTIONS).contains(&connections) {
            return refuse(format!("--connections must be 1 to {MAX_CONNECTIONS}"));
        }
        if wanted.slow_readers > MAX_CONNECTIONS {
            return refuse(format!("--slow-readers must be at most {MAX_CONNECTIONS}"));
        }
        if wanted.rooms == 0 || wanted.rooms > connections * wanted.rooms_per_connection.max(1) {
            return refuse(format!(
                "--rooms must be 1 to {}, so that no room is empty",
                connections * wanted.rooms_per_connection.max(1)
            ));
        }
        if wanted.rooms_per_connection == 0 || wanted.rooms_per_connection > wanted.rooms.min(1000)
        {
            return refuse("--rooms-per-connection must be 1 to --rooms, at most 1000".into());
        }
        if !(wanted.churn >= 0.0 && wanted.churn <= 1e6) {
            return refuse("--churn must be a number from 0 to 1000000".into());
        }
        let churners = match (wanted.churners, wanted.churn > 0.0) {
            (Some(n), true) => n,
            (None, true) => (connections / 10).max(1),
            (_, false) => 0,
        };
        let senders = wanted
            .senders
            .unwrap_or_else(|| wanted.rooms.min(connections.saturating_sub(churners)).max(1));
        if senders == 0 || senders + churners > connections {
            return refuse(format!(
                "--connections ({connections}) must hold --senders ({senders}) and --churners \
                 ({churners}): who sends does not churn"
            ));
        }
        let (smallest, largest) = wanted.size;
        if smallest < MIN_CONTENT || largest > MAX_CONTENT {
            return refuse(format!("--size must be {MIN_CONTENT} to {MAX_CONTENT} bytes"));
        }
        if wanted.duration.is_zero() || wanted.warmup >= wanted.duration {
            return refuse("--duration must be longer than --warmup".into());
        }
        if wanted.rate.messages(wanted.duration) > MAX_MESSAGES {
            return refuse(format!(
                "--rate and --duration together must be at most {MAX_MESSAGES} messages"
            ));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = wanted.threads.unwrap_or((cores / 2).max(1));
        if !(1..=64).contains(&threads) {
            return refuse("--threads must be 1 to 64".into());
        }
        let sources: Vec<IpAddr> = wanted.source.iter().flat_map(|r| r.addresses()).collect();
        let plan = Self {
            targets,
            wire: wanted.wire,
            connections,
            rooms: wanted.rooms,
            rooms_per_connection: wanted.rooms_per_connection,
            senders,
            rate: wanted.rate,
            arrivals: wanted.arrivals,
            size: wanted.size,
            ramp: wanted.ramp.unwrap_or(Duration::from_millis(connections as u64)),
            warmup: wanted.warmup,
            duration: wanted.duration,
            drain: wanted.drain,
            churn: wanted.churn,
            churners,
            slow_readers: wanted.slow_readers,
            slow_rate: wanted.slow_rate,
            sources,
            keys: wanted.keys,
            threads,
            pids: wanted.pid.clone(),
            seed: wanted.seed,
            run,
        };
        plan.check_sources()?;
        Ok(plan)
    }

    /// A source address must be of the family of the targets.
    fn check_sources(&self) -> Result<(), LoadError> {
        for source in &self.sources {
            if let Some(target) =
                self.targets.iter().find(|t| t.address.is_ipv4() != source.is_ipv4())
            {
                return Err(LoadError::Usage(format!(
                    "--source {source} cannot reach {}: one is IPv4, the other IPv6",
                    target.address
                )));
            }
        }
        Ok(())
    }

    /// All connections, the slow readers too.
    #[must_use]
    pub fn all_connections(&self) -> usize {
        self.connections + self.slow_readers
    }

    /// Whether a connection reads slowly.
    #[must_use]
    pub fn is_slow(&self, connection: usize) -> bool {
        connection >= self.connections
    }

    /// Whether a connection leaves and comes back.
    #[must_use]
    pub fn is_churner(&self, connection: usize) -> bool {
        !self.is_slow(connection) && connection >= self.connections - self.churners
    }

    /// Whether a connection speaks Socket.IO.
    #[must_use]
    pub fn speaks_socketio(&self, connection: usize) -> bool {
        match self.wire {
            WireChoice::Json => false,
            WireChoice::Socketio => true,
            // Both wires in every room, also when there are two rooms.
            WireChoice::Both => (connection / self.rooms + connection) % 2 == 1,
        }
    }

    /// The wire of a connection.
    #[must_use]
    pub fn wire_of(&self, connection: usize) -> Wire {
        if self.speaks_socketio(connection) { Wire::SocketIo } else { Wire::Json }
    }

    /// The rooms of a connection; a sender sends to the first. Neighbours share rooms as long as there
    /// are as many connections as rooms; else each has the next ones, so that none is empty.
    pub fn rooms_of(&self, connection: usize) -> impl Iterator<Item = usize> + '_ {
        let step = if self.rooms > self.connections { self.rooms_per_connection } else { 1 };
        (0..self.rooms_per_connection).map(move |n| (connection * step + n) % self.rooms)
    }

    /// The name of a room.
    #[must_use]
    pub fn room_name(&self, room: usize) -> String {
        format!("load-{}-{room}", self.run)
    }

    /// The user of a connection.
    #[must_use]
    pub fn user(&self, connection: usize) -> String {
        format!("load-{}-u{connection}", self.run)
    }

    /// The node that a connection goes to; a further attempt goes to the next one.
    #[must_use]
    pub fn target(&self, connection: usize, attempt: usize) -> &Target {
        &self.targets[(connection + attempt) % self.targets.len()]
    }

    /// The source address of a connection.
    #[must_use]
    pub fn source(&self, connection: usize) -> Option<SocketAddr> {
        // Not in step with the nodes, so that each node sees each address.
        let n = self.sources.len().max(1);
        let turn = (connection + connection / n / self.targets.len().max(1)) % n;
        self.sources.get(turn).map(|address| SocketAddr::new(*address, 0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadArguments,
    }

    fn plan(line: &[&str]) -> Result<Plan, String> {
        let parsed = Line::try_parse_from([&["x"], line].concat()).map_err(|e| e.to_string())?;
        Plan::new(&parsed.load, "0badcafe".into()).map_err(|e| e.to_string())
    }

    #[test]
    fn defaults_make_a_plan() {
        let plan = plan(&[]).unwrap();
        assert_eq!((plan.connections, plan.rooms, plan.senders), (100, 1, 1));
        assert_eq!(plan.ramp, Duration::from_millis(100));
        assert_eq!(plan.targets[0].address.to_string(), "127.0.0.1:8080");
    }

    #[test]
    fn no_room_is_empty_and_none_is_joined_twice() {
        for (connections, rooms, each) in [(6, 3, 2), (5, 5, 5), (5, 20, 4), (7, 20, 3), (1, 9, 9)]
        {
            let line = format!("-n {connections} --rooms {rooms} --rooms-per-connection {each}");
            let plan = plan(&line.split(' ').collect::<Vec<_>>()).unwrap();
            let mut members = vec![0; rooms];
            for connection in 0..connections {
                let joined: std::collections::BTreeSet<_> = plan.rooms_of(connection).collect();
                assert_eq!(joined.len(), each, "{line}");
                joined.into_iter().for_each(|room| members[room] += 1);
            }
            assert!(!members.contains(&0), "{line}: {members:?}");
        }
    }

    #[test]
    fn the_roles_do_not_overlap() {
        let plan =
            plan(&["-n", "20", "--rooms", "4", "--churn", "2", "--slow-readers", "3"]).unwrap();
        let role = |i| (i < plan.senders, plan.is_churner(i), plan.is_slow(i));
        for i in 0..plan.all_connections() {
            let (a, b, c) = role(i);
            assert!(u8::from(a) + u8::from(b) + u8::from(c) <= 1, "{i}");
        }
        assert_eq!((plan.senders, plan.churners), (4, 2));
    }

    #[test]
    fn both_wires_meet_in_every_room() {
        let plan = plan(&["-n", "16", "--rooms", "2", "--wire", "both"]).unwrap();
        for room in 0..2 {
            let wires: std::collections::BTreeSet<bool> = (0..16)
                .filter(|i| plan.rooms_of(*i).any(|r| r == room))
                .map(|i| plan.speaks_socketio(i))
                .collect();
            assert_eq!(wires.len(), 2);
        }
    }

    #[test]
    fn nonsense_is_told_with_its_argument() {
        for (line, word) in [
            (&["-n", "0"][..], "--connections"),
            (&["--rooms", "0"], "--rooms"),
            (&["-n", "2", "--rooms", "3"], "--rooms"),
            (&["--size", "10"], "--size"),
            (&["--duration", "1s", "--warmup", "1s"], "--warmup"),
            (&["--rate", "1000000", "--duration", "10m"], "--rate"),
            (&["-n", "2", "--senders", "2", "--churn", "1"], "--churners"),
            (&["--source", "::1"], "--source"),
            (&["--url", "https://127.0.0.1:1"], "TLS"),
            (&["--url", "127.0.0.1:1"], "http://"),
            (&["--threads", "0"], "--threads"),
            (&["--churn=-1"], "--churn"),
            (&["--rate", "fast"], "--rate"),
        ] {
            let refused = plan(line).unwrap_err();
            assert!(refused.contains(word), "{line:?}: {refused}");
        }
    }

    #[test]
    fn every_node_sees_every_source() {
        let plan = plan(&[
            "--url",
            "http://127.0.0.1:1,http://127.0.0.1:2",
            "--source",
            "127.0.0.2-127.0.0.5",
        ])
        .unwrap();
        let pairs: std::collections::BTreeSet<_> =
            (0..100).map(|i| (plan.target(i, 0).address, plan.source(i))).collect();
        assert_eq!(pairs.len(), 8);
    }
}
