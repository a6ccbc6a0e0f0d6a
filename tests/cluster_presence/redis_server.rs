//! The Redis of a test, and what presence keeps in it.

use std::{collections::BTreeSet, thread, time::Duration};

use redis::FromRedisValue;

use crate::support::*;

/// A running server on a free port; killed when dropped.
pub struct Redis(RedisServer);

impl Redis {
    /// Starts a server; a durable one writes every change to its file.
    pub fn start(durable: bool) -> Self {
        let append = if durable { "yes" } else { "no" };
        Self(RedisServer::start(&["--appendonly", append, "--appendfsync", "always"]))
    }

    /// Where it is.
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// Kills it and starts it again after a while.
    pub fn restart(&mut self, after: Duration) {
        self.0.kill();
        thread::sleep(after);
        self.0.start_again();
    }

    /// Sends a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        self.0.signal(name);
    }

    /// What a command answers.
    pub fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        let mut cmd = redis::cmd(command[0]);
        cmd.arg(&command[1..]);
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_connection_with_timeout(SOON).unwrap();
        cmd.query(&mut connection).unwrap()
    }

    /// A key of presence.
    pub fn key(name: &str) -> String {
        format!("hubbub:presence:{{online-users}}:{name}")
    }

    /// The members of the set that other programs read.
    pub fn online(&self) -> BTreeSet<String> {
        self.ask(&["SMEMBERS", "online-users"])
    }

    /// The instances of nodes.
    pub fn nodes(&self) -> BTreeSet<String> {
        self.ask(&["HKEYS", &Self::key("nodes")])
    }

    /// The instances that have users, lingering or not.
    pub fn holders(&self) -> BTreeSet<String> {
        let keys: BTreeSet<String> = self.ask(&["KEYS", &Self::key("users:*")]);
        let prefix = Self::key("users:");
        keys.iter().filter_map(|key| key.strip_prefix(&prefix).map(str::to_owned)).collect()
    }
}
