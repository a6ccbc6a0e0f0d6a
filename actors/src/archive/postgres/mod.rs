//! PostgreSQL as the place of the archive.
//!
//! | file | holds |
//! |---|---|
//! | `address` | the address, TLS as `sslmode` says |
//! | `schema` | the tables, made and changed by numbered steps |
//! | `rows` | writing and reading messages |
//! | `mod` | a connection that is made again when it is lost |

mod address;
mod rows;
mod schema;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use self::address::describe;
pub use self::address::{Address, AddressError};
pub(super) use self::rows::Side;

/// Pause after a failure to connect, before another attempt.
const PAUSE: Duration = Duration::from_secs(1);

/// Why PostgreSQL did not do what it was asked. No text holds the password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// No connection.
    #[error("cannot connect: {0}")]
    Away(String),
    /// The connection ended, or an answer did not come in time.
    #[error("no answer: {0}")]
    Lost(String),
    /// It answered with an error.
    #[error("{0}")]
    Refused(String),
    /// It is not what the archive needs.
    #[error("{0}")]
    Unfit(String),
    /// The tables cannot be made or changed.
    #[error("the tables of the archive cannot be made or changed: {0}")]
    Schema(String),
    /// A row is not understood.
    #[error("a row of the archive is not understood: {0}")]
    Strange(String),
}

impl DatabaseError {
    /// A stable word for the reason, as metrics name it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Away(_) => "away",
            Self::Lost(_) => "lost",
            Self::Refused(_) => "refused",
            Self::Unfit(_) => "unfit",
            Self::Schema(_) => "schema",
            Self::Strange(_) => "strange",
        }
    }

    /// Every code.
    pub const CODES: [&'static str; 6] = ["away", "lost", "refused", "unfit", "schema", "strange"];
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = describe(&error);
        if error.as_db_error().is_some() { Self::Refused(text) } else { Self::Lost(text) }
    }
}

/// What a look at the database found, for `hubbub check` and `doctor`.
#[derive(Clone, Debug)]
pub struct Look {
    /// As the server says it, such as `15.5`.
    pub version: String,
    /// Whether it takes no writes, being a standby.
    pub read_only: bool,
    /// The number of the newest step of the tables; none if there are none yet.
    pub schema: Option<i32>,
    /// Whether the tables may be made or changed by this user.
    pub may_create: bool,
    /// The number of the newest step that this version of the hub knows.
    pub known: i32,
    /// How long one question took.
    pub round_trip: Duration,
}

/// Connects once, looks, and goes. Fails as a node would.
pub async fn look(address: &Address, timeout: Duration) -> Result<Look, DatabaseError> {
    let client = connect(address, timeout).await?;
    within(timeout, schema::look(&client)).await
}

/// One connection, made when it is needed and made again when it is lost.
pub(super) struct Database {
    address: Arc<Address>,
    timeout: Duration,
    /// Whether the tables are seen to when it connects.
    migrates: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    client: Option<Arc<Client>>,
    /// When connecting failed, and why.
    failed: Option<(Instant, DatabaseError)>,
}

impl Database {
    /// Where messages are written: brings the tables to the newest form first.
    pub(super) fn to_write(address: Arc<Address>, timeout: Duration) -> Self {
        Self { address, timeout, migrates: true, state: Mutex::default() }
    }

    /// Where they are read.
    pub(super) fn to_read(address: Arc<Address>, timeout: Duration) -> Self {
        Self { address, timeout, migrates: false, state: Mutex::default() }
    }

    /// The connection. Those who ask while it is made wait for it; for a second after
    /// it could not be made they are told so at once.
    async fn client(&self) -> Result<Arc<Client>, DatabaseError> {
        let mut state = self.state.lock().await;
        if let Some(client) = state.client.as_ref().filter(|client| !client.is_closed()) {
            return Ok(client.clone());
        }
        state.client = None;
        if let Some((at, error)) = &state.failed
            && at.elapsed() < PAUSE
        {
            return Err(error.clone());
        }
        let made = async {
            let mut client = connect(&self.address, self.timeout).await?;
            if self.migrates {
                // Another node may be at it, which this one then waits for.
                within(self.timeout * 6, schema::migrate(&mut client)).await?;
            }
            Ok(Arc::new(client))
        };
        match made.await {
            Ok(client) => {
                state.failed = None;
                state.client = Some(client.clone());
                Ok(client)
            }
            Err(error) => {
                state.failed = Some((Instant::now(), error));
                Err(state
                    .failed
                    .as_ref()
                    .map_or(DatabaseError::Lost(String::new()), |f| f.1.clone()))
            }
        }
    }

    /// Asks something. A connection on which that fails is not used again: what it
    /// is in the middle of is not known, and another server may have taken over.
    async fn ask<T, F>(&self, question: impl FnOnce(Arc<Client>) -> F) -> Result<T, DatabaseError>
    where
        F: Future<Output = Result<T, DatabaseError>>,
    {
        let client = self.client().await?;
        let answer = within(self.timeout, question(client.clone())).await;
        if answer.is_err() {
            let mut state = self.state.lock().await;
            if state.client.as_ref().is_some_and(|current| Arc::ptr_eq(current, &client)) {
                state.client = None;
            }
        }
        answer
    }
}

async fn within<T>(
    time: Duration,
    answer: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    let late = || DatabaseError::Lost(format!("nothing within {} ms", time.as_millis()));
    tokio::time::timeout(time, answer).await.unwrap_or_else(|_| Err(late()))
}

/// Opens a connection, which ends with its client, and makes sure that the database
/// can hold every text.
async fn connect(address: &Address, timeout: Duration) -> Result<Client, DatabaseError> {
    let connecting = async {
        let away = |e: tokio_postgres::Error| DatabaseError::Away(describe(&e));
        match &address.tls {
            None => {
                let (client, connection) = address.config.connect(NoTls).await.map_err(away)?;
                tokio::spawn(drive(connection));
                Ok(client)
            }
            Some(tls) => {
                let tls = MakeRustlsConnect::new(tls.clone());
                let (client, connection) = address.config.connect(tls).await.map_err(away)?;
                tokio::spawn(drive(connection));
                Ok(client)
            }
        }
    };
    let late = || DatabaseError::Away(format!("nothing within {} ms", timeout.as_millis()));
    let client = tokio::time::timeout(timeout, connecting).await.unwrap_or_else(|_| Err(late()))?;
    within(timeout, async {
        let row = client.query_typed_one("SHOW server_encoding", &[]).await?;
        match row.try_get::<_, String>(0)?.as_str() {
            "UTF8" => Ok(()),
            other => Err(DatabaseError::Unfit(format!(
                "the database has the encoding {other}, which cannot hold every text; make one \
                 with ENCODING 'UTF8'"
            ))),
        }
    })
    .await?;
    Ok(client)
}

/// Moves the bytes of a connection. Why it ended is told to whoever asks next.
async fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    if let Err(e) = connection.await {
        log::debug!(error:% = describe(&e); "a connection to the archive's database ended");
    }
}
