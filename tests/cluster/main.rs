//! Several hubs and the Redis between them, from the outside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod archive;
mod away;
mod canary;
mod emitter;
mod faults;
mod frozen;
mod load;
mod order;
mod receipts;
mod resume;
mod rooms;
mod topology;
