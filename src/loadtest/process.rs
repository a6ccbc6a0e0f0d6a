//! CPU and memory: this process's own, and those of hubs on the same machine.

use std::time::Duration;

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

use super::LoadError;

/// CPU time of the calling thread.
#[must_use]
pub fn thread_cpu() -> Duration {
    duration(ClockId::ThreadCPUTime)
}

/// CPU time of this process.
#[must_use]
pub fn own_cpu() -> Duration {
    duration(ClockId::ProcessCPUTime)
}

fn duration(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What this process has used; the user time in steps of the system's clock ticks.
#[must_use]
pub fn own() -> Usage {
    Usage { cpu: own_cpu(), ..usage(std::process::id()).unwrap_or_default() }
}

/// What a process has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// User time alone.
    pub user: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
}

impl Usage {
    /// What was used since `then`; the memory is that of now.
    #[must_use]
    pub fn since(self, then: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(then.cpu),
            user: self.user.saturating_sub(then.user),
            resident: self.resident,
        }
    }
}

/// Reads `/proc/PID`.
///
/// # Errors
/// [`LoadError::NoProcess`] if it is not there.
pub fn usage(pid: u32) -> Result<Usage, LoadError> {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
    let stat = read("stat").map_err(|_| LoadError::NoProcess(pid))?;
    let status = read("status").map_err(|_| LoadError::NoProcess(pid))?;
    parse(&stat, &status).ok_or(LoadError::NoProcess(pid))
}

/// `proc(5)`: fields 14 and 15 of `stat` are user and system ticks; `VmRSS` is in KiB.
fn parse(stat: &str, status: &str) -> Option<Usage> {
    // The name is in brackets and may hold anything.
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let mut time = || {
        let ticks = fields.next()?.parse::<u64>().ok()?;
        Some(Duration::from_millis(ticks * 1000 / per_second))
    };
    let (user, system) = (time()?, time()?);
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok())?;
    Some(Usage { cpu: user + system, user, resident: resident * 1024 })
}

/// Allows as many open files as the run needs, if the system lets it.
///
/// # Errors
/// [`LoadError::Files`] if it does not.
pub fn allow_files(needed: u64) -> Result<(), LoadError> {
    let limit = getrlimit(Resource::Nofile);
    let enough = |allowed: Option<u64>| allowed.is_none_or(|n| n >= needed);
    if enough(limit.current) {
        return Ok(());
    }
    if enough(limit.maximum) {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            return Ok(());
        }
    }
    Err(LoadError::Files { needed, allowed: limit.maximum.or(limit.current).unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_process_is_read() {
        let own = usage(std::process::id()).unwrap();
        assert!(own.resident > 100_000, "{own:?}");
        assert_eq!(usage(u32::MAX), Err(LoadError::NoProcess(u32::MAX)));
    }

    #[test]
    fn odd_names_do_not_confuse() {
        let stat = "7 (a) b (c) S 1 1 1 0 -1 1 1 1 1 1 250 150 0 0 20 0 1 0 1 1 1";
        let read = parse(stat, "Name:\tx\nVmRSS:\t    2048 kB\n").unwrap();
        let ticks = rustix::param::clock_ticks_per_second();
        assert_eq!(read.cpu, Duration::from_millis(400_000 / ticks));
        assert_eq!(read.user, Duration::from_millis(250_000 / ticks));
        assert_eq!(read.resident, 2048 * 1024);
    }

    #[test]
    fn work_takes_cpu() {
        let before = (thread_cpu(), own_cpu());
        let mut sum = 0u64;
        while thread_cpu() == before.0 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(own_cpu() > before.1);
    }
}
