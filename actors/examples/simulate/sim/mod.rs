//! A simulation of rooms, presence, recovery and the bus over the hub's own logic: the tables of
//! `room_server`, the relay's interest, `presence_tracker`, the heartbeat's judgement and wheel, and
//! the history in memory. Time, network and crashes come from a seed.
//!
//! | file | holds |
//! |---|---|
//! | `schedule` | what happens, made from a seed |
//! | `world` | the clock, the network, the store |
//! | `node` | a node: the steps between the hub's tables |
//! | `client` | clients |
//! | `check` | what must hold |
//! | `shrink` | a failing schedule made short |
#![allow(clippy::expect_used)]

pub mod check;
mod client;
mod node;
pub mod schedule;
pub mod shrink;
pub mod world;

use schedule::Schedule;
use world::{Sabotage, Stats, World};

/// Runs a schedule.
///
/// # Errors
/// What did not hold, and when.
pub fn run(schedule: &Schedule, sabotage: Option<Sabotage>) -> Result<Stats, String> {
    World::new(schedule, sabotage).run()
}
