//! A real `redis-server` of a test, on a port of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::address::Address;

/// A running server; ends with the value.
pub(crate) struct TestServer {
    child: Child,
    pub port: u16,
    directory: tempfile::TempDir,
    args: Vec<String>,
}

impl TestServer {
    /// Starts a server that keeps nothing on disk, with more arguments.
    pub(crate) fn start(args: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = tempfile::tempdir().unwrap();
        let args: Vec<_> = args.iter().map(|a| (*a).to_owned()).collect();
        let child = Self::spawn(port, &directory, &args);
        let server = Self { child, port, directory, args };
        server.wait();
        server
    }

    fn spawn(port: u16, directory: &tempfile::TempDir, args: &[String]) -> Child {
        Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--dir", directory.path().to_str().unwrap()])
            .args(args)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts")
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server listens in time");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it, and starts it again with the same port, folder and arguments.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.child = Self::spawn(self.port, &self.directory, &self.args);
        self.wait();
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its address.
    pub(crate) fn address(&self) -> Address {
        Address::parse(&format!("redis://127.0.0.1:{}", self.port)).unwrap()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.kill();
    }
}
