//! The tokens of the connections: signed here, or given by a hub in development mode.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{target::Target, wire};
use crate::{
    auth::{Grant, mint, unix_seconds},
    config::{Auth, Secret},
};

/// How long a token that is signed here is good, in seconds: a day and an hour, longer than any run.
const TTL_SECONDS: u64 = 25 * 3600;
/// Longest answer of `/dev/token`, in bytes.
const MAX_ANSWER: u64 = 16 * 1024;

/// Where tokens come from.
#[derive(Debug, Clone)]
pub enum Tokens {
    /// Signed with a secret.
    Secret {
        /// `auth.jwt_secret` of the hub.
        secret: Secret,
        /// `auth.issuer`.
        issuer: Option<String>,
        /// `auth.audience`.
        audience: Option<String>,
    },
    /// Asked for, from a node in development mode.
    Development,
}

impl Tokens {
    /// A secret that was given goes first, then that of the configuration.
    #[must_use]
    pub fn new(given: Option<&str>, auth: &Auth) -> Self {
        match given.map(Secret::new).or_else(|| auth.jwt_secret.clone()) {
            Some(secret) => Self::Secret {
                secret,
                issuer: auth.issuer.clone(),
                audience: auth.audience.clone(),
            },
            None => Self::Development,
        }
    }

    /// A token for a user, for a node.
    ///
    /// # Errors
    /// A sentence.
    pub async fn token(&self, user: &str, target: &Target) -> Result<String, String> {
        match self {
            Self::Secret { secret, issuer, audience } => {
                let grant = Grant {
                    sub: user.to_owned(),
                    ttl_seconds: TTL_SECONDS,
                    issuer: issuer.clone(),
                    audience: audience.clone(),
                    ..Grant::default()
                };
                let signed = mint(secret, &grant, unix_seconds());
                signed.map(|(token, _)| token).map_err(|error| error.to_string())
            }
            Self::Development => {
                ask(user, target).await.map_err(|e| format!("POST /dev/token: {e}"))
            }
        }
    }
}

/// `POST /dev/token`.
async fn ask(user: &str, target: &Target) -> Result<String, String> {
    let mut stream = TcpStream::connect(target.address).await.map_err(|e| e.to_string())?;
    let body = serde_json::json!({ "sub": user }).to_string();
    let request = format!(
        "POST /dev/token HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        target.host,
        body.len()
    );
    stream.write_all(request.as_bytes()).await.map_err(|e| e.to_string())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await.map_err(|e| e.to_string())?;
    let (status, body) = answer_of(&answer).ok_or("the answer is no HTTP")?;
    if status != 200 {
        return Err(format!("answered {status} {}", wire::reason(body)));
    }
    let token = wire::first_value(body).and_then(|v| Some(v.get("token")?.as_str()?.to_owned()));
    token.ok_or_else(|| "the answer has no token".to_owned())
}

/// Status and body of a whole answer, or of one whose head is whole.
#[must_use]
pub fn answer_of(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut answer = httparse::Response::new(&mut headers);
    match answer.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => Some((answer.code?, &bytes[head..])),
        _ => None,
    }
}
