//! Presence of the cluster in Redis: the keys, the scripts, and the answers.
//!
//! Every key begins with `<prefix>presence:{<set>}:`, where `<set>` is the set of
//! those online (`cluster.online_users_key`). So in a Redis Cluster all of them are in
//! the slot of that set, and each script is atomic. docs/redis.md lists the keys.

mod answers;
#[cfg(test)]
mod tests;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use hubbub_protocol::id::UserId;
use redis::{Cmd, Value};
use tokio::sync::Notify;

use super::{LinkError, Listener, RedisLink, Script};
use crate::{
    clock::Clock,
    cluster::{
        Share,
        store::{
            Anchor, Asked, Away, Instance, Joined, PresenceStore, Read, Renewal, Renewed, Swept,
        },
    },
};

static JOIN: Script = Script::new(include_str!("join.lua"));
static WRITE: Script = Script::new(include_str!("write.lua"));
static NOTE: Script = Script::new(include_str!("note.lua"));
static RENEW: Script = Script::new(include_str!("renew.lua"));
static SWEEP: Script = Script::new(include_str!("sweep.lua"));
static READ: Script = Script::new(include_str!("read.lua"));
static FIND: Script = Script::new(include_str!("find.lua"));
static RETIRE: Script = Script::new(include_str!("retire.lua"));

/// Users taken away in one step of sweeping, and in one page of a scan.
const STEP: usize = 250;
/// Entries in one answer of the log; each has at most 250 users.
const ENTRIES: usize = 8;

/// The presence of the cluster in Redis. Cheap to clone.
#[derive(Clone)]
pub struct RedisPresence {
    inner: Arc<Inner>,
}

struct Inner {
    link: RedisLink,
    instance: Instance,
    lease_ms: u64,
    clock: Clock,
    prefix: String,
    nodes: String,
    log: String,
    bans: String,
    online: String,
    channel: String,
    count: AtomicU64,
    wake: Arc<Notify>,
}

impl From<LinkError> for Away {
    fn from(error: LinkError) -> Self {
        Self(error.to_string())
    }
}

/// Something may be new in the log.
struct Wake(Arc<Notify>);

impl Listener for Wake {
    fn message(&self, _: Bytes) {
        self.0.notify_one();
    }

    fn live(&self) {
        self.0.notify_one();
    }
}

impl RedisPresence {
    /// The presence of an instance, over a link. `online` is the set of those online.
    pub fn new(
        link: RedisLink,
        instance: Instance,
        lease_ms: u64,
        online: &str,
        clock: Clock,
    ) -> Self {
        let prefix = format!("{}presence:{{{online}}}:", link.prefix());
        let wake = Arc::new(Notify::new());
        let channel = format!("{prefix}wake");
        link.subscribe(&channel, Arc::new(Wake(wake.clone())));
        // Later than any number of a process before, should two ever share a name.
        let count = AtomicU64::new(1);
        let inner = Inner {
            nodes: format!("{prefix}nodes"),
            log: format!("{prefix}log"),
            bans: format!("{prefix}bans"),
            online: online.to_owned(),
            link,
            instance,
            lease_ms,
            clock,
            prefix,
            channel,
            count,
            wake,
        };
        Self { inner: Arc::new(inner) }
    }
}

impl Inner {
    fn number(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    /// What the scripts that write begin with: prefix, instance, nonce, publish
    /// command, channel.
    fn begin(&self, cmd: &mut Cmd, number: u64) {
        cmd.arg(&self.prefix)
            .arg(&*self.instance)
            .arg(format!("{}.{number}", self.instance))
            .arg(self.link.publish_command())
            .arg(&self.channel);
    }

    fn keys(&self) -> [&str; 4] {
        [&self.nodes, &self.log, &self.online, &self.bans]
    }

    async fn note(
        &self,
        kind: &str,
        rest: impl Fn(&mut Cmd) + Send + Sync,
    ) -> Result<Renewed, Away> {
        let number = self.number();
        let now = self.clock.wall();
        let args = |cmd: &mut Cmd| {
            self.begin(cmd, number);
            cmd.arg(kind).arg(now);
            rest(cmd);
        };
        answers::renewed(self.link.script(&NOTE, &self.keys(), args).await?)
    }
}

macro_rules! asked {
    ($self:ident, |$inner:ident| $body:expr) => {{
        let $inner = $self.inner.clone();
        Box::pin(async move { $body })
    }};
}

impl PresenceStore for RedisPresence {
    fn join(&self, says: String) -> Asked<Joined> {
        asked!(self, |inner| {
            let number = inner.number();
            let args = |cmd: &mut Cmd| {
                inner.begin(cmd, number);
                cmd.arg(inner.lease_ms).arg(&says);
            };
            let answer = inner.link.script(&JOIN, &inner.keys(), args).await?;
            answers::joined(answer, format!("{}.{number}", inner.instance))
        })
    }

    fn write(&self, users: Vec<(UserId, Option<Share>)>) -> Asked<Renewed> {
        asked!(self, |inner| {
            let mut shares = Vec::with_capacity(users.len());
            for (user, share) in &users {
                let text = share.as_ref().map(serde_json::to_string).transpose();
                shares.push((user.as_str(), text.map_err(|e| Away(e.to_string()))?));
            }
            let number = inner.number();
            let args = |cmd: &mut Cmd| {
                inner.begin(cmd, number);
                cmd.arg(number);
                for (user, share) in &shares {
                    cmd.arg(user).arg(share.as_deref().unwrap_or_default());
                }
            };
            answers::renewed(inner.link.script(&WRITE, &inner.keys(), args).await?)
        })
    }

    fn announced(&self) -> Asked<Renewed> {
        asked!(self, |inner| inner.note("announced", |_| {}).await)
    }

    fn renew(&self, says: String) -> Asked<Renewal> {
        asked!(self, |inner| {
            let args = |cmd: &mut Cmd| {
                cmd.arg(&inner.prefix).arg(&*inner.instance).arg(inner.lease_ms).arg(&says);
            };
            answers::renewal(inner.link.script(&RENEW, &[&inner.nodes], args).await?)
        })
    }

    fn retire(&self, grace_ms: u64) -> Asked<()> {
        asked!(self, |inner| {
            let args = |cmd: &mut Cmd| {
                cmd.arg(&inner.prefix).arg(&*inner.instance).arg(grace_ms.max(1));
            };
            inner.link.script(&RETIRE, &[&inner.nodes], args).await?;
            Ok(())
        })
    }

    fn sweep(&self, dead: Instance) -> Asked<Swept> {
        asked!(self, |inner| {
            let number = inner.number();
            let args = |cmd: &mut Cmd| {
                inner.begin(cmd, number);
                cmd.arg(&*dead).arg(STEP);
            };
            answers::swept(inner.link.script(&SWEEP, &inner.keys(), args).await?)
        })
    }

    fn read(&self, after: Anchor) -> Asked<Read> {
        asked!(self, |inner| {
            let args = |cmd: &mut Cmd| {
                cmd.arg(&after.id).arg(&after.nonce).arg(ENTRIES);
            };
            let answer = inner.link.script(&READ, &[&inner.log], args).await?;
            answers::read(answer, after)
        })
    }

    fn scan(&self, node: Instance, cursor: String) -> Asked<(String, Vec<(UserId, Share)>)> {
        asked!(self, |inner| {
            let key = format!("{}users:{node}", inner.prefix);
            let mut scan = redis::cmd("HSCAN");
            scan.arg(key).arg(cursor).arg("COUNT").arg(STEP);
            answers::scanned(inner.link.query(&scan).await?)
        })
    }

    fn find(&self, user: UserId) -> Asked<Vec<(Instance, Share)>> {
        asked!(self, |inner| {
            let args = |cmd: &mut Cmd| {
                cmd.arg(&inner.prefix).arg(user.as_str());
            };
            answers::found(inner.link.script(&FIND, &[&inner.nodes], args).await?)
        })
    }

    fn send_away(&self, user: UserId, until: u64) -> Asked<()> {
        asked!(self, |inner| {
            let rest = |cmd: &mut Cmd| {
                cmd.arg(user.as_str()).arg(until);
            };
            inner.note("away", rest).await.map(|_| ())
        })
    }

    fn bans(&self) -> Asked<Vec<(UserId, u64)>> {
        asked!(self, |inner| {
            let mut range = redis::cmd("ZRANGEBYSCORE");
            range.arg(&inner.bans).arg(inner.clock.wall()).arg("+inf").arg("WITHSCORES");
            range.arg("LIMIT").arg(0).arg(100_000);
            answers::bans(inner.link.query(&range).await?)
        })
    }

    fn addresses(&self, counts: Vec<(IpAddr, u32)>) -> Asked<Renewed> {
        asked!(self, |inner| {
            let rest = |cmd: &mut Cmd| {
                for (address, count) in &counts {
                    cmd.arg(address.to_string()).arg(count);
                }
            };
            inner.note("addresses", rest).await
        })
    }

    fn scan_addresses(&self, node: Instance) -> Asked<Vec<(IpAddr, u32)>> {
        asked!(self, |inner| {
            let key = format!("{}addresses:{node}", inner.prefix);
            let value: Value = inner.link.query(redis::cmd("HGETALL").arg(key)).await?;
            answers::addresses(value)
        })
    }

    fn connection(&self) -> Option<u64> {
        // Presence does without the channel: it only makes the sync look sooner.
        let made = self.inner.link.state().borrow().connections;
        (made > 0).then_some(made)
    }

    fn wake(&self) -> Arc<Notify> {
        self.inner.wake.clone()
    }
}
