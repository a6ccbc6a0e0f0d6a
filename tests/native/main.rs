//! One hub from the outside, over the JSON wire.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod archive;
mod attacks;
mod auth;
mod client;
mod compression;
mod disk_full;
mod drain;
mod faults;
mod frames;
mod handshake;
mod heartbeat;
mod history;
mod hooks;
mod hostile;
mod kill;
mod limits;
mod messages;
mod presence;
mod receipts;
mod recovery;
mod rooms;
mod seams;
mod sockets;
mod storms;
mod tls;
mod typing;
mod webhook;
