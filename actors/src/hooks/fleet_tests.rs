#![allow(clippy::unwrap_used)]
use hubbub_protocol::{
    event::Status,
    id::{RoomName, SessionId},
};
use parking_lot::Mutex;
use uuid::Uuid;

use super::*;
use crate::{
    cluster::{NodeFigures, Share, store::Listed},
    hooks::{HookKind, HookSink},
    ports::PortFuture,
};

#[derive(Default)]
struct Sink(Mutex<Vec<HookEvent>>);

impl HookSink for Sink {
    fn emit(&self, event: HookEvent) {
        self.0.lock().push(event);
    }

    fn close(&self) -> PortFuture<()> {
        Box::pin(async {})
    }
}

impl Sink {
    /// What was told, in words.
    fn take(&self) -> Vec<String> {
        let events = std::mem::take(&mut *self.0.lock());
        events.iter().map(word).collect()
    }
}

fn word(event: &HookEvent) -> String {
    let kind = event.kind().as_str();
    match &event.body {
        HookBody::SessionClosed { session, reason } => {
            format!("{kind} {} {} {} {reason}", session.user, session.instance, session.opened)
        }
        HookBody::MemberJoined(m) | HookBody::MemberLeft(m) => {
            format!("{kind} {} {}", m.room, m.user)
        }
        HookBody::RoomOccupied(room) | HookBody::RoomVacated(room) => format!("{kind} {room}"),
        other => format!("{other:?}"),
    }
}

fn node(instance: &str) -> (Arc<Sink>, FleetHooks) {
    let sink = Arc::new(Sink::default());
    let hooks = Hooks {
        instance: instance.into(),
        kinds: HookKind::ALL.into_iter().collect(),
        sink: sink.clone(),
    };
    (sink, FleetHooks::new(Arc::new(hooks), 2000))
}

fn rows(alive: &[(&str, bool)]) -> Vec<NodeRow> {
    let row = |(instance, alive): &(&str, bool)| NodeRow {
        instance: (*instance).into(),
        alive: *alive,
        figures: NodeFigures::default(),
    };
    alive.iter().map(row).collect()
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn share(rooms: &[&str]) -> Share {
    Share {
        sessions: vec![(SessionId(Uuid::from_u128(1)), "10.0.0.1".parse().unwrap())],
        status: Status::Online,
        username: None,
        rooms: rooms.iter().map(|room| RoomName::new(room).unwrap()).collect(),
        opened: vec![9],
    }
}

fn logged(id: &str, instance: &str, by: &str, entry: Entry) -> Logged {
    Logged { id: id.into(), instance: instance.into(), by: by.into(), entry }
}

fn users(name: &str, share: Option<Share>) -> Entry {
    Entry::Users(vec![(user(name), share)])
}

#[test]
fn all_nodes_see_the_same_and_the_first_one_tells_it() {
    let ((sink_a, mut a), (sink_b, mut b)) = (node("a#1"), node("b#2"));
    for hooks in [&mut a, &mut b] {
        hooks.scanned(Vec::new(), 0, 0);
        hooks.tick(&rows(&[("a#1", true), ("b#2", true)]), 0, 0);
    }
    let log = [
        logged("100-0", "b#2", "b#2", users("ann", Some(share(&["r"])))),
        logged("101-0", "a#1", "a#1", users("ann", Some(share(&["r", "user:ann"])))),
        logged("102-0", "b#2", "b#2", users("ann", None)),
    ];
    for entry in &log {
        assert!(!a.entry(entry, 1, 1) && !b.entry(entry, 1, 1));
    }
    let events = sink_a.0.lock().clone();
    assert_eq!(sink_a.take(), ["room.occupied r", "member.joined r ann"]);
    assert!(events.iter().all(|event| event.at == 100), "the time of the log");
    assert!(sink_b.take().is_empty());
    // The first one dies, and nobody knows whether it has told all.
    b.tick(&rows(&[("a#1", false), ("b#2", true)]), 2, 2);
    let again = sink_b.0.lock().clone();
    assert_eq!(sink_b.take(), ["room.occupied r", "member.joined r ann"]);
    let ids = |events: &[HookEvent]| events.iter().map(|e| e.id).collect::<Vec<_>>();
    assert_eq!(ids(&events), ids(&again), "the same ids");
    let swept = logged("103-0", "a#1", "b#2", users("ann", None));
    assert!(!b.entry(&swept, 3, 3));
    b.entry(&logged("104-0", "a#1", "b#2", Entry::Gone), 3, 3);
    assert_eq!(
        sink_b.take(),
        ["session.closed ann a#1 9 node_lost", "member.left r ann", "room.vacated r"]
    );
}

#[test]
fn a_node_learns_that_it_was_given_up() {
    let (sink, mut a) = node("a#1");
    a.scanned(Vec::new(), 0, 0);
    a.tick(&rows(&[("a#1", true)]), 0, 0);
    a.entry(&logged("1-0", "a#1", "a#1", users("ann", Some(share(&[])))), 0, 0);
    assert!(a.entry(&logged("2-0", "a#1", "b#2", users("ann", None)), 0, 0));
    assert_eq!(sink.take(), ["session.closed ann a#1 9 node_lost"]);
}

#[test]
fn redis_without_its_data_ends_nothing() {
    let (sink, mut a) = node("a#1");
    let scan = |users: &[&str], complete| {
        let listed = Listed { instance: "b#2".into(), complete };
        (listed, users.iter().map(|name| (user(name), share(&["r"]))).collect())
    };
    a.scanned(vec![scan(&["ann", "bob"], true)], 0, 0);
    a.tick(&rows(&[("a#1", true), ("b#2", true)]), 0, 0);
    assert!(sink.take().is_empty(), "others have told it");
    // The store is empty, then the other node tells all again; one user has gone.
    a.scanned(vec![], 1, 1);
    a.tick(&rows(&[("a#1", true)]), 1, 1);
    a.entry(&logged("1-0", "b#2", "b#2", Entry::Announcing), 2, 2);
    a.entry(&logged("1-1", "b#2", "b#2", users("ann", Some(share(&["r"])))), 2, 2);
    assert!(sink.take().is_empty());
    a.entry(&logged("1-2", "b#2", "b#2", Entry::Announced), 2, 2);
    assert_eq!(sink.take(), ["member.left r bob"]);
    // It is not there any more, and nobody swept up: a lease later it is over.
    a.scanned(vec![], 3, 3);
    a.tick(&rows(&[("a#1", true)]), 2002, 2002);
    assert!(sink.take().is_empty());
    a.tick(&rows(&[("a#1", true)]), 2003, 2003);
    assert_eq!(
        sink.take(),
        ["session.closed ann b#2 9 node_lost", "member.left r ann", "room.vacated r"]
    );
}
