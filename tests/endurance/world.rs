//! What the faults fall on: hubs, each with a way of its own to one Redis, or one hub with its file; a
//! disk that can be full; clocks that can be put wrong.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use crate::support::*;

/// Where Debian's package `faketime` has its library.
const FAKETIME: &str = "/usr/lib/*/faketime/libfaketime.so.1";
/// Long enough that no clock that is put wrong ends a token.
pub const TOKEN_SECONDS: u64 = 30 * 24 * 3600;

/// Hubs on one Redis, or a single one without.
pub struct World {
    /// The nodes. Whoever harms one holds it meanwhile.
    pub hubs: Vec<Mutex<Hub>>,
    /// Where they listen.
    pub addresses: Vec<SocketAddr>,
    /// Each node's way to Redis.
    pub ways: Vec<Proxy>,
    /// The one Redis; it keeps what it acknowledges, also when it is killed. None for a single node.
    pub redis: Option<Mutex<RedisServer>>,
    /// Where the history is kept; none where nothing may be mounted.
    pub disk: Option<SmallDisk>,
    /// Each node's clock; empty without libfaketime.
    clocks: Vec<PathBuf>,
    _folder: tempfile::TempDir,
}

impl World {
    /// Starts everything. A single node has no Redis.
    pub fn start(nodes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = SmallDisk::mount(512);
        let at = disk.as_ref().map_or(folder.path(), |disk| disk.path()).to_str().unwrap();
        let redis = (nodes > 1).then(|| {
            // What it answers is on the disk, so that its death loses nothing.
            let keeping = ["--dir", at, "--appendonly", "yes", "--appendfsync", "always"];
            RedisServer::start(&keeping)
        });
        let port = redis.as_ref().map(|redis| redis.port);
        let ways: Vec<Proxy> =
            port.map_or(Vec::new(), |port| (0..nodes).map(|_| Proxy::to(port)).collect());
        let library = faketime();
        let clocks: Vec<PathBuf> = (0..nodes * usize::from(library.is_some()))
            .map(|n| folder.path().join(format!("clock-{n}")))
            .collect();
        clocks.iter().for_each(|clock| set_clock(clock, 0));
        let hubs: Vec<Hub> = (0..nodes)
            .map(|n| {
                let (id, path) = (format!("n{n}"), format!("{at}/hub"));
                let url = ways.get(n).map(|way| format!("redis://127.0.0.1:{}", way.port));
                let mut settings = vec![
                    UNLIMITED,
                    ("HUBBUB__HISTORY__PATH", &*path),
                    ("HUBBUB__CLUSTER__REDIS_URL", url.as_deref().unwrap_or_default()),
                    // Shorter than some faults: then publishes are refused.
                    ("HUBBUB__CLUSTER__QUEUE_TIMEOUT_MS", "2500"),
                    ("HUBBUB__NODE__ID", &*id),
                    ("HUBBUB__SERVER__WORKERS", "2"),
                    ("HUBBUB__HISTORY__MAX_MESSAGES", "1000000"),
                    ("HUBBUB__SESSION__HEARTBEAT_MS", "2000"),
                    ("HUBBUB__SESSION__TIMEOUT_MS", "6000"),
                    ("HUBBUB__LIMITS__MAX_SESSIONS_PER_USER", "0"),
                    ("HUBBUB__SERVER__DRAIN_TIMEOUT_MS", "3000"),
                ];
                let faked = clocks.get(n).zip(library.as_deref()).map(|(c, l)| with_clock(l, c));
                settings.extend(faked.iter().flatten().map(|(name, value)| (*name, &**value)));
                Hub::start(&settings)
            })
            .collect();
        let addresses = hubs.iter().map(|hub| hub.address).collect();
        let hubs = hubs.into_iter().map(Mutex::new).collect();
        let redis = redis.map(Mutex::new);
        let world = Self { hubs, addresses, ways, redis, disk, clocks, _folder: folder };
        world.wait_ready(SOON);
        world
    }

    /// Redis, which there is.
    pub fn redis(&self) -> MutexGuard<'_, RedisServer> {
        self.redis.as_ref().expect("a world with Redis").lock().unwrap()
    }

    /// Whether clocks can be put wrong.
    pub fn has_clocks(&self) -> bool {
        !self.clocks.is_empty()
    }

    /// Puts the clock of a node so many seconds off.
    pub fn put_clock(&self, node: usize, seconds: i64) {
        set_clock(&self.clocks[node], seconds);
    }

    /// Waits until every node says that it is ready.
    pub fn wait_ready(&self, within: Duration) {
        for (n, address) in self.addresses.iter().enumerate() {
            until(&format!("node {n} is ready"), within, || {
                let answer = Http::new(*address).try_send("GET", "/readyz", None).ok()?;
                (answer.status == 200).then_some(())
            });
        }
    }

    /// HTTP requests to a node.
    pub fn api(&self, node: usize) -> Http {
        Http::with_key(self.addresses[node])
    }
}

/// Where the logs of a run that failed go.
const LOGS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/chaos");

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() || fs::create_dir_all(LOGS).is_err() {
            return;
        }
        for (n, hub) in self.hubs.iter().enumerate() {
            let hub = hub.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let path = format!("{LOGS}/node-{n}.log");
            if fs::write(&path, hub.log.text()).is_ok() {
                eprintln!("log of node {n} since its last start: {path}");
            }
        }
    }
}

/// The library that puts clocks wrong; none, with a word about it, where it is not installed.
pub fn faketime() -> Option<String> {
    let (before, after) = FAKETIME.split_once('*')?;
    let there = |entry: fs::DirEntry| format!("{}{after}", entry.path().display());
    let found = fs::read_dir(before).ok()?.flatten().map(there);
    let library = found.into_iter().find(|path| Path::new(path).exists());
    if library.is_none() {
        eprintln!("no {FAKETIME}: clocks stay right (apt-get install faketime)");
    }
    library
}

/// The variables with which a process has the clock in a file.
pub fn with_clock(library: &str, clock: &Path) -> [(&'static str, String); 4] {
    [
        ("LD_PRELOAD", library.to_owned()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap().to_owned()),
        ("FAKETIME_CACHE_DURATION", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

/// Puts a clock so many seconds off; the library looks once a second.
pub fn set_clock(clock: &Path, seconds: i64) {
    // In one step, so that no half file is read.
    let new = clock.with_extension("new");
    fs::write(&new, format!("{seconds:+}s\n")).unwrap();
    fs::rename(new, clock).unwrap();
}
