//! The verb `token`.

use clap::Args;

use super::Failure;
use crate::auth::{Grant, mint};
use crate::config::{Config, Secret};

/// What the token shall say.
#[derive(Debug, Args)]
pub(super) struct TokenArguments {
    /// User id (claim `sub`)
    #[arg(long, value_name = "ID")]
    pub(super) sub: String,
    /// Name to show (claim `name`)
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Patterns of rooms that may be entered, separated by commas; without it every room that is
    /// not reserved
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    pub(super) rooms: Option<Vec<String>>,
    /// Patterns of rooms that may be published to; without it those of --rooms
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    pub(super) publish: Option<Vec<String>>,
    /// A role; may be given several times
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    pub(super) role: Vec<String>,
    /// How long the token is good, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600,
          value_parser = clap::value_parser!(u64).range(1..=315_360_000))]
    pub(super) ttl: u64,
    /// Sign with this secret instead of auth.jwt_secret; other users of the machine can see it
    #[arg(long)]
    pub(super) secret: Option<String>,
}

/// Signs a token that is good from `now`, in Unix seconds.
pub(super) fn token(wanted: &TokenArguments, config: &Config, now: u64) -> Result<String, Failure> {
    let given = wanted.secret.as_ref().map(Secret::new);
    let secret = given.as_ref().or(config.auth.jwt_secret.as_ref()).ok_or(
        "there is no secret to sign with; set auth.jwt_secret or give --secret (in development \
         mode the running hub gives tokens: POST /dev/token)",
    )?;
    if secret.expose().is_empty() {
        return Err("the secret is empty; set auth.jwt_secret or give --secret".to_owned());
    }
    let grant = Grant {
        sub: wanted.sub.clone(),
        name: wanted.name.clone(),
        rooms: wanted.rooms.as_deref().map(patterns),
        publish: wanted.publish.as_deref().map(patterns),
        roles: patterns(&wanted.role),
        ttl_seconds: wanted.ttl,
        issuer: config.auth.issuer.clone(),
        audience: config.auth.audience.clone(),
    };
    mint(secret, &grant, now).map(|(token, _)| token).map_err(|error| error.to_string())
}

/// `--rooms ""` is an empty list: no room at all.
fn patterns(given: &[String]) -> Vec<String> {
    given.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}
