#![allow(clippy::unwrap_used)]
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use hubbub_protocol::id::{RoomName, SessionId, UserId};
use prometheus::Registry;
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::hooks::{HookBody, HookKind, HookMember, HookSession};

fn config(folder: Option<&TempDir>) -> QueueConfig {
    QueueConfig {
        folder: folder.map(|folder| folder.path().join("queue")),
        kinds: HookKind::ALL.into_iter().collect(),
        max_events: 1000,
        max_bytes: 1 << 20,
        retention_ms: 60_000,
        alone: true,
    }
}

struct Node {
    queue: HookQueue,
    metrics: HookMetrics,
    time: Arc<AtomicU64>,
}

fn open(config: QueueConfig) -> Node {
    let metrics = HookMetrics::new(&Registry::new()).unwrap();
    let time = Arc::new(AtomicU64::new(1_000_000));
    let now = time.clone();
    let clock = Clock::new(move || now.load(Ordering::Relaxed));
    // The file of one before is let go of by its thread.
    let deadline = Instant::now() + Duration::from_secs(10);
    let queue = loop {
        match HookQueue::open(config.clone(), metrics.clone(), clock.clone()) {
            Err(QueueError::InUse(_)) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => break opened.unwrap(),
        }
    };
    Node { queue, metrics, time }
}

fn session(n: u128) -> HookSession {
    HookSession {
        id: SessionId(Uuid::from_u128(n)),
        user: UserId::new(format!("u{n}")).unwrap(),
        username: Some("Ann".into()),
        instance: "n1#0123abcd".into(),
        opened: 5,
    }
}

fn opened(n: u128) -> HookEvent {
    HookEvent::opened(session(n), "json", false)
}

fn of_room(body: HookBody) -> HookEvent {
    HookEvent::of_room(body, 6, None)
}

fn member(user: &str) -> HookMember {
    HookMember {
        room: RoomName::new("r").unwrap(),
        user: UserId::new(user).unwrap(),
        username: None,
    }
}

impl Node {
    /// What waits, once so much does.
    async fn wait(&self, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let batch = self.queue.peek(10_000, usize::MAX).await.unwrap();
            if batch.events.len() == count {
                return batch
                    .events
                    .iter()
                    .map(|event| serde_json::from_str(&event.json).unwrap())
                    .collect();
            }
            assert!(Instant::now() < deadline, "{count} events, not {batch:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn field<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().map(|event| &event[name]).collect()
}

#[actix_rt::test]
async fn events_wait_in_order_until_they_are_sent() {
    let folder = tempfile::tempdir().unwrap();
    for folder in [None, Some(&folder)] {
        let node = open(config(folder));
        for n in 0..5 {
            node.queue.emit(opened(n));
        }
        let events = node.wait(5).await;
        assert_eq!(field(&events, "seq"), [1, 2, 3, 4, 5]);
        let users: Vec<_> = events.iter().map(|e| e["data"]["userId"].as_str().unwrap()).collect();
        assert_eq!(users, ["u0", "u1", "u2", "u3", "u4"]);
        assert_eq!(events[0]["id"], opened(0).id.to_string());
        let two = node.queue.peek(2, usize::MAX).await.unwrap().events;
        assert_eq!(two.len(), 2);
        let small = node.queue.peek(5, two[0].json.len() + 10).await.unwrap().events;
        assert_eq!(small.len(), 1);
        assert!(node.queue.sent(2).await);
        assert_eq!(field(&node.wait(3).await, "seq"), [3, 4, 5]);
        assert_eq!((node.metrics.queued.get(), node.metrics.waiting.get()), (5, 3));
        assert!(node.metrics.waiting_bytes.get() > 300);
        node.queue.finish();
    }
}

#[actix_rt::test]
async fn a_file_goes_on_where_it_was_and_tells_what_stood() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(config(Some(&folder)));
    let id = node.queue.id().to_owned();
    node.queue.emit(opened(1));
    node.queue.emit(opened(2));
    node.queue.emit(of_room(HookBody::RoomOccupied(member("u1").room)));
    for user in ["u1", "u2"] {
        node.queue.emit(of_room(HookBody::MemberJoined(member(user))));
    }
    node.queue.emit(of_room(HookBody::MemberLeft(member("u2"))));
    node.queue.emit(HookEvent::closed(session(2), "client_gone", 9));
    node.wait(7).await;
    // As with a kill: nobody says that it ends.
    node.queue.finish();
    let node = open(config(Some(&folder)));
    assert_eq!(node.queue.id(), id);
    let events = node.wait(10).await;
    assert_eq!(field(&events, "seq"), (1..=10).collect::<Vec<_>>());
    assert_eq!(field(&events[7..], "type"), ["session.closed", "member.left", "room.vacated"]);
    let closed = &events[7];
    assert_eq!(closed["id"], HookEvent::closed(session(1), "x", 0).id.to_string());
    assert_eq!(closed["data"]["reason"], "node_lost");
    assert_eq!(closed["data"]["username"], "Ann");
    assert_eq!(closed["data"]["nodeId"], "n1");
    assert_eq!(events[8]["data"]["userId"], "u1");
    node.queue.finish();
    // Only once.
    assert_eq!(open(config(Some(&folder))).wait(10).await.len(), 10);
}

#[actix_rt::test]
async fn in_a_fleet_rooms_are_not_one_nodes_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = QueueConfig { alone: false, ..config(Some(&folder)) };
    let node = open(fleet.clone());
    node.queue.emit(opened(1));
    node.queue.emit(of_room(HookBody::MemberJoined(member("u1"))));
    node.wait(2).await;
    node.queue.finish();
    let events = open(fleet).wait(3).await;
    assert_eq!(events[2]["type"], "session.closed");
}

#[actix_rt::test]
async fn the_end_of_the_node_tells_what_stands() {
    let node = open(config(None));
    node.queue.emit(opened(1));
    let closing = node.queue.close();
    node.queue.emit(opened(2));
    let sent = async {
        loop {
            let batch = node.queue.peek(100, usize::MAX).await.unwrap();
            if batch.last {
                node.queue.finish();
                return batch.events;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let (events, ()) = tokio::join!(sent, closing);
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events[1].json.contains(r#""reason":"draining""#), "{events:?}");
    assert!(node.queue.peek(1, 1).await.is_none(), "it has ended");
}

#[actix_rt::test]
async fn beyond_the_bounds_events_are_dropped_and_leave_a_hole() {
    let node = open(QueueConfig { max_events: 3, ..config(None) });
    for n in 0..5 {
        node.queue.emit(opened(n));
    }
    node.wait(3).await;
    let dropped = node.metrics.dropped.with_label_values(&["full"]);
    let deadline = Instant::now() + Duration::from_secs(10);
    while dropped.get() < 2 {
        assert!(Instant::now() < deadline, "{}", dropped.get());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(node.queue.sent(1).await);
    node.queue.emit(opened(9));
    assert_eq!(field(&node.wait(3).await, "seq"), [2, 3, 6]);

    let node = open(QueueConfig { max_bytes: 700, ..config(None) });
    for n in 0..9 {
        node.queue.emit(opened(n));
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    let dropped = node.metrics.dropped.with_label_values(&["full"]);
    while node.metrics.queued.get() + dropped.get() < 9 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!((1..5).contains(&node.metrics.queued.get()), "{}", node.metrics.queued.get());
}

#[actix_rt::test]
async fn what_waits_too_long_goes() {
    let node = open(config(None));
    node.queue.emit(opened(1));
    node.wait(1).await;
    node.time.fetch_add(50_000, Ordering::Relaxed);
    node.queue.emit(opened(2));
    node.wait(2).await;
    node.time.fetch_add(10_001, Ordering::Relaxed);
    assert_eq!(field(&node.wait(1).await, "seq"), [2]);
    assert_eq!(node.metrics.dropped.with_label_values(&["expired"]).get(), 1);
}

#[actix_rt::test]
async fn what_nobody_asks_for_still_counts_for_what_stands() {
    let folder = tempfile::tempdir().unwrap();
    let kinds: HookKinds = [HookKind::SessionClosed].into_iter().collect();
    let only = QueueConfig { kinds, ..config(Some(&folder)) };
    let node = open(only.clone());
    node.queue.emit(opened(1));
    node.queue.emit(opened(2));
    node.queue.emit(HookEvent::closed(session(2), "client_gone", 9));
    assert_eq!(node.wait(1).await[0]["seq"], 1);
    node.queue.finish();
    let events = open(only).wait(2).await;
    assert_eq!(events[1]["data"]["userId"], "u1");
}

#[actix_rt::test]
async fn one_process_has_the_file_and_strange_ones_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let _node = open(config(Some(&folder)));
    let metrics = HookMetrics::new(&Registry::new()).unwrap();
    let second = HookQueue::open(config(Some(&folder)), metrics.clone(), Clock::system());
    assert!(matches!(second, Err(QueueError::InUse(_))));

    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("queue")).unwrap();
    std::fs::write(folder.path().join("queue").join(file::NAME), [7; 4096]).unwrap();
    let strange = HookQueue::open(config(Some(&folder)), metrics, Clock::system());
    assert!(matches!(strange, Err(QueueError::Foreign(_))));
}
