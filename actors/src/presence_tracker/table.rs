//! Who is there: users, their sessions, their rooms; what other nodes hold of a user
//! is merged in ([`merge`]). Pure: no actor, no clock of its own; every change gives
//! back what has to be told.

mod merge;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use hubbub_protocol::{
    event::{Member, PresenceChanged, Status},
    id::{RoomName, SessionId, UserId},
    timestamp::Timestamp,
};
use smallvec::{SmallVec, smallvec};

pub use self::merge::{Held, NodeIndex, Remote};

/// What a change has to be told, and to whom.
#[derive(Clone, Debug)]
pub enum Effect {
    /// A user became a member of a room: tell the others in it.
    Joined(Member),
    /// A user is no longer one.
    Left(Member),
    /// A user's presence changed: tell those who share one of these rooms.
    Presence(Arc<[RoomName]>, PresenceChanged),
}

/// Bounds and times of the table.
#[derive(Clone, Copy, Debug)]
pub struct PresenceSettings {
    /// How long after the last session a user goes offline, in milliseconds.
    pub grace_ms: u64,
    /// In rooms with more users joins, leaves and presence are not told one by one.
    pub announce_max_members: usize,
    /// Whether there is a vocabulary that tells everybody's presence, see
    /// [`RoomName::everybody`]. Not told one by one either with more users than that.
    pub everybody: bool,
}

#[derive(Default)]
struct User {
    username: Option<Arc<str>>,
    /// In the order they opened.
    sessions: SmallVec<[(SessionId, Status); 1]>,
    rooms: Vec<(RoomName, Use)>,
    /// When the grace after this node's last session ends; 0 while none runs.
    offline_at: u64,
    shown: Status,
    since: u64,
    /// What other nodes hold; most users of most hubs are on one node only.
    remote: Option<Box<SmallVec<[Remote; 1]>>>,
}

impl User {
    /// One of whom nothing is held yet.
    fn new(now: u64) -> Box<Self> {
        Box::new(Self { shown: Status::Offline, since: now, ..Self::default() })
    }

    fn session(&mut self, id: SessionId) -> Option<&mut Status> {
        self.sessions.iter_mut().find(|(s, _)| *s == id).map(|(_, status)| status)
    }

    fn usage(&mut self, room: &RoomName) -> Option<&mut Use> {
        self.rooms.iter_mut().find(|(r, _)| r == room).map(|(_, usage)| usage)
    }

    /// The rooms the user is in through this node, then those through others.
    fn room_names(&self) -> Vec<RoomName> {
        let mut names: Vec<_> = self.rooms.iter().map(|(room, _)| room.clone()).collect();
        for room in self.remotes().iter().flat_map(|remote| &remote.rooms) {
            if !names.contains(room) {
                names.push(room.clone());
            }
        }
        names
    }
}

/// A user's use of one room on this node; gone with its end.
#[derive(Default)]
struct Use {
    /// The user's sessions in it; none while a grace runs.
    sessions: SmallVec<[SessionId; 1]>,
    /// When that grace ends.
    leave_at: u64,
}

impl User {
    /// As present as the most present session, wherever it is.
    fn status(&self) -> Status {
        let has = |s| {
            self.sessions.iter().any(|(_, x)| *x == s)
                || self.remotes().iter().any(|r| r.status == s && !r.sessions.is_empty())
        };
        [Status::Online, Status::Away].into_iter().find(|&s| has(s)).unwrap_or(Status::Offline)
    }
}

/// A promise to look again: the end of a grace.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    // First, so that those who share a room hear of it before the user leaves it.
    Offline(UserId),
    Leave(UserId, RoomName),
}

/// The table.
pub struct PresenceTable {
    settings: PresenceSettings,
    // Behind pointers: the map has many more places than users.
    users: HashMap<UserId, Box<User>>,
    rooms: HashMap<RoomName, BTreeSet<UserId>>,
    due: BTreeSet<(u64, Due)>,
    /// Whose share of this node changed since it was last asked for; none on a
    /// single node.
    changed: Option<HashSet<UserId>>,
}

/// What is known of a user.
#[derive(Clone, Debug)]
pub struct UserView {
    /// Shown status.
    pub status: Status,
    /// The display name.
    pub username: Option<Arc<str>>,
    /// The user's sessions on this node, in the order they opened.
    pub sessions: Vec<SessionId>,
    /// Those on other nodes, with the node.
    pub elsewhere: Vec<(NodeIndex, SessionId)>,
    /// The rooms, sorted.
    pub rooms: Vec<RoomName>,
    /// Since when the status is shown.
    pub since: Timestamp,
}

impl PresenceTable {
    /// An empty table.
    pub fn new(settings: PresenceSettings) -> Self {
        Self {
            settings,
            users: HashMap::new(),
            rooms: HashMap::new(),
            due: BTreeSet::new(),
            changed: None,
        }
    }

    /// A session opened.
    pub fn session_opened(
        &mut self,
        user: &UserId,
        username: Option<&Arc<str>>,
        session: SessionId,
        now: u64,
    ) -> Vec<Effect> {
        let entry = self.users.entry(user.clone()).or_insert_with(|| User::new(now));
        if username.is_some() {
            entry.username = username.cloned();
        }
        let before = entry.socket_count();
        entry.sessions.push((session, Status::Online));
        entry.offline_at = 0;
        let changed = entry.socket_count() != before;
        self.touch(user);
        self.presence(user, now, changed)
    }

    /// A session closed; `rooms` are those it was in.
    pub fn session_closed(
        &mut self,
        user: &UserId,
        session: SessionId,
        rooms: &[RoomName],
        now: u64,
    ) -> Vec<Effect> {
        let grace_ends = now + self.settings.grace_ms;
        let Some(entry) = self.users.get_mut(user) else { return Vec::new() };
        let Some(at) = entry.sessions.iter().position(|(s, _)| *s == session) else {
            return Vec::new();
        };
        let before = entry.socket_count();
        entry.sessions.remove(at);
        let (here, anywhere) = (entry.sessions.len(), entry.socket_count());
        for room in rooms {
            if let Some(usage) = entry.usage(room) {
                usage.sessions.retain(|s| *s != session);
                if usage.sessions.is_empty() {
                    usage.leave_at = grace_ends;
                    self.due.insert((grace_ends, Due::Leave(user.clone(), room.clone())));
                }
            }
        }
        if here == 0 {
            entry.offline_at = grace_ends;
            self.due.insert((grace_ends, Due::Offline(user.clone())));
        }
        self.touch(user);
        if anywhere == 0 { Vec::new() } else { self.presence(user, now, anywhere != before) }
    }

    /// A session's user said what it is.
    pub fn set_status(
        &mut self,
        user: &UserId,
        session: SessionId,
        status: Status,
        now: u64,
    ) -> Vec<Effect> {
        let known = self.users.get_mut(user).and_then(|u| u.session(session));
        match known {
            Some(slot) => *slot = status,
            None => return Vec::new(),
        }
        self.touch(user);
        self.presence(user, now, false)
    }

    /// A session became a member of a room.
    pub fn member_joined(
        &mut self,
        user: &UserId,
        session: SessionId,
        room: &RoomName,
        now: u64,
    ) -> Vec<Effect> {
        let Some(entry) = self.users.get_mut(user) else { return Vec::new() };
        match entry.usage(room) {
            // Told twice, after a rebuild, it is still one.
            Some(usage) if usage.sessions.contains(&session) => {}
            Some(usage) => usage.sessions.push(session),
            None => {
                entry.rooms.reserve_exact(1);
                entry.rooms.push((room.clone(), Use { sessions: smallvec![session], leave_at: 0 }));
            }
        }
        self.touch(user);
        self.add_member(user, room, now)
    }

    fn add_member(&mut self, user: &UserId, room: &RoomName, now: u64) -> Vec<Effect> {
        let users = self.rooms.entry(room.clone()).or_default();
        if users.insert(user.clone()) && users.len() <= self.settings.announce_max_members {
            return self.member(room, user, now).map(Effect::Joined).into_iter().collect();
        }
        Vec::new()
    }

    /// A session left a room by its own wish.
    pub fn member_left(
        &mut self,
        user: &UserId,
        session: SessionId,
        room: &RoomName,
        now: u64,
    ) -> Vec<Effect> {
        let Some(usage) = self.users.get_mut(user).and_then(|u| u.usage(room)) else {
            return Vec::new();
        };
        usage.sessions.retain(|s| *s != session);
        let still = !usage.sessions.is_empty();
        self.touch(user);
        if still { Vec::new() } else { self.end_use(user, room, now) }
    }

    /// Ends the graces that are over.
    pub fn tick(&mut self, now: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some((at, _)) = self.due.first() {
            if *at > now {
                break;
            }
            match self.due.pop_first() {
                Some((_, Due::Leave(user, room))) => {
                    let usage = self.users.get_mut(&user).and_then(|u| u.usage(&room));
                    if usage.is_some_and(|u| u.sessions.is_empty() && u.leave_at <= now) {
                        effects.extend(self.end_use(&user, &room, now));
                    }
                }
                Some((_, Due::Offline(user))) => effects.extend(self.end_stay(&user, now)),
                None => break,
            }
        }
        effects
    }

    /// Ends a user's grace on this node. Who is on no other node either is offline:
    /// those who shared a room hear of that first.
    fn end_stay(&mut self, user: &UserId, now: u64) -> Vec<Effect> {
        let Some(entry) = self.users.get_mut(user) else { return Vec::new() };
        if entry.offline_at == 0 || entry.offline_at > now || !entry.sessions.is_empty() {
            return Vec::new();
        }
        entry.offline_at = 0;
        let elsewhere = !entry.remotes().is_empty();
        let here: Vec<_> = entry.rooms.iter().map(|(room, _)| room.clone()).collect();
        self.touch(user);
        if elsewhere {
            return here.iter().flat_map(|room| self.end_use(user, room, now)).collect();
        }
        self.go_offline(user, &here, now)
    }

    /// The end of a user who was in these rooms and is on no node any more.
    fn go_offline(&mut self, user: &UserId, rooms: &[RoomName], now: u64) -> Vec<Effect> {
        let mut effects = self.presence_in(user, rooms, now, false);
        for room in rooms {
            effects.extend(self.remove_member(user, room, now));
        }
        self.users.remove(user);
        effects
    }

    /// Ends a user's use of a room on this node.
    fn end_use(&mut self, user: &UserId, room: &RoomName, now: u64) -> Vec<Effect> {
        let Some(entry) = self.users.get_mut(user) else { return Vec::new() };
        entry.rooms.retain(|(r, _)| r != room);
        let elsewhere = entry.is_elsewhere_in(room);
        self.touch(user);
        if elsewhere { Vec::new() } else { self.remove_member(user, room, now) }
    }

    /// Takes a user off a room that no node has the user in.
    fn remove_member(&mut self, user: &UserId, room: &RoomName, now: u64) -> Vec<Effect> {
        let Some(users) = self.rooms.get_mut(room) else { return Vec::new() };
        let told = users.len() <= self.settings.announce_max_members;
        let was = users.remove(user);
        if users.is_empty() {
            self.rooms.remove(room);
        }
        let member = if was && told { self.member(room, user, now) } else { None };
        member.map(Effect::Left).into_iter().collect()
    }

    /// Tells a user's presence if what is shown changes (or the number of
    /// sessions did). While a grace runs after the last session nothing is told.
    fn presence(&mut self, user: &UserId, now: u64, count_changed: bool) -> Vec<Effect> {
        let Some(entry) = self.users.get(user) else { return Vec::new() };
        if entry.socket_count() == 0 {
            return Vec::new();
        }
        let rooms = entry.room_names();
        self.presence_in(user, &rooms, now, count_changed)
    }

    fn presence_in(
        &mut self,
        user: &UserId,
        rooms: &[RoomName],
        now: u64,
        count_changed: bool,
    ) -> Vec<Effect> {
        // A session that joins a hidden user's side changes nothing anybody may see.
        let max = self.settings.announce_max_members;
        let everybody = self.settings.everybody && self.users.len() <= max;
        let Some(entry) = self.users.get_mut(user) else { return Vec::new() };
        let status = entry.status();
        if status != entry.shown {
            entry.shown = status;
            entry.since = now;
        } else if !count_changed {
            return Vec::new();
        }
        let told = |room: &&RoomName| self.rooms.get(*room).is_some_and(|users| users.len() <= max);
        let everybody = everybody.then(RoomName::everybody);
        let rooms: Arc<[RoomName]> = rooms.iter().filter(told).cloned().chain(everybody).collect();
        if rooms.is_empty() {
            return Vec::new();
        }
        vec![Effect::Presence(
            rooms,
            PresenceChanged {
                user: user.clone(),
                status,
                socket_count: entry.socket_count(),
                timestamp: Timestamp(now),
                username: entry.username.clone(),
            },
        )]
    }

    fn member(&self, room: &RoomName, user: &UserId, now: u64) -> Option<Member> {
        let entry = self.users.get(user)?;
        Some(Member {
            room: room.clone(),
            user: user.clone(),
            username: entry.username.clone(),
            status: entry.shown,
            socket_count: entry.socket_count(),
            timestamp: Timestamp(now),
            node: None,
        })
    }

    /// How many users are in a room.
    pub fn member_count(&self, room: &RoomName) -> usize {
        self.rooms.get(room).map_or(0, BTreeSet::len)
    }

    /// A page of a room's members sorted by user id, and how many there are.
    pub fn members(
        &self,
        room: &RoomName,
        after: Option<&UserId>,
        limit: usize,
        now: u64,
    ) -> (Vec<Member>, usize, bool) {
        let Some(users) = self.rooms.get(room) else { return (Vec::new(), 0, false) };
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let mut rest = users.range::<UserId, _>((from, Unbounded));
        let page: Vec<Member> =
            rest.by_ref().take(limit).filter_map(|u| self.member(room, u, now)).collect();
        (page, users.len(), rest.next().is_some())
    }

    /// A page of rooms sorted by name with the number of users in each, and how
    /// many rooms there are.
    pub fn rooms(&self, after: Option<&RoomName>, limit: usize) -> (Vec<(RoomName, usize)>, usize) {
        let mut names: Vec<_> = self
            .rooms
            .iter()
            .filter(|(name, _)| after.is_none_or(|a| *name > a))
            .map(|(name, users)| (name.clone(), users.len()))
            .collect();
        if names.len() > limit {
            names.select_nth_unstable(limit);
            names.truncate(limit);
        }
        names.sort_unstable();
        (names, self.rooms.len())
    }

    /// What is known of a user; none if there is no session and no grace runs.
    pub fn user(&self, user: &UserId) -> Option<UserView> {
        let entry = self.users.get(user)?;
        let mut rooms = entry.room_names();
        rooms.sort_unstable();
        Some(UserView {
            status: entry.shown,
            username: entry.username.clone(),
            sessions: entry.sessions.iter().map(|(id, _)| *id).collect(),
            elsewhere: entry.elsewhere(),
            rooms,
            since: Timestamp(entry.since),
        })
    }

    /// What to tell when a table rebuilt from the sessions takes the place of this
    /// one: who is offline, and who is no longer a member.
    pub fn difference(&mut self, new: &Self, now: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        let gone: Vec<_> =
            self.users.keys().filter(|u| !new.users.contains_key(*u)).cloned().collect();
        for user in gone {
            let Some(entry) = self.users.get_mut(&user) else { continue };
            let rooms = entry.room_names();
            entry.sessions.clear();
            entry.remote = None;
            effects.extend(self.go_offline(&user, &rooms, now));
        }
        for (room, users) in &self.rooms {
            let still = new.rooms.get(room);
            for user in users.iter().filter(|u| !still.is_some_and(|s| s.contains(*u))) {
                effects.extend(self.member(room, user, now).map(Effect::Left));
            }
        }
        effects
    }

    /// How many users have a session or a running grace.
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// How many rooms have a user.
    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
