//! Who has which sessions, and who is in which room, on all nodes, as the backend was
//! told. Pure: every change gives back what there is to tell.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use hubbub_protocol::id::{RoomName, SessionId, UserId};
use smallvec::SmallVec;

use super::event::{HookBody, HookMember, HookSession};
use crate::{cluster::Share, presence_tracker::NodeIndex};

/// What one node holds of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The user's sessions on the node, with when each opened there.
    pub sessions: SmallVec<[(SessionId, u64); 1]>,
    /// The display name.
    pub username: Option<Arc<str>>,
    /// The rooms that the user is in on the node; what is reserved does not count.
    pub rooms: SmallVec<[RoomName; 1]>,
}

impl From<&Share> for Seen {
    fn from(share: &Share) -> Self {
        let opened = share.opened.iter().copied().chain(std::iter::repeat(0));
        Self {
            sessions: share.sessions.iter().map(|(id, _)| *id).zip(opened).collect(),
            username: share.username.clone(),
            rooms: share.rooms.iter().filter(|room| !room.is_reserved()).cloned().collect(),
        }
    }
}

/// What a change came to.
#[derive(Debug, Default)]
pub struct Turn {
    /// Sessions that the node does not have any more.
    pub ended: Vec<HookSession>,
    /// What happened in rooms.
    pub rooms: Vec<HookBody>,
}

/// The users of all nodes and the rooms they are in.
#[derive(Default)]
pub struct View {
    nodes: HashMap<NodeIndex, (Arc<str>, HashMap<UserId, Seen>)>,
    /// For each user of a room, how many nodes have the user in it.
    rooms: HashMap<RoomName, HashMap<UserId, u16>>,
}

impl View {
    /// A node, a start of which is `instance`, holds this of a user now, or nothing
    /// any more.
    pub fn set(
        &mut self,
        node: NodeIndex,
        instance: &Arc<str>,
        user: &UserId,
        seen: Option<Seen>,
    ) -> Turn {
        let (instance, users) =
            self.nodes.entry(node).or_insert_with(|| (instance.clone(), HashMap::new()));
        let instance = instance.clone();
        let new = seen.clone().unwrap_or_default();
        let old = match seen {
            Some(seen) => users.insert(user.clone(), seen),
            None => users.remove(user),
        };
        let old = old.unwrap_or_default();
        let username = new.username.clone().or(old.username);
        let mut turn = Turn::default();
        for (id, opened) in old.sessions {
            if !new.sessions.contains(&(id, opened)) {
                let (user, username) = (user.clone(), username.clone());
                let instance = instance.clone();
                turn.ended.push(HookSession { id, user, username, instance, opened });
            }
        }
        // First who comes: a room that somebody takes over is not vacated between.
        for room in new.rooms.iter().filter(|room| !old.rooms.contains(room)) {
            self.enter(room, user, &username, &mut turn.rooms);
        }
        for room in old.rooms.iter().filter(|room| !new.rooms.contains(room)) {
            self.exit(room, user, &username, &mut turn.rooms);
        }
        turn
    }

    fn enter(
        &mut self,
        room: &RoomName,
        user: &UserId,
        username: &Option<Arc<str>>,
        told: &mut Vec<HookBody>,
    ) {
        let users = self.rooms.entry(room.clone()).or_default();
        if users.is_empty() {
            told.push(HookBody::RoomOccupied(room.clone()));
        }
        let nodes = users.entry(user.clone()).or_default();
        *nodes = nodes.saturating_add(1);
        if *nodes == 1 {
            told.push(HookBody::MemberJoined(member(room, user, username)));
        }
    }

    fn exit(
        &mut self,
        room: &RoomName,
        user: &UserId,
        username: &Option<Arc<str>>,
        told: &mut Vec<HookBody>,
    ) {
        let Entry::Occupied(mut users) = self.rooms.entry(room.clone()) else { return };
        if let Entry::Occupied(mut nodes) = users.get_mut().entry(user.clone()) {
            *nodes.get_mut() -= 1;
            if *nodes.get() == 0 {
                nodes.remove();
                told.push(HookBody::MemberLeft(member(room, user, username)));
            }
        }
        if users.get().is_empty() {
            users.remove();
            told.push(HookBody::RoomVacated(room.clone()));
        }
    }

    /// The users that a node holds, but for those of `keep`.
    pub fn users_of(&self, node: NodeIndex, keep: &HashSet<UserId>) -> Vec<UserId> {
        let users = self.nodes.get(&node).into_iter().flat_map(|(_, users)| users.keys());
        users.filter(|user| !keep.contains(*user)).cloned().collect()
    }

    /// A node is not there any more; it must hold nothing.
    pub fn forget(&mut self, node: NodeIndex) {
        if self.nodes.get(&node).is_some_and(|(_, users)| users.is_empty()) {
            self.nodes.remove(&node);
        }
    }
}

fn member(room: &RoomName, user: &UserId, username: &Option<Arc<str>>) -> HookMember {
    HookMember { room: room.clone(), user: user.clone(), username: username.clone() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;
    use smallvec::smallvec;
    use uuid::Uuid;

    use super::*;

    fn seen(rooms: &[&str]) -> Option<Seen> {
        let rooms = rooms.iter().map(|room| RoomName::new(room).unwrap()).collect();
        let sessions = smallvec![(SessionId(Uuid::from_u128(1)), 5)];
        Some(Seen { sessions, username: None, rooms })
    }

    fn words(turn: &Turn) -> Vec<String> {
        let word = |body: &HookBody| match body {
            HookBody::MemberJoined(m) => format!("+{}/{}", m.room, m.user),
            HookBody::MemberLeft(m) => format!("-{}/{}", m.room, m.user),
            HookBody::RoomOccupied(room) => format!("+{room}"),
            HookBody::RoomVacated(room) => format!("-{room}"),
            other => format!("{other:?}"),
        };
        turn.rooms.iter().map(word).collect()
    }

    #[test]
    fn a_member_on_two_nodes_joins_and_leaves_once() {
        let (mut view, ann) = (View::default(), UserId::new("ann").unwrap());
        let (a, b): (Arc<str>, Arc<str>) = ("a#1".into(), "b#2".into());
        assert_eq!(words(&view.set(0, &a, &ann, seen(&["r"]))), ["+r", "+r/ann"]);
        assert_eq!(words(&view.set(1, &b, &ann, seen(&["r", "s"]))), ["+s", "+s/ann"]);
        assert_eq!(words(&view.set(0, &a, &ann, seen(&[]))), Vec::<String>::new());
        let turn = view.set(1, &b, &ann, None);
        assert_eq!(words(&turn), ["-r/ann", "-r", "-s/ann", "-s"]);
        assert_eq!(
            (turn.ended.len(), &*turn.ended[0].instance, turn.ended[0].opened),
            (1, "b#2", 5)
        );
        assert!(view.rooms.is_empty());
        let keep = HashSet::new();
        assert_eq!((view.users_of(0, &keep).len(), view.users_of(1, &keep).len()), (1, 0));
        view.forget(1);
        assert!(!view.nodes.contains_key(&1) && view.nodes.contains_key(&0));
    }

    #[test]
    fn an_opening_ends_also_if_the_session_opens_again() {
        let (mut view, ann) = (View::default(), UserId::new("ann").unwrap());
        let a: Arc<str> = "a#1".into();
        view.set(0, &a, &ann, seen(&[]));
        assert!(view.set(0, &a, &ann, seen(&["r"])).ended.is_empty());
        let mut again = seen(&["r"]).unwrap();
        again.sessions[0].1 = 6;
        let turn = view.set(0, &a, &ann, Some(again));
        assert_eq!(turn.ended.len(), 1);
        assert!(turn.rooms.is_empty());
    }

    proptest! {
        /// Whatever comes in which order, what is told adds up to what is.
        #[test]
        fn what_is_told_is_what_is(steps in prop::collection::vec((0u16..3, 0usize..4, prop::option::of(0u8..8)), 0..80)) {
            let mut view = View::default();
            let mut told: BTreeSet<String> = BTreeSet::new();
            let mut is: BTreeMap<(u16, usize), u8> = BTreeMap::new();
            for (node, user, rooms) in steps {
                let name = UserId::new(format!("u{user}")).unwrap();
                let held = rooms.map(|bits| {
                    let names: Vec<String> =
                        (0..3).filter(|n| bits & (1 << n) != 0).map(|n| format!("r{n}")).collect();
                    seen(&names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
                });
                match rooms {
                    Some(bits) => drop(is.insert((node, user), bits)),
                    None => drop(is.remove(&(node, user))),
                }
                for word in words(&view.set(node, &"n#1".into(), &name, held)) {
                    let (sign, what) = word.split_at(1);
                    let news = if sign == "+" { told.insert(what.into()) } else { told.remove(what) };
                    prop_assert!(news, "{word} again");
                }
                let mut want = BTreeSet::new();
                for ((_, user), bits) in &is {
                    for n in (0..3).filter(|n| bits & (1 << n) != 0) {
                        want.insert(format!("r{n}"));
                        want.insert(format!("r{n}/u{user}"));
                    }
                }
                prop_assert_eq!(&told, &want);
            }
        }
    }
}
