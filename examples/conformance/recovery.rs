//! Who may come back as whom. What a socket of the example sends is an answer to what its
//! client sent, so nothing is missed while it is away: its id is all that it gets back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long a socket can come back.
const KEPT: Duration = Duration::from_secs(120);
/// Most sockets that can come back.
const MOST: usize = 10_000;

/// The sockets that can come back, by their private id.
#[derive(Clone, Default)]
pub struct Recovery(Arc<Mutex<HashMap<String, Saved>>>);

struct Saved {
    sid: String,
    namespace: String,
    offset: String,
    since: Instant,
}

impl Recovery {
    fn saved<T>(&self, work: impl FnOnce(&mut HashMap<String, Saved>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The id of the socket that a client was, if `offset` is the last it was told.
    pub fn restore(&self, pid: &str, namespace: &str, offset: &str) -> Option<String> {
        self.saved(|saved| {
            let saved = saved.get(pid)?;
            let same = saved.namespace == namespace && saved.offset == offset;
            (same && saved.since.elapsed() < KEPT).then(|| saved.sid.clone())
        })
    }

    /// A client was told something with this offset.
    pub fn told(&self, pid: &str, sid: &str, namespace: &str, offset: String) {
        self.saved(|saved| {
            if saved.len() >= MOST {
                saved.retain(|_, saved| saved.since.elapsed() < KEPT);
            }
            if saved.len() < MOST {
                let (sid, namespace) = (sid.to_owned(), namespace.to_owned());
                let entry = Saved { sid, namespace, offset, since: Instant::now() };
                saved.insert(pid.to_owned(), entry);
            }
        });
    }

    /// A client left by itself.
    pub fn forget(&self, pid: &str) {
        self.saved(|saved| saved.remove(pid));
    }
}
