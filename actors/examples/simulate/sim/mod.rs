//! A simulation of rooms, presence, recovery and the bus over the hub's own logic: the tables of
//! `room_server`, the relay's interest, `presence_tracker`, the heartbeat's judgement and wheel, and
//! the history in memory. Time, network and crashes come from a seed.
//!
//! | file | holds |
//! |---|---|
//! | `schedule` | what happens, made from a seed |
//! | `world` | the clock and the queue of events |
//! | `event` | what travels and what happens |
//! | `store` | the history and the network around it |
//! | `node`, `catchup` | a node: the steps between the hub's tables |
//! | `client` | clients |
//! | `check` | what must hold |
//! | `shrink` | a failing schedule made short |
#![allow(clippy::expect_used)]

mod catchup;
pub mod check;
mod client;
pub mod event;
mod node;
pub mod schedule;
pub mod shrink;
mod store;
pub mod world;

use event::Sabotage;
use schedule::Schedule;
use world::{Stats, World};

/// Runs a schedule.
///
/// # Errors
/// What did not hold, and when.
pub fn run(schedule: &Schedule, sabotage: Option<Sabotage>) -> Result<Stats, String> {
    World::new(schedule, sabotage).run()
}
