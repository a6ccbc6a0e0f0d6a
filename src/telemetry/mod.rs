//! What operators see of a running node.

pub mod logging;
