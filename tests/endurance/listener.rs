//! Members that only listen. Their connections end again and again, and they come back in the three
//! ways there are: join with `since`, `resume`, and the recovery of Socket.IO. Each copy goes to the
//! audit of the load test.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hubbub::loadtest::{
    audit::{Audit, Joined, Member},
    marker::Marker,
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde_json::{Value, json};

use crate::{support::*, world::TOKEN_SECONDS};

/// How long a client waits for a node before it goes to another one.
pub const PATIENCE: Duration = Duration::from_secs(6);
/// How long one that goes on may take altogether, once everything is whole again.
pub const AT_LAST: Duration = Duration::from_secs(60);
/// Rooms that everybody is in.
pub const ROOMS: usize = 3;

/// What all clients share.
pub struct Course {
    /// The nodes.
    pub addresses: Vec<SocketAddr>,
    /// Seed of what is random.
    pub seed: u64,
    /// No new messages from now on.
    pub over: AtomicBool,
    /// Senders that have not everything acknowledged.
    pub sending: AtomicUsize,
    /// By room the newest offset that an ack named.
    pub heads: [AtomicU64; ROOMS],
    /// When everything was whole again.
    pub whole: Mutex<Option<Instant>>,
    /// Listeners go when they have everything; until then they stay and are counted as members.
    pub leave: AtomicBool,
    /// Listeners that have everything.
    pub complete: AtomicUsize,
}

impl Course {
    /// Whether what is not done by now is not done at all.
    pub fn too_late(&self) -> bool {
        self.whole.lock().unwrap().is_some_and(|since| since.elapsed() > AT_LAST)
    }
}

/// The name of a room.
pub fn room_name(n: usize) -> String {
    format!("room-{n}")
}

/// A token that outlives every clock that jumps.
pub fn long_token(user: &str) -> String {
    token(user, json!({ "exp": now() + TOKEN_SECONDS }))
}

/// What a content says about its message: `chaos.SENDER.NUMBER`.
pub fn marker(room: usize, content: &str) -> Option<Marker> {
    let mut parts = content.strip_prefix("chaos.")?.split('.');
    let mut part = || parts.next()?.parse().ok();
    Some(Marker { room: room as u32, sender: part()?, number: part()?, due: 0, length: 0 })
}

/// How a listener comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Each room with `since`, on this wire.
    Since(Wire),
    /// `resume` on the JSON wire.
    Resume,
    /// Connection state recovery of Socket.IO.
    Recovery,
}

/// Where a listener stands in a room.
#[derive(Clone, Default)]
struct Place {
    epoch: String,
    offset: u64,
    joined: bool,
}

/// A listener, and at the end what it saw.
pub struct Listener {
    /// Its user.
    pub user: String,
    /// How it comes back.
    pub way: Way,
    at: usize,
    token: String,
    places: [Place; ROOMS],
    session: Option<Value>,
    ticket: Option<Ticket>,
    random: SmallRng,
    /// Every copy, judged.
    pub audit: Audit,
    /// Copies.
    pub heard: u64,
    /// Times that it connected again.
    pub returns: u64,
    /// Times that a session was restored as a whole.
    pub recovered: u64,
    /// What it found beyond the audit, in words.
    pub faults: Vec<String>,
}

impl Listener {
    /// One that begins at a node.
    pub fn new(course: &Course, number: usize, way: Way) -> Self {
        let user = format!("listener-{number}");
        let mut audit = Audit::new(ROOMS);
        audit.members = (0..ROOMS).map(|room| Member::new(number, room as u32)).collect();
        Self {
            token: long_token(&user),
            user,
            way,
            at: number,
            places: Default::default(),
            session: None,
            ticket: None,
            random: SmallRng::seed_from_u64(course.seed ^ (1000 + number as u64)),
            audit,
            heard: 0,
            returns: 0,
            recovered: 0,
            faults: Vec::new(),
        }
    }

    /// Listens until everything is there.
    pub fn run(mut self, course: &Course) -> Self {
        let mut told = false;
        while let Some(mut client) = self.connect(course) {
            let stay = Duration::from_millis(self.random.random_range(500..15_000));
            let until = Instant::now() + stay;
            let mut heard_at = Instant::now();
            loop {
                if let Some(event) = client.next(Duration::from_millis(200)) {
                    heard_at = Instant::now();
                    self.hear(&event);
                }
                if self.is_complete(course) {
                    if !told {
                        course.complete.fetch_add(1, Ordering::SeqCst);
                        told = true;
                    }
                    if course.leave.load(Ordering::SeqCst) {
                        self.note_ticket(&client);
                        return self;
                    }
                } else if client.is_over() || heard_at.elapsed() > PATIENCE {
                    break;
                } else if Instant::now() > until && !course.over.load(Ordering::SeqCst) {
                    // The network goes, without a word to the hub half of the time.
                    if self.random.random_bool(0.5) {
                        let _ = client.ws.stream().shutdown(std::net::Shutdown::Both);
                    }
                    break;
                }
                if course.too_late() {
                    break;
                }
            }
            self.lose(&client);
            if course.too_late() {
                break;
            }
        }
        let stands: Vec<u64> = self.places.iter().map(|p| p.offset).collect();
        self.faults.push(format!("{} ({:?}) stands at {stands:?} for good", self.user, self.way));
        self
    }

    fn is_complete(&self, course: &Course) -> bool {
        course.sending.load(Ordering::SeqCst) == 0
            && (0..ROOMS).all(|room| {
                let place = &self.places[room];
                place.joined && place.offset >= course.heads[room].load(Ordering::SeqCst)
            })
    }

    fn note_ticket(&mut self, client: &Client) {
        if self.way == Way::Recovery {
            self.ticket = Some(client.ticket.clone());
        }
    }

    fn lose(&mut self, client: &Client) {
        self.note_ticket(client);
        for room in 0..ROOMS {
            self.audit.left(room);
            self.places[room].joined = false;
        }
        self.returns += 1;
        self.at += 1;
    }

    /// A connection with all rooms joined, to one node after the other; none if it is too late.
    fn connect(&mut self, course: &Course) -> Option<Client> {
        loop {
            if course.too_late() {
                return None;
            }
            let address = course.addresses[self.at % course.addresses.len()];
            if let Some(mut client) = self.open(address) {
                if self.enter(&mut client).is_some() {
                    return Some(client);
                }
                self.lose(&client);
            } else {
                self.at += 1;
            }
            thread::sleep(Duration::from_millis(self.random.random_range(20..200)));
        }
    }

    fn open(&mut self, address: SocketAddr) -> Option<Client> {
        let wire = match self.way {
            Way::Since(wire) => wire,
            Way::Resume => Wire::Json,
            Way::Recovery => Wire::SocketIo,
        };
        Client::open_again(address, wire, &self.token, self.ticket.as_ref(), PATIENCE)
    }

    /// Comes back to all rooms; none if the connection does not let it.
    fn enter(&mut self, client: &mut Client) -> Option<()> {
        if self.way == Way::Recovery {
            let back = self.ticket.as_ref().is_some_and(|t| t.pid == client.ticket.pid);
            self.ticket = Some(client.ticket.clone());
            if back {
                self.recovered += 1;
                for room in 0..ROOMS {
                    self.restored(room);
                }
                // A room that it had not come to join is not among them.
            }
        }
        if self.way == Way::Resume {
            let event = self.wait(client, |e| e["type"] == "authenticated")?;
            let before = self.session.replace(event["sessionId"].clone());
            if let Some(before) = before {
                self.resume(client, &before)?;
            }
        }
        for room in (0..ROOMS).filter(|room| !self.places[*room].joined).collect::<Vec<_>>() {
            let name = room_name(room);
            let mut request = json!({"type": "join", "roomId": name});
            if !self.places[room].epoch.is_empty() {
                request["since"] = self.position(room);
            }
            client.send(request);
            self.wait(client, |e| e["type"] == "joined" && e["roomId"] == *name)?;
            if !self.places[room].joined {
                return None;
            }
        }
        Some(())
    }

    /// A room of a session that was restored.
    fn restored(&mut self, room: usize) {
        let place = &mut self.places[room];
        if place.epoch.is_empty() {
            return;
        }
        place.joined = true;
        let epoch = u64::from_str_radix(&place.epoch, 16).unwrap();
        let joined = Joined { epoch, offset: place.offset, recovered: true, resumed: true };
        self.audit.joined(room, joined);
    }

    fn resume(&mut self, client: &mut Client, session: &Value) -> Option<()> {
        let positions: serde_json::Map<String, Value> = (0..ROOMS)
            .filter(|room| !self.places[*room].epoch.is_empty())
            .map(|room| (room_name(room), self.position(room)))
            .collect();
        client.send(json!({
            "type": "resume", "id": "resume", "sessionId": session, "positions": positions
        }));
        let answer = self.wait(client, |e| e["id"] == "resume")?;
        self.recovered += u64::from(answer["recovered"] == true);
        for told in answer["rooms"].as_array()? {
            let Some(room) = (0..ROOMS).find(|room| told["roomId"] == *room_name(*room)) else {
                self.faults.push(format!("{}: resumed to {told}", self.user));
                continue;
            };
            if told["code"].is_string() {
                continue;
            }
            if told["recovered"] == true {
                self.restored(room);
            } else {
                self.joined(room, told);
            }
        }
        Some(())
    }

    fn position(&self, room: usize) -> Value {
        json!({"epoch": self.places[room].epoch, "offset": self.places[room].offset})
    }

    /// Hears until the test holds; none if the connection does not say it.
    fn wait(&mut self, client: &mut Client, test: impl Fn(&Value) -> bool) -> Option<Value> {
        let deadline = Instant::now() + Duration::from_secs(15);
        while Instant::now() < deadline && !client.is_over() {
            let Some(event) = client.next(Duration::from_millis(500)) else { continue };
            self.hear(&event);
            if test(&event) {
                return Some(event);
            }
            // A refused join or resume; that Redis is away is told without an id.
            if event["type"] == "error" {
                return None;
            }
        }
        None
    }

    fn hear(&mut self, event: &Value) {
        let room = (0..ROOMS).find(|room| event["roomId"] == *room_name(*room));
        match (event["type"].as_str(), room) {
            (Some("message"), Some(room)) => self.message(room, event),
            (Some("joined"), Some(room)) => self.joined(room, event),
            _ => {}
        }
    }

    fn message(&mut self, room: usize, event: &Value) {
        self.heard += 1;
        let place = &mut self.places[room];
        let (epoch, offset) = (event["epoch"].as_str().unwrap(), event["offset"].as_u64().unwrap());
        if epoch != place.epoch {
            self.faults.push(format!("{}: epoch {epoch} without a word: {event}", self.user));
        }
        place.offset = place.offset.max(offset);
        match marker(room, event["content"].as_str().unwrap()) {
            Some(marker) => self.audit.received(room, offset, &marker),
            None => self.audit.damaged(room, &event.to_string()),
        }
    }

    /// Also one that was not asked for: the member starts over.
    fn joined(&mut self, room: usize, event: &Value) {
        let epoch = event["epoch"].as_str().unwrap();
        if epoch == "0000000000000000" {
            // The history cannot be read: come back with what is known.
            return;
        }
        let place = &mut self.places[room];
        let again = !place.epoch.is_empty();
        let recovered = event["recovered"] == true;
        if again && !recovered {
            self.faults.push(format!(
                "{} ({:?}): starts over in {room}, from {}/{} to {epoch}/{}",
                self.user, self.way, place.epoch, place.offset, event["offset"]
            ));
        }
        place.joined = true;
        place.epoch = epoch.to_owned();
        let offset = event["offset"].as_u64().unwrap();
        let epoch = u64::from_str_radix(epoch, 16).unwrap();
        self.audit.joined(room, Joined { epoch, offset, recovered, resumed: again });
        if again && recovered {
            for message in event["messages"].as_array().into_iter().flatten() {
                self.message(room, message);
            }
        } else {
            self.places[room].offset = offset;
        }
    }
}
