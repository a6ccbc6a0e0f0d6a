//! Receipts in Redis: one hash for each room, so that every node can answer. News of
//! a room are one script, which compares: whoever is late changes nothing.

use hubbub_protocol::{
    id::{RoomName, UserId},
    position::{Epoch, Position},
};
use redis::Value;

use super::{RedisLink, Script, keys::RoomKeys};
use crate::{
    ports::{PortFuture, StoreError},
    receipt_store::{Advanced, Progress, ReceiptStore, ReceiptStoreConfig, Rise, RoomReceipts},
};

static ADVANCE: Script = Script::new(include_str!("lua/receipts.lua"));

/// What stands before a user's id in its field.
const USER: &str = "u:";

/// Receipts that all nodes share.
pub struct RedisReceipts {
    link: RedisLink,
    config: ReceiptStoreConfig,
}

impl RedisReceipts {
    /// Keeps receipts behind a link. Rooms are not counted: each goes by itself.
    pub fn new(link: RedisLink, config: ReceiptStoreConfig) -> Self {
        Self { link, config }
    }
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed(error.to_string())
}

fn strange() -> StoreError {
    failed("receipts in Redis are not understood")
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// Reads `<delivered> <read>`, as often as it is there.
fn progresses(text: &str) -> Option<Vec<Progress>> {
    let numbers: Vec<u64> = text.split(' ').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    let pairs = numbers.chunks_exact(2);
    Some(pairs.map(|pair| Progress { delivered: pair[0], read: pair[1] }).collect())
}

fn advanced(answer: &Value, news: &[(UserId, Progress)]) -> Option<Advanced> {
    let Value::Array(items) = answer else { return None };
    let (Value::Int(untracked), rest) = items.split_first()? else { return None };
    let rises = rest.chunks_exact(2).map(|pair| {
        let Value::Int(at) = pair[0] else { return None };
        let (user, _) = news.get(usize::try_from(at).ok()?)?;
        let [before, now] = progresses(text(&pair[1])?)?[..] else { return None };
        Some(Rise { user: user.clone(), before, now })
    });
    Some(Advanced {
        rises: rises.collect::<Option<_>>()?,
        untracked: usize::try_from(*untracked).ok()?,
    })
}

/// The users of a hash whose epoch is this one.
fn users(hash: &Value, epoch: Epoch) -> Option<Vec<(UserId, Progress)>> {
    let pairs: Vec<(&str, &str)> = match hash {
        Value::Map(pairs) => {
            pairs.iter().map(|(k, v)| Some((text(k)?, text(v)?))).collect::<Option<_>>()?
        }
        Value::Array(items) => items
            .chunks_exact(2)
            .map(|pair| Some((text(&pair[0])?, text(&pair[1])?)))
            .collect::<Option<_>>()?,
        _ => return None,
    };
    let epoch = epoch.to_string();
    if !pairs.iter().any(|(name, value)| *name == "epoch" && *value == epoch) {
        return Some(Vec::new());
    }
    let fields = pairs.iter().filter_map(|(name, value)| Some((name.strip_prefix(USER)?, value)));
    let mut users = fields
        .map(|(user, value)| {
            let [progress] = progresses(value)?[..] else { return None };
            Some((UserId::new(user).ok()?, progress))
        })
        .collect::<Option<Vec<_>>>()?;
    users.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Some(users)
}

impl ReceiptStore for RedisReceipts {
    fn advance(
        &self,
        room: &RoomName,
        epoch: Epoch,
        news: Vec<(UserId, Progress)>,
    ) -> PortFuture<Result<Advanced, StoreError>> {
        let (link, config) = (self.link.clone(), self.config);
        let keys = RoomKeys::new(link.prefix(), room);
        Box::pin(async move {
            let keys = [keys.receipts(), keys.state()];
            let answer = link.script(&ADVANCE, &keys, |cmd| {
                cmd.arg(epoch.to_string()).arg(config.max_members).arg(config.ttl_ms.max(1));
                for (user, progress) in &news {
                    cmd.arg(user.as_str()).arg(progress.delivered).arg(progress.read);
                }
            });
            advanced(&answer.await.map_err(failed)?, &news).ok_or_else(strange)
        })
    }

    fn of_room(
        &self,
        room: &RoomName,
        head: Position,
    ) -> PortFuture<Result<RoomReceipts, StoreError>> {
        let link = self.link.clone();
        let max = self.config.max_members;
        let mut get = redis::cmd("HGETALL");
        get.arg(RoomKeys::new(link.prefix(), room).receipts());
        Box::pin(async move {
            let hash = link.query(&get).await.map_err(failed)?;
            let users = users(&hash, head.epoch).ok_or_else(strange)?;
            let full = users.len() >= max;
            Ok(RoomReceipts { users, full })
        })
    }
}
