//! Connection state recovery: a CONNECT that brings the `pid` of a session and the
//! offset of the last event that its client got.
//!
//! The answer goes out before what was missed. The reference server does it the other
//! way round, and a stock client whose connection is cut in between keeps the events
//! and gets them a second time: see docs/decisions/0012.

use std::sync::Arc;

use bytestring::ByteString;
use futures_util::future::join_all;
use hubbub_protocol::{
    error::HubError,
    id::{RoomName, SessionId},
    vocabulary::Vocabulary,
    wire::socketio::{self, RawJson, engine_frame},
};
use parking_lot::Mutex;
use serde::Deserialize;

use super::{Engine, Joined, Member};
use crate::session::{
    Identity,
    core::{Restored, SessionCore},
    dispatch::Wait,
    keeping::read_pid,
    restore::{Claim, claim, covered, may_be_in},
};
use crate::{
    marks::{Marks, Standing, resolve},
    session_store::HearFrom,
};

/// What a client brings that has been here before; whatever else the payload has is
/// not ours.
#[derive(Deserialize)]
struct Payload {
    pid: String,
    #[serde(default)]
    offset: Option<String>,
}

/// The session that a CONNECT asks back.
pub(super) struct Ticket {
    id: SessionId,
    secret: u64,
    offset: Option<String>,
}

impl Ticket {
    /// Reads it from the payload of a CONNECT; none if it brings no `pid` of ours.
    pub(super) fn read(data: Option<&RawJson>) -> Option<Self> {
        let payload: Payload = serde_json::from_str(data?.get()).ok()?;
        let (id, secret) = read_pid(&payload.pid)?;
        Some(Self { id, secret, offset: payload.offset })
    }
}

/// A CONNECT that waits until it is known what becomes of its session.
pub(super) struct Recovering {
    pub namespace: ByteString,
    pub core: SessionCore,
    pub identity: Identity,
    /// Other than the hub's own.
    pub vocabulary: Option<Arc<Vocabulary>>,
    /// Filled when the wait is over.
    pub found: Arc<Mutex<Option<Found>>>,
}

/// A session that can go on.
pub(super) struct Found {
    claim: Claim,
    id: SessionId,
    secret: u64,
    marks: Marks,
    rooms: Vec<(RoomName, HearFrom)>,
}

impl Engine {
    /// Looks for the session that a CONNECT asks back; it is answered when the wait
    /// is over, by [`recovered`](Self::recovered).
    pub(super) fn recover(&mut self, ticket: Ticket, recovering: Recovering) -> Wait {
        let shared = self.worker.shared.clone();
        let identity = recovering.identity.clone();
        let wire = recovering.namespace.clone();
        let vocabulary: Box<str> = shared.format(recovering.core.format).vocabulary().into();
        let slot = recovering.found.clone();
        self.rare.get_or_insert_default().recovering = Some(Box::new(recovering));
        Box::pin(async move {
            let claimed = claim(&shared, ticket.id, |kept| {
                kept.secret == ticket.secret
                    && kept.user == identity.user
                    && *kept.wire == *wire
                    && kept.vocabulary == vocabulary
            });
            let refused = |why: &'static str| {
                log::info!(session:% = ticket.id, user:% = identity.user, why; "session not recovered");
            };
            let Some((claim, kept)) = claimed.await else {
                return refused("it is not kept, or not the client's");
            };
            let personal = RoomName::personal(&identity.user);
            let resolved = resolve(ticket.id, &kept.rooms, ticket.offset.as_deref());
            let complete = kept.rooms.iter().any(|room| room.room == personal);
            let Some(resolved) = resolved.filter(|_| complete && !shared.is_banned(&identity.user))
            else {
                refused("its offset proves nothing");
                return claim.end();
            };
            let looks = kept.rooms.iter().zip(&resolved.rooms).map(|(kept, standing)| {
                let (shared, identity) = (&shared, &identity);
                async move {
                    let grants = &identity.grants;
                    may_be_in(shared, &identity.user, grants, &kept.room).await.ok()?;
                    covered(shared, &kept.room, *standing).await
                }
            });
            let from: Option<Vec<HearFrom>> = join_all(looks).await.into_iter().collect();
            let Some(from) = from else {
                refused("a room may not be joined, or its history has a hole");
                return claim.end();
            };
            let positions: Vec<_> = kept
                .rooms
                .iter()
                .cloned()
                .zip(&resolved.rooms)
                .map(|(kept, standing)| match standing {
                    Standing::At(position) => (kept, Some(*position)),
                    Standing::Start => (kept, None),
                })
                .collect();
            if let (Some(store), Some(HearFrom::At(told))) = (
                &shared.sessions,
                kept.rooms.iter().zip(&from).find(|(k, _)| k.room == personal).map(|(_, at)| *at),
            ) {
                // The client has shown that it has them.
                drop(store.told(&identity.user, told));
            }
            let marks = Marks::restored(ticket.id, &positions, resolved.next);
            let rooms = kept.rooms.into_iter().map(|kept| kept.room).zip(from).collect();
            let (id, secret) = (ticket.id, ticket.secret);
            *slot.lock() = Some(Found { claim, id, secret, marks, rooms });
        })
    }

    /// What became of a CONNECT that asked a session back: the session goes on, or a
    /// new one begins.
    pub(super) fn recovered(&mut self, recovering: Recovering) -> Option<Wait> {
        let Recovering { namespace, core, identity, vocabulary, found } = recovering;
        let found = found.lock().take();
        let result = if found.is_some() { "recovered" } else { "refused" };
        self.worker.shared.metrics.recoveries.with_label_values(&[result]).inc();
        let opened = match found {
            Some(Found { claim, id, secret, marks, rooms }) => {
                let restored = Restored { id, secret, owner: claim.owner, marks, rooms };
                let opened = self.admit(namespace.clone(), core, identity, Some(restored));
                if opened.is_ok() {
                    claim.keep();
                }
                opened
            }
            None => self.admit(namespace.clone(), core, identity, None),
        };
        opened.unwrap_or_else(|e| {
            let own = vocabulary.as_ref().map(|v| v.connect_error(&e, false));
            self.refuse(&namespace, &e, own);
            None
        })
    }

    /// Answers a CONNECT, and opens its session.
    pub(super) fn admit(
        &mut self,
        namespace: ByteString,
        mut core: SessionCore,
        identity: Identity,
        restored: Option<Restored>,
    ) -> Result<Option<Wait>, HubError> {
        let wait = core.open_with(identity, restored, |core| {
            let pid = core.pid();
            self.push_packet(engine_frame(|out| {
                socketio::write_connected(out, &namespace, &core.id.to_string(), pid.as_deref());
            }));
        })?;
        self.seat(&namespace, core);
        Ok(wait)
    }

    /// The connection has joined a namespace.
    pub(super) fn seat(&mut self, namespace: &str, core: SessionCore) {
        self.connection.authenticated(None);
        // Most connections join one, and each place is large.
        self.joined.reserve_exact(1);
        self.joined.push(Joined::new(namespace, Member::Session(core)));
    }

    /// Answers a CONNECT that is refused, in the vocabulary's own words if it has some;
    /// the connection stays.
    pub(super) fn refuse(&self, namespace: &str, e: &HubError, own: Option<&str>) {
        let errors = &self.worker.shared.metrics.errors;
        errors.with_label_values(&[e.code.as_str()]).inc();
        let data = format!(r#"{{"code":"{}"}}"#, e.code);
        let refusal = engine_frame(|out| {
            let message = own.unwrap_or(&e.message);
            socketio::write_connect_error(out, namespace, message, Some(&data));
        });
        self.push_packet(refusal);
    }
}
