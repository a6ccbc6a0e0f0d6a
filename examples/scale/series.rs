//! What is measured: a series varies one thing and holds the others still.

use crate::run::Outcome;

/// A load.
#[derive(Debug, Clone, Default)]
pub struct Point {
    /// What is varied.
    pub x: u64,
    /// `server.workers`.
    pub workers: u64,
    /// Connections.
    pub connections: u64,
    /// Rooms.
    pub rooms: u64,
    /// Rooms of each connection.
    pub rooms_each: u64,
    /// Messages a second.
    pub rate: u64,
    /// Whether hub and load have a core each of their own.
    pub pinned: bool,
}

/// One thing that is varied.
pub struct Series {
    /// How it is asked for.
    pub name: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// What x is.
    pub x: &'static str,
    /// What y is.
    pub y: &'static str,
    /// Its values.
    xs: &'static [u64],
    point: fn(u64) -> Point,
    /// What is to grow no faster than x.
    pub cost: fn(&Outcome) -> f64,
    /// The least x from which on the growth is judged: below it a constant part is most of it.
    pub from: u64,
}

impl Series {
    /// Its loads.
    pub fn points(&self) -> impl Iterator<Item = Point> + '_ {
        self.xs.iter().map(|x| Point { x: *x, ..(self.point)(*x) })
    }
}

/// Most connections of a point.
const CONNECTIONS: u64 = 15_000;

/// All series.
pub static SERIES: [Series; 5] = [
    Series {
        name: "rooms",
        title: "Rooms of two members, 500 messages a second in all",
        x: "rooms",
        y: "CPU us per message",
        xs: &[1, 10, 100, 1_000, 10_000, 100_000],
        // Up to 5,000 connections; beyond that each is in several rooms.
        point: |rooms| {
            let connections = (2 * rooms).min(5_000);
            let rooms_each = 2 * rooms / connections;
            Point { workers: 1, connections, rooms, rooms_each, rate: 500, x: rooms, pinned: true }
        },
        // In relation to 1: the number of rooms must not matter to a message.
        cost: |o| o.cpu_us_per_message,
        from: 1,
    },
    Series {
        name: "members",
        title: "One room, about 10,000 deliveries a second",
        x: "members",
        y: "CPU us per message",
        xs: &[2, 10, 100, 1_000, 5_000, CONNECTIONS],
        point: |members| Point {
            workers: 1,
            connections: members,
            rooms: 1,
            rooms_each: 1,
            rate: (10_000 / members).clamp(2, 500),
            x: members,
            pinned: true,
        },
        cost: |o| o.cpu_us_per_message,
        from: 100,
    },
    Series {
        name: "memory",
        title: "Connections in rooms of 100, 10,000 deliveries a second",
        x: "connections",
        y: "resident MiB of the hub for them",
        xs: &[500, 1_000, 2_500, 5_000, 10_000, CONNECTIONS],
        point: |connections| Point {
            workers: 1,
            connections,
            rooms: connections / 100,
            rooms_each: 1,
            rate: 100,
            x: connections,
            pinned: true,
        },
        cost: |o| o.resident_bytes / 1_048_576.0,
        from: 2_500,
    },
    Series {
        name: "workers",
        title: "Workers, 10 rooms of 100, 20,000 deliveries a second",
        x: "workers",
        y: "CPU us per delivery",
        xs: &[1, 2],
        point: |workers| Point {
            workers,
            connections: 1_000,
            rooms: 10,
            rooms_each: 1,
            rate: 200,
            x: workers,
            pinned: false,
        },
        cost: |o| o.cpu_us_per_delivery,
        from: 1,
    },
    Series {
        name: "flood",
        title: "Workers, 10 rooms of 100, 300,000 deliveries a second asked for",
        x: "workers",
        y: "CPU us per delivery",
        xs: &[1, 2],
        point: |workers| Point {
            workers,
            connections: 1_000,
            rooms: 10,
            rooms_each: 1,
            rate: 3_000,
            x: workers,
            pinned: false,
        },
        cost: |o| o.cpu_us_per_delivery,
        from: 1,
    },
];
