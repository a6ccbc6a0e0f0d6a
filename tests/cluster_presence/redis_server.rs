//! A redis-server process of the test's own.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::{Connection, FromRedisValue};
use tempfile::TempDir;

use crate::support::*;

/// A running server on a free port; killed when dropped.
pub struct Redis {
    child: Child,
    port: u16,
    folder: TempDir,
    durable: bool,
}

impl Redis {
    /// Starts a server; a durable one writes every change to its file.
    pub fn start(durable: bool) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let child = launch(port, &folder, durable);
        let server = Self { child, port, folder, durable };
        server.wait();
        server
    }

    fn wait(&self) {
        until("redis answers", SOON, || {
            let mut connection = self.connect()?;
            redis::cmd("PING").query::<String>(&mut connection).ok()
        });
    }

    fn connect(&self) -> Option<Connection> {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_connection_with_timeout(Duration::from_secs(2)).ok()
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills it and starts it again after a while.
    pub fn restart(&mut self, after: Duration) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        std::thread::sleep(after);
        self.child = launch(self.port, &self.folder, self.durable);
        self.wait();
    }

    /// Sends a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// What a command answers.
    pub fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        let mut cmd = redis::cmd(command[0]);
        cmd.arg(&command[1..]);
        cmd.query(&mut self.connect().unwrap()).unwrap()
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

fn launch(port: u16, folder: &TempDir, durable: bool) -> Child {
    let append = if durable { "yes" } else { "no" };
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--appendonly", append, "--appendfsync", "always"])
        .args(["--dir", folder.path().to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
