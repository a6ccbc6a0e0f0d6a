//! The tables of the archive, made and changed by numbered steps. Only ever append
//! one: what is applied somewhere is never changed.

use std::time::Instant;

use refinery::{Migration, Runner};
use tokio_postgres::{Client, error::SqlState, types::Type};

use super::{DatabaseError, Look};

/// Each step: its name with its number, and its text.
const STEPS: [(&str, &str); 1] = [("V1__archive", include_str!("V1__archive.sql"))];
/// The number of the last one.
const NEWEST: i32 = STEPS.len() as i32;
/// Where it is noted which steps were taken.
const NOTES: &str = "hubbub_migrations";
/// The lock that keeps nodes that start together from taking the same step: "hubbub".
const LOCK: i64 = 0x6875_6262_7562;

/// The number of the newest step that was taken; none if there are no tables yet.
async fn version(client: &Client) -> Result<Option<i32>, DatabaseError> {
    let asked = client.query_typed_one("SELECT max(version) FROM hubbub_migrations", &[]).await;
    match asked {
        Ok(row) => Ok(row.try_get(0)?),
        Err(e) if e.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Takes the steps that are missing. Safe while other nodes do the same. A user
/// without the right to make tables gets by if nothing is missing.
pub(super) async fn migrate(client: &mut Client) -> Result<(), DatabaseError> {
    if version(client).await?.is_some_and(|version| version >= NEWEST) {
        return Ok(());
    }
    let lock = &[(&LOCK as _, Type::INT8)];
    client.query_typed("SELECT pg_advisory_lock($1)", lock).await?;
    let failed = |e: refinery::Error| DatabaseError::Schema(super::describe(&e));
    let steps = STEPS.iter().map(|(name, sql)| Migration::unapplied(name, sql));
    let steps = steps.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut runner = Runner::new(&steps)
        // Those that a later version of the hub took are its own affair.
        .set_abort_missing(false);
    runner.set_migration_table_name(NOTES);
    let run = runner.run_async(client).await;
    // Ends with the connection in any case.
    client.query_typed("SELECT pg_advisory_unlock($1)", lock).await?;
    let report = run.map_err(failed)?;
    if !report.applied_migrations().is_empty() {
        log::info!(steps = report.applied_migrations().len(), version = NEWEST;
            "the tables of the archive were brought up to date");
    }
    Ok(())
}

/// What the server says of itself and of the tables.
pub(super) async fn look(client: &Client) -> Result<Look, DatabaseError> {
    let asked = Instant::now();
    let question = "SELECT current_setting('server_version'),
        pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on',
        coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)";
    let row = client.query_typed_one(question, &[]).await?;
    let round_trip = asked.elapsed();
    Ok(Look {
        version: row.try_get(0)?,
        read_only: row.try_get(1)?,
        may_create: row.try_get(2)?,
        schema: version(client).await?,
        known: NEWEST,
        round_trip,
    })
}
