//! What happens in one simulated run: made from a seed, and short enough to be read when shrunk.

/// A small generator (SplitMix64): the same numbers for the same seed, on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9E37_79B9_7F4A_7C15)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// True in so many of a thousand cases.
    pub fn per_mille(&mut self, share: u64) -> bool {
        self.below(1000) < share
    }
}

/// Clients, of which some share a user.
pub const CLIENTS: usize = 8;
/// Users.
pub const USERS: usize = 6;
/// Nodes.
pub const NODES: usize = 3;
/// Worker threads of a node.
pub const WORKERS: usize = 2;
/// Rooms.
pub const ROOMS: usize = 3;
/// How long things happen, in milliseconds.
pub const BUSY_MS: u64 = 20_000;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A client connects to a node, if it is not connected.
    Connect { client: usize, node: usize },
    /// A client wants to be in a room.
    Join { client: usize, room: usize },
    /// A client leaves a room.
    Leave { client: usize, room: usize },
    /// A client publishes to a room it is in, with a key; it sends it again until it is answered.
    Publish { client: usize, room: usize },
    /// Many of those at once.
    Burst { client: usize, room: usize, count: usize },
    /// A client's connection is lost; it comes back. `silent`: the node is not told.
    Cut { client: usize, silent: bool },
    /// A client answers nothing any more for a while, heartbeats included.
    Freeze { client: usize, ms: u64 },
    /// A client closes its connection, for good unless it is to connect again.
    Close { client: usize },
    /// A client types, or stops.
    Type { client: usize, room: usize, on: bool },
    /// A client goes away, or is back.
    Away { client: usize, away: bool },
    /// A node dies without a word and is started again.
    Kill { node: usize, ms: u64 },
    /// A node and the store do not reach each other.
    Partition { node: usize, ms: u64 },
    /// The store answers late.
    Slow { ms: u64 },
}

/// How bad the network is between the store and the nodes, in cases of a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// What the store tells a node is lost.
    pub drop: u64,
    /// It comes twice.
    pub repeat: u64,
    /// It comes late, after others.
    pub reorder: u64,
    /// A request to the store, or its answer, is lost.
    pub lose: u64,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// What it was made from.
    pub seed: u64,
    /// When what happens, ascending.
    pub ops: Vec<(u64, Op)>,
    /// The network.
    pub faults: Faults,
    /// Messages that the store keeps of a room.
    pub kept: usize,
    /// The nodes hear the store through bridges, as with Redis.
    pub bridges: bool,
}

impl Schedule {
    /// The run of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let faults = match random.below(4) {
            0 => Faults::default(),
            1 => Faults { drop: 30, ..Faults::default() },
            2 => Faults { repeat: 100, reorder: 150, ..Faults::default() },
            _ => Faults { drop: 30, repeat: 50, reorder: 80, lose: 50 },
        };
        let kept = if random.below(4) == 0 { 12 } else { 1000 };
        let mut ops = Vec::new();
        for client in 0..CLIENTS {
            let node = random.below(NODES as u64) as usize;
            ops.push((random.below(500), Op::Connect { client, node }));
            for room in 0..ROOMS {
                if random.below(2) == 0 {
                    ops.push((500 + random.below(1500), Op::Join { client, room }));
                }
            }
        }
        let count = 40 + random.below(120);
        for _ in 0..count {
            ops.push((random.below(BUSY_MS), Self::any(&mut random)));
        }
        ops.sort_by_key(|(at, _)| *at);
        Self { seed, ops, faults, kept, bridges: seed % 2 == 1 }
    }

    fn any(random: &mut Random) -> Op {
        let client = random.below(CLIENTS as u64) as usize;
        let node = random.below(NODES as u64) as usize;
        let room = random.below(ROOMS as u64) as usize;
        match random.below(100) {
            0..40 => Op::Publish { client, room },
            40..46 => Op::Burst { client, room, count: 5 + random.below(300) as usize },
            46..58 => Op::Join { client, room },
            58..64 => Op::Leave { client, room },
            64..72 => Op::Cut { client, silent: random.below(3) == 0 },
            72..75 => Op::Freeze { client, ms: random.below(8000) },
            75..78 => Op::Close { client },
            78..84 => Op::Connect { client, node },
            84..89 => Op::Type { client, room, on: random.below(3) > 0 },
            89..92 => Op::Away { client, away: random.below(2) == 0 },
            92..94 => Op::Kill { node, ms: 500 + random.below(4000) },
            94..97 => Op::Partition { node, ms: 100 + random.below(4000) },
            _ => Op::Slow { ms: random.below(1500) },
        }
    }
}
