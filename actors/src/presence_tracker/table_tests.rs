#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn table() -> PresenceTable {
    PresenceTable::new(PresenceSettings {
        grace_ms: 2000,
        announce_max_members: 3,
        everybody: false,
    })
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

/// The effects in short, such as `joined u1 r1` or `u1 online 2`.
fn short(effects: Vec<Effect>) -> Vec<String> {
    effects
        .into_iter()
        .map(|e| match e {
            Effect::Joined(m) => format!("joined {} {}", m.user, m.room),
            Effect::Left(m) => format!("left {} {}", m.user, m.room),
            Effect::Presence(_, p) => {
                format!("{} {} {}", p.user, p.status.as_str(), p.socket_count)
            }
        })
        .collect()
}

#[test]
fn one_user_over_two_tabs() {
    let mut t = table();
    assert!(t.session_opened(&user(1), None, session(1), 0).is_empty());
    assert_eq!(short(t.member_joined(&user(1), session(1), &room(1), 0)), ["joined u1 r1"]);
    assert_eq!(short(t.session_opened(&user(1), None, session(2), 1)), ["u1 online 2"]);
    assert!(t.member_joined(&user(1), session(2), &room(1), 1).is_empty());
    assert_eq!(short(t.session_closed(&user(1), session(1), &[room(1)], 2)), ["u1 online 1"]);
    assert!(t.session_closed(&user(1), session(2), &[room(1)], 10).is_empty());
    assert!(t.tick(2009).is_empty());
    assert_eq!(short(t.tick(2010)), ["u1 offline 0", "left u1 r1"]);
    assert_eq!((t.user_count(), t.room_count()), (0, 0));
}

#[test]
fn a_second_grace_counts_from_its_own_start() {
    let mut t = table();
    for at in [0, 1500] {
        t.session_opened(&user(1), None, session(1), at);
        t.member_joined(&user(1), session(1), &room(1), at);
        t.session_closed(&user(1), session(1), &[room(1)], at + 100);
    }
    assert!(t.tick(3599).is_empty());
    assert_eq!(t.tick(3600).len(), 2);
}

#[test]
fn a_reload_within_the_grace_is_not_seen() {
    let mut t = table();
    t.session_opened(&user(1), None, session(1), 0);
    t.member_joined(&user(1), session(1), &room(1), 0);
    t.session_closed(&user(1), session(1), &[room(1)], 100);
    assert_eq!(short(t.session_opened(&user(1), None, session(2), 900)), ["u1 online 1"]);
    assert!(t.member_joined(&user(1), session(2), &room(1), 900).is_empty());
    assert!(t.tick(10_000).is_empty());
    assert_eq!(t.members(&room(1), None, 10, 0).1, 1);
}

#[test]
fn an_explicit_leave_is_told_at_once() {
    let mut t = table();
    t.session_opened(&user(1), None, session(1), 0);
    t.member_joined(&user(1), session(1), &room(1), 0);
    assert_eq!(short(t.member_left(&user(1), session(1), &room(1), 1)), ["left u1 r1"]);
    assert!(t.member_left(&user(1), session(1), &room(1), 1).is_empty());
    assert_eq!(t.room_count(), 0);
}

#[test]
fn the_most_present_session_counts() {
    let mut t = table();
    t.session_opened(&user(1), None, session(1), 0);
    t.session_opened(&user(1), None, session(2), 0);
    t.member_joined(&user(1), session(1), &room(1), 0);
    assert!(t.set_status(&user(1), session(1), Status::Away, 1).is_empty());
    assert_eq!(short(t.set_status(&user(1), session(2), Status::Away, 2)), ["u1 away 2"]);
    assert!(t.set_status(&user(1), session(2), Status::Offline, 3).is_empty());
    assert_eq!(short(t.set_status(&user(1), session(1), Status::Offline, 4)), ["u1 offline 2"]);
    assert!(t.set_status(&user(1), session(9), Status::Online, 5).is_empty());
}

#[test]
fn big_rooms_are_paged_and_not_announced() {
    let mut t = table();
    for n in 0..9 {
        t.session_opened(&user(n), None, session(n.into()), 0);
        let told = t.member_joined(&user(n), session(n.into()), &room(1), 0);
        assert_eq!(told.len(), usize::from(n < 3));
    }
    let (page, all, more) = t.members(&room(1), None, 4, 0);
    assert_eq!((page.len(), all, more), (4, 9, true));
    let (page, _, more) = t.members(&room(1), Some(&page[3].user), 5, 0);
    assert_eq!((page.len(), more), (5, false));
}

#[derive(Clone, Debug)]
enum Step {
    Open(u8),
    Close(u8),
    Join(u8, u8),
    Leave(u8, u8),
    Tick(u64),
}

proptest! {
    /// Against sets of (session, room): whatever happens, the members are the
    /// users with a session in the room or a running grace, what was told adds up
    /// to them, and nothing stays behind at the end.
    #[test]
    fn leases_add_up(steps in prop::collection::vec(prop_oneof![
        (0u8..6).prop_map(Step::Open),
        (0u8..6).prop_map(Step::Close),
        (0u8..6, 0u8..3).prop_map(|(s, r)| Step::Join(s, r)),
        (0u8..6, 0u8..3).prop_map(|(s, r)| Step::Leave(s, r)),
        (0u64..3000).prop_map(Step::Tick),
    ], 0..120)) {
        let mut t = PresenceTable::new(PresenceSettings { grace_ms: 2000, announce_max_members: 99, everybody: false });
        // Sessions 0 to 5 belong to users 0 to 2.
        let owner = |s: u8| user(s / 2);
        let mut open: BTreeMap<u8, BTreeSet<u8>> = BTreeMap::new();
        let mut told: BTreeSet<(String, String)> = BTreeSet::new();
        let mut now = 0;
        let mut effects = Vec::new();
        for step in steps {
            match step {
                Step::Open(s) => if let std::collections::btree_map::Entry::Vacant(e) = open.entry(s) {
                    e.insert(BTreeSet::new());
                    effects.extend(t.session_opened(&owner(s), None, session(s.into()), now));
                },
                Step::Close(s) => if let Some(rooms) = open.remove(&s) {
                    let rooms: Vec<_> = rooms.into_iter().map(room).collect();
                    effects.extend(t.session_closed(&owner(s), session(s.into()), &rooms, now));
                },
                Step::Join(s, r) => if open.get_mut(&s).is_some_and(|rooms| rooms.insert(r)) {
                    effects.extend(t.member_joined(&owner(s), session(s.into()), &room(r), now));
                },
                Step::Leave(s, r) => if open.get_mut(&s).is_some_and(|rooms| rooms.remove(&r)) {
                    effects.extend(t.member_left(&owner(s), session(s.into()), &room(r), now));
                },
                Step::Tick(ms) => {
                    now += ms;
                    effects.extend(t.tick(now));
                }
            }
            for effect in effects.drain(..) {
                match effect {
                    Effect::Joined(m) => prop_assert!(told.insert((m.room.to_string(), m.user.to_string()))),
                    Effect::Left(m) => prop_assert!(told.remove(&(m.room.to_string(), m.user.to_string()))),
                    Effect::Presence(..) => {}
                }
            }
            for (s, rooms) in &open {
                for r in rooms {
                    prop_assert!(told.contains(&(room(*r).to_string(), owner(*s).to_string())));
                }
            }
        }
        for (s, rooms) in std::mem::take(&mut open) {
            let rooms: Vec<_> = rooms.into_iter().map(room).collect();
            t.session_closed(&owner(s), session(s.into()), &rooms, now);
        }
        t.tick(now + 2000);
        prop_assert_eq!((t.user_count(), t.room_count(), t.due.len()), (0, 0, 0));
    }
}
