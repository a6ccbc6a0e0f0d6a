//! hubbub: a clustered realtime hub.
//!
//! - [`cli`]: the verbs of the command line
//! - [`config`]: what can be set, and what is wrong with it
//! - [`auth`]: tokens checked and made
//! - [`telemetry`]: what operators see

pub mod auth;
pub mod cli;
pub mod config;
pub mod telemetry;
