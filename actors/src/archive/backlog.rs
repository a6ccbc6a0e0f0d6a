//! What waits in Redis for the archive. The script that stores a message puts it
//! here too, in the same step, so that nothing is acknowledged that is not here.
//!
//! On one Redis there is one stream. A script of a Redis Cluster reaches one slot
//! only, so there each slot that has an archived room has a stream; a set names
//! these slots. A node looks at the streams that it stored into itself at once, and
//! now and then at all, so that it finds what a node left that is gone.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
    time::Duration,
};

use hubbub_protocol::id::RoomName;
use parking_lot::Mutex;
use redis::Value;
use tokio::sync::Notify;

use super::{
    ArchivedRooms,
    entry::{Row, read_fields},
};
use crate::redis::{LinkError, RedisLink, Script, slot};

static TAKE: Script = Script::new(include_str!("../redis/lua/take.lua"));
static WRITTEN: Script = Script::new(include_str!("../redis/lua/written.lua"));
static LOOK: Script = Script::new(include_str!("../redis/lua/backlog.lua"));

/// The consumer group of all nodes.
const GROUP: &str = "archive";
/// One that has nothing left to write and says nothing for so long is forgotten.
const FORGET_MS: u64 = 60 * 60 * 1000;

/// A stream of the backlog: the slot of its rooms, or 0 where there is one stream.
pub type Place = u16;

/// For each slot of a Redis Cluster the smallest number that is in it as hash tag.
static TAGS: LazyLock<Vec<u32>> = LazyLock::new(|| {
    const SLOTS: usize = 16_384;
    let mut tags = vec![None; SLOTS];
    let mut missing = SLOTS;
    for number in 0_u32.. {
        let tag = &mut tags[usize::from(slot(&number.to_string()))];
        if tag.is_none() {
            *tag = Some(number);
            missing -= 1;
            if missing == 0 {
                break;
            }
        }
    }
    tags.into_iter().map(Option::unwrap_or_default).collect()
});

/// What a publish of an archived room tells the script.
#[derive(Clone, Debug)]
pub struct Slip {
    /// The stream.
    pub key: String,
    /// The room, as the archive names it.
    pub room: RoomName,
    /// Most messages that may wait.
    pub max: u64,
    place: Place,
}

/// The backlog as one node sees it. Cheap to clone.
#[derive(Clone)]
pub struct Backlog {
    inner: Arc<Inner>,
}

struct Inner {
    link: RedisLink,
    rooms: ArchivedRooms,
    max: u64,
    /// Who takes: this process.
    consumer: String,
    known: Mutex<Known>,
    woken: Notify,
}

#[derive(Default)]
struct Known {
    /// Streams that the set in Redis is known to name.
    named: BTreeSet<Place>,
    /// The connection it was told over: another one may be to a Redis that forgot.
    connection: u64,
    /// Streams that may have something new.
    dirty: BTreeSet<Place>,
}

/// What one stream holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    pub messages: u64,
    /// How long the oldest has waited, in milliseconds.
    pub oldest_ms: u64,
}

/// What was taken from a stream.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub ids: Vec<Vec<u8>>,
    pub rows: Vec<Row>,
    /// How many of them another node had taken.
    pub taken_over: u64,
    /// Entries that are no messages; their ids are among `ids`.
    pub strange: u64,
}

impl Backlog {
    /// The backlog of these rooms, with at most `max` messages a stream.
    pub fn new(link: RedisLink, rooms: ArchivedRooms, max: u64, consumer: String) -> Self {
        let (known, woken) = (Mutex::default(), Notify::new());
        Self { inner: Arc::new(Inner { link, rooms, max, consumer, known, woken }) }
    }

    /// Whether a room is archived.
    pub(super) fn wants(&self, room: &RoomName) -> bool {
        self.inner.rooms.contains(room)
    }

    /// What publishes of a room tell the script; none if it is not archived. `keys`
    /// is any key of the room.
    pub(crate) fn slip(&self, room: &RoomName, key: &str) -> Option<Slip> {
        self.wants(room).then(|| {
            let place = if self.inner.link.is_cluster() { slot(key) } else { 0 };
            Slip { key: self.key(place), room: room.clone(), max: self.inner.max, place }
        })
    }

    pub(super) fn place(&self, room: &RoomName) -> Place {
        if !self.inner.link.is_cluster() {
            return 0;
        }
        slot(&crate::redis::keys::RoomKeys::new(self.inner.link.prefix(), room).state())
    }

    fn key(&self, place: Place) -> String {
        let prefix = self.inner.link.prefix();
        if self.inner.link.is_cluster() {
            format!("{prefix}{{{}}}:backlog", TAGS[usize::from(place)])
        } else {
            format!("{prefix}{{archive}}:backlog")
        }
    }

    fn set(&self) -> String {
        format!("{}{{archive}}:slots", self.inner.link.prefix())
    }

    /// Makes sure that the others find the stream; to be called before something is
    /// stored there.
    pub(crate) async fn announce(&self, slip: &Slip) -> Result<(), LinkError> {
        if !self.inner.link.is_cluster() {
            return Ok(());
        }
        let connection = self.inner.link.state().borrow().connections;
        {
            let mut known = self.inner.known.lock();
            if known.connection != connection {
                known.connection = connection;
                known.named.clear();
            }
            if known.named.contains(&slip.place) {
                return Ok(());
            }
        }
        let mut add = redis::cmd("SADD");
        add.arg(self.set()).arg(slip.place);
        self.inner.link.query(&add).await?;
        self.inner.known.lock().named.insert(slip.place);
        Ok(())
    }

    /// Something was stored there.
    pub(crate) fn stored(&self, slip: &Slip) {
        self.mark(slip.place);
    }

    /// A stream is to be looked at.
    pub(super) fn mark(&self, place: Place) {
        if self.inner.known.lock().dirty.insert(place) {
            self.inner.woken.notify_one();
        }
    }

    /// Waits until a stream is to be looked at.
    pub(super) async fn woken(&self) {
        loop {
            let woken = self.inner.woken.notified();
            if !self.inner.known.lock().dirty.is_empty() {
                return;
            }
            woken.await;
        }
    }

    /// The next stream to look at.
    pub(super) fn next(&self) -> Option<Place> {
        self.inner.known.lock().dirty.pop_first()
    }

    /// Waits until Redis takes commands.
    pub(super) async fn link_up(&self) {
        let mut state = self.inner.link.state();
        // The sender lives as long as the link.
        let _ = state.wait_for(|state| state.takes_commands()).await;
    }

    /// All streams that anybody has stored into.
    pub(super) async fn places(&self) -> Result<Vec<Place>, LinkError> {
        if !self.inner.link.is_cluster() {
            return Ok(vec![0]);
        }
        // If Redis forgot the set, it is told again what this node knows.
        let named: Vec<Place> = self.inner.known.lock().named.iter().copied().collect();
        if !named.is_empty() {
            let mut add = redis::cmd("SADD");
            add.arg(self.set()).arg(named);
            self.inner.link.query(&add).await?;
        }
        let mut members = redis::cmd("SMEMBERS");
        members.arg(self.set());
        let answer = self.inner.link.query(&members).await?;
        let (Value::Array(items) | Value::Set(items)) = answer else { return Ok(Vec::new()) };
        let place = |item: &Value| -> Option<Place> { text(item)?.parse().ok() };
        Ok(items.iter().filter_map(place).filter(|p| usize::from(*p) < TAGS.len()).collect())
    }

    /// How much waits in a stream. `tidy`: also forgets processes that are gone.
    pub(super) async fn look(&self, place: Place, tidy: bool) -> Result<Waiting, LinkError> {
        let group = if tidy { GROUP } else { "" };
        let keys = [self.key(place)];
        let answer = self.inner.link.script(&LOOK, &keys, |cmd| {
            cmd.arg(group).arg(FORGET_MS);
        });
        match answer.await? {
            Value::Array(items) => {
                let number = |at: usize| match items.get(at) {
                    Some(Value::Int(n)) => u64::try_from(*n).unwrap_or(0),
                    _ => 0,
                };
                let oldest_ms = number(2).saturating_sub(number(1));
                Ok(Waiting { messages: number(0), oldest_ms })
            }
            _ => Ok(Waiting::default()),
        }
    }

    /// Takes messages: at most so many and about so many bytes, first those that
    /// another process took `takeover` ago. They stay until [`written`](Self::written).
    pub(super) async fn take(
        &self,
        place: Place,
        limit: usize,
        bytes: usize,
        takeover: Duration,
    ) -> Result<Taken, LinkError> {
        let keys = [self.key(place)];
        let answer = self.inner.link.script(&TAKE, &keys, |cmd| {
            cmd.arg(GROUP).arg(&self.inner.consumer).arg(limit).arg(bytes);
            cmd.arg(takeover.as_millis() as u64);
        });
        let mut taken = Taken::default();
        let Value::Array(items) = answer.await? else { return Ok(taken) };
        let mut items = items.iter();
        if let Some(Value::Int(n)) = items.next() {
            taken.taken_over = u64::try_from(*n).unwrap_or(0);
        }
        for item in items {
            let Value::Array(parts) = item else { continue };
            let [id, Value::Array(fields)] = parts.as_slice() else { continue };
            let Some(id) = bulk(id) else { continue };
            taken.ids.push(id.to_vec());
            let pairs = fields.chunks_exact(2);
            let fields = pairs.filter_map(|pair| Some((bulk(&pair[0])?, bulk(&pair[1])?)));
            match read_fields(fields) {
                Some(row) => taken.rows.push(row),
                None => taken.strange += 1,
            }
        }
        Ok(taken)
    }

    /// These are in the archive and need not wait any more.
    pub(super) async fn written(&self, place: Place, ids: &[Vec<u8>]) -> Result<(), LinkError> {
        let keys = [self.key(place)];
        let answer = self.inner.link.script(&WRITTEN, &keys, |cmd| {
            cmd.arg(GROUP).arg(ids);
        });
        answer.await.map(drop)
    }
}

fn bulk(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

fn text(value: &Value) -> Option<&str> {
    std::str::from_utf8(bulk(value)?).ok()
}

#[cfg(test)]
#[path = "backlog_tests.rs"]
mod on_redis;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_tag_that_is_in_it() {
        assert_eq!(TAGS.len(), 16_384);
        for (place, tag) in TAGS.iter().enumerate() {
            assert_eq!(usize::from(slot(&format!("hubbub:{{{tag}}}:backlog"))), place);
        }
    }
}
