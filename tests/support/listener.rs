//! A client of the JSON wire that comes back with `resume`, and knows all it heard.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Handshake, Hub, Ws, token};

/// What takes longest here: a hub that dies and its session found at another.
const LONG: Duration = Duration::from_secs(30);

/// A client that remembers what it must, and everything it got.
pub struct Listener {
    pub user: String,
    pub session: Value,
    pub positions: BTreeMap<String, Value>,
    pub got: BTreeMap<String, Vec<(u64, String)>>,
}

/// The position that an event or an answer is at, as `resume` takes it.
pub fn position(of: &Value) -> Value {
    json!({"epoch": of["epoch"], "offset": of["offset"]})
}

/// An open connection, and the id of its session.
pub fn open(hub: &Hub, user: &str) -> (Ws, Value) {
    let mut ws = hub.connect(Handshake::new().query_token(&token(user, json!({}))));
    let session = ws.expect_kind("authenticated")["sessionId"].clone();
    (ws, session)
}

impl Listener {
    /// A member of rooms, who has heard nothing yet.
    pub fn enter(hub: &Hub, rooms: &[&str], user: &str) -> (Self, Ws) {
        let (mut ws, session) = open(hub, user);
        let mut listener =
            Self { user: user.into(), session, positions: BTreeMap::new(), got: BTreeMap::new() };
        for &room in rooms {
            let joined = ws.join(room);
            listener.positions.insert(room.to_owned(), position(&joined));
        }
        (listener, ws)
    }

    /// Notes a message.
    pub fn hear(&mut self, event: &Value) {
        if event["type"] != "message" {
            return;
        }
        let room = event["roomId"].as_str().unwrap().to_owned();
        let (offset, content) = (event["offset"].as_u64().unwrap(), event["content"].as_str());
        self.positions.insert(room.clone(), position(event));
        self.got.entry(room).or_default().push((offset, content.unwrap().into()));
    }

    /// Hears until the connection ends, or until it stands at these offsets.
    pub fn hear_on(&mut self, ws: &mut Ws, heads: Option<&HashMap<&str, u64>>) {
        for event in ws.take(|_| true) {
            self.hear(&event);
        }
        let deadline = Instant::now() + LONG;
        loop {
            let there = heads.is_some_and(|heads| {
                heads.iter().all(|(room, head)| self.positions[*room]["offset"] == *head)
            });
            if there {
                return;
            }
            match ws.next_event(deadline) {
                Some(event) => self.hear(&event),
                None if heads.is_none() => return,
                None => panic!("{} stands at {:?}, not at {heads:?}", self.user, self.positions),
            }
        }
    }

    /// Comes back and asks for everything in one frame; the answer.
    pub fn resume(&mut self, hub: &Hub) -> (Ws, Value) {
        let (mut ws, session) = open(hub, &self.user);
        let id = ws.ask(json!({
            "type": "resume", "sessionId": self.session, "positions": self.positions
        }));
        self.session = session;
        let deadline = Instant::now() + LONG;
        loop {
            let event = ws.next_event(deadline).expect("an answer to resume");
            if event["id"] == *id {
                assert_eq!(event["type"], "ack", "{event}");
                return (ws, event);
            }
            assert_ne!(event["type"], "message", "before the answer");
        }
    }
}
