//! What vocabularies bring: custom events that go to a room, a user or all, the
//! rooms that a session joins by itself, and receipts that name their message.

use std::{sync::Arc, time::Instant};

use hubbub_protocol::{
    error::{ErrorCode, HubError},
    event::{
        CustomEvent, Event, EventTarget, Join, PublishEvent, Read, Receipt, ReceiptStatus, Reply,
        ReplyId,
    },
    id::{MessageId, RoomName},
    record::Body,
};

use super::{
    SessionHandle,
    core::SessionCore,
    dispatch::{Wait, read_place},
};
use crate::{
    messages::{PresenceUpdate, RoomRequest},
    ports::{Audience, Broadcast, Range},
    receipt_store::Progress,
};

impl SessionCore {
    /// Joins the rooms that the vocabulary names.
    pub(super) fn auto_join(&mut self, handle: &Arc<SessionHandle>) -> Option<Wait> {
        let shared = self.worker.shared.clone();
        let mut waits: Vec<Wait> = Vec::new();
        for room in shared.format(self.format).auto_join() {
            let join = Join { room: room.clone(), since: None };
            match self.join(handle, join, &ReplyId::None) {
                Ok(wait) => waits.extend(wait),
                Err(e) => self.refuse(&ReplyId::None, e),
            }
        }
        if waits.is_empty() {
            return None;
        }
        Some(Box::pin(async move {
            for wait in waits {
                wait.await;
            }
        }))
    }

    pub(super) fn event(
        &mut self,
        handle: &Arc<SessionHandle>,
        event: PublishEvent,
        reply: &ReplyId,
        taken: Instant,
    ) -> Result<(), HubError> {
        if let Some(roles) = &event.roles {
            let grants = handle.grants();
            if !roles.iter().any(|role| grants.roles.iter().any(|own| **own == **role)) {
                let e = "the token has none of the roles that may send this event";
                return Err(HubError::new(ErrorCode::Forbidden, e));
            }
        }
        if self.worker.shared.settings.fault_injection {
            match &*event.name {
                "hubbub.panic.session" => std::panic::panic_any("injected fault"),
                "hubbub.panic.presence_tracker" => {
                    self.ask(RoomRequest::Presence(PresenceUpdate::Panic), ReplyId::None);
                }
                _ => {}
            }
        }
        let (room, audience) = match event.to {
            EventTarget::Room(room) => {
                let room = handle.resolve(room)?;
                self.check_publish(handle, &room)?;
                (Some(room), None)
            }
            EventTarget::User(user) => {
                let room = RoomName::personal(&user);
                (Some(room.clone()), Some(Audience::Room(room)))
            }
            EventTarget::Everyone => (None, Some(Audience::Everyone)),
        };
        if !event.volatile
            && let Some(room) = room
        {
            let body = Body::Event { name: event.name, data: event.data };
            self.store(handle, room, body, event.key, reply, taken);
            return Ok(());
        }
        let custom = CustomEvent {
            room: room.clone().filter(|_| audience.is_none()),
            user: Some(handle.user.clone()),
            username: handle.username.clone(),
            name: event.name,
            data: event.data,
            node: Some(self.worker.shared.node.clone()),
            timestamp: self.worker.shared.clock.timestamp(),
        };
        match (audience, room) {
            (None, Some(room)) => {
                self.emit(handle, room, Event::Volatile(custom), event.echo, reply);
            }
            (audience, _) => {
                self.worker.shared.metrics.volatile.inc();
                let everywhere = self.worker.shared.relay_all(&Broadcast {
                    to: audience.unwrap_or(Audience::Everyone),
                    event: Arc::new(Event::Volatile(custom)),
                    except: (!event.echo).then_some(handle.id),
                    except_user: None,
                });
                if !everywhere {
                    return Err(HubError::unavailable(
                        "Redis is away: only sessions on this node were told",
                    ));
                }
                if reply.is_some() {
                    let id = MessageId(uuid::Uuid::now_v7());
                    handle.reply(reply, &Ok(Reply::Sent { id }));
                }
            }
        }
        Ok(())
    }

    pub(super) fn read(
        &self,
        handle: &Arc<SessionHandle>,
        read: Read,
        reply: &ReplyId,
    ) -> Result<(), HubError> {
        if !handle.is_in(&read.room) {
            return Err(HubError::new(ErrorCode::NotAMember, "join the room first"));
        }
        if self.keeps_receipts() {
            let (room, progress) = (read.room.clone(), Progress::read(read.offset));
            self.progress(handle, room, progress, &ReplyId::None);
        }
        let receipt = Receipt {
            room: read.room.clone(),
            user: handle.user.clone(),
            offset: read.offset,
            status: ReceiptStatus::Read,
            message: None,
            author: None,
        };
        if !self.worker.shared.wants_receipt_message() || read.offset == 0 {
            self.emit(handle, read.room, Event::Receipt(receipt), false, reply);
            return Ok(());
        }
        let place = read_place(handle)?;
        let page = self.worker.shared.history.read(&read.room, Range::After(read.offset - 1), 1);
        let (room_server, session, reply) =
            (self.worker.room_server.clone(), handle.clone(), reply.clone());
        actix_rt::spawn(async move {
            let mut receipt = receipt;
            // A message that is no longer kept, or cannot be read now, is told by its
            // offset alone.
            if let Ok(page) = page.await {
                let found = page.records.first().filter(|r| r.position.offset == receipt.offset);
                receipt.message = found.map(|r| r.record.id);
                let author = found.and_then(|r| r.record.user.clone());
                receipt.author = author.filter(|author| *author != receipt.user);
            }
            let request = RoomRequest::Emit {
                session: session.clone(),
                room: receipt.room.clone(),
                event: Arc::new(Event::Receipt(receipt)),
                echo: false,
                reply: reply.clone(),
            };
            if room_server.try_send(request).is_err() {
                let e = HubError::unavailable("the hub is busy; try again");
                session.reply(&reply, &Err(e));
            }
            drop(place);
        });
        Ok(())
    }
}
