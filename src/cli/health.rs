//! The verb `health`: asks the node on this machine how it is. For the health checks of containers.

use std::time::Duration;

use clap::Args;

use super::{
    Failure,
    probe::{self, Probe, Trust},
};
use crate::config::Config;

/// Whom to ask, and what.
#[derive(Debug, Args)]
pub(super) struct HealthArguments {
    /// Ask at this address instead of server.listen, such as http://127.0.0.1:8080
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Fail also while the node takes no new connections (/readyz instead of /healthz)
    #[arg(long)]
    ready: bool,
    /// Longest time to wait for the answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 3000,
          value_parser = clap::value_parser!(u64).range(1..=60_000))]
    timeout_ms: u64,
}

/// What the node says of itself, or why it could not.
pub(super) fn health(wanted: &HealthArguments, config: &Config) -> Result<String, Failure> {
    let (base, trust) = match &wanted.url {
        Some(url) => (url.trim_end_matches('/').to_owned(), Trust::Public),
        None => probe::own(&config.server)?,
    };
    let url = format!("{base}/{}", if wanted.ready { "readyz" } else { "healthz" });
    let timeout = Duration::from_millis(wanted.timeout_ms);
    let answer = actix_web::rt::System::new().block_on(async {
        let asked = async { Probe::new(&trust, 2 * timeout)?.ask(&url, None, None).await };
        let late = |_| Err(format!("{url} did not answer within {} ms", wanted.timeout_ms));
        tokio::time::timeout(timeout, asked).await.unwrap_or_else(late)
    })?;
    match answer.status {
        200 => Ok(answer.text()),
        status => Err(format!("{url} answered {status}: {}", answer.text())),
    }
}
