//! Asks another service who may join a room (`rooms.policy = "webhook"`).
//!
//! `POST rooms.webhook_url` with `{"userId","roomId","roles"}`; the answer 200 `{"allow":true}` or
//! `{"allow":false}` decides. Anything else, a redirect included, refuses with `unavailable`, and
//! so does an answer that is late. Decisions are kept for `rooms.webhook_cache_ms`, failures are
//! not. A user and password in the address become HTTP Basic (RFC 7617).

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use awc::{Client, Connector, http::StatusCode};
use hubbub_actors::{
    metrics::Metrics,
    session::Grants,
    shared::{Decision, RoomAuthorizer},
};
use hubbub_protocol::{
    error::HubError,
    id::{RoomName, UserId},
};
use parking_lot::Mutex;
use prometheus::{Histogram, IntCounter};
use serde::{Deserialize, Serialize};

use crate::config::{Rooms, ServiceUrl};

/// Decisions kept at a time; the oldest makes room.
const MAX_CACHED: usize = 10_000;
/// Questions under way at a time; more are refused.
const MAX_OUTSTANDING: usize = 256;
/// Largest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 4 * 1024;

/// Why the service gave no decision; for logs.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{MAX_OUTSTANDING} questions are under way")]
    Busy,
    #[error("no answer in time")]
    TimedOut,
    #[error("cannot be asked: {0}")]
    Unreachable(String),
    #[error("answered {0}")]
    Status(StatusCode),
    #[error("the answer is not {{\"allow\":true}} or {{\"allow\":false}}")]
    Answer,
}

/// Decides by asking. Cheap to share between threads; each thread that asks keeps connections of
/// its own.
pub struct Webhook {
    inner: Arc<Inner>,
}

struct Inner {
    uri: String,
    /// User and password.
    basic: Option<(String, String)>,
    /// The address without its password.
    shown: String,
    timeout: Duration,
    keep: Duration,
    cache: Mutex<Cache>,
    outstanding: AtomicUsize,
    counted: Counted,
}

/// How often and how long was asked.
struct Counted {
    seconds: Histogram,
    allowed: IntCounter,
    denied: IntCounter,
    failed: IntCounter,
    remembered: IntCounter,
}

impl Counted {
    fn new(metrics: &Metrics) -> Self {
        let result = |word| metrics.webhook_answers.with_label_values(&[word]);
        Self {
            seconds: metrics.webhook_seconds.clone(),
            allowed: result("allowed"),
            denied: result("denied"),
            failed: result("failed"),
            remembered: result("remembered"),
        }
    }
}

impl Webhook {
    /// Asks at `rooms.webhook_url`; without it, which no valid configuration with this policy
    /// is, every question is refused.
    pub fn new(rooms: &Rooms, metrics: &Metrics) -> Self {
        let url = rooms.webhook_url.clone().unwrap_or_else(|| ServiceUrl::new(""));
        // Fails if the process has chosen one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (uri, basic) = split(&url);
        Self {
            inner: Arc::new(Inner {
                uri,
                basic,
                shown: url.to_string(),
                timeout: Duration::from_millis(rooms.webhook_timeout_ms),
                keep: Duration::from_millis(rooms.webhook_cache_ms),
                cache: Mutex::default(),
                outstanding: AtomicUsize::new(0),
                counted: Counted::new(metrics),
            }),
        }
    }
}

impl RoomAuthorizer for Webhook {
    fn may_join(&self, user: &UserId, room: &RoomName, grants: &Grants) -> Decision {
        let question = Question {
            user_id: user.clone(),
            room_id: room.clone(),
            roles: grants.roles.as_slice().into(),
        };
        let inner = self.inner.clone();
        Box::pin(async move {
            if let Some(allow) = inner.cache.lock().get(&question, Instant::now()) {
                inner.counted.remembered.inc();
                return Ok(allow);
            }
            let asked = inner.counted.seconds.start_timer();
            let answer = inner.ask(&question).await;
            asked.observe_duration();
            match answer {
                Ok(allow) => {
                    let counted = &inner.counted;
                    (if allow { &counted.allowed } else { &counted.denied }).inc();
                    let until = Instant::now() + inner.keep;
                    inner.cache.lock().insert(question, allow, until);
                    Ok(allow)
                }
                Err(failure) => {
                    inner.counted.failed.inc();
                    log::warn!(
                        room = question.room_id.as_str(),
                        user = question.user_id.as_str(),
                        url = inner.shown.as_str(),
                        reason = failure.to_string().as_str();
                        "room webhook failed"
                    );
                    Err(HubError::unavailable("the room webhook did not answer"))
                }
            }
        })
    }
}

/// What is asked. Roles belong to it: two tokens of one user may have different ones.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
struct Question {
    user_id: UserId,
    room_id: RoomName,
    roles: Arc<[String]>,
}

#[derive(Deserialize)]
struct Answer {
    allow: bool,
}

/// A question under way; gone with it.
struct Turn<'a>(&'a AtomicUsize);

impl<'a> Turn<'a> {
    fn take(outstanding: &'a AtomicUsize) -> Option<Self> {
        outstanding
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                (n < MAX_OUTSTANDING).then_some(n + 1)
            })
            .ok()
            .map(|_| Self(outstanding))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The client of this thread, made when it is first needed.
fn client() -> Client {
    thread_local! {
        static CLIENT: Client = new_client(MAX_OUTSTANDING);
    }
    CLIENT.with(Clone::clone)
}

/// An HTTP client for services of the operator: at most so many connections, no redirects, and
/// times that the caller sees to.
pub(crate) fn new_client(connections: usize) -> Client {
    Client::builder()
        .connector(Connector::new().limit(connections))
        .disable_redirects()
        .disable_timeout()
        .finish()
}

impl Inner {
    async fn ask(&self, question: &Question) -> Result<bool, Failure> {
        let _turn = Turn::take(&self.outstanding).ok_or(Failure::Busy)?;
        actix_rt::time::timeout(self.timeout, self.exchange(question))
            .await
            .unwrap_or(Err(Failure::TimedOut))
    }

    async fn exchange(&self, question: &Question) -> Result<bool, Failure> {
        let mut request = client().post(&self.uri);
        if let Some((user, password)) = &self.basic {
            request = request.basic_auth(user, password);
        }
        let mut response = request
            .send_json(question)
            .await
            .map_err(|error| Failure::Unreachable(error.to_string()))?;
        if response.status() != StatusCode::OK {
            return Err(Failure::Status(response.status()));
        }
        let body = response.body().limit(MAX_ANSWER_BYTES).await.map_err(|_| Failure::Answer)?;
        serde_json::from_slice::<Answer>(&body).map(|a| a.allow).map_err(|_| Failure::Answer)
    }
}

/// Splits an address into one without user and password, and these.
pub(crate) fn split(url: &ServiceUrl) -> (String, Option<(String, String)>) {
    let whole = url.expose();
    let hosts = url.hosts();
    let known = whole.split_once("://").and_then(|(scheme, rest)| {
        let at = rest.find(&format!("@{hosts}"))?;
        let (userinfo, host) = (&rest[..at], &rest[at + 1..]);
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        Some((format!("{scheme}://{host}"), (user.to_owned(), password.to_owned())))
    });
    match known {
        Some((uri, basic)) => (uri, Some(basic)),
        None => (whole.to_owned(), None),
    }
}

/// Decisions and until when they are good. All are kept equally long, so that they end in the
/// order in which they came.
#[derive(Default)]
struct Cache {
    decisions: HashMap<Question, (bool, Instant)>,
    order: VecDeque<(Instant, Question)>,
}

impl Cache {
    fn get(&self, question: &Question, now: Instant) -> Option<bool> {
        let (allow, until) = self.decisions.get(question)?;
        (*until > now).then_some(*allow)
    }

    fn insert(&mut self, question: Question, allow: bool, until: Instant) {
        let now = Instant::now();
        if until <= now {
            return;
        }
        while self.order.front().is_some_and(|(end, _)| *end <= now)
            || self.order.len() >= MAX_CACHED
        {
            let Some((end, oldest)) = self.order.pop_front() else { break };
            // A newer decision on the same question stays.
            if self.decisions.get(&oldest).is_some_and(|(_, until)| *until == end) {
                self.decisions.remove(&oldest);
            }
        }
        self.order.push_back((until, question.clone()));
        self.decisions.insert(question, (allow, until));
    }
}

#[cfg(test)]
#[path = "webhook/tests.rs"]
mod tests;
