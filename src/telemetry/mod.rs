//! What operators see of a running node.

pub mod logging;
#[cfg(feature = "otlp")]
mod otlp;
pub mod spans;
