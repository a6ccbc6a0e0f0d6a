//! From the queue to Redis and back: one batch of a room at a time, sent again
//! until it is stored, refused, or too late.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hubbub_protocol::{
    id::{MessageId, RoomName},
    position::Position,
    record::Stored,
};

use super::{
    Inner, PUBLISH,
    queue::Pending,
    replies::{self, Outcome},
};
use crate::{
    archive::Slip,
    history::KEY_TTL_MS,
    ports::{Appended, StoreError},
    redis::{LinkError, Replicas, keys::RoomKeys, link::Backoff},
};

/// Longest pause before something that may pass by itself is tried again; the first
/// is 50 ms, and each is varied at random.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// A batch as the script wants it.
struct Request {
    names: Vec<String>,
    channel: String,
    /// The age of its key in milliseconds, its id, its bytes.
    items: Vec<(u64, MessageId, Bytes)>,
    /// Of an archived room: where its messages wait for the archive.
    slip: Option<Slip>,
}

/// What became of a batch.
enum Attempt {
    Done(Vec<(Position, Outcome)>),
    /// Perhaps later.
    Again(String),
    Refused(StoreError),
}

impl Inner {
    /// Stores what waits for a room until nothing does.
    pub(super) async fn drive(self: Arc<Self>, room: RoomName) {
        let keys = RoomKeys::new(self.link.prefix(), &room);
        let slip = self.backlog.as_ref().and_then(|backlog| backlog.slip(&room, &keys.state()));
        let mut last_failure = String::new();
        let mut backoff = Backoff::new(MAX_PAUSE);
        while let Some(batch) = self.queue.take(&room) {
            let batch = self.drop_late(batch, &last_failure);
            if batch.is_empty() {
                continue;
            }
            let began = Instant::now();
            let request = self.request(&keys, &batch, slip.clone());
            match self.send(request).await {
                Attempt::Done(outcomes) => {
                    // The next failure is another one: what comes is not late by this.
                    last_failure.clear();
                    backoff.reset();
                    let bytes = batch.iter().map(|p| p.bytes.len()).sum();
                    let records = batch.len();
                    self.finish(batch, outcomes);
                    self.observer.committed(records, bytes, began.elapsed().as_secs_f64());
                }
                Attempt::Refused(error) => self.refuse(batch, &error),
                Attempt::Again(why) => {
                    let deadline = batch.first().map(|p| p.deadline);
                    self.queue.put_back(&room, batch);
                    last_failure = why;
                    self.wait(deadline, backoff.pause()).await;
                }
            }
        }
    }

    /// The script's keys and what it is told of each record.
    fn request(&self, keys: &RoomKeys, batch: &[Pending], slip: Option<Slip>) -> Request {
        // A publish is sent again for as long as it may wait; twice that is enough
        // for a copy of it that Redis reads late.
        let own_key_ms = 2 * self.waiting.timeout.as_millis() as u64 + 30_000;
        let mut names = vec![keys.state(), keys.stream()];
        names.extend(batch.iter().map(|pending| match &pending.key {
            Some(key) => keys.client_key(key),
            None => keys.publish_key(pending.record.id),
        }));
        let items = batch.iter().map(|pending| {
            let age = if pending.key.is_some() { KEY_TTL_MS } else { own_key_ms };
            (age, pending.record.id, pending.bytes.clone())
        });
        let items = items.collect();
        names.extend(slip.as_ref().map(|slip| slip.key.clone()));
        Request { channel: keys.channel(), names, items, slip }
    }

    async fn send(&self, request: Request) -> Attempt {
        if let (Some(backlog), Some(slip)) = (&self.backlog, &request.slip)
            && let Err(e) = backlog.announce(slip).await
        {
            return Attempt::Again(e.to_string());
        }
        let arguments = |cmd: &mut redis::Cmd| {
            self.bounds(cmd);
            cmd.arg(self.link.publish_command()).arg(&request.channel);
            for (age, id, bytes) in &request.items {
                cmd.arg(age).arg(id.0.simple().to_string()).arg(bytes.as_ref());
            }
            if let Some(slip) = &request.slip {
                cmd.arg(slip.room.as_str()).arg(slip.max);
            }
        };
        let wanted = self.waiting.min_replicas;
        let answer = if wanted == 0 {
            self.link.script(&PUBLISH, &request.names, arguments).await.map(|a| (a, 0))
        } else {
            let replicas = Replicas { count: wanted, within: self.waiting.replicas_within };
            self.link.script_on_replicas(&PUBLISH, &request.names, arguments, replicas).await
        };
        let answer = match answer {
            Ok((answer, had)) if had >= wanted => answer,
            Ok((_, had)) => {
                return Attempt::Again(format!("{had} of {wanted} replicas have it"));
            }
            Err(LinkError::Refused { trouble, detail }) if !trouble.passes() => {
                log::error!(trouble:% = trouble, error:% = detail; "Redis refuses to store");
                return Attempt::Refused(StoreError::Failed(detail.to_string()));
            }
            Err(e) => return Attempt::Again(e.to_string()),
        };
        if let (Some(backlog), Some(slip)) = (&self.backlog, &request.slip) {
            backlog.stored(slip);
        }
        match replies::publish(&answer, request.items.len()) {
            Ok((epoch, outcomes)) => Attempt::Done(
                outcomes
                    .into_iter()
                    .map(|outcome| match outcome {
                        Outcome::Stored(offset) => (Position { epoch, offset }, outcome),
                        Outcome::Known(_, position) => (position, outcome),
                    })
                    .collect(),
            ),
            Err(e) => Attempt::Refused(e),
        }
    }

    /// Hands what was stored to the bus, then answers.
    fn finish(&self, batch: Vec<Pending>, outcomes: Vec<(Position, Outcome)>) {
        let mut stored = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        for (pending, (position, outcome)) in batch.into_iter().zip(outcomes) {
            let id = pending.record.id;
            // Known under its own id: an earlier attempt had stored it.
            let id = if let Outcome::Known(first, _) = outcome { first } else { id };
            let duplicate = id != pending.record.id;
            if !duplicate {
                stored.push(Arc::new(Stored { position, record: pending.record.clone() }));
            }
            answers.push((pending, Appended { id, position, duplicate }));
        }
        if !stored.is_empty()
            && catch_unwind(AssertUnwindSafe(|| self.bus.stored(&stored))).is_err()
        {
            log::error!("the bus panicked on stored messages");
        }
        for (pending, appended) in answers {
            self.answer(pending, Ok(appended));
        }
        self.told_queue();
    }

    fn refuse(&self, batch: Vec<Pending>, error: &StoreError) {
        self.observer.failed(batch.len());
        for pending in batch {
            self.answer(pending, Err(error.clone()));
        }
        self.told_queue();
    }

    fn answer(&self, pending: Pending, result: Result<Appended, StoreError>) {
        self.queue.finished(&pending);
        if catch_unwind(AssertUnwindSafe(|| pending.answer(result))).is_err() {
            log::error!("an answer to a publish panicked");
        }
    }

    /// Refuses what has waited too long.
    fn drop_late(&self, batch: Vec<Pending>, why: &str) -> Vec<Pending> {
        let now = Instant::now();
        // The first attempt is never too late, so that a slow hub still stores.
        let (late, rest): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|p| !why.is_empty() && p.deadline <= now);
        if !late.is_empty() {
            let waited = self.waiting.timeout.as_millis() as u64;
            log::warn!(publishes = late.len(), waited_ms = waited, error:% = why;
                "publishes were refused that had waited for Redis too long");
            self.refuse(late, &StoreError::Failed(why.to_owned()));
        }
        rest
    }

    /// Waits until another attempt makes sense, at most until a publish is late.
    async fn wait(&self, deadline: Option<Instant>, pause: Duration) {
        let mut state = self.link.state();
        let ready = async {
            tokio::time::sleep(pause).await;
            // The sender lives as long as the link.
            let _ = state.wait_for(|state| state.takes_commands()).await;
        };
        match deadline {
            Some(deadline) => {
                let _ = tokio::time::timeout_at(deadline.into(), ready).await;
            }
            None => ready.await,
        }
    }

    pub(super) fn told_queue(&self) {
        let (len, bytes) = self.queue.size();
        self.observer.queue(len, bytes);
        self.queue.told();
    }
}
