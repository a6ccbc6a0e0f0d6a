//! A history that forgets a room in which somebody still is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hubbub_actors::clock::Clock;
use hubbub_protocol::id::RoomName;
use serde_json::json;

use super::{Node, closed};

/// Longer than any room is kept in which nothing is said.
const LONG: u64 = 2 * 24 * 3_600_000;

#[actix_rt::test]
async fn a_room_that_is_forgotten_while_somebody_is_in_it_begins_anew_for_all() {
    let later = Arc::new(AtomicU64::new(0));
    let (system, moved) = (Clock::system(), later.clone());
    let clock = Clock::new(move || system.now() + moved.load(Ordering::Relaxed));
    let node = Node::start_at(closed(), clock);
    let mut first = node.session("ann", &["idle"]).await;
    first.send(json!({"type": "message", "roomId": "idle", "content": "one"}));
    let one = first.expect("message").await;

    later.store(LONG, Ordering::Relaxed);
    let history = node.state.hub.shared().history.clone();
    let idle = RoomName::new("idle").unwrap();
    for n in 0.. {
        // The store looks for rooms to forget where it stores.
        let path = format!("/api/rooms/other-{n}/messages");
        let (status, answer) = node.post(&path, json!({"content": "hello"})).await;
        assert!(status.is_success(), "{answer}");
        if history.peek(&idle).await.unwrap().is_none() {
            break;
        }
        assert!(n < 5000, "the room is never forgotten");
    }

    // Who comes back to it reads the store, which knows nothing of the room any more.
    let mut second = node.session("bob", &[]).await;
    let since = json!({"epoch": one["epoch"], "offset": one["offset"]});
    second.send(json!({"type": "join", "roomId": "idle", "since": since}));
    assert_eq!(second.expect("joined").await["recovered"], false);
    second.send(json!({"type": "message", "roomId": "idle", "content": "two"}));
    let (here, there) = tokio::join!(first.expect("message"), second.expect("message"));
    for two in [&here, &there] {
        assert_eq!((&two["content"], &two["offset"]), (&json!("two"), &json!(1)), "{two}");
        assert_ne!(two["epoch"], one["epoch"]);
    }
    // Both hear the room as any other.
    first.send(json!({"type": "message", "roomId": "idle", "content": "three"}));
    for client in [&mut first, &mut second] {
        let heard = tokio::time::timeout(Duration::from_secs(10), client.expect("message"));
        assert_eq!(heard.await.unwrap()["content"], "three");
    }
}
