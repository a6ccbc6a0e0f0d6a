//! Hears channels, again after every reconnection.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use redis::{PushInfo, PushKind, Value, aio::MultiplexedConnection};
use tokio::sync::Notify;

use super::{
    address::Target,
    connect::{Connector, Push},
    error::{LinkError, Trouble},
    link::{Backoff, ChannelsChange, PULSE},
};

/// Hears one channel. Its methods are called on the thread of Redis, in the order
/// of what happens; they must be quick and must not block.
pub trait Listener: Send + Sync + 'static {
    /// Something was published.
    fn message(&self, payload: Bytes);

    /// From now on the channel is heard: for the first time, or again after
    /// [`lost`](Self::lost), in which case messages may have been missed.
    fn live(&self) {}

    /// The channel is not heard; it will be again by itself.
    fn lost(&self) {}
}

/// Most channels in one command.
const BATCH: usize = 256;

/// The channels that one connection hears.
#[derive(Default)]
pub(super) struct Channels {
    table: Mutex<Table>,
    changed: Notify,
    /// The connection is gone, or says what nobody asked for.
    broken: AtomicBool,
    /// Channels are sharded: one in a command, and each where its slot is.
    sharded: bool,
}

#[derive(Default)]
struct Table {
    wanted: HashMap<Arc<str>, Arc<dyn Listener>>,
    /// What was asked of the present connection.
    asked: HashSet<Arc<str>>,
    /// What may differ between the two.
    dirty: HashSet<Arc<str>>,
}

impl Channels {
    pub(super) fn new(sharded: bool) -> Self {
        Self { sharded, ..Self::default() }
    }

    pub(super) fn subscribe(&self, channel: Arc<str>, listener: Arc<dyn Listener>) {
        let mut table = self.table.lock();
        table.wanted.insert(channel.clone(), listener);
        table.dirty.insert(channel);
        drop(table);
        self.changed.notify_one();
    }

    pub(super) fn unsubscribe(&self, channel: &str) {
        let mut table = self.table.lock();
        if let Some((channel, _)) = table.wanted.remove_entry(channel) {
            table.dirty.insert(channel);
            drop(table);
            self.changed.notify_one();
        }
    }

    /// Connects to a server, or to the one that is found each time, and hears.
    pub(super) async fn run(
        self: Arc<Self>,
        server: Option<Target>,
        connector: Arc<Connector>,
        mut backoff: Backoff,
        notify: impl Fn(ChannelsChange),
    ) {
        loop {
            let push: Push = {
                let channels = self.clone();
                Arc::new(move |info| channels.pushed(info))
            };
            self.broken.store(false, Ordering::Release);
            let found = match &server {
                Some(server) => Ok(server.clone()),
                None => connector.locate().await,
            };
            let connected = match found {
                Ok(server) => connector.subscriptions(&server, push).await,
                Err(e) => Err(e),
            };
            let failure = match connected {
                Ok(connection) => {
                    self.begin();
                    let failure = self.hear(connection, &mut backoff, &notify).await;
                    self.end();
                    failure
                }
                Err(e) => e,
            };
            notify(ChannelsChange::Down(failure));
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// A new connection hears nothing yet.
    fn begin(&self) {
        let mut table = self.table.lock();
        let table = &mut *table;
        table.asked.clear();
        table.dirty = table.wanted.keys().cloned().collect();
    }

    /// Tells every listener that its channel is not heard.
    fn end(&self) {
        let table = self.table.lock();
        let lost: Vec<_> =
            table.asked.iter().filter_map(|c| table.wanted.get(c)).cloned().collect();
        drop(table);
        for listener in lost {
            listener.lost();
        }
    }

    /// Keeps a connection in step with what is wanted until it fails.
    async fn hear(
        &self,
        mut connection: MultiplexedConnection,
        backoff: &mut Backoff,
        notify: &impl Fn(ChannelsChange),
    ) -> LinkError {
        let mut told = false;
        loop {
            if let Err(e) = self.catch_up(&mut connection).await {
                return e.into();
            }
            if self.broken.load(Ordering::Acquire) {
                return LinkError::Down("the connection that hears channels ended".into());
            }
            if !told {
                told = true;
                backoff.reset();
                notify(ChannelsChange::Up);
            }
            let quiet = tokio::time::timeout(PULSE, self.changed.notified()).await.is_err();
            if quiet
                && let Err(e) = redis::cmd("PING").query_async::<()>(&mut connection).await
                && matches!(Trouble::of(&e), Trouble::Unreachable | Trouble::Slow)
            {
                return e.into();
            }
        }
    }

    /// Asks for what is wanted and not heard, and the other way round.
    async fn catch_up(&self, connection: &mut MultiplexedConnection) -> redis::RedisResult<()> {
        loop {
            let (join, leave) = self.next_batch();
            if join.is_empty() && leave.is_empty() {
                return Ok(());
            }
            if self.sharded {
                sharded(connection, "SSUBSCRIBE", join).await?;
                sharded(connection, "SUNSUBSCRIBE", leave).await?;
                continue;
            }
            if !join.is_empty() {
                connection.subscribe(&join).await?;
            }
            if !leave.is_empty() {
                connection.unsubscribe(&leave).await?;
            }
        }
    }

    fn next_batch(&self) -> (Vec<String>, Vec<String>) {
        let mut guard = self.table.lock();
        let table = &mut *guard;
        let (mut join, mut leave, mut replaced) = (Vec::new(), Vec::new(), Vec::new());
        let some: Vec<_> = table.dirty.iter().take(BATCH).cloned().collect();
        for channel in some {
            table.dirty.remove(&channel);
            match (table.wanted.get(&channel), table.asked.contains(&channel)) {
                (Some(_), false) => {
                    join.push(channel.to_string());
                    table.asked.insert(channel);
                }
                (None, true) => {
                    leave.push(channel.to_string());
                    table.asked.remove(&channel);
                }
                // Replaced by another listener, which hears it from now on.
                (Some(listener), true) => replaced.push(listener.clone()),
                (None, false) => {}
            }
        }
        if table.dirty.is_empty() {
            // After a start there may have been very many.
            table.dirty.shrink_to_fit();
        }
        drop(guard);
        for listener in replaced {
            listener.live();
        }
        (join, leave)
    }

    /// Something came that was not asked for as an answer.
    fn pushed(&self, info: PushInfo) {
        match info.kind {
            PushKind::Message | PushKind::SMessage => {
                let mut data = info.data.into_iter();
                if let (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) =
                    (data.next(), data.next())
                    && let Some(listener) = self.listener(&channel)
                {
                    listener.message(payload.into());
                }
            }
            PushKind::Subscribe | PushKind::SSubscribe => {
                if let Some(Value::BulkString(channel)) = info.data.into_iter().next()
                    && let Some(listener) = self.listener(&channel)
                {
                    listener.live();
                }
            }
            // Unasked: the slot of the channel went elsewhere.
            PushKind::SUnsubscribe if self.is_asked(&info.data) => {
                self.broken.store(true, Ordering::Release);
                self.changed.notify_one();
            }
            PushKind::Disconnection => {
                self.broken.store(true, Ordering::Release);
                self.changed.notify_one();
            }
            _ => {}
        }
    }

    fn is_asked(&self, data: &[Value]) -> bool {
        let Some(Value::BulkString(channel)) = data.first() else { return false };
        let Ok(channel) = std::str::from_utf8(channel) else { return false };
        self.table.lock().asked.contains(channel)
    }

    fn listener(&self, channel: &[u8]) -> Option<Arc<dyn Listener>> {
        let channel = std::str::from_utf8(channel).ok()?;
        self.table.lock().wanted.get(channel).cloned()
    }
}

/// One command for each channel, all under way at a time: their slots differ.
async fn sharded(
    connection: &MultiplexedConnection,
    command: &str,
    channels: Vec<String>,
) -> redis::RedisResult<()> {
    let asked = channels.into_iter().map(|channel| {
        let mut connection = connection.clone();
        async move { redis::cmd(command).arg(channel).query_async::<Value>(&mut connection).await }
    });
    futures_util::future::try_join_all(asked).await.map(drop)
}
