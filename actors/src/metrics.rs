//! What the actors count. The process registers these and adds its own.

use hubbub_protocol::{close::CloseCode, error::ErrorCode};
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::Collector, exponential_buckets,
};

/// The counters of one node. Every metric is named and explained in
/// docs/metrics.md.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Metrics {
    pub connections: IntGauge,
    pub transport_connections: IntGaugeVec,
    pub sessions: IntGauge,
    pub wire_sessions: IntGaugeVec,
    pub rooms: IntGauge,
    pub publishes: IntCounter,
    pub volatile: IntCounter,
    pub deliveries: IntCounter,
    pub encodings: IntCounterVec,
    pub acks: IntCounter,
    pub ack_seconds: Histogram,
    pub delivery_seconds: Histogram,
    pub store_seconds: Histogram,
    pub store_batch: Histogram,
    pub store_failures: IntCounter,
    pub store_unreadable: IntCounter,
    pub store_queue_messages: IntGauge,
    pub store_queue_bytes: IntGauge,
    pub received_frames: IntCounter,
    pub received_bytes: IntCounter,
    pub outbound_bytes: IntCounter,
    pub outbound_queue_bytes: IntGauge,
    /// Compressed messages, by direction.
    pub compressed: IntCounterVec,
    /// Bytes they were shorter by, by direction.
    pub compression_saved: IntCounterVec,
    pub conflated: IntCounter,
    pub dropped: IntCounterVec,
    pub closed: IntCounterVec,
    /// Sessions that clients asked back, by what became of it.
    pub recoveries: IntCounterVec,
    /// Receipts, by what became of them.
    pub receipts: IntCounterVec,
    pub refused: IntCounterVec,
    pub errors: IntCounterVec,
    pub panics: IntCounterVec,
    pub token_refusals: IntCounterVec,
    pub webhook_seconds: Histogram,
    pub webhook_answers: IntCounterVec,
}

struct Register<'a>(&'a Registry);

impl Register<'_> {
    fn add<C: Collector + Clone + 'static>(
        &self,
        made: prometheus::Result<C>,
    ) -> prometheus::Result<C> {
        let collector = made?;
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.add(IntCounter::new(name, help))
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.add(IntGauge::new(name, help))
    }

    /// A counter by one label; the values known beforehand are there from the
    /// start, so that a rate can be taken of their first increase.
    fn by(
        &self,
        label: &str,
        values: &[&str],
        name: &str,
        help: &str,
    ) -> prometheus::Result<IntCounterVec> {
        let counters = self.add(IntCounterVec::new(Opts::new(name, help), &[label]))?;
        for value in values {
            counters.get_metric_with_label_values(&[value])?;
        }
        Ok(counters)
    }

    /// A gauge by one label, see [`by`](Self::by).
    fn gauge_by(
        &self,
        label: &str,
        values: &[&str],
        name: &str,
        help: &str,
    ) -> prometheus::Result<IntGaugeVec> {
        let gauges = self.add(IntGaugeVec::new(Opts::new(name, help), &[label]))?;
        for value in values {
            gauges.get_metric_with_label_values(&[value])?;
        }
        Ok(gauges)
    }

    fn seconds(&self, name: &str, help: &str) -> prometheus::Result<Histogram> {
        // 50 us to 13 s.
        let opts = HistogramOpts::new(name, help).buckets(exponential_buckets(50e-6, 2.0, 19)?);
        self.add(Histogram::with_opts(opts))
    }
}

impl Metrics {
    /// Makes the metrics and registers them. Fails if one of the names is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let r = Register(registry);
        let mut closed: Vec<_> = CloseCode::ALL.map(CloseCode::reason).into();
        closed.extend(["client_gone", "stalled"]);
        let codes = ErrorCode::ALL.map(ErrorCode::as_str);
        Ok(Self {
            connections: r.gauge("hubbub_connections", "Open client connections")?,
            transport_connections: r.gauge_by(
                "transport",
                &["websocket", "polling"],
                "hubbub_transport_connections",
                "Open client connections, by transport",
            )?,
            sessions: r.gauge("hubbub_sessions", "Authenticated sessions")?,
            wire_sessions: r.gauge_by(
                "wire",
                &["json", "socketio"],
                "hubbub_wire_sessions",
                "Authenticated sessions, by wire",
            )?,
            rooms: r.gauge("hubbub_rooms", "Rooms with a member")?,
            publishes: r.counter("hubbub_publishes_total", "Durable publishes taken")?,
            volatile: r.counter("hubbub_volatile_total", "Volatile events taken")?,
            deliveries: r.counter("hubbub_deliveries_total", "Frames queued for a member")?,
            encodings: r.add(IntCounterVec::new(
                Opts::new(
                    "hubbub_encodings_total",
                    "Renderings of an event, by wire and vocabulary; one per broadcast and worker, \
                     however many members",
                ),
                &["wire", "vocabulary"],
            ))?,
            acks: r.counter("hubbub_acks_total", "Durable publishes acknowledged")?,
            ack_seconds: r.seconds(
                "hubbub_ack_seconds",
                "From taking a durable publish to queueing its acknowledgement",
            )?,
            delivery_seconds: r.seconds(
                "hubbub_delivery_seconds",
                "From the timestamp of a stored record to queueing it for the members of a worker",
            )?,
            store_seconds: r.seconds("hubbub_store_seconds", "One commit of the history store")?,
            store_batch: r.add(Histogram::with_opts(
                HistogramOpts::new("hubbub_store_batch_messages", "Messages per commit")
                    .buckets(exponential_buckets(1.0, 2.0, 11)?),
            ))?,
            store_failures: r.counter(
                "hubbub_store_failures_total",
                "Publishes that the history store could not keep",
            )?,

            store_unreadable: r.counter(
                "hubbub_store_unreadable_total",
                "Stored records that cannot be read and are skipped",
            )?,            store_queue_messages: r
                .gauge("hubbub_store_queue_messages", "Messages that wait for the store")?,
            store_queue_bytes: r
                .gauge("hubbub_store_queue_bytes", "Bytes that wait for the store")?,
            received_frames: r.counter("hubbub_received_frames_total", "Frames from clients")?,
            received_bytes: r.counter("hubbub_received_bytes_total", "Bytes from clients")?,
            outbound_bytes: r
                .counter("hubbub_outbound_bytes_total", "Bytes that clients' sockets have taken")?,
            outbound_queue_bytes: r.gauge(
                "hubbub_outbound_queue_bytes",
                "Bytes that wait for clients that do not take them at once",
            )?,
            compressed: r.by(
                "direction",
                &["in", "out"],
                "hubbub_compressed_messages_total",
                "Compressed messages from clients (in) and handed to clients (out)",
            )?,
            compression_saved: r.by(
                "direction",
                &["in", "out"],
                "hubbub_compression_saved_bytes_total",
                "Bytes by which compressed messages were shorter",
            )?,
            conflated: r.counter(
                "hubbub_conflated_total",
                "Volatile events that took the place of an older one for a slow member",
            )?,
            dropped: r.by(
                "reason",
                &["volatile", "oldest", "congested"],
                "hubbub_dropped_total",
                "Frames not delivered to a slow member, by reason",
            )?,
            recoveries: r.by(
                "result",
                &["recovered", "refused"],
                "hubbub_recoveries_total",
                "Sessions that clients asked back: recovered, or refused because it could not be proved \
                 that nothing is missing",
            )?,
            receipts: r.by(
                "what",
                &["delivered", "read", "untracked"],
                "hubbub_receipts_total",
                "Receipts kept: users who got further (delivered), who read further (read), and \
                 those not kept because the room has as many as it may (untracked)",
            )?,
            closed: r.by(
                "reason",
                &closed,
                "hubbub_closed_total",
                "Connections closed, by reason",
            )?,
            refused: r.by(
                "reason",
                &[
                    "unauthorized",
                    "banned",
                    "origin",
                    "connections",
                    "connections_per_ip",
                    "draining",
                    "bad_handshake",
                    "not_found",
                ],
                "hubbub_refused_total",
                "Connections refused at the handshake, by reason",
            )?,
            errors: r.by(
                "code",
                &codes,
                "hubbub_errors_total",
                "Requests answered with an error, by code",
            )?,
            panics: r.by(
                "actor",
                &["session", "room_server", "presence_tracker", "heart"],
                "hubbub_panics_total",
                "Panics that were contained, by actor",
            )?,
            token_refusals: r.add(IntCounterVec::new(
                Opts::new("hubbub_token_refusals_total", "Tokens that were refused, by reason"),
                &["reason"],
            ))?,
            webhook_seconds: r.seconds(
                "hubbub_webhook_seconds",
                "One question to the room webhook, answered or not",
            )?,
            webhook_answers: r.by(
                "result",
                &["allowed", "denied", "failed", "remembered"],
                "hubbub_webhook_answers_total",
                "Joins that the room webhook decided, by result",
            )?,
        })
    }
}
