//! `kill -9` in the middle of a flood: what was acknowledged is there.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::*;

const SENDERS: usize = 5;
const WINDOW: usize = 32;

/// What one sender knows when the hub dies.
struct Sent {
    user: String,
    /// Key to message id and offset.
    acked: BTreeMap<String, (Value, u64)>,
    /// Keys sent and never answered.
    open: Vec<String>,
}

fn request(key: &str) -> Value {
    json!({"type": "message", "roomId": "r", "content": format!("content of {key}"), "key": key})
}

/// Sends with up to [`WINDOW`] requests under way until the connection ends.
fn flood(mut ws: Ws, user: String) -> Sent {
    let mut waiting: HashMap<String, String> = HashMap::new();
    let mut sent = Sent { user, acked: BTreeMap::new(), open: Vec::new() };
    for n in 0.. {
        let key = format!("{}-{n}", sent.user);
        waiting.insert(ws.ask(request(&key)), key);
        while waiting.len() >= WINDOW {
            let Some(event) = ws.next_event(Instant::now() + SOON) else {
                sent.open = waiting.into_values().collect();
                return sent;
            };
            if event["type"] == "ack" {
                let key = waiting.remove(event["id"].as_str().unwrap()).expect("one ack each");
                let offset = event["offset"].as_u64().unwrap();
                sent.acked.insert(key, (event["messageId"].clone(), offset));
            }
            assert_ne!(event["type"], "error", "{event}");
        }
    }
    unreachable!()
}

/// The whole history of the room by offset.
fn read_all(ws: &mut Ws) -> BTreeMap<u64, Value> {
    let mut all = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = ws.ok(json!({"type": "history", "roomId": "r", "after": after, "limit": 200}));
        for message in page["messages"].as_array().unwrap() {
            after = message["offset"].as_u64().unwrap();
            assert!(all.insert(after, message.clone()).is_none(), "offset {after} twice");
        }
        if page["hasMore"] == false {
            return all;
        }
    }
}

fn assert_whole(all: &BTreeMap<u64, Value>) {
    assert!(all.keys().copied().eq(1..=all.len() as u64), "the offsets have a hole");
    let contents: HashSet<&str> = all.values().map(|m| m["content"].as_str().unwrap()).collect();
    assert_eq!(contents.len(), all.len(), "a message is there twice");
    let ids: HashSet<&str> = all.values().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), all.len(), "an id is there twice");
}

#[test]
fn every_acknowledged_message_survives() {
    let mut hub = Hub::start(&[
        UNLIMITED,
        ("HUBBUB__HISTORY__MAX_MESSAGES", "1000000"),
        ("HUBBUB__SESSION__OUTBOUND_MAX_BYTES", "67108864"),
    ]);
    let epoch = hub.ws("watcher").join("r")["epoch"].clone();
    let running: Vec<_> = (0..SENDERS)
        .map(|i| {
            let user = format!("sender{i}");
            let ws = hub.member(&user, "r");
            thread::spawn(move || flood(ws, user))
        })
        .collect();
    hub.metric_until("hubbub_publishes_total", &[], |n| n > 300.0);
    // Not at a boundary the hub could have prepared for.
    thread::sleep(Duration::from_millis(237));
    hub.kill();
    let sent: Vec<Sent> = running.into_iter().map(|t| t.join().unwrap()).collect();
    let acked: usize = sent.iter().map(|s| s.acked.len()).sum();
    assert!(acked > 200, "only {acked} were acknowledged");

    hub.restart();
    let mut ws = hub.ws("reader");
    let joined = ws.join("r");
    assert_eq!(joined["epoch"], epoch, "the history goes on");
    let all = read_all(&mut ws);
    assert_whole(&all);
    assert_eq!(joined["offset"], all.len());
    for (key, (id, offset)) in sent.iter().flat_map(|s| &s.acked) {
        let stored = all.get(offset).unwrap_or_else(|| panic!("{key} at {offset} is lost"));
        assert_eq!(&stored["id"], id, "{key}");
        assert_eq!(stored["content"], format!("content of {key}"));
    }

    // The senders come back and send again what they do not know, and some of
    // what they do know.
    for sender in &sent {
        let mut ws = hub.ws(&sender.user);
        ws.join("r");
        for (key, (id, offset)) in sender.acked.iter().rev().take(40) {
            let again = ws.ok(request(key));
            assert_eq!((&again["messageId"], &again["offset"]), (id, &json!(offset)), "{key}");
        }
        for key in &sender.open {
            ws.ok(request(key));
        }
    }
    let after = read_all(&mut ws);
    assert_whole(&after);
    let known: usize = sent.iter().map(|s| s.acked.len() + s.open.len()).sum();
    assert_eq!(after.len(), known, "each key exactly once");
    assert!(all.iter().all(|(offset, m)| after[offset]["id"] == m["id"]));
}
