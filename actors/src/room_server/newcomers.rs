//! Who comes and goes while a member joins. Between the moment in which the members
//! were listed for it and the one in which it hears the room it would learn of nobody:
//! such news waits until the list was told. Pure.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use hubbub_protocol::{
    event::Event,
    id::{RoomName, SessionId},
};

use crate::messages::MembersPage;

/// News that wait for one join; the oldest is not told then.
const MAX_NEWS: usize = 64;

/// Members that do not hear their room yet.
#[derive(Default)]
pub(super) struct Newcomers(HashMap<(SessionId, RoomName), Waiting>);

enum Waiting {
    /// The list was not told yet; this came meanwhile.
    List(VecDeque<Arc<Event>>),
    /// It was told. The member still catches up with messages.
    Room,
}

impl Newcomers {
    /// A session joins.
    pub(super) fn begin(&mut self, session: SessionId, room: &RoomName) {
        self.0.insert((session, room.clone()), Waiting::List(VecDeque::new()));
    }

    /// It hears the room, or is gone.
    pub(super) fn end(&mut self, session: SessionId, room: &RoomName) {
        if !self.0.is_empty() {
            self.0.remove(&(session, room.clone()));
        }
    }

    /// There is news for a member that does not hear the room yet: says whether it is to
    /// be told now.
    pub(super) fn news(&mut self, session: SessionId, room: &RoomName, news: &Arc<Event>) -> bool {
        if !matches!(**news, Event::UserJoined(_) | Event::UserLeft(_)) {
            return false;
        }
        match self.0.get_mut(&(session, room.clone())) {
            Some(Waiting::Room) => true,
            Some(Waiting::List(waiting)) => {
                if waiting.len() == MAX_NEWS {
                    waiting.pop_front();
                }
                waiting.push_back(news.clone());
                false
            }
            None => false,
        }
    }

    /// The list is told now; gives what is to be told behind it: of each user the last,
    /// unless the list knows it.
    pub(super) fn listed(
        &mut self,
        session: SessionId,
        room: &RoomName,
        list: &MembersPage,
    ) -> Vec<Arc<Event>> {
        let Some(waiting) = self.0.get_mut(&(session, room.clone())) else { return Vec::new() };
        let Waiting::List(news) = std::mem::replace(waiting, Waiting::Room) else {
            return Vec::new();
        };
        let mut seen = HashSet::new();
        let mut told: Vec<_> = news
            .into_iter()
            .rev()
            .filter(|event| {
                let (user, came) = match &**event {
                    Event::UserJoined(member) => (&member.user, true),
                    Event::UserLeft(member) => (&member.user, false),
                    _ => return false,
                };
                let is_listed = list.members.iter().any(|member| member.user == *user);
                seen.insert(user.clone())
                    && if came { !is_listed } else { is_listed || list.has_more }
            })
            .collect();
        told.reverse();
        told
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hubbub_protocol::{
        event::{Member, Status},
        id::UserId,
        timestamp::Timestamp,
    };

    use super::*;

    fn member(user: &str) -> Member {
        Member {
            room: RoomName::new("r").unwrap(),
            user: UserId::new(user).unwrap(),
            username: None,
            status: Status::Online,
            socket_count: 1,
            timestamp: Timestamp(0),
            node: None,
        }
    }

    fn came(user: &str) -> Arc<Event> {
        Arc::new(Event::UserJoined(member(user)))
    }

    fn left(user: &str) -> Arc<Event> {
        Arc::new(Event::UserLeft(member(user)))
    }

    /// What is told behind a list of so many, of which these are named.
    fn told(news: &[Arc<Event>], count: usize, named: &[&str]) -> Vec<String> {
        let (id, room) = (SessionId(uuid::Uuid::nil()), RoomName::new("r").unwrap());
        let mut newcomers = Newcomers::default();
        assert!(!newcomers.news(id, &room, &came("x")), "it does not join");
        newcomers.begin(id, &room);
        for event in news {
            assert!(!newcomers.news(id, &room, event));
        }
        let members = Arc::new(named.iter().map(|user| member(user)).collect());
        let has_more = count > named.len();
        let told = newcomers.listed(id, &room, &MembersPage { members, count, has_more });
        assert!(newcomers.news(id, &room, &came("y")), "told at once from now on");
        assert!(newcomers.listed(id, &room, &MembersPage::default()).is_empty());
        newcomers.end(id, &room);
        assert!(!newcomers.news(id, &room, &came("z")) && newcomers.0.is_empty());
        told.iter()
            .map(|event| match &**event {
                Event::UserJoined(member) => format!("+{}", member.user),
                Event::UserLeft(member) => format!("-{}", member.user),
                _ => String::new(),
            })
            .collect()
    }

    #[test]
    fn what_the_list_does_not_know_is_told_behind_it() {
        assert_eq!(told(&[came("b"), came("c")], 2, &["a", "b"]), ["+c"]);
        assert_eq!(told(&[left("b"), left("c")], 2, &["a", "b"]), ["-b"]);
        assert_eq!(told(&[came("c"), left("c"), left("a"), came("a")], 2, &["a", "b"]), [""; 0]);
        assert_eq!(told(&[left("b"), came("b")], 1, &["a"]), ["+b"]);
        // A list that names some of them only.
        assert_eq!(told(&[left("x"), came("y")], 9, &["a"]), ["-x", "+y"]);
    }

    #[test]
    fn news_are_bounded() {
        let news: Vec<_> = (0..=MAX_NEWS).map(|n| came(&format!("u{n}"))).collect();
        let told = told(&news, 0, &[]);
        assert_eq!((told.len(), &*told[0]), (MAX_NEWS, "+u1"));
    }
}
