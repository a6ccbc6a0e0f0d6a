//! `resume` on the JSON wire: a new session takes the rooms of an earlier one, each
//! from where its client says it stands.

use std::{collections::HashMap, sync::Arc};

use futures_util::future::join_all;
use hubbub_protocol::{
    error::ErrorCode,
    event::{Reply, ReplyId, Resume, ResumedRoom},
    id::RoomName,
    limits::DEFAULT_PAGE,
    position::Position,
};

use super::{
    SessionHandle,
    core::SessionCore,
    dispatch::Wait,
    restore::{claim, covered, may_be_in},
};
use crate::{
    marks::Standing,
    messages::RoomRequest,
    ports::Range,
    session_store::{Base, HearFrom},
    shared::Shared,
};

impl SessionCore {
    /// Takes over the rooms of an earlier session of the same user. Nothing more is
    /// read until it is answered.
    pub(super) fn resume(
        &self,
        handle: &Arc<SessionHandle>,
        resume: Resume,
        reply: &ReplyId,
    ) -> Wait {
        let (shared, worker) = (self.worker.shared.clone(), self.worker.clone());
        let (handle, reply) = (handle.clone(), reply.clone());
        Box::pin(async move {
            let (rooms, recovered) = take_over(&shared, &handle, resume).await;
            let result = if recovered { "recovered" } else { "refused" };
            shared.metrics.recoveries.with_label_values(&[result]).inc();
            let entered: Vec<(RoomName, HearFrom)> = rooms
                .iter()
                .filter_map(|room| Some((room.room.clone(), HearFrom::At(room.position?))))
                .collect();
            for (room, _) in &entered {
                handle.entered(room.clone());
            }
            // What was missed comes after the answer.
            handle.reply(&reply, &Ok(Reply::Resumed { recovered, rooms }));
            if !entered.is_empty() {
                worker
                    .room_server
                    .do_send(RoomRequest::Restore { session: handle, rooms: entered });
            }
        })
    }
}

async fn take_over(
    shared: &Shared,
    handle: &Arc<SessionHandle>,
    resume: Resume,
) -> (Vec<ResumedRoom>, bool) {
    let claimed = claim(shared, resume.session, |kept| {
        kept.id != handle.id && kept.user == handle.user && &*kept.wire == "json"
    });
    let Some((claim, kept)) = claimed.await else { return (Vec::new(), false) };
    let named: HashMap<RoomName, Position> = resume.positions.into_iter().collect();
    let kept: Vec<RoomName> = kept.rooms.into_iter().map(|kept| kept.room).collect();
    // A room may be named that was not kept, because the store failed when it was joined.
    let mut others: Vec<RoomName> =
        named.keys().filter(|room| !kept.contains(room)).cloned().collect();
    others.sort_unstable();
    let wanted: Vec<RoomName> = kept
        .into_iter()
        .chain(others)
        .filter(|room| !room.is_reserved() && !handle.is_in(room))
        .collect();
    // Those of the new session count as well: else each resumption could add to them.
    let places = shared.settings.max_rooms_per_session.saturating_sub(handle.room_count());
    let grants = handle.grants();
    let asked =
        wanted.iter().take(places).map(|room| may_be_in(shared, &handle.user, &grants, room));
    let allowed = join_all(asked).await;
    let mut rooms = Vec::with_capacity(wanted.len());
    // Of rooms that cannot be recovered, so much that the answer stays a page.
    let mut bytes = shared.page_bytes();
    for (at, room) in wanted.into_iter().enumerate() {
        let have = named.get(&room).copied();
        rooms.push(match allowed.get(at) {
            None => refused(room, ErrorCode::TooManyRooms),
            Some(Err(code)) => refused(room, *code),
            Some(Ok(())) => look(shared, room, have, &mut bytes).await,
        });
    }
    if let (Some(store), Some(keeping)) = (&shared.sessions, &handle.keeping) {
        let entered = rooms.iter().filter(|room| room.position.is_some());
        let last = entered
            .map(|room| {
                store.join(handle.id, keeping.owner, keeping.enter(&room.room, Base::Unknown))
            })
            .last();
        if let Some(last) = last {
            // The client names its rooms when it comes back: that it could not be kept
            // is no reason to refuse.
            let _ = last.await;
        }
    }
    claim.end();
    let recovered = rooms.iter().all(|room| room.recovered);
    (rooms, recovered)
}

/// A room that the session is not in any more.
fn refused(room: RoomName, code: ErrorCode) -> ResumedRoom {
    ResumedRoom {
        room,
        position: None,
        recovered: false,
        messages: Vec::new(),
        refused: Some(code),
    }
}

/// What becomes of a room that the user may be in.
async fn look(
    shared: &Shared,
    room: RoomName,
    have: Option<Position>,
    bytes: &mut usize,
) -> ResumedRoom {
    if let Some(have) = have
        && let Some(HearFrom::At(position)) = covered(shared, &room, Standing::At(have)).await
    {
        let position = Some(position);
        return ResumedRoom { room, position, recovered: true, messages: vec![], refused: None };
    }
    match shared.history.read(&room, Range::Newest, DEFAULT_PAGE).await {
        Err(_) => refused(room, ErrorCode::Unavailable),
        Ok(page) => {
            let page = page.fit(Range::Newest, *bytes);
            let size: usize = page.records.iter().map(|stored| stored.record.wire_len()).sum();
            let fits = size <= *bytes;
            *bytes = bytes.saturating_sub(size);
            ResumedRoom {
                room,
                position: Some(page.head),
                recovered: false,
                messages: if fits { page.records } else { Vec::new() },
                refused: None,
            }
        }
    }
}
