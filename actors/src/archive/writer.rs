//! Moves messages from the backlog into the database, again and again until they
//! are there.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    Settings,
    backlog::{Backlog, Place, Waiting},
    entry::Row,
    metrics::ArchiveMetrics,
    postgres::{Database, DatabaseError},
};

/// About how many bytes are written at once.
const BATCH_BYTES: usize = 4 << 20;
/// Pauses after a failure: they double.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest of them.
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// Time between two looks at the whole backlog, if there are few streams.
const LOOK: Duration = Duration::from_secs(1);
/// And how much longer for each stream.
const LOOK_PER_PLACE: Duration = Duration::from_millis(2);
/// Something that has waited so long was not noticed by whoever stored it.
const LEFT_MS: u64 = 2000;
/// Looks after which processes that are gone are forgotten.
const TIDY: u64 = 300;
/// Lag above which the log says so.
const LATE_MS: u64 = 60_000;
/// How long the last messages may take at the end.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// What the two tasks share.
#[derive(Clone)]
pub(super) struct Writer {
    pub backlog: Backlog,
    pub database: Arc<Database>,
    pub metrics: ArchiveMetrics,
    pub settings: Settings,
}

/// What is written at once: the rows, and where each part of them comes from.
#[derive(Default)]
struct Batch {
    rows: Vec<Row>,
    bytes: usize,
    parts: Vec<(Place, Vec<Vec<u8>>)>,
}

impl Writer {
    /// Writes until told to stop; then once more, what can be written soon.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.write_on() => {}
        }
        let rest = async {
            while let Some(batch) = self.collect().await
                && self.store(&batch).await.is_ok()
            {}
        };
        // What is left is written by another node, or by this one when it is back.
        let _ = tokio::time::timeout(LAST_WRITE, rest).await;
    }

    async fn write_on(&self) {
        let mut pause = FIRST_PAUSE;
        let mut away: Option<Instant> = None;
        // Known before there is anything to write, so that an operator sees it.
        let mut unwritten: Option<Batch> = Some(Batch::default());
        loop {
            if unwritten.is_none() {
                self.backlog.woken().await;
                tokio::time::sleep(self.settings.batch_wait).await;
                unwritten = self.collect().await;
            }
            let Some(batch) = &unwritten else { continue };
            match self.store(batch).await {
                Ok(()) => {
                    if let Some(since) = away.take() {
                        let away_ms = since.elapsed().as_millis() as u64;
                        log::info!(away_ms; "the archive's database is there");
                    }
                    self.metrics.up.set(1);
                    (pause, unwritten) = (FIRST_PAUSE, None);
                }
                Err(e) => {
                    self.metrics.up.set(0);
                    self.metrics.failures.with_label_values(&[e.code()]).inc();
                    if away.is_none() {
                        away = Some(Instant::now());
                        log::warn!(trouble = e.code(), error:% = e;
                            "the archive's database does not take messages; they wait in Redis");
                    }
                    tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
    }

    /// Takes what waits, from one stream after the other; none if nothing does.
    async fn collect(&self) -> Option<Batch> {
        let mut batch = Batch::default();
        let max = self.settings.batch_max;
        while batch.rows.len() < max && batch.bytes < BATCH_BYTES {
            let Some(place) = self.backlog.next() else { break };
            let (limit, bytes) = (max - batch.rows.len(), BATCH_BYTES - batch.bytes);
            match self.backlog.take(place, limit, bytes, self.settings.takeover).await {
                Ok(taken) if taken.ids.is_empty() => {}
                Ok(taken) => {
                    // Perhaps there is more.
                    self.backlog.mark(place);
                    self.metrics.taken_over.inc_by(taken.taken_over);
                    if taken.strange > 0 {
                        self.metrics.strange.inc_by(taken.strange);
                        log::error!(entries = taken.strange;
                            "what is no message was dropped from the archive's backlog");
                    }
                    batch.bytes += taken.rows.iter().map(Row::size).sum::<usize>();
                    batch.rows.extend(taken.rows);
                    batch.parts.push((place, taken.ids));
                }
                Err(e) => {
                    self.backlog.mark(place);
                    self.metrics.failures.with_label_values(&["redis"]).inc();
                    log::debug!(error:% = e; "the archive's backlog cannot be read, tried again");
                    tokio::time::sleep(FIRST_PAUSE).await;
                    self.backlog.link_up().await;
                    break;
                }
            }
        }
        (!batch.parts.is_empty()).then_some(batch)
    }

    /// Writes a batch, then takes it out of the backlog.
    async fn store(&self, batch: &Batch) -> Result<(), DatabaseError> {
        self.database.prepare().await?;
        if !batch.rows.is_empty() {
            let began = Instant::now();
            let written = self.database.write(&batch.rows).await?;
            self.metrics.seconds.observe(began.elapsed().as_secs_f64());
            self.metrics.written.inc_by(written);
            self.metrics.repeated.inc_by((batch.rows.len() as u64).saturating_sub(written));
        }
        for (place, ids) in &batch.parts {
            if let Err(e) = self.backlog.written(*place, ids).await {
                // They are taken over later, and found to be written.
                self.metrics.failures.with_label_values(&["redis"]).inc();
                log::debug!(error:% = e; "what is archived stays in the backlog for now");
            }
        }
        Ok(())
    }

    /// Looks at the whole backlog now and then: says how it stands, and has what was
    /// left behind written.
    pub(super) async fn look_on(self, mut stop: watch::Receiver<bool>) {
        let looking = async {
            let mut late = false;
            for round in 0_u64.. {
                let places = self.look_at_all(round % TIDY == TIDY - 1, &mut late).await;
                tokio::time::sleep(LOOK + LOOK_PER_PLACE * places).await;
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = looking => {}
        }
    }

    async fn look_at_all(&self, tidy: bool, late: &mut bool) -> u32 {
        let failed = |e: &crate::redis::LinkError| {
            log::debug!(error:% = e; "the archive's backlog cannot be looked at");
        };
        let places = match self.backlog.places().await {
            Ok(places) => places,
            Err(e) => {
                failed(&e);
                return 0;
            }
        };
        let mut all = Waiting::default();
        for place in &places {
            match self.backlog.look(*place, tidy).await {
                Ok(here) => {
                    all.messages += here.messages;
                    all.oldest_ms = all.oldest_ms.max(here.oldest_ms);
                    if here.messages > 0 && here.oldest_ms >= LEFT_MS {
                        self.backlog.mark(*place);
                    }
                }
                Err(e) => {
                    failed(&e);
                    return places.len() as u32;
                }
            }
        }
        self.metrics.backlog.set(i64::try_from(all.messages).unwrap_or(i64::MAX));
        self.metrics.lag.set(all.oldest_ms as f64 / 1000.0);
        let is_late = all.oldest_ms >= LATE_MS;
        if is_late && !*late {
            log::warn!(messages = all.messages, oldest_s = all.oldest_ms / 1000,
                most = self.settings.backlog_max;
                "the archive is behind; when its backlog is full, publishes to archived rooms are \
                 refused");
        } else if *late && !is_late {
            log::info!(messages = all.messages; "the archive has caught up");
        }
        *late = is_late;
        places.len() as u32
    }
}
