//! What clients make of what they are told.

use super::{
    check::Violation,
    client::{Manner, Pending, Place},
    event::{Down, Resumed, Sabotage, Up},
    schedule::ROOMS,
    world::{World, room_name, short},
};

impl World {
    /// A client takes what has arrived.
    pub(super) fn take(&mut self, client: usize, conn: u64, down: Down) -> Result<(), Violation> {
        if self.clients[client].conn.is_none_or(|(mine, _)| mine != conn) {
            return Ok(());
        }
        // A stock client keeps the offset of the last event that it took.
        if let Down::Joined { offset: Some(offset), .. }
        | Down::Left(Some(offset))
        | Down::Message(_, _, Some(offset)) = &down
        {
            self.clients[client].offset = Some(offset.clone());
        }
        let told = |what: Violation| format!("client {client}: {what}");
        match down {
            Down::Opened { session, recovered } => self.take_opened(client, session, recovered),
            Down::Resumed(rooms) => return self.take_resumed(client, rooms).map_err(told),
            Down::Joined { room, request, position, recovered, messages, .. } => {
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
                self.publish_again(client, room);
            }
            Down::Refused(room, request) => {
                let place = self.clients[client].rooms.get_mut(&room);
                if let Some(place) = place.filter(|place| place.asked == Some(request)) {
                    place.asked = None;
                    self.ask(client, room);
                }
            }
            Down::Message(room, stored, _) => {
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
            Down::Nack | Down::Left(_) => {}
            Down::Ping => self.say(client, Up::Pong),
            Down::Closed => self.lost(client, conn),
        }
        Ok(())
    }

    fn publish_again(&mut self, client: usize, room: usize) {
        let pending = &self.clients[client].pending;
        let again: Vec<Pending> = pending.iter().filter(|p| p.room == room).cloned().collect();
        for Pending { room, text } in again {
            self.say(client, Up::Publish(room, text));
        }
    }

    /// A client has a session. If it is the one from before, it is in the rooms from before.
    fn take_opened(
        &mut self,
        client: usize,
        session: hubbub_protocol::id::SessionId,
        recovered: bool,
    ) {
        let me = &mut self.clients[client];
        if me.manner == Manner::Resume && me.session.is_some() && !me.ready {
            // What became of the earlier one is told next.
            me.session = Some(session);
            return;
        }
        me.session = Some(session);
        me.ready = true;
        if recovered {
            let was_in = std::mem::take(&mut me.was_in);
            for room in 0..ROOMS {
                match self.clients[client].rooms.get_mut(&room) {
                    Some(place) if was_in.contains(&room) => {
                        (place.joined, place.asked) = (true, Some(0));
                        self.publish_again(client, room);
                    }
                    Some(_) => {}
                    // It left while it was away.
                    None => self.say(client, Up::Leave(room)),
                }
            }
        }
        self.ask_all(client);
    }

    fn take_resumed(&mut self, client: usize, rooms: Vec<Resumed>) -> Result<(), Violation> {
        self.clients[client].ready = true;
        for Resumed { room, position, recovered, messages } in rooms {
            let Some(position) = position else { continue };
            let Some(place) = self.clients[client].rooms.get_mut(&room) else {
                // It left while it was away.
                self.say(client, Up::Leave(room));
                continue;
            };
            if recovered && place.view.have.is_none() {
                // It left the room and came again after it had named where it stood there.
                self.say(client, Up::Leave(room));
                continue;
            }
            place.view.joined(position, recovered, &messages, true)?;
            (place.joined, place.asked) = (true, Some(0));
            self.publish_again(client, room);
        }
        self.ask_all(client);
        Ok(())
    }
}
