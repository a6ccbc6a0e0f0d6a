//! The bounded queue between callers, who never wait, and a thread that does.

use std::{collections::VecDeque, time::Instant};

use parking_lot::{Condvar, Mutex};

/// First in, first out, bounded in items and in bytes.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
    max_len: usize,
    max_bytes: usize,
}

struct State<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    closed: bool,
    /// Threads that wait: without any, a push need not wake.
    waiting: usize,
}

/// Why an item was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The bound in items or in bytes is reached.
    Full,
    /// No more is taken.
    Closed,
}

/// What a thread got for its waiting.
pub(super) enum Taken<T> {
    /// Items, and how many items and bytes waited in all, with these.
    Items(Vec<T>, usize, usize),
    /// Nothing came in time.
    TimedOut,
    /// The queue is closed and empty.
    Closed,
}

impl<T> Queue<T> {
    /// An empty queue. One item is taken even if it alone is beyond `max_bytes`.
    pub(super) fn new(max_len: usize, max_bytes: usize) -> Self {
        let state = State { items: VecDeque::new(), bytes: 0, closed: false, waiting: 0 };
        Self { state: Mutex::new(state), ready: Condvar::new(), max_len: max_len.max(1), max_bytes }
    }

    /// Takes an item or gives it back.
    pub(super) fn push(&self, item: T, bytes: usize) -> Result<(), (T, Refused)> {
        let mut state = self.state.lock();
        if state.closed {
            return Err((item, Refused::Closed));
        }
        let too_many = state.items.len() >= self.max_len;
        let too_big = !state.items.is_empty() && state.bytes.saturating_add(bytes) > self.max_bytes;
        if too_many || too_big {
            return Err((item, Refused::Full));
        }
        state.items.push_back((item, bytes));
        state.bytes += bytes;
        let wake = state.waiting > 0;
        drop(state);
        if wake {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Waits for an item until `deadline` (for ever without one), then takes what
    /// is there, at most `max` items and about `max_bytes`.
    pub(super) fn take(&self, max: usize, max_bytes: usize, deadline: Option<Instant>) -> Taken<T> {
        let mut state = self.state.lock();
        while state.items.is_empty() {
            if state.closed {
                return Taken::Closed;
            }
            state.waiting += 1;
            let timed_out = match deadline {
                Some(deadline) => self.ready.wait_until(&mut state, deadline).timed_out(),
                None => {
                    self.ready.wait(&mut state);
                    false
                }
            };
            state.waiting -= 1;
            if timed_out && state.items.is_empty() && !state.closed {
                return Taken::TimedOut;
            }
        }
        let (len, bytes) = (state.items.len(), state.bytes);
        let mut items = Vec::with_capacity(len.min(max));
        let mut taken = 0;
        while items.len() < max && (items.is_empty() || taken < max_bytes) {
            let Some((item, bytes)) = state.items.pop_front() else {
                break;
            };
            taken += bytes;
            items.push(item);
        }
        state.bytes -= taken;
        Taken::Items(items, len, bytes)
    }

    /// Takes no more; what was taken still comes out.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.ready.notify_all();
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_in_items_and_bytes() {
        let queue = Queue::new(3, 100);
        assert!(queue.push(1, 500).is_ok(), "one always fits");
        assert_eq!(queue.push(2, 1), Err((2, Refused::Full)));
        assert!(matches!(queue.take(9, 9, None), Taken::Items(items, 1, 500) if items == [1]));
        for i in 0..3 {
            assert!(queue.push(i, 10).is_ok());
        }
        assert_eq!(queue.push(3, 10), Err((3, Refused::Full)));
        assert!(matches!(queue.take(2, 99, None), Taken::Items(items, 3, 30) if items == [0, 1]));
        queue.close();
        assert_eq!(queue.push(4, 1), Err((4, Refused::Closed)));
        assert!(matches!(queue.take(9, 9, None), Taken::Items(items, 1, 10) if items == [2]));
        assert!(matches!(queue.take(9, 9, None), Taken::Closed));
    }

    #[test]
    fn waiting_ends_at_the_deadline() {
        let queue = Queue::<u8>::new(1, 1);
        assert!(matches!(queue.take(1, 1, Some(Instant::now())), Taken::TimedOut));
    }
}
