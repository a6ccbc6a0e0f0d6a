//! hubbub: a clustered realtime hub.
//!
//! | module | holds |
//! |---|---|
//! | [`cli`] | the verbs of the command line |
//! | [`config`] | what can be set, and what is wrong with it |
//! | [`auth`] | tokens checked and made |
//! | [`server`] | a node from start to end |
//! | [`transport`] | the connections: upgrade, driver, limits |
//! | [`socketio`] | Socket.IO over HTTP long-polling |
//! | [`http`] | the HTTP API, the pages, the metrics |
//! | [`loadtest`] | load against running hubs, and the audit of it |
//! | [`webhook`] | asks a backend who may join |
//! | [`hooks`] | tells a backend what happens |
//! | [`telemetry`] | what operators see |

pub mod auth;
pub mod cli;
pub mod config;
pub mod hooks;
pub mod http;
pub mod loadtest;
pub mod server;
pub mod socketio;
pub mod telemetry;
pub mod transport;
pub mod webhook;
