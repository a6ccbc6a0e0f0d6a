//! A fleet under load: senders that send again what was not acknowledged, members
//! on both wires, and what each of them saw.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::*;

/// How long a client waits for a hub before it tries the next.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long the whole of a load may take.
pub const LONG: Duration = Duration::from_secs(120);

/// Hubs on one Redis.
pub struct Fleet {
    /// The nodes.
    pub hubs: Vec<Hub>,
}

impl Fleet {
    /// Starts so many hubs with these settings beside the usual ones.
    pub fn start(nodes: usize, redis_url: &str, settings: &[(&str, &str)]) -> Self {
        let hubs = (0..nodes)
            .map(|n| {
                let id = format!("n{n}");
                let mut all = vec![
                    UNLIMITED,
                    ("HUBBUB__CLUSTER__REDIS_URL", redis_url),
                    ("HUBBUB__NODE__ID", &id),
                    ("HUBBUB__SERVER__WORKERS", "2"),
                    ("HUBBUB__HISTORY__MAX_MESSAGES", "100000"),
                    ("HUBBUB__SESSION__OUTBOUND_MAX_BYTES", "67108864"),
                    ("HUBBUB__PRESENCE__ANNOUNCE_MAX_MEMBERS", "0"),
                ];
                all.extend_from_slice(settings);
                Hub::start(&all)
            })
            .collect();
        let fleet = Self { hubs };
        for hub in &fleet.hubs {
            ready(hub);
        }
        fleet
    }

    /// Where the nodes listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.hubs.iter().map(|hub| hub.address).collect()
    }
}

/// Waits until a hub says that it is ready.
pub fn ready(hub: &Hub) {
    until("the hub is ready", SOON, || (hub.http().get("/readyz").status == 200).then_some(()));
}

/// How much is sent.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Rooms.
    pub rooms: usize,
    /// Senders, spread over rooms and nodes.
    pub senders: usize,
    /// Messages of each.
    pub each: usize,
    /// Requests a sender has under way.
    pub window: usize,
    /// Pause of a sender between two messages.
    pub pace: Duration,
}

/// What a client saw of a room: id by offset, in the order in which it came.
#[derive(Default, Debug)]
pub struct Seen {
    epoch: String,
    offset: u64,
    /// Offset, id, content.
    pub messages: Vec<(u64, String, String)>,
    /// Times that it was told that messages are missing.
    pub resets: usize,
    /// Times that it came back.
    pub returns: usize,
}

impl Seen {
    fn message(&mut self, event: &Value) {
        let offset = event["offset"].as_u64().unwrap();
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        self.offset = offset;
        self.epoch = text("epoch");
        self.messages.push((offset, text("id"), text("content")));
    }

    fn joined(&mut self, event: &Value) {
        let again = !self.epoch.is_empty();
        if again && event["recovered"] == false {
            self.resets += 1;
            self.messages.clear();
        }
        for message in event["messages"].as_array().unwrap() {
            self.message(message);
        }
        if !again {
            self.epoch = event["epoch"].as_str().unwrap().to_owned();
            self.offset = event["offset"].as_u64().unwrap();
        }
    }

    fn since(&self) -> Option<Value> {
        (!self.epoch.is_empty()).then(|| json!({"epoch": self.epoch, "offset": self.offset}))
    }
}

/// What all clients of a load share.
struct Shared {
    addresses: Vec<SocketAddr>,
    deadline: Instant,
    /// Senders that are not done.
    sending: AtomicUsize,
    /// Members that have joined for the first time.
    joined: AtomicUsize,
    /// Members may begin to count, senders to send.
    go: AtomicBool,
    /// Messages that each room has in the end; known when all senders are done.
    totals: Vec<AtomicUsize>,
}

/// Joins from where the client stood; false if that did not work out.
fn join(client: &mut Client, room: &str, seen: &mut Seen) -> bool {
    let mut request = json!({"type": "join", "roomId": room});
    if let Some(since) = seen.since() {
        request["since"] = since;
    }
    if client.wire == Wire::Json {
        request["id"] = json!("join");
    }
    client.send(request);
    let deadline = Instant::now() + Duration::from_secs(15);
    while Instant::now() < deadline {
        let Some(event) = client.next(PATIENCE) else {
            if client.is_over() {
                return false;
            }
            continue;
        };
        match event["type"].as_str() {
            Some("joined") => {
                seen.joined(&event);
                return true;
            }
            Some("error") => return false,
            _ => {}
        }
    }
    false
}

fn room_name(n: usize) -> String {
    format!("room-{n}")
}

/// A connection that has joined, to the first node from `at` on that takes it.
fn connect(
    shared: &Shared,
    mut at: usize,
    wire: Wire,
    user: &str,
    room: &str,
    seen: &mut Seen,
) -> Client {
    loop {
        assert!(Instant::now() < shared.deadline, "{user} finds no node that lets it into {room}");
        let address = shared.addresses[at % shared.addresses.len()];
        at += 1;
        if let Some(mut client) = Client::open(address, wire, &token(user, json!({})), PATIENCE)
            && join(&mut client, room, seen)
        {
            return client;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// A member that only listens, until its room is complete.
fn listen(shared: &Shared, node: usize, wire: Wire, user: &str, room: usize) -> Seen {
    let mut seen = Seen::default();
    let name = room_name(room);
    let mut client = connect(shared, node, wire, user, &name, &mut seen);
    shared.joined.fetch_add(1, Ordering::SeqCst);
    loop {
        match client.next(Duration::from_millis(500)) {
            Some(event) => match event["type"].as_str() {
                Some("message") => seen.message(&event),
                Some("joined") => seen.joined(&event),
                _ => {}
            },
            None if client.is_over() => {
                seen.returns += 1;
                client = connect(shared, node + seen.returns, wire, user, &name, &mut seen);
            }
            None => {}
        }
        let complete = shared.sending.load(Ordering::SeqCst) == 0
            && seen.offset >= shared.totals[room].load(Ordering::SeqCst) as u64;
        if complete {
            return seen;
        }
        assert!(
            Instant::now() < shared.deadline,
            "{user} ({wire:?}) has {} of {} in {name}, {} to send",
            seen.offset,
            shared.totals[room].load(Ordering::SeqCst),
            shared.sending.load(Ordering::SeqCst),
        );
    }
}

/// Where a message was stored, by its content.
pub type Acked = BTreeMap<String, (u64, String)>;

/// Sends until everything is acknowledged.
fn send(shared: &Shared, plan: Plan, n: usize) -> Acked {
    let (room, user) = (n % plan.rooms, format!("sender{n}"));
    let name = room_name(room);
    let mut seen = Seen::default();
    let mut client = connect(shared, n, Wire::Json, &user, &name, &mut seen);
    shared.joined.fetch_add(1, Ordering::SeqCst);
    while !shared.go.load(Ordering::SeqCst) {
        client.next(Duration::from_millis(20));
    }
    let (mut acked, mut next, mut resend) = (Acked::new(), 0, Vec::<usize>::new());
    let mut open: HashMap<String, usize> = HashMap::new();
    let mut moves = 0;
    while acked.len() < plan.each {
        assert!(
            Instant::now() < shared.deadline,
            "{user} has {} of {} acknowledged, {} open",
            acked.len(),
            plan.each,
            open.len()
        );
        while open.len() < plan.window && (next < plan.each || !resend.is_empty()) {
            let number = resend.pop().unwrap_or_else(|| {
                next += 1;
                next - 1
            });
            let content = format!("{user}-{number}");
            client.send(json!({
                "type": "message", "id": content, "roomId": name, "content": content,
                "key": content,
            }));
            open.insert(content, number);
            if !plan.pace.is_zero() {
                break;
            }
        }
        let wait = if plan.pace.is_zero() { PATIENCE } else { plan.pace };
        let until = Instant::now() + wait;
        loop {
            let event = client.next(until.saturating_duration_since(Instant::now()));
            let Some(event) = event else { break };
            let id = event["id"].as_str().unwrap_or_default();
            match event["type"].as_str() {
                Some("ack") if open.contains_key(id) => {
                    open.remove(id);
                    let offset = event["offset"].as_u64().unwrap();
                    let stored = event["messageId"].as_str().unwrap().to_owned();
                    acked.insert(id.to_owned(), (offset, stored));
                }
                Some("error") if open.contains_key(id) => {
                    assert_eq!(event["code"], "unavailable", "{event}");
                    resend.extend(open.remove(id));
                    thread::sleep(Duration::from_millis(20));
                }
                Some("joined") => seen.joined(&event),
                Some("message") => seen.message(&event),
                _ => {}
            }
            if plan.pace.is_zero() && open.len() < plan.window {
                break;
            }
        }
        if client.is_over() {
            moves += 1;
            // Whether these were stored is not known: their keys tell.
            resend.extend(open.drain().map(|(_, number)| number));
            client = connect(shared, n + moves, Wire::Json, &user, &name, &mut seen);
        }
    }
    acked
}

/// What a load came to.
pub struct Outcome {
    plan: Plan,
    /// What the listening members saw: room, who, what.
    pub seen: Vec<(usize, String, Seen)>,
    acked: Vec<Acked>,
}

/// Runs a load with a listener on each wire in each room on each node; `fault` does
/// its harm once all members are there and some messages are acknowledged.
pub fn run(fleet: &mut Fleet, plan: Plan, fault: impl FnOnce(&mut Fleet)) -> Outcome {
    let nodes = fleet.hubs.len();
    let shared = Arc::new(Shared {
        addresses: fleet.addresses(),
        deadline: Instant::now() + LONG,
        sending: AtomicUsize::new(plan.senders),
        joined: AtomicUsize::new(0),
        go: AtomicBool::new(false),
        totals: (0..plan.rooms).map(|_| AtomicUsize::new(0)).collect(),
    });
    let mut listeners: Vec<(usize, String, JoinHandle<Seen>)> = Vec::new();
    for node in 0..nodes {
        for room in 0..plan.rooms {
            for wire in [Wire::Json, Wire::SocketIo] {
                let user = format!("listener-{node}-{room}-{wire:?}");
                let (shared, name) = (shared.clone(), user.clone());
                let thread = thread::spawn(move || listen(&shared, node, wire, &name, room));
                listeners.push((room, user, thread));
            }
        }
    }
    let senders: Vec<_> = (0..plan.senders)
        .map(|n| {
            let shared = shared.clone();
            thread::spawn(move || {
                let acked = send(&shared, plan, n);
                shared.totals[n % plan.rooms].fetch_add(acked.len(), Ordering::SeqCst);
                shared.sending.fetch_sub(1, Ordering::SeqCst);
                acked
            })
        })
        .collect();
    let all = listeners.len() + plan.senders;
    until("everybody has joined", Duration::from_secs(60), || {
        (shared.joined.load(Ordering::SeqCst) == all).then_some(())
    });
    shared.go.store(true, Ordering::SeqCst);
    fault(fleet);
    let acked = senders.into_iter().map(|t| t.join().expect("a sender")).collect();
    let seen = listeners
        .into_iter()
        .map(|(room, user, thread)| (room, user, thread.join().expect("a listener")))
        .collect();
    Outcome { plan, seen, acked }
}

impl Outcome {
    /// Every member of a room saw the same: all that was acknowledged, once, at the
    /// offset of its acknowledgement, in the order of the offsets.
    pub fn assert_whole(&self) {
        for room in 0..self.plan.rooms {
            let mut expected: BTreeMap<u64, (String, String)> = BTreeMap::new();
            for (n, acked) in self.acked.iter().enumerate() {
                if n % self.plan.rooms != room {
                    continue;
                }
                for (content, (offset, id)) in acked {
                    let old = expected.insert(*offset, (id.clone(), content.clone()));
                    assert_eq!(old, None, "offset {offset} twice in room {room}");
                }
            }
            assert!(
                expected.keys().copied().eq(1..=expected.len() as u64),
                "room {room}: the offsets of the acknowledgements have a hole"
            );
            let expected: Vec<_> =
                expected.into_iter().map(|(offset, (id, content))| (offset, id, content)).collect();
            for (_, user, seen) in self.seen.iter().filter(|(r, ..)| *r == room) {
                assert_eq!(seen.resets, 0, "{user} was told that messages are missing");
                if let Some(at) = (0..expected.len().max(seen.messages.len()))
                    .find(|at| seen.messages.get(*at) != expected.get(*at))
                {
                    panic!(
                        "{user} saw {:?} where {:?} was due ({} of {}, {} returns)",
                        seen.messages.get(at),
                        expected.get(at),
                        seen.messages.len(),
                        expected.len(),
                        seen.returns
                    );
                }
            }
        }
    }

    /// How often listeners came back.
    pub fn returns(&self) -> usize {
        self.seen.iter().map(|(_, _, seen)| seen.returns).sum()
    }
}
