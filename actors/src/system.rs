//! The one place that sees all actors: wires them, and offers what HTTP and the
//! process ask of a node.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use actix::{
    Actor, Addr, Arbiter, Context,
    dev::channel::{self, AddressReceiver},
};
use hubbub_protocol::{
    error::HubError,
    event::{CustomEvent, Event, Notification},
    id::{MessageId, RoomName, UserId},
    position::Position,
    record::{Body, Record},
    traceparent::TraceParent,
    wire::{Format, socketio},
};
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use crate::{
    clock::Clock,
    cluster::{ClusterPresence, Started},
    formats::Formats,
    heart::Heart,
    hooks::Hooks,
    messages::{
        CloseUser, CountUsers, GetMembers, GetRooms, GetSessions, GetUser, MembersPage, Replace,
        RoomsPage, UserInfo,
    },
    metrics::Metrics,
    outbound::{Compressing, FlushList},
    ports::{Append, Appended, Audience, Broadcast, History, IdempotencyKey, Page, Range, RoomBus},
    presence_tracker::PresenceTracker,
    receipt_store::{ReceiptStore, RoomReceipts},
    redis::RedisLink,
    relay::Relay,
    room_server::{
        RoomServer,
        look::{LookAtRoom, MemberLook},
    },
    session::{SessionHandle, WorkerLink},
    session_store::SessionStore,
    shared::{Authenticator, Bans, RoomPolicy, Settings, Shared, TrackerLink},
    spans::{self, OpenSpan, SpanKind},
};

/// What a hub is made of.
pub struct Parts {
    /// The name of the node.
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
    /// The durable history; it must hand what it stores to `relay`.
    pub history: Arc<dyn History>,
    /// What survives a connection; it must be as durable as the history. None if
    /// sessions do not.
    pub sessions: Option<Arc<dyn SessionStore>>,
    /// How far users have got and read rooms; none if receipts are off.
    pub receipts: Option<Arc<dyn ReceiptStore>>,
    /// The room servers of the node.
    pub relay: Arc<Relay>,
    /// Connects them, with those of other nodes where there are any.
    pub bus: Arc<dyn RoomBus>,
    /// The link to Redis; none on a single node.
    pub link: Option<RedisLink>,
    /// Presence over several nodes; none on a single one.
    pub cluster: Option<Arc<ClusterPresence>>,
    /// What a backend is told; none if it is told nothing.
    pub hooks: Option<Arc<Hooks>>,
    /// How many workers there will be.
    pub workers: usize,
    /// The formats that sessions may speak, besides those of Socket.IO namespaces.
    pub formats: Vec<Format>,
}

/// A running node without its sockets. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
    tracker: Addr<PresenceTracker>,
    /// The tracker's mailbox, until the worker that it shares a thread with is there.
    waiting: Arc<Mutex<Option<AddressReceiver<PresenceTracker>>>>,
    room_servers: Arc<RwLock<Vec<Addr<RoomServer>>>>,
    started: Instant,
}

/// What a worker thread has of its own.
#[derive(Clone)]
pub struct Worker {
    /// What its sessions talk to.
    pub link: Arc<WorkerLink>,
    /// Its queues to write.
    pub flush: Arc<FlushList>,
}

/// The tracker does not answer; it is being restarted or the node ends.
fn no_tracker<E>(_: E) -> HubError {
    HubError::unavailable("the presence tracker is busy; try again")
}

/// Runs the presence tracker on the current thread.
fn run_tracker(mailbox: AddressReceiver<PresenceTracker>, shared: Arc<Shared>) {
    Context::with_receiver(mailbox).run(PresenceTracker::new(shared));
}

impl Hub {
    /// Wires the actors of a node. The presence tracker gets a thread of its own, or that of
    /// the only worker.
    pub fn start(parts: Parts) -> Self {
        let shared = Arc::new(Shared {
            node: parts.node,
            clock: parts.clock,
            metrics: parts.metrics,
            settings: parts.settings,
            authenticator: parts.authenticator,
            policy: parts.policy,
            history: parts.history,
            sessions: parts.sessions,
            receipts: parts.receipts,
            relay: parts.relay,
            bus: parts.bus,
            link: parts.link,
            engines: Arc::default(),
            formats: Formats::new(parts.formats),
            cluster: parts.cluster,
            hooks: parts.hooks,
            workers: RwLock::default(),
            tracker: OnceLock::new(),
            bans: Bans::default(),
            draining: AtomicBool::new(false),
        });
        if let Some(store) = &shared.sessions {
            let hub = Arc::downgrade(&shared);
            store.on_replaced(Arc::new(move |session, owner| {
                let Some(hub) = hub.upgrade() else { return };
                for worker in hub.workers.read().iter() {
                    worker.do_send(Replace { session, owner: Some(owner) });
                }
            }));
        }
        // On a node of one worker a thread of its own would only be switched to and fro.
        let (sender, mailbox) = channel::channel(crate::room_server::MAILBOX);
        let tracker = Addr::new(sender);
        let waiting = if parts.workers == 1 {
            Some(mailbox)
        } else {
            let for_tracker = shared.clone();
            Arbiter::new().spawn_fn(move || run_tracker(mailbox, for_tracker));
            None
        };
        let link = TrackerLink {
            updates: tracker.clone().recipient(),
            members: tracker.clone().recipient(),
        };
        // The only place that sets it.
        let _ = shared.tracker.set(link);
        if let Some(cluster) = &shared.cluster {
            let started = Started {
                take: tracker.clone().recipient(),
                again: tracker.clone().recipient(),
                apply: tracker.clone().recipient(),
                users_of: tracker.clone().recipient(),
                close: tracker.clone().recipient(),
                open_again: tracker.clone().recipient(),
            };
            cluster.start(shared.clone(), started, &Arbiter::new().handle());
        }
        Self {
            shared,
            tracker,
            waiting: Arc::new(Mutex::new(waiting)),
            room_servers: Arc::default(),
            started: Instant::now(),
        }
    }

    /// Starts what a worker needs on the current thread, which must run an actix
    /// system. At most [`MAX_WORKERS`](crate::relay::MAX_WORKERS) workers.
    pub fn add_worker(&self) -> Worker {
        if let Some(mailbox) = self.waiting.lock().take() {
            run_tracker(mailbox, self.shared.clone());
        }
        let room_server = RoomServer::launch(self.shared.clone());
        let heart = Heart::new(self.shared.clone()).start();
        let waiting = self.shared.metrics.outbound_queue_bytes.clone();
        let interval = Duration::from_micros(self.shared.settings.flush_interval_us);
        let compressing = self.shared.settings.compression_min_bytes.map(|min_bytes| {
            let metrics = &self.shared.metrics;
            Compressing {
                min_bytes,
                messages: metrics.compressed.with_label_values(&["out"]),
                saved_bytes: metrics.compression_saved.with_label_values(&["out"]),
            }
        });
        let flush = FlushList::counting(waiting, interval).compressing(compressing);
        let flush = Arc::new(flush);
        let written = self.shared.metrics.outbound_bytes.clone();
        actix_rt::spawn(flush.clone().run(move |bytes| written.inc_by(bytes as u64)));
        self.shared.workers.write().push(room_server.clone().recipient());
        let mut room_servers = self.room_servers.write();
        room_servers.push(room_server.clone());
        let link = WorkerLink {
            shared: self.shared.clone(),
            index: room_servers.len() - 1,
            room_server: room_server.recipient(),
            packets: Arc::new(socketio::Limits {
                max_packet_bytes: self.shared.settings.engine.max_payload,
                ..socketio::Limits::default()
            }),
            heart: heart.recipient(),
        };
        Worker { link: Arc::new(link), flush }
    }

    /// What all actors share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// How long the node runs.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Stores a record of a backend and hands it to the members.
    pub async fn publish(
        &self,
        room: RoomName,
        user: Option<UserId>,
        body: Body,
        key: Option<Box<str>>,
    ) -> Result<Appended, HubError> {
        self.publish_followed(room, user, body, key, None).await
    }

    /// The same for somebody who perhaps follows the message: with a trace that is
    /// sampled every node that takes part records its steps.
    pub async fn publish_followed(
        &self,
        room: RoomName,
        user: Option<UserId>,
        body: Body,
        key: Option<Box<str>>,
        trace: Option<TraceParent>,
    ) -> Result<Appended, HubError> {
        let trace = trace.filter(TraceParent::is_sampled);
        let begin = |trace: &TraceParent| spans::begin(trace, "publish", SpanKind::Server);
        let mut span = trace.as_ref().and_then(begin).map(OpenSpan::remote_parent);
        let trace = span.as_ref().map(|span| span.context).or(trace);
        let result = self.append(room, user, body, key, trace).await;
        if let (Some(span), Err(e)) = (&mut span, &result) {
            span.failed(e.message.to_string());
        }
        result
    }

    async fn append(
        &self,
        room: RoomName,
        user: Option<UserId>,
        body: Body,
        key: Option<Box<str>>,
        trace: Option<TraceParent>,
    ) -> Result<Appended, HubError> {
        if self.shared.relay.is_congested() {
            return Err(HubError::unavailable("the hub is behind with deliveries; try again"));
        }
        let taken = Instant::now();
        self.shared.metrics.publishes.inc();
        let key = key.map(|key| IdempotencyKey { user: user.clone(), key });
        let record = Record {
            id: MessageId(uuid::Uuid::now_v7()),
            room,
            user,
            username: None,
            timestamp: self.shared.clock.timestamp(),
            body,
            trace: trace.map(Box::new),
        };
        let span = spans::store(&record);
        let (tell, told) = oneshot::channel();
        let shared = self.shared.clone();
        let hooked = shared.told_of(&record);
        let done = Box::new(move |result: Result<Appended, _>| {
            if let (Some(record), Ok(appended)) = (hooked, &result) {
                shared.tell_published(*record, appended);
            }
            if let Some(mut span) = span {
                span.stored(&result);
            }
            // Whoever asked may have gone; the record stays.
            let _ = tell.send(result);
        });
        self.shared.history.append(Append { record, key, done });
        let result = told.await.map_err(|_| HubError::unavailable("the hub is closing"))?;
        if result.is_ok() {
            self.shared.metrics.acks.inc();
            self.shared.metrics.ack_seconds.observe(taken.elapsed().as_secs_f64());
        }
        Ok(result?)
    }

    /// Tells something volatile to a room, a user or everybody.
    /// Fails with `unavailable` if only the sessions of this node could be told.
    pub fn tell(&self, to: Audience, event: Event) -> Result<(), HubError> {
        self.shared.metrics.volatile.inc();
        let event = Arc::new(event);
        let broadcast = Broadcast { to, event, except: None, except_user: None };
        if self.shared.relay_all(&broadcast) {
            return Ok(());
        }
        Err(HubError::unavailable("Redis is away: only sessions on this node were told"))
    }

    /// A notification to every session of a user.
    pub fn notify(&self, user: &UserId, notification: Notification) -> Result<(), HubError> {
        self.tell(Audience::Room(RoomName::personal(user)), Event::Notification(notification))
    }

    /// A volatile custom event to everybody.
    pub fn broadcast(
        &self,
        user: Option<UserId>,
        name: Box<str>,
        data: Option<Box<serde_json::value::RawValue>>,
    ) -> Result<(), HubError> {
        let event = CustomEvent {
            room: None,
            user,
            username: None,
            name,
            data,
            node: Some(self.shared.node.clone()),
            timestamp: self.shared.clock.timestamp(),
        };
        self.tell(Audience::Everyone, Event::Volatile(event))
    }

    /// A page of a room's history.
    pub async fn history(
        &self,
        room: &RoomName,
        range: Range,
        limit: usize,
    ) -> Result<Page, HubError> {
        Ok(self.shared.history.read(room, range, limit).await?)
    }

    /// How far users have got and read a room, whose history stands at `head`; none if
    /// receipts are off.
    pub async fn receipts(
        &self,
        room: &RoomName,
        head: Position,
    ) -> Result<Option<RoomReceipts>, HubError> {
        match &self.shared.receipts {
            None => Ok(None),
            Some(store) => Ok(Some(store.of_room(room, head).await?)),
        }
    }

    /// A page of a room's members.
    pub async fn members(
        &self,
        room: RoomName,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<MembersPage, HubError> {
        self.tracker.send(GetMembers { room, after, limit }).await.map_err(no_tracker)
    }

    /// What is known of a user; none if offline.
    pub async fn user(&self, user: UserId) -> Result<Option<UserInfo>, HubError> {
        self.tracker.send(GetUser(user)).await.map_err(no_tracker)
    }

    /// A page of rooms with a member.
    pub async fn rooms(
        &self,
        after: Option<RoomName>,
        limit: usize,
    ) -> Result<RoomsPage, HubError> {
        self.tracker.send(GetRooms { after, limit }).await.map_err(no_tracker)
    }

    /// How many users are known.
    pub async fn user_count(&self) -> Result<usize, HubError> {
        Ok(self.tracker.send(CountUsers).await.map_err(no_tracker)?.0)
    }

    /// How many users this node has.
    pub async fn user_count_here(&self) -> Result<usize, HubError> {
        Ok(self.tracker.send(CountUsers).await.map_err(no_tracker)?.1)
    }

    /// Closes all sessions of a user with 4403, keeps the user away for `ban_ms`,
    /// and says how many there were.
    pub async fn close_user(&self, user: UserId, ban_ms: u64) -> Result<usize, HubError> {
        if ban_ms > 0 {
            let now = self.shared.clock.wall();
            self.shared.bans.add(user.clone(), now.saturating_add(ban_ms), now);
        }
        let Some(cluster) = &self.shared.cluster else {
            return self.tracker.send(CloseUser(user)).await.map_err(no_tracker);
        };
        let until = if ban_ms > 0 { self.shared.clock.wall().saturating_add(ban_ms) } else { 0 };
        // Redis knows a little sooner than this node. Where it is away, telling the
        // others fails below.
        let shares = cluster.find(user.clone()).await.unwrap_or_default();
        let known = self.user(user.clone()).await?;
        let own = known.iter().flat_map(|known| &known.sessions).map(|session| session.id);
        let elsewhere = cluster.sessions_elsewhere(shares, own).len();
        let here = self.tracker.send(CloseUser(user.clone())).await.map_err(no_tracker)?;
        cluster.send_away(user, until).await.map_err(|error| {
            log::warn!(error:%; "the other nodes could not be told to send a user away");
            HubError::unavailable("the other nodes could not be told; try again")
        })?;
        Ok(here + elsewhere)
    }

    /// All sessions of the node.
    pub async fn sessions(&self) -> Vec<Arc<SessionHandle>> {
        let room_servers = self.room_servers.read().clone();
        let mut all = Vec::new();
        for room_server in room_servers {
            all.extend(room_server.send(GetSessions).await.unwrap_or_default());
        }
        all
    }

    /// How far the members of a room are, or those of one user, at most `limit` of each
    /// worker.
    pub async fn look_at_room(
        &self,
        room: &RoomName,
        user: Option<&UserId>,
        limit: usize,
    ) -> Vec<MemberLook> {
        let room_servers = self.room_servers.read().clone();
        let mut all = Vec::new();
        for room_server in room_servers {
            let look = LookAtRoom { room: room.clone(), user: user.cloned(), limit };
            all.extend(room_server.send(look).await.unwrap_or_default());
        }
        all
    }

    /// From now on the node is not ready and takes no new connections.
    pub fn begin_drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Leaves the cluster, stores what was taken and closes the history.
    pub async fn close(&self) {
        if let Some(cluster) = &self.shared.cluster {
            cluster.retire(self.shared.settings.presence.grace_ms).await;
        }
        self.shared.history.close().await;
        if let Some(hooks) = &self.shared.hooks {
            // What was sent to the tracker before this has been told by then.
            let _ = self.tracker.send(CountUsers).await;
            hooks.sink.close().await;
        }
        if let Some(link) = &self.shared.link {
            link.close();
        }
    }
}
