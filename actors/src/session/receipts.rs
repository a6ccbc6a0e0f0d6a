//! Receipts: what a client says that it has, and what it asks about others.

use std::sync::Arc;

use hubbub_protocol::{
    error::{ErrorCode, HubError},
    event::{Delivered, GetReceipts, Reply, ReplyId, UserReceipts},
    id::{RoomName, UserId},
};

use super::{SessionHandle, core::SessionCore, dispatch::read_place};
use crate::{messages::RoomRequest, receipt_store::Progress};

impl SessionCore {
    /// Whether receipts are kept for the session's vocabulary.
    pub(super) fn keeps_receipts(&self) -> bool {
        self.worker.shared.keeps_receipts(&self.worker.shared.format(self.format))
    }

    fn check_receipts(&self, handle: &SessionHandle, room: &RoomName) -> Result<(), HubError> {
        if !self.keeps_receipts() {
            let e = "receipts are off for this vocabulary: see `receipts.vocabularies`";
            return Err(HubError::bad_request(e));
        }
        if !handle.is_in(room) {
            return Err(HubError::new(ErrorCode::NotAMember, "join the room first"));
        }
        Ok(())
    }

    pub(super) fn delivered(
        &self,
        handle: &Arc<SessionHandle>,
        delivered: Delivered,
        reply: &ReplyId,
    ) -> Result<(), HubError> {
        self.check_receipts(handle, &delivered.room)?;
        self.progress(handle, delivered.room, Progress::delivered(delivered.offset), reply);
        Ok(())
    }

    /// Has the room server note how far the session is.
    pub(super) fn progress(
        &self,
        handle: &Arc<SessionHandle>,
        room: RoomName,
        progress: Progress,
        reply: &ReplyId,
    ) {
        let (session, reply) = (handle.clone(), reply.clone());
        let request = RoomRequest::Progress { session, room, progress, reply: reply.clone() };
        self.ask(request, reply);
    }

    /// Tells how far users are in a room, to a member.
    pub(super) fn receipts(
        &self,
        handle: &Arc<SessionHandle>,
        q: GetReceipts,
        reply: &ReplyId,
    ) -> Result<(), HubError> {
        self.check_receipts(handle, &q.room)?;
        let Some(store) = self.worker.shared.receipts.clone() else { return Ok(()) };
        let place = read_place(handle)?;
        let (handle, reply) = (handle.clone(), reply.clone());
        let head = self.worker.shared.history.head(&q.room);
        actix_rt::spawn(async move {
            let answer = async {
                let head = head.await?;
                let kept = store.of_room(&q.room, head).await?;
                let after = |user: &UserId| q.after.as_ref().is_none_or(|after| user > after);
                let mut users = kept.users.into_iter().filter(|(user, _)| after(user));
                let page: Vec<UserReceipts> = users
                    .by_ref()
                    .take(q.limit)
                    .map(|(user, at)| UserReceipts { user, delivered: at.delivered, read: at.read })
                    .collect();
                let has_more = users.next().is_some();
                let (room, epoch) = (q.room, head.epoch);
                Ok::<_, HubError>(Reply::Receipts { room, epoch, users: page, has_more })
            };
            handle.reply(&reply, &answer.await);
            drop(place);
        });
        Ok(())
    }
}
