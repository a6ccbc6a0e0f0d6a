//! Sessions in Redis: a session whose node was killed goes on at any other.
//!
//! Each session is one hash. While it is connected its node touches it now and then,
//! so that what a killed node leaves behind goes by itself; whether it can still come
//! back is judged by when that node was last alive.
//!
//! | file | holds |
//! |---|---|
//! | `jobs` | what waits for Redis, and ends that it has not taken yet |
//! | `kept` | which sessions this node keeps, and how many |

mod jobs;
mod kept;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use hubbub_protocol::{
    id::{RoomName, SessionId, UserId},
    position::{Epoch, Position},
};
use parking_lot::Mutex;
use redis::{Cmd, Value};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use self::{
    jobs::{End, Ends, Job, MAX_WAITING, work},
    kept::{Kept, Place},
};
use super::{Listener, RedisLink, keys::RoomKeys};
use crate::{
    clock::Clock,
    ports::{PortFuture, StoreError},
    session_store::{
        Base, KeptIdentity, KeptRoom, KeptSession, Owned, Owner, SessionReplaced, SessionStore,
        SessionStoreConfig,
    },
};

const SESSION: &str = include_str!("lua/session.lua");
const TOLD: &str = include_str!("lua/told.lua");

/// How long a connected session is kept without being touched, beside the window.
const UNTOUCHED: Duration = Duration::from_secs(3600);
/// How often a node says that it is alive, at least.
const ALIVE: Duration = Duration::from_secs(5);
/// Time until it says so again if Redis did not take it.
const AGAIN: Duration = Duration::from_millis(50);
/// Sessions touched, or told again to have ended, in one go.
const TOUCHED: usize = 500;

/// Sessions that all nodes share.
pub struct RedisSessions(Arc<Inner>);

struct Inner {
    link: RedisLink,
    config: SessionStoreConfig,
    /// How long direct messages are kept, in milliseconds.
    history_ttl_ms: u64,
    clock: Clock,
    /// This process, not to be mistaken for an earlier one of the same name.
    run: String,
    jobs: mpsc::Sender<Job>,
    /// Of the sessions that Redis has, those of this node.
    kept: Mutex<Kept>,
    /// What Redis did not take while it was away.
    ends: Ends,
    replaced: OnceLock<SessionReplaced>,
}

impl RedisSessions {
    /// Keeps sessions behind a link. `history_ttl_ms` is how long messages are kept.
    pub fn start(
        link: RedisLink,
        config: SessionStoreConfig,
        history_ttl_ms: u64,
        clock: Clock,
    ) -> Self {
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        let inner = Arc::new(Inner {
            run: Uuid::now_v7().simple().to_string(),
            link: link.clone(),
            config,
            history_ttl_ms,
            clock,
            jobs,
            kept: Mutex::new(Kept::new(config.max_sessions)),
            ends: Ends::default(),
            replaced: OnceLock::new(),
        });
        link.subscribe(&inner.channel(&inner.run), Arc::new(Elsewhere(inner.clone())));
        let (asked, failed) = (link.clone(), inner.clone());
        let query = move |cmd| {
            let link = asked.clone();
            async move { link.query(&cmd).await.map_err(|e| StoreError::Failed(e.to_string())) }
        };
        link.spawn(work(waiting, query, move |end| failed.ends.note(end)));
        link.spawn(inner.clone().touch());
        Self(inner)
    }
}

/// Hears that a session of this node goes on at another.
struct Elsewhere(Arc<Inner>);

impl Listener for Elsewhere {
    fn message(&self, payload: Bytes) {
        let session = std::str::from_utf8(&payload).ok().and_then(|text| {
            let (id, owner) = text.split_once(' ')?;
            Some((SessionId(Uuid::try_parse(id).ok()?), Owner(owner.parse().ok()?)))
        });
        if let (Some((id, owner)), Some(replaced)) = (session, self.0.replaced.get()) {
            self.0.kept.lock().gone(id, owner);
            replaced(id, owner);
        }
    }
}

impl Inner {
    fn key(&self, id: SessionId) -> String {
        format!("{}{{session:{}}}:kept", self.link.prefix(), id.0.simple())
    }

    fn alive_key(&self, run: &str) -> String {
        format!("{}{{node:{run}}}:alive", self.link.prefix())
    }

    fn channel(&self, run: &str) -> String {
        format!("{}{{node:{run}}}:replaced", self.link.prefix())
    }

    fn told_key(&self, user: &UserId) -> String {
        RoomKeys::new(self.link.prefix(), &RoomName::personal(user)).told()
    }

    /// How long a connected session is kept without being touched.
    fn keep_ms(&self) -> u64 {
        self.config.recovery_ms.saturating_add(UNTOUCHED.as_millis() as u64)
    }

    /// Queues a command.
    fn ask(&self, cmd: Cmd) -> PortFuture<Result<Value, StoreError>> {
        self.queue(cmd, None)
    }

    /// Queues a command; the end of a session is told again if Redis does not take it.
    fn queue(&self, cmd: Cmd, end: Option<End>) -> PortFuture<Result<Value, StoreError>> {
        let (reply, answer) = oneshot::channel();
        let refused = match self.jobs.try_send(Job { cmd, reply, end }) {
            Ok(()) => None,
            Err(mpsc::error::TrySendError::Full(_)) => Some(StoreError::Full),
            Err(mpsc::error::TrySendError::Closed(_)) => Some(StoreError::Closed),
        };
        if let (Some(_), Some(end)) = (&refused, end) {
            self.ends.note(end);
        }
        Box::pin(async move {
            match refused {
                Some(e) => Err(e),
                None => answer.await.map_err(|_| StoreError::Closed)?,
            }
        })
    }

    fn change(&self, what: &str, id: SessionId, owner: Owner, keep: u64) -> Cmd {
        // With its text: a script that has to be loaded first would be overtaken.
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(SESSION).arg(1).arg(self.key(id)).arg(what).arg(owner.0).arg(keep);
        cmd
    }

    fn owned(&self, cmd: Cmd) -> Owned {
        owned(self.ask(cmd))
    }

    /// Tells Redis that a session ended; again later if Redis does not take it.
    fn tell_end(&self, session: SessionId, owner: Owner, over: bool) -> Owned {
        let end = End { session, owner, over, at: self.clock.now() };
        owned(self.queue(self.end(&end), Some(end)))
    }

    /// What tells Redis that a session ended.
    fn end(&self, end: &End) -> Cmd {
        if end.over {
            return self.change("ended", end.session, end.owner, 0);
        }
        // Its window began when it was lost, not when Redis is told so.
        let late = self.clock.now().saturating_sub(end.at);
        let left = self.config.recovery_ms.saturating_sub(late).max(1);
        self.change("lost", end.session, end.owner, left)
    }

    /// Tells Redis what it did not take while it was away.
    async fn tell_ends(&self) {
        loop {
            // What is older has gone by itself.
            let since = self.clock.now().saturating_sub(self.keep_ms());
            let ends = self.ends.some(TOUCHED, since);
            let asked: Vec<_> =
                ends.into_iter().map(|end| (end, self.ask(self.end(&end)))).collect();
            if asked.is_empty() {
                return;
            }
            for (end, answer) in asked {
                if answer.await.is_err() {
                    return;
                }
                self.ends.taken(&end);
            }
        }
    }

    /// Says that the node is alive, and touches its sessions.
    async fn touch(self: Arc<Self>) {
        let often = ALIVE.min(Duration::from_millis(self.config.recovery_ms / 4 + 1));
        let rounds = (UNTOUCHED.as_secs_f64() / 3.0 / often.as_secs_f64()).max(1.0) as u64;
        for round in 0u64.. {
            let mut alive = redis::cmd("SET");
            alive.arg(self.alive_key(&self.run)).arg(self.clock.wall());
            alive.arg("PX").arg(self.keep_ms());
            if self.ask(alive).await.is_err() {
                // While Redis is away, nobody comes back either.
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            self.tell_ends().await;
            if round % rounds == rounds - 1 {
                let here = self.kept.lock().here();
                for some in here.chunks(TOUCHED) {
                    let touched: Vec<_> = some
                        .iter()
                        .map(|(id, owner)| {
                            self.ask(self.change("touch", *id, *owner, self.keep_ms()))
                        })
                        .collect();
                    for one in touched {
                        let _ = one.await;
                    }
                }
            }
            tokio::time::sleep(often).await;
        }
    }

    /// Whether the node that a session was on is alive, or has not been dead for too
    /// long.
    async fn is_within(&self, run: &str) -> Result<bool, StoreError> {
        // By the time that Redis has left for it: clocks of nodes may differ.
        let mut left = redis::cmd("PTTL");
        left.arg(self.alive_key(run));
        let left = match self.ask(left).await? {
            redis::Value::Int(left) => u64::try_from(left).ok(),
            _ => None,
        };
        let since = left.map(|left| self.keep_ms().saturating_sub(left));
        Ok(since.is_some_and(|since| since <= self.config.recovery_ms))
    }

    /// The session in a hash, unless its window is over.
    async fn kept(
        &self,
        id: SessionId,
        hash: &Value,
        run: &str,
    ) -> Result<Option<KeptSession>, StoreError> {
        let Some(fields) = fields(hash) else { return Ok(None) };
        // One that is lost goes by itself.
        if !fields.contains_key("lost") && !self.is_within(run).await? {
            return Ok(None);
        }
        let strange = || StoreError::Failed("a session in Redis is not understood".into());
        read(id, &fields).ok_or_else(strange).map(Some)
    }
}

fn owned(answer: PortFuture<Result<Value, StoreError>>) -> Owned {
    Box::pin(async move { Ok(answer.await? == Value::Int(1)) })
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// The fields of a hash; none if there is none.
fn fields(hash: &Value) -> Option<HashMap<&str, &str>> {
    let fields: HashMap<&str, &str> = match hash {
        Value::Map(pairs) => pairs.iter().filter_map(|(k, v)| Some((text(k)?, text(v)?))).collect(),
        Value::Array(items) => items
            .chunks_exact(2)
            .filter_map(|pair| Some((text(&pair[0])?, text(&pair[1])?)))
            .collect(),
        _ => return None,
    };
    (!fields.is_empty()).then_some(fields)
}

/// What stands before a room's name in its field.
const ROOM: &str = "room:";

fn read(id: SessionId, fields: &HashMap<&str, &str>) -> Option<KeptSession> {
    let identity = KeptIdentity {
        id,
        user: UserId::new(fields.get("user")?).ok()?,
        secret: fields.get("secret")?.parse().ok()?,
        wire: (*fields.get("wire")?).into(),
        vocabulary: (*fields.get("vocabulary")?).into(),
    };
    let rooms = fields.iter().filter_map(|(name, value)| Some((name.strip_prefix(ROOM)?, value)));
    let mut rooms = rooms
        .map(|(name, value)| {
            let mut words = value.split(' ');
            let slot = words.next()?.parse().ok()?;
            let base = match words.next()? {
                "at" => {
                    let epoch: Epoch = words.next()?.parse().ok()?;
                    Base::At(Position { epoch, offset: words.next()?.parse().ok()? })
                }
                "start" => Base::Start,
                _ => Base::Unknown,
            };
            Some(KeptRoom { slot, room: RoomName::new(name).ok()?, base })
        })
        .collect::<Option<Vec<_>>>()?;
    rooms.sort_by_key(|room| room.slot);
    Some(KeptSession { identity, rooms })
}

fn write(room: &KeptRoom) -> String {
    let slot = room.slot;
    match room.base {
        Base::At(position) => format!("{slot} at {} {}", position.epoch, position.offset),
        Base::Start => format!("{slot} start"),
        Base::Unknown => format!("{slot} unknown"),
    }
}

impl SessionStore for RedisSessions {
    fn open(&self, identity: KeptIdentity, owner: Owner) -> Owned {
        let inner = &self.0;
        let place = inner.kept.lock().open(identity.id, owner, inner.clock.now());
        match place {
            Place::Free => {}
            Place::Of(first, owner) => {
                // In order with what comes later; nobody waits for it.
                drop(inner.tell_end(first, owner, true));
            }
            Place::Nowhere => return Box::pin(std::future::ready(Ok(false))),
        }
        let mut cmd = inner.change("open", identity.id, owner, inner.keep_ms());
        cmd.arg(&inner.run);
        cmd.arg("user").arg(identity.user.as_str());
        cmd.arg("secret").arg(identity.secret);
        cmd.arg("wire").arg(&*identity.wire);
        cmd.arg("vocabulary").arg(&*identity.vocabulary);
        inner.owned(cmd)
    }

    fn join(&self, session: SessionId, owner: Owner, room: KeptRoom) -> Owned {
        let mut cmd = self.0.change("join", session, owner, self.0.keep_ms());
        cmd.arg(format!("{ROOM}{}", room.room)).arg(write(&room));
        self.0.owned(cmd)
    }

    fn leave(&self, session: SessionId, owner: Owner, room: &RoomName) -> Owned {
        let mut cmd = self.0.change("leave", session, owner, self.0.keep_ms());
        cmd.arg(format!("{ROOM}{room}"));
        self.0.owned(cmd)
    }

    fn lost(&self, session: SessionId, owner: Owner) -> Owned {
        let inner = &self.0;
        let now = inner.clock.now();
        let until = now.saturating_add(inner.config.recovery_ms);
        inner.kept.lock().lost(session, owner, now, until);
        inner.tell_end(session, owner, false)
    }

    fn ended(&self, session: SessionId, owner: Owner) -> Owned {
        self.0.kept.lock().gone(session, owner);
        self.0.tell_end(session, owner, true)
    }

    fn find(&self, session: SessionId) -> PortFuture<Result<Option<KeptSession>, StoreError>> {
        let inner = self.0.clone();
        Box::pin(async move {
            let mut get = redis::cmd("HGETALL");
            get.arg(inner.key(session));
            let hash = inner.ask(get).await?;
            let run = fields(&hash).and_then(|f| f.get("node").map(|run| (*run).to_owned()));
            match run {
                Some(run) => inner.kept(session, &hash, &run).await,
                None => Ok(None),
            }
        })
    }

    fn told(&self, user: &UserId, position: Position) -> PortFuture<Result<(), StoreError>> {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(TOLD).arg(1).arg(self.0.told_key(user));
        cmd.arg(position.epoch.to_string()).arg(position.offset).arg(self.0.history_ttl_ms);
        let answer = self.0.ask(cmd);
        Box::pin(async move { answer.await.map(drop) })
    }

    fn told_up_to(&self, user: &UserId) -> PortFuture<Result<Option<Position>, StoreError>> {
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(self.0.told_key(user)).arg("epoch").arg("offset");
        let answer = self.0.ask(cmd);
        Box::pin(async move {
            let Value::Array(items) = answer.await? else { return Ok(None) };
            let [epoch, offset] = &items[..] else { return Ok(None) };
            let epoch = text(epoch).and_then(|text| text.parse().ok());
            let offset = text(offset).and_then(|text| text.parse().ok());
            Ok(epoch.zip(offset).map(|(epoch, offset)| Position { epoch, offset }))
        })
    }

    fn claim(
        &self,
        session: SessionId,
        owner: Owner,
    ) -> PortFuture<Result<Option<KeptSession>, StoreError>> {
        let inner = self.0.clone();
        let mut cmd = inner.change("claim", session, owner, inner.keep_ms());
        cmd.arg(&inner.run);
        let answer = inner.ask(cmd);
        Box::pin(async move {
            let Value::Array(items) = answer.await? else { return Ok(None) };
            let [before, run, hash] = &items[..] else { return Ok(None) };
            let (Some(before), Some(run)) = (text(before), text(run)) else { return Ok(None) };
            inner.kept.lock().claimed(session, owner);
            if run != inner.run {
                let mut tell = redis::cmd(inner.link.publish_command());
                tell.arg(inner.channel(run)).arg(format!("{} {before}", session.0.simple()));
                // A node that does not hear it is gone, or closes by its heartbeat.
                drop(inner.ask(tell));
            }
            inner.kept(session, hash, run).await
        })
    }

    fn on_replaced(&self, replaced: SessionReplaced) {
        // Set once, by the hub that uses the store.
        let _ = self.0.replaced.set(replaced);
    }
}
