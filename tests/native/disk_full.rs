//! A full disk: what cannot be stored is refused, the rest goes on.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::support::*;

fn publish(n: usize) -> Value {
    let content = format!("{n} {}", "x".repeat(4000));
    json!({"type": "message", "roomId": "r", "content": content})
}

fn history_on(disk: &Path) -> String {
    disk.join("history").to_str().unwrap().to_owned()
}

#[test]
fn publishes_are_refused_and_the_rest_goes_on() {
    let Some(disk) = SmallDisk::mount(6) else { return };
    let path = history_on(disk.path());
    let mut hub = Hub::start(&[UNLIMITED, ("HUBBUB__HISTORY__PATH", &path)]);
    let mut ann = hub.member("ann", "r");
    let mut bob = hub.member("bob", "r");
    let mut acked: Vec<(u64, Value)> = Vec::new();
    for n in 0..20 {
        let ack = ann.ok(publish(n));
        acked.push((ack["offset"].as_u64().unwrap(), ack["messageId"].clone()));
    }
    let ballast = disk.fill();
    // Space the store had set aside may take a few more.
    let refused = (20..2000).find_map(|n| match ann.request(publish(n)) {
        Ok(ack) => {
            acked.push((ack["offset"].as_u64().unwrap(), ack["messageId"].clone()));
            None
        }
        Err(error) => Some(error),
    });
    let refused = refused.expect("a full disk refuses a publish");
    assert_eq!(refused["code"], "unavailable", "{refused}");
    let answer = hub.api().post("/api/rooms/r/messages", &json!({"content": "x".repeat(4000)}));
    answer.expect_error(503, "unavailable");

    // Everything that needs no disk goes on, for old and for new members.
    ann.ok(json!({"type": "event", "roomId": "r", "name": "v", "data": 1, "volatile": true}));
    bob.expect("a volatile event", |e| e["type"] == "event" && e["name"] == "v");
    ann.ok(json!({"type": "typing", "roomId": "r", "isTyping": true}));
    bob.expect("typing", |e| e["type"] == "typing" && e["isTyping"] == true);
    let mut carol = hub.ws("carol");
    assert_eq!(carol.join("r")["memberCount"], 3);
    carol.join("a room never seen before");
    assert_eq!(bob.expect("carol", kind("user_joined"))["userId"], "carol");
    let page = carol.ok(json!({"type": "history", "roomId": "r", "after": 0, "limit": 10}));
    assert_eq!(page["messages"].as_array().unwrap().len(), 10, "reading goes on");
    assert_eq!(hub.http().get("/healthz").status, 200);
    assert!(hub.is_running());

    // With space again it works again, without a hole and without a restart.
    fs::remove_file(ballast).unwrap();
    let ack = until("publishing works again", SOON, || ann.request(publish(9000)).ok());
    acked.push((ack["offset"].as_u64().unwrap(), ack["messageId"].clone()));
    let offsets: Vec<u64> = acked.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, (1..=acked.len() as u64).collect::<Vec<_>>(), "no hole, no repetition");

    // And after a kill what was acknowledged is what is there.
    hub.restart();
    let mut ws = hub.member("reader", "r");
    let mut found = Vec::new();
    loop {
        let page =
            ws.ok(json!({"type": "history", "roomId": "r", "after": found.len(), "limit": 200}));
        for message in page["messages"].as_array().unwrap() {
            found.push((message["offset"].as_u64().unwrap(), message["id"].clone()));
        }
        if page["hasMore"] == false {
            break;
        }
    }
    assert_eq!(found, acked);
}

#[test]
fn a_store_that_cannot_be_opened_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    fs::write(&file, "in the way").unwrap();
    let output = hubbub()
        .env("HUBBUB__SERVER__LISTEN", "127.0.0.1:0")
        .env("HUBBUB__HISTORY__PATH", file.join("below"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("a-file") && !said.contains("panicked"), "{said}");
}
