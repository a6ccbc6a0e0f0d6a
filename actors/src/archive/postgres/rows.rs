//! Writing messages and reading them. Every question is one round trip, and none
//! needs anything that a connection pooler between would take away.

use hubbub_protocol::{
    id::RoomName,
    position::{Epoch, Position},
};
use tokio_postgres::{
    Row as Answer,
    types::{ToSql, Type},
};
use uuid::Uuid;

use super::{Database, DatabaseError};
use crate::archive::entry::Row;

/// A row that is there already stays as it is: it says the same.
const WRITE: &str = "
    WITH written AS (
        INSERT INTO hubbub_messages
            (room, epoch, room_offset, sent_at, id, kind, user_id, user_name, content, data, exact)
        SELECT room, epoch, room_offset, timestamptz 'epoch' + sent * interval '1 millisecond',
               id, kind, user_id, user_name, content, data, exact
        FROM unnest($1::text[], $2::int8[], $3::int8[], $4::int8[], $5::uuid[], $6::text[],
                    $7::text[], $8::text[], $9::text[], $10::text[], $11::bytea[])
            AS t (room, epoch, room_offset, sent, id, kind, user_id, user_name, content, data, exact)
        ON CONFLICT DO NOTHING
        RETURNING 1
    )
    SELECT count(*) FROM written";

/// A page of one room and epoch. The innermost takes the rows by the index, the
/// outer one as many of them as fit into the bytes, but always one.
macro_rules! page {
    ($side:literal, $order:literal) => {
        concat!(
            "SELECT room_offset, round(extract(epoch FROM sent_at) * 1000)::int8, id, kind, user_id,
                    user_name, content, data, exact
             FROM (
                SELECT *, sum(octet_length(coalesce(content, '')) + octet_length(coalesce(data, ''))
                              + octet_length(coalesce(exact, '')))
                          OVER (ORDER BY room_offset ",
            $order,
            " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
                FROM (
                    SELECT * FROM hubbub_messages
                    WHERE room = $1 AND epoch = $2 AND room_offset ",
            $side,
            " $3 ORDER BY room_offset ",
            $order,
            " LIMIT $4
                ) AS nearest
             ) AS measured
             WHERE coalesce(before, 0) < $5
             ORDER BY room_offset ",
            $order
        )
    };
}

const AFTER: &str = page!(">", "ASC");
const BEFORE: &str = page!("<", "DESC");
const FIRST: &str = "SELECT min(room_offset) FROM hubbub_messages WHERE room = $1 AND epoch = $2";

/// Which rows of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::archive) enum Side {
    /// The first ones above an offset, ascending.
    After(u64),
    /// The last ones below it, descending.
    Before(u64),
}

impl Database {
    /// Writes rows; says how many were not there yet. When it returns they are as
    /// safe as the server makes them.
    pub(in crate::archive) async fn write(&self, rows: &[Row]) -> Result<u64, DatabaseError> {
        // Nodes that write the same rows take them in the same order.
        let mut rows: Vec<&Row> = rows.iter().collect();
        rows.sort_by(|a, b| {
            let key = |row: &Row| (row.position.epoch.0, row.position.offset);
            a.room.cmp(&b.room).then(key(a).cmp(&key(b)))
        });
        let room: Vec<&str> = rows.iter().map(|row| row.room.as_str()).collect();
        let epoch: Vec<i64> = rows.iter().map(|row| row.position.epoch.0.cast_signed()).collect();
        let offset: Vec<i64> = rows.iter().map(|row| row.position.offset.cast_signed()).collect();
        let sent: Vec<i64> = rows.iter().map(|row| row.sent_at.cast_signed()).collect();
        let id: Vec<Option<Uuid>> = rows.iter().map(|row| row.id).collect();
        let text = |of: fn(&Row) -> &Option<String>| -> Vec<Option<&str>> {
            rows.iter().map(|row| of(row).as_deref()).collect()
        };
        let kind = text(|row| &row.kind);
        let user = text(|row| &row.user);
        let username = text(|row| &row.username);
        let content = text(|row| &row.content);
        let data = text(|row| &row.data);
        let exact: Vec<Option<&[u8]>> = rows.iter().map(|row| row.exact.as_deref()).collect();
        let values: [(&(dyn ToSql + Sync), Type); 11] = [
            (&room, Type::TEXT_ARRAY),
            (&epoch, Type::INT8_ARRAY),
            (&offset, Type::INT8_ARRAY),
            (&sent, Type::INT8_ARRAY),
            (&id, Type::UUID_ARRAY),
            (&kind, Type::TEXT_ARRAY),
            (&user, Type::TEXT_ARRAY),
            (&username, Type::TEXT_ARRAY),
            (&content, Type::TEXT_ARRAY),
            (&data, Type::TEXT_ARRAY),
            (&exact, Type::BYTEA_ARRAY),
        ];
        let written = self.ask(async |client| {
            let row = client.query_typed_one(WRITE, &values).await?;
            Ok(row.try_get::<_, i64>(0)?.cast_unsigned())
        });
        written.await
    }

    /// Connects, and brings the tables up to date if it is the writer's.
    pub(in crate::archive) async fn prepare(&self) -> Result<(), DatabaseError> {
        self.client().await.map(drop)
    }

    /// Reads rows of a room: at most `limit`, and about `bytes` of text, but one if
    /// there is one.
    pub(in crate::archive) async fn read(
        &self,
        room: &RoomName,
        epoch: Epoch,
        side: Side,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<Row>, DatabaseError> {
        let (question, from) = match side {
            Side::After(offset) => (AFTER, offset),
            Side::Before(offset) => (BEFORE, offset),
        };
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let (name, number) = (room.as_str(), epoch.0.cast_signed());
        let rows = self.ask(async |client| {
            let values: [(&(dyn ToSql + Sync), Type); 5] = [
                (&name, Type::TEXT),
                (&number, Type::INT8),
                (&from, Type::INT8),
                (&limit, Type::INT8),
                (&bytes, Type::INT8),
            ];
            Ok(client.query_typed(question, &values).await?)
        });
        let row = |answer: &Answer| -> Result<Row, tokio_postgres::Error> {
            let offset = answer.try_get::<_, i64>(0)?.cast_unsigned();
            Ok(Row {
                room: room.clone(),
                position: Position { epoch, offset },
                sent_at: answer.try_get::<_, i64>(1)?.cast_unsigned(),
                id: answer.try_get(2)?,
                kind: answer.try_get(3)?,
                user: answer.try_get(4)?,
                username: answer.try_get(5)?,
                content: answer.try_get(6)?,
                data: answer.try_get(7)?,
                exact: answer.try_get(8)?,
            })
        };
        let strange = |e: tokio_postgres::Error| DatabaseError::Strange(super::describe(&e));
        rows.await?.iter().map(|answer| row(answer).map_err(strange)).collect()
    }

    /// The first offset of a room that is archived; none if nothing is.
    pub(in crate::archive) async fn first(
        &self,
        room: &RoomName,
        epoch: Epoch,
    ) -> Result<Option<u64>, DatabaseError> {
        let (name, number) = (room.as_str(), epoch.0.cast_signed());
        let first = self.ask(async |client| {
            let values: [(&(dyn ToSql + Sync), Type); 2] =
                [(&name, Type::TEXT), (&number, Type::INT8)];
            let row = client.query_typed_one(FIRST, &values).await?;
            Ok(row.try_get::<_, Option<i64>>(0)?.map(i64::cast_unsigned))
        });
        first.await
    }
}
