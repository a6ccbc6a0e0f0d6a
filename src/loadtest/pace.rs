//! The pacing thread: writes each message when it is due, whatever else goes on.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use hdrhistogram::Histogram;
use hubbub_protocol::wire::frame::Opcode;
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::{
    frames,
    link::{Link, Unsent, Waiting},
    marker::{self, Marker},
    schedule::Schedule,
    shared::Shared,
    tally::{histogram, note},
    wire::{FIRST_MESSAGE_ID, Wire},
};

/// Longest sleep, so that an early end is noticed.
const NAP: Duration = Duration::from_millis(100);

/// What the pacing thread tells while it runs.
#[derive(Debug)]
pub struct Pace {
    /// Messages that were due.
    pub due: AtomicU64,
    /// Messages that were sent.
    pub sent: AtomicU64,
    /// Messages whose sender was not connected.
    pub down: AtomicU64,
    /// Messages whose sender's socket took no more.
    pub blocked: AtomicU64,
    /// Set to end early.
    pub stop: AtomicBool,
    /// Set at the end of the schedule.
    pub done: AtomicBool,
    /// How late messages were sent, in microseconds.
    pub lag: Mutex<Histogram<u64>>,
    /// The same since the last look.
    pub window: Mutex<Histogram<u64>>,
    /// CPU time of the thread in microseconds, set at the end.
    pub cpu: AtomicU64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            due: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            down: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            done: AtomicBool::new(false),
            lag: Mutex::new(histogram()),
            window: Mutex::new(histogram()),
            cpu: AtomicU64::new(0),
        }
    }
}

/// One that sends.
struct Sender {
    link: Arc<Link>,
    wire: Wire,
    room: usize,
    next_id: u64,
}

/// Sends everything that is due, from `begin` on (microseconds of the run's clock).
pub fn pace(shared: &Shared, links: &[Arc<Link>], pace: &Pace, begin: u64) {
    let plan = &shared.plan;
    let mut senders: Vec<Sender> = (0..plan.senders)
        .map(|index| Sender {
            link: Arc::clone(&links[index]),
            wire: plan.wire_of(index),
            room: plan.rooms_of(index).next().unwrap_or(0),
            next_id: FIRST_MESSAGE_ID,
        })
        .collect();
    let mut rooms: Vec<(String, u32)> =
        (0..plan.rooms).map(|room| (plan.room_name(room), 0)).collect();
    let mut random = SmallRng::seed_from_u64(plan.seed ^ 0x5eed);
    let mut writer = Writer { shared, fields: Vec::new(), text: Vec::new(), frame: Vec::new() };
    let schedule = Schedule::new(plan.rate, plan.duration, plan.arrivals, plan.seed);
    let count = senders.len();
    for (turn, after) in schedule.enumerate() {
        let due = begin + after;
        if !wait(shared, due, &pace.stop) {
            break;
        }
        let sender = &mut senders[turn % count];
        let (room, number) = &mut rooms[sender.room];
        let length = random.random_range(plan.size.0..=plan.size.1) as u32;
        let marker = Marker {
            room: sender.room as u32,
            sender: (turn % count) as u32,
            number: *number,
            due,
            length,
        };
        writer.write(sender.wire, sender.next_id, room, &marker);
        let waiting = Waiting {
            id: sender.next_id,
            room: marker.room,
            number: marker.number,
            due,
            again: plan.keys.then(|| writer.frame.as_slice().into()),
        };
        pace.due.fetch_add(1, Ordering::Relaxed);
        let late = shared.now().saturating_sub(due);
        match sender.link.publish(&writer.frame, waiting) {
            Ok(()) => {
                sender.next_id += 1;
                *number += 1;
                pace.sent.fetch_add(1, Ordering::Relaxed);
                note(&mut pace.lag.lock(), late);
                note(&mut pace.window.lock(), late);
            }
            Err(Unsent::Down) => {
                pace.down.fetch_add(1, Ordering::Relaxed);
            }
            Err(Unsent::Blocked) => {
                pace.blocked.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    pace.cpu.store(super::process::thread_cpu().as_micros() as u64, Ordering::Relaxed);
    pace.done.store(true, Ordering::Release);
}

/// Sleeps until `due`; false if the run is to end early.
fn wait(shared: &Shared, due: u64, stop: &AtomicBool) -> bool {
    loop {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        let left = due.saturating_sub(shared.now());
        if left == 0 {
            return true;
        }
        thread::sleep(Duration::from_micros(left).min(NAP));
    }
}

/// Renders messages into buffers that are used again.
struct Writer<'a> {
    shared: &'a Shared,
    fields: Vec<u8>,
    text: Vec<u8>,
    frame: Vec<u8>,
}

impl Writer<'_> {
    fn write(&mut self, wire: Wire, id: u64, room: &str, marker: &Marker) {
        let run = &self.shared.plan.run;
        self.fields.clear();
        self.text.clear();
        self.frame.clear();
        // Writing to a `Vec` does not fail. Names and contents are ours: nothing to escape.
        let _ = write!(self.fields, r#"{{"roomId":"{room}","content":""#);
        marker::write(&mut self.fields, run, marker);
        if self.shared.plan.keys {
            let _ = write!(self.fields, r#"","key":"{run}.{}.{}"#, marker.room, marker.number);
        }
        self.fields.extend_from_slice(b"\"}");
        // Rendered from ASCII only.
        let fields = std::str::from_utf8(&self.fields).unwrap_or("{}");
        wire.request(&mut self.text, "message", id, fields);
        frames::write(&mut self.frame, Opcode::Text, &self.text);
    }
}
