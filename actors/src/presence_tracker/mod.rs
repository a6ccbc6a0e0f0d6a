//! The presence tracker: one actor per node that knows who is online, who is a
//! member of which room and who types, and tells it to those who may know.

mod hooks;
mod shares;
mod table;
mod typing;

use std::{collections::HashMap, sync::Arc, time::Duration};

use actix::{Actor, AsyncContext, Context, Handler};
use hubbub_protocol::{
    close::CloseCode,
    event::{Event, Typing},
    id::{RoomName, SessionId, UserId},
    limits::MAX_MEMBERS_PAGE,
};

pub use self::{
    table::{Effect, Held, NodeIndex, PresenceSettings, PresenceTable, UserView},
    typing::TypingTable,
};
use crate::{
    contain::contain,
    messages::{
        CloseUser, CountUsers, GetMembers, GetRooms, GetUser, MembersPage, PresenceUpdate,
        RoomsPage, UserInfo,
    },
    ports::{Audience, Broadcast},
    session::SessionHandle,
    sessions::Sessions,
    shared::Shared,
};

/// How often graces and typing are looked at.
const TICK: Duration = Duration::from_millis(100);

/// The presence tracker of a node.
pub struct PresenceTracker {
    shared: Arc<Shared>,
    sessions: Sessions,
    table: PresenceTable,
    typing: TypingTable,
    /// What the backend is told; none if it is told nothing.
    told: Option<hooks::Told>,
    /// The first members of rooms so large that nobody is told who comes and goes, as they were
    /// listed since the last tick: who joins one need not know to the millisecond.
    listed: HashMap<RoomName, MembersPage>,
}

impl PresenceTracker {
    /// A tracker that knows nobody yet.
    pub fn new(shared: Arc<Shared>) -> Self {
        let mut table = PresenceTable::new(shared.settings.presence);
        let told = hooks::Told::new(&shared);
        if shared.cluster.is_some() || told.as_ref().is_some_and(hooks::Told::follows_rooms) {
            table.note_changes();
        }
        let typing = TypingTable::new(shared.settings.typing_timeout_ms);
        Self { shared, sessions: Sessions::default(), table, typing, told, listed: HashMap::new() }
    }

    fn update(&mut self, update: PresenceUpdate) {
        let now = self.shared.clock.now();
        let mut joining = None;
        let effects = match update {
            PresenceUpdate::Opened(session) => {
                self.sessions.insert(session.clone());
                if let Some(told) = &self.told {
                    told.opened(&session);
                }
                let effects = self.table.session_opened(
                    &session.user,
                    session.username.as_ref(),
                    session.id,
                    now,
                );
                self.limit_sessions(&session.user);
                if self.shared.is_banned(&session.user) {
                    // The ban came between the handshake and here.
                    session.close(CloseCode::Forbidden);
                }
                effects
            }
            PresenceUpdate::Closed(session, rooms) => {
                self.sessions.remove(&session.id);
                if let Some(told) = &self.told {
                    told.closed(&session, now);
                }
                if let Some(stopped) = self.typing.session_closed(session.id) {
                    self.tell_typing(stopped, Some(&session));
                }
                self.table.session_closed(&session.user, session.id, &rooms, now)
            }
            PresenceUpdate::MemberJoined { session, room, answer } => {
                let effects = self.table.member_joined(&session.user, session.id, &room, now);
                // It is told by its room server, once it hears the room.
                joining = Some(session.id);
                // The session may be gone by now; nobody waits for the answer then.
                let _ = answer.send(self.first_members(&room));
                effects
            }
            PresenceUpdate::MemberLeft(session, room) => {
                if let Some(stopped) = self.typing.stop(session.id, &room) {
                    self.tell_typing(stopped, None);
                }
                self.table.member_left(&session.user, session.id, &room, now)
            }
            PresenceUpdate::SetStatus(session, status) => {
                session.set_status(status);
                self.table.set_status(&session.user, session.id, status, now)
            }
            PresenceUpdate::SetTyping(session, room, is_typing) => {
                self.set_typing(&session, room, is_typing, now);
                Vec::new()
            }
            PresenceUpdate::Panic => {
                assert!(!self.shared.settings.fault_injection, "injected fault");
                Vec::new()
            }
        };
        self.tell_from(effects, Some(&self.shared.node), joining);
        self.shares_changed();
    }

    /// Closes the oldest sessions of a user that has too many, as far as they are on
    /// this node: every node knows all of them and comes to the same result.
    fn limit_sessions(&self, user: &UserId) {
        let max = self.shared.settings.max_sessions_per_user;
        if max == 0 || self.table.socket_count(user) <= max {
            return;
        }
        let Some(user) = self.table.user(user) else { return };
        let mut sessions = user.sessions;
        if !user.elsewhere.is_empty() {
            sessions.extend(user.elsewhere.iter().map(|(_, session)| *session));
            // Ids are in the order of time.
            sessions.sort_unstable();
        }
        let excess = sessions.len().saturating_sub(max);
        for id in &sessions[..excess] {
            if let Some(session) = self.sessions.get(id) {
                session.close(CloseCode::Replaced);
            }
        }
    }

    fn set_typing(
        &mut self,
        session: &Arc<SessionHandle>,
        room: RoomName,
        is_typing: bool,
        now: u64,
    ) {
        if !self.sessions.contains(&session.id) || !session.is_in(&room) {
            return;
        }
        let changes = if is_typing {
            self.typing.start(session.id, &room, now)
        } else {
            self.typing.stop(session.id, &room).into_iter().collect()
        };
        for change in changes {
            self.tell_typing(change, Some(session));
        }
    }

    /// Tells the others in a room; a session that is gone is named by its handle.
    fn tell_typing(
        &self,
        (id, room, is_typing): (SessionId, RoomName, bool),
        session: Option<&Arc<SessionHandle>>,
    ) {
        let Some(session) = session.or_else(|| self.sessions.get(&id)) else { return };
        let event = Event::Typing(Typing {
            room: room.clone(),
            user: session.user.clone(),
            username: session.username.clone(),
            is_typing,
        });
        self.broadcast(Audience::Room(room), event, Some(session.user.clone()));
    }

    /// Tells the members on this node; every node tells its own.
    fn tell(&self, effects: Vec<Effect>) {
        self.tell_from(effects, Some(&self.shared.node), None);
    }

    /// As `tell`, for what happened on a node, if it is known which; the session that
    /// joins is told that by somebody else.
    fn tell_from(&self, effects: Vec<Effect>, from: Option<&Arc<str>>, joining: Option<SessionId>) {
        for effect in effects {
            let (to, event, user, except) = match effect {
                Effect::Joined(mut m) => {
                    m.node = from.cloned();
                    let user = m.user.clone();
                    (Audience::Room(m.room.clone()), Event::UserJoined(m), user, joining)
                }
                Effect::Left(m) => {
                    let user = m.user.clone();
                    (Audience::Room(m.room.clone()), Event::UserLeft(m), user, None)
                }
                Effect::Presence(rooms, p) => {
                    let user = p.user.clone();
                    (Audience::Rooms(rooms), Event::Presence(p), user, None)
                }
            };
            let event = Arc::new(event);
            let broadcast = Broadcast { to, event, except, except_user: Some(user) };
            self.shared.relay_here(&broadcast);
        }
    }

    fn broadcast(&self, to: Audience, event: Event, except_user: Option<UserId>) {
        let event = Arc::new(event);
        let broadcast = Broadcast { to, event, except: None, except_user };
        self.shared.relay_all(&broadcast);
    }

    /// The first page of a room's members, for who joins it.
    fn first_members(&mut self, room: &RoomName) -> MembersPage {
        let count = self.table.member_count(room);
        if count <= self.shared.settings.presence.announce_max_members {
            return self.members(room, None, MAX_MEMBERS_PAGE);
        }
        if let Some(page) = self.listed.get(room) {
            return MembersPage { count, ..page.clone() };
        }
        let page = self.members(room, None, MAX_MEMBERS_PAGE);
        self.listed.insert(room.clone(), page.clone());
        page
    }

    fn members(&self, room: &RoomName, after: Option<&UserId>, limit: usize) -> MembersPage {
        let now = self.shared.clock.now();
        let (members, count, has_more) = self.table.members(room, after, limit, now);
        MembersPage { members: Arc::new(members.into_iter().collect()), count, has_more }
    }

    fn tick(&mut self) {
        self.listed.clear();
        let now = self.shared.clock.now();
        for stopped in self.typing.expire(now) {
            self.tell_typing(stopped, None);
        }
        let effects = self.table.tick(now);
        self.tell(effects);
        self.shares_changed();
    }

    /// After a panic: the table is what the sessions say, and who is no longer
    /// there is told to have left.
    fn rebuild(&mut self) {
        let now = self.shared.clock.now();
        let mut table = PresenceTable::new(self.shared.settings.presence);
        for session in self.sessions.values() {
            table.session_opened(&session.user, session.username.as_ref(), session.id, now);
            table.set_status(&session.user, session.id, session.status(), now);
            for room in session.rooms() {
                table.member_joined(&session.user, session.id, &room, now);
            }
        }
        table.adopt_remotes(&self.table, now);
        let effects = self.table.difference(&table, now);
        let told = self.told.as_ref();
        if self.shared.cluster.is_some() || told.is_some_and(hooks::Told::follows_rooms) {
            table.note_changes();
            table.touch_all(&self.table.users_here());
        }
        self.table = table;
        self.tell(effects);
        self.shares_changed();
    }
}

impl Actor for PresenceTracker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(TICK, |act, _| {
            let shared = act.shared.clone();
            if contain(&shared, "presence_tracker", || act.tick()).is_none() {
                act.rebuild();
            }
        });
    }
}

impl Handler<PresenceUpdate> for PresenceTracker {
    type Result = ();

    fn handle(&mut self, update: PresenceUpdate, _: &mut Self::Context) {
        let shared = self.shared.clone();
        if contain(&shared, "presence_tracker", || self.update(update)).is_none() {
            self.rebuild();
        }
    }
}

impl Handler<GetMembers> for PresenceTracker {
    type Result = actix::MessageResult<GetMembers>;

    fn handle(&mut self, q: GetMembers, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(self.members(&q.room, q.after.as_ref(), q.limit))
    }
}

impl Handler<GetUser> for PresenceTracker {
    type Result = Option<UserInfo>;

    fn handle(&mut self, q: GetUser, _: &mut Self::Context) -> Self::Result {
        let view = self.table.user(&q.0)?;
        Some(UserInfo {
            status: view.status,
            username: view.username,
            sessions: view.sessions.iter().filter_map(|s| self.sessions.get(s)).cloned().collect(),
            elsewhere: view.elsewhere.into_iter().map(|(_, session)| session).collect(),
            rooms: view.rooms,
            since: view.since,
        })
    }
}

impl Handler<GetRooms> for PresenceTracker {
    type Result = actix::MessageResult<GetRooms>;

    fn handle(&mut self, q: GetRooms, _: &mut Self::Context) -> Self::Result {
        let (rooms, count) = self.table.rooms(q.after.as_ref(), q.limit);
        actix::MessageResult(RoomsPage { rooms, count })
    }
}

impl Handler<CloseUser> for PresenceTracker {
    type Result = usize;

    fn handle(&mut self, q: CloseUser, _: &mut Self::Context) -> Self::Result {
        let sessions = self.table.user(&q.0).map(|u| u.sessions).unwrap_or_default();
        let sessions = sessions.iter().filter_map(|id| self.sessions.get(id));
        sessions.map(|session| session.close(CloseCode::Forbidden)).count()
    }
}

impl Handler<CountUsers> for PresenceTracker {
    type Result = actix::MessageResult<CountUsers>;

    fn handle(&mut self, _: CountUsers, _: &mut Self::Context) -> Self::Result {
        let all = self.table.user_count();
        let here = if self.shared.cluster.is_some() { self.table.count_here() } else { all };
        actix::MessageResult((all, here))
    }
}
