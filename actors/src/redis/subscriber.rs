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

/// The channels that are wanted and the way to say so.
pub(super) struct Subscriber {
    channels: Arc<Channels>,
}

#[derive(Default)]
pub(super) struct Channels {
    table: Mutex<Table>,
    changed: Notify,
    /// The connection is gone, or says what nobody asked for.
    broken: AtomicBool,
}

#[derive(Default)]
struct Table {
    wanted: HashMap<Arc<str>, Arc<dyn Listener>>,
    /// What was asked of the present connection.
    asked: HashSet<Arc<str>>,
    /// What may differ between the two.
    dirty: HashSet<Arc<str>>,
}

impl Subscriber {
    pub(super) fn new() -> (Self, Arc<Channels>) {
        let channels = Arc::<Channels>::default();
        (Self { channels: channels.clone() }, channels)
    }

    pub(super) fn subscribe(&self, channel: &str, listener: Arc<dyn Listener>) {
        let channel: Arc<str> = channel.into();
        let mut table = self.channels.table.lock();
        table.wanted.insert(channel.clone(), listener);
        table.dirty.insert(channel);
        drop(table);
        self.channels.changed.notify_one();
    }

    pub(super) fn unsubscribe(&self, channel: &str) {
        let mut table = self.channels.table.lock();
        if let Some((channel, _)) = table.wanted.remove_entry(channel) {
            table.dirty.insert(channel);
            drop(table);
            self.channels.changed.notify_one();
        }
    }

    /// Connects and hears until the runtime ends.
    pub(super) async fn run(
        &self,
        channels: Arc<Channels>,
        connector: &Connector,
        backoff: impl Fn() -> Backoff,
        notify: impl Fn(ChannelsChange),
    ) {
        let mut backoff = backoff();
        loop {
            let push: Push = {
                let channels = channels.clone();
                Arc::new(move |info| channels.pushed(info))
            };
            channels.broken.store(false, Ordering::Release);
            let connected = match connector.locate().await {
                Ok(server) => connector.subscriptions(&server, push).await,
                Err(e) => Err(e),
            };
            let failure = match connected {
                Ok(connection) => {
                    channels.begin();
                    let failure = channels.hear(connection, &mut backoff, &notify).await;
                    channels.end();
                    failure
                }
                Err(e) => e,
            };
            notify(ChannelsChange::Down(failure));
            tokio::time::sleep(backoff.pause()).await;
        }
    }
}

impl Channels {
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
            PushKind::Disconnection => {
                self.broken.store(true, Ordering::Release);
                self.changed.notify_one();
            }
            _ => {}
        }
    }

    fn listener(&self, channel: &[u8]) -> Option<Arc<dyn Listener>> {
        let channel = std::str::from_utf8(channel).ok()?;
        self.table.lock().wanted.get(channel).cloned()
    }
}
