//! Receipts over several nodes: told wherever the author is, kept where every node can
//! answer, and not lost while Redis is away.

use std::{thread, time::Duration};

use serde_json::json;

use crate::{load::Fleet, support::*};

const ON: [(&str, &str); 2] =
    [("HUBBUB__RECEIPTS__VOCABULARIES", "hubbub"), ("HUBBUB__RECEIPTS__INTERVAL_MS", "20")];

/// Waits until every node says who has a message.
fn until_everywhere(fleet: &Fleet, message: u64, wanted: &[(&str, &str)]) {
    let wanted: Vec<_> =
        wanted.iter().map(|(user, status)| json!({"userId": user, "status": status})).collect();
    for hub in &fleet.hubs {
        until("the node knows the receipts", SOON, || {
            let path = format!("/api/rooms/r/messages/{message}/receipts");
            let answer = hub.api().get(&path).expect(200);
            (answer["users"] == json!(wanted)).then_some(())
        });
    }
}

#[test]
fn authors_hear_from_members_on_every_node() {
    let redis = RedisServer::start(&[]);
    let fleet = Fleet::start(2, &redis.url(), &ON);
    let mut ann = fleet.hubs[0].member("ann", "r");
    // A user with two devices on two nodes: the one that is further counts.
    let (mut here, mut there) =
        (fleet.hubs[0].member("bob", "r"), fleet.hubs[1].member("bob", "r"));
    for text in ["one", "two"] {
        ann.say("r", text);
    }
    for ws in [&mut here, &mut there] {
        ws.hears("two");
    }
    there.ok(json!({"type": "delivered", "roomId": "r", "offset": 2}));
    let told = ann.expect_kind("receipt");
    assert_eq!(
        told,
        json!({"type": "receipt", "roomId": "r", "userId": "bob", "offset": 2,
        "status": "delivered"})
    );
    until_everywhere(&fleet, 2, &[("bob", "delivered")]);
    here.ok(json!({"type": "delivered", "roomId": "r", "offset": 1}));
    here.ok(json!({"type": "read", "roomId": "r", "offset": 1}));
    assert_eq!(ann.expect_kind("receipt")["status"], "read");
    until_everywhere(&fleet, 1, &[("bob", "read")]);
    until_everywhere(&fleet, 2, &[("bob", "delivered")]);
    ann.fence();
    ann.none_kept("a late receipt", kind("receipt"));
    // One hash for the room, which goes by itself.
    let kept = redis.command(&["HGETALL", "hubbub:{r}:receipts"]);
    assert!(kept.contains("u:bob") && kept.contains("2 1"), "{kept}");
    let ttl = redis.command(&["PTTL", "hubbub:{r}:receipts"]);
    let ttl: u64 = ttl.trim().trim_start_matches(':').parse().unwrap();
    assert!(ttl > 86_000_000 && ttl <= 86_400_000, "{ttl}");
}

#[test]
fn what_comes_while_redis_is_away_is_kept_when_it_is_back() {
    let redis = RedisServer::start(&[]);
    let fleet = Fleet::start(2, &redis.url(), &ON);
    let (mut ann, mut bob) = (fleet.hubs[0].member("ann", "r"), fleet.hubs[1].member("bob", "r"));
    ann.say("r", "one");
    bob.hears("one");
    redis.signal("STOP");
    bob.ok(json!({"type": "delivered", "roomId": "r", "offset": 1}));
    // Longer than an answer may take.
    thread::sleep(Duration::from_millis(2500));
    redis.signal("CONT");
    assert_eq!(ann.expect_kind("receipt")["offset"], 1);
    until_everywhere(&fleet, 1, &[("bob", "delivered")]);
}
