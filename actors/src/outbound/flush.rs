//! The queues of one worker that have something to write.

use std::{sync::Arc, task::Poll};

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
    pub(super) compressing: Option<Compressing>,
}

/// Queues written before the worker looks at something else.
const FLUSH_SLICE: usize = 128;

impl FlushList {
    /// A list whose queues keep `waiting` at the bytes that slow clients have not
    /// taken yet.
    pub fn counting(waiting: IntGauge) -> Self {
        Self { waiting: Some(waiting), ..Self::default() }
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
        std::future::poll_fn(move |cx| -> Poll<()> {
            if round.is_empty() {
                self.flusher.register(cx.waker());
                std::mem::swap(&mut round, &mut *self.dirty.lock());
                if round.is_empty() {
                    if round.capacity() > 1024 {
                        round = Vec::new();
                    }
                    return Poll::Pending;
                }
                // First come, first served, although they are popped from the end.
                round.reverse();
            }
            let rest = round.len().saturating_sub(FLUSH_SLICE);
            let bytes = round.drain(rest..).rev().map(|outbound| outbound.flush()).sum();
            written(bytes);
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}
