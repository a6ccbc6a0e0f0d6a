#![allow(clippy::unwrap_used)]
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::presence_tracker::PresenceSettings;

fn table() -> PresenceTable {
    let mut table = PresenceTable::new(PresenceSettings {
        grace_ms: 2000,
        announce_max_members: 9,
        everybody: false,
    });
    table.note_changes();
    table
}

fn user(n: u8) -> UserId {
    UserId::new(format!("u{n}")).unwrap()
}

fn room(n: u8) -> RoomName {
    RoomName::new(format!("r{n}")).unwrap()
}

fn session(n: u128) -> SessionId {
    SessionId(uuid::Uuid::from_u128(n))
}

fn held(sessions: &[u128], status: Status, rooms: &[u8]) -> Option<Held> {
    Some(Held {
        sessions: sessions.iter().copied().map(session).collect(),
        status,
        username: None,
        rooms: rooms.iter().copied().map(room).collect(),
    })
}

fn short(effects: Vec<Effect>) -> Vec<String> {
    effects
        .into_iter()
        .map(|e| match e {
            Effect::Joined(m) => format!("joined {} {} {}", m.user, m.room, m.socket_count),
            Effect::Left(m) => format!("left {} {}", m.user, m.room),
            Effect::Presence(rooms, p) => {
                format!("{} {} {} in {}", p.user, p.status.as_str(), p.socket_count, rooms.len())
            }
        })
        .collect()
}

const ONLINE: Status = Status::Online;

#[test]
fn a_user_of_another_node_comes_and_goes() {
    let mut t = table();
    let come = t.set_remote(0, &user(1), held(&[1], ONLINE, &[1, 2]), 0);
    assert_eq!(short(come), ["joined u1 r1 1", "joined u1 r2 1"]);
    assert!(t.set_remote(0, &user(1), held(&[1], ONLINE, &[1, 2]), 1).is_empty(), "nothing new");
    let less = t.set_remote(0, &user(1), held(&[1], Status::Away, &[2]), 2);
    assert_eq!(short(less), ["left u1 r1", "u1 away 1 in 1"]);
    // The grace runs over there.
    assert!(t.set_remote(0, &user(1), held(&[], Status::Offline, &[2]), 3).is_empty());
    assert_eq!(t.user(&user(1)).unwrap().status, Status::Away);
    let gone = t.set_remote(0, &user(1), None, 4);
    assert_eq!(short(gone), ["u1 offline 0 in 1", "left u1 r2"]);
    assert_eq!((t.user_count(), t.room_count()), (0, 0));
    assert!(!t.has_changes(), "nothing of this node changed");
}

#[test]
fn a_user_on_two_nodes_leaves_with_the_last() {
    let mut t = table();
    t.session_opened(&user(1), None, session(1), 0);
    t.member_joined(&user(1), session(1), &room(1), 0);
    assert_eq!(t.take_changes(9), [(user(1), held(&[1], ONLINE, &[1]))]);
    let more = t.set_remote(3, &user(1), held(&[2], ONLINE, &[1, 2]), 1);
    assert_eq!(short(more), ["u1 online 2 in 1", "joined u1 r2 2"]);
    assert_eq!(short(t.session_closed(&user(1), session(1), &[room(1)], 5)), ["u1 online 1 in 2"]);
    assert_eq!(t.take_changes(9), [(user(1), held(&[], Status::Offline, &[1]))]);
    assert!(t.tick(2005).is_empty(), "the other node has the user in the room");
    assert_eq!(t.take_changes(9), [(user(1), None)]);
    assert_eq!(t.members(&room(1), None, 9, 0).1, 1);
    let gone = t.set_remote(3, &user(1), None, 3000);
    assert_eq!(short(gone), ["u1 offline 0 in 2", "left u1 r1", "left u1 r2"]);
    assert_eq!((t.user_count(), t.room_count()), (0, 0));
}

#[test]
fn who_moves_within_the_grace_does_not_flicker() {
    let mut t = table();
    t.session_opened(&user(1), None, session(1), 0);
    t.member_joined(&user(1), session(1), &room(1), 0);
    assert!(t.session_closed(&user(1), session(1), &[room(1)], 10).is_empty());
    let back = t.set_remote(0, &user(1), held(&[2], ONLINE, &[1]), 100);
    assert_eq!(short(back), ["u1 online 1 in 1"]);
    assert!(t.tick(9999).is_empty());
    // And back again, the other node's grace ending later.
    assert!(t.set_remote(0, &user(1), held(&[], Status::Offline, &[1]), 10_000).is_empty());
    t.session_opened(&user(1), None, session(3), 10_100);
    assert!(t.member_joined(&user(1), session(3), &room(1), 10_100).is_empty());
    assert!(t.set_remote(0, &user(1), None, 12_000).is_empty());
    assert_eq!(t.members(&room(1), None, 9, 0).1, 1);
}

#[test]
fn the_most_present_node_counts() {
    let mut t = table();
    t.session_opened(&user(1), None, session(1), 0);
    t.member_joined(&user(1), session(1), &room(1), 0);
    t.set_status(&user(1), session(1), Status::Away, 1);
    let more = t.set_remote(0, &user(1), held(&[2], ONLINE, &[1]), 2);
    assert_eq!(short(more), ["u1 online 2 in 1"]);
    let less = t.set_remote(0, &user(1), held(&[2], Status::Offline, &[1]), 3);
    assert_eq!(short(less), ["u1 away 2 in 1"]);
    assert_eq!(t.user(&user(1)).unwrap().elsewhere, [(0, session(2))]);
}

#[test]
fn a_session_that_recovered_on_another_node_counts_once() {
    let mut t = table();
    // Its node was killed, and is not swept yet; nodes 2 and 1 are told as well.
    t.set_remote(0, &user(1), held(&[1, 4], ONLINE, &[1]), 0);
    let opened = short(t.session_opened(&user(1), None, session(1), 1));
    assert!(opened.is_empty(), "there are as many as before: {opened:?}");
    let joined = short(t.member_joined(&user(1), session(1), &room(1), 1));
    assert!(joined.is_empty(), "{joined:?}");
    assert_eq!(t.socket_count(&user(1)), 2);
    let moved = short(t.set_remote(2, &user(1), held(&[4], ONLINE, &[1]), 2));
    assert!(moved.is_empty(), "nothing new to tell: {moved:?}");
    assert_eq!(t.members(&room(1), None, 9, 0).0[0].socket_count, 2);
    let view = t.user(&user(1)).unwrap();
    assert_eq!((view.sessions, view.elsewhere), (vec![session(1)], vec![(0, session(4))]));
    let swept = short(t.set_remote(0, &user(1), None, 3));
    assert!(swept.is_empty(), "{swept:?}");
    assert_eq!(t.user(&user(1)).unwrap().elsewhere, [(2, session(4))]);
}

#[derive(Clone, Debug)]
enum Step {
    Open(u8),
    Close(u8),
    Join(u8, u8),
    Leave(u8, u8),
    Remote(u8, u8, Option<(bool, BTreeSet<u8>)>),
    Tick(u64),
}

proptest! {
    /// Whatever happens here and elsewhere: what was told adds up to those who are
    /// held by some node; changes taken add up to what this node holds; and nothing
    /// stays behind at the end.
    #[test]
    fn all_nodes_add_up(steps in prop::collection::vec(prop_oneof![
        (0u8..4).prop_map(Step::Open),
        (0u8..4).prop_map(Step::Close),
        (0u8..4, 0u8..3).prop_map(|(s, r)| Step::Join(s, r)),
        (0u8..4, 0u8..3).prop_map(|(s, r)| Step::Leave(s, r)),
        (0u8..2, 0u8..3, prop::option::of((any::<bool>(), prop::collection::btree_set(0u8..3, 0..3))))
            .prop_map(|(n, u, held)| Step::Remote(n, u, held)),
        (0u64..3000).prop_map(Step::Tick),
    ], 0..150)) {
        let mut t = table();
        // Sessions 0 to 3 are of users 0 and 1; user 2 is only elsewhere.
        let owner = |s: u8| user(s / 2);
        let mut open: BTreeMap<u8, BTreeSet<u8>> = BTreeMap::new();
        let mut remote: BTreeMap<(u8, u8), BTreeSet<u8>> = BTreeMap::new();
        let mut told: BTreeSet<(String, String)> = BTreeSet::new();
        let mut shares: BTreeMap<String, Held> = BTreeMap::new();
        let mut now = 0;
        let ends = [Step::Tick(0), Step::Tick(5000)];
        let count = steps.len();
        let closing = (0..4).map(Step::Close)
            .chain((0..6).map(|n| Step::Remote(n % 2, n / 2, None)))
            .chain(ends);
        for (at, step) in steps.into_iter().chain(closing).enumerate() {
            let effects = match step {
                Step::Open(s) if !open.contains_key(&s) => {
                    open.insert(s, BTreeSet::new());
                    t.session_opened(&owner(s), None, session(s.into()), now)
                }
                Step::Close(s) => match open.remove(&s) {
                    Some(rooms) => {
                        let rooms: Vec<_> = rooms.into_iter().map(room).collect();
                        t.session_closed(&owner(s), session(s.into()), &rooms, now)
                    }
                    None => vec![],
                },
                Step::Join(s, r) if open.get_mut(&s).is_some_and(|rooms| rooms.insert(r)) => {
                    t.member_joined(&owner(s), session(s.into()), &room(r), now)
                }
                Step::Leave(s, r) if open.get_mut(&s).is_some_and(|rooms| rooms.remove(&r)) => {
                    t.member_left(&owner(s), session(s.into()), &room(r), now)
                }
                Step::Remote(n, u, what) => {
                    let what = what.map(|(live, rooms)| {
                        remote.insert((n, u), rooms.clone());
                        let sessions: &[u128] = if live { &[99] } else { &[] };
                        let rooms: Vec<_> = rooms.into_iter().collect();
                        held(sessions, ONLINE, &rooms).unwrap()
                    });
                    if what.is_none() {
                        remote.remove(&(n, u));
                    }
                    t.set_remote(n.into(), &user(u), what, now)
                }
                Step::Tick(ms) => {
                    now += ms;
                    t.tick(now)
                }
                _ => vec![],
            };
            for effect in effects {
                match effect {
                    Effect::Joined(m) => prop_assert!(told.insert((m.room.to_string(), m.user.to_string()))),
                    Effect::Left(m) => prop_assert!(told.remove(&(m.room.to_string(), m.user.to_string()))),
                    Effect::Presence(_, p) => prop_assert!(p.socket_count > 0 || p.status == Status::Offline),
                }
            }
            for (user, held) in t.take_changes(usize::MAX) {
                match held {
                    Some(held) => drop(shares.insert(user.to_string(), held)),
                    None => drop(shares.remove(&user.to_string())),
                }
            }
            for u in 0..3 {
                let known = t.held(&user(u));
                prop_assert_eq!(shares.get(&user(u).to_string()), known.as_ref());
            }
            let elsewhere = remote.iter().flat_map(|((_, u), rooms)| {
                rooms.iter().map(|r| (room(*r).to_string(), user(*u).to_string()))
            });
            let here = open.iter().flat_map(|(s, rooms)| {
                rooms.iter().map(|r| (room(*r).to_string(), owner(*s).to_string()))
            });
            for there in elsewhere.chain(here) {
                prop_assert!(told.contains(&there), "{:?} at {} of {}", there, at, count);
            }
        }
        prop_assert!(told.is_empty() && shares.is_empty());
        prop_assert_eq!((t.user_count(), t.room_count()), (0, 0));
    }
}
