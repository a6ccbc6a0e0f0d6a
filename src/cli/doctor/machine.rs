//! The machine: file descriptors, kernel settings, memory, the port, the folder of the history.

use std::{fs, io, net::TcpListener, path::Path, time::Duration};

use super::report::Finding;
use crate::{
    cli::probe::{self, Probe},
    config::{Config, HistoryStore},
};

/// Descriptors beside those of connections: store, logs, listeners, backends.
const SPARE: u64 = 512;
/// Waiting connections that the hub asks the kernel for.
const BACKLOG: u64 = 8192;
/// Resident bytes of an idle connection (docs/performance.md), rounded up.
const IDLE_BYTES: u64 = 4096;

/// What /proc says; tests bring their own.
pub(super) struct Machine {
    /// Most open files of this process: the soft limit.
    pub(super) open_files: Option<u64>,
    /// `net.core.somaxconn`.
    pub(super) somaxconn: Option<u64>,
    /// Memory that can be had, in bytes.
    pub(super) memory: Option<u64>,
}

impl Machine {
    pub(super) fn read() -> Self {
        let column = |text: &str, start: &str, at: usize| -> Option<u64> {
            let line = text.lines().find(|line| line.starts_with(start))?;
            line.split_whitespace().nth(at)?.parse().ok()
        };
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            open_files: column(&file("/proc/self/limits"), "Max open files", 3),
            somaxconn: file("/proc/sys/net/core/somaxconn").trim().parse().ok(),
            memory: column(&file("/proc/meminfo"), "MemAvailable:", 1).map(|kib| kib * 1024),
        }
    }
}

/// Compares the machine with what the configuration asks of it.
pub(super) fn judge(machine: &Machine, config: &Config) -> Vec<Finding> {
    let connections = config.limits.max_connections as u64;
    let mut findings = Vec::new();
    if let Some(files) = machine.open_files {
        let what = "files";
        let needed = connections + SPARE;
        findings.push(if connections == 0 {
            Finding::warning(
                what,
                format!("{files} may be open, and limits.max_connections is unlimited"),
                "set limits.max_connections below the limit, so that the hub refuses what it cannot \
                 hold",
            )
        } else if files >= needed {
            Finding::fine(what, format!("{files} may be open, {needed} are needed at most"))
        } else {
            Finding::warning(
                what,
                format!("{files} may be open, limits.max_connections needs {needed}"),
                format!(
                    "raise it where the hub is started (LimitNOFILE={needed} in a systemd unit, \
                     `ulimit -n {needed}` in a shell), or lower limits.max_connections"
                ),
            )
        });
    }
    if let Some(somaxconn) = machine.somaxconn {
        findings.push(if somaxconn >= BACKLOG {
            Finding::fine("accepting", format!("net.core.somaxconn is {somaxconn}"))
        } else {
            Finding::warning(
                "accepting",
                format!("net.core.somaxconn is {somaxconn}; the hub asks for {BACKLOG}"),
                format!(
                    "`sysctl -w net.core.somaxconn={BACKLOG}`, or clients that come back together \
                     wait for their SYN to be repeated"
                ),
            )
        });
    }
    if let Some(memory) = machine.memory
        && connections > 0
    {
        let (needed, mib) = (connections * IDLE_BYTES, 1024 * 1024);
        let seen = format!(
            "{} MiB can be had; {connections} idle connections take about {} MiB of the hub, and about \
             as much of the kernel",
            memory / mib,
            needed / mib
        );
        findings.push(if memory > 2 * needed {
            Finding::fine("memory", seen)
        } else {
            Finding::warning(
                "memory",
                seen,
                "lower limits.max_connections, or take a larger machine",
            )
        });
    }
    findings
}

/// Whether the node could listen, or already does.
pub(super) async fn port(config: &Config) -> Finding {
    let what = "port";
    let address = config.server.listen;
    match TcpListener::bind(address) {
        Ok(_) => return Finding::fine(what, format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
        Err(error) => {
            let mend = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "take a port above 1023, or give the program CAP_NET_BIND_SERVICE"
                }
                _ => "set server.listen to an address of this machine",
            };
            return Finding::problem(what, format!("cannot listen on {address}: {error}"), mend);
        }
    }
    let asked = async {
        let (url, trust) = probe::own(&config.server)?;
        let probe = Probe::new(&trust, Duration::from_secs(3))?;
        probe.ask(&format!("{url}/api/ws/health"), None, None).await
    };
    match asked.await {
        Ok(answer) if answer.status == 200 && answer.text().contains("\"nodeId\"") => {
            Finding::fine(what, format!("a hub runs on {address}: {}", answer.text()))
        }
        Ok(_) | Err(_) => Finding::problem(
            what,
            format!("{address} is used by another program, or by a hub that does not answer"),
            "end it (`ss -ltnp` names it), or set server.listen",
        ),
    }
}

/// Whether the embedded store can write.
pub(super) fn history(config: &Config) -> Option<Finding> {
    let what = "history";
    match config.history.store {
        HistoryStore::Memory => Some(Finding::warning(
            what,
            "history.store is \"memory\": messages end with the process",
            "set it to \"embedded\", or set cluster.redis_url",
        )),
        HistoryStore::Embedded => {
            let path = &config.history.path;
            Some(match writable(path) {
                Ok(()) => Finding::fine(what, format!("{} can be written", path.display())),
                Err(error) => Finding::problem(
                    what,
                    format!("{} cannot be written: {error}", path.display()),
                    "give the folder to the user of the hub, or set history.path",
                ),
            })
        }
        HistoryStore::Redis => None,
    }
}

/// Writes into the folder, or into the one that it would be made in.
fn writable(path: &Path) -> io::Result<()> {
    let absolute = std::path::absolute(path)?;
    let folder = absolute.ancestors().find(|folder| folder.is_dir());
    let folder = folder.ok_or_else(|| io::Error::other("no folder above it exists"))?;
    let probe = folder.join(format!(".hubbub-doctor-{}", std::process::id()));
    fs::write(&probe, b"can be removed")?;
    fs::remove_file(&probe)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::report::Level, *};

    fn levels(open_files: u64, somaxconn: u64, memory_mib: u64, connections: usize) -> Vec<Level> {
        let machine = Machine {
            open_files: Some(open_files),
            somaxconn: Some(somaxconn),
            memory: Some(memory_mib * 1024 * 1024),
        };
        let mut config = Config::default();
        config.limits.max_connections = connections;
        judge(&machine, &config).iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn the_machine_is_compared_with_the_limits() {
        use Level::{Fine, Warning};
        assert_eq!(levels(100_512, 8192, 1024, 100_000), [Fine, Fine, Fine]);
        assert_eq!(levels(100_511, 8191, 781, 100_000), [Warning, Warning, Warning]);
        assert_eq!(levels(1024, 8192, 1024, 0), [Warning, Fine]);
    }

    #[test]
    fn what_is_missing_is_named_with_its_number() {
        let machine = Machine { open_files: Some(1024), somaxconn: None, memory: None };
        let findings = judge(&machine, &Config::default());
        assert!(findings[0].mend.contains("LimitNOFILE=100512"), "{}", findings[0]);
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_tried_above() {
        let folder = tempfile::tempdir().unwrap();
        assert!(writable(&folder.path().join("a/b")).is_ok());
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "something was left behind");
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let mut config = Config::default();
        config.history.path = "/proc/nowhere".into();
        assert_eq!(history(&config).unwrap().level, Level::Problem);
    }
}
