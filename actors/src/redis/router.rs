//! Which connection hears which channel: all the same one, or in a Redis Cluster
//! each the master that has the channel's slot.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use redis::Value;
use tokio::{sync::Notify, task::JoinHandle};

use super::{
    address::{HostPort, Target},
    connect::Connector,
    error::LinkError,
    link::{Backoff, ChannelsChange},
    subscriber::{Channels, Listener},
};

/// Slots of a Redis Cluster.
const SLOTS: u16 = 16_384;
/// Time between two looks at who has which slot, if nothing fails.
const QUIET: Duration = Duration::from_secs(2);
/// And while something does.
const TROUBLED: Duration = Duration::from_millis(200);

/// The slot of a key or a sharded channel.
/// <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>
pub fn slot(key: &str) -> u16 {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.is_empty());
    crc16::State::<crc16::XMODEM>::calculate(tag.unwrap_or(key).as_bytes()) % SLOTS
}

/// Is told what becomes of the connections.
pub(super) type Tell = Arc<dyn Fn(ChannelsChange) + Send + Sync>;

/// All channels that are heard, whichever connection hears them.
pub(super) struct Router {
    sharded: bool,
    table: Mutex<Table>,
    troubled: Notify,
}

#[derive(Default)]
struct Table {
    /// Those that may have to be heard elsewhere: all of a cluster; of one server, those that
    /// are wanted before there is a connection to it.
    listeners: HashMap<Arc<str>, Arc<dyn Listener>>,
    shards: HashMap<HostPort, Shard>,
    /// The first slot of each range and who has it.
    ranges: BTreeMap<u16, HostPort>,
    /// What was told last: all channels are heard.
    told_up: bool,
}

struct Shard {
    channels: Arc<Channels>,
    up: bool,
    task: Option<JoinHandle<()>>,
}

impl Drop for Shard {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Table {
    fn owner(&self, channel: &str) -> Option<&Shard> {
        let (_, owner) = self.ranges.range(..=slot(channel)).next_back()?;
        self.shards.get(owner)
    }

    fn all_up(&self) -> bool {
        !self.shards.is_empty() && self.shards.values().all(|shard| shard.up)
    }
}

impl Router {
    pub(super) fn new(sharded: bool) -> Arc<Self> {
        Arc::new(Self { sharded, table: Mutex::default(), troubled: Notify::new() })
    }

    pub(super) fn subscribe(&self, channel: &str, listener: Arc<dyn Listener>) {
        let channel: Arc<str> = channel.into();
        let mut table = self.table.lock();
        match table.owner(&channel) {
            // It will not be another one.
            Some(shard) if !self.sharded => shard.channels.subscribe(channel, listener),
            owner => {
                if let Some(shard) = owner {
                    shard.channels.subscribe(channel.clone(), listener.clone());
                }
                table.listeners.insert(channel, listener);
            }
        }
    }

    pub(super) fn unsubscribe(&self, channel: &str) {
        let mut table = self.table.lock();
        table.listeners.remove(channel);
        if let Some(shard) = table.owner(channel) {
            shard.channels.unsubscribe(channel);
        }
    }

    /// Hears everything through one connection to the server that is found.
    pub(super) fn run_single(
        self: &Arc<Self>,
        connector: Arc<Connector>,
        backoff: Backoff,
        tell: Tell,
    ) {
        let everything = [(0, (String::new(), 0))];
        self.apply(
            everything.into_iter().collect(),
            |_| None,
            &connector,
            &|| backoff.clone(),
            &tell,
        );
    }

    /// Hears each channel where its slot is; `ask` gives the answer to
    /// `CLUSTER SLOTS`. Never ends.
    pub(super) async fn run_cluster<F>(
        self: Arc<Self>,
        connector: Arc<Connector>,
        backoff: impl Fn() -> Backoff + Send,
        tell: Tell,
        ask: impl Fn() -> F + Send,
    ) where
        F: Future<Output = Result<Value, LinkError>> + Send,
    {
        loop {
            match ask().await.map(|answer| ranges(&answer)) {
                Ok(ranges) if !ranges.is_empty() => {
                    let server = |at: &HostPort| Some(Target::Server(at.clone()));
                    self.apply(ranges, server, &connector, &backoff, &tell);
                    self.tell_up_again(&tell);
                }
                Ok(_) => self.tell_down(
                    LinkError::Down("the cluster says of no slot who has it".into()),
                    &tell,
                ),
                Err(e) if !self.table.lock().all_up() => self.tell_down(e, &tell),
                Err(_) => {}
            }
            let all_up = self.table.lock().all_up();
            let pause = if all_up { QUIET } else { TROUBLED };
            let _ = tokio::time::timeout(pause, self.troubled.notified()).await;
            if !all_up {
                tokio::time::sleep(TROUBLED).await;
            }
        }
    }

    /// Brings shards and channels in step with who has which slot.
    fn apply(
        self: &Arc<Self>,
        ranges: BTreeMap<u16, HostPort>,
        server: impl Fn(&HostPort) -> Option<Target>,
        connector: &Arc<Connector>,
        backoff: &dyn Fn() -> Backoff,
        tell: &Tell,
    ) {
        let mut guard = self.table.lock();
        let table = &mut *guard;
        if table.ranges == ranges {
            return;
        }
        let before = std::mem::replace(&mut table.ranges, ranges);
        let old_owner =
            |channel: &str| before.range(..=slot(channel)).next_back().map(|(_, owner)| owner);
        let mut gone = std::mem::take(&mut table.shards);
        for owner in table.ranges.values() {
            if table.shards.contains_key(owner) {
                continue;
            }
            let shard = gone.remove(owner).unwrap_or_else(|| {
                let channels = Arc::new(Channels::new(self.sharded));
                let told = self.clone().told(owner.clone(), tell.clone());
                let run = channels.clone().run(server(owner), connector.clone(), backoff(), told);
                Shard { channels, up: false, task: Some(tokio::spawn(run)) }
            });
            table.shards.insert(owner.clone(), shard);
        }
        let mut moved = Vec::new();
        for (channel, listener) in &table.listeners {
            let new = table.ranges.range(..=slot(channel)).next_back().map(|(_, owner)| owner);
            if new == old_owner(channel) {
                continue;
            }
            if let Some(old) = old_owner(channel).and_then(|owner| table.shards.get(owner)) {
                old.channels.unsubscribe(channel);
            }
            if old_owner(channel).is_some() {
                moved.push(listener.clone());
            }
            if let Some(new) = new.and_then(|owner| table.shards.get(owner)) {
                new.channels.subscribe(channel.clone(), listener.clone());
            }
        }
        drop(guard);
        for listener in moved {
            listener.lost();
        }
        drop(gone);
    }

    fn tell_down(&self, why: LinkError, tell: &Tell) {
        self.table.lock().told_up = false;
        tell(ChannelsChange::Down(why));
    }

    /// Whoever was down may have left the cluster, or the cluster said nothing for a
    /// while: no shard will tell that all are up.
    fn tell_up_again(&self, tell: &Tell) {
        let mut table = self.table.lock();
        if table.told_up || !table.all_up() {
            return;
        }
        table.told_up = true;
        drop(table);
        tell(ChannelsChange::Up);
    }

    /// What a shard tells of itself.
    fn told(self: Arc<Self>, owner: HostPort, tell: Tell) -> impl Fn(ChannelsChange) {
        move |change| {
            let up = matches!(change, ChannelsChange::Up);
            let all_up = {
                let mut table = self.table.lock();
                if let Some(shard) = table.shards.get_mut(&owner) {
                    shard.up = up;
                }
                table.told_up = table.all_up();
                table.told_up
            };
            if !up || all_up {
                tell(change);
            }
            if !up {
                self.troubled.notify_one();
            }
        }
    }
}

/// Who has which slots, by the answer to `CLUSTER SLOTS`.
fn ranges(answer: &Value) -> BTreeMap<u16, HostPort> {
    let Value::Array(rows) = answer else { return BTreeMap::new() };
    let row = |row: &Value| {
        let Value::Array(row) = row else { return None };
        let (Value::Int(first), Value::Array(master)) = (row.first()?, row.get(2)?) else {
            return None;
        };
        let (Value::BulkString(host), Value::Int(port)) = (master.first()?, master.get(1)?) else {
            return None;
        };
        let host = std::str::from_utf8(host).ok().filter(|host| !host.is_empty())?;
        Some((u16::try_from(*first).ok()?, (host.to_owned(), u16::try_from(*port).ok()?)))
    };
    rows.iter().filter_map(row).collect()
}

#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
