//! What the scripts answer.

use std::net::IpAddr;

use hubbub_protocol::id::UserId;
use redis::{FromRedisValue, Value};

use crate::cluster::{
    Share,
    store::{
        Anchor, Away, Beat, Entry, Instance, Joined, Listed, Logged, Read, Renewal, Renewed, Swept,
    },
};

fn take<T: FromRedisValue>(value: Value) -> Result<T, Away> {
    T::from_redis_value(value).map_err(|e| Away(format!("Redis answered something else: {e}")))
}

fn strange(what: &str) -> Away {
    Away(format!("Redis answered something else: {what}"))
}

pub(super) fn renewed(value: Value) -> Result<Renewed, Away> {
    Ok(if take::<i64>(value)? == 1 { Renewed::Known } else { Renewed::Unknown })
}

pub(super) fn joined(value: Value, nonce: String) -> Result<Joined, Away> {
    let (fresh, id, nodes): (i64, String, Vec<String>) = take(value)?;
    let nodes = nodes
        .chunks_exact(2)
        .map(|pair| Listed { instance: pair[0].as_str().into(), complete: pair[1] == "1" })
        .collect();
    Ok(Joined { fresh: fresh == 1, anchor: Anchor { id, nonce }, nodes })
}

pub(super) fn renewal(value: Value) -> Result<Renewal, Away> {
    let fields: Vec<String> = take(value)?;
    if fields.is_empty() {
        return Ok(Renewal::Unknown);
    }
    let beat = |f: &[String]| Beat {
        instance: f[0].as_str().into(),
        says: f[1].clone(),
        alive: f[2] == "1",
    };
    Ok(Renewal::Renewed(fields.chunks_exact(3).map(beat).collect()))
}

pub(super) fn swept(value: Value) -> Result<Swept, Away> {
    let (state, users): (i64, usize) = take(value)?;
    Ok(match state {
        1 => Swept::Some(users),
        0 => Swept::All(users),
        -1 => Swept::Busy,
        _ => Swept::Alive,
    })
}

/// Users with their shares; what this version cannot read is left out.
fn shares(fields: &[String]) -> Vec<(UserId, Option<Share>)> {
    let mut shares = Vec::with_capacity(fields.len() / 2);
    for pair in fields.chunks_exact(2) {
        let Ok(user) = UserId::new(&pair[0]) else { continue };
        if pair[1].is_empty() {
            shares.push((user, None));
            continue;
        }
        match serde_json::from_str(&pair[1]) {
            Ok(share) => shares.push((user, Some(share))),
            Err(error) => {
                log::warn!(user = pair[0].as_str(), error:%; "another node's share cannot be read");
            }
        }
    }
    shares
}

fn entry(kind: &str, rest: &[String]) -> Entry {
    match kind {
        "announcing" => Entry::Announcing,
        "announced" => Entry::Announced,
        "users" => Entry::Users(shares(rest)),
        "gone" => Entry::Gone,
        "away" => match rest {
            [user, until, ..] => match (UserId::new(user), until.parse()) {
                (Ok(user), Ok(until)) => Entry::SendAway(user, until),
                _ => Entry::Other,
            },
            _ => Entry::Other,
        },
        "addresses" => Entry::Addresses(counts(rest)),
        _ => Entry::Other,
    }
}

pub(super) fn read(value: Value, after: Anchor) -> Result<Read, Away> {
    if matches!(value, Value::Nil | Value::Boolean(false)) {
        return Ok(Read::Lost);
    }
    let list: Vec<(String, Vec<String>)> = take(value)?;
    let mut anchor = after;
    let mut entries = Vec::with_capacity(list.len());
    for (id, fields) in list {
        // `t` kind, `i` instance, `n` nonce, and what the kind has.
        let [_, kind, _, instance, _, nonce, rest @ ..] = &fields[..] else {
            return Err(strange("an entry of the log without its fields"));
        };
        let instance: Instance = instance.as_str().into();
        // A nonce is the writer and a number.
        let by = nonce.trim_end_matches('.').rsplit_once('.').map_or("", |(by, _)| by);
        let (by, id_here) = (by.into(), id.clone());
        entries.push(Logged { id: id_here, instance, by, entry: entry(kind, rest) });
        anchor = Anchor { id, nonce: nonce.clone() };
    }
    Ok(Read::Entries(entries, anchor))
}

pub(super) fn scanned(value: Value) -> Result<(String, Vec<(UserId, Share)>), Away> {
    let (cursor, fields): (String, Vec<String>) = take(value)?;
    let some = shares(&fields).into_iter().filter_map(|(user, share)| Some((user, share?)));
    Ok((cursor, some.collect()))
}

pub(super) fn found(value: Value) -> Result<Vec<(Instance, Share)>, Away> {
    let fields: Vec<String> = take(value)?;
    let pairs = fields.chunks_exact(2);
    let read =
        |pair: &[String]| Some((pair[0].as_str().into(), serde_json::from_str(&pair[1]).ok()?));
    Ok(pairs.filter_map(read).collect())
}

pub(super) fn bans(value: Value) -> Result<Vec<(UserId, u64)>, Away> {
    let fields: Vec<(String, f64)> = take(value)?;
    let known = |(user, until): (String, f64)| Some((UserId::new(user).ok()?, until as u64));
    Ok(fields.into_iter().filter_map(known).collect())
}

fn counts(fields: &[String]) -> Vec<(IpAddr, u32)> {
    let pair = |p: &[String]| Some((p[0].parse().ok()?, p[1].parse().ok()?));
    fields.chunks_exact(2).filter_map(pair).collect()
}

pub(super) fn addresses(value: Value) -> Result<Vec<(IpAddr, u32)>, Away> {
    let all: std::collections::HashMap<String, String> = take(value)?;
    let flat: Vec<String> = all.into_iter().flat_map(|(a, n)| [a, n]).collect();
    Ok(counts(&flat))
}
