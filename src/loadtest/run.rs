//! A run from the first connection to the verdict.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use hubbub_protocol::wire::frame::Opcode;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

use super::{
    LoadError,
    conn::Conn,
    frames,
    judge::judge,
    link::Link,
    options::Plan,
    pace::{Pace, pace},
    process::{self, Usage},
    progress::{Progress, Watch},
    reader::{Desk, Reader},
    report::{Ended, Report},
    shared::Shared,
    tally::Tally,
    tokens::Tokens,
};

/// Connections that are being opened at the same time.
const OPENING_AT_ONCE: usize = 64;
/// Files besides the connections.
const OTHER_FILES: u64 = 64;
/// How often the main thread looks.
const LOOK: Duration = Duration::from_millis(20);
/// Nothing new for so long, and everything answered: the run is over.
const QUIET: Duration = Duration::from_millis(500);

/// A reading thread.
struct Worker {
    tally: Arc<Mutex<Tally>>,
    desk: Desk,
    thread: thread::JoinHandle<()>,
}

/// Runs a plan. `interrupted` says that somebody wants the result now.
///
/// # Errors
/// What kept the run from a verdict.
pub fn run(
    plan: Plan,
    tokens: Tokens,
    quiet: bool,
    interrupted: &dyn Fn() -> bool,
) -> Result<Report, LoadError> {
    process::allow_files(plan.all_connections() as u64 + OTHER_FILES)?;
    let watch = Watch::new(&plan.pids)?;
    let shared = Arc::new(Shared::new(plan, tokens));
    let links: Vec<Arc<Link>> =
        (0..shared.plan.all_connections()).map(|_| Arc::default()).collect();
    let (over, ended) = oneshot::channel();
    let mut workers = Vec::new();
    for number in 0..shared.plan.threads {
        workers.push(worker(number, &shared, &links)?);
    }
    let opener = opener(&shared, &links, &workers, ended).inspect_err(|_| shared.finish())?;
    let pacing = Arc::new(Pace::default());
    let mut progress = Progress::new(quiet, watch);
    let tallies: Vec<_> = workers.iter().map(|w| Arc::clone(&w.tally)).collect();
    let outcome = conduct(&shared, &links, &tallies, &pacing, &mut progress, interrupted);
    // Whatever happened, every thread ends here.
    let unanswered: usize = links.iter().map(|link| link.unanswered()).sum();
    shared.finish();
    goodbye(&links);
    drop(over);
    for thread in workers.into_iter().map(|w| w.thread).chain([opener]) {
        if thread.join().is_err() {
            return Err(LoadError::Start("a thread of the load generator panicked".into()));
        }
    }
    let phases = outcome?;
    let tallies: Vec<Tally> = tallies
        .into_iter()
        .map(|tally| match Arc::try_unwrap(tally) {
            Ok(tally) => tally.into_inner(),
            // The tasks have ended with their runtime; if one had not, its numbers still count.
            Err(shared) => std::mem::replace(&mut *shared.lock(), Tally::new(0)),
        })
        .collect();
    let ended = Ended { tallies, pacing, progress, unanswered: unanswered as u64, phases };
    Report::new(&shared.plan, ended, judge)
}

/// Closes every connection as a good client does.
fn goodbye(links: &[Arc<Link>]) {
    let mut frame = Vec::with_capacity(8);
    frames::write(&mut frame, Opcode::Close, &1000u16.to_be_bytes());
    for link in links {
        link.send(&frame);
    }
}

/// When what happened.
#[derive(Debug, Clone, Copy)]
pub struct Phases {
    /// How long it took to open the connections.
    pub opening: Duration,
    /// How long messages were due.
    pub sending: Duration,
    /// CPU time of this process in that time.
    pub own_sending: Duration,
    /// What this process used while messages were due, and until all had come.
    pub own: Usage,
    /// What the hubs that are watched used, likewise.
    pub hubs: Option<Usage>,
    /// Whether the run was ended early.
    pub interrupted: bool,
}

/// Starts a reading thread with its share of the connections.
fn worker(number: usize, shared: &Arc<Shared>, links: &[Arc<Link>]) -> Result<Worker, LoadError> {
    let tally = Arc::new(Mutex::new(Tally::new(shared.plan.rooms)));
    let indices = (number..links.len()).step_by(shared.plan.threads);
    let reader = Reader::new(shared, &tally, links, indices)?;
    let desk = reader.desk();
    let thread = thread::Builder::new()
        .name(format!("load-{number}"))
        .spawn(move || reader.run())
        .map_err(|e| LoadError::Start(e.to_string()))?;
    Ok(Worker { tally, desk, thread })
}

/// Starts the thread with the lives of all connections; it ends with the sender of `ended`.
fn opener(
    shared: &Arc<Shared>,
    links: &[Arc<Link>],
    workers: &[Worker],
    ended: oneshot::Receiver<()>,
) -> Result<thread::JoinHandle<()>, LoadError> {
    let start = |e: std::io::Error| LoadError::Start(e.to_string());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(start)?;
    let gate = Arc::new(Semaphore::new(OPENING_AT_ONCE));
    for (index, link) in links.iter().enumerate() {
        let worker = &workers[index % workers.len()];
        let conn = Conn::new(shared, &worker.tally, link, &worker.desk, index);
        let delay = shared.plan.ramp.mul_f64(index as f64 / links.len() as f64);
        runtime.spawn(conn.live(delay, Arc::clone(&gate)));
    }
    let body = move || {
        // The sender is dropped at the end: that is the sign.
        let _ = runtime.block_on(ended);
    };
    thread::Builder::new().name("load-open".into()).spawn(body).map_err(start)
}

/// Opens, sends, waits for the rest.
fn conduct(
    shared: &Arc<Shared>,
    links: &[Arc<Link>],
    tallies: &[Arc<Mutex<Tally>>],
    pacing: &Arc<Pace>,
    progress: &mut Progress,
    interrupted: &dyn Fn() -> bool,
) -> Result<Phases, LoadError> {
    let plan = &shared.plan;
    let began = Instant::now();
    let all = plan.all_connections() as u64;
    loop {
        if let Some(failure) = shared.failure() {
            progress.clear();
            return Err(failure);
        }
        let opened: u64 = tallies.iter().map(|t| t.lock().counts.opened).sum();
        progress.opening(opened, all);
        if opened == all {
            break;
        }
        if interrupted() {
            progress.clear();
            return Err(LoadError::Start("interrupted while connections were opened".into()));
        }
        thread::sleep(LOOK);
    }
    let opening = began.elapsed();
    let begin = shared.now();
    shared.measure_from(begin + plan.warmup.as_micros() as u64);
    shared.send(true);
    let (own, hub) = (process::own(), progress.watch.usage());
    progress.begin(tallies);
    let sent_from = Instant::now();
    let thread = {
        let (shared, pacing, links) = (Arc::clone(shared), Arc::clone(pacing), links.to_vec());
        let body = move || pace(&shared, &links, &pacing, begin);
        thread::Builder::new().name("load-pace".into()).spawn(body)
    };
    let thread = thread.map_err(|e| LoadError::Start(e.to_string()))?;
    let mut cut = false;
    while !thread.is_finished() {
        thread::sleep(LOOK);
        progress.look(tallies, pacing);
        if !cut && interrupted() {
            cut = true;
            pacing.stop.store(true, Ordering::Relaxed);
        }
    }
    if thread.join().is_err() {
        return Err(LoadError::Start("the pacing thread panicked".into()));
    }
    let sending = sent_from.elapsed();
    shared.send(false);
    let own_sending = process::own_cpu().saturating_sub(own.cpu);
    drain(plan, links, tallies, pacing, progress);
    progress.end(tallies, pacing);
    Ok(Phases {
        opening,
        sending,
        own_sending,
        own: process::own().since(own),
        hubs: progress.watch.usage().zip(hub).map(|(now, then)| now.since(then)),
        interrupted: cut,
    })
}

/// Waits until everything is answered, everybody is back, and nothing new comes.
fn drain(
    plan: &Plan,
    links: &[Arc<Link>],
    tallies: &[Arc<Mutex<Tally>>],
    pacing: &Pace,
    progress: &mut Progress,
) {
    let deadline = Instant::now() + plan.drain;
    let mut newest = (0, Instant::now());
    while Instant::now() < deadline {
        thread::sleep(LOOK);
        progress.look(tallies, pacing);
        let delivered: u64 = tallies.iter().map(|t| t.lock().counts.delivered).sum();
        if delivered != newest.0 {
            newest = (delivered, Instant::now());
        }
        let open: u64 = tallies.iter().map(|t| t.lock().counts.open).sum();
        let owed = links[..plan.senders].iter().any(|link| link.unanswered() > 0);
        if !owed && open == plan.connections as u64 && newest.1.elapsed() > QUIET {
            return;
        }
    }
}
