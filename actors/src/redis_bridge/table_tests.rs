#![allow(clippy::unwrap_used, clippy::expect_used)]
use hubbub_protocol::{
    record::{Body, Record},
    timestamp::Timestamp,
};
use proptest::prelude::*;

use super::*;

const E: Epoch = Epoch(7);

fn at(epoch: Epoch, offset: u64) -> Position {
    Position { epoch, offset }
}

fn record(epoch: Epoch, offset: u64) -> Arc<Stored> {
    Arc::new(Stored {
        position: at(epoch, offset),
        record: Record {
            id: id(epoch, offset),
            room: RoomName::new("r").unwrap(),
            user: None,
            username: None,
            timestamp: Timestamp(0),
            body: Body::Message { content: "x".into(), data: None },
            trace: None,
        },
    })
}

fn id(epoch: Epoch, offset: u64) -> MessageId {
    MessageId(uuid::Uuid::from_u64_pair(epoch.0, offset))
}

fn head(epoch: Epoch, offset: u64) -> Head {
    let last = (offset > 0).then(|| id(epoch, offset));
    Head { position: Some(at(epoch, offset)), last }
}

fn page(epoch: Epoch, oldest: u64, offsets: std::ops::RangeInclusive<u64>, newest: u64) -> Page {
    let has_more = *offsets.end() < newest;
    let records = offsets.map(|o| record(epoch, o)).collect();
    Page { head: at(epoch, newest), oldest, recent: oldest, records, has_more }
}

fn offsets(records: &[Arc<Stored>]) -> Vec<u64> {
    records.iter().map(|r| r.position.offset).collect()
}

/// A room that is heard and has handed on everything up to an offset.
fn room_at(offset: u64) -> Room {
    let mut room = Room::new();
    room.live = true;
    room.look();
    let (records, verdict) = room.looked(head(E, offset));
    assert_eq!((offsets(&records), verdict), (vec![], Verdict::Fine));
    assert!(room.in_order() && room.is_open());
    room
}

fn now() -> Instant {
    Instant::now()
}

#[test]
fn what_comes_in_order_is_handed_on_once() {
    let mut room = room_at(5);
    for (offset, expected) in [(6, vec![6]), (5, vec![]), (6, vec![]), (7, vec![7]), (3, vec![])] {
        assert_eq!(offsets(&room.accept(record(E, offset), now())), expected);
    }
    assert!(room.in_order());
}

#[test]
fn what_comes_early_waits_for_what_is_missing() {
    let mut room = room_at(5);
    let began = now();
    assert!(room.accept(record(E, 8), began).is_empty());
    assert!(room.accept(record(E, 7), began).is_empty());
    assert!(!room.wants_look(began), "it may still come by itself");
    assert!(room.wants_look(began + GRACE));
    assert_eq!(offsets(&room.accept(record(E, 6), began)), vec![6, 7, 8]);
    assert!(room.in_order() && !room.wants_look(began + GRACE));
}

#[test]
fn a_gap_is_read() {
    let mut room = room_at(5);
    room.accept(record(E, 9), now());
    room.look();
    assert!(room.accept(record(E, 10), now()).is_empty(), "nothing passes a look");
    // From the one that is known on, so that it can be compared... if it is known.
    assert_eq!(room.looked(head(E, 9)).1, Verdict::Read(4));
    let Repaired::Records(records, verdict) = room.repaired(page(E, 1, 5..=7, 9)) else { panic!() };
    assert_eq!((offsets(&records), verdict), (vec![6, 7], Verdict::Read(7)));
    let Repaired::Records(records, verdict) = room.repaired(page(E, 1, 8..=9, 9)) else { panic!() };
    assert_eq!((offsets(&records), verdict), (vec![8, 9, 10], Verdict::Fine));
    assert!(room.in_order());
}

#[test]
fn what_was_trimmed_is_told() {
    let mut room = room_at(5);
    room.lose();
    room.live = true;
    room.look();
    assert_eq!(room.looked(head(E, 50)).1, Verdict::Read(4));
    assert!(matches!(room.repaired(page(E, 41, 41..=50, 50)), Repaired::Lost));
    room.accept(record(E, 52), now());
    room.accept(record(E, 51), now());
    assert_eq!(offsets(&room.reset(at(E, 50), Some(id(E, 50)))), vec![51, 52]);
    assert!(room.in_order());
}

#[test]
fn a_history_that_lost_its_end_is_noticed() {
    let same_offset_other_record = Head { last: Some(id(E, 99)), ..head(E, 5) };
    for there in [head(E, 3), same_offset_other_record] {
        let mut room = room_at(5);
        room.lose();
        room.live = true;
        room.look();
        assert_eq!(room.looked(there).1, Verdict::Rolled(at(E, 5)));
    }
    // It has gone on since.
    let mut room = room_at(5);
    room.lose();
    room.live = true;
    room.look();
    assert_eq!(room.looked(head(E, 9)).1, Verdict::Read(4));
    let mut other = page(E, 1, 5..=9, 9);
    let mut first = (*other.records[0]).clone();
    first.record.id = id(E, 99);
    other.records[0] = Arc::new(first);
    let Repaired::Records(records, verdict) = room.repaired(other) else { panic!() };
    assert_eq!((offsets(&records), verdict), (vec![], Verdict::Rolled(at(E, 5))));
}

#[test]
fn another_history_is_told_unless_the_room_was_only_idle() {
    let other = Epoch(8);
    let mut idle = room_at(5);
    assert_eq!(offsets(&idle.accept(record(other, 1), now())), vec![1]);
    assert_eq!(offsets(&idle.accept(record(other, 2), now())), vec![2]);
    let mut interrupted = room_at(5);
    interrupted.lose();
    assert!(interrupted.accept(record(other, 1), now()).is_empty());
    interrupted.live = true;
    interrupted.look();
    assert_eq!(interrupted.looked(head(other, 1)).1, Verdict::Reset);
    // Everything is gone and nothing was stored since.
    let mut emptied = room_at(5);
    emptied.lose();
    emptied.live = true;
    emptied.look();
    assert_eq!(emptied.looked(Head { position: None, last: None }).1, Verdict::Reset);
}

#[test]
fn a_room_without_a_history_hears_its_first_record_or_reads_it() {
    let nothing = Head { position: None, last: None };
    let fresh = || {
        let mut room = Room::new();
        room.live = true;
        room.look();
        assert_eq!(room.looked(nothing).1, Verdict::Fine);
        room
    };
    assert_eq!(offsets(&fresh().accept(record(E, 1), now())), vec![1]);
    let mut missed = fresh();
    assert!(missed.accept(record(E, 2), now()).is_empty());
    missed.look();
    assert_eq!(missed.looked(head(E, 2)).1, Verdict::Read(0));
    let Repaired::Records(records, _) = missed.repaired(page(E, 1, 1..=2, 2)) else { panic!() };
    assert_eq!(offsets(&records), vec![1, 2]);
}

#[test]
fn a_room_that_begins_before_it_is_heard_reads_what_came_between() {
    let mut room = Room::new();
    room.begin_at(head(E, 5));
    assert!(!room.wants_look(now()), "its channel is not heard");
    room.live = true;
    assert!(room.wants_look(now()));
    room.look();
    assert_eq!(room.looked(head(E, 6)).1, Verdict::Read(4));
}

#[test]
fn what_is_heard_is_due_even_if_the_head_was_read_later() {
    let mut room = Room::new();
    room.begin();
    room.live = true;
    assert!(!room.wants_look(now()), "where it begins is not known yet");
    assert!(room.accept(record(E, 6), now()).is_empty());
    room.begin_at(head(E, 6));
    assert!(!room.has(at(E, 6)) && room.wants_look(now()));
    room.look();
    assert_eq!(room.looked(head(E, 6)).1, Verdict::Read(5));
    let Repaired::Records(records, verdict) = room.repaired(page(E, 1, 6..=6, 6)) else { panic!() };
    assert_eq!((offsets(&records), verdict), (vec![6], Verdict::Fine));
    assert!(room.in_order() && room.accept(record(E, 6), now()).is_empty());
}

#[test]
fn a_loss_that_nobody_noticed_is_found_by_comparing() {
    let mut room = room_at(5);
    let began = now();
    room.expect(head(E, 5), room.position(), began);
    assert!(room.in_order());
    room.expect(head(E, 6), room.position(), began);
    assert!(!room.wants_look(began), "it may be on its way");
    assert!(room.wants_look(began + ON_ITS_WAY));
    assert_eq!(offsets(&room.accept(record(E, 6), began)), vec![6]);
    assert!(room.in_order() && !room.wants_look(began + ON_ITS_WAY));
    // Behind what was told at the time of asking.
    let stood = room.position();
    room.expect(head(E, 4), stood, began);
    assert!(room.wants_look(began));
}

/// A look at a room whose head is this; ends well.
fn look(room: &mut Room, there: Head) -> Vec<u64> {
    room.look();
    let (records, verdict) = room.looked(there);
    assert_eq!(verdict, Verdict::Fine);
    offsets(&records)
}

fn other(epoch: Epoch, offset: u64) -> Arc<Stored> {
    let mut other = (*record(epoch, offset)).clone();
    other.record.id = id(epoch, offset + 1000);
    Arc::new(other)
}

#[test]
fn what_a_failover_lost_is_not_handed_on() {
    // Whether anything was handed on before makes no difference.
    for fresh in [true, false] {
        let mut room = room_at(if fresh { 5 } else { 4 });
        if !fresh {
            assert_eq!(offsets(&room.accept(record(E, 5), now())), [5]);
        }
        // Stored by this node; 6 came from another one. The replica has neither.
        assert!(room.accept(record(E, 7), now()).is_empty());
        room.lose();
        room.live = true;
        assert!(look(&mut room, head(E, 5)).is_empty());
        assert!(room.in_order() && !room.wants_look(now() + ON_ITS_WAY), "no second look");
        for offset in [6, 7] {
            let new = other(E, offset);
            let told = room.accept(new.clone(), now());
            assert_eq!(told.iter().map(|r| r.record.id).collect::<Vec<_>>(), [new.record.id]);
        }
    }
}

#[test]
fn a_record_of_a_history_that_was_given_up_keeps_nothing_waiting() {
    let (old, began) = (Epoch(6), now());
    let mut room = room_at(5);
    // A publish that was sent again was known by its place in the old history.
    assert!(room.accept(record(old, 9), began).is_empty());
    assert!(room.wants_look(began + GRACE));
    assert!(look(&mut room, head(E, 5)).is_empty());
    assert!(room.in_order() && !room.wants_look(now() + ON_ITS_WAY), "no second look");
    assert_eq!(offsets(&room.accept(record(E, 6), now())), [6]);
    // While a look is under way: the next one, after the grace, is the last.
    room.doubt();
    room.look();
    assert!(room.accept(record(old, 9), began).is_empty());
    assert_eq!(room.looked(head(E, 6)).1, Verdict::Fine);
    assert!(!room.wants_look(began) && room.wants_look(began + GRACE));
    assert!(look(&mut room, head(E, 6)).is_empty());
    assert!(room.in_order());
}

#[test]
fn what_came_before_a_look_is_read_and_what_came_during_it_waits() {
    let mut room = room_at(5);
    assert!(room.accept(record(E, 7), now()).is_empty());
    room.look();
    assert!(room.accept(record(E, 8), now()).is_empty());
    room.look_failed(now());
    room.look();
    assert!(room.accept(record(E, 9), now()).is_empty());
    assert_eq!(room.looked(head(E, 8)).1, Verdict::Read(4));
    let Repaired::Records(records, verdict) = room.repaired(page(E, 1, 5..=8, 8)) else { panic!() };
    assert_eq!((offsets(&records), verdict), (vec![6, 7, 8, 9], Verdict::Fine));
    assert!(room.in_order());
}

#[test]
fn a_room_that_begins_with_what_a_failover_lost_looks_once_more() {
    let mut room = Room::new();
    room.live = true;
    assert!(room.accept(record(E, 7), now()).is_empty());
    room.lose();
    room.live = true;
    assert!(look(&mut room, head(E, 5)).is_empty());
    assert!(look(&mut room, head(E, 5)).is_empty());
    assert!(room.in_order() && !room.wants_look(now() + ON_ITS_WAY));
}

proptest! {
    /// Whatever is lost, doubled and in whichever order it comes: what is handed on
    /// is every record once, in order.
    #[test]
    fn it_hands_on_everything_once_in_order(
        moves in prop::collection::vec((0..40_u64, any::<bool>()), 1..120),
    ) {
        let mut room = room_at(0);
        let (mut told, mut newest) = (Vec::new(), 0);
        for (n, lose) in moves {
            let offset = (newest + 2).min(n + 1);
            newest = newest.max(offset);
            if lose {
                room.lose();
                room.live = true;
            }
            told.extend(offsets(&room.accept(record(E, offset), now())));
            let later = now() + ON_ITS_WAY;
            if n % 3 == 0 && room.wants_look(later) {
                room.look();
                let (records, mut verdict) = room.looked(head(E, newest));
                told.extend(offsets(&records));
                while let Verdict::Read(above) = verdict {
                    let end = newest.min(above + 3);
                    let read = page(E, 1, above + 1..=end, newest);
                    let Repaired::Records(records, next) = room.repaired(read) else {
                        panic!("nothing was trimmed")
                    };
                    told.extend(offsets(&records));
                    verdict = next;
                }
                prop_assert_eq!(verdict, Verdict::Fine);
                prop_assert_eq!(told.last().copied().unwrap_or(0), newest);
            }
        }
        let all: Vec<_> = (1..=told.len() as u64).collect();
        prop_assert_eq!(told, all);
    }
}

#[test]
fn a_record_that_cannot_be_read_is_not_taken_for_another_history() {
    let unreadable = |offset| {
        let room = RoomName::new("r").unwrap();
        let record = Record::unreadable(room, at(E, offset), Timestamp(0));
        Arc::new(Stored { position: at(E, offset), record })
    };
    let mut room = room_at(5);
    assert_eq!(offsets(&room.accept(unreadable(6), now())), [6]);
    // Redis knows it by the id that it had.
    room.doubt();
    room.look();
    assert_eq!(room.looked(head(E, 6)).1, Verdict::Fine);
    room.doubt();
    room.look();
    assert_eq!(room.looked(head(E, 8)).1, Verdict::Read(6));
    let mut read = page(E, 1, 7..=8, 8);
    read.records[1] = unreadable(8);
    let Repaired::Records(records, verdict) = room.repaired(read) else { panic!("lost") };
    assert_eq!((offsets(&records), verdict), (vec![7, 8], Verdict::Fine));
    // One that could be read when it was stored.
    let mut room = room_at(5);
    room.doubt();
    room.look();
    assert_eq!(room.looked(head(E, 6)).1, Verdict::Read(4));
    let mut read = page(E, 1, 5..=6, 6);
    read.records[0] = unreadable(5);
    let Repaired::Records(records, verdict) = room.repaired(read) else { panic!("lost") };
    assert_eq!((offsets(&records), verdict), (vec![6], Verdict::Fine));
}

#[test]
fn a_look_that_fails_is_repeated_after_pauses_that_grow() {
    let mut room = room_at(5);
    room.doubt();
    let mut moment = now();
    let mut pauses = Vec::new();
    for _ in 0..10 {
        assert!(room.wants_look(moment));
        room.look();
        room.look_failed(moment);
        let pause = (1..).find(|&ms| room.wants_look(moment + Duration::from_millis(ms))).unwrap();
        pauses.push(pause);
        moment += Duration::from_millis(pause);
    }
    assert_eq!(pauses, [20, 40, 80, 160, 320, 640, 1280, 2000, 2000, 2000]);
    // A channel that is heard again is looked at at once.
    room.lose();
    room.live = true;
    assert!(room.wants_look(moment));
    // So is a room that is in doubt again after a look that did not fail.
    room.look();
    assert_eq!(room.looked(head(E, 5)).1, Verdict::Fine);
    room.doubt();
    assert!(room.wants_look(moment));
}
