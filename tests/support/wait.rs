//! Waiting for a condition with a deadline, instead of sleeping for luck.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long something may take that should happen at once. Generous, because
/// several hubs and their clients share the machine.
pub const SOON: Duration = Duration::from_secs(10);

/// Asks again until there is an answer. Panics after `within`.
pub fn until<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
