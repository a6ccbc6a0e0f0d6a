//! The way of one message as spans, for whoever asked to follow it. What records
//! them is installed once for the process, as with logs; without it, and for a
//! message that nobody follows, there is nothing to do.

use std::{borrow::Cow, sync::OnceLock, time::SystemTime};

use hubbub_protocol::{
    record::{Record, Stored},
    traceparent::TraceParent,
};

use crate::ports::{Appended, StoreError};

/// What a span covers, in terms of OpenTelemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A request from outside.
    Server,
    /// A step inside the hub.
    Internal,
}

/// A fact beside a span. Never what users write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
}

/// One step of the way of a message, finished.
#[derive(Clone, Debug)]
pub struct Span {
    /// The trace, this span, the flags.
    pub context: TraceParent,
    /// The span to which it belongs.
    pub parent: u64,
    /// That one is of another process.
    pub parent_is_remote: bool,
    /// `publish`, `store` or `fan-out`.
    pub name: &'static str,
    /// What it covers.
    pub kind: SpanKind,
    /// When it began.
    pub start: SystemTime,
    /// When it ended.
    pub end: SystemTime,
    /// Names are those of docs/operations.md.
    pub facts: Vec<(&'static str, Fact)>,
    /// Why it failed, if it did.
    pub error: Option<Cow<'static, str>>,
}

/// Records spans. Called on the way of a message: must not wait.
pub trait SpanSink: Send + Sync + 'static {
    /// A step is over.
    fn finished(&self, span: Span);
}

static SINK: OnceLock<Box<dyn SpanSink>> = OnceLock::new();

/// From now on spans go to `sink`. The first one stays; says whether it is this.
pub fn install(sink: Box<dyn SpanSink>) -> bool {
    SINK.set(sink).is_ok()
}

/// A step under way; recorded when it is dropped.
#[derive(Debug)]
pub struct OpenSpan {
    /// What steps below this one are told.
    pub context: TraceParent,
    /// There until it is dropped.
    span: Option<Span>,
}

/// Begins a step below `parent`; none if nobody records it.
pub fn begin(parent: &TraceParent, name: &'static str, kind: SpanKind) -> Option<OpenSpan> {
    if !parent.is_sampled() || SINK.get().is_none() {
        return None;
    }
    let now = SystemTime::now();
    let context = TraceParent { span_id: rand::random::<u64>().max(1), ..*parent };
    let span = Span {
        context,
        parent: parent.span_id,
        parent_is_remote: false,
        name,
        kind,
        start: now,
        end: now,
        facts: Vec::new(),
        error: None,
    };
    Some(OpenSpan { context, span: Some(span) })
}

/// Begins the step from a record that was taken to the answer of the store.
pub fn store(record: &Record) -> Option<OpenSpan> {
    let mut span = begin(record.trace.as_deref()?, "store", SpanKind::Internal)?;
    span.fact("hubbub.room", record.room.as_str().into());
    span.fact("hubbub.message_id", Fact::Text(record.id.to_string()));
    Some(span)
}

/// Begins the step from a record that came to a worker to the queues of its members.
pub fn fan_out(stored: &Stored, worker: usize) -> Option<OpenSpan> {
    let record = &stored.record;
    let mut span = begin(record.trace.as_deref()?, "fan-out", SpanKind::Internal)?;
    span.fact("hubbub.room", record.room.as_str().into());
    span.fact("hubbub.message_id", Fact::Text(record.id.to_string()));
    span.fact("hubbub.offset", stored.position.offset.into());
    span.fact("hubbub.worker", (worker as u64).into());
    Some(span)
}

impl OpenSpan {
    /// The parent is a span of another process.
    pub fn remote_parent(mut self) -> Self {
        if let Some(span) = &mut self.span {
            span.parent_is_remote = true;
        }
        self
    }

    /// Adds a fact.
    pub fn fact(&mut self, name: &'static str, fact: Fact) {
        if let Some(span) = &mut self.span {
            span.facts.push((name, fact));
        }
    }

    /// It ended with this answer of the store.
    pub fn stored(&mut self, answer: &Result<Appended, StoreError>) {
        match answer {
            Ok(appended) => {
                self.fact("hubbub.offset", appended.position.offset.into());
                self.fact("hubbub.duplicate", appended.duplicate.into());
            }
            Err(e) => self.failed(e.to_string()),
        }
    }

    /// It failed.
    pub fn failed(&mut self, why: impl Into<Cow<'static, str>>) {
        if let Some(span) = &mut self.span {
            span.error = Some(why.into());
        }
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        if let (Some(mut span), Some(sink)) = (self.span.take(), SINK.get()) {
            span.end = SystemTime::now();
            sink.finished(span);
        }
    }
}

impl From<&str> for Fact {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Fact {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Fact {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    struct Kept(Arc<Mutex<Vec<Span>>>);

    impl SpanSink for Kept {
        fn finished(&self, span: Span) {
            self.0.lock().push(span);
        }
    }

    #[test]
    fn only_what_is_followed_is_recorded_and_steps_hang_together() {
        let parent = TraceParent { trace_id: 5, span_id: 6, flags: 1 };
        assert!(begin(&parent, "publish", SpanKind::Server).is_none(), "nobody records");
        let kept = Arc::new(Mutex::new(Vec::new()));
        assert!(install(Box::new(Kept(kept.clone()))));
        assert!(!install(Box::new(Kept(kept.clone()))), "the first one stays");
        assert!(begin(&TraceParent { flags: 2, ..parent }, "x", SpanKind::Server).is_none());
        let outer = begin(&parent, "publish", SpanKind::Server).unwrap().remote_parent();
        let context = outer.context;
        let mut inner = begin(&context, "store", SpanKind::Internal).unwrap();
        inner.fact("hubbub.offset", 7.into());
        inner.failed("disk full");
        drop(inner);
        drop(outer);
        let kept = kept.lock();
        let [inner, outer] = &kept[..] else { panic!("{kept:?}") };
        assert_eq!((inner.name, inner.parent), ("store", outer.context.span_id));
        assert_eq!((outer.name, outer.parent), ("publish", 6));
        assert_eq!((inner.context.trace_id, outer.context.trace_id), (5, 5));
        assert_ne!(inner.context.span_id, outer.context.span_id);
        assert_eq!((inner.parent_is_remote, outer.parent_is_remote), (false, true));
        assert_eq!(inner.facts, [("hubbub.offset", Fact::Number(7))]);
        assert_eq!(inner.error.as_deref(), Some("disk full"));
        assert!(outer.start <= inner.start && inner.end <= outer.end);
    }
}
