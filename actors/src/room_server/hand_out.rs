//! What goes to members: records off the relay, and what is not stored.

use std::{collections::HashSet, sync::Arc};

use actix::Context;
use hubbub_protocol::{
    error::HubError,
    event::{Event, ReplyId},
    id::SessionId,
    position::Position,
    record::Stored,
};

use super::{RoomServer, fanout::Tally, table::Accept};
use crate::{
    ports::{Audience, Broadcast},
    session::SessionHandle,
    spans,
};

impl RoomServer {
    /// Hands something volatile to the members here; `origin` is the session that
    /// sent it, if it is one of them.
    pub(super) fn hand_out(&mut self, broadcast: &Broadcast, origin: Option<SessionId>) {
        let mut renderer = self.shared.renderer(&broadcast.event);
        let mut tally = Tally::default();
        // The user whom it is about has copies of its own, if its vocabulary has.
        let about = renderer.about;
        let wanted = |s: &Arc<SessionHandle>| {
            Some(s.id) != broadcast.except
                && (about == Some(&s.user) || Some(&s.user) != broadcast.except_user.as_ref())
        };
        match &broadcast.to {
            Audience::Room(room) => {
                let members = self.table.room(room).map(|r| &r.members);
                let newcomers = &mut self.newcomers;
                // What is told to a user alone needs no catching up.
                let personal = room.is_reserved();
                for (id, member) in members.into_iter().flat_map(|m| m.iter()) {
                    if wanted(&member.who)
                        && (member.live || personal || newcomers.news(id, room, &broadcast.event))
                    {
                        tally.push(&mut renderer, &member.who, origin);
                    }
                }
            }
            Audience::Rooms(rooms) => {
                let mut told = HashSet::new();
                for room in rooms.iter().filter_map(|r| self.table.room(r)) {
                    for (id, member) in room.members.iter() {
                        if member.live && wanted(&member.who) && told.insert(id) {
                            tally.push(&mut renderer, &member.who, origin);
                        }
                    }
                }
            }
            Audience::Everyone => {
                for session in self.sessions.values().filter(|s| wanted(s)) {
                    tally.push(&mut renderer, session, origin);
                }
            }
        }
        tally.count(&self.shared);
    }

    /// The other nodes cannot be reached: what is not stored reaches only this one.
    pub(super) fn tell_away(&self) {
        let e = HubError::unavailable(
            "Redis is away: messages wait, and what is not stored reaches this node only",
        );
        let told = Err(e);
        for session in self.sessions.values() {
            session.reply(&ReplyId::None, &told);
        }
    }

    /// Takes a record off the relay; `alone` if no other waits behind it.
    pub(super) fn arrive(&mut self, record: Arc<Stored>, alone: bool, ctx: &mut Context<Self>) {
        match self.table.accept(&record) {
            Accept::Deliver => self.hand_out_stored(record, alone),
            Accept::Gap(after) => self.repair(record.record.room.clone(), after, ctx),
            Accept::Duplicate | Accept::Repairing | Accept::NoRoom => {}
        }
    }

    /// Hands a record to the live members that do not have it.
    pub(super) fn hand_out_stored(&mut self, record: Arc<Stored>, alone: bool) {
        let Position { offset, .. } = record.position;
        let taken = record.record.timestamp.0;
        let origin = self.origins.take(record.record.id);
        let shared = self.shared.clone();
        let name = self.table.name_of(&record.record.room);
        let Some(room) = self.table.room_mut(&record.record.room) else { return };
        let span = spans::fan_out(&record, self.worker);
        let event = Event::Stored(record);
        let mut renderer = shared.renderer(&event);
        let mut tally = Tally::of(name, alone);
        for (_, member) in room.members.iter_mut() {
            if member.live && member.cursor < offset {
                member.cursor = offset;
                tally.push(&mut renderer, &member.who, origin);
            }
        }
        if let Some(mut span) = span {
            span.fact("hubbub.sessions", tally.delivered().into());
        }
        tally.count(&shared);
        // Clocks of nodes may differ; what seems to come from the future took no time.
        let ms = shared.clock.wall().saturating_sub(taken);
        shared.metrics.delivery_seconds.observe(ms as f64 / 1000.0);
    }
}
