//! Where the spans of messages go that somebody follows. A build without the feature `otlp` has
//! nothing of it: the configuration refuses `tracing.otlp_url` there.

use crate::config::Config;

/// Sends spans until it is closed; does nothing if `tracing.otlp_url` is not set.
#[derive(Default)]
pub struct Spans {
    #[cfg(feature = "otlp")]
    exporter: Option<super::otlp::Exporter>,
}

#[cfg(not(feature = "otlp"))]
impl Spans {
    /// Nothing to start.
    ///
    /// # Errors
    /// None.
    pub fn start(_: &Config) -> Result<Self, String> {
        Ok(Self::default())
    }

    /// Nothing to close.
    pub async fn close(self) {}
}

#[cfg(feature = "otlp")]
impl Spans {
    /// Records spans from now on, if `tracing.otlp_url` is set.
    ///
    /// # Errors
    /// A sentence, if the exporter cannot be made.
    pub fn start(config: &Config) -> Result<Self, String> {
        let Some(url) = &config.tracing.otlp_url else { return Ok(Self::default()) };
        let exporter = super::otlp::Exporter::start(url.expose(), &config.node.id)
            .map_err(|e| format!("tracing.otlp_url: {e}"))?;
        Ok(Self { exporter: Some(exporter) })
    }

    /// Sends what waits, for two seconds at most.
    pub async fn close(self) {
        if let Some(exporter) = self.exporter {
            exporter.close().await;
        }
    }
}
