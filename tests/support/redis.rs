//! A `redis-server` of the test's own.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use super::wait::{SOON, until};

/// A running Redis with a folder of its own; killed when dropped.
pub struct RedisServer {
    child: Child,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    args: Vec<String>,
    folder: TempDir,
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl RedisServer {
    /// Starts one with these arguments; without any it keeps nothing on disk.
    pub fn start(args: &[&str]) -> Self {
        Self::start_on(free_port(), args)
    }

    /// The same on a port.
    pub fn start_on(port: u16, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        let child = spawn(port, folder.path(), &args);
        let server = Self { child, port, args, folder };
        server.wait();
        server
    }

    fn wait(&self) {
        until("redis-server answers", SOON, || {
            // It may still be reading its data.
            self.try_command(&["PING"]).filter(|answer| answer.starts_with("+PONG"))
        });
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Kills it and starts it again on the same port and the same data.
    pub fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Starts it again after a kill.
    pub fn start_again(&mut self) {
        self.child = spawn(self.port, self.folder.path(), &self.args);
        self.wait();
    }

    /// Sends a signal by name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.child.id())])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Publishes bytes.
    pub fn publish(&self, channel: &str, payload: &[u8]) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let head = format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n", channel.len());
        let body = [format!("${}\r\n", payload.len()).as_bytes(), payload, b"\r\n"].concat();
        stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
        assert!(stream.read(&mut [0; 64]).unwrap() > 0);
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Runs a command; the answer as it came, up to its first 64 KiB.
    pub fn command(&self, words: &[&str]) -> String {
        self.try_command(words).unwrap_or_else(|| panic!("{words:?} was not answered"))
    }

    /// The same; none if nobody answers.
    pub fn try_command(&self, words: &[&str]) -> Option<String> {
        Self::ask(self.port, words)
    }

    /// The same of whoever listens on a port.
    pub fn ask(port: u16, words: &[&str]) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        stream.write_all(request.as_bytes()).ok()?;
        let mut piece = [0; 64 * 1024];
        let n = stream.read(&mut piece).ok().filter(|n| *n > 0)?;
        Some(String::from_utf8_lossy(&piece[..n]).into_owned())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(port: u16, folder: &Path, args: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--dir", folder.to_str().unwrap(), "--save", "", "--daemonize", "no"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}
