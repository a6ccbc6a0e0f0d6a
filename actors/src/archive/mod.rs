//! Messages that are kept for good. The embedded store keeps those of archived
//! rooms itself; where the history is in Redis they go into PostgreSQL:
//!
//! | file | holds |
//! |---|---|
//! | `rule` | which rooms are archived |
//! | `backlog` | what waits in Redis: filled by the script that stores a message |
//! | `entry` | a message as a row |
//! | `writer` | moves the backlog into the database |
//! | [`postgres`] | the database: address, tables, questions |
//! | `history` | reading on where Redis ends |
//! | `metrics` | what it counts |
//!
//! A message leaves the backlog only when it is in the database, so each gets there
//! at least once; its row is named by room, epoch and offset, so it is there once.
//! The tasks run on a thread of their own, named `archive`.

mod backlog;
mod entry;
mod history;
mod metrics;
pub mod postgres;
mod rule;
mod writer;

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

pub use self::{
    backlog::{Backlog, Place, Slip},
    history::ArchivedHistory,
    metrics::ArchiveMetrics,
    rule::ArchivedRooms,
};
use self::{
    history::Reader,
    postgres::{Address, Database},
    writer::Writer,
};
use crate::redis::RedisLink;

/// The bounds of an archive.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The rooms that are archived.
    pub rooms: ArchivedRooms,
    /// How long the database may take to connect or to answer.
    pub timeout: Duration,
    /// Most messages that are written at once.
    pub batch_max: usize,
    /// How long a message may wait for others to be written with.
    pub batch_wait: Duration,
    /// Most messages that may wait in one stream of the backlog.
    pub backlog_max: u64,
    /// After what time another process writes what one took and did not write.
    pub takeover: Duration,
}

/// An archive in PostgreSQL, fed by what this node and others store in Redis. Cheap
/// to clone; it ends with [`close`](Self::close).
#[derive(Clone)]
pub struct Archive {
    reader: Reader,
    stop: Arc<watch::Sender<bool>>,
    ended: watch::Receiver<bool>,
}

impl Archive {
    /// Starts the thread that writes. That the database is away is no failure:
    /// messages wait. Fails with a sentence if there is no thread.
    pub fn start(
        link: RedisLink,
        address: Address,
        settings: Settings,
        metrics: ArchiveMetrics,
    ) -> Result<Self, String> {
        let address = Arc::new(address);
        let consumer = uuid::Uuid::new_v4().simple().to_string();
        let (rooms, most) = (settings.rooms.clone(), settings.backlog_max);
        let backlog = Backlog::new(link, rooms, most, consumer);
        let writer = Writer {
            backlog: backlog.clone(),
            database: Arc::new(Database::to_write(address.clone(), settings.timeout)),
            metrics: metrics.clone(),
            settings: settings.clone(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| format!("cannot start the runtime of the archive: {e}"))?;
        let reader = Reader {
            backlog,
            database: Arc::new(Database::to_read(address, settings.timeout)),
            metrics,
            reads: history::reads(),
            runtime: runtime.handle().clone(),
        };
        let (stop, stopped) = watch::channel(false);
        let (ending, ended) = watch::channel(false);
        std::thread::Builder::new()
            .name("archive".into())
            .spawn(move || {
                runtime.block_on(async {
                    let looking = tokio::spawn(contained(stopped.clone(), {
                        let (writer, stopped) = (writer.clone(), stopped.clone());
                        move || writer.clone().look_on(stopped.clone())
                    }));
                    contained(stopped.clone(), move || writer.clone().run(stopped.clone())).await;
                    looking.abort();
                });
                ending.send_replace(true);
            })
            .map_err(|e| format!("cannot start the thread of the archive: {e}"))?;
        Ok(Self { reader, stop: Arc::new(stop), ended })
    }

    /// What the store puts its messages into.
    pub fn backlog(&self) -> Backlog {
        self.reader.backlog.clone()
    }

    /// Writes what can be written soon, then ends. What is left is written by
    /// another node, or later.
    pub async fn close(&self) {
        self.stop.send_replace(true);
        let mut ended = self.ended.clone();
        // An error means that the thread is gone, which is an end as well.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

/// Runs a task; if it panics, which is logged with its place, runs it again a little
/// later.
async fn contained<F>(stopped: watch::Receiver<bool>, task: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    while tokio::spawn(task()).await.is_err() && !*stopped.borrow() {
        log::error!("a task of the archive ended by a panic; it begins again");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
