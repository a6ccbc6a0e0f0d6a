#![allow(clippy::unwrap_used, clippy::panic)]
use std::collections::{BTreeMap, BTreeSet};

use hubbub_protocol::{
    id::MessageId,
    position::Epoch,
    record::{Body, Record},
    timestamp::Timestamp,
};
use proptest::prelude::*;

use super::*;

fn room() -> RoomName {
    RoomName::new("r").unwrap()
}

fn session(n: u8) -> SessionId {
    SessionId(uuid::Uuid::from_u128(n.into()))
}

fn at(offset: u64) -> Position {
    Position { epoch: Epoch(1), offset }
}

fn record(position: Position) -> Arc<Stored> {
    Arc::new(Stored {
        position,
        record: Record {
            id: MessageId(uuid::Uuid::nil()),
            room: room(),
            user: None,
            username: None,
            timestamp: Timestamp(0),
            body: Body::Message { content: "x".into(), data: None },
            trace: None,
        },
    })
}

fn offsets(records: &[Arc<Stored>]) -> Vec<u64> {
    records.iter().map(|r| r.position.offset).collect()
}

#[test]
fn a_room_that_starts_over_does_not_go_back() {
    let mut table = RoomTable::default();
    table.join(&room(), session(1), 1);
    table.go_live(&room(), session(1), Some(at(3)));
    // Two starts under way at once, and the newer one ends first.
    assert!(table.hold(&room()) && table.hold(&room()));
    assert_eq!(table.accept(&record(at(9))), Accept::Repairing);
    assert_eq!(table.start_over(&room(), at(9)), (vec![1], false));
    assert_eq!(table.start_over(&room(), at(7)), (vec![], false));
    assert_eq!(table.room(&room()).unwrap().position, Some(at(9)));
    assert_eq!(table.accept(&record(at(10))), Accept::Deliver);
    // What came between is read, and not what was told before.
    assert!(table.hold(&room()));
    assert_eq!(table.accept(&record(at(12))), Accept::Repairing);
    assert_eq!(table.start_over(&room(), at(7)), (vec![], true));
    let records = (8..=12).map(|offset| record(at(offset))).collect();
    let (fresh, more) = table.repaired(&room(), at(12), records, false);
    assert_eq!((offsets(&fresh), more), (vec![11, 12], false));
}

#[test]
fn joining_and_leaving() {
    let mut t = RoomTable::default();
    assert_eq!(t.join(&room(), session(1), ()), Joining::First);
    assert_eq!(t.join(&room(), session(1), ()), Joining::Already);
    assert_eq!(t.join(&room(), session(2), ()), Joining::Another);
    assert_eq!(t.leave(&room(), session(1)), (Some(()), false));
    assert_eq!(t.leave(&room(), session(1)), (None, false));
    assert_eq!(t.leave(&room(), session(2)), (Some(()), true));
    assert!(t.is_empty());
    assert_eq!(t.accept(&record(at(1))), Accept::NoRoom);
}

#[test]
fn what_came_between_reading_and_hearing_is_bridged() {
    let mut t = RoomTable::default();
    t.join(&room(), session(1), ());
    for n in 4..=6 {
        assert_eq!(t.accept(&record(at(n))), Accept::Deliver);
    }
    let GoLive::Live(bridge) = t.go_live(&room(), session(1), Some(at(4))) else { panic!() };
    assert_eq!(offsets(&bridge), [5, 6]);
    t.join(&room(), session(2), ());
    assert!(matches!(t.go_live(&room(), session(2), Some(at(2))), GoLive::Behind));
    assert!(matches!(t.go_live(&room(), session(3), Some(at(6))), GoLive::Gone));
}

#[test]
fn what_was_read_ahead_does_not_come_twice() {
    let mut t = RoomTable::default();
    t.join(&room(), session(1), ());
    t.accept(&record(at(3)));
    assert!(matches!(t.go_live(&room(), session(1), Some(at(5))), GoLive::Live(_)));
    assert_eq!(t.room(&room()).unwrap().members.get(session(1)).unwrap().cursor, 5);
}

#[test]
fn a_gap_is_filled_before_anything_else_is_handed_out() {
    let mut t = RoomTable::default();
    t.join(&room(), session(1), ());
    t.accept(&record(at(1)));
    assert_eq!(t.accept(&record(at(4))), Accept::Gap(1));
    assert_eq!(t.accept(&record(at(5))), Accept::Repairing);
    let (fresh, more) =
        t.repaired(&room(), at(4), vec![record(at(2)), record(at(3)), record(at(4))], false);
    // The fifth came while the page was read: it is read with the next.
    assert_eq!((offsets(&fresh), more), (vec![2, 3, 4], true));
    assert_eq!(t.accept(&record(at(6))), Accept::Repairing);
    let (fresh, more) = t.repaired(&room(), at(6), vec![record(at(5)), record(at(6))], false);
    assert_eq!((offsets(&fresh), more), (vec![5, 6], false));
    assert_eq!(t.accept(&record(at(7))), Accept::Deliver);
    assert_eq!(t.accept(&record(at(3))), Accept::Duplicate);
}

#[test]
fn a_gap_that_was_trimmed_away_does_not_hang_the_room() {
    let mut t = RoomTable::default();
    t.join(&room(), session(1), ());
    t.accept(&record(at(1)));
    assert_eq!(t.accept(&record(at(9))), Accept::Gap(1));
    let (fresh, more) = t.repaired(&room(), at(9), vec![record(at(8)), record(at(9))], false);
    assert_eq!((offsets(&fresh), more), (vec![8, 9], false));
    assert_eq!(t.accept(&record(at(10))), Accept::Deliver);
}

#[test]
fn a_new_epoch_starts_over() {
    let mut t = RoomTable::default();
    t.join(&room(), session(1), ());
    t.accept(&record(at(7)));
    let new = Position { epoch: Epoch(2), offset: 1 };
    assert_eq!(t.accept(&record(new)), Accept::Deliver);
    assert_eq!(t.room(&room()).unwrap().position, Some(new));
}

#[derive(Clone, Debug)]
enum Step {
    Publish,
    Lose,
    Again(u8),
    Join(u8),
    Ready(u8),
    Leave(u8),
    Repair(u8),
    Panic,
}

proptest! {
    /// A store hands records to the table over a line that loses and repeats;
    /// members come, read, catch up and leave. Every live member has, from where
    /// it began, every record exactly once and in order.
    #[test]
    fn nobody_misses_or_doubles(steps in prop::collection::vec(prop_oneof![
        4 => Just(Step::Publish),
        1 => Just(Step::Lose),
        1 => (0u8..4).prop_map(Step::Again),
        2 => (0u8..4).prop_map(Step::Join),
        3 => (0u8..4).prop_map(Step::Ready),
        1 => (0u8..4).prop_map(Step::Leave),
        3 => (1u8..4).prop_map(Step::Repair),
        1 => Just(Step::Panic),
    ], 0..200)) {
        let mut t: RoomTable<()> = RoomTable::default();
        let mut head = 0u64;
        // Per member: where it began, and what it has.
        let mut got: BTreeMap<u8, (u64, Vec<u64>)> = BTreeMap::new();
        let mut pending: BTreeSet<u8> = BTreeSet::new();

        fn hand_out(t: &mut RoomTable<()>, got: &mut BTreeMap<u8, (u64, Vec<u64>)>, offset: u64) {
            let Some(r) = t.room_mut(&room()) else { return };
            for (id, m) in r.members.iter_mut() {
                if m.live && m.cursor < offset {
                    m.cursor = offset;
                    got.get_mut(&(id.0.as_u128() as u8)).unwrap().1.push(offset);
                }
            }
        }

        let arrive = |t: &mut RoomTable<()>, got: &mut _, offset: u64| {
            if t.accept(&record(at(offset))) == Accept::Deliver {
                hand_out(t, got, offset);
            }
        };
        for step in steps {
            match step {
                Step::Publish => { head += 1; arrive(&mut t, &mut got, head); }
                Step::Lose => head += 1,
                Step::Again(back) => if head > u64::from(back) { arrive(&mut t, &mut got, head - u64::from(back)); },
                Step::Join(n) => if t.join(&room(), session(n), ()) != Joining::Already {
                    got.insert(n, (head, Vec::new()));
                    pending.insert(n);
                },
                // The member has read up to the head that was then.
                Step::Ready(n) => if pending.contains(&n) {
                    let (began, list) = got.get_mut(&n).unwrap();
                    let have = list.last().copied().unwrap_or(*began);
                    match t.go_live(&room(), session(n), Some(at(have))) {
                        GoLive::Live(bridge) => { list.extend(offsets(&bridge)); pending.remove(&n); }
                        GoLive::Behind => list.extend(have + 1..=head),
                        GoLive::Gone => { pending.remove(&n); }
                        GoLive::Elsewhere => prop_assert!(false, "there is one history"),
                    }
                },
                Step::Leave(n) => { t.leave(&room(), session(n)); got.remove(&n); pending.remove(&n); }
                Step::Panic => { t.suspect(); }
                Step::Repair(page) => {
                    let Some(r) = t.room(&room()) else { continue };
                    if r.repairing.is_none() { continue; }
                    let from = r.position.map_or(0, |p| p.offset);
                    let to = head.min(from + u64::from(page));
                    let records = (from + 1..=to).map(|n| record(at(n))).collect();
                    let (fresh, _) = t.repaired(&room(), at(head), records, to < head);
                    for r in fresh { hand_out(&mut t, &mut got, r.position.offset); }
                }
            }
            for (began, list) in got.values() {
                let expected: Vec<u64> = (began + 1..).take(list.len()).collect();
                prop_assert_eq!(list, &expected);
            }
        }
    }
}
