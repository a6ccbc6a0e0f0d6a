//! `hubbub loadtest`: open-loop load against running hubs, with an audit of every copy.
//!
//! | module | holds |
//! |---|---|
//! | [`options`], `values`, `target` | what is asked for, checked |
//! | [`schedule`] | when each message is due |
//! | `pace` | the thread that writes each message when it is due |
//! | `reader` | the threads that read, each around one epoll |
//! | `run`, `conn`, `slow`, `session`, `dial`, `link` | threads, connections, what they say |
//! | `wire`, `frames`, [`marker`] | bytes: the two wires, WebSocket frames, contents |
//! | [`audit`], [`judge`] | lost, twice, out of order: pure |
//! | `tally`, `process`, `cost` | what is counted and measured, and whether it was itself the limit |
//! | `progress`, [`report`], `summary`, `html` | what is shown |
//!
//! The path of a copy: one `read` into the thread's only buffer, a search for the marker, a few
//! digits, two histograms, the audit's next offset. Nothing is allocated, and no task is woken for
//! another.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::config::Config;

pub mod audit;
mod conn;
mod cost;
mod dial;
mod error;
mod frames;
mod html;
pub mod judge;
mod link;
pub mod marker;
pub mod options;
mod pace;
mod plots;
mod process;
mod progress;
mod reader;
pub mod report;
mod run;
pub mod schedule;
mod session;
mod shared;
mod slow;
mod summary;
mod tally;
mod target;
mod tokens;
mod values;
mod wire;

pub use error::LoadError;
pub use options::{LoadArguments, Plan};
pub use report::Report;

use tokens::Tokens;

/// Runs what the arguments ask for and writes the reports; the result is for stdout. Ctrl-C ends
/// the sending early; the verdict still comes.
///
/// # Errors
/// What kept the run from a verdict, or a file from being written.
pub fn loadtest(wanted: &LoadArguments, config: &Config) -> Result<Report, LoadError> {
    let run = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
    let plan = Plan::new(wanted, run)?;
    let tokens = Tokens::new(wanted.jwt_secret.as_deref(), &config.auth);
    // A report that cannot be written is told before the run, not after it.
    for path in [&wanted.json, &wanted.html].into_iter().flatten() {
        write(path, "")?;
    }
    let interrupted = on_interrupt()?;
    let asked = || interrupted.load(Ordering::Relaxed);
    let report = run::run(plan, tokens, wanted.quiet, &asked)?;
    if let Some(path) = &wanted.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| LoadError::Output {
            path: path.display().to_string(),
            reason: error.to_string(),
        })?;
        write(path, &text)?;
    }
    if let Some(path) = &wanted.html {
        write(path, &html::page(&report))?;
    }
    Ok(report)
}

fn write(path: &Path, text: &str) -> Result<(), LoadError> {
    std::fs::write(path, text).map_err(|error| LoadError::Output {
        path: path.display().to_string(),
        reason: error.to_string(),
    })
}

/// Becomes true when the process is interrupted. A second interrupt ends it at once.
fn on_interrupt() -> Result<Arc<AtomicBool>, LoadError> {
    let flag = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&flag);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|e| LoadError::Start(e.to_string()))?;
    let listen = move || {
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if told.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
            }
        });
    };
    std::thread::Builder::new()
        .name("load-signal".into())
        .spawn(listen)
        .map_err(|e| LoadError::Start(e.to_string()))?;
    Ok(flag)
}
