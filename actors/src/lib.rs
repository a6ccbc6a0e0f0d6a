//! Who acts.

pub mod ports;
