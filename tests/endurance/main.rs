//! Hubs for a long time: under faults (`chaos`), and under load that comes and goes (`soak`). Short by
//! default; docs/chaos.md says how to run them for hours.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod chaos;
mod clock;
mod fault;
mod listener;
mod schedule;
mod sender;
mod soak;
mod verdict;
mod world;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One at a time: each has the machine to itself.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number from the environment.
fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}")),
        Err(_) => default,
    }
}
