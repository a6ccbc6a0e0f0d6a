//! What needs the machine to itself: cargo runs the test binaries one after
//! another, so nothing else disturbs these.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod crowd;
mod loadtest;
mod proxy;
mod returning;
mod slow;

/// One at a time, also inside this binary.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
