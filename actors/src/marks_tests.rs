#![allow(clippy::unwrap_used)]
use std::collections::HashMap;

use hubbub_protocol::recovery::write_own;
use proptest::prelude::*;

use super::*;

fn session(n: u128) -> SessionId {
    SessionId(Uuid::from_u128(n))
}

fn room(n: usize) -> RoomName {
    RoomName::new(format!("room {n}")).unwrap()
}

fn at(epoch: u64, offset: u64) -> Position {
    Position { epoch: Epoch(epoch), offset }
}

/// What the client would remember of an event.
fn offset(marks: &mut Marks, room: &RoomName, position: Position) -> String {
    let mut text = String::new();
    write_own(&mut text, room, position);
    text.push_str(&marks.advance(room, position).unwrap_or_default());
    text
}

#[test]
fn a_session_in_one_room_needs_no_tail() {
    let mut marks = Marks::new(session(1));
    marks.enter(&room(0), Base::Start);
    marks.enter(&room(1), Base::At(at(5, 10)));
    assert_eq!(marks.tail(), None);
    assert_eq!(marks.advance(&room(1), at(5, 11)), None);
    assert_eq!(marks.tail(), Some("~1;1.11".into()));
    // The other one moves: from now on each must say where both are.
    assert_eq!(marks.advance(&room(0), at(7, 1)), Some("~1;0.1@7;1.11".into()));
    assert_eq!(marks.advance(&room(1), at(5, 12)), Some("~1;0.1@7".into()));
}

#[test]
fn what_cannot_be_proved_is_refused() {
    let rooms = [KeptRoom { slot: 0, room: room(0), base: Base::At(at(5, 10)) }];
    let own = |offset: u64| format!("{:x}.{offset}", room_mark(&room(0), Epoch(5)));
    let of = |text: &str| resolve(session(1), &rooms, Some(text)).map(|r| r.rooms);
    assert_eq!(of(&own(12)), Some(vec![Standing::At(at(5, 12))]));
    assert_eq!(of(&own(3)), Some(vec![Standing::At(at(5, 10))]), "of an earlier session");
    assert_eq!(of("1.12"), Some(vec![Standing::At(at(5, 10))]), "a room that was left");
    assert_eq!(of(&format!("{}~2;0.99", own(12))), Some(vec![Standing::At(at(5, 10))]));
    assert_eq!(of("~1;0.99"), Some(vec![Standing::At(at(5, 99))]));
    assert_eq!(of("~1;0.3@9"), Some(vec![Standing::At(at(9, 3))]));
    assert_eq!(of("~1!;0.99"), None);
    assert_eq!(of("hello"), None);
    let unknown = [KeptRoom { slot: 0, room: room(0), base: Base::Unknown }];
    assert_eq!(resolve(session(1), &unknown, None), None);
    assert_eq!(resolve(session(1), &unknown, Some(&own(12))), None);
    assert_eq!(resolve(session(1), &unknown, Some("~1;0.4")), None);
    assert_eq!(
        resolve(session(1), &unknown, Some("~1;0.4@5")).map(|r| r.rooms),
        Some(vec![Standing::At(at(5, 4))])
    );
    let twice = [rooms[0].clone(), KeptRoom { slot: 1, ..rooms[0].clone() }];
    assert_eq!(resolve(session(1), &twice, Some(&own(12))), None);
}

#[test]
fn a_history_that_began_anew_proves_nothing() {
    let mut marks = Marks::new(session(1));
    marks.enter(&room(0), Base::At(at(5, 10)));
    let text = offset(&mut marks, &room(0), at(6, 1));
    let rooms = [KeptRoom { slot: 0, room: room(0), base: Base::At(at(5, 10)) }];
    assert_eq!(resolve(session(1), &rooms, Some(&text)), None);
}

#[test]
fn messages_name_their_session() {
    let (a, b) = (session(0xabcd_ef01_2345), session(7));
    let id = message_id(a);
    assert!(is_from(id, a) && !is_from(id, b));
    assert_ne!(message_id(a), message_id(a));
    assert_eq!(id.0.get_version_num(), 7);
}

#[derive(Clone, Debug)]
enum Step {
    Enter(usize, u64, u8),
    Leave(usize),
    Message(usize),
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    let room = 0usize..5;
    prop_oneof![
        2 => (room.clone(), 0u64..20, 0u8..3).prop_map(|(r, o, b)| Step::Enter(r, o, b)),
        1 => room.clone().prop_map(Step::Leave),
        8 => room.prop_map(Step::Message),
        1 => Just(Step::Reconnect),
    ]
}

proptest! {
    /// Whatever happens in whichever order: the last offset that a client got, be it
    /// the newest or an older one, gives exactly the positions that the client had
    /// when it got it, or nothing.
    #[test]
    fn an_offset_is_where_the_client_stood(steps in prop::collection::vec(step(), 1..60)) {
        let id = session(77);
        let mut marks = Marks::new(id);
        let mut kept: Vec<KeptRoom> = Vec::new();
        let mut heads: HashMap<usize, u64> = HashMap::new();
        // Where the client is, and what it remembers.
        let mut client: HashMap<usize, Position> = HashMap::new();
        let mut last: Option<String> = None;
        for step in steps {
            match step {
                Step::Enter(r, offset, base) => {
                    kept.retain(|k| k.room != room(r));
                    let head = heads.entry(r).or_default();
                    *head = (*head).max(offset);
                    let position = at(r as u64 + 1, *head);
                    let base = match base {
                        0 => Base::At(position),
                        1 if *head == 0 => Base::Start,
                        1 => Base::At(position),
                        _ => Base::Unknown,
                    };
                    let slot = marks.enter(&room(r), base);
                    kept.push(KeptRoom { slot, room: room(r), base });
                    client.insert(r, position);
                    if base == Base::Unknown {
                        // Told with its position.
                        marks.set(&room(r), position);
                        last = marks.tail();
                    }
                }
                Step::Leave(r) => {
                    kept.retain(|k| k.room != room(r));
                    marks.leave(&room(r));
                    client.remove(&r);
                }
                Step::Message(r) if client.contains_key(&r) => {
                    let head = heads.entry(r).or_default();
                    *head += 1;
                    let position = at(r as u64 + 1, *head);
                    last = Some(offset(&mut marks, &room(r), position));
                    client.insert(r, position);
                }
                Step::Message(_) => {}
                Step::Reconnect => {
                    let standing = resolve(id, &kept, last.as_deref());
                    prop_assert!(standing.is_some());
                    let Resolved { rooms, next } = standing.unwrap();
                    let rooms: Vec<_> = kept.iter().cloned().zip(rooms).map(|(k, s)| {
                        let position = match s {
                            Standing::At(position) => Some(position),
                            Standing::Start => None,
                        };
                        (k, position)
                    }).collect();
                    marks = Marks::restored(id, &rooms, next);
                }
            }
            let standing = resolve(id, &kept, last.as_deref());
            prop_assert!(standing.is_some());
            for (kept, standing) in kept.iter().zip(standing.unwrap().rooms) {
                let r = (0..5).find(|r| room(*r) == kept.room).unwrap();
                let expected = client[&r];
                match standing {
                    Standing::At(position) => prop_assert_eq!(position, expected, "{:?}", last),
                    Standing::Start => prop_assert_eq!(expected.offset, 0),
                }
            }
        }
    }
}
