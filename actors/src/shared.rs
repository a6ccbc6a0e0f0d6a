//! What all actors of a node share: settings, formats, stores, counters.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use actix::Recipient;
use hubbub_protocol::{
    error::HubError,
    event::{Event, Receipt, ReceiptStatus},
    id::{RoomName, UserId},
    limits::MAX_PAGE_BYTES,
    record::{Record, Stored},
    vocabulary::Copy,
    wire::{Format, FormatId},
};
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;

use crate::{
    clock::Clock,
    cluster::ClusterPresence,
    formats::Formats,
    frame::Frame,
    hooks::Hooks,
    messages::{GetMembers, PresenceUpdate, Replace},
    metrics::Metrics,
    outbound::{Class, WhenFull},
    ports::{Appended, Broadcast, History, RoomBus},
    presence_tracker::PresenceSettings,
    receipt_store::ReceiptStore,
    redis::RedisLink,
    relay::Relay,
    session::{EngineSettings, Grants, HeartbeatSettings, Identity, engine::registry::Registry},
    session_store::SessionStore,
};

/// Most bytes of messages that leave as one frame of frames.
const MAX_BURST_BYTES: usize = 32 * 1024;

/// Times and bounds, from the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `limits.messages_per_second`; 0 for no limit.
    pub messages_per_second: u32,
    /// `limits.burst`.
    pub burst: u32,
    /// `limits.max_frame_bytes`: of one frame and of one whole message.
    pub max_frame_bytes: usize,
    /// `limits.max_sessions_per_user`; 0 for no limit.
    pub max_sessions_per_user: usize,
    /// `rooms.max_per_session`.
    pub max_rooms_per_session: usize,
    /// `rooms.max_rooms`.
    pub max_rooms: usize,
    /// `session.heartbeat_ms` and `session.timeout_ms`.
    pub heartbeat: HeartbeatSettings,
    /// `session.outbound_max_bytes`.
    pub outbound_max_bytes: usize,
    /// `session.when_full`.
    pub when_full: WhenFull,
    /// `session.flush_interval_us`.
    pub flush_interval_us: u64,
    /// `session.compression_min_bytes`; none without `session.compression`.
    pub compression_min_bytes: Option<usize>,
    /// `auth.timeout_ms`.
    pub auth_timeout_ms: u64,
    /// `auth.anonymous`.
    pub anonymous: bool,
    /// `presence.offline_grace_ms` and `presence.announce_max_members`.
    pub presence: PresenceSettings,
    /// `presence.typing_timeout_ms`.
    pub typing_timeout_ms: u64,
    /// Receipts.
    pub receipts: ReceiptSettings,
    /// The Socket.IO wire.
    pub engine: EngineSettings,
    /// `dev.fault_injection`: some event names make an actor panic.
    pub fault_injection: bool,
}

impl Settings {
    /// Whether what is written waits for more.
    pub(crate) fn gathers(&self) -> bool {
        self.flush_interval_us > 0
    }

    /// Most bytes of messages that are handed to a client as one: so few that they fit behind
    /// what waits already, and into the answer to a poll.
    pub(crate) fn burst_bytes(&self) -> usize {
        MAX_BURST_BYTES.min(self.outbound_max_bytes / 8).min(self.engine.max_payload / 8)
    }
}

/// For whom receipts are kept, and how often (section `receipts`).
#[derive(Clone, Debug, Default)]
pub struct ReceiptSettings {
    /// The vocabularies whose sessions say what they have got and are told what others
    /// have; `*` for all.
    pub vocabularies: Vec<String>,
    /// How long news are gathered, in milliseconds.
    pub interval_ms: u64,
}

/// Verifies tokens.
pub trait Authenticator: Send + Sync {
    /// Who a token names, or `unauthorized` with the reason.
    fn authenticate(&self, token: &str) -> Result<Identity, HubError>;
}

/// A decision that may take its time, on the worker's own thread.
pub type Decision = Pin<Box<dyn Future<Output = Result<bool, HubError>>>>;

/// Asks somebody else whether a user may join a room.
pub trait RoomAuthorizer: Send + Sync {
    /// The decision; an error refuses with its own code.
    fn may_join(&self, user: &UserId, room: &RoomName, grants: &Grants) -> Decision;
}

/// Who decides about joining a room (`rooms.policy`).
pub enum RoomPolicy {
    /// The patterns in the token.
    Claims,
    /// Everybody may join every room that is not reserved.
    Open,
    /// A webhook.
    Webhook(Arc<dyn RoomAuthorizer>),
}

/// What all actors of a node share.
pub struct Shared {
    /// The name of this node.
    pub node: Arc<str>,
    /// The time.
    pub clock: Clock,
    /// The counters.
    pub metrics: Metrics,
    /// Times and bounds.
    pub settings: Settings,
    /// Verifies tokens.
    pub authenticator: Arc<dyn Authenticator>,
    /// Who decides about joining.
    pub policy: RoomPolicy,
    /// The durable history of rooms.
    pub history: Arc<dyn History>,
    /// What survives a connection; none if sessions do not (`session.recovery_ms`).
    pub sessions: Option<Arc<dyn SessionStore>>,
    /// How far users have got and read rooms; none if receipts are off.
    pub receipts: Option<Arc<dyn ReceiptStore>>,
    /// The room servers of this node.
    pub relay: Arc<Relay>,
    /// Connects them, with those of other nodes where there are any.
    pub bus: Arc<dyn RoomBus>,
    /// The link to Redis; none on a single node.
    pub link: Option<RedisLink>,
    /// The Socket.IO connections.
    pub engines: Arc<Registry>,
    /// The formats that sessions speak.
    pub formats: Arc<Formats>,
    /// The other nodes; none on a single one.
    pub cluster: Option<Arc<ClusterPresence>>,
    /// What a backend is told; none if it is told nothing.
    pub hooks: Option<Arc<Hooks>>,
    pub(crate) workers: RwLock<Vec<Recipient<Replace>>>,
    pub(crate) tracker: OnceLock<TrackerLink>,
    pub(crate) bans: Bans,
    pub(crate) draining: AtomicBool,
}

/// How the presence tracker is reached.
pub(crate) struct TrackerLink {
    pub(crate) updates: Recipient<PresenceUpdate>,
    pub(crate) members: Recipient<GetMembers>,
}

impl Shared {
    /// Whether a room is one more than the node may have (`rooms.max_rooms`).
    pub fn has_no_place_for(&self, room: &RoomName) -> bool {
        !self.relay.is_occupied(room) && self.relay.room_count() >= self.settings.max_rooms
    }

    /// A format by its id.
    pub fn format(&self, id: FormatId) -> Arc<Format> {
        self.formats.get(id)
    }

    /// Whether somebody's receipts name the message at their offset.
    pub(crate) fn wants_receipt_message(&self) -> bool {
        self.settings.engine.vocabularies().any(|v| v.wants_receipt_message())
            || self.formats.fixed().iter().any(|format| format.wants_receipt_message())
    }

    /// Whether receipts are kept for sessions of a format.
    pub fn keeps_receipts(&self, format: &Format) -> bool {
        let has = |name: &String| name == "*" || name == format.vocabulary();
        self.receipts.is_some() && self.settings.receipts.vocabularies.iter().any(has)
    }

    /// Most bytes of rendered messages in one answer: so much that it fits behind
    /// what a quarter of the outbound bound holds already.
    pub fn page_bytes(&self) -> usize {
        MAX_PAGE_BYTES.min(self.settings.outbound_max_bytes / 4)
    }

    /// Whether the node is on its way out.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether a user may not come back yet.
    pub fn is_banned(&self, user: &UserId) -> bool {
        self.bans.holds(user, self.clock.wall())
    }

    /// Hands something volatile to every worker; what a worker that is far behind
    /// does not get is counted. Says whether all nodes were told.
    pub(crate) fn relay_all(&self, broadcast: &Broadcast) -> bool {
        let spread = self.bus.broadcast(broadcast, None);
        if spread.congested {
            self.metrics.dropped.with_label_values(&["congested"]).inc();
        }
        spread.everywhere
    }

    /// The same for the members on this node only.
    pub(crate) fn relay_here(&self, broadcast: &Broadcast) {
        if self.relay.broadcast(broadcast, None).congested {
            self.metrics.dropped.with_label_values(&["congested"]).inc();
        }
    }

    /// A copy of a record for the backend, if that is told of publishes.
    pub(crate) fn told_of(&self, record: &Record) -> Option<Box<Record>> {
        self.hooks.as_ref().filter(|hooks| hooks.publishes()).map(|_| Box::new(record.clone()))
    }

    /// A record is stored. One that came again is told again, under the id of the first:
    /// the process may have ended before it was told.
    pub(crate) fn tell_published(&self, record: Record, appended: &Appended) {
        if let Some(hooks) = &self.hooks {
            let record = Record { id: appended.id, ..record };
            hooks.published(Stored { position: appended.position, record }, &self.node);
        }
    }

    /// A record was handed to its members here: how long after it was taken.
    pub(crate) fn delivered_after(&self, record: &Stored) {
        // Clocks of nodes may differ; what seems to come from the future took no time.
        let ms = self.clock.wall().saturating_sub(record.record.timestamp.0);
        self.metrics.delivery_seconds.observe(ms as f64 / 1000.0);
    }

    pub(crate) fn tell_tracker(&self, update: PresenceUpdate) {
        if let Some(link) = self.tracker.get() {
            link.updates.do_send(update);
        }
    }

    /// Renders an event once per format that is asked for.
    pub(crate) fn renderer<'a>(&'a self, event: &'a Event) -> Renderer<'a> {
        let class = if event.is_volatile() {
            Class::Volatile(event.conflation_key().unwrap_or(0))
        } else {
            Class::Durable
        };
        let about = match event {
            Event::Typing(e) => Some(&e.user),
            Event::Presence(e) => Some(&e.user),
            Event::UserJoined(e) | Event::UserLeft(e) => Some(&e.user),
            Event::Receipt(e) => e.author.as_ref(),
            _ => None,
        };
        Renderer {
            shared: self,
            event,
            class,
            about,
            frames: SmallVec::new(),
            known: SmallVec::new(),
        }
    }
}

/// One event on its way to many members: rendered at most once per format.
pub(crate) struct Renderer<'a> {
    shared: &'a Shared,
    event: &'a Event,
    pub(crate) class: Class,
    /// The user whose sessions may get a copy of their own, or none.
    pub(crate) about: Option<&'a UserId>,
    frames: SmallVec<[(FormatId, Copy, Option<Frame>); 2]>,
    /// What was asked for before, and where it is in `frames`: the next member asks for the same.
    known: SmallVec<[(FormatId, Copy, usize); 2]>,
}

impl<'a> Renderer<'a> {
    /// The record that it is, if it is stored.
    pub(crate) fn stored(&self) -> Option<&'a Stored> {
        match self.event {
            Event::Stored(stored) => Some(stored),
            _ => None,
        }
    }

    /// The frame in a format; none if its vocabulary does not have the event.
    /// The sender's copy is rendered apart only where the vocabulary tells them apart.
    pub(crate) fn frame(&mut self, id: FormatId, copy: Copy) -> Option<&Frame> {
        let known = self.known.iter().find(|(f, c, _)| *f == id && *c == copy);
        let at = match known {
            Some((_, _, at)) => *at,
            None => {
                let at = self.render(id, copy);
                self.known.push((id, copy, at));
                at
            }
        };
        self.frames[at].2.as_ref()
    }

    /// Where the frame of a format is; rendered if it is the first of its kind.
    fn render(&mut self, id: FormatId, copy: Copy) -> usize {
        let format = self.shared.format(id);
        let copy = format.copy(self.event, copy);
        match self.frames.iter().position(|(f, c, _)| *f == id && *c == copy) {
            Some(at) => at,
            None => {
                let payload = match self.event {
                    Event::Receipt(Receipt { status: ReceiptStatus::Delivered, .. })
                        if !self.shared.keeps_receipts(&format) =>
                    {
                        None
                    }
                    event => format.event_for(event, copy),
                };
                if payload.is_some() {
                    let by = [format.name(), format.vocabulary()];
                    self.shared.metrics.encodings.with_label_values(&by).inc();
                }
                // A session may have to put a tail to the offset.
                let end = self.stored().filter(|_| format.has_offsets());
                let end = end.map(|stored| format.offset_end(stored));
                let frame = payload.map(|payload| match end {
                    Some(end) => Frame::open(&payload, end),
                    None => Frame::rendered(&payload),
                });
                self.frames.push((id, copy, frame));
                self.frames.len() - 1
            }
        }
    }
}

/// Users that an operator sent away for a while.
#[derive(Default)]
pub(crate) struct Bans(Mutex<HashMap<UserId, u64>>);

/// Most bans kept at a time; the one that ends first makes room.
const MAX_BANS: usize = 100_000;

impl Bans {
    pub(crate) fn add(&self, user: UserId, until: u64, now: u64) {
        let mut bans = self.0.lock();
        if bans.len() >= MAX_BANS {
            bans.retain(|_, end| *end > now);
        }
        if bans.len() >= MAX_BANS {
            let first = bans.iter().min_by_key(|(_, end)| **end).map(|(u, _)| u.clone());
            if let Some(first) = first {
                bans.remove(&first);
            }
        }
        bans.insert(user, until);
    }

    fn holds(&self, user: &UserId, now: u64) -> bool {
        let mut bans = self.0.lock();
        match bans.get(user) {
            None => false,
            Some(until) if *until > now => true,
            Some(_) => {
                bans.remove(user);
                false
            }
        }
    }
}
