//! What makes no sense in the section `archive`.

use std::time::Duration;

use hubbub_actors::archive::postgres::{Address, AddressError};

use super::Findings;
use crate::config::{Config, HistoryStore};

pub(super) fn archive(config: &Config, found: &mut Findings) {
    let archive = &config.archive;
    found.file("archive.tls_ca", archive.tls_ca.as_deref());
    if let Some(url) = &archive.url
        // Its certificates are named by their own key.
        && let Err(reason @ (AddressError::Scheme
        | AddressError::Mode(_)
        | AddressError::Certificates(_)
        | AddressError::Host
        | AddressError::Database
        | AddressError::Invalid(_))) =
            Address::parse(url.expose(), Some(b""), Duration::from_secs(1))
    {
        found.problem("archive.url", reason.to_string());
    }
    let named = !archive.rooms.is_empty();
    if archive.rooms.iter().any(String::is_empty) {
        found.problem("archive.rooms", "an empty pattern matches no room");
    }
    match (config.history.store, &archive.url) {
        (HistoryStore::Redis, None) if named => found.problem(
            "archive.url",
            "archive.rooms needs a PostgreSQL that takes the messages, as the history is in Redis",
        ),
        (HistoryStore::Redis, Some(_)) if !named => found.problem(
            "archive.rooms",
            "nothing is archived in archive.url without it; name rooms, such as `*` for all",
        ),
        (HistoryStore::Embedded | HistoryStore::Memory, Some(_)) => found.problem(
            "archive.url",
            "it takes what is in Redis; set cluster.redis_url, or unset it: a node with the \
             embedded store keeps archived rooms in its own file",
        ),
        (HistoryStore::Memory, None) if named => found.problem(
            "archive.rooms",
            "history.store = \"memory\" keeps nothing for good; use \"embedded\"",
        ),
        _ => {}
    }
}
