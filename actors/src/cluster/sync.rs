//! Tells the other nodes what changes here, and follows what they tell. One task:
//! whatever it does, it does in order.

use std::{
    collections::{HashMap, hash_map},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix::{ArbiterHandle, Recipient};
use hubbub_protocol::id::UserId;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use super::{
    ClusterPresence, NodeFigures, Share,
    keeper::Keeper,
    messages::{ApplyShares, GetUsersOf, OpenAgain, TakeShares, TellAgain},
    node::node_id,
    replicas::{Change, Replicas, Scan},
    store::{Anchor, Away, Entry, Listed, Logged, Read, Renewed},
};
use crate::{
    hooks::fleet::FleetHooks,
    messages::CloseUser,
    presence_tracker::{Held, NodeIndex},
    shared::Shared,
};

/// Changes within this time are told as one; at most so long after it each is told.
const CONFLATE: Duration = Duration::from_millis(50);
/// The log is looked at so often even if nothing wakes the sync.
const LOOK: Duration = Duration::from_millis(1000);
/// Pause after the store failed.
const RETRY: Duration = Duration::from_millis(100);
/// Users in one message to the tracker and to the store.
const BATCH: usize = 200;
/// Deliveries that may wait for a worker before more is taken from the log.
const BACKLOG: usize = 16_384;

/// How the presence tracker is reached.
pub struct Started {
    /// Takes changes.
    pub take: Recipient<TakeShares>,
    /// Has users told again.
    pub again: Recipient<TellAgain>,
    /// Applies what others hold.
    pub apply: Recipient<ApplyShares>,
    /// Lists the users of a node.
    pub users_of: Recipient<GetUsersOf>,
    /// Closes the sessions of a user.
    pub close: Recipient<CloseUser>,
    /// Has the backend told that all sessions are open.
    pub open_again: Recipient<OpenAgain>,
}

impl ClusterPresence {
    /// Joins the cluster and takes part in it, on the thread of an arbiter, until
    /// the node retires.
    pub fn start(self: &Arc<Self>, shared: Arc<Shared>, tracker: Started, on: &ArbiterHandle) {
        let keeper = Keeper::new(self.clone(), shared.clone());
        on.spawn(keeper.run());
        let hooks = shared.hooks.clone();
        let hooks = hooks.filter(|hooks| hooks.kinds.sessions() || hooks.kinds.rooms());
        let sync = Sync {
            hooks: hooks.map(|hooks| FleetHooks::new(hooks, self.lease_ms)),
            given_up: false,
            replicas: Replicas::new(self.instance.clone(), self.lease_ms),
            wake: self.store.wake(),
            cluster: self.clone(),
            started: shared.clock.wall(),
            shared,
            tracker,
            anchor: None,
            connection: None,
            announcing: false,
            next: Instant::now(),
            began: Instant::now(),
        };
        on.spawn(sync.run());
    }
}

struct Sync {
    cluster: Arc<ClusterPresence>,
    shared: Arc<Shared>,
    tracker: Started,
    wake: Arc<Notify>,
    replicas: Replicas,
    /// What the backend is told; none if it is told nothing.
    hooks: Option<FleetHooks>,
    /// This node was given up although it lives, and the backend told so.
    given_up: bool,
    /// How far the log was followed; none: the store must be read anew.
    anchor: Option<Anchor>,
    /// The connection on which the node joined.
    connection: Option<u64>,
    /// The store knew nothing of this node, and was not told all yet.
    announcing: bool,
    /// Not to be told before.
    next: Instant,
    started: u64,
    began: Instant,
}

fn tracker_gone<E>(_: E) -> Away {
    Away("the presence tracker does not answer".into())
}

impl Sync {
    async fn run(mut self) {
        let mut failing = false;
        while !self.cluster.ended.load(Ordering::Relaxed) {
            let step = self.step().await;
            if let Err(error) = &step {
                // Once for each time that it fails; joining again says that it is over.
                if !failing {
                    log::warn!(error:%; "presence cannot be shared with the other nodes now");
                }
                self.forget_connection();
                sleep(RETRY).await;
            }
            failing = step.is_err();
        }
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn forget_connection(&mut self) {
        self.connection = None;
        self.cluster.joined.store(false, Ordering::Relaxed);
    }

    async fn step(&mut self) -> Result<(), Away> {
        let Some(connection) = self.cluster.store.connection() else {
            self.forget_connection();
            sleep(RETRY).await;
            return Ok(());
        };
        if self.connection != Some(connection) {
            self.join().await?;
            self.connection = Some(connection);
        } else {
            let cluster = self.cluster.clone();
            tokio::select! {
                () = cluster.changed.notified() => {}
                () = self.wake.notified() => {}
                () = cluster.rejoin.notified() => {
                    self.forget_connection();
                    return Ok(());
                }
                () = sleep(LOOK) => {}
            }
            sleep_until(self.next).await;
        }
        self.next = Instant::now() + CONFLATE;
        self.tell().await?;
        self.follow().await?;
        let now = self.now();
        if let Some(hooks) = &mut self.hooks {
            hooks.tick(&self.cluster.rows.read(), now, self.shared.clock.wall());
        }
        let changes = self.replicas.tick(now);
        self.apply(changes).await
    }

    /// Takes the lease; tells all again where the store may have lost something.
    async fn join(&mut self) -> Result<(), Away> {
        let figures = NodeFigures::of(&self.shared, self.started);
        let says = serde_json::to_string(&figures).unwrap_or_default();
        let joined = self.cluster.store.join(says).await?;
        // What follows may take longer than the lease: it has to be renewed meanwhile.
        self.cluster.joined.store(true, Ordering::Relaxed);
        self.announcing = joined.fresh || self.announcing;
        let mut users = Vec::new();
        if !joined.fresh {
            // What the store has and this node does not hold any more.
            let mut cursor = "0".to_owned();
            loop {
                let page = self.cluster.store.scan(self.cluster.instance.clone(), cursor).await?;
                users.extend(page.1.into_iter().map(|(user, _)| user));
                cursor = page.0;
                if cursor == "0" {
                    break;
                }
            }
        }
        self.tracker.again.send(TellAgain { users, all: true }).await.map_err(tracker_gone)?;
        self.cluster.addresses.tell_again();
        if self.anchor.is_none() {
            self.read_all(joined.nodes, joined.anchor).await?;
        }
        log::info!(instance = &*self.cluster.instance, fresh = joined.fresh; "joined the cluster");
        Ok(())
    }

    /// Tells what changed here.
    async fn tell(&mut self) -> Result<(), Away> {
        loop {
            let shares = self.tracker.take.send(TakeShares(BATCH)).await.map_err(tracker_gone)?;
            if shares.is_empty() {
                break;
            }
            let users: Vec<UserId> = shares.iter().map(|(user, _)| user.clone()).collect();
            let more = users.len() == BATCH;
            let written = self.cluster.store.write(shares).await;
            if written != Ok(Renewed::Known) {
                let again = TellAgain { users, all: false };
                self.tracker.again.send(again).await.map_err(tracker_gone)?;
                return match written {
                    Err(away) => Err(away),
                    Ok(_) => Err(Away("the cluster does not know this node any more".into())),
                };
            }
            if !more {
                break;
            }
        }
        self.tell_addresses().await?;
        if self.announcing && self.cluster.store.announced().await? == Renewed::Known {
            self.announcing = false;
        }
        Ok(())
    }

    async fn tell_addresses(&self) -> Result<(), Away> {
        let addresses = &self.cluster.addresses;
        loop {
            let news = addresses.take(BATCH);
            if news.is_empty() {
                return Ok(());
            }
            let told = self.cluster.store.addresses(news.clone()).await;
            if told != Ok(Renewed::Known) {
                addresses.put_back(&news);
                told?;
                return Err(Away("the cluster does not know this node any more".into()));
            }
        }
    }

    /// Reads what the log has.
    async fn follow(&mut self) -> Result<(), Away> {
        while let Some(anchor) = self.anchor.clone() {
            match self.cluster.store.read(anchor).await? {
                Read::Entries(entries, anchor) => {
                    let empty = entries.is_empty();
                    let (now, time) = (self.now(), self.shared.clock.wall());
                    for logged in entries {
                        if let Some(hooks) = &mut self.hooks {
                            self.given_up |= hooks.entry(&logged, now, time);
                        }
                        self.handle(&logged.instance, logged.entry).await?;
                    }
                    self.anchor = Some(anchor);
                    if empty {
                        break;
                    }
                }
                Read::Lost => {
                    log::warn!("the log of presence was lost or is too far ahead; reading it all");
                    self.cluster.metrics.resyncs.inc();
                    self.anchor = None;
                    self.forget_connection();
                }
            }
        }
        if std::mem::take(&mut self.given_up) {
            self.tracker.open_again.send(OpenAgain).await.map_err(tracker_gone)?;
        }
        Ok(())
    }

    async fn handle(&mut self, instance: &Arc<str>, entry: Entry) -> Result<(), Away> {
        match entry {
            Entry::SendAway(user, until) => self.send_away(user, until).await,
            Entry::Addresses(counts) => {
                if *instance != self.cluster.instance {
                    self.cluster.addresses.set(instance, counts);
                }
                Ok(())
            }
            entry => {
                if entry == Entry::Gone {
                    self.cluster.addresses.forget(Some(instance));
                }
                let changes = self.replicas.entry(instance, entry);
                self.apply(changes).await
            }
        }
    }

    async fn send_away(&self, user: UserId, until: u64) -> Result<(), Away> {
        let now = self.shared.clock.wall();
        if until > now {
            self.shared.bans.add(user.clone(), until, now);
        }
        self.tracker.close.send(CloseUser(user)).await.map_err(tracker_gone)?;
        Ok(())
    }

    /// Reads what all nodes hold. What the log says since the anchor is put over
    /// it, so that it adds up to one moment; only then it is compared with what was
    /// known.
    async fn read_all(&mut self, nodes: Vec<Listed>, anchor: Anchor) -> Result<(), Away> {
        let own = self.cluster.instance.clone();
        let mut found: HashMap<Arc<str>, (bool, HashMap<UserId, Share>)> = HashMap::new();
        self.cluster.addresses.forget(None);
        // What this node holds counts for what the backend is told.
        let all = self.hooks.is_some();
        for node in nodes.into_iter().filter(|node| all || node.instance != own) {
            let mut users = HashMap::new();
            let mut cursor = "0".to_owned();
            loop {
                let page = self.cluster.store.scan(node.instance.clone(), cursor).await?;
                users.extend(page.1);
                cursor = page.0;
                if cursor == "0" {
                    break;
                }
            }
            if node.instance != own {
                let counts = self.cluster.store.scan_addresses(node.instance.clone()).await?;
                self.cluster.addresses.set(&node.instance, counts);
            }
            found.insert(node.instance, (node.complete, users));
        }
        let mut anchor = anchor;
        loop {
            let Read::Entries(entries, next) = self.cluster.store.read(anchor).await? else {
                return Err(Away("the log of presence was lost while it was read".into()));
            };
            let empty = entries.is_empty();
            for Logged { instance, entry, .. } in entries {
                match entry {
                    Entry::SendAway(user, until) => self.send_away(user, until).await?,
                    Entry::Announcing => drop(found.insert(instance, (false, HashMap::new()))),
                    Entry::Announced => found.entry(instance).or_default().0 = true,
                    Entry::Gone => {
                        self.cluster.addresses.forget(Some(&instance));
                        found.remove(&instance);
                    }
                    Entry::Users(shares) => {
                        let (_, users) = found.entry(instance).or_insert((true, HashMap::new()));
                        for (user, share) in shares {
                            match share {
                                Some(share) => drop(users.insert(user, share)),
                                None => drop(users.remove(&user)),
                            }
                        }
                    }
                    Entry::Addresses(counts) if instance != own => {
                        self.cluster.addresses.set(&instance, counts);
                    }
                    Entry::Addresses(_) | Entry::Other => {}
                }
            }
            anchor = next;
            if empty {
                break;
            }
        }
        let scan: Scan = found
            .into_iter()
            .map(|(instance, (complete, users))| (Listed { instance, complete }, users))
            .collect();
        let now = self.now();
        if let Some(hooks) = &mut self.hooks {
            hooks.scanned(scan.clone(), now, self.shared.clock.wall());
        }
        let changes = self.replicas.scanned(scan, now);
        self.apply(changes).await?;
        for (user, until) in self.cluster.store.bans().await? {
            self.send_away(user, until).await?;
        }
        self.anchor = Some(anchor);
        Ok(())
    }

    /// Has the tracker take over what others hold, no faster than the room servers
    /// tell it.
    async fn apply(&self, changes: Vec<Change>) -> Result<(), Away> {
        let mut batch = Vec::new();
        for change in changes {
            match change {
                Change::Set(node, user, share) => {
                    batch.push((node, user, share.map(Share::into_held)));
                    if batch.len() == BATCH {
                        self.send(std::mem::take(&mut batch)).await?;
                    }
                }
                Change::Only(node, keep) => {
                    self.send(std::mem::take(&mut batch)).await?;
                    self.drop_users(node, |user| !keep.contains(user)).await?;
                }
                Change::Drop(node) => {
                    self.send(std::mem::take(&mut batch)).await?;
                    self.drop_users(node, |_| true).await?;
                }
            }
        }
        self.send(batch).await
    }

    async fn drop_users(
        &self,
        node: NodeIndex,
        which: impl Fn(&UserId) -> bool,
    ) -> Result<(), Away> {
        let users = self.tracker.users_of.send(GetUsersOf(node)).await.map_err(tracker_gone)?;
        let users: Vec<_> = users.into_iter().filter(which).collect();
        for some in users.chunks(BATCH) {
            self.send(some.iter().map(|user| (node, user.clone(), None)).collect()).await?;
        }
        Ok(())
    }

    async fn send(&self, batch: Vec<(NodeIndex, UserId, Option<Held>)>) -> Result<(), Away> {
        if batch.is_empty() {
            return Ok(());
        }
        while self.shared.relay.backlog() > BACKLOG {
            sleep(Duration::from_millis(5)).await;
        }
        self.cluster.metrics.changes.inc_by(batch.len() as u64);
        let mut nodes = HashMap::new();
        for (node, ..) in &batch {
            if let hash_map::Entry::Vacant(place) = nodes.entry(*node)
                && let Some(instance) = self.replicas.name(*node)
            {
                place.insert(node_id(instance).into());
            }
        }
        let apply = ApplyShares { shares: batch, nodes };
        self.tracker.apply.send(apply).await.map_err(tracker_gone)
    }
}
