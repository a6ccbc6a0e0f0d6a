//! A hub process of the test's own.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    http::{Answer, Http},
    log::Log,
    metrics::Metrics,
    token::{API_KEY, JWT_SECRET, token},
    wait::{SOON, until},
    ws::{Handshake, Ws},
};

/// Takes the rate limit off, for tests that send fast.
pub const UNLIMITED: (&str, &str) = ("HUBBUB__LIMITS__MESSAGES_PER_SECOND", "0");

/// The command line, without the caller's own settings. `HUBBUB_BIN` names another binary than
/// the one that was built with the tests: a release build, to measure.
pub fn hubbub() -> Command {
    let built = env!("CARGO_BIN_EXE_hubbub");
    let mut command = Command::new(std::env::var_os("HUBBUB_BIN").unwrap_or(built.into()));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HUBBUB__") {
            command.env_remove(name);
        }
    }
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// A running hub with a folder of its own; killed when dropped.
pub struct Hub {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it logs, since its last start.
    pub log: Arc<Log>,
    variables: BTreeMap<String, String>,
    folder: TempDir,
}

impl Hub {
    /// Starts a hub with the usual settings of the tests and these over them; an
    /// empty value leaves an optional key unset. Panics if it does not listen.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let history = folder.path().join("history");
        let mut variables: BTreeMap<String, String> = [
            ("HUBBUB__SERVER__LISTEN", "127.0.0.1:0"),
            ("HUBBUB__HISTORY__PATH", history.to_str().unwrap()),
            ("HUBBUB__LOG__FORMAT", "json"),
            ("HUBBUB__AUTH__JWT_SECRET", JWT_SECRET),
            ("HUBBUB__AUTH__API_KEY", API_KEY),
        ]
        .into_iter()
        .chain(settings.iter().copied())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        let (child, log, address) =
            launch(&variables, folder.path()).unwrap_or_else(|e| panic!("{e}"));
        variables.insert("HUBBUB__SERVER__LISTEN".into(), address.to_string());
        Self { child, address, log, variables, folder }
    }

    /// Starts it again on the same port and the same data; kills it first if it
    /// still runs.
    pub fn restart(&mut self) {
        self.kill();
        // The port may be held for a moment by what is left of the old process.
        let deadline = Instant::now() + SOON;
        (self.child, self.log, self.address) = loop {
            match launch(&self.variables, self.folder.path()) {
                Ok(started) => break started,
                Err(e) if Instant::now() > deadline => panic!("{e}"),
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        };
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.pid())])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for the end of the process.
    pub fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        until("the hub ends", within, || self.child.try_wait().unwrap())
    }

    /// Whether the process has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder the hub was started in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of its history.
    pub fn history_path(&self) -> PathBuf {
        PathBuf::from(&self.variables["HUBBUB__HISTORY__PATH"])
    }

    /// An open session of a user.
    pub fn ws(&self, user: &str) -> Ws {
        self.ws_as(user, json!({}))
    }

    /// An open session of a user with more claims in the token.
    pub fn ws_as(&self, user: &str, claims: Value) -> Ws {
        self.ws_by(Handshake::new().query_token(&token(user, claims)))
    }

    /// An open session through this handshake; takes the `authenticated` event.
    pub fn ws_by(&self, handshake: Handshake) -> Ws {
        let mut ws = self.connect(handshake);
        ws.expect_kind("authenticated");
        ws
    }

    /// A connection, authenticated or not.
    pub fn connect(&self, handshake: Handshake) -> Ws {
        handshake.open(self.address).unwrap_or_else(|a| panic!("{} {}", a.status, a.text()))
    }

    /// What a handshake that must fail is answered with.
    pub fn refusal(&self, handshake: Handshake) -> Answer {
        match handshake.open(self.address) {
            Ok(_) => panic!("the handshake was accepted"),
            Err(answer) => answer,
        }
    }

    /// A session of a user that has joined a room.
    pub fn member(&self, user: &str, room: &str) -> Ws {
        let mut ws = self.ws(user);
        ws.join(room);
        ws
    }

    /// HTTP requests with the API key.
    pub fn api(&self) -> Http {
        Http::with_key(self.address)
    }

    /// HTTP requests without it.
    pub fn http(&self) -> Http {
        Http::new(self.address)
    }

    /// `/metrics` now.
    pub fn metrics(&self) -> Metrics {
        let answer = self.api().get("/metrics");
        assert_eq!(answer.status, 200, "{}", answer.text());
        Metrics(answer.text())
    }

    /// Waits until a metric (the sum of its matching series) passes a test.
    pub fn metric_until(&self, name: &str, labels: &[&str], test: impl Fn(f64) -> bool) {
        let mut last = 0.0;
        let deadline = Instant::now() + SOON;
        loop {
            let now = self.metrics().sum(name, labels);
            if test(now) {
                return;
            }
            last = if Instant::now() < deadline { now } else { break };
            thread::sleep(Duration::from_millis(20));
        }
        panic!("{name}{labels:?} stays {last}");
    }

    /// Its resident bytes once it has served somebody: what it loads for the first one is no cost
    /// of those who follow.
    pub fn warm(&self) -> u64 {
        let mut first = self.member("first", "first");
        first.say("first", "hello");
        first.close();
        self.memory("VmRSS")
    }

    /// A line of `/proc/PID/status` in bytes, such as `VmRSS` or `VmHWM`.
    pub fn memory(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let kib = status
            .lines()
            .find_map(|l| l.strip_prefix(line)?.strip_prefix(':')?.trim().strip_suffix(" kB"))
            .unwrap_or_else(|| panic!("no {line} in {status}"));
        kib.trim().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("the hub's last lines:\n{}", self.log.tail(30));
        } else if self.variables["HUBBUB__LOG__FORMAT"] == "json" {
            // Each test is a test of the log too: no secret, and no JWT, which begins so.
            self.log.assert_sound(&[JWT_SECRET, API_KEY, "eyJ"]);
        }
    }
}

type Launched = (Child, Arc<Log>, SocketAddr);

fn launch(variables: &BTreeMap<String, String>, folder: &Path) -> Result<Launched, String> {
    let mut child = hubbub()
        .envs(variables)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = Log::follow(child.stderr.take().unwrap());
    let deadline = Instant::now() + SOON;
    loop {
        let line = log.find(|l| l["msg"] == "listening");
        let address = line.as_ref().and_then(|l| l["address"].as_str()?.parse().ok());
        if let Some(address) = address {
            return Ok((child, log, address));
        }
        let ended = child.try_wait().unwrap();
        if ended.is_some() || Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("the hub does not listen ({ended:?}):\n{}", log.tail(30)));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Raises this process's limit of open files as far as it may go, which the hubs
/// it starts inherit, and returns it.
pub fn soft_file_limit() -> u64 {
    let pid = std::process::id().to_string();
    let limits = || std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let column = |text: &str, at: usize| -> Option<u64> {
        let line = text.lines().find(|l| l.starts_with("Max open files"))?;
        line.split_whitespace().nth(at)?.parse().ok()
    };
    if let Some(hard) = column(&limits(), 4) {
        let _ = Command::new("prlimit")
            .args(["--pid", &pid, &format!("--nofile={hard}:{hard}")])
            .status();
    }
    column(&limits(), 3).unwrap_or(0)
}
