//! `/metrics`: Prometheus text, and the figures of the process.

use actix_web::{HttpResponse, web};
use hubbub_protocol::error::HubError;
use prometheus::{
    Encoder, Gauge, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    process_collector::ProcessCollector,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::Config;

use super::{
    error::{ApiError, Refusals},
    state::HttpState,
};

/// The figures that are read anew for each scrape.
#[derive(Clone)]
pub struct Figures {
    uptime: Gauge,
    users: IntGauge,
    draining: IntGauge,
}

impl Figures {
    /// Registers them with those of the process, of the build and of the configuration.
    pub(super) fn register(
        registry: &Registry,
        node: &str,
        config: &Config,
    ) -> prometheus::Result<Self> {
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let info = IntGaugeVec::new(
            Opts::new("hubbub_build_info", "Always 1; version and node are labels"),
            &["version", "node"],
        )?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION"), node]).set(1);
        registry.register(Box::new(info))?;
        let uptime = Gauge::new("hubbub_uptime_seconds", "How long the node runs")?;
        registry.register(Box::new(uptime.clone()))?;
        let users = IntGauge::new("hubbub_users", "Users with a session or in their grace")?;
        registry.register(Box::new(users.clone()))?;
        let draining = IntGauge::new("hubbub_draining", "1 while the node drains, else 0")?;
        registry.register(Box::new(draining.clone()))?;
        let limit = IntGaugeVec::new(
            Opts::new("hubbub_limit", "A bound from the configuration; 0: none"),
            &["key"],
        )?;
        for (key, bound) in [
            ("limits.max_connections", config.limits.max_connections),
            ("rooms.max_rooms", config.rooms.max_rooms),
            ("session.outbound_max_bytes", config.session.outbound_max_bytes),
            ("history.queue_max_messages", config.history.queue_max_messages),
            ("history.queue_max_bytes", config.history.queue_max_bytes),
        ] {
            limit.with_label_values(&[key]).set(i64::try_from(bound).unwrap_or(i64::MAX));
        }
        registry.register(Box::new(limit))?;
        Ok(Self { uptime, users, draining })
    }
}

/// Metrics as Prometheus text
#[utoipa::path(
    get, path = "/metrics", tag = "monitoring",
    responses((status = 200, description = "Prometheus text format 0.0.4", body = String,
               content_type = "text/plain"), Refusals)
)]
pub async fn prometheus(state: web::Data<HttpState>) -> Result<HttpResponse, ApiError> {
    let figures = state.figures();
    figures.uptime.set(state.hub.uptime().as_secs_f64());
    figures.draining.set(i64::from(state.hub.shared().is_draining()));
    // A tracker that is being restarted must not hide all other figures.
    if let Ok(users) = state.hub.user_count_here().await {
        figures.users.set(i64::try_from(users).unwrap_or(i64::MAX));
    }
    let encoder = TextEncoder::new();
    let mut text = Vec::with_capacity(16 * 1024);
    encoder.encode(&state.registry.gather(), &mut text).map_err(|error| {
        log::error!(error = error.to_string().as_str(); "metrics cannot be written");
        HubError::unavailable("the metrics cannot be written")
    })?;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}

/// Memory of the process, in bytes. What the system does not tell is left out.
#[derive(Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Memory {
    /// Resident now.
    #[serde(skip_serializing_if = "Option::is_none")]
    rss: Option<u64>,
    /// Most that ever was resident.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak: Option<u64>,
    /// Address space.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#virtual: Option<u64>,
}

/// Reads what the system says of this process (Linux, proc(5)).
pub(super) fn memory() -> Memory {
    std::fs::read_to_string("/proc/self/status").map_or_else(|_| Memory::default(), |s| parse(&s))
}

fn parse(status: &str) -> Memory {
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    };
    Memory { rss: bytes("VmRSS"), peak: bytes("VmHWM"), r#virtual: bytes("VmSize") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\thubbub\nVmSize:\t  2048 kB\nVmHWM:\t  12 kB\nVmRSS:\t       8 kB\n";
        let read = parse(status);
        assert_eq!(
            read,
            Memory { rss: Some(8192), peak: Some(12_288), r#virtual: Some(2_097_152) }
        );
        assert_eq!(parse("VmRSS: much\n"), Memory::default());
    }
}
