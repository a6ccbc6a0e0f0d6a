//! Sessions in the same file as the history, through the same writer: what a
//! session does is committed together with what everybody publishes, with one sync.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hubbub_protocol::{
    id::{RoomName, SessionId, UserId},
    position::{Epoch, Position},
};
use rusqlite::{Connection, OptionalExtension, Result, types::Type};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Shared, refusal, writer::Command};
use crate::{
    history::HistoryConfig,
    ports::{PortFuture, StoreError},
    session_store::{
        Base, KeptIdentity, KeptRoom, KeptSession, Owned, Owner, SessionStore, SessionStoreConfig,
    },
};

/// For what is about no session.
pub(super) const NOBODY: SessionId = SessionId(Uuid::nil());

/// What each operation takes in the queue, about.
const BYTES: usize = 256;
/// How often the file is told that the node lives: by so much at most a session of a
/// killed node seems to be lost earlier than it was.
const ALIVE: Duration = Duration::from_secs(5);
/// Sessions forgotten in one slice.
const SLICE: i64 = 512;

/// The tables. `sessions.lost_at` is none while the session is connected; `alive.at`
/// stands in for it after the node was killed.
pub(super) const SCHEMA: &str = "
    CREATE TABLE sessions (
        id         BLOB    PRIMARY KEY,
        owner      INTEGER NOT NULL,
        secret     INTEGER NOT NULL,
        user       TEXT    NOT NULL,
        wire       TEXT    NOT NULL,
        vocabulary TEXT    NOT NULL,
        lost_at    INTEGER
    ) WITHOUT ROWID;
    CREATE INDEX sessions_lost ON sessions (lost_at) WHERE lost_at IS NOT NULL;
    CREATE TABLE session_rooms (
        session BLOB    NOT NULL,
        slot    INTEGER NOT NULL,
        room    TEXT    NOT NULL,
        base    INTEGER NOT NULL,
        epoch   INTEGER NOT NULL,
        head    INTEGER NOT NULL,
        PRIMARY KEY (session, room)
    ) WITHOUT ROWID;
    CREATE TABLE told (
        user  TEXT    PRIMARY KEY,
        epoch INTEGER NOT NULL,
        head  INTEGER NOT NULL,
        at    INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX told_at ON told (at);
    CREATE TABLE alive (one INTEGER PRIMARY KEY CHECK (one = 1), at INTEGER NOT NULL);
";

/// What the writer is asked of a session.
pub(super) enum Op {
    /// To keep sessions from now on.
    Begin(SessionStoreConfig),
    Open(KeptIdentity),
    Join(KeptRoom),
    Leave(RoomName),
    Lost,
    Ended,
    Find,
    Claim,
    Told(UserId, Position),
    ToldUpTo(UserId),
}

/// One operation on its way.
pub(super) struct Pending {
    pub op: Op,
    pub session: SessionId,
    pub owner: Owner,
    /// What it came to, if the transaction succeeds.
    pub outcome: Option<Answer>,
    pub reply: oneshot::Sender<Result<Answer, StoreError>>,
}

/// What an operation came to.
pub(super) enum Answer {
    Owned(bool),
    Kept(Option<KeptSession>),
    Told(Option<Position>),
}

/// What the writer keeps in mind of sessions.
#[derive(Default)]
pub(super) struct Sessions {
    config: Option<SessionStoreConfig>,
    /// How many the file has; counted when it is first needed.
    count: Option<usize>,
    alive: Option<Instant>,
}

impl Sessions {
    /// Forgets what it knows from the file.
    pub(super) fn forget(&mut self) {
        self.count = None;
    }

    fn count(&mut self, db: &Connection) -> Result<usize> {
        if let Some(count) = self.count {
            return Ok(count);
        }
        let count: i64 = db.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0))?;
        Ok(*self.count.insert(usize::try_from(count).unwrap_or(0)))
    }

    /// Does one operation, inside a transaction of the caller.
    pub(super) fn apply(&mut self, db: &Connection, pending: &mut Pending, now: u64) -> Result<()> {
        let (id, owner) = (pending.session.0.into_bytes(), pending.owner.0.cast_signed());
        let owned = |db: &Connection| {
            db.prepare_cached("SELECT 1 FROM sessions WHERE id = ?1 AND owner = ?2")?
                .exists((id, owner))
        };
        pending.outcome = Some(match &pending.op {
            Op::Begin(config) => {
                self.config = Some(*config);
                begin(db, now)?;
                Answer::Owned(true)
            }
            Op::Open(identity) => Answer::Owned(self.open(db, identity, owner)?),
            Op::Join(room) => {
                let owned = owned(db)?;
                if owned {
                    join(db, &id, room)?;
                }
                Answer::Owned(owned)
            }
            Op::Leave(room) => {
                let owned = owned(db)?;
                if owned {
                    db.prepare_cached(
                        "DELETE FROM session_rooms WHERE session = ?1 AND room = ?2",
                    )?
                    .execute((id, room.as_str()))?;
                }
                Answer::Owned(owned)
            }
            Op::Lost => {
                let changed = db
                    .prepare_cached(
                        "UPDATE sessions SET lost_at = ?3
                         WHERE id = ?1 AND owner = ?2 AND lost_at IS NULL",
                    )?
                    .execute((id, owner, now.cast_signed()))?;
                Answer::Owned(changed > 0)
            }
            Op::Ended => {
                let owned = owned(db)?;
                if owned {
                    self.remove(db, &id)?;
                }
                Answer::Owned(owned)
            }
            Op::Told(user, position) => {
                tell(db, user, *position, now)?;
                Answer::Told(Some(*position))
            }
            Op::ToldUpTo(user) => Answer::Told(told(db, user)?),
            Op::Find => Answer::Kept(self.load(db, &id, now)?),
            Op::Claim => {
                let kept = self.load(db, &id, now)?;
                if kept.is_some() {
                    db.prepare_cached(
                        "UPDATE sessions SET owner = ?2, lost_at = NULL WHERE id = ?1",
                    )?
                    .execute((id, owner))?;
                }
                Answer::Kept(kept)
            }
        });
        Ok(())
    }

    fn open(&mut self, db: &Connection, identity: &KeptIdentity, owner: i64) -> Result<bool> {
        let Some(config) = self.config else { return Ok(false) };
        if self.count(db)? >= config.max_sessions {
            let first: Option<[u8; 16]> = db
                .prepare_cached(
                    "SELECT id FROM sessions WHERE lost_at IS NOT NULL ORDER BY lost_at LIMIT 1",
                )?
                .query_row([], |row| row.get(0))
                .optional()?;
            let Some(first) = first else { return Ok(false) };
            self.remove(db, &first)?;
        }
        db.prepare_cached(
            "INSERT INTO sessions (id, owner, secret, user, wire, vocabulary)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute((
            identity.id.0.into_bytes(),
            owner,
            identity.secret.cast_signed(),
            identity.user.as_str(),
            &*identity.wire,
            &*identity.vocabulary,
        ))?;
        self.count = self.count.map(|n| n + 1);
        Ok(true)
    }

    fn remove(&mut self, db: &Connection, id: &[u8; 16]) -> Result<()> {
        db.prepare_cached("DELETE FROM session_rooms WHERE session = ?1")?.execute([id])?;
        let gone = db.prepare_cached("DELETE FROM sessions WHERE id = ?1")?.execute([id])?;
        self.count = self.count.map(|n| n.saturating_sub(gone));
        Ok(())
    }

    /// The newest time at which a session was lost that cannot come back now.
    fn expired_at(&self, now: u64) -> i64 {
        let window = self.config.map_or(0, |config| config.recovery_ms);
        now.saturating_sub(window.saturating_add(1)).cast_signed()
    }

    fn load(&self, db: &Connection, id: &[u8; 16], now: u64) -> Result<Option<KeptSession>> {
        let identity = db
            .prepare_cached(
                "SELECT user, secret, wire, vocabulary FROM sessions
                 WHERE id = ?1 AND (lost_at IS NULL OR lost_at > ?2)",
            )?
            .query_row((id, self.expired_at(now)), |row| {
                Ok(KeptIdentity {
                    id: SessionId(Uuid::from_bytes(*id)),
                    user: name(0, UserId::new(row.get::<_, String>(0)?))?,
                    secret: row.get::<_, i64>(1)?.cast_unsigned(),
                    wire: row.get::<_, String>(2)?.into(),
                    vocabulary: row.get::<_, String>(3)?.into(),
                })
            })
            .optional()?;
        let Some(identity) = identity else { return Ok(None) };
        let rooms = db
            .prepare_cached(
                "SELECT slot, room, base, epoch, head FROM session_rooms WHERE session = ?1
                 ORDER BY slot",
            )?
            .query_map([id], |row| {
                let position = Position {
                    epoch: Epoch(row.get::<_, i64>(3)?.cast_unsigned()),
                    offset: row.get::<_, i64>(4)?.cast_unsigned(),
                };
                Ok(KeptRoom {
                    slot: row.get(0)?,
                    room: name(1, RoomName::new(row.get::<_, String>(1)?))?,
                    base: match row.get::<_, i64>(2)? {
                        AT => Base::At(position),
                        START => Base::Start,
                        _ => Base::Unknown,
                    },
                })
            })?
            .collect::<Result<Vec<_>>>()?;
        Ok(Some(KeptSession { identity, rooms }))
    }

    /// Forgets some sessions that were lost too long ago, and notes that the node
    /// lives. Returns how long to wait for the next slice.
    pub(super) fn slice(
        &mut self,
        db: &Connection,
        history: &HistoryConfig,
        now: u64,
    ) -> Result<Duration> {
        let Some(config) = self.config else { return Ok(Duration::MAX) };
        let old = db
            .prepare_cached("SELECT id FROM sessions WHERE lost_at <= ?1 LIMIT ?2")?
            .query_map((self.expired_at(now), SLICE), |row| row.get(0))?
            .collect::<Result<Vec<[u8; 16]>>>()?;
        for id in &old {
            self.remove(db, id)?;
        }
        // Whatever is still kept of a user's direct messages came later.
        db.prepare_cached(
            "DELETE FROM told WHERE user IN (SELECT user FROM told WHERE at <= ?1 LIMIT ?2)",
        )?
        .execute((history.expired_at(now).cast_signed(), SLICE))?;
        let often = ALIVE.min(Duration::from_millis(config.recovery_ms / 4 + 1));
        if self.alive.is_none_or(|at| at.elapsed() >= often) {
            self.alive = Some(Instant::now());
            if self.count(db)? > 0 {
                db.prepare_cached("INSERT OR REPLACE INTO alive (one, at) VALUES (1, ?1)")?
                    .execute([now.cast_signed()])?;
            }
        }
        let more = old.len() as i64 == SLICE;
        Ok(if more { Duration::from_millis(100) } else { often.max(Duration::from_millis(100)) })
    }
}

/// Sessions that a killed process left were lost when it was last alive.
fn begin(db: &Connection, now: u64) -> Result<()> {
    db.execute(
        "UPDATE sessions SET lost_at = coalesce((SELECT at FROM alive), ?1) WHERE lost_at IS NULL",
        [now.cast_signed()],
    )?;
    db.execute("INSERT OR REPLACE INTO alive (one, at) VALUES (1, ?1)", [now.cast_signed()])?;
    Ok(())
}

fn tell(db: &Connection, user: &UserId, position: Position, now: u64) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO told (user, epoch, head, at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (user) DO UPDATE SET epoch = ?2, head = ?3, at = ?4
         WHERE epoch <> ?2 OR head < ?3",
    )?
    .execute((
        user.as_str(),
        position.epoch.0.cast_signed(),
        position.offset.cast_signed(),
        now.cast_signed(),
    ))?;
    Ok(())
}

fn told(db: &Connection, user: &UserId) -> Result<Option<Position>> {
    db.prepare_cached("SELECT epoch, head FROM told WHERE user = ?1")?
        .query_row([user.as_str()], |row| {
            Ok(Position {
                epoch: Epoch(row.get::<_, i64>(0)?.cast_unsigned()),
                offset: row.get::<_, i64>(1)?.cast_unsigned(),
            })
        })
        .optional()
}

const UNKNOWN: i64 = 0;
const START: i64 = 1;
const AT: i64 = 2;

fn join(db: &Connection, session: &[u8; 16], room: &KeptRoom) -> Result<()> {
    let nowhere = Position { epoch: Epoch(0), offset: 0 };
    let (base, position) = match room.base {
        Base::At(position) => (AT, position),
        Base::Start => (START, nowhere),
        Base::Unknown => (UNKNOWN, nowhere),
    };
    db.prepare_cached(
        "INSERT OR REPLACE INTO session_rooms (session, slot, room, base, epoch, head)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        session,
        room.slot,
        room.room.as_str(),
        base,
        position.epoch.0.cast_signed(),
        position.offset.cast_signed(),
    ))?;
    Ok(())
}

/// A name as it was kept.
fn name<T>(
    column: usize,
    name: std::result::Result<T, hubbub_protocol::error::HubError>,
) -> Result<T> {
    name.map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, e.to_string().into())
    })
}

/// Sessions in the file of an [`EmbeddedHistory`](super::EmbeddedHistory), from
/// [`EmbeddedHistory::sessions`](super::EmbeddedHistory::sessions).
pub struct EmbeddedSessions(pub(super) Arc<Shared>);

impl EmbeddedSessions {
    pub(super) fn ask(
        &self,
        op: Op,
        session: SessionId,
        owner: Owner,
    ) -> PortFuture<Result<Answer, StoreError>> {
        let (reply, answer) = oneshot::channel();
        let pending = Pending { op, session, owner, outcome: None, reply };
        let pushed = self.0.commands.push(Command::Session(Box::new(pending)), BYTES);
        let refused = pushed.err().map(|(_, refused)| refusal(refused));
        Box::pin(async move {
            match refused {
                Some(e) => Err(e),
                None => answer.await.map_err(|_| StoreError::Closed)?,
            }
        })
    }

    fn owned(&self, op: Op, session: SessionId, owner: Owner) -> Owned {
        let answer = self.ask(op, session, owner);
        Box::pin(async move { Ok(matches!(answer.await?, Answer::Owned(true))) })
    }

    fn kept(
        &self,
        op: Op,
        session: SessionId,
        owner: Owner,
    ) -> PortFuture<Result<Option<KeptSession>, StoreError>> {
        let answer = self.ask(op, session, owner);
        Box::pin(async move {
            Ok(match answer.await? {
                Answer::Kept(kept) => kept,
                Answer::Owned(_) | Answer::Told(_) => None,
            })
        })
    }
}

impl SessionStore for EmbeddedSessions {
    fn open(&self, identity: KeptIdentity, owner: Owner) -> Owned {
        let id = identity.id;
        self.owned(Op::Open(identity), id, owner)
    }

    fn join(&self, session: SessionId, owner: Owner, room: KeptRoom) -> Owned {
        self.owned(Op::Join(room), session, owner)
    }

    fn leave(&self, session: SessionId, owner: Owner, room: &RoomName) -> Owned {
        self.owned(Op::Leave(room.clone()), session, owner)
    }

    fn lost(&self, session: SessionId, owner: Owner) -> Owned {
        self.owned(Op::Lost, session, owner)
    }

    fn ended(&self, session: SessionId, owner: Owner) -> Owned {
        self.owned(Op::Ended, session, owner)
    }

    fn find(&self, session: SessionId) -> PortFuture<Result<Option<KeptSession>, StoreError>> {
        self.kept(Op::Find, session, Owner(0))
    }

    fn told(&self, user: &UserId, position: Position) -> PortFuture<Result<(), StoreError>> {
        let answer = self.ask(Op::Told(user.clone(), position), NOBODY, Owner(0));
        Box::pin(async move { answer.await.map(drop) })
    }

    fn told_up_to(&self, user: &UserId) -> PortFuture<Result<Option<Position>, StoreError>> {
        let answer = self.ask(Op::ToldUpTo(user.clone()), NOBODY, Owner(0));
        Box::pin(async move {
            Ok(match answer.await? {
                Answer::Told(told) => told,
                Answer::Owned(_) | Answer::Kept(_) => None,
            })
        })
    }

    fn claim(
        &self,
        session: SessionId,
        owner: Owner,
    ) -> PortFuture<Result<Option<KeptSession>, StoreError>> {
        self.kept(Op::Claim, session, owner)
    }
}
