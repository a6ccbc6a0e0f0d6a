//! What a backend is told by a fleet: everything once, also when nodes die.

use std::{collections::HashSet, time::Duration};

use serde_json::{Value, json};

use crate::{fleet::*, redis_server::Redis, support::*};

/// Time for a lease to end and what follows.
const DEATH: Duration = Duration::from_secs(15);

fn fleet(receiver: &Receiver, nodes: usize) -> Fleet {
    let url = receiver.url();
    let settings = [
        ("HUBBUB__WEBHOOKS__URL", url.as_str()),
        ("HUBBUB__WEBHOOKS__SECRET", HOOK_SECRET),
        ("HUBBUB__WEBHOOKS__EVENTS", "*"),
        ("HUBBUB__WEBHOOKS__RETRY_MAX_MS", "100"),
        GRACE,
        SHORT,
    ];
    Fleet::on(Redis::start(true), nodes, &settings)
}

fn reason(event: &Value) -> &str {
    event["data"]["reason"].as_str().unwrap()
}

/// Rooms and users with one event of a kind for each.
fn count(receiver: &Receiver, kind: &str) -> usize {
    receiver.events().iter().filter(|event| event["type"] == kind).count()
}

#[test]
fn a_fleet_tells_everything_once() {
    let receiver = Receiver::start();
    let fleet = fleet(&receiver, 3);
    // The same user on all nodes, at the same moment.
    let mut anns: Vec<Ws> = fleet.hubs.iter().map(|hub| hub.ws("ann")).collect();
    let asked: Vec<String> =
        anns.iter_mut().map(|ann| ann.ask(json!({"type": "join", "roomId": "r"}))).collect();
    for (ann, id) in anns.iter_mut().zip(&asked) {
        ann.answer_to(id).unwrap();
    }
    let bob = fleet.hubs[1].member("bob", "r");
    receiver.expect(3, "session.opened", "userId", "ann");
    receiver.expect(1, "member.joined", "userId", "ann");
    receiver.expect(1, "member.joined", "userId", "bob");
    receiver.expect(1, "room.occupied", "roomId", "r");
    let ack = anns[2].say("r", "hello");
    let told = receiver.expect(1, "message.published", "userId", "ann");
    assert_eq!((&told[0]["id"], &told[0]["data"]["nodeId"]), (&ack["messageId"], &json!("n2")));
    for ann in anns {
        ann.close();
    }
    let closed = receiver.expect(3, "session.closed", "userId", "ann");
    let nodes: HashSet<_> = closed.iter().map(|e| e["data"]["nodeId"].as_str().unwrap()).collect();
    assert_eq!(nodes, HashSet::from(["n0", "n1", "n2"]));
    receiver.expect(1, "member.left", "userId", "ann");
    assert_eq!(count(&receiver, "room.vacated"), 0);
    bob.close();
    receiver.expect(1, "room.vacated", "roomId", "r");
    // One node tells what concerns all: in one order.
    let rooms = receiver.events().into_iter().filter(|e| e["data"].get("sessionId").is_none());
    let rooms: Vec<_> = rooms.filter(|e| e["type"] != "message.published").collect();
    let by: HashSet<&str> = rooms.iter().map(|event| event["by"].as_str().unwrap()).collect();
    assert_eq!(by, HashSet::from(["n0"]), "{rooms:#?}");
    let kinds: Vec<&str> = rooms.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!((kinds[0], kinds[kinds.len() - 1]), ("room.occupied", "room.vacated"));
    assert_eq!(receiver.all().len(), receiver.events().len(), "nothing twice");
}

/// Sessions of users who are nowhere else, in a room of their own and in a shared one.
fn victims(hub: &Hub, names: &[&str]) -> Vec<Ws> {
    let member = |name: &&str| {
        let mut ws = hub.member(name, "shared");
        ws.join(&format!("room-of-{name}"));
        ws
    };
    names.iter().map(member).collect()
}

/// After a death: each of them is told to be gone, once, from that node.
fn expect_lost(receiver: &Receiver, node: &str, names: &[&str]) {
    for name in names {
        let closed = receiver.expect_within(DEATH, 1, "session.closed", "userId", name);
        assert_eq!((reason(&closed[0]), &closed[0]["data"]["nodeId"]), ("node_lost", &json!(node)));
        let opened = receiver.expect(1, "session.opened", "userId", name);
        assert_eq!(opened[0]["data"]["sessionId"], closed[0]["data"]["sessionId"]);
        receiver.expect_within(DEATH, 2, "member.left", "userId", name);
        receiver.expect(1, "room.vacated", "roomId", &format!("room-of-{name}"));
    }
}

#[test]
fn the_sessions_of_killed_nodes_are_told_to_be_closed() {
    let receiver = Receiver::start();
    let mut fleet = fleet(&receiver, 3);
    let names = ["vic", "val", "vox"];
    let _lost = victims(&fleet.hubs[2], &names);
    let stays = fleet.hubs[1].member("stays", "shared");
    for name in names {
        receiver.expect(2, "member.joined", "userId", name);
    }
    fleet.hubs[2].kill();
    expect_lost(&receiver, "n2", &names);
    // It comes back, and tells what it had open, as far as its file goes: the same events.
    let before = receiver.events().len();
    fleet.hubs[2].restart();
    fleet.complete();
    let _later = fleet.hubs[2].member("later", "shared");
    receiver.expect(1, "member.joined", "userId", "later");
    // Opened and joined; nothing else is new.
    assert_eq!(receiver.events().len(), before + 2);

    // Now the one that tells what concerns all.
    let names = ["uma", "una"];
    let _lost = victims(&fleet.hubs[0], &names);
    for name in names {
        receiver.expect(2, "member.joined", "userId", name);
    }
    fleet.hubs[0].kill();
    expect_lost(&receiver, "n0", &names);
    assert_eq!(count(&receiver, "room.vacated"), 5, "those of the victims");
    drop(stays);
    let closed = receiver.expect(1, "session.closed", "userId", "stays");
    assert_ne!(reason(&closed[0]), "node_lost");
    receiver.expect(1, "member.left", "userId", "stays");
    assert!(receiver.find("room.vacated", "roomId", "shared").is_empty());
}

#[test]
fn a_node_that_stood_still_tells_that_its_sessions_are_open() {
    let receiver = Receiver::start();
    let fleet = fleet(&receiver, 2);
    let vic = fleet.hubs[1].member("vic", "r");
    receiver.expect(1, "member.joined", "userId", "vic");
    fleet.hubs[1].signal("STOP");
    let lost = receiver.expect_within(DEATH, 1, "session.closed", "userId", "vic");
    assert_eq!(reason(&lost[0]), "node_lost");
    receiver.expect(1, "room.vacated", "roomId", "r");
    fleet.hubs[1].signal("CONT");
    let opened = receiver.expect_within(DEATH, 2, "session.opened", "userId", "vic");
    assert_eq!(opened[1]["data"]["again"], true);
    assert_eq!(opened[1]["data"]["sessionId"], opened[0]["data"]["sessionId"]);
    receiver.expect_within(DEATH, 2, "room.occupied", "roomId", "r");
    receiver.expect(2, "member.joined", "userId", "vic");
    vic.close();
    let closed = receiver.expect(2, "session.closed", "userId", "vic");
    assert_ne!(reason(&closed[1]), "node_lost");
    receiver.expect(2, "room.vacated", "roomId", "r");
}
