//! Spans to an OTLP receiver over HTTP (OpenTelemetry Protocol 1.x, section OTLP/HTTP, protobuf).
//! Batches, their bound and their retries are those of the OpenTelemetry SDK; requests are made by
//! awc, which the hub has anyway. `OTEL_BSP_*` and `OTEL_EXPORTER_OTLP_HEADERS` count too.

use std::{sync::Arc, thread, time::Duration};

use async_trait::async_trait;
use awc::{Client, Connector};
use hubbub_actors::spans::{self, Fact, Span, SpanKind, SpanSink};
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId, Value,
    trace::{self, SpanContext, Status, TraceState},
};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchSpanProcessor, SpanData, SpanProcessor},
};
use tokio::sync::{mpsc, oneshot};

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last spans may take at the end of the process.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// Largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Sends spans in batches from a thread of its own.
pub struct Exporter {
    processor: Arc<BatchSpanProcessor>,
}

impl Exporter {
    /// Sends every span of this process to `url`, as the service `hubbub` with the instance `node`.
    pub fn start(url: &str, node: &str) -> Result<Self, String> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Requests::start()?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(url)
            .with_timeout(TIMEOUT)
            .build()
            .map_err(|e| e.to_string())?;
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        processor.set_resource(
            &Resource::builder()
                .with_service_name("hubbub")
                .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
                .with_attribute(KeyValue::new("service.instance.id", node.to_owned()))
                .build(),
        );
        let processor = Arc::new(processor);
        let scope = InstrumentationScope::builder("hubbub").build();
        if !spans::install(Box::new(Sink { processor: processor.clone(), scope })) {
            return Err("spans of this process go somewhere else already".to_owned());
        }
        Ok(Self { processor })
    }

    /// Sends what waits. What does not leave in time is lost.
    pub async fn close(self) {
        let processor = self.processor;
        let closed = move || processor.shutdown_with_timeout(CLOSE_WITHIN);
        if let Ok(Err(e)) = actix_web::rt::task::spawn_blocking(closed).await {
            log::warn!(error:% = e; "the last spans could not be sent");
        }
    }
}

struct Sink {
    processor: Arc<BatchSpanProcessor>,
    scope: InstrumentationScope,
}

impl SpanSink for Sink {
    /// Never waits: beyond the bound of the queue (2048, `OTEL_BSP_MAX_QUEUE_SIZE`) spans are dropped.
    fn finished(&self, span: Span) {
        let Span { context, parent, name, kind, facts, error, .. } = span;
        let attributes = facts.into_iter().map(|(name, fact)| {
            let value = match fact {
                Fact::Text(text) => Value::from(text),
                Fact::Number(number) => Value::from(number),
                Fact::Flag(flag) => Value::from(flag),
            };
            KeyValue::new(name, value)
        });
        self.processor.on_end(SpanData {
            span_context: SpanContext::new(
                TraceId::from(context.trace_id),
                SpanId::from(context.span_id),
                TraceFlags::new(context.flags),
                false,
                TraceState::NONE,
            ),
            parent_span_id: SpanId::from(parent),
            parent_span_is_remote: span.parent_is_remote,
            span_kind: match kind {
                SpanKind::Server => trace::SpanKind::Server,
                SpanKind::Internal => trace::SpanKind::Internal,
            },
            name: name.into(),
            start_time: span.start,
            end_time: span.end,
            attributes: attributes.collect(),
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: error.map_or(Status::Unset, Status::error),
            instrumentation_scope: self.scope.clone(),
        });
    }
}

type Answer = Result<Response<Bytes>, HttpError>;

/// A request and where its answer goes.
type Job = (Request<Bytes>, oneshot::Sender<Answer>);

/// Makes the requests of the exporter, one at a time, on a thread where awc can run.
#[derive(Debug)]
struct Requests(mpsc::Sender<Job>);

impl Requests {
    fn start() -> Result<Self, String> {
        // Refused only if a provider has been chosen before, which does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (sender, mut jobs) = mpsc::channel::<Job>(1);
        let work = move || async move {
            let connector = Connector::new().timeout(TIMEOUT);
            let client = Client::builder()
                .connector(connector)
                .timeout(TIMEOUT)
                .disable_redirects()
                .finish();
            while let Some((request, answer)) = jobs.recv().await {
                let result = send(&client, request).await;
                if let Err(error) = &result {
                    log::warn!(error:%; "spans could not be sent");
                }
                // Whoever asked may have given up.
                let _ = answer.send(result);
            }
        };
        thread::Builder::new()
            .name("otlp".to_owned())
            .spawn(move || actix_web::rt::System::new().block_on(work()))
            .map_err(|e| format!("cannot start its thread: {e}"))?;
        Ok(Self(sender))
    }
}

#[async_trait]
impl HttpClient for Requests {
    async fn send_bytes(&self, request: Request<Bytes>) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.0.send((request, answer)).await.map_err(|_| "the exporter has ended")?;
        answered.await?
    }
}

async fn send(client: &Client, request: Request<Bytes>) -> Answer {
    let (head, body) = request.into_parts();
    let mut asked = client.post(head.uri.to_string());
    for (name, value) in &head.headers {
        asked = asked.append_header((name.as_str(), value.as_bytes()));
    }
    let mut answer = asked.send_body(body).await.map_err(|e| e.to_string())?;
    let status = answer.status();
    if !status.is_success() {
        // Said here too: the SDK tells nobody.
        log::warn!(status = status.as_u16(); "the receiver refused spans");
    }
    let mut made = Response::builder().status(status.as_u16());
    for (name, value) in answer.headers() {
        made = made.header(name.as_str(), value.as_bytes());
    }
    let body = answer.body().limit(MAX_ANSWER_BYTES).await.map_err(|e| e.to_string())?;
    Ok(made.body(body)?)
}
