//! Receipts in the same file as the history, through the same writer. They go with
//! their room.

use std::sync::Arc;

use hubbub_protocol::{
    id::{RoomName, UserId},
    position::{Epoch, Position},
};
use rusqlite::{Connection, OptionalExtension, Result, types::Type};
use tokio::sync::oneshot;

use super::{Shared, reader::Job, refusal, rooms, writer::Command};
use crate::{
    ports::{PortFuture, StoreError},
    receipt_store::{Advanced, Progress, ReceiptStore, ReceiptStoreConfig, Rise, RoomReceipts},
};

/// What each user's news takes in the queue, about.
const BYTES: usize = 128;

/// The table; `room` is that of `rooms`, whose epoch counts.
pub(super) const SCHEMA: &str = "
    CREATE TABLE receipts (
        room      INTEGER NOT NULL,
        user      TEXT    NOT NULL,
        delivered INTEGER NOT NULL,
        seen      INTEGER NOT NULL,
        PRIMARY KEY (room, user)
    ) WITHOUT ROWID;
";

/// News of a room on their way.
pub(super) struct Pending {
    pub room: RoomName,
    pub epoch: Epoch,
    pub news: Vec<(UserId, Progress)>,
    pub max_members: usize,
    /// What it came to, if the transaction succeeds.
    pub outcome: Option<Advanced>,
    pub reply: oneshot::Sender<std::result::Result<Advanced, StoreError>>,
}

/// Takes news, inside a transaction of the caller.
pub(super) fn apply(db: &Connection, pending: &mut Pending) -> Result<()> {
    let mut advanced = Advanced::default();
    let room = rooms::load(db, &pending.room)?.filter(|room| room.epoch == pending.epoch);
    let Some(room) = room else {
        pending.outcome = Some(advanced);
        return Ok(());
    };
    let mut count: Option<usize> = None;
    let mut find =
        db.prepare_cached("SELECT delivered, seen FROM receipts WHERE room = ?1 AND user = ?2")?;
    let mut put = db.prepare_cached(
        "INSERT OR REPLACE INTO receipts (room, user, delivered, seen) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (user, progress) in &pending.news {
        let before =
            find.query_row((room.id, user.as_str()), |row| progress_of(row, 0)).optional()?;
        if before.is_none() {
            let counted = match count {
                Some(counted) => counted,
                None => count_of(db, room.id)?,
            };
            if counted >= pending.max_members {
                count = Some(counted);
                advanced.untracked += 1;
                continue;
            }
            count = Some(counted + 1);
        }
        let before = before.unwrap_or_default();
        let now = before.max(*progress);
        if now != before {
            let (delivered, seen) = (now.delivered.cast_signed(), now.read.cast_signed());
            put.execute((room.id, user.as_str(), delivered, seen))?;
            advanced.rises.push(Rise { user: user.clone(), before, now });
        }
    }
    pending.outcome = Some(advanced);
    Ok(())
}

fn count_of(db: &Connection, room: i64) -> Result<usize> {
    let count: i64 = db
        .prepare_cached("SELECT count(*) FROM receipts WHERE room = ?1")?
        .query_row([room], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

fn progress_of(row: &rusqlite::Row<'_>, first: usize) -> Result<Progress> {
    Ok(Progress {
        delivered: row.get::<_, i64>(first)?.cast_unsigned(),
        read: row.get::<_, i64>(first + 1)?.cast_unsigned(),
    })
}

/// What is kept of a room; for a reader.
pub(super) fn of_room(
    db: &Connection,
    room: &RoomName,
    epoch: Epoch,
) -> Result<Vec<(UserId, Progress)>> {
    let Some(room) = rooms::load(db, room)?.filter(|room| room.epoch == epoch) else {
        return Ok(Vec::new());
    };
    db.prepare_cached("SELECT user, delivered, seen FROM receipts WHERE room = ?1 ORDER BY user")?
        .query_map([room.id], |row| {
            let user = UserId::new(row.get::<_, String>(0)?).map_err(|e| {
                rusqlite::Error::FromSqlConversionFailure(0, Type::Text, e.to_string().into())
            })?;
            Ok((user, progress_of(row, 1)?))
        })?
        .collect()
}

/// Forgets the receipts of a room that is removed.
pub(super) fn forget(db: &Connection, room: i64) -> Result<()> {
    db.prepare_cached("DELETE FROM receipts WHERE room = ?1")?.execute([room]).map(drop)
}

/// Receipts in the file of an [`EmbeddedHistory`](super::EmbeddedHistory), from
/// [`EmbeddedHistory::receipts`](super::EmbeddedHistory::receipts).
pub struct EmbeddedReceipts {
    pub(super) shared: Arc<Shared>,
    pub(super) config: ReceiptStoreConfig,
}

impl ReceiptStore for EmbeddedReceipts {
    fn advance(
        &self,
        room: &RoomName,
        epoch: Epoch,
        news: Vec<(UserId, Progress)>,
    ) -> PortFuture<std::result::Result<Advanced, StoreError>> {
        let (reply, answer) = oneshot::channel();
        let bytes = BYTES * news.len().max(1);
        let max_members = self.config.max_members;
        let pending =
            Pending { room: room.clone(), epoch, news, max_members, outcome: None, reply };
        let pushed = self.shared.commands.push(Command::Receipts(Box::new(pending)), bytes);
        let refused = pushed.err().map(|(_, refused)| refusal(refused));
        Box::pin(async move {
            match refused {
                Some(e) => Err(e),
                None => answer.await.map_err(|_| StoreError::Closed)?,
            }
        })
    }

    fn of_room(
        &self,
        room: &RoomName,
        head: Position,
    ) -> PortFuture<std::result::Result<RoomReceipts, StoreError>> {
        let (reply, answer) = oneshot::channel();
        let job = Job::Receipts(room.clone(), head.epoch, reply);
        let refused = self.shared.jobs.push(job, 0).err().map(|(_, refused)| refusal(refused));
        let max = self.config.max_members;
        Box::pin(async move {
            let users = match refused {
                Some(e) => return Err(e),
                None => answer.await.map_err(|_| StoreError::Closed)??,
            };
            let full = users.len() >= max;
            Ok(RoomReceipts { users, full })
        })
    }
}
