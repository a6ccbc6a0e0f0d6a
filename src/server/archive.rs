//! From the configuration to the archive.

use std::time::Duration;

use hubbub_actors::{
    archive::{Archive, ArchiveMetrics, ArchivedRooms, Settings, postgres::Address},
    redis::RedisLink,
};
use prometheus::Registry;

use crate::config::Config;

/// Where the archive's database is; none if none is configured. Fails with a sentence
/// that holds no password.
pub fn address(config: &Config) -> Result<Option<Address>, String> {
    let archive = &config.archive;
    let Some(url) = &archive.url else { return Ok(None) };
    let authority = match &archive.tls_ca {
        None => None,
        Some(path) => Some(
            std::fs::read(path)
                .map_err(|e| format!("`archive.tls_ca`: cannot read {}: {e}", path.display()))?,
        ),
    };
    let timeout = Duration::from_millis(archive.timeout_ms);
    Address::parse(url.expose(), authority.as_deref(), timeout)
        .map(Some)
        .map_err(|e| format!("`archive.url`: {e}"))
}

/// Starts the archive, if one is configured. That its database is away is no failure.
/// Fails with a sentence.
pub fn start(
    config: &Config,
    link: &RedisLink,
    registry: &Registry,
) -> Result<Option<Archive>, String> {
    let Some(address) = address(config)? else { return Ok(None) };
    let archive = &config.archive;
    let settings = Settings {
        rooms: ArchivedRooms::new(&archive.rooms),
        timeout: Duration::from_millis(archive.timeout_ms),
        batch_max: archive.batch_max,
        batch_wait: Duration::from_millis(archive.batch_wait_ms),
        backlog_max: archive.backlog_max,
        takeover: Duration::from_millis(archive.takeover_ms),
    };
    let metrics = ArchiveMetrics::new(registry).map_err(|e| format!("metrics: {e}"))?;
    Archive::start(link.clone(), address, settings, metrics).map(Some)
}
