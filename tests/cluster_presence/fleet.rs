//! Some hubs on one Redis.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use crate::{redis_server::Redis, support::*};

/// Hubs named `n0`, `n1`, ... and their Redis.
pub struct Fleet {
    pub hubs: Vec<Hub>,
    pub redis: Redis,
}

/// A lease short enough for many trials.
pub const SHORT: (&str, &str) = ("HUBBUB__CLUSTER__LEASE_MS", "2000");
/// A grace that tests need not wait for.
pub const GRACE: (&str, &str) = ("HUBBUB__PRESENCE__OFFLINE_GRACE_MS", "400");

impl Fleet {
    /// Starts them and waits until each is in the cluster.
    pub fn start(nodes: usize, settings: &[(&str, &str)]) -> Self {
        Self::on(Redis::start(true), nodes, settings)
    }

    /// The same on a Redis that runs.
    pub fn on(redis: Redis, nodes: usize, settings: &[(&str, &str)]) -> Self {
        let hubs = (0..nodes).map(|n| hub(&redis, &format!("n{n}"), settings)).collect();
        let fleet = Self { hubs, redis };
        fleet.complete();
        fleet
    }

    /// Waits until every node has joined and told what it holds.
    pub fn complete(&self) {
        until("all nodes are in the cluster", SOON, || {
            let told: Vec<String> = self.redis.ask(&["HVALS", &Redis::key("told")]);
            (told.len() == self.hubs.len() && told.iter().all(|t| t == "1")).then_some(())
        });
    }

    /// Waits until every node of these lists the same members of a room.
    pub fn members_until(&self, nodes: &[usize], room: &str, users: &[&str]) {
        let wanted: BTreeSet<&str> = users.iter().copied().collect();
        for &node in nodes {
            let mut last = Value::Null;
            let deadline = std::time::Instant::now() + SOON;
            loop {
                last = if std::time::Instant::now() < deadline {
                    self.hubs[node].api().get(&format!("/api/rooms/{room}/members")).expect(200)
                } else {
                    panic!("node {node} lists {last}, not {wanted:?}")
                };
                let members = last["members"].as_array().unwrap();
                let have: BTreeSet<&str> =
                    members.iter().map(|m| m["userId"].as_str().unwrap()).collect();
                if have == wanted {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// One more hub.
pub fn hub(redis: &Redis, name: &str, settings: &[(&str, &str)]) -> Hub {
    let url = redis.url();
    let mut all = vec![
        ("HUBBUB__CLUSTER__REDIS_URL", url.as_str()),
        ("HUBBUB__NODE__ID", name),
        ("HUBBUB__SERVER__WORKERS", "1"),
        UNLIMITED,
    ];
    all.extend(settings);
    Hub::start(&all)
}

/// Asks for the members of a room until one looks as wanted.
pub fn member_until(ws: &mut Ws, room: &str, user: &str, status: &str, sockets: u64) {
    let mut last = Value::Null;
    let deadline = std::time::Instant::now() + SOON;
    while std::time::Instant::now() < deadline {
        last = ws.ok(json!({"type": "members", "roomId": room}));
        let is =
            |m: &Value| m["userId"] == user && m["status"] == status && m["socketCount"] == sockets;
        if last["members"].as_array().unwrap().iter().any(is) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{user} is not {status} with {sockets} in {last}");
}

/// An event about a user.
pub fn about<'a>(name: &'a str, user: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |e| e["type"] == name && e["userId"] == user
}

/// News that a user is offline.
pub fn offline(user: &str) -> impl Fn(&Value) -> bool + '_ {
    move |e| e["type"] == "presence" && e["userId"] == user && e["status"] == "offline"
}
