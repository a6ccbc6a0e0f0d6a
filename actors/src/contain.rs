//! Panics stay where they happen.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::shared::Shared;

/// Runs a step of an actor. A panic in it is counted and logged, and answered
/// with none: the actor then rebuilds its state and goes on.
pub fn contain<T>(shared: &Shared, actor: &'static str, step: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(value) => Some(value),
        Err(_) => {
            shared.metrics.panics.with_label_values(&[actor]).inc();
            log::error!(actor; "a panic was contained; the rest goes on");
            None
        }
    }
}
