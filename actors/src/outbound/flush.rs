//! The queues of one worker that have something to write.

use std::{
    future::poll_fn,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use prometheus::IntGauge;

use super::{Compressing, Outbound};

/// The queues of one worker that have something to write.
#[derive(Default)]
pub struct FlushList {
    dirty: Mutex<Vec<Arc<Outbound>>>,
    flusher: AtomicWaker,
    pub(super) waiting: Option<IntGauge>,
    interval: Duration,
    pub(super) compressing: Option<Compressing>,
}

/// Queues written before the worker looks at something else.
const FLUSH_SLICE: usize = 128;

/// Turns that everything else on the worker has before a round begins: a client whose burst is
/// read in two turns is answered, and heard by others, in one write. Without anything else to do
/// they take no time.
const PATIENCE: usize = 2;

impl FlushList {
    /// A list whose queues keep `waiting` at the bytes that slow clients have not
    /// taken yet. Rounds are at least `interval` apart (`session.flush_interval_us`).
    pub fn counting(waiting: IntGauge, interval: Duration) -> Self {
        Self { waiting: Some(waiting), interval, ..Self::default() }
    }

    /// The same, whose queues compress for clients that agree on it.
    #[must_use]
    pub fn compressing(self, compressing: Option<Compressing>) -> Self {
        Self { compressing, ..self }
    }

    pub(super) fn add(&self, outbound: Arc<Outbound>) {
        let first = {
            let mut dirty = self.dirty.lock();
            dirty.push(outbound);
            dirty.len() == 1
        };
        if first {
            self.flusher.wake();
        }
    }

    /// Writes the listed queues for as long as the worker lives. `written` is
    /// told the bytes of each round.
    pub async fn run(self: Arc<Self>, mut written: impl FnMut(usize)) {
        let mut round: Vec<Arc<Outbound>> = Vec::new();
        let mut began = Instant::now();
        loop {
            self.something().await;
            if self.interval.is_zero() {
                for _ in 0..PATIENCE {
                    turn().await;
                }
            } else {
                tokio::time::sleep_until((began + self.interval).into()).await;
                began = Instant::now();
            }
            std::mem::swap(&mut round, &mut *self.dirty.lock());
            // First come, first served, although they are popped from the end.
            round.reverse();
            while !round.is_empty() {
                let rest = round.len().saturating_sub(FLUSH_SLICE);
                let bytes = round.drain(rest..).rev().map(|outbound| outbound.flush()).sum();
                written(bytes);
                turn().await;
            }
            if round.capacity() > 1024 {
                round = Vec::new();
            }
        }
    }

    /// Waits until a queue is listed.
    async fn something(&self) {
        poll_fn(|cx| {
            self.flusher.register(cx.waker());
            if self.dirty.lock().is_empty() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }
}

/// Lets everything else that is ready have its turn.
async fn turn() {
    let mut over = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut over, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
