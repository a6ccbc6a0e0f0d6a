//! Who is there, over several hubs and one Redis: real processes of both.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod fleet;
mod hooks;
mod kill;
mod limits;
mod operators;
mod outage;
mod redis_server;
mod together;
