//! A simulation of rooms, presence, recovery and the bus over the hub's own logic: the tables of
//! `room_server` and what decides there, the relay's interest, the bridge's table, `presence_tracker`,
//! the heartbeat's judgement and wheel, the marks of offsets, and history and sessions in memory. Time, network and crashes come from a seed.
//!
//! | file | holds |
//! |---|---|
//! | `schedule` | what happens, made from a seed |
//! | `world` | the clock and the queue of events |
//! | `event` | what travels and what happens |
//! | `store` | the history and the network around it |
//! | `keep` | the session store and the way to it |
//! | `node`, `session` | a node and its sessions: the steps between the hub's tables |
//! | `catchup`, `anew` | how a member and a room get what they miss |
//! | `recovery` | how a session comes back |
//! | `bridge` | how a node hears the others |
//! | `client`, `take` | clients, and what they make of what they are told |
//! | `check` | what must hold |
//! | `shrink` | a failing schedule made short |
#![allow(clippy::expect_used)]

mod anew;
mod bridge;
mod catchup;
pub mod check;
mod client;
pub mod event;
mod keep;
mod node;
mod recovery;
pub mod schedule;
mod session;
pub mod shrink;
mod store;
mod take;
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
