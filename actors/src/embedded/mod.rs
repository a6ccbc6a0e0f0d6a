//! A history in a file of the data directory, through SQLite: durable, ordered,
//! and quick because everything that waits is stored with one sync.
//!
//! | file | holds |
//! |---|---|
//! | `schema` | the file, its lock, its format |
//! | `queue` | the bounded way to the threads |
//! | `writer` | the thread that stores batches, hands to the bus, answers |
//! | `rooms`, `keys`, `rows` | what a transaction does |
//! | `sweep` | removing what is expired |
//! | `reader` | pages, over connections of their own |
//! | `sessions` | what survives a connection |
//! | `receipts` | how far users have got and read rooms |

mod keys;
mod queue;
mod reader;
mod receipts;
mod rooms;
mod rows;
mod schema;
mod sessions;
mod sweep;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

use std::{path::Path, sync::Arc, thread};

use hubbub_protocol::{id::RoomName, position::Position};
use tokio::sync::{oneshot, watch};

use self::{
    queue::{Queue, Refused},
    reader::{Job, Reader},
    rooms::Rooms,
    schema::DirectoryLock,
    writer::{Command, Pending, Writer},
};
pub use self::{
    receipts::EmbeddedReceipts,
    schema::{FILE_NAME, OpenError},
    sessions::EmbeddedSessions,
};
use crate::{
    clock::Clock,
    history::{HistoryConfig, StoreObserver, Unreadable},
    ports::{Append, Bus, History, Page, PortFuture, Range, StoreError},
    receipt_store::ReceiptStoreConfig,
    session_store::{Owner, SessionStoreConfig},
};

/// Threads that read.
const READERS: usize = 2;
/// Most reads that may wait.
const MAX_JOBS: usize = 4096;
/// What a waiting append takes beside its text, about.
const PENDING_BYTES: usize = 256;

/// A [`History`] in a file. See the [module](self).
///
/// `done` of an append and [`Bus::stored`] are called on the store's thread:
/// they must be quick and must not wait for the store. Dropped without
/// [`close`](History::close) it still stores what it took, in the background.
pub struct EmbeddedHistory {
    shared: Arc<Shared>,
    ended: watch::Receiver<bool>,
}

struct Shared {
    commands: Arc<Queue<Command>>,
    jobs: Arc<Queue<Job>>,
}

impl EmbeddedHistory {
    /// Opens the history in `directory`, which is made if it is missing, and
    /// starts its threads. Records go to `bus` once they are durable.
    pub fn open(
        directory: &Path,
        config: HistoryConfig,
        bus: Arc<dyn Bus>,
        observer: Arc<dyn StoreObserver>,
    ) -> Result<Self, OpenError> {
        Self::open_with_clock(directory, config, bus, observer, Clock::system())
    }

    /// The same with another clock.
    pub fn open_with_clock(
        directory: &Path,
        config: HistoryConfig,
        bus: Arc<dyn Bus>,
        observer: Arc<dyn StoreObserver>,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let lock = DirectoryLock::take(directory)?;
        let path = directory.join(FILE_NAME);
        let db = schema::open(&path)?;
        let commands = Arc::new(Queue::new(config.queue_max_messages, config.queue_max_bytes));
        let jobs = Arc::new(Queue::new(MAX_JOBS, usize::MAX));
        let unreadable = Arc::new(Unreadable::new(observer.clone()));
        let mut writer = Writer {
            path: path.clone(),
            db: Some(db),
            lock,
            rooms: Rooms::new(&config),
            config: config.clone(),
            clock: clock.clone(),
            bus,
            observer,
            commands: Arc::clone(&commands),
            jobs: Arc::clone(&jobs),
            readers: Vec::new(),
            sweep: sweep::Sweep::default(),
            sessions: sessions::Sessions::default(),
            log: writer::Occasionally::default(),
            #[cfg(test)]
            fault: None,
        };
        let shared = Arc::new(Shared { commands, jobs });
        for n in 0..READERS {
            let reader = Reader {
                path: path.clone(),
                db: None,
                jobs: Arc::clone(&shared.jobs),
                config: config.clone(),
                clock: clock.clone(),
                unreadable: unreadable.clone(),
            };
            match thread::Builder::new().name(format!("history-read-{n}")).spawn(|| reader.run()) {
                Ok(handle) => writer.readers.push(handle),
                Err(e) => {
                    shared.jobs.close();
                    return Err(OpenError::Thread(e));
                }
            }
        }
        let (ending, ended) = watch::channel(false);
        let spawned =
            thread::Builder::new().name("history-write".into()).spawn(move || writer.run(ending));
        if let Err(e) = spawned {
            shared.jobs.close();
            return Err(OpenError::Thread(e));
        }
        Ok(Self { shared, ended })
    }

    /// Keeps sessions in the same file. Those that are there from before can come
    /// back, counted from when the node was last alive.
    pub fn sessions(&self, config: SessionStoreConfig) -> EmbeddedSessions {
        let sessions = EmbeddedSessions(Arc::clone(&self.shared));
        // Nobody needs the answer: what comes later is done later.
        drop(sessions.ask(sessions::Op::Begin(config), sessions::NOBODY, Owner(0)));
        sessions
    }

    /// Keeps receipts in the same file.
    pub fn receipts(&self, config: ReceiptStoreConfig) -> EmbeddedReceipts {
        EmbeddedReceipts { shared: Arc::clone(&self.shared), config }
    }

    #[cfg(test)]
    fn fault(&self, fault: writer::Fault) {
        assert!(self.shared.commands.push(Command::Fault(fault), 0).is_ok());
    }
}

fn refusal(refused: Refused) -> StoreError {
    match refused {
        Refused::Full => StoreError::Full,
        Refused::Closed => StoreError::Closed,
    }
}

impl Shared {
    /// Asks a reader; a room that it does not know is made by the writer and asked
    /// for again.
    async fn ask<T>(
        &self,
        room: &RoomName,
        job: impl Fn(RoomName, oneshot::Sender<Result<Option<T>, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        // Twice suffices, unless the room is removed in between.
        for _ in 0..3 {
            let (reply, answer) = oneshot::channel();
            self.jobs.push(job(room.clone(), reply), 0).map_err(|(_, r)| refusal(r))?;
            if let Some(found) = answer.await.map_err(|_| StoreError::Closed)?? {
                return Ok(found);
            }
            let (reply, made) = oneshot::channel();
            let ensure = Command::Ensure(room.clone(), None, reply);
            self.commands.push(ensure, PENDING_BYTES).map_err(|(_, r)| refusal(r))?;
            made.await.map_err(|_| StoreError::Closed)??;
        }
        Err(StoreError::Failed("the room does not stay".into()))
    }
}

impl History for EmbeddedHistory {
    fn append(&self, append: Append) {
        let Append { record, key, done } = append;
        let payload = match record.to_payload() {
            Ok(payload) => payload,
            Err(e) => return done(Err(StoreError::Failed(e.to_string()))),
        };
        // Both forms wait: the record and its payload.
        let bytes = PENDING_BYTES
            + payload.len()
            + record.body.len()
            + key.as_ref().map_or(0, |k| k.key.len());
        let pending = Pending { record: Some(record), payload, key, done, outcome: None };
        let command = Command::Append(Box::new(pending));
        if let Err((Command::Append(pending), refused)) = self.shared.commands.push(command, bytes)
        {
            (pending.done)(Err(refusal(refused)));
        }
    }

    fn head(&self, room: &RoomName) -> PortFuture<Result<Position, StoreError>> {
        let (shared, room) = (Arc::clone(&self.shared), room.clone());
        Box::pin(async move { shared.ask(&room, Job::Head).await })
    }

    fn peek(&self, room: &RoomName) -> PortFuture<Result<Option<Position>, StoreError>> {
        let (reply, answer) = oneshot::channel();
        let pushed = self.shared.jobs.push(Job::Head(room.clone(), reply), 0);
        let refused = pushed.err().map(|(_, refused)| refusal(refused));
        Box::pin(async move {
            match refused {
                Some(e) => Err(e),
                None => answer.await.map_err(|_| StoreError::Closed)?,
            }
        })
    }

    fn read(
        &self,
        room: &RoomName,
        range: Range,
        limit: usize,
    ) -> PortFuture<Result<Page, StoreError>> {
        let (shared, room) = (Arc::clone(&self.shared), room.clone());
        Box::pin(async move {
            shared.ask(&room, |room, reply| Job::Read(room, range, limit, reply)).await
        })
    }

    fn close(&self) -> PortFuture<()> {
        self.shared.commands.close();
        let mut ended = self.ended.clone();
        Box::pin(async move {
            // An error means that the thread is gone, which is an end as well.
            let _ = ended.wait_for(|ended| *ended).await;
        })
    }
}

impl Drop for EmbeddedHistory {
    fn drop(&mut self) {
        self.shared.commands.close();
    }
}
