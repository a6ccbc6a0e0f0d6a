//! Why a run ended without a verdict.

/// Why a load test cannot start or go on. `Display` is a sentence for the one who started it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The arguments make no sense together.
    #[error("{0}")]
    Usage(String),
    /// Fewer files may be open than there are connections.
    #[error(
        "{needed} open files are needed and {allowed} are allowed; raise the limit (ulimit -n) or \
         use fewer connections"
    )]
    Files {
        /// What the run needs.
        needed: u64,
        /// What the system allows.
        allowed: u64,
    },
    /// A connection could not be opened.
    #[error("connection {connection} to {url} could not be opened: {reason}{hint}")]
    Open {
        /// Index of the connection.
        connection: usize,
        /// The node.
        url: String,
        /// What went wrong.
        reason: String,
        /// What may help: a clause that begins with its own separator; empty if nothing is known.
        hint: &'static str,
    },
    /// No publish was acknowledged.
    #[error("none of {sent} messages was acknowledged; {reason}")]
    NothingAcknowledged {
        /// How many were sent.
        sent: u64,
        /// The most frequent refusal, or that there was no answer.
        reason: String,
    },
    /// A report could not be written.
    #[error("cannot write {path}: {reason}")]
    Output {
        /// The file.
        path: String,
        /// What went wrong.
        reason: String,
    },
    /// A thread or runtime could not be started.
    #[error("cannot start: {0}")]
    Start(String),
    /// A hub of `--pid` is not there.
    #[error("--pid {0}: there is no such process, or this system does not tell")]
    NoProcess(u32),
}

impl LoadError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Usage(_) => "usage",
            Self::Files { .. } => "files",
            Self::Open { .. } => "open",
            Self::NothingAcknowledged { .. } => "nothing_acknowledged",
            Self::Output { .. } => "output",
            Self::Start(_) => "start",
            Self::NoProcess(_) => "no_process",
        }
    }
}

/// What may help against a connection that could not be opened.
#[must_use]
pub fn hint(reason: &str) -> &'static str {
    let has = |word: &str| reason.contains(word);
    if has("429") || has("rate_limited") {
        "; the hub takes limits.max_connections_per_ip connections of an address (1024 unless \
         set): raise it or give several --source addresses"
    } else if has("401") || has("unauthorized") {
        "; give the hub's auth.jwt_secret with --jwt-secret or in the environment"
    } else if has("503") {
        "; the hub drains or has limits.max_connections connections"
    } else if has("too_many_rooms") {
        "; the hub takes rooms.max_rooms rooms and rooms.max_per_session of a session"
    } else if has("/dev/token") {
        "; this hub gives no tokens by itself: give its auth.jwt_secret with --jwt-secret"
    } else if has("Cannot assign requested address") {
        "; a source address has no port left or is not of this machine: give several --source \
         addresses"
    } else if has("Too many open files") {
        "; raise the limit of open files (ulimit -n)"
    } else if has("Connection refused") {
        "; nobody listens there"
    } else {
        ""
    }
}
