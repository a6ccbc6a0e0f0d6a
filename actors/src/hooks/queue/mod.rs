//! The queue between the hub and the backend: a file, so that a process that is killed
//! goes on where it was, or memory. One thread owns it; nobody waits for it but the one
//! who sends.
//!
//! Beside the events the file has what they add up to: which sessions were told to be
//! open, and on a single node who is in which room. What still stands when a node ends
//! or starts again is told to be over.

mod file;
#[cfg(test)]
mod tests;
mod thread;

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot, watch};

use self::{file::File, thread::Thread};
use super::{HookEvent, HookKinds, HookMetrics, HookSink};
use crate::{clock::Clock, ports::PortFuture};

/// Events that may wait for the thread, and their bytes.
const INBOX: (usize, usize) = (16_384, 16 * 1024 * 1024);
/// Longest time that the end of the node waits for the backend.
const PATIENCE: Duration = Duration::from_secs(3);

/// The bounds of the queue.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    /// The folder of the file, made if it is missing; none: memory.
    pub folder: Option<PathBuf>,
    /// What is told; the rest only counts for what stands.
    pub kinds: HookKinds,
    /// Most events that wait (`webhooks.queue_max`).
    pub max_events: u64,
    /// Most bytes of events that wait (`webhooks.queue_max_bytes`).
    pub max_bytes: u64,
    /// How long an event may wait, in milliseconds (`webhooks.retention_ms`).
    pub retention_ms: u64,
    /// Whether this node alone decides who is in which room.
    pub alone: bool,
}

/// Why a queue cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The folder cannot be made.
    #[error("the folder {path} of the webhooks' queue cannot be made: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another process has the file open.
    #[error("the webhooks' queue {0} is in use by another process; choose another webhooks.path")]
    InUse(PathBuf),
    /// The file is something else, or of a newer version.
    #[error(
        "{0} is not a queue that this version knows; move it away or choose another webhooks.path"
    )]
    Foreign(PathBuf),
    /// The file cannot be opened or read.
    #[error("the webhooks' queue {path} cannot be opened: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the engine says.
        source: rusqlite::Error,
    },
    /// The system gives no thread.
    #[error("no thread for the webhooks' queue: {0}")]
    Thread(std::io::Error),
}

/// An event that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its number: rises by one; where one is missing, an event was dropped.
    pub seq: u64,
    /// When it was put into the queue, milliseconds since 1970.
    pub queued: u64,
    /// Its JSON with the number.
    pub json: String,
}

/// The oldest events of the queue.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// In the order of their numbers.
    pub events: Vec<Waiting>,
    /// The node ends: nothing more comes.
    pub last: bool,
}

struct Inbox {
    events: VecDeque<(HookEvent, usize)>,
    bytes: usize,
    /// Dropped since the thread looked last.
    missed: u64,
    asks: VecDeque<Ask>,
    closing: bool,
    /// Nobody answers any more.
    ended: bool,
}

enum Ask {
    Peek(usize, usize, oneshot::Sender<Batch>),
    Sent(u64, oneshot::Sender<bool>),
    Finish,
}

struct Inner {
    inbox: Mutex<Inbox>,
    ready: Condvar,
    news: Notify,
    metrics: HookMetrics,
    id: String,
}

/// The queue. Cheap to clone.
#[derive(Clone)]
pub struct HookQueue {
    inner: Arc<Inner>,
    ended: watch::Receiver<bool>,
}

impl HookQueue {
    /// Opens the queue and starts its thread. What stood when the node was killed is
    /// told to be over.
    pub fn open(
        config: QueueConfig,
        metrics: HookMetrics,
        clock: Clock,
    ) -> Result<Self, QueueError> {
        let file = File::open(config.folder.as_deref())?;
        let path = config.folder.as_deref().map_or_else(PathBuf::new, file_path);
        let id = file.id().map_err(|source| QueueError::File { path, source })?;
        let inbox = Inbox {
            events: VecDeque::new(),
            bytes: 0,
            missed: 0,
            asks: VecDeque::new(),
            closing: false,
            ended: false,
        };
        let inner = Arc::new(Inner {
            inbox: Mutex::new(inbox),
            ready: Condvar::new(),
            news: Notify::new(),
            metrics,
            id,
        });
        let (ending, ended) = watch::channel(false);
        let thread = Thread::new(inner.clone(), file, config, clock);
        std::thread::Builder::new()
            .name("webhooks-queue".into())
            .spawn(move || thread.run(&ending))
            .map_err(QueueError::Thread)?;
        Ok(Self { inner, ended })
    }

    /// Names the queue: numbers of events count within it. New when its file is, and
    /// with each start without a file.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// The oldest events, at most `max` and about `max_bytes`, at least one if there
    /// is one; none once the queue has ended.
    pub async fn peek(&self, max: usize, max_bytes: usize) -> Option<Batch> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Peek(max, max_bytes, reply));
        answer.await.ok()
    }

    /// The backend has everything up to a number. Says whether the queue could note
    /// that; if not, it will come again.
    pub async fn sent(&self, up_to: u64) -> bool {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Sent(up_to, reply));
        answer.await.unwrap_or(false)
    }

    /// Ends the queue; what waits stays in the file.
    pub fn finish(&self) {
        self.ask(Ask::Finish);
    }

    /// Ends when there is something new to [`peek`](Self::peek) at, or the node ends.
    pub async fn news(&self) {
        self.inner.news.notified().await;
    }

    fn ask(&self, ask: Ask) {
        let mut inbox = self.inner.inbox.lock();
        if !inbox.ended {
            inbox.asks.push_back(ask);
        }
        drop(inbox);
        self.inner.ready.notify_one();
    }
}

impl HookSink for HookQueue {
    fn emit(&self, event: HookEvent) {
        let weight = event.weight();
        let mut inbox = self.inner.inbox.lock();
        if inbox.closing {
            // What stands then is told to be over.
            return;
        }
        if inbox.events.len() >= INBOX.0 || inbox.bytes + weight > INBOX.1 {
            inbox.missed += 1;
            return;
        }
        inbox.events.push_back((event, weight));
        inbox.bytes += weight;
        let first = inbox.events.len() == 1;
        drop(inbox);
        if first {
            self.inner.ready.notify_one();
        }
    }

    fn close(&self) -> PortFuture<()> {
        self.inner.inbox.lock().closing = true;
        self.inner.ready.notify_one();
        let mut ended = self.ended.clone();
        Box::pin(async move {
            // The end of the thread is an end as well.
            let _ = tokio::time::timeout(PATIENCE, ended.wait_for(|ended| *ended)).await;
        })
    }
}

/// The file in a folder.
fn file_path(folder: &Path) -> PathBuf {
    folder.join(file::NAME)
}
