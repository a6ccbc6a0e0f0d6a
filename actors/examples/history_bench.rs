//! Measures the embedded history: appends a second and CPU per append.
//!
//! `cargo run --release -p hubbub-actors --example history_bench [DIRECTORY]`
//!
//! A batch is what one publisher sends before it waits for all the answers, so
//! that it is about what one transaction stores. The CPU is that of the whole
//! process (`/proc/self/stat`, so on Linux only; 0 elsewhere), with making the
//! records and their answers. With no directory, one in the system's temporary
//! directory is used and removed.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use hubbub_actors::{
    embedded::EmbeddedHistory,
    history::{HistoryConfig, NoObserver},
    ports::{Append, Bus, History, IdempotencyKey, StoreError},
};
use hubbub_protocol::{
    error::HubError,
    id::{MessageId, RoomName, UserId},
    record::{Body, Record, Stored},
    timestamp::Timestamp,
};

struct Nowhere;

impl Bus for Nowhere {
    fn stored(&self, _: &[Arc<Stored>]) {}
}

/// User and system time of this process.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15 of proc(5), in ticks of 10 ms; the second may hold spaces.
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

struct Run {
    batch: usize,
    rooms: usize,
    keyed: bool,
}

fn run(history: &EmbeddedHistory, run: &Run, seconds: f64) -> Result<(), HubError> {
    let names = (0..run.rooms)
        .map(|n| RoomName::new(format!("bench {} {n}", run.rooms)))
        .collect::<Result<Vec<_>, _>>()?;
    let user = UserId::new("bench")?;
    let content: Box<str> = "x".repeat(200).into();
    let (send, receive) = mpsc::channel::<Result<(), StoreError>>();
    let (mut sent, mut slowest) = (0, Duration::ZERO);
    let (before, started) = (cpu(), Instant::now());
    while started.elapsed().as_secs_f64() < seconds {
        let batch_started = Instant::now();
        for _ in 0..run.batch {
            let id = MessageId(uuid::Uuid::now_v7());
            let record = Record {
                id,
                room: names[sent % names.len()].clone(),
                user: Some(user.clone()),
                username: None,
                timestamp: Timestamp(1_700_000_000_000),
                body: Body::Message { content: content.clone(), data: None },
                trace: None,
            };
            let user = Some(user.clone());
            let key = run.keyed.then(|| IdempotencyKey { user, key: id.to_string().into() });
            let send = send.clone();
            let done = Box::new(move |r: Result<_, _>| drop(send.send(r.map(drop))));
            history.append(Append { record, key, done });
            sent += 1;
        }
        for _ in 0..run.batch {
            receive.recv().map_err(|_| HubError::unavailable("no answer"))??;
        }
        slowest = slowest.max(batch_started.elapsed());
    }
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu().saturating_sub(before));
    println!(
        "{:>6} {:>6} {:>6} {:>12.0} {:>16.1} {:>13.2} {:>13.1}",
        run.batch,
        run.rooms,
        if run.keyed { "yes" } else { "no" },
        sent as f64 / wall,
        cpu.as_secs_f64() * 1e6 / sent as f64,
        wall * 1e3 / (sent / run.batch) as f64,
        slowest.as_secs_f64() * 1e3,
    );
    Ok(())
}

fn bench(directory: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let open = || {
        let config = HistoryConfig::default();
        EmbeddedHistory::open(directory, config, Arc::new(Nowhere), Arc::new(NoObserver))
    };
    let close = |history: EmbeddedHistory| -> Result<(), std::io::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(history.close());
        Ok(())
    };
    let history = open()?;
    println!(" batch  rooms  keyed    appends/s  CPU us an append  ms per batch  slowest batch");
    for batch in [1, 10, 100, 1000] {
        for rooms in [1, 100, 10_000] {
            run(&history, &Run { batch, rooms, keyed: false }, 2.0)?;
        }
    }
    run(&history, &Run { batch: 1, rooms: 100, keyed: true }, 2.0)?;
    run(&history, &Run { batch: 1000, rooms: 100, keyed: true }, 2.0)?;
    close(history)?;
    let started = Instant::now();
    let history = open()?;
    println!("opened again in {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    close(history)?;
    Ok(())
}

fn main() -> ExitCode {
    let given = std::env::args_os().nth(1).map(PathBuf::from);
    let directory = given.clone().unwrap_or_else(|| {
        std::env::temp_dir().join(format!("history-bench-{}", std::process::id()))
    });
    let result = bench(&directory);
    if given.is_none() {
        // Best effort: it lies in the temporary directory.
        let _ = std::fs::remove_dir_all(&directory);
    }
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("history_bench: {e}");
            ExitCode::FAILURE
        }
    }
}
