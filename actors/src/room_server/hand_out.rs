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

use super::{
    RoomServer,
    burst::Burst,
    fanout::{Bundle, Tally},
    table::{Accept, Member},
};
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
            // What is told to one user, and what somebody follows, goes by itself.
            Accept::Deliver
                if record.record.room.is_reserved() || record.record.trace.is_some() =>
            {
                self.flush_bursts();
                self.hand_out_stored(record, alone);
            }
            Accept::Deliver if alone && self.bursts.is_empty() => {
                self.hand_out_stored(record, true);
            }
            Accept::Deliver => {
                if self.bursts.add(record) {
                    self.flush_bursts();
                }
            }
            Accept::Gap(after) => self.repair(record.record.room.clone(), after, ctx),
            Accept::Duplicate | Accept::Repairing | Accept::NoRoom => {}
        }
    }

    /// Hands out everything that was put together.
    pub(super) fn flush_bursts(&mut self) {
        if self.bursts.is_empty() {
            return;
        }
        for burst in self.bursts.take() {
            self.hand_out_burst(burst);
        }
    }

    /// Hands records of one room to the live members that do not have them.
    fn hand_out_burst(&mut self, Burst { room, mut records, .. }: Burst) {
        if let [_] = &records[..] {
            return records.drain(..).for_each(|record| self.hand_out_stored(record, false));
        }
        let shared = self.shared.clone();
        let name = self.table.name_of(&room);
        let origins: Vec<_> = records.iter().map(|r| self.origins.take(r.record.id)).collect();
        let told_apart = origins.iter().any(Option::is_some);
        let Some(room) = self.table.room_mut(&room) else { return };
        for record in &records {
            shared.delivered_after(record);
        }
        let events: Vec<_> = records.into_iter().map(Event::Stored).collect();
        let Some(mut bundle) = Bundle::new(&shared, &events) else { return };
        let (before, last) = bundle.span();
        let mut tally = Tally::of(name, false);
        room.members.walk(Member::warm, |id, member| {
            if !member.live || member.cursor >= last {
                return;
            }
            let has = std::mem::replace(&mut member.cursor, last);
            let is_sender = told_apart && origins.contains(&Some(id));
            if has <= before && !is_sender && tally.push_all(&mut bundle, &member.who) {
                return;
            }
            for (renderer, origin) in bundle.renderers.iter_mut().zip(&origins) {
                if renderer.stored().is_some_and(|stored| stored.position.offset > has) {
                    tally.push(renderer, &member.who, *origin);
                }
            }
        });
        tally.count(&shared);
    }

    /// Hands a record to the live members that do not have it.
    pub(super) fn hand_out_stored(&mut self, record: Arc<Stored>, alone: bool) {
        let Position { offset, .. } = record.position;
        let origin = self.origins.take(record.record.id);
        let shared = self.shared.clone();
        let name = self.table.name_of(&record.record.room);
        let Some(room) = self.table.room_mut(&record.record.room) else { return };
        let span = spans::fan_out(&record, self.worker);
        let event = Event::Stored(record);
        let mut renderer = shared.renderer(&event);
        let mut tally = Tally::of(name, alone && !shared.settings.gathers());
        room.members.walk(Member::warm, |_, member| {
            if member.live && member.cursor < offset {
                member.cursor = offset;
                tally.push(&mut renderer, &member.who, origin);
            }
        });
        if let Some(mut span) = span {
            span.fact("hubbub.sessions", tally.delivered().into());
        }
        tally.count(&shared);
        if let Event::Stored(record) = &event {
            shared.delivered_after(record);
        }
    }
}

impl Member<Arc<SessionHandle>> {
    /// Has the processor fetch what handing something to the member needs.
    fn warm(&self) {
        if let Some(marks) = self.who.keeping.as_ref().and_then(|keeping| keeping.marks()) {
            std::hint::black_box(marks.is_locked());
        }
        self.who.connection.outbound.warm();
    }
}
