//! What a connection says and understands, whatever its wire: opens the session, joins its rooms,
//! and takes the messages to the audit.

use serde_json::{Value, json};

use hubbub_protocol::wire::frame::Opcode;

use super::{
    audit::{Joined, Member},
    frames,
    link::Link,
    marker::Found,
    options::Plan,
    shared::Shared,
    tally::{Tally, count, note},
    wire::{self, FIRST_MESSAGE_ID, Heard, Wire},
};

/// What follows from a frame.
#[derive(Debug)]
pub enum Step {
    /// Go on.
    On,
    /// The connection has ended or is of no use: the reason.
    End(String),
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    /// The wire.
    pub wire: Wire,
    /// Index of the connection.
    pub index: usize,
    /// The rooms, and the index of the audit's member for each; none for a slow reader.
    rooms: Vec<(u32, Option<usize>)>,
    /// Rooms that are still to be joined.
    missing: usize,
    /// Whether positions of before are to be named.
    resumes: bool,
    /// What opens the session (Socket.IO), until it has been sent.
    opening: Option<String>,
}

impl Session {
    /// The session of connection `index`, with members in the audit of its thread.
    pub fn new(plan: &Plan, tally: &mut Tally, index: usize) -> Self {
        let audited = !plan.is_slow(index);
        let rooms = plan.rooms_of(index).map(|room| {
            let room = room as u32;
            let member = audited.then(|| {
                tally.audit.members.push(Member::new(index, room));
                tally.audit.members.len() - 1
            });
            (room, member)
        });
        Self {
            wire: plan.wire_of(index),
            index,
            rooms: rooms.collect(),
            missing: usize::MAX,
            resumes: false,
            opening: None,
        }
    }

    /// A transport is there.
    pub fn begin(&mut self, token: &str) {
        self.opening = self.wire.open(token);
        self.missing = self.rooms.len();
    }

    /// Whether every room is joined.
    #[must_use]
    pub fn joined(&self) -> bool {
        self.missing == 0
    }

    /// The connection has ended: nothing more need come.
    pub fn left(&mut self, tally: &mut Tally) {
        for member in self.rooms.iter().filter_map(|(_, member)| *member) {
            tally.audit.left(member);
        }
        self.resumes = true;
    }

    /// The next time it comes as somebody new.
    pub fn forget(&mut self) {
        self.resumes = false;
    }

    /// A text frame.
    pub fn text(
        &mut self,
        payload: &[u8],
        now: u64,
        link: &Link,
        shared: &Shared,
        tally: &mut Tally,
    ) -> Step {
        match self.wire.hear(payload) {
            Heard::Message(body) => self.message(body, now, shared, tally),
            Heard::Ack { id, body } if id >= FIRST_MESSAGE_ID => {
                self.acked(id, body, now, link, shared, tally);
            }
            Heard::Refused { id: Some(id), body } if id >= FIRST_MESSAGE_ID => {
                if link.answered(id).is_some() {
                    let reason = wire::reason(body);
                    let code = reason.split(':').next().unwrap_or("unknown");
                    count(&mut tally.counts.refused, code);
                }
            }
            Heard::Refused { body, .. } if !self.joined() => {
                return Step::End(format!("refused: {}", wire::reason(body)));
            }
            Heard::Joined(body) => return self.entered(body, now, shared, tally),
            Heard::Authenticated => self.join_all(link, shared, tally),
            Heard::Open => {
                if let Some(opening) = self.opening.take() {
                    say(link, opening.as_bytes());
                }
            }
            Heard::Ping => say(link, b"3"),
            Heard::Ended => return Step::End("ended by the hub".into()),
            Heard::Ack { .. } | Heard::Refused { .. } | Heard::Other => {}
        }
        Step::On
    }

    /// Asks to join every room; with the position of before if it comes back.
    fn join_all(&mut self, link: &Link, shared: &Shared, tally: &Tally) {
        if self.joined() {
            // A renewed token is told in the same way.
            return;
        }
        for (at, (room, member)) in self.rooms.iter().enumerate() {
            let mut fields = json!({ "roomId": shared.plan.room_name(*room as usize) });
            let member = member.map(|member| &tally.audit.members[member]);
            if let Some(member) = member.filter(|m| self.resumes && m.next > 0) {
                let epoch = format!("{:016x}", member.epoch);
                fields["since"] = json!({ "epoch": epoch, "offset": member.next - 1 });
            }
            let mut request = Vec::with_capacity(128);
            self.wire.request(&mut request, "join", at as u64, &fields.to_string());
            say(link, &request);
        }
    }

    /// A room is joined.
    fn entered(&mut self, body: &[u8], now: u64, shared: &Shared, tally: &mut Tally) -> Step {
        let wrong = || Step::End("the hub's `joined` is not understood".into());
        let Some(event) = wire::first_value(body) else { return wrong() };
        let room = event["roomId"].as_str().and_then(|name| shared.room(name));
        let epoch = event["epoch"].as_str().and_then(|e| u64::from_str_radix(e, 16).ok());
        let (Some(room), Some(epoch), Some(offset)) = (room, epoch, event["offset"].as_u64())
        else {
            return wrong();
        };
        let Some((_, member)) = self.rooms.iter().find(|(r, _)| *r == room) else {
            tally.audit.misrouted(self.index, room);
            return Step::On;
        };
        self.missing = self.missing.saturating_sub(1);
        let Some(member) = *member else { return Step::On };
        let resumed = self.resumes && tally.audit.members[member].next > 0;
        let recovered = event["recovered"] == true;
        tally.audit.joined(member, Joined { epoch, offset, recovered, resumed });
        if recovered {
            for message in event["messages"].as_array().into_iter().flatten() {
                self.message(message.to_string().as_bytes(), now, shared, tally);
            }
        }
        Step::On
    }

    /// A message to a room.
    fn message(&mut self, body: &[u8], now: u64, shared: &Shared, tally: &mut Tally) {
        let (marker, rest) = match shared.reader.find(body) {
            Some(Found::Sound(marker, end)) => (marker, &body[end..]),
            Some(Found::Damaged(_)) => {
                tally.audit.damaged(self.index, "got a message with a changed content");
                return;
            }
            None => return self.foreign(body, shared, tally),
        };
        let Some((_, member)) = self.rooms.iter().find(|(room, _)| *room == marker.room) else {
            tally.audit.misrouted(self.index, marker.room);
            return;
        };
        let Some(member) = *member else { return };
        // A message read back through JSON has its members in another order.
        let Some(offset) = shared.reader.offset(rest).or_else(|| shared.reader.offset(body)) else {
            tally.audit.damaged(self.index, "got a message without an offset");
            return;
        };
        tally.audit.received(member, offset, &marker);
        tally.counts.delivered += 1;
        let micros = now.saturating_sub(marker.due);
        note(&mut tally.window, micros);
        if shared.measures(marker.due) {
            note(&mut tally.latency, micros);
        }
    }

    /// A message of somebody else in one of our rooms: it takes an offset.
    fn foreign(&mut self, body: &[u8], shared: &Shared, tally: &mut Tally) {
        // On Socket.IO the name stands before the object.
        let object = memchr::memchr(b'{', body).map_or(body, |at| &body[at..]);
        let Some(event) = wire::first_value(object) else { return };
        let room = event["roomId"].as_str().and_then(|name| shared.room(name));
        let member = room.and_then(|r| self.rooms.iter().find(|(room, _)| *room == r)?.1);
        if let (Some(member), Some(offset)) = (member, event.get("offset").and_then(Value::as_u64))
        {
            tally.audit.received_foreign(member, offset);
        }
    }

    fn acked(
        &self,
        id: u64,
        body: &[u8],
        now: u64,
        link: &Link,
        shared: &Shared,
        tally: &mut Tally,
    ) {
        let Some(waiting) = link.answered(id) else { return };
        tally.counts.acked += 1;
        if shared.measures(waiting.due) {
            note(&mut tally.ack, now.saturating_sub(waiting.due));
        }
        if let Some(offset) = shared.reader.offset(body) {
            let sender = self.index as u32;
            tally.audit.acks.push((waiting.room, sender, waiting.number, offset));
        }
    }
}

/// Sends a text frame.
fn say(link: &Link, text: &[u8]) {
    let mut frame = Vec::with_capacity(text.len() + 8);
    frames::write(&mut frame, Opcode::Text, text);
    link.send(&frame);
}
