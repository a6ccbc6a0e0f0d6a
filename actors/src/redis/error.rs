//! What Redis, or the way to it, answers instead of a reply.

use std::{fmt, sync::Arc};

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why there is no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// There is no connection: nothing was sent.
    #[error("Redis is away: {0}")]
    Down(Arc<str>),
    /// The connection ended, or no reply came in time, after the command was sent:
    /// whether it was done is not known.
    #[error("no reply from Redis: {0}")]
    Unknown(Arc<str>),
    /// Redis answered with an error: nothing was done.
    #[error("Redis refused: {detail}")]
    Refused {
        /// Which kind it is.
        trouble: Trouble,
        /// What Redis said.
        detail: Arc<str>,
    },
}

/// What is wrong with Redis, as logs and metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// It cannot be reached, or the connection ended.
    Unreachable,
    /// It does not answer in time.
    Slow,
    /// It does not take the user or password, or the user may not do this.
    Forbidden,
    /// It is a replica that takes no writes.
    ReadOnly,
    /// It reads its data from disk, or a failover is under way.
    Busy,
    /// It is at `maxmemory` and its policy lets nothing go.
    Full,
    /// It cannot write its data to disk, or has too few replicas, and takes no writes.
    NotDurable,
    /// As many messages wait for the archive as may (`archive.backlog_max`).
    ArchiveFull,
    /// It does not have a script.
    NoScript,
    /// Anything else it refuses.
    Other,
}

impl Trouble {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Unreachable,
        Self::Slow,
        Self::Forbidden,
        Self::ReadOnly,
        Self::Busy,
        Self::Full,
        Self::NotDurable,
        Self::ArchiveFull,
        Self::NoScript,
        Self::Other,
    ];

    /// Its name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Slow => "slow",
            Self::Forbidden => "forbidden",
            Self::ReadOnly => "read_only",
            Self::Busy => "busy",
            Self::Full => "full",
            Self::NotDurable => "not_durable",
            Self::ArchiveFull => "archive_full",
            Self::NoScript => "no_script",
            Self::Other => "other",
        }
    }

    /// Which kind an error of the client library is.
    pub(super) fn of(error: &RedisError) -> Self {
        match (error.kind(), error.code().unwrap_or_default()) {
            (ErrorKind::AuthenticationFailed, _)
            | (ErrorKind::Server(ServerErrorKind::NoPerm), _)
            | (_, "NOAUTH" | "WRONGPASS" | "NOPERM") => Self::Forbidden,
            (ErrorKind::Server(ServerErrorKind::ReadOnly), _) => Self::ReadOnly,
            (ErrorKind::Server(ServerErrorKind::NoScript), _) => Self::NoScript,
            (_, "OOM") => Self::Full,
            (_, "ARCHIVEFULL") => Self::ArchiveFull,
            (_, "MISCONF" | "NOREPLICAS") => Self::NotDurable,
            (
                ErrorKind::Server(
                    ServerErrorKind::BusyLoading
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::TryAgain
                    | ServerErrorKind::Moved
                    | ServerErrorKind::Ask,
                ),
                _,
            )
            | (_, "BUSY") => Self::Busy,
            (ErrorKind::Server(_) | ErrorKind::Extension, _) => Self::Other,
            _ if error.is_timeout() => Self::Slow,
            _ => Self::Unreachable,
        }
    }

    /// Whether it usually passes without anybody doing something.
    pub fn passes(self) -> bool {
        !matches!(self, Self::Full | Self::ArchiveFull | Self::Forbidden | Self::Other)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<RedisError> for LinkError {
    fn from(error: RedisError) -> Self {
        let trouble = Trouble::of(&error);
        let detail: Arc<str> = one_line(&error).into();
        match trouble {
            Trouble::Unreachable | Trouble::Slow => Self::Unknown(detail),
            trouble => Self::Refused { trouble, detail },
        }
    }
}

/// An error as one line.
pub(super) fn one_line(error: &RedisError) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
