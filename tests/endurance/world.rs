//! What the faults fall on: hubs, each with a way of its own to one Redis, a disk that can be full,
//! and clocks that can be put wrong.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use crate::support::*;

/// Where Debian's package `faketime` has its library.
const FAKETIME: &str = "/usr/lib/*/faketime/libfaketime.so.1";
/// Long enough that no clock that is put wrong ends a token.
pub const TOKEN_SECONDS: u64 = 30 * 24 * 3600;

/// Hubs on one Redis.
pub struct World {
    /// The nodes. Whoever harms one holds it meanwhile.
    pub hubs: Vec<Mutex<Hub>>,
    /// Where they listen.
    pub addresses: Vec<SocketAddr>,
    /// Each node's way to Redis.
    pub ways: Vec<Proxy>,
    /// The one Redis; it keeps what it acknowledges, also when it is killed.
    pub redis: Mutex<RedisServer>,
    /// Where Redis keeps it; none where nothing may be mounted.
    pub disk: Option<SmallDisk>,
    /// Each node's clock; empty without libfaketime.
    clocks: Vec<PathBuf>,
    _folder: tempfile::TempDir,
}

impl World {
    /// Starts everything.
    pub fn start(nodes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = SmallDisk::mount(512);
        let at = disk.as_ref().map_or(folder.path(), |disk| disk.path());
        let redis = RedisServer::start(&[
            "--dir",
            at.to_str().unwrap(),
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--enable-debug-command",
            "local",
        ]);
        let ways: Vec<Proxy> = (0..nodes).map(|_| Proxy::to(redis.port)).collect();
        let library = faketime();
        if library.is_none() {
            eprintln!("no {FAKETIME}: clocks stay right (apt-get install faketime)");
        }
        let clocks: Vec<PathBuf> = (0..nodes * usize::from(library.is_some()))
            .map(|n| folder.path().join(format!("clock-{n}")))
            .collect();
        clocks.iter().for_each(|clock| set_clock(clock, 0));
        let hubs: Vec<Hub> = (0..nodes)
            .map(|n| {
                let (id, url) = (format!("n{n}"), format!("redis://127.0.0.1:{}", ways[n].port));
                let clock = clocks.get(n).map(|c| c.to_str().unwrap().to_owned());
                let mut settings = vec![
                    UNLIMITED,
                    ("HUBBUB__CLUSTER__REDIS_URL", &*url),
                    ("HUBBUB__NODE__ID", &*id),
                    ("HUBBUB__SERVER__WORKERS", "2"),
                    ("HUBBUB__HISTORY__MAX_MESSAGES", "1000000"),
                    ("HUBBUB__SESSION__HEARTBEAT_MS", "2000"),
                    ("HUBBUB__SESSION__TIMEOUT_MS", "6000"),
                    ("HUBBUB__LIMITS__MAX_SESSIONS_PER_USER", "0"),
                    ("HUBBUB__SERVER__DRAIN_TIMEOUT_MS", "3000"),
                ];
                if let (Some(clock), Some(library)) = (&clock, &library) {
                    settings.extend([
                        ("LD_PRELOAD", &**library),
                        ("FAKETIME_TIMESTAMP_FILE", &**clock),
                        ("FAKETIME_CACHE_DURATION", "1"),
                        ("DONT_FAKE_MONOTONIC", "1"),
                    ]);
                }
                Hub::start(&settings)
            })
            .collect();
        let addresses = hubs.iter().map(|hub| hub.address).collect();
        let hubs = hubs.into_iter().map(Mutex::new).collect();
        let redis = Mutex::new(redis);
        let world = Self { hubs, addresses, ways, redis, disk, clocks, _folder: folder };
        world.wait_ready(SOON);
        world
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

/// The library, if it is there.
fn faketime() -> Option<String> {
    let (before, after) = FAKETIME.split_once('*')?;
    let there = |entry: fs::DirEntry| format!("{}{after}", entry.path().display());
    let mut found = fs::read_dir(before).ok()?.flatten().map(there);
    found.find(|path| Path::new(path).exists())
}

/// Read by the library once a second.
fn set_clock(clock: &Path, seconds: i64) {
    // In one step, so that no half file is read.
    let new = clock.with_extension("new");
    fs::write(&new, format!("{seconds:+}s\n")).unwrap();
    fs::rename(new, clock).unwrap();
}
