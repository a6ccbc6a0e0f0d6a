//! The archive's database: can it be reached, can it take messages.

use std::time::Duration;

use hubbub_actors::archive::postgres::{Look, look};

use super::report::Finding;
use crate::{config::Config, server::archive};

const WHAT: &str = "archive";

/// Looks at the database of the configuration; nothing if there is none.
pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let address = match archive::address(config) {
        Ok(Some(address)) => address,
        Ok(None) => return Vec::new(),
        // The settings are judged elsewhere.
        Err(_) => return Vec::new(),
    };
    let timeout = Duration::from_millis(config.archive.timeout_ms).min(super::TIMEOUT);
    match look(&address, timeout).await {
        Ok(seen) => judge(&address.to_string(), &seen),
        Err(e) => vec![Finding::problem(
            WHAT,
            format!("PostgreSQL at {address}: {e}"),
            "start it, or set archive.url; until then messages wait in Redis, up to archive.backlog_max",
        )],
    }
}

fn judge(at: &str, seen: &Look) -> Vec<Finding> {
    let ms = seen.round_trip.as_secs_f64() * 1000.0;
    let told = format!("{at} answers in {ms:.1} ms, version {}", seen.version);
    let mut findings = vec![Finding::fine(WHAT, told)];
    if seen.read_only {
        findings.push(Finding::problem(
            WHAT,
            "this server is a standby, which takes no writes",
            "name the primary in archive.url, or all of them with target_session_attrs=read-write",
        ));
    }
    match seen.schema {
        Some(version) if version > seen.known => findings.push(Finding::warning(
            WHAT,
            format!("its tables have step {version}, this version knows up to {}", seen.known),
            "bring all nodes to the newer version",
        )),
        Some(version) if version == seen.known => {
            findings
                .push(Finding::fine(WHAT, format!("its tables are up to date (step {version})")));
        }
        _ if !seen.may_create && !seen.read_only => findings.push(Finding::problem(
            WHAT,
            "its tables are missing or old, and this user may not make or change them",
            "`GRANT CREATE ON SCHEMA public TO` this user, or start one node with another one",
        )),
        _ => findings.push(Finding::fine(WHAT, "the first node that starts makes its tables")),
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{super::report::Level, *};

    #[test]
    fn each_fault_of_the_database_is_seen() {
        let fine = Look {
            version: "15.5".into(),
            read_only: false,
            schema: Some(1),
            may_create: false,
            known: 1,
            round_trip: Duration::from_millis(1),
        };
        let worst = |change: fn(&mut Look)| {
            let mut seen = fine.clone();
            change(&mut seen);
            judge("db:5432/x", &seen).iter().map(|f| f.level).max()
        };
        assert_eq!(worst(|_| {}), Some(Level::Fine));
        assert_eq!(worst(|seen| seen.read_only = true), Some(Level::Problem));
        assert_eq!(worst(|seen| seen.schema = Some(2)), Some(Level::Warning));
        assert_eq!(worst(|seen| seen.schema = None), Some(Level::Problem));
        let first = |seen: &mut Look| (seen.schema, seen.may_create) = (None, true);
        assert_eq!(worst(first), Some(Level::Fine));
    }
}
