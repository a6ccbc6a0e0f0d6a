//! Posts what waits in the queue, one request at a time and in order. What the backend does not
//! accept stays in the queue and is posted again.

use std::time::{Duration, Instant};

use actix::Arbiter;
use awc::{
    Client,
    http::{StatusCode, header},
};
use hubbub_actors::{
    clock::Clock,
    hooks::{
        HookMetrics,
        queue::{Batch, HookQueue},
    },
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    backoff::Backoff,
    signature::{HEADER, Signer},
};
use crate::{
    config::{Config, Secret, ServiceUrl},
    webhook::{new_client, split},
};

/// About the most bytes of events in one request; one event may have more.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Most bytes of an answer that are read, so that its connection can be used again.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Why the backend has not accepted a request; for logs.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no answer in time")]
    TimedOut,
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    #[error("answered {0}")]
    Refused(StatusCode, Option<Duration>),
    #[error("cannot be written as JSON: {0}")]
    Body(#[from] serde_json::Error),
}

/// Sends what a queue has.
pub(super) struct Sender {
    queue: HookQueue,
    metrics: HookMetrics,
    clock: Clock,
    signer: Signer,
    node: String,
    uri: String,
    /// User and password.
    basic: Option<(String, String)>,
    /// The address without its password.
    shown: String,
    timeout: Duration,
    batch_max: usize,
    retry_max: Duration,
}

/// One request's body.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    node_id: &'a str,
    queue_id: &'a str,
    events: Vec<&'a RawValue>,
}

impl Sender {
    /// A sender by the configuration. Fails with a sentence.
    pub(super) fn new(
        config: &Config,
        url: &ServiceUrl,
        secret: &Secret,
        queue: HookQueue,
        metrics: HookMetrics,
        clock: Clock,
    ) -> Result<Self, String> {
        let (uri, basic) = split(url);
        let hooks = &config.webhooks;
        Ok(Self {
            queue,
            metrics,
            clock,
            signer: Signer::new(secret)?,
            node: config.node.id.clone(),
            uri,
            basic,
            shown: url.to_string(),
            timeout: Duration::from_millis(hooks.timeout_ms),
            batch_max: hooks.batch_max,
            retry_max: Duration::from_millis(hooks.retry_max_ms),
        })
    }

    /// Sends on a thread of its own until the queue ends.
    pub(super) fn start(self) {
        // Fails if the process has chosen one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Arbiter::new().spawn_fn(|| drop(actix_rt::spawn(self.run())));
    }

    async fn run(self) {
        let client = new_client(1);
        let mut backoff = Backoff::new(self.retry_max);
        // Less for a while after the backend has found a request too large.
        let mut most = self.batch_max;
        // Failures since something was accepted.
        let mut failures = 0_u64;
        while let Some(batch) = self.queue.peek(most, MAX_BODY_BYTES).await {
            let Some(last) = batch.events.last().map(|event| event.seq) else {
                if batch.last {
                    self.queue.finish();
                } else {
                    self.queue.news().await;
                }
                continue;
            };
            let count = batch.events.len();
            match self.post(&client, &batch).await {
                Ok(()) => {
                    self.accepted(&batch);
                    // If that cannot be noted they are sent again.
                    self.queue.sent(last).await;
                    if failures > 0 {
                        log::info!(url = self.shown.as_str(), failures; "the webhook endpoint answers again");
                    }
                    (failures, most) = (0, (most * 2).min(self.batch_max));
                    backoff.reset();
                }
                Err(failure) => {
                    self.failed(&failure, failures, count);
                    failures += 1;
                    if batch.last {
                        // The node ends: what waits is for the next start.
                        self.queue.finish();
                        continue;
                    }
                    let (mut asked, mut at_once) = (None, false);
                    if let Failure::Refused(status, retry_after) = &failure {
                        asked = *retry_after;
                        if *status == StatusCode::PAYLOAD_TOO_LARGE && count > 1 {
                            most = (count / 2).max(1);
                            at_once = true;
                        }
                    }
                    if !at_once {
                        self.pause(backoff.pause(rand::random(), asked)).await;
                    }
                }
            }
        }
    }

    /// Waits, but no longer than the node lives.
    async fn pause(&self, pause: Duration) {
        let end = tokio::time::Instant::now() + pause;
        while tokio::time::Instant::now() < end {
            tokio::select! {
                () = tokio::time::sleep_until(end) => return,
                () = self.queue.news() => {}
            }
            // News may be that the node ends.
            if self.queue.peek(0, 0).await.is_none_or(|batch| batch.last) {
                return;
            }
        }
    }

    fn accepted(&self, batch: &Batch) {
        let now = self.clock.wall();
        self.metrics.requests.with_label_values(&["accepted"]).inc();
        self.metrics.sent.inc_by(batch.events.len() as u64);
        for event in &batch.events {
            let waited = now.saturating_sub(event.queued) as f64 / 1000.0;
            self.metrics.delay_seconds.observe(waited);
        }
    }

    /// Counts it; the log says it at the first of a row.
    fn failed(&self, failure: &Failure, failures: u64, events: usize) {
        let result = match failure {
            Failure::Refused(..) => "refused",
            Failure::TimedOut | Failure::Unreachable(_) | Failure::Body(_) => "failed",
        };
        self.metrics.requests.with_label_values(&[result]).inc();
        if failures == 0 {
            log::warn!(
                url = self.shown.as_str(), events, reason = failure.to_string().as_str();
                "the webhook endpoint does not take events; they wait"
            );
        }
    }

    async fn post(&self, client: &Client, batch: &Batch) -> Result<(), Failure> {
        let events = batch.events.iter().map(|event| serde_json::from_str(&event.json));
        let body = serde_json::to_vec(&Body {
            node_id: &self.node,
            queue_id: self.queue.id(),
            events: events.collect::<Result<_, _>>()?,
        })?;
        let began = Instant::now();
        let answer = tokio::time::timeout(self.timeout, self.exchange(client, body)).await;
        self.metrics.request_seconds.observe(began.elapsed().as_secs_f64());
        answer.unwrap_or(Err(Failure::TimedOut))
    }

    async fn exchange(&self, client: &Client, body: Vec<u8>) -> Result<(), Failure> {
        let mut request = client
            .post(&self.uri)
            .insert_header((header::CONTENT_TYPE, "application/json"))
            .insert_header((header::USER_AGENT, concat!("hubbub/", env!("CARGO_PKG_VERSION"))))
            .insert_header((HEADER, self.signer.sign(self.clock.wall() / 1000, &body)));
        if let Some((user, password)) = &self.basic {
            request = request.basic_auth(user, password);
        }
        let sent = request.send_body(body).await;
        let mut response = sent.map_err(|error| Failure::Unreachable(error.to_string()))?;
        let status = response.status();
        let retry_after = response.headers().get(header::RETRY_AFTER);
        let seconds = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        // What it says does not matter, only that it is read.
        let _ = response.body().limit(MAX_ANSWER_BYTES).await;
        match status.is_success() {
            true => Ok(()),
            false => Err(Failure::Refused(status, seconds.map(Duration::from_secs))),
        }
    }
}
