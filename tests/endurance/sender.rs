//! Members that send, and send again what was not acknowledged; and others that come and go.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde_json::json;

use crate::{
    listener::{Course, PATIENCE, ROOMS, long_token, room_name},
    support::*,
};

/// Numbers of a sender; nobody sends so many.
const NUMBERS: u32 = 10_000_000;

/// What was acknowledged: room, sender and number, and by content the offset and the id.
#[derive(Default)]
pub struct Sent {
    /// Messages, as the audit wants them.
    pub acks: Vec<(u32, u32, u32, u64)>,
    /// Content to offset and id.
    pub by_content: BTreeMap<String, (u64, String)>,
    /// Times that it connected again.
    pub returns: u64,
    /// Times that a message was refused with `unavailable`.
    pub refused: u64,
    /// What is wrong, in words.
    pub faults: Vec<String>,
}

/// A sender at work.
struct Sender<'a> {
    course: &'a Course,
    number: usize,
    token: String,
    room: usize,
    at: usize,
    sent: Sent,
    random: SmallRng,
}

/// Sends to one room until it is over and everything is acknowledged. With a window of one, messages
/// are stored in the order in which they were sent, and the audit looks whether they are.
pub fn send(course: &Course, number: usize, window: usize, pace: Duration) -> Sent {
    let mut sender = Sender {
        course,
        number,
        token: long_token(&format!("sender-{number}")),
        room: number % ROOMS,
        at: number,
        sent: Sent::default(),
        random: SmallRng::seed_from_u64(course.seed ^ (2000 + number as u64)),
    };
    let mut next = 0;
    let mut open: HashMap<String, (u32, u32)> = HashMap::new();
    let mut again: Vec<(u32, u32)> = Vec::new();
    while let Some(mut client) = sender.connect() {
        let mut progress = Instant::now();
        let mut due = Instant::now();
        loop {
            let over = course.over.load(Ordering::SeqCst);
            if over && open.is_empty() && again.is_empty() {
                course.sending.fetch_sub(1, Ordering::SeqCst);
                return sender.sent;
            }
            let may = open.len() < window && Instant::now() >= due;
            if may && (!again.is_empty() || !over) {
                let (who, what) = again.pop().unwrap_or_else(|| {
                    next += 1;
                    let number = sender.number as u32 * NUMBERS + next;
                    // The audit looks at the order of one sender's messages only.
                    (if window == 1 { sender.number as u32 } else { number }, number)
                });
                let content = format!("chaos.{who}.{what}");
                if sender.random.random_bool(0.05) {
                    let name = room_name(sender.room);
                    client.send(json!({"type": "typing", "roomId": name, "isTyping": true}));
                }
                client.send(json!({
                    "type": "message", "id": content, "roomId": room_name(sender.room),
                    "content": content, "key": content
                }));
                open.insert(content, (who, what));
                due = Instant::now() + pace;
            }
            let wait = pace.min(due.saturating_duration_since(Instant::now()));
            if let Some(event) = client.next(wait.max(Duration::from_millis(1)))
                && let Some(content) = event["id"].as_str()
                && let Some(is) = event["type"].as_str().filter(|is| matches!(*is, "ack" | "error"))
            {
                progress = Instant::now();
                let Some((who, what)) = open.remove(content) else {
                    sender.sent.faults.push(format!("a second answer: {event}"));
                    continue;
                };
                if is == "ack" {
                    let offset = event["offset"].as_u64().unwrap();
                    let id = event["messageId"].as_str().unwrap().to_owned();
                    sender.sent.acks.push((sender.room as u32, who, what, offset));
                    sender.sent.by_content.insert(content.to_owned(), (offset, id));
                    course.heads[sender.room].fetch_max(offset, Ordering::SeqCst);
                } else {
                    if event["code"] != "unavailable" {
                        sender.sent.faults.push(format!("refused: {event}"));
                    }
                    sender.sent.refused += 1;
                    again.push((who, what));
                    thread::sleep(Duration::from_millis(20));
                }
            }
            let stuck = !open.is_empty() && progress.elapsed() > PATIENCE * 2;
            if client.is_over() || stuck || course.too_late() {
                break;
            }
            if open.is_empty() {
                progress = Instant::now();
            }
        }
        // Whether these were stored is not known: their keys tell. The oldest goes first.
        let mut unknown: Vec<_> = open.drain().map(|(_, it)| it).collect();
        unknown.sort_unstable_by_key(|(_, what)| std::cmp::Reverse(*what));
        again.extend(unknown);
        sender.sent.returns += 1;
        sender.at += 1;
    }
    let left = open.len() + again.len();
    sender.sent.faults.push(format!("sender {number} has {left} without an ack for good"));
    course.sending.fetch_sub(1, Ordering::SeqCst);
    sender.sent
}

impl Sender<'_> {
    /// A connection in the room; none if it is too late.
    fn connect(&mut self) -> Option<Client> {
        while !self.course.too_late() {
            let address = self.course.addresses[self.at % self.course.addresses.len()];
            if let Some(mut client) = Client::open(address, Wire::Json, &self.token, PATIENCE) {
                let name = room_name(self.room);
                client.send(json!({"type": "join", "id": "join", "roomId": name}));
                let deadline = Instant::now() + PATIENCE;
                while Instant::now() < deadline && !client.is_over() {
                    match client.next(Duration::from_millis(300)) {
                        Some(event) if event["id"] != "join" => {}
                        Some(event) if event["type"] == "ack" => return Some(client),
                        Some(_) => break,
                        None => {}
                    }
                }
            }
            self.at += 1;
            thread::sleep(Duration::from_millis(self.random.random_range(20..200)));
        }
        None
    }
}

/// Comes, joins, leaves and goes until it is over; how often.
pub fn come_and_go(course: &Course, number: usize) -> u64 {
    let mut random = SmallRng::seed_from_u64(course.seed ^ (3000 + number as u64));
    let token = long_token(&format!("guest-{number}"));
    let mut cycles = 0;
    while !course.over.load(Ordering::SeqCst) {
        let wire = if random.random_bool(0.5) { Wire::Json } else { Wire::SocketIo };
        let address = course.addresses[random.random_range(0..course.addresses.len())];
        if let Some(mut client) = Client::open(address, wire, &token, Duration::from_secs(2)) {
            let room = room_name(random.random_range(0..ROOMS));
            client.send(json!({"type": "join", "roomId": room}));
            let until = Instant::now() + Duration::from_millis(random.random_range(0..800));
            while Instant::now() < until && !client.is_over() {
                client.next(until.saturating_duration_since(Instant::now()));
            }
            if random.random_bool(0.5) {
                client.send(json!({"type": "leave", "roomId": room}));
            }
            if random.random_bool(0.5) {
                client.ws.send_raw(&close(1000, b""));
            }
            cycles += 1;
        }
        thread::sleep(Duration::from_millis(random.random_range(10..200)));
    }
    cycles
}
