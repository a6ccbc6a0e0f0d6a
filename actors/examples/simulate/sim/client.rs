//! Clients as good ones behave: they come back with what they have, publish with a key, and send
//! again what was not answered.

use std::collections::{BTreeMap, VecDeque};

use hubbub_protocol::id::{SessionId, UserId};

use super::{
    check::{Truth, View, Violation},
    event::{Down, Event, Sabotage, Up},
    schedule::{CLIENTS, NODES, Op, USERS},
    world::{World, room_name, short},
};

/// How long an answer may take before a publish is sent again.
const RESEND_MS: u64 = 3000;

/// One room of a client.
#[derive(Debug, Default)]
pub struct Place {
    /// What it was given.
    pub view: View,
    /// The number of its request to join, on this connection.
    asked: Option<u64>,
    /// It is in.
    pub joined: bool,
    /// It named a position when it asked.
    resumed: bool,
}

/// A publish that is not answered.
#[derive(Clone, Debug)]
struct Pending {
    room: usize,
    text: String,
}

/// See the module.
#[derive(Debug)]
pub struct Client {
    number: usize,
    /// Its user; some clients share one.
    pub user: UserId,
    /// Whether it wants to be connected.
    pub wanted: bool,
    node: usize,
    /// Its connection: number and node.
    pub conn: Option<(u64, usize)>,
    /// The rooms it wants to be in.
    pub rooms: BTreeMap<usize, Place>,
    pending: VecDeque<Pending>,
    published: u64,
    frozen_until: u64,
    /// Until when it may be given up for its silence.
    pub silent_until: u64,
    inbox: VecDeque<(u64, Down)>,
}

impl Client {
    /// One that is not connected.
    pub fn new(number: usize) -> Self {
        Self {
            number,
            user: UserId::new(format!("user-{}", number % USERS)).expect("a valid id"),
            wanted: false,
            node: 0,
            conn: None,
            rooms: BTreeMap::new(),
            pending: VecDeque::new(),
            published: 0,
            frozen_until: 0,
            silent_until: 0,
            inbox: VecDeque::new(),
        }
    }

    /// Whether it has everything, and every publish was answered. Unless `known`, it may be that
    /// the store could not tell it where a room stands.
    ///
    /// # Errors
    /// What is missing.
    pub fn settled(&self, truth: &Truth, known: bool) -> Result<(), Violation> {
        let name = format!("client {}", self.number);
        if self.wanted && self.conn.is_none() {
            return Err(format!("{name} is not back"));
        }
        if !self.wanted {
            return Ok(());
        }
        for (room, place) in &self.rooms {
            if !place.joined {
                return Err(format!("{name} is not in room {room}"));
            }
            let head = truth.head(&room_name(*room));
            let have = place.view.have.map_or(0, |p| p.offset);
            if have != head && (known || place.view.have.is_some()) {
                return Err(format!("{name} has {have} of {head} messages of room {room}"));
            }
        }
        match self.pending.front() {
            Some(pending) => Err(format!("{name}: {pending:?} was never answered")),
            None => Ok(()),
        }
    }
}

impl World {
    /// What a client does.
    pub fn client_op(&mut self, op: Op) {
        match op {
            Op::Connect { client, node } => {
                let me = &mut self.clients[client];
                if !me.wanted {
                    me.wanted = true;
                    me.node = node;
                    self.connect(client);
                }
            }
            Op::Join { client, room } => {
                self.clients[client].rooms.entry(room).or_default();
                self.ask(client, room);
            }
            Op::Leave { client, room } => {
                let me = &mut self.clients[client];
                // What is not answered is given up with the room.
                me.pending.retain(|p| p.room != room);
                if me.rooms.remove(&room).is_some_and(|place| place.asked.is_some()) {
                    self.say(client, Up::Leave(room));
                }
            }
            Op::Publish { client, room } => self.publish(client, room, 1),
            Op::Burst { client, room, count } => self.publish(client, room, count),
            Op::Cut { client, silent } => {
                let Some((conn, node)) = self.clients[client].conn else { return };
                self.lost(client, conn);
                if !silent {
                    let life = self.nodes[node].life;
                    self.after(5, Event::Gone { node, life, conn });
                }
            }
            Op::Freeze { client, ms } => {
                let until = self.now + ms;
                let me = &mut self.clients[client];
                me.frozen_until = me.frozen_until.max(until);
                me.silent_until = me.frozen_until + 6000;
                self.at(until, Event::Thaw(client));
            }
            Op::Close { client } => {
                self.say(client, Up::Close);
                let me = &mut self.clients[client];
                me.wanted = false;
                me.conn = None;
                me.rooms.clear();
                me.pending.clear();
            }
            Op::Type { client, room, on } => self.say(client, Up::Type(room, on)),
            Op::Away { client, away } => self.say(client, Up::Away(away)),
            Op::Kill { .. } | Op::Partition { .. } | Op::Slow { .. } => {}
        }
    }

    /// Sends something to the node, if there is a connection.
    fn say(&mut self, client: usize, up: Up) {
        if let Some((conn, node)) = self.clients[client].conn {
            self.travel(conn, true, Event::Up(node, conn, up));
        }
    }

    /// Connects; a node that is down is seen to be, and the next is tried.
    pub fn connect(&mut self, client: usize) {
        let me = &self.clients[client];
        if !me.wanted || me.conn.is_some() {
            return;
        }
        let node = me.node;
        if !self.nodes[node].up {
            self.clients[client].node = (node + 1) % NODES;
            let pause = 50 + self.random.below(300);
            return self.after(pause, Event::Reconnect(client));
        }
        let conn = self.next_number();
        self.clients[client].conn = Some((conn, node));
        self.nodes[node].expect(conn, client);
        self.say(client, Up::Open);
        let rooms: Vec<usize> = self.clients[client].rooms.keys().copied().collect();
        for room in rooms {
            self.ask(client, room);
        }
        self.after(RESEND_MS, Event::Resend(client));
    }

    /// Asks to join, with what it has.
    fn ask(&mut self, client: usize, room: usize) {
        let request = self.next_number();
        let me = &mut self.clients[client];
        let Some(place) = me.rooms.get_mut(&room) else { return };
        if me.conn.is_none() || place.asked.is_some() {
            return;
        }
        place.asked = Some(request);
        place.resumed = place.view.have.is_some();
        let since = place.view.have;
        self.say(client, Up::Join(room, since, request));
    }

    fn publish(&mut self, client: usize, room: usize, count: usize) {
        for _ in 0..count {
            let me = &mut self.clients[client];
            if !me.rooms.contains_key(&room) {
                return;
            }
            me.published += 1;
            let text = format!("{}-{}", me.number, me.published);
            me.pending.push_back(Pending { room, text: text.clone() });
            if me.rooms[&room].joined {
                self.say(client, Up::Publish(room, text));
            }
        }
    }

    /// Sends again what is not answered, in the rooms it is in.
    pub fn resend(&mut self, client: usize) {
        let me = &self.clients[client];
        if me.conn.is_none() {
            return;
        }
        let joined = |room: &usize| me.rooms.get(room).is_some_and(|place| place.joined);
        let again: Vec<Pending> = me.pending.iter().filter(|p| joined(&p.room)).cloned().collect();
        for Pending { room, text } in again {
            self.say(client, Up::Publish(room, text));
        }
        self.after(RESEND_MS, Event::Resend(client));
    }

    /// A client learns that its connection is gone, and comes back.
    pub fn lost(&mut self, client: usize, conn: u64) {
        let me = &mut self.clients[client];
        if me.conn.is_none_or(|(mine, _)| mine != conn) {
            return;
        }
        me.conn = None;
        me.inbox.clear();
        for place in me.rooms.values_mut() {
            (place.asked, place.joined) = (None, false);
        }
        me.node = (me.node + 1) % NODES;
        let pause = 20 + self.random.below(800);
        self.after(pause, Event::Reconnect(client));
    }

    /// A frozen client takes what has come meanwhile.
    pub fn thaw(&mut self, client: usize) -> Result<(), Violation> {
        if self.clients[client].frozen_until > self.now {
            return Ok(());
        }
        while let Some((conn, down)) = self.clients[client].inbox.pop_front() {
            self.take(client, conn, down)?;
        }
        Ok(())
    }

    /// Something arrives at a client.
    pub fn arrive(&mut self, client: usize, conn: u64, down: Down) -> Result<(), Violation> {
        let me = &mut self.clients[client];
        if me.frozen_until > self.now || !me.inbox.is_empty() {
            me.inbox.push_back((conn, down));
            return Ok(());
        }
        self.take(client, conn, down)
    }

    fn take(&mut self, client: usize, conn: u64, down: Down) -> Result<(), Violation> {
        if self.clients[client].conn.is_none_or(|(mine, _)| mine != conn) {
            return Ok(());
        }
        let told = |what: Violation| format!("client {client}: {what}");
        match down {
            Down::Joined { room, request, position, recovered, messages } => {
                if recovered {
                    self.stats.recovered += 1;
                } else {
                    self.stats.started_over += 1;
                }
                let me = &mut self.clients[client];
                let place = me.rooms.get_mut(&room);
                // What was asked for before it left and asked again is not looked at.
                let wanted = |p: &&mut Place| match request {
                    0 => p.joined,
                    number => p.asked == Some(number),
                };
                let Some(place) = place.filter(wanted) else {
                    return Ok(());
                };
                place.joined = true;
                let resumed = place.resumed && request != 0;
                place.view.joined(position, recovered, &messages, resumed).map_err(told)?;
                let again: Vec<Pending> =
                    me.pending.iter().filter(|p| p.room == room).cloned().collect();
                for Pending { room, text } in again {
                    self.say(client, Up::Publish(room, text));
                }
            }
            Down::Message(room, stored) => {
                if self.plays(Sabotage::LoseMessage) {
                    return Ok(());
                }
                self.stats.given += 1;
                let twice = self.plays(Sabotage::RepeatMessage);
                // What was on its way when it left is not looked at.
                let Some(place) = self.clients[client].rooms.get_mut(&room) else {
                    return Ok(());
                };
                if !place.joined {
                    return Ok(());
                }
                let told = |what: Violation| {
                    format!("client {client}, room {room}, given {}: {what}", short(&stored))
                };
                place.view.message(&stored).map_err(told)?;
                if twice {
                    place.view.message(&stored).map_err(told)?;
                }
            }
            Down::Ack(room, text, position) => {
                self.truth.acknowledged(&room_name(room), position, &text).map_err(told)?;
                self.clients[client].pending.retain(|p| p.text != text);
            }
            // It is sent again when the time comes.
            Down::Nack => {}
            Down::Ping => self.say(client, Up::Pong),
            Down::Closed => self.lost(client, conn),
        }
        Ok(())
    }

    /// The client of a connection.
    pub fn client_of(&self, session: SessionId) -> Option<usize> {
        (0..CLIENTS).find(|client| {
            self.clients[*client]
                .conn
                .is_some_and(|(conn, _)| SessionId(uuid::Uuid::from_u128(conn.into())) == session)
        })
    }
}
