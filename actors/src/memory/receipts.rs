//! Receipts in memory: they end with the process.

use std::collections::BTreeMap;

use hashlink::LinkedHashMap;
use hubbub_protocol::{
    id::{RoomName, UserId},
    position::{Epoch, Position},
};
use parking_lot::Mutex;

use crate::{
    clock::Clock,
    ports::{PortFuture, StoreError},
    receipt_store::{Advanced, Progress, ReceiptStore, ReceiptStoreConfig, Rise, RoomReceipts},
};

/// Receipts in memory.
pub struct MemoryReceipts {
    /// The room without news for longest in front.
    rooms: Mutex<LinkedHashMap<RoomName, Room>>,
    config: ReceiptStoreConfig,
    clock: Clock,
}

struct Room {
    epoch: Epoch,
    news_at: u64,
    users: BTreeMap<UserId, Progress>,
}

impl MemoryReceipts {
    /// An empty store.
    pub fn new(config: ReceiptStoreConfig, clock: Clock) -> Self {
        Self { rooms: Mutex::default(), config, clock }
    }

    fn take(&self, room: &RoomName, epoch: Epoch, news: Vec<(UserId, Progress)>) -> Advanced {
        let now = self.clock.now();
        let mut rooms = self.rooms.lock();
        while let Some((_, oldest)) = rooms.front()
            && oldest.news_at.saturating_add(self.config.ttl_ms) <= now
        {
            rooms.pop_front();
        }
        let known = rooms.remove(room).filter(|known| known.epoch == epoch);
        if known.is_none() && rooms.len() >= self.config.max_rooms {
            rooms.pop_front();
        }
        let mut entry =
            known.unwrap_or_else(|| Room { epoch, news_at: now, users: BTreeMap::new() });
        entry.news_at = now;
        let mut advanced = Advanced::default();
        for (user, progress) in news {
            let before = entry.users.get(&user).copied();
            if before.is_none() && entry.users.len() >= self.config.max_members {
                advanced.untracked += 1;
                continue;
            }
            let before = before.unwrap_or_default();
            let now = before.max(progress);
            if now != before {
                entry.users.insert(user.clone(), now);
                advanced.rises.push(Rise { user, before, now });
            }
        }
        rooms.insert(room.clone(), entry);
        advanced
    }
}

impl ReceiptStore for MemoryReceipts {
    fn advance(
        &self,
        room: &RoomName,
        epoch: Epoch,
        news: Vec<(UserId, Progress)>,
    ) -> PortFuture<Result<Advanced, StoreError>> {
        Box::pin(std::future::ready(Ok(self.take(room, epoch, news))))
    }

    fn of_room(
        &self,
        room: &RoomName,
        head: Position,
    ) -> PortFuture<Result<RoomReceipts, StoreError>> {
        let now = self.clock.now();
        let rooms = self.rooms.lock();
        let kept = rooms.get(room).filter(|kept| {
            kept.epoch == head.epoch && kept.news_at.saturating_add(self.config.ttl_ms) > now
        });
        let users: Vec<_> =
            kept.into_iter().flat_map(|kept| &kept.users).map(|(u, p)| (u.clone(), *p)).collect();
        let full = users.len() >= self.config.max_members;
        Box::pin(std::future::ready(Ok(RoomReceipts { users, full })))
    }
}
