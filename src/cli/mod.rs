//! The command line: `hubbub [--config FILE] [serve | token | check | doctor | health | plan | config | loadtest]`.
//!
//! Exit codes: 0 done, 1 failed with the reason on stderr, 2 bad usage.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};

use crate::auth::{self, Verifier};
use crate::config::{self, Config, Loaded, Warning};
use crate::loadtest::{self, LoadError};
use crate::telemetry::logging;

mod check;
mod doctor;
mod health;
mod plan;
mod probe;
mod token;

#[cfg(test)]
mod tests;

/// A clustered realtime hub: rooms, presence and recovery over WebSocket and Socket.IO.
///
/// Without a verb a node is started. Configuration: built-in defaults, then the file of --config,
/// then environment variables HUBBUB__SECTION__KEY. `hubbub config --default` explains every key.
#[derive(Debug, Parser)]
#[command(name = "hubbub", version, propagate_version = true)]
struct Arguments {
    /// Configuration file (TOML)
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start a node (also without a verb)
    Serve,
    /// Print a token (JWT, HS256) signed with auth.jwt_secret
    Token(token::TokenArguments),
    /// Validate the configuration and reach the services it names
    Check,
    /// Look at the configuration, the machine and what surrounds the node; say what to mend
    Doctor(doctor::DoctorArguments),
    /// Ask the node on this machine how it is; for the health checks of containers
    Health(health::HealthArguments),
    /// Work out nodes, Redis and bandwidth for a load
    Plan(plan::PlanArguments),
    /// Print the effective configuration as TOML, secrets hidden
    Config {
        /// Print the documented default file instead
        #[arg(long)]
        default: bool,
    },
    /// Load running hubs and check every copy of every message
    Loadtest(Box<loadtest::LoadArguments>),
}

/// Why a verb failed; the text is what stderr gets, one problem a line.
type Failure = String;

/// Runs the verb that the arguments of the process name. `serve` starts a node with a valid
/// configuration whose `node.id` is set, after logging has been set up, and returns when the node
/// has ended; its error is a sentence for stderr.
pub fn run(serve: impl FnOnce(Config) -> Result<(), String>) -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version go to stdout with 0, everything else to stderr with 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(arguments, serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.lines() {
                eprintln!("hubbub: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn dispatch(
    arguments: Arguments,
    serve: impl FnOnce(Config) -> Result<(), String>,
) -> Result<(), Failure> {
    let file = arguments.config.as_deref();
    match arguments.verb.unwrap_or(Verb::Serve) {
        Verb::Serve => {
            let loaded = load(file)?;
            start(loaded, serve)
        }
        Verb::Token(wanted) => {
            let config = config::read(file).map_err(|problems| problems.to_string())?;
            let token = token::token(&wanted, &config, auth::unix_seconds())?;
            print(&format!("{token}\n"))
        }
        Verb::Check => {
            check::check(file)?;
            print("configuration is valid\n")
        }
        Verb::Doctor(wanted) => doctor::doctor(&wanted, file),
        Verb::Health(wanted) => {
            let config = config::read(file).map_err(|problems| problems.to_string())?;
            print(&format!("{}\n", health::health(&wanted, &config)?))
        }
        Verb::Plan(wanted) => print(&plan::plan(&wanted)?),
        Verb::Config { default: true } => print(config::DEFAULT_TOML),
        Verb::Config { default: false } => {
            let config = config::read(file).map_err(|problems| problems.to_string())?;
            print(&config.to_toml()?)
        }
        Verb::Loadtest(wanted) => {
            let config = config::read(file).map_err(|problems| problems.to_string())?;
            let report = loadtest::loadtest(&wanted, &config).map_err(|error| {
                if let LoadError::Usage(reason) = &error {
                    // Prints the reason and ends with 2, as for every other wrong argument.
                    Arguments::command().error(ErrorKind::ValueValidation, reason).exit();
                }
                error.to_string()
            })?;
            print(&format!("{report}\n"))?;
            if report.passed { Ok(()) } else { Err("the audit of the load test failed".to_owned()) }
        }
    }
}

/// Loads the configuration and tries the key that it names.
fn load(file: Option<&Path>) -> Result<Loaded, Failure> {
    let loaded = config::load(file).map_err(|problems| problems.to_string())?;
    try_key(&loaded.config)?;
    Ok(loaded)
}

/// Reads the key for tokens, if one is configured.
fn try_key(config: &Config) -> Result<(), Failure> {
    let auth = &config.auth;
    if !auth.has_key() {
        return Ok(());
    }
    let key = match (&auth.jwks_file, &auth.jwt_public_key_file) {
        (Some(_), _) => "auth.jwks_file",
        (None, Some(_)) => "auth.jwt_public_key_file",
        (None, None) => "auth.jwt_secret",
    };
    Verifier::from_config(auth, None).map(|_| ()).map_err(|error| format!("`{key}`: {error}"))
}

fn start(loaded: Loaded, serve: impl FnOnce(Config) -> Result<(), String>) -> Result<(), Failure> {
    let Loaded { mut config, warnings } = loaded;
    config.node.id = config.node.resolve_id();
    logging::init(&config.log, &config.node.id).map_err(|error| error.to_string())?;
    logging::log_panics();
    for Warning { key, reason } in &warnings {
        log::warn!(key = key, reason = reason.as_str(); "configuration");
    }
    let ended = serve(config);
    logging::report_suppressed(true);
    ended
}

/// Writes to stdout; a reader that has gone (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::{ErrorKind, Write, stdout};
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("cannot write to stdout: {error}"))
        }
        _ => Ok(()),
    }
}
