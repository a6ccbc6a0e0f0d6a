//! What waits for Redis, what is under way, and the ends of sessions that Redis has not
//! taken yet.

use std::{
    collections::{HashMap, hash_map::Entry},
    future::Future,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use hubbub_protocol::id::SessionId;
use parking_lot::Mutex;
use redis::{Cmd, Value};
use tokio::sync::{mpsc, oneshot};

use crate::{ports::StoreError, session_store::Owner};

/// Changes that may wait for Redis; one more is refused.
pub(super) const MAX_WAITING: usize = 65_536;
/// Changes that are under way at a time; the others wait.
const MAX_RUNNING: usize = 1024;
/// Ends that are told again; one more is not.
const MAX_ENDS: usize = 65_536;

/// A command and where its answer goes.
pub(super) struct Job {
    pub(super) cmd: Cmd,
    pub(super) reply: oneshot::Sender<Result<Value, StoreError>>,
    /// What is to be told again if Redis does not take it.
    pub(super) end: Option<End>,
}

/// Runs commands in the order in which they were asked, without waiting for one before
/// the next is sent. `failed` is told of ends that Redis did not take.
pub(super) async fn work<F>(
    mut waiting: mpsc::Receiver<Job>,
    query: impl Fn(Cmd) -> F,
    failed: impl Fn(End),
) where
    F: Future<Output = Result<Value, StoreError>>,
{
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            // What runs first, so that each is sent before the next begins.
            biased;
            Some(()) = running.next(), if !running.is_empty() => {}
            job = waiting.recv(), if running.len() < MAX_RUNNING => {
                let Some(Job { cmd, reply, end }) = job else { break };
                let (answer, failed) = (query(cmd), &failed);
                running.push(async move {
                    let answer = answer.await;
                    if let Some(end) = end
                        && answer.is_err()
                    {
                        failed(end);
                    }
                    // Nobody may wait for it.
                    let _ = reply.send(answer);
                });
            }
        }
    }
    while running.next().await.is_some() {}
}

/// That a connection of a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) session: SessionId,
    pub(super) owner: Owner,
    /// The session ended for good.
    pub(super) over: bool,
    /// When, in milliseconds.
    pub(super) at: u64,
}

/// Ends that Redis has not taken yet.
#[derive(Default)]
pub(super) struct Ends(Mutex<HashMap<SessionId, End>>);

impl Ends {
    /// Redis did not take one. That a session is over is not made less of.
    pub(super) fn note(&self, end: End) {
        let mut ends = self.0.lock();
        let full = ends.len() >= MAX_ENDS;
        match ends.entry(end.session) {
            Entry::Vacant(free) if !full => {
                free.insert(end);
            }
            Entry::Occupied(mut known)
                if known.get().owner != end.owner || end.over || !known.get().over =>
            {
                known.insert(end);
            }
            _ => {}
        }
    }

    /// Some of them; forgets those before a time, which Redis has forgotten as well.
    pub(super) fn some(&self, most: usize, since: u64) -> Vec<End> {
        let mut ends = self.0.lock();
        ends.retain(|_, end| end.at >= since);
        ends.values().take(most).copied().collect()
    }

    /// Redis has it.
    pub(super) fn taken(&self, end: &End) {
        let mut ends = self.0.lock();
        if ends.get(&end.session) == Some(end) {
            ends.remove(&end.session);
        }
        if ends.is_empty() {
            // An outage may have made it large.
            ends.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        cell::{Cell, RefCell},
        future::pending,
        pin::pin,
        time::Duration,
    };

    use super::*;

    fn end(n: u128, owner: u64, over: bool, at: u64) -> End {
        let session = SessionId(uuid::Uuid::from_u128(n));
        End { session, owner: Owner(owner), over, at }
    }

    fn job(n: usize, end: Option<End>) -> Job {
        let mut cmd = redis::cmd("ECHO");
        cmd.arg(n);
        Job { cmd, reply: oneshot::channel().0, end }
    }

    #[tokio::test]
    async fn so_many_are_under_way_and_in_order() {
        let (jobs, waiting) = mpsc::channel(2 * MAX_RUNNING);
        for n in 0..2 * MAX_RUNNING {
            jobs.try_send(job(n, None)).ok().unwrap();
        }
        let sent = RefCell::new(Vec::new());
        let query = |cmd: Cmd| {
            let sent = &sent;
            async move {
                let text = cmd.args_iter().nth(1).map(|arg| match arg {
                    redis::Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                    _ => String::new(),
                });
                sent.borrow_mut().push(text.unwrap());
                pending().await
            }
        };
        let mut work = pin!(work(waiting, query, |_| {}));
        let quiet = Duration::from_millis(200);
        assert!(tokio::time::timeout(quiet, &mut work).await.is_err());
        let expected: Vec<_> = (0..MAX_RUNNING).map(|n| n.to_string()).collect();
        assert_eq!(*sent.borrow(), expected);
        assert_eq!(jobs.capacity(), MAX_RUNNING, "the others wait");
    }

    #[tokio::test]
    async fn an_end_that_was_not_taken_is_told() {
        let (jobs, waiting) = mpsc::channel(4);
        for n in 0..3 {
            jobs.try_send(job(n, (n > 0).then(|| end(n as u128, 1, true, 0)))).ok().unwrap();
        }
        drop(jobs);
        let (asked, told) = (Cell::new(0), RefCell::new(Vec::new()));
        let query = |_| {
            asked.set(asked.get() + 1);
            let answer = if asked.get() == 3 { Ok(Value::Int(1)) } else { Err(StoreError::Full) };
            std::future::ready(answer)
        };
        work(waiting, query, |end| told.borrow_mut().push(end)).await;
        assert_eq!(*told.borrow(), [end(1, 1, true, 0)]);
    }

    #[test]
    fn ends_are_bounded_and_the_last_word_counts() {
        let ends = Ends::default();
        ends.note(end(0, 1, false, 5));
        ends.note(end(0, 1, true, 6));
        ends.note(end(0, 1, false, 7));
        assert_eq!(ends.some(9, 0), [end(0, 1, true, 6)]);
        // It came back meanwhile.
        ends.note(end(0, 2, false, 8));
        ends.taken(&end(0, 1, true, 6));
        assert_eq!(ends.some(9, 8), [end(0, 2, false, 8)]);
        assert_eq!(ends.some(9, 9), []);
        for n in 0..=MAX_ENDS as u128 {
            ends.note(end(n, 1, false, 9));
        }
        assert_eq!(ends.some(usize::MAX, 0).len(), MAX_ENDS);
        assert_eq!(ends.some(500, 0).len(), 500);
    }
}
