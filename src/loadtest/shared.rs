//! What all threads of a run share.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{LoadError, error::hint, marker::Reader, options::Plan, tokens::Tokens};

/// See the module.
#[derive(Debug)]
pub struct Shared {
    /// The plan.
    pub plan: Plan,
    /// Where tokens come from.
    pub tokens: Tokens,
    /// Finds the contents of this run.
    pub reader: Reader,
    start: Instant,
    /// Due times from which on latencies count, in microseconds.
    measured_from: AtomicU64,
    sending: AtomicBool,
    over: AtomicBool,
    failures: AtomicU64,
    failure: Mutex<Option<LoadError>>,
    room_prefix: String,
}

impl Shared {
    /// For a run that begins now.
    #[must_use]
    pub fn new(plan: Plan, tokens: Tokens) -> Self {
        Self {
            reader: Reader::new(&plan.run),
            room_prefix: format!("load-{}-", plan.run),
            plan,
            tokens,
            start: Instant::now(),
            measured_from: AtomicU64::new(u64::MAX),
            sending: AtomicBool::new(false),
            over: AtomicBool::new(false),
            failures: AtomicU64::new(0),
            failure: Mutex::new(None),
        }
    }

    /// Microseconds since the run began.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// Latencies count for what is due from here on.
    pub fn measure_from(&self, due: u64) {
        self.measured_from.store(due, Ordering::Relaxed);
    }

    /// Whether the latency of what was due then counts.
    #[must_use]
    pub fn measures(&self, due: u64) -> bool {
        due >= self.measured_from.load(Ordering::Relaxed)
    }

    /// The index of a room of this run.
    #[must_use]
    pub fn room(&self, name: &str) -> Option<u32> {
        let room = name.strip_prefix(&self.room_prefix)?.parse().ok()?;
        ((room as usize) < self.plan.rooms).then_some(room)
    }

    /// From now on messages are due and connections come and go, or no more.
    pub fn send(&self, on: bool) {
        self.sending.store(on, Ordering::Relaxed);
    }

    /// Whether messages are due and connections come and go.
    #[must_use]
    pub fn sending(&self) -> bool {
        self.sending.load(Ordering::Relaxed)
    }

    /// The run is over: what ends from now on is not looked at.
    pub fn finish(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether the run is over.
    #[must_use]
    pub fn over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// How often each churner leaves.
    #[must_use]
    pub fn churn_period(&self) -> Duration {
        let rate = self.plan.churn.max(1e-6);
        Duration::from_secs_f64((self.plan.churners.max(1) as f64 / rate).min(86_400.0))
    }

    /// A connection could not be opened for the first time.
    pub fn failed(&self, connection: usize, attempt: usize, reason: String) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let url = self.plan.target(connection, attempt).url.clone();
        let hint = hint(&reason);
        self.failure.lock().get_or_insert(LoadError::Open { connection, url, reason, hint });
    }

    /// The first connection that could not be opened.
    #[must_use]
    pub fn failure(&self) -> Option<LoadError> {
        if self.failures.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.failure.lock().clone()
    }
}
