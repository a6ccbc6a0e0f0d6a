//! The store and the way to it: the hub's own history in memory, behind a network that is slow,
//! loses, doubles and reorders.

use std::sync::Arc;

use futures_util::FutureExt;
use hubbub_actors::ports::{Append, Bus, History, IdempotencyKey, Range, StoreError};
use hubbub_protocol::{
    id::{MessageId, UserId},
    record::{Body, Record, Stored},
    timestamp::Timestamp,
};
use parking_lot::Mutex;

use super::{
    check::Violation,
    event::{Answer, Event, Purpose, Sabotage},
    node::{HEAD_PAGE, PAGE},
    schedule::NODES,
    world::{World, room_name},
};

/// How long a node waits for the store before a request has failed.
pub(super) const STORE_TIMEOUT_MS: u64 = 400;

/// What the store has stored and not yet told.
#[derive(Default)]
pub struct Outbox(Mutex<Vec<Arc<Stored>>>);

impl Bus for Outbox {
    fn stored(&self, records: &[Arc<Stored>]) {
        self.0.lock().extend(records.iter().cloned());
    }
}

impl World {
    /// How long a request to the store or its answer takes; none if it is lost.
    pub(super) fn store_trip(&mut self, node: usize) -> Option<u64> {
        let slow = if self.now < self.slow_until { self.random.below(300) } else { 0 };
        let latency = self.latency() + slow;
        let cut = self.nodes[node].cut_until > self.now;
        let lost = self.random.per_mille(self.faults.lose);
        (!cut && !lost).then_some(latency)
    }

    /// Sends an append to the store; an answer comes in any case.
    pub fn send_append(&mut self, node: usize, conn: u64, room: usize, text: String, user: UserId) {
        let life = self.nodes[node].life;
        match self.store_trip(node) {
            Some(ms) => {
                let answered = true;
                self.after(ms, Event::Append { node, life, conn, room, text, user, answered });
            }
            None => self.fail_append(node, life, conn, room, text),
        }
    }

    fn fail_append(&mut self, node: usize, life: u32, conn: u64, room: usize, text: String) {
        let answer = Err(StoreError::Failed("no answer".into()));
        let own = Vec::new();
        self.after(STORE_TIMEOUT_MS, Event::Appended { node, life, conn, room, text, answer, own });
    }

    /// An append has reached the store.
    ///
    /// # Errors
    /// What the store may not do.
    #[allow(clippy::too_many_arguments)]
    pub fn append(
        &mut self,
        node: usize,
        life: u32,
        conn: u64,
        room: usize,
        text: String,
        user: UserId,
        answered: bool,
    ) -> Result<(), Violation> {
        let got: Arc<Mutex<Option<Answer>>> = Arc::default();
        let into = Arc::clone(&got);
        let keyed = self.sabotage != Some(Sabotage::NoKeys);
        let key =
            keyed.then(|| IdempotencyKey { user: Some(user.clone()), key: text.clone().into() });
        self.sequence += 1;
        let record = Record {
            id: MessageId(uuid::Uuid::from_u128(self.sequence.into())),
            room: room_name(room),
            user: Some(user),
            username: None,
            timestamp: Timestamp(self.now),
            body: Body::Message { content: text.clone().into(), data: None },
            trace: None,
        };
        let done = Box::new(move |answer| *into.lock() = Some(answer));
        self.history.append(Append { record, key, done });
        let own = self.spread()?;
        let answer = got.lock().take().ok_or("the store gave no answer to an append")?;
        if !answered {
            return Ok(());
        }
        match self.store_trip(node) {
            Some(ms) => {
                self.after(ms, Event::Appended { node, life, conn, room, text, answer, own });
            }
            None => self.fail_append(node, life, conn, room, text),
        }
        Ok(())
    }

    /// Tells the nodes what is stored.
    fn spread(&mut self) -> Result<Vec<Arc<Stored>>, Violation> {
        let records = std::mem::take(&mut *self.outbox.0.lock());
        for stored in &records {
            self.truth.stored(stored)?;
            for node in 0..NODES {
                self.tell_node(node, stored);
            }
        }
        Ok(records)
    }

    fn tell_node(&mut self, node: usize, stored: &Arc<Stored>) {
        let to = &self.nodes[node];
        let (life, cut) = (to.life, to.cut_until > self.now);
        let (link, hears) = match &to.bridge {
            Some(bridge) => (bridge.link, bridge.is_subscribed(&stored.record.room)),
            None => (0, to.relay.is_occupied(&stored.record.room)),
        };
        if !to.up || cut || !hears {
            return;
        }
        if self.random.per_mille(self.faults.drop) {
            return;
        }
        let copies = 1 + usize::from(self.random.per_mille(self.faults.repeat));
        for _ in 0..copies {
            let late = self.random.per_mille(self.faults.reorder);
            let arrives = self.now + self.latency() + if late { self.random.below(300) } else { 0 };
            let channel = &mut self.nodes[node].channel_at;
            if !late {
                *channel = (*channel).max(arrives);
            }
            let at = if late { arrives } else { *channel };
            self.at(at, Event::Deliver { node, life, link, stored: Arc::clone(stored) });
        }
    }

    /// Asks the store for a page; an answer comes in any case.
    pub fn send_read(&mut self, node: usize, purpose: Purpose) {
        let life = self.nodes[node].life;
        match self.store_trip(node) {
            Some(ms) => self.after(ms, Event::Read { node, life, purpose }),
            None => self.fail_read(node, life, purpose),
        }
    }

    fn fail_read(&mut self, node: usize, life: u32, purpose: Purpose) {
        let page = Err(StoreError::Failed("no answer".into()));
        self.after(STORE_TIMEOUT_MS, Event::Page { node, life, purpose, page });
    }

    /// A read has reached the store.
    pub fn read(&mut self, node: usize, life: u32, purpose: Purpose) {
        let (room, range, limit) = match &purpose {
            Purpose::Start { seat, since: Some(since) } => {
                (seat.room, Range::After(since.offset), PAGE)
            }
            // Only its head is looked at.
            Purpose::Start { seat, since: None } => (seat.room, Range::Newest, 1),
            Purpose::Newest { seat } => (seat.room, Range::Newest, HEAD_PAGE),
            Purpose::CatchUp { seat, have, .. } => (seat.room, Range::After(have.offset), PAGE),
            Purpose::Anew { room, .. } => (*room, Range::Newest, HEAD_PAGE),
            Purpose::Repair { room, after, .. } => (*room, Range::After(*after), PAGE),
            Purpose::Cover { room, after, .. } => (*room, Range::After(*after), 1),
            Purpose::Head { room } | Purpose::Check { room, .. } => (*room, Range::Newest, 1),
            Purpose::Above { room, above } => (*room, Range::After(*above), PAGE),
            Purpose::Over { room, .. } | Purpose::Reset { room } => {
                (*room, Range::Newest, HEAD_PAGE)
            }
        };
        let page = self.history.read(&room_name(room), range, limit).now_or_never();
        let page = page.unwrap_or_else(|| Err(StoreError::Failed("it waits".into())));
        match self.store_trip(node) {
            Some(ms) => self.after(ms, Event::Page { node, life, purpose, page }),
            None => self.fail_read(node, life, purpose),
        }
    }
}
