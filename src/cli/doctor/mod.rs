//! The verb `doctor`: looks at the configuration, the machine and what surrounds a node, and says what
//! is wrong and how to mend it.

mod archive;
mod edge;
mod machine;
mod redis;
mod report;
mod token;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

use self::report::Finding;
use super::{
    Failure,
    probe::{Probe, Trust},
    try_key,
};
use crate::{
    auth,
    config::{self, Config, Examined},
};

/// Longest time for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What to look at beside the configuration and this machine.
#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    /// Walk the way of the clients from this address: proxy headers, WebSocket, affinity of polls
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Compare the clock of this node with the one here; may be given several times
    #[arg(long, value_name = "URL")]
    node: Vec<String>,
    /// Check this token with the configured key; `-` reads it from standard input, which other
    /// users of the machine cannot see
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Believe certificates that are signed by those in this file (PEM)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Prints what was found. Fails if there is a problem.
pub(super) fn doctor(wanted: &DoctorArguments, file: Option<&Path>) -> Result<(), Failure> {
    let token = match wanted.token.as_deref() {
        Some("-") => Some(std::io::read_to_string(std::io::stdin()).map_err(|e| e.to_string())?),
        other => other.map(str::to_owned),
    };
    let Examined { config, problems, warnings } = config::examine(file, std::env::vars_os());
    let mut findings = Vec::new();
    let what = "settings";
    for problem in &problems {
        findings.push(Finding::problem(what, problem.to_string(), "`hubbub config --default`"));
    }
    for warning in &warnings {
        findings.push(Finding::warning(what, warning.to_string(), ""));
    }
    if let Err(reason) = try_key(&config) {
        findings.push(Finding::problem(what, reason, "without its key a node does not start"));
    }
    if findings.is_empty() {
        findings.push(Finding::fine(what, "the configuration is valid"));
    }
    findings.extend(machine::judge(&machine::Machine::read(), &config));
    let around = actix_web::rt::System::new().block_on(look_around(wanted, &config));
    findings.extend(around?);
    if let Some(token) = token {
        findings.push(token::examine(token.trim(), &config, auth::unix_seconds()));
    }
    let mut text: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    let (summary, bad) = report::summary(&findings);
    text.push_str(&format!("{summary}\n"));
    super::print(&text)?;
    if bad { Err("the doctor found something to mend".to_owned()) } else { Ok(()) }
}

async fn look_around(wanted: &DoctorArguments, config: &Config) -> Result<Vec<Finding>, Failure> {
    let mut findings = vec![machine::port(config).await];
    findings.extend(machine::history(config));
    findings.extend(redis::examine(config).await);
    findings.extend(archive::examine(config).await);
    let trust = wanted.ca.clone().map_or(Trust::Public, Trust::Authority);
    let probe = Probe::new(&trust, TIMEOUT)?;
    if let Some(url) = &wanted.url {
        findings.extend(edge::examine(url, &probe, config).await);
    }
    for node in &wanted.node {
        findings.push(edge::clock(node, &probe).await);
    }
    Ok(findings)
}
