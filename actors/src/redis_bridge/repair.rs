//! Looking at the heads of rooms, reading what is missing, and telling members
//! when what is missing is gone.

use std::{sync::Arc, time::Instant};

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use futures_util::future::join_all;
use hubbub_protocol::{
    id::{MessageId, RoomName},
    limits::{DEFAULT_PAGE, MAX_PAGE},
    position::Position,
    record::Stored,
};
use redis::Value;

use super::{
    RedisBridge,
    table::{Head, Repaired, Verdict, known_id},
};
use crate::{
    ports::{Bus, History, Page, Range, StoreError},
    redis::{RedisLink, keys::RoomKeys},
};

/// Looks that may be under way at a time.
const MAX_LOOKS: usize = 64;
/// Rooms that are compared with Redis at a time.
const CHECK_BATCH: usize = 256;

/// Why members are told that something is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    Trimmed,
    NewEpoch,
    RolledBack,
}

impl Loss {
    fn as_str(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::NewEpoch => "new_epoch",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// Asks Redis where a room stands; none if it does not answer.
async fn read_head(link: &RedisLink, key: String) -> Option<Head> {
    let mut cmd = redis::cmd("HMGET");
    cmd.arg(key).arg(&["epoch", "head", "last"]);
    let Ok(Value::Array(fields)) = link.query(&cmd).await else { return None };
    let text = |at: usize| match fields.get(at) {
        Some(Value::BulkString(bytes)) => std::str::from_utf8(bytes).ok(),
        _ => None,
    };
    let position = text(0).zip(text(1)).and_then(|(epoch, head)| {
        Some(Position { epoch: epoch.parse().ok()?, offset: head.parse().ok()? })
    });
    let last = text(2).and_then(|id| uuid::Uuid::parse_str(id).ok()).map(MessageId);
    Some(Head { position, last })
}

impl RedisBridge {
    /// Something may be out of order in a room.
    pub(super) fn attend(&mut self, room: RoomName, ctx: &mut Context<Self>) {
        let wants = self.rooms.get_mut(&room).is_some_and(|r| r.wants_look(Instant::now()));
        if wants && self.looks < MAX_LOOKS {
            self.watched.insert(room.clone());
            self.look(room, ctx);
        } else {
            self.watched.insert(room);
        }
    }

    /// Nothing more is handed on in a room before a look.
    pub(super) fn doubt(&mut self, room: RoomName, ctx: &mut Context<Self>) {
        if let Some(entry) = self.rooms.get_mut(&room) {
            entry.doubt();
            self.attend(room, ctx);
        }
    }

    /// Goes through the rooms that may be out of order.
    pub(super) fn look_around(&mut self, now: Instant, ctx: &mut Context<Self>) {
        if self.watched.is_empty() || !self.bus.link.is_up() || self.bus.relay.is_congested() {
            return;
        }
        let rooms = &mut self.rooms;
        self.watched.retain(|room| rooms.get_mut(room).is_some_and(|r| !r.in_order()));
        let free = MAX_LOOKS.saturating_sub(self.looks);
        let due = |room: &&RoomName| rooms.get_mut(room).is_some_and(|r| r.wants_look(now));
        let due: Vec<_> = self.watched.iter().filter(due).take(free).cloned().collect();
        for room in due {
            self.look(room, ctx);
        }
    }

    /// Notes where a new room stands before its channel is heard.
    pub(super) fn begin(&mut self, room: RoomName, ctx: &mut Context<Self>) {
        if let Some(entry) = self.rooms.get_mut(&room) {
            entry.begin();
        }
        let (link, key) = (self.bus.link.clone(), self.keys(&room).state());
        let head = async move { read_head(&link, key).await };
        ctx.spawn(head.into_actor(self).map(move |head, act, ctx| {
            if let Some(entry) = act.rooms.get_mut(&room) {
                match head {
                    Some(head) => entry.begin_at(head),
                    None => entry.begin_failed(),
                }
                act.attend(room, ctx);
            }
        }));
    }

    fn look(&mut self, room: RoomName, ctx: &mut Context<Self>) {
        let (link, key) = (self.bus.link.clone(), self.keys(&room).state());
        if let Some(entry) = self.rooms.get_mut(&room) {
            entry.look();
        }
        self.looks += 1;
        let head = async move { read_head(&link, key).await };
        ctx.spawn(head.into_actor(self).map(move |head, act, ctx| act.looked(room, head, ctx)));
    }

    fn look_ended(&mut self, room: &RoomName, ctx: &mut Context<Self>) {
        self.looks -= 1;
        self.opened(room);
        self.look_around(Instant::now(), ctx);
    }

    /// A later tick tries again.
    fn look_failed(&mut self, room: &RoomName) {
        if let Some(entry) = self.rooms.get_mut(room) {
            entry.look_failed(Instant::now());
        }
        self.looks -= 1;
    }

    fn looked(&mut self, room: RoomName, head: Option<Head>, ctx: &mut Context<Self>) {
        let Some(entry) = self.rooms.get_mut(&room) else { return self.look_ended(&room, ctx) };
        let Some(head) = head else { return self.look_failed(&room) };
        if !entry.live {
            // The channel was lost meanwhile: what the head says is no longer enough.
            return self.look_failed(&room);
        }
        let (records, verdict) = entry.looked(head);
        self.hand_on(&records);
        self.follow(room, verdict, ctx);
    }

    fn follow(&mut self, room: RoomName, verdict: Verdict, ctx: &mut Context<Self>) {
        match verdict {
            Verdict::Fine => self.look_ended(&room, ctx),
            Verdict::Read(above) => {
                self.bus.metrics.gaps.inc();
                self.read_above(room, above, ctx);
            }
            Verdict::Rolled(at) => self.reset(room, Loss::RolledBack, Some(at), ctx),
            Verdict::Reset => self.reset(room, Loss::NewEpoch, None, ctx),
        }
    }

    fn read_above(&mut self, room: RoomName, above: u64, ctx: &mut Context<Self>) {
        let page = self.history.read(&room, Range::After(above), MAX_PAGE);
        ctx.spawn(page.into_actor(self).map(move |page, act, ctx| act.repaired(room, page, ctx)));
    }

    fn repaired(
        &mut self,
        room: RoomName,
        page: Result<Page, StoreError>,
        ctx: &mut Context<Self>,
    ) {
        let Some(entry) = self.rooms.get_mut(&room) else { return self.look_ended(&room, ctx) };
        let page = match page {
            Ok(page) if entry.live => page,
            Ok(_) => return self.look_failed(&room),
            Err(e) => {
                log::warn!(room:% = room, error:% = e; "filling a gap failed, tried again");
                return self.look_failed(&room);
            }
        };
        match entry.repaired(page) {
            Repaired::Lost => self.reset(room, Loss::Trimmed, None, ctx),
            Repaired::Records(records, verdict) => {
                self.bus.metrics.repaired.inc_by(records.len() as u64);
                self.hand_on(&records);
                match verdict {
                    Verdict::Read(above) => self.read_above(room, above, ctx),
                    verdict => self.follow(room, verdict, ctx),
                }
            }
        }
    }

    /// What members lack is gone, or cannot be told apart from what they have: they
    /// get the newest page and are told so.
    fn reset(
        &mut self,
        room: RoomName,
        loss: Loss,
        wrong: Option<Position>,
        ctx: &mut Context<Self>,
    ) {
        let (history, asked) = (self.history.clone(), room.clone());
        let page = async move {
            if let Some(wrong) = wrong {
                history.renew(&asked, wrong.epoch).await?;
            }
            history.read(&asked, Range::Newest, DEFAULT_PAGE).await
        };
        ctx.spawn(page.into_actor(self).map(move |page, act, ctx| {
            let Some(entry) = act.rooms.get_mut(&room) else { return act.look_ended(&room, ctx) };
            let page = match page {
                Ok(page) if entry.live => page,
                _ => return act.look_failed(&room),
            };
            log::warn!(room:% = room, reason = loss.as_str(), epoch:% = page.head.epoch,
                offset = page.head.offset;
                "messages of a room are lost; its members are told");
            act.bus.metrics.resets.with_label_values(&[loss.as_str()]).inc();
            let last = page.records.last().and_then(known_id);
            let records = entry.reset(page.head, last);
            act.bus.relay.reset(&room, &Arc::new(page));
            act.hand_on(&records);
            act.look_ended(&room, ctx);
        }));
    }

    fn hand_on(&self, records: &[Arc<Stored>]) {
        if !records.is_empty() {
            self.bus.relay.stored(records);
        }
    }

    /// Compares every room with Redis, some at a time.
    pub(super) fn check_all(&mut self, ctx: &mut Context<Self>) {
        let rooms: Vec<_> = self
            .rooms
            .iter_mut()
            .filter(|(_, room)| room.live && room.in_order())
            .map(|(name, _)| name.clone())
            .collect();
        if !self.bus.link.is_up() || rooms.is_empty() {
            return;
        }
        self.checks += 1;
        self.check_some(rooms, ctx);
    }

    fn check_some(&mut self, mut rooms: Vec<RoomName>, ctx: &mut Context<Self>) {
        let some = rooms.split_off(rooms.len().saturating_sub(CHECK_BATCH));
        if some.is_empty() {
            self.checks -= 1;
            return;
        }
        let link = self.bus.link.clone();
        let asked: Vec<_> = some
            .into_iter()
            .map(|room| {
                let stood = self.rooms.get_mut(&room).and_then(|r| r.position());
                (room, stood)
            })
            .collect();
        let heads = async move {
            let heads = asked.into_iter().map(|(room, stood)| {
                let key = RoomKeys::new(link.prefix(), &room).state();
                let link = &link;
                async move { (read_head(link, key).await, room, stood) }
            });
            join_all(heads).await
        };
        ctx.spawn(heads.into_actor(self).map(move |heads, act, ctx| {
            let now = Instant::now();
            for (head, room, stood) in heads {
                let Some(head) = head else { continue };
                if let Some(entry) = act.rooms.get_mut(&room) {
                    entry.expect(head, stood, now);
                    if !entry.in_order() {
                        act.watched.insert(room);
                    }
                }
            }
            act.check_some(rooms, ctx);
        }));
    }
}
