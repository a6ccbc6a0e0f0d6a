//! One point: a hub that is started, a load test against it, and what both say.

use std::{
    error::Error,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::series::Point;

/// How long a point may take.
pub const POINT_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a hub may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Where the hub listens.
const ADDRESS: &str = "127.0.0.1:18095";
/// Good on loopback only, for as long as a point takes.
const SECRET: &str = "scale-scale-scale-scale-scale-scale";

/// What a point came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was asked for.
    pub point: Point,
    /// The report of the load test.
    pub report: Value,
    /// Deliveries a second that came while messages were due.
    pub deliveries: f64,
    /// CPU of the hub.
    pub cpu_us_per_message: f64,
    /// CPU of the hub.
    pub cpu_us_per_delivery: f64,
    /// CPU of the hub for a join of a room, connecting included.
    pub cpu_us_per_join: f64,
    /// What the hub's memory grew by until all had joined.
    pub resident_bytes: f64,
    /// CPU of the load test in relation to the hub's.
    pub own_share: f64,
}

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a point.
pub fn run(hub: &Path, point: &Point, seconds: u32) -> Result<Outcome, Box<dyn Error>> {
    let cores = thread::available_parallelism()?.get();
    let pinned = point.pinned && cores > 1;
    let server = Running(
        command(hub, pinned.then_some(0))
            .env("HUBBUB__SERVER__LISTEN", ADDRESS)
            .env("HUBBUB__SERVER__WORKERS", point.workers.to_string())
            .env("HUBBUB__AUTH__JWT_SECRET", SECRET)
            .env("HUBBUB__HISTORY__STORE", "memory")
            .env("HUBBUB__LIMITS__MAX_CONNECTIONS_PER_IP", "0")
            .env("HUBBUB__LIMITS__MESSAGES_PER_SECOND", "0")
            .env("HUBBUB__ROOMS__MAX_ROOMS", "200000")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?,
    );
    ready()?;
    let folder = tempfile::tempdir()?;
    let json = folder.path().join("report.json");
    let n = point.connections;
    let mut load = Running(
        command(hub, pinned.then_some(1))
            .env("HUBBUB_LOADTEST_JWT_SECRET", SECRET)
            .args(["loadtest", "--quiet", "--url", &format!("http://{ADDRESS}")])
            .args(["--connections", &n.to_string(), "--rooms", &point.rooms.to_string()])
            .args(["--rooms-per-connection", &point.rooms_each.to_string()])
            .args(["--rate", &point.rate.to_string(), "--duration", &format!("{seconds}s")])
            .args(["--ramp", &format!("{}ms", n / 4), "--source", "127.0.0.2-127.0.0.9"])
            .args(["--pid", &server.0.id().to_string(), "--drain", "20s"])
            .arg("--json")
            .arg(&json)
            .stdout(Stdio::null())
            .spawn()?,
    );
    let deadline = Instant::now() + POINT_TIMEOUT;
    while load.0.try_wait()?.is_none() {
        if Instant::now() > deadline {
            return Err(format!("{point:?} took longer than {POINT_TIMEOUT:?}").into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    let text = std::fs::read_to_string(&json)?;
    let report = serde_json::from_str(&text).map_err(|_| format!("{point:?} had no result"))?;
    outcome(point, report)
}

fn outcome(point: &Point, report: Value) -> Result<Outcome, Box<dyn Error>> {
    let number = |path: &str| {
        report.pointer(path).and_then(Value::as_f64).ok_or(format!("no {path} in the report"))
    };
    if report["passed"] != true {
        return Err(format!("{point:?}: {}", report["problems"]).into());
    }
    let (sent, delivered) = (number("/acked")?.max(1.0), number("/delivered")?.max(1.0));
    let cpu = number("/hubs/cpu_seconds")? * 1e6;
    let connections = point.connections as f64;
    Ok(Outcome {
        point: point.clone(),
        deliveries: delivered / number("/sending_seconds")?.max(1e-3),
        cpu_us_per_message: cpu / sent,
        cpu_us_per_delivery: cpu / delivered,
        cpu_us_per_join: number("/hubs/opening_us_per_connection")? / point.rooms_each as f64,
        resident_bytes: number("/hubs/resident_per_connection")? * connections,
        own_share: number("/own/cpu_us_per_delivery")? / number("/hubs/cpu_us_per_delivery")?,
        report,
    })
}

/// The program, on a core of its own if that is wanted and can be had.
fn command(program: &Path, core: Option<usize>) -> Command {
    let Some(core) = core.filter(|_| Path::new("/usr/bin/taskset").exists()) else {
        return Command::new(program);
    };
    let mut command = Command::new("/usr/bin/taskset");
    command.args(["-c", &core.to_string()]).arg(program);
    command
}

/// Waits until the hub answers.
fn ready() -> Result<(), Box<dyn Error>> {
    let deadline = Instant::now() + START_TIMEOUT;
    while Instant::now() < deadline {
        if let Ok(mut stream) = TcpStream::connect(ADDRESS) {
            let mut answer = [0; 12];
            let request = format!("GET /readyz HTTP/1.1\r\nHost: {ADDRESS}\r\n\r\n");
            let asked = stream.write_all(request.as_bytes());
            if asked.and_then(|()| stream.read_exact(&mut answer)).is_ok()
                && answer.ends_with(b"200")
            {
                return Ok(());
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err(format!("no hub at {ADDRESS}").into())
}
