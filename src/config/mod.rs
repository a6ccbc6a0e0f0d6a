//! The configuration: what can be set, where it comes from, what is wrong with it.
//!
//! Built-in defaults, then the file named by `--config` (TOML), then environment variables
//! `HUBBUB__SECTION__KEY`; the later one wins. [`load`] gives a [`Config`] that is valid, or every
//! [`Problem`] at once.
//!
//! - `sections`: every key with its field, default and kind
//! - [`keys`]: lookup of keys, and the nearest one to a misspelt one
//! - `source`: file and environment, checked value by value
//! - `validate`: what makes no sense although each value is right
//! - [`tls`]: certificate and key
//! - [`vocabulary`]: the vocabularies that it names

use std::ffi::OsString;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub mod keys;
mod problem;
mod sections;
mod source;
pub mod tls;
mod validate;
mod values;
pub mod vocabulary;

#[cfg(test)]
mod tests;

pub use problem::{Origin, Problem, Problems, Warning};
pub use sections::{
    Archive, Auth, Cluster, Dev, History, Json, KEYS, Limits, Log, Node, Presence, Receipts, Rooms,
    Server, Session, Socketio, Tracing, Webhooks,
};
pub use values::{
    HIDDEN, HistoryStore, LogFormat, RoomPolicy, Secret, ServiceUrl, WhenFull, parse_network,
};

/// What the names of environment variables start with.
pub const ENV_PREFIX: &str = "HUBBUB__";

/// `config/default.toml`: every key with its meaning, unit and default.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

/// Largest configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The whole configuration; one field a section, named as in the file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)] // each type says what its section is
pub struct Config {
    pub node: Node,
    pub server: Server,
    pub auth: Auth,
    pub rooms: Rooms,
    pub session: Session,
    pub limits: Limits,
    pub history: History,
    pub archive: Archive,
    pub cluster: Cluster,
    pub presence: Presence,
    pub receipts: Receipts,
    pub socketio: Socketio,
    pub webhooks: Webhooks,
    pub json: Json,
    pub log: Log,
    pub tracing: Tracing,
    pub dev: Dev,
}

impl Config {
    /// Development mode: no key of any kind is configured, so that each start makes its own.
    pub fn development(&self) -> bool {
        !self.auth.has_key()
    }

    /// The effective configuration as TOML, secrets hidden; keys without a value are left out.
    ///
    /// # Errors
    /// A sentence, if a path is not UTF-8.
    pub fn to_toml(&self) -> Result<String, String> {
        toml::to_string_pretty(self)
            .map_err(|error| format!("cannot write the configuration: {error}"))
    }
}

/// A valid configuration and what is odd about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What works and is probably not meant.
    pub warnings: Vec<Warning>,
}

/// Reads and validates the configuration of this process.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(file: Option<&Path>) -> Result<Loaded, Problems> {
    load_with(file, std::env::vars_os())
}

/// As [`load`], with these environment variables.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_with(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, Problems> {
    let Examined { config, problems, warnings } = examine(file, variables);
    if problems.is_empty() { Ok(Loaded { config, warnings }) } else { Err(Problems(problems)) }
}

/// A configuration, right or wrong, with all that was found in it.
#[derive(Debug, Clone)]
pub struct Examined {
    /// What could be read; defaults stand where something is wrong.
    pub config: Config,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What works and is probably not meant.
    pub warnings: Vec<Warning>,
}

/// As [`load_with`], but goes on where something is wrong: for the verb `check`.
pub fn examine(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Examined {
    let (config, mut problems) = collect(file, variables);
    let (invalid, warnings) = validate::validate(&config);
    problems.extend(invalid);
    Examined { config, problems, warnings }
}

/// Reads the configuration and checks each value, but not what they mean together: for verbs that
/// start no node.
///
/// # Errors
/// Every unknown key and wrong value.
pub fn read(file: Option<&Path>) -> Result<Config, Problems> {
    let (config, problems) = collect(file, std::env::vars_os());
    if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
}

/// The configuration as far as it can be read, and what could not.
fn collect(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> (Config, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut builder = config::Config::builder();
    if let Some(path) = file {
        match read_text(path) {
            Ok(text) => builder = builder.add_source(source::from_toml(path, &text, &mut problems)),
            Err(reason) => problems.push(Problem::Unreadable { path: path.to_owned(), reason }),
        }
    }
    builder = builder.add_source(source::from_environment(variables, &mut problems));
    let merged = builder.build().and_then(|layers| {
        let chosen = layers.get_string("history.store").is_ok();
        Ok((layers.try_deserialize::<Config>()?, chosen))
    });
    match merged {
        Ok((mut config, chosen)) => {
            if !chosen && config.cluster.redis_url.is_some() {
                config.history.store = HistoryStore::Redis;
            }
            (config, problems)
        }
        Err(error) => {
            problems.push(Problem::Invalid { key: "config", reason: error.to_string() });
            (Config::default(), problems)
        }
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("it is larger than {MAX_FILE_BYTES} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}
