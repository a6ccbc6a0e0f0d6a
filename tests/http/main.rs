//! One hub from the outside, over HTTP and the command line.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod api;
mod config;
mod development;
mod logs;
mod metrics;
mod monitoring;
mod openapi;
mod operators;
mod reads;
mod verbs;
