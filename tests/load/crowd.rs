//! Many members in one thread: each reads whole frames and notes how late they
//! came, as cheaply as it can.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::support::*;

/// Marks the sender's time, in microseconds since the start, in a message.
pub const MARK: &str = "sent-at:";

/// Shared with all members of a crowd.
pub struct Clock {
    start: Instant,
    stalled: AtomicBool,
    over: AtomicBool,
}

impl Clock {
    /// Microseconds since the start.
    pub fn now(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }
}

/// Members of a room that read in the background.
pub struct Crowd {
    /// What the senders stamp messages with.
    pub clock: Arc<Clock>,
    thread: JoinHandle<Vec<(u64, u64)>>,
}

impl Crowd {
    /// Hands over connections that have joined; of `can_stall`, the members stop
    /// reading when [`Crowd::stall`] is called.
    pub fn read(members: Vec<Ws>, can_stall: Vec<Ws>) -> Self {
        let clock = Arc::new(Clock {
            start: Instant::now(),
            stalled: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let shared = Arc::clone(&clock);
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(shared, members, can_stall))
        });
        Self { clock, thread }
    }

    /// From now on the members that can stall read nothing more.
    pub fn stall(&self) {
        self.clock.stalled.store(true, Ordering::Relaxed);
    }

    /// Ends it: for each message a healthy member got, when it was sent and how
    /// long it took, both in microseconds.
    pub fn finish(self) -> Vec<(u64, u64)> {
        self.clock.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

async fn run(clock: Arc<Clock>, members: Vec<Ws>, can_stall: Vec<Ws>) -> Vec<(u64, u64)> {
    let (sink, mut samples) = mpsc::unbounded_channel();
    for (ws, stalls) in
        members.into_iter().map(|w| (w, false)).chain(can_stall.into_iter().map(|w| (w, true)))
    {
        let (clock, sink) = (Arc::clone(&clock), sink.clone());
        let (stream, received) = ws.into_parts();
        stream.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(stream).unwrap();
        tokio::spawn(read(stream, received, clock, stalls, sink));
    }
    drop(sink);
    let mut all = Vec::new();
    while let Some(sample) = samples.recv().await {
        all.push(sample);
    }
    all
}

async fn read(
    mut stream: TcpStream,
    mut buffer: Vec<u8>,
    clock: Arc<Clock>,
    stalls: bool,
    sink: mpsc::UnboundedSender<(u64, u64)>,
) {
    buffer.reserve(32 * 1024);
    while !clock.over.load(Ordering::Relaxed) {
        if stalls && clock.stalled.load(Ordering::Relaxed) {
            // The connection stays open and is never looked at again.
            sleep(Duration::from_millis(50)).await;
            continue;
        }
        match timeout(Duration::from_millis(100), stream.read_buf(&mut buffer)).await {
            Err(_) => continue,
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => {
                assert!(stalls, "a healthy member was disconnected");
                return;
            }
        }
        let now = clock.now();
        let mut used = 0;
        while let Some((payload, length)) = frame(&buffer[used..]) {
            let whole = &buffer[used..used + length];
            if !stalls && let Some(sent) = stamp(&whole[payload..]) {
                let _ = sink.send((sent, now.saturating_sub(sent)));
            }
            used += length;
        }
        buffer.drain(..used);
    }
}

/// Where the payload of the first whole frame begins, and the frame's length.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (head, length) = match bytes.get(1)? & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        n => (2, usize::from(n)),
    };
    (bytes.len() >= head + length).then_some((head, head + length))
}

/// The time in a message; it stands near the front.
fn stamp(payload: &[u8]) -> Option<u64> {
    let front = &payload[..payload.len().min(600)];
    let at = front.windows(MARK.len()).position(|w| w == MARK.as_bytes())? + MARK.len();
    let digits = front[at..].iter().take_while(|b| b.is_ascii_digit());
    Some(digits.fold(0, |n, b| n * 10 + u64::from(b - b'0')))
}

/// Opens a member of `hall` whose socket holds little.
pub fn narrow_member(hub: &Hub, user: &str) -> Ws {
    let mut ws = hub.ws_by(Handshake::new().bearer(&token(user, json!({}))).small_window());
    ws.join("hall");
    ws
}

/// The value below which this share of the samples lies.
pub fn percentile(samples: &mut [u64], share: f64) -> u64 {
    assert!(!samples.is_empty());
    samples.sort_unstable();
    samples[((samples.len() - 1) as f64 * share) as usize]
}
