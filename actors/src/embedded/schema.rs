//! The file: where it lies, who may open it, and what is in it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{receipts, sessions};

/// The name of the file inside the data directory.
pub const FILE_NAME: &str = "history.sqlite3";
/// The name of the file whose lock says that a process uses the directory.
const LOCK_NAME: &str = "history.lock";
/// `application_id` of our files: "HUBB".
const APPLICATION_ID: i64 = 0x4855_4242;

/// What each version of the schema adds to the one before it. Only ever append.
///
/// `messages.key` is the room's id and the offset in one number (see
/// [`key_of`]): rows of a room lie together and an insert needs no second index.
/// `rooms.head` is exact only while a room has no messages; else the newest
/// message says it, so that an append is one insert. `rooms.touched` likewise.
const MIGRATIONS: [&str; 3] = [
    "
    CREATE TABLE rooms (
        id      INTEGER PRIMARY KEY,
        name    TEXT    NOT NULL UNIQUE,
        epoch   INTEGER NOT NULL,
        head    INTEGER NOT NULL,
        touched INTEGER NOT NULL
    );
    CREATE INDEX rooms_touched ON rooms (touched);
    CREATE TABLE messages (
        key     INTEGER PRIMARY KEY,
        at      INTEGER NOT NULL,
        payload BLOB    NOT NULL
    );
    CREATE TABLE keys (
        room    INTEGER NOT NULL,
        user    TEXT    NOT NULL,
        key     TEXT    NOT NULL,
        id      BLOB    NOT NULL,
        head    INTEGER NOT NULL,
        at      INTEGER NOT NULL,
        PRIMARY KEY (room, user, key)
    ) WITHOUT ROWID;
    CREATE INDEX keys_at ON keys (at);
",
    sessions::SCHEMA,
    receipts::SCHEMA,
];

/// Bits of an offset inside a message's key.
const OFFSET_BITS: u32 = 40;
/// The largest offset a room can have: a room with 10,000 messages a second gets
/// there after three years.
pub(super) const MAX_OFFSET: u64 = (1 << OFFSET_BITS) - 1;
/// The largest id a room can have. Ids of removed rooms are used again.
pub(super) const MAX_ROOM_ID: i64 = (1 << (63 - OFFSET_BITS)) - 1;

/// The key of a message: room id above, offset below.
pub(super) fn key_of(room: i64, offset: u64) -> i64 {
    (room << OFFSET_BITS) | offset.min(MAX_OFFSET).cast_signed()
}

/// The offset inside a message's key.
pub(super) fn offset_of(key: i64) -> u64 {
    key.cast_unsigned() & MAX_OFFSET
}

/// Why a history cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the directory open.
    #[error(
        "the data directory {0} is in use by another process; stop it or choose another \
             history.path"
    )]
    InUse(PathBuf),
    /// The file was written by a newer version of the hub.
    #[error(
        "the history file {path} has format {found}, this version knows up to {known}; \
             start the newer version or choose another history.path"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that is known.
        known: i64,
    },
    /// The file is something else.
    #[error(
        "the file {0} is not a history of this hub; move it away or choose another \
             history.path"
    )]
    Foreign(PathBuf),
    /// The directory cannot be made.
    #[error("the data directory {path} cannot be made: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file cannot be opened or read.
    #[error("the history file {path} cannot be opened: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the engine says.
        source: rusqlite::Error,
    },
    /// The system gives no thread.
    #[error("no thread for the history store: {0}")]
    Thread(std::io::Error),
}

impl OpenError {
    /// A stable word for the reason.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InUse(_) => "in_use",
            Self::Newer { .. } => "newer_format",
            Self::Foreign(_) => "foreign_file",
            Self::Directory { .. } => "directory",
            Self::File { .. } => "file",
            Self::Thread(_) => "thread",
        }
    }
}

/// Keeps other processes out of a data directory while it lives. The system
/// releases it when the process ends, however it ends.
pub(super) struct DirectoryLock(#[expect(dead_code, reason = "held, not used")] Connection);

impl DirectoryLock {
    /// Makes the directory if it is missing and takes its lock.
    pub(super) fn take(directory: &Path) -> Result<Self, OpenError> {
        fs::create_dir_all(directory)
            .map_err(|source| OpenError::Directory { path: directory.into(), source })?;
        let path = directory.join(LOCK_NAME);
        // The engine's own file locks, on a database that stays empty: portable,
        // and seen by a second open in this process too.
        let lock = || {
            let connection = Connection::open(&path)?;
            connection.busy_timeout(Duration::ZERO)?;
            connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")?;
            Ok(Self(connection))
        };
        lock().map_err(|source: rusqlite::Error| match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                OpenError::InUse(directory.into())
            }
            _ => OpenError::File { path: path.clone(), source },
        })
    }
}

/// Opens the file to write: makes it, checks it, brings it to the newest format.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let file = |source| OpenError::File { path: path.into(), source };
    let connection = Connection::open(path).map_err(file)?;
    migrate(&connection, path).map_err(|e| match e {
        OpenError::File { source, .. }
            if source.sqlite_error_code() == Some(ErrorCode::NotADatabase) =>
        {
            OpenError::Foreign(path.into())
        }
        other => other,
    })?;
    Ok(connection)
}

fn migrate(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let file = |source| OpenError::File { path: path.into(), source };
    let pragma = |name: &str| {
        connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(file)
    };
    connection.busy_timeout(Duration::from_secs(2)).map_err(file)?;
    let (version, application) = (pragma("user_version")?, pragma("application_id")?);
    let known = MIGRATIONS.len() as i64;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(file)?;
    if application != APPLICATION_ID && (application != 0 || version != 0 || tables != 0) {
        return Err(OpenError::Foreign(path.into()));
    }
    if version > known {
        return Err(OpenError::Newer { path: path.into(), found: version, known });
    }
    // In WAL mode with synchronous=FULL a commit is one sequential write and one
    // sync; NORMAL would lose acknowledged messages with the power. Checkpoints
    // come after 16 MiB of log, as each one costs two syncs.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;
             PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 4096;
             PRAGMA journal_size_limit = 67108864;",
        )
        .map_err(file)?;
    connection.set_prepared_statement_cache_capacity(64);
    for (sql, next) in MIGRATIONS.iter().zip(1_i64..).filter(|(_, next)| *next > version) {
        connection
            .execute_batch(&format!(
                "BEGIN IMMEDIATE; {sql} PRAGMA application_id = {APPLICATION_ID};
                 PRAGMA user_version = {next}; COMMIT"
            ))
            .map_err(file)?;
    }
    Ok(())
}

/// Opens the file, which must exist, to read.
pub(super) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(2))?;
    connection.execute_batch("PRAGMA cache_size = -8192; PRAGMA query_only = ON")?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_holds_room_and_offset() {
        assert!(key_of(1, MAX_OFFSET) < key_of(2, 0));
        assert!(key_of(MAX_ROOM_ID, MAX_OFFSET) > 0);
        assert_eq!(offset_of(key_of(MAX_ROOM_ID, 77)), 77);
    }

    #[test]
    fn foreign_and_newer_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let text = directory.path().join("text");
        fs::write(&text, "something else that is long enough to be looked at".repeat(20)).unwrap();
        assert_eq!(open(&text).unwrap_err().code(), "foreign_file");

        let other = directory.path().join("other");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        assert_eq!(open(&other).unwrap_err().code(), "foreign_file");

        let newer = directory.path().join("newer");
        open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let error = open(&newer).unwrap_err();
        assert_eq!(error.code(), "newer_format");
        assert!(error.to_string().contains("format 99"), "{error}");
    }

    #[test]
    fn a_commit_is_synced() {
        let directory = tempfile::tempdir().unwrap();
        let connection = open(&directory.path().join("h")).unwrap();
        let synchronous: i64 =
            connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        let mode: String =
            connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!((synchronous, mode.as_str()), (2, "wal"));
    }

    #[test]
    fn a_directory_has_one_user() {
        let directory = tempfile::tempdir().unwrap();
        let first = DirectoryLock::take(directory.path()).unwrap();
        assert_eq!(DirectoryLock::take(directory.path()).err().unwrap().code(), "in_use");
        drop(first);
        assert!(DirectoryLock::take(directory.path()).is_ok());
    }
}
