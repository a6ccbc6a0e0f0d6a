//! What clients do, as data: made by proptest, and made short by it when it fails.

use proptest::{collection::vec, prelude::*};
use serde_json::{Map, Value, json};

/// Connections at a time.
pub const CONNS: usize = 3;
/// Rooms that requests name: more than a session may be in.
pub const ROOMS: u8 = 6;

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Step {
    /// A connection opens; `token` is for its handshake.
    Open { conn: usize, engine: bool, token: Option<u8> },
    /// A request, in so many fragments.
    Ask { conn: usize, request: Asked, fragments: usize },
    /// Several in one frame.
    Batch { conn: usize, requests: Vec<Asked>, id: bool },
    /// Every room is joined, one after the other.
    Rooms { conn: usize },
    /// A namespace is joined, with what a session before left behind.
    Connect { conn: usize, team: bool, token: u8, back: Option<(usize, bool)> },
    /// The network is gone, and the client comes back for its session.
    Return { conn: usize },
    /// A namespace is left.
    Disconnect { conn: usize, team: bool },
    /// A packet of any kind.
    Packet { conn: usize, text: String },
    /// A frame of any kind.
    Frame { conn: usize, first: u8, payload: Vec<u8>, masked: bool },
    /// Bytes that are no frame.
    Bytes { conn: usize, bytes: Vec<u8> },
    /// The client takes nothing any more, or takes again what waits.
    Stall { conn: usize, on: bool },
    /// The network is gone.
    Cut { conn: usize },
    /// Others have their turn.
    Turn,
}

/// A request, whole or spoiled.
#[derive(Clone, Debug)]
pub struct Asked {
    pub kind: u8,
    pub room: u8,
    pub number: u8,
    pub flag: bool,
    pub text: String,
    pub id: bool,
    pub spoil: Spoil,
}

/// What is wrong with it.
#[derive(Clone, Debug)]
pub enum Spoil {
    Nothing,
    /// A field is missing.
    Drop(usize),
    /// A field holds something else.
    Wrong(usize, u8),
    /// It is cut off.
    Cut(usize),
    /// It is larger than a frame may be.
    Large,
}

fn conn() -> impl Strategy<Value = usize> {
    0..CONNS
}

fn asked() -> impl Strategy<Value = Asked> {
    let spoil = prop_oneof![
        16 => Just(Spoil::Nothing),
        1 => (0..5_usize).prop_map(Spoil::Drop),
        2 => (0..5_usize, any::<u8>()).prop_map(|(field, with)| Spoil::Wrong(field, with)),
        1 => (0..60_usize).prop_map(Spoil::Cut),
    ];
    let spoil = prop_oneof![60 => spoil, 1 => Just(Spoil::Large)];
    let text = prop_oneof![8 => "[a-c]{0,3}", 1 => "\\PC{0,12}", 1 => "[x]{200,900}"];
    // Joins and publishes more often than the rest.
    let kind = prop_oneof![3 => Just(0_u8), 3 => Just(2_u8), 8 => 0..18_u8];
    let room = prop_oneof![1 => Just(0_u8), 1 => 0..ROOMS];
    (kind, room, any::<u8>(), any::<bool>(), text, prop::bool::weighted(0.8), spoil).prop_map(
        |(kind, room, number, flag, text, id, spoil)| Asked {
            kind,
            room,
            number,
            flag,
            text,
            id,
            spoil,
        },
    )
}

/// A run.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let back = prop::option::of((0..4_usize, any::<bool>()));
    let step = prop_oneof![
        2 => (conn(), any::<bool>(), prop::option::weighted(0.8, 0..5_u8))
            .prop_map(|(conn, engine, token)| Step::Open { conn, engine, token }),
        40 => (conn(), asked(), prop_oneof![6 => Just(1_usize), 1 => 2..4_usize])
            .prop_map(|(conn, request, fragments)| Step::Ask { conn, request, fragments }),
        2 => (conn(), vec(asked(), 0..6), any::<bool>())
            .prop_map(|(conn, requests, id)| Step::Batch { conn, requests, id }),
        1 => conn().prop_map(|conn| Step::Rooms { conn }),
        4 => (conn(), prop::bool::weighted(0.3), 0..5_u8, back)
            .prop_map(|(conn, team, token, back)| Step::Connect { conn, team, token, back }),
        2 => conn().prop_map(|conn| Step::Return { conn }),
        1 => (conn(), any::<bool>()).prop_map(|(conn, team)| Step::Disconnect { conn, team }),
        1 => (conn(), "[0-6][0-6]?(/team,)?[0-9]{0,2}-?(\\[\"[a-z]{1,5}\"(,\\{\\})?\\])?")
            .prop_map(|(conn, text)| Step::Packet { conn, text }),
        1 => (conn(), any::<u8>(), vec(any::<u8>(), 0..20), prop::bool::weighted(0.9))
            .prop_map(|(conn, first, payload, masked)| Step::Frame { conn, first, payload, masked }),
        1 => (conn(), prop_oneof![Just(0x89_u8), Just(0x8a_u8), Just(0x82_u8), Just(0x88_u8)],
              vec(any::<u8>(), 0..4))
            .prop_map(|(conn, first, payload)| Step::Frame { conn, first, payload, masked: true }),
        1 => (conn(), vec(any::<u8>(), 1..12)).prop_map(|(conn, bytes)| Step::Bytes { conn, bytes }),
        1 => (conn(), any::<bool>()).prop_map(|(conn, on)| Step::Stall { conn, on }),
        2 => conn().prop_map(|conn| Step::Cut { conn }),
        4 => Just(Step::Turn),
    ];
    vec(step, 1..60)
}

/// The user of a number.
pub fn token(number: u8) -> &'static str {
    ["ann", "bob", "ann", "reader", "xerxes"][usize::from(number) % 5]
}

/// What a run has learned that later steps use.
#[derive(Default)]
pub struct Learned {
    /// Sessions on the JSON wire.
    pub sessions: Vec<String>,
    /// Of Socket.IO: `pid`, and the newest offset.
    pub pids: Vec<String>,
    pub offsets: Vec<String>,
    /// Where rooms stand.
    pub positions: Map<String, Value>,
}

impl Asked {
    /// Joins a room, and nothing is wrong with it.
    pub fn join(room: u8) -> Self {
        let spoil = Spoil::Nothing;
        Self { kind: 0, room, number: 1, flag: true, text: String::new(), id: true, spoil }
    }

    /// Its name and fields.
    pub fn fields(&self, learned: &Learned) -> (&'static str, Map<String, Value>) {
        let room = match self.room {
            5 => String::from("@ann"),
            n => format!("r{n}"),
        };
        let at = learned.positions.get(&room).cloned();
        let other = json!({"epoch": "00000000000000aa", "offset": self.number});
        let since = if self.number.is_multiple_of(4) { other } else { at.unwrap_or(Value::Null) };
        let earlier = learned.sessions.len().checked_sub(1 + usize::from(self.number % 3));
        let earlier = earlier.map_or(Value::Null, |at| json!(learned.sessions[at]));
        let key = if self.flag { json!(self.text) } else { Value::Null };
        let status = ["online", "away", "offline", "gone"][usize::from(self.number % 4)];
        let (name, fields) = match self.kind {
            0 if self.flag => ("join", json!({"roomId": room})),
            0 => ("join", json!({"roomId": room, "since": since})),
            1 => ("leave", json!({"roomId": room})),
            2 => ("message", json!({"roomId": room, "content": self.text, "key": key})),
            3 => ("message", json!({"content": self.text, "data": {"a": [self.number]}})),
            4 => ("direct", json!({"userId": token(self.number), "content": self.text})),
            5 => ("typing", json!({"roomId": room, "isTyping": self.flag})),
            6 => ("presence", json!({"status": status})),
            7 => ("read", json!({"roomId": room, "offset": self.number})),
            8 => ("delivered", json!({"roomId": room, "offset": self.number})),
            9 => ("receipts", json!({"roomId": room})),
            10 => (
                "event",
                json!({"roomId": room, "name": "n", "data": self.text,
                    "volatile": self.flag}),
            ),
            11 if self.flag => ("history", json!({"roomId": room, "after": self.number})),
            11 => ("history", json!({"roomId": room, "before": self.number, "limit": self.room})),
            12 => ("members", json!({"roomId": room})),
            13 => ("ping", json!({})),
            14 => ("auth", json!({"token": token(self.number)})),
            15 => ("resume", json!({"sessionId": earlier, "positions": learned.positions})),
            16 => ("what", json!({"roomId": room})),
            _ => ("batch", json!({"messages": [{"type": "ping"}]})),
        };
        let Value::Object(mut fields) = fields else { return (name, Map::new()) };
        let nth = |fields: &Map<String, Value>, at: usize| {
            let count = fields.len().max(1);
            fields.keys().nth(at % count).cloned()
        };
        match self.spoil {
            Spoil::Drop(at) => {
                if let Some(field) = nth(&fields, at) {
                    fields.remove(&field);
                }
            }
            Spoil::Wrong(at, with) => {
                if let Some(field) = nth(&fields, at) {
                    fields.insert(field, junk(with));
                }
            }
            Spoil::Large => {
                fields.insert("more".into(), json!("x".repeat(super::hub::MAX_FRAME)));
            }
            Spoil::Nothing | Spoil::Cut(_) => {}
        }
        (name, fields)
    }

    /// The text, cut if it is to be; and whether it is whole.
    pub fn cut(&self, text: String) -> (String, bool) {
        match self.spoil {
            Spoil::Cut(at) => (text.chars().take(at).collect(), false),
            _ => (text, true),
        }
    }
}

fn junk(with: u8) -> Value {
    match with % 9 {
        0 => Value::Null,
        1 => json!(-1),
        2 => json!(1.5),
        3 => json!(u64::MAX),
        4 => json!([]),
        5 => json!({"epoch": "zz", "offset": 1}),
        6 => json!("é".repeat(100)),
        7 => json!({"epoch": "00000000000000aa", "offset": u64::MAX}),
        _ => json!(true),
    }
}
