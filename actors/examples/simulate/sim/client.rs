//! Clients as good ones behave: they come back with what they have, publish with a key, and send
//! again what was not answered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hubbub_protocol::id::{SessionId, UserId};

use super::{
    check::{Truth, View, Violation},
    event::{Down, Event, Up},
    schedule::{CLIENTS, NODES, Op, USERS},
    world::{World, room_name},
};

/// How long an answer may take before a publish is sent again.
const RESEND_MS: u64 = 3000;

/// How a client comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It joins each room with `since`.
    Since,
    /// It names its earlier session and the position of every room.
    Resume,
    /// As a stock Socket.IO client: it brings its session and the newest offset.
    Offsets,
}

/// One room of a client.
#[derive(Debug, Default)]
pub struct Place {
    /// What it was given.
    pub view: View,
    /// The number of its request to join, on this connection.
    pub(super) asked: Option<u64>,
    /// It is in.
    pub joined: bool,
    /// It named a position when it asked.
    pub(super) resumed: bool,
}

/// A publish that is not answered.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub room: usize,
    pub text: String,
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
    /// How it comes back.
    pub manner: Manner,
    /// Its session, and the one before.
    pub session: Option<SessionId>,
    /// The last offset of an event that it took.
    pub offset: Option<String>,
    /// It may ask for rooms: it knows what became of its earlier session.
    pub ready: bool,
    /// Rooms it was in when its connection was lost.
    pub was_in: BTreeSet<usize>,
    /// Its connection: number and node.
    pub conn: Option<(u64, usize)>,
    /// The rooms it wants to be in.
    pub rooms: BTreeMap<usize, Place>,
    pub(super) pending: VecDeque<Pending>,
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
            manner: [Manner::Offsets, Manner::Resume, Manner::Since][number % 3],
            session: None,
            offset: None,
            ready: false,
            was_in: BTreeSet::new(),
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
                me.was_in.remove(&room);
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
                (me.session, me.was_in) = (None, BTreeSet::new());
            }
            Op::Type { client, room, on } => self.say(client, Up::Type(room, on)),
            Op::Away { client, away } => self.say(client, Up::Away(away)),
            Op::Kill { .. } | Op::Partition { .. } | Op::Slow { .. } => {}
        }
    }

    /// Sends something to the node, if there is a connection.
    pub(super) fn say(&mut self, client: usize, up: Up) {
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
        self.greet(client);
        self.after(RESEND_MS, Event::Resend(client));
    }

    /// Opens a session, or asks for the one it had.
    fn greet(&mut self, client: usize) {
        let me = &mut self.clients[client];
        let earlier = me.session;
        me.ready = earlier.is_none() || me.manner == Manner::Since;
        let back = earlier.filter(|_| me.manner == Manner::Offsets);
        let back = back.map(|id| (id, me.offset.clone()));
        if me.manner == Manner::Offsets {
            // A stock client asks for nothing before it is connected.
            me.ready = false;
        }
        self.say(client, Up::Open(back));
        let me = &self.clients[client];
        if let (Manner::Resume, Some(earlier)) = (me.manner, earlier) {
            let have = |(room, place): (&usize, &Place)| Some((*room, place.view.have?));
            let positions = me.rooms.iter().filter_map(have).collect();
            self.say(client, Up::Resume(earlier, positions));
        }
        self.ask_all(client);
    }

    /// Asks for every room it is not in.
    pub(super) fn ask_all(&mut self, client: usize) {
        let rooms: Vec<usize> = self.clients[client].rooms.keys().copied().collect();
        for room in rooms {
            self.ask(client, room);
        }
    }

    /// Asks to join, with what it has.
    pub(super) fn ask(&mut self, client: usize, room: usize) {
        let request = self.next_number();
        let me = &mut self.clients[client];
        let Some(place) = me.rooms.get_mut(&room) else { return };
        if me.conn.is_none() || place.asked.is_some() || !me.ready {
            return;
        }
        place.asked = Some(request);
        // Most applications on Socket.IO name no position.
        let names = me.manner != Manner::Offsets || request.is_multiple_of(3);
        let since = place.view.have.filter(|_| names);
        place.resumed = since.is_some();
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
        if me.ready {
            me.was_in = me.rooms.iter().filter(|(_, p)| p.joined).map(|(room, _)| *room).collect();
        }
        for place in me.rooms.values_mut() {
            (place.asked, place.joined) = (None, false);
        }
        let elsewhere = usize::from(self.random.below(3) > 0);
        let me = &mut self.clients[client];
        me.node = (me.node + elsewhere) % NODES;
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

    /// The client of a connection.
    pub fn client_of(&self, conn: u64) -> Option<usize> {
        (0..CLIENTS).find(|client| self.clients[*client].conn.is_some_and(|(c, _)| c == conn))
    }
}
