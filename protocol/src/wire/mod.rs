//! The wires: how events become frames and frames become requests.

pub mod format;
pub mod json;

pub use format::{Format, FormatId};
