//! One user, one room, seen from several nodes.

use std::time::Duration;

use serde_json::json;

use crate::{fleet::*, support::*};

#[test]
fn a_room_is_one_room_on_all_nodes() {
    let fleet = Fleet::start(3, &[GRACE]);
    let mut ann = fleet.hubs[0].member("ann", "r");
    fleet.members_until(&[0, 1, 2], "r", &["ann"]);
    let mut bob = fleet.hubs[1].ws("bob");
    let joined = bob.join("r");
    let members = joined["members"].as_array().unwrap();
    assert_eq!(members.len(), 2, "{joined}");
    assert_eq!(joined["memberCount"], 2, "{joined}");
    ann.expect("bob", about("user_joined", "bob"));
    let mut carol = fleet.hubs[2].member("carol", "r");
    ann.expect("carol", about("user_joined", "carol"));
    bob.expect("carol", about("user_joined", "carol"));
    ann.ok(json!({"type": "presence", "status": "away"}));
    for other in [&mut bob, &mut carol] {
        other.expect("ann is away", |e| {
            e["type"] == "presence" && e["userId"] == "ann" && e["status"] == "away"
        });
        member_until(other, "r", "ann", "away", 1);
    }
    carol.ok(json!({"type": "leave", "roomId": "r"}));
    ann.expect("carol left", about("user_left", "carol"));
    bob.expect("carol left", about("user_left", "carol"));
    bob.close();
    ann.expect("bob is offline", offline("bob"));
    ann.expect("bob left", about("user_left", "bob"));
    ann.none_kept("second copies", |e| e["type"] == "user_joined" || e["type"] == "user_left");
    fleet.members_until(&[0, 1, 2], "r", &["ann"]);
    until("the set follows", SOON, || {
        (fleet.redis.online() == ["ann", "carol"].map(String::from).into()).then_some(())
    });
}

#[test]
fn two_tabs_on_two_nodes_are_one_user() {
    let fleet = Fleet::start(3, &[GRACE]);
    let mut bob = fleet.hubs[2].member("bob", "r");
    let one = fleet.hubs[0].member("ann", "r");
    bob.expect("ann", about("user_joined", "ann"));
    let two = fleet.hubs[1].member("ann", "r");
    member_until(&mut bob, "r", "ann", "online", 2);
    for hub in &fleet.hubs {
        let user = until("both tabs are known", SOON, || {
            let user = hub.api().get("/api/users/ann").expect(200);
            (user["socketCount"] == 2).then_some(user)
        });
        assert_eq!(user["status"], "online", "{user}");
        assert_eq!(user["rooms"], json!(["r"]));
    }
    one.close();
    member_until(&mut bob, "r", "ann", "online", 1);
    // Longer than the grace of the first tab.
    assert!(bob.find(Duration::from_millis(800), offline("ann")).is_none());
    bob.none_kept("departure", |e| e["type"] == "user_left" || e["type"] == "user_joined");
    two.close();
    bob.expect("ann is offline", offline("ann"));
    bob.expect("ann left", about("user_left", "ann"));
    assert!(bob.find(Duration::from_millis(600), about("user_left", "ann")).is_none());
    fleet.members_until(&[0, 1, 2], "r", &["bob"]);
}

#[test]
fn who_moves_to_another_node_within_the_grace_was_never_away() {
    let fleet = Fleet::start(2, &[("HUBBUB__PRESENCE__OFFLINE_GRACE_MS", "1500")]);
    let mut bob = fleet.hubs[0].member("bob", "r");
    let mut ann = fleet.hubs[0].member("ann", "r");
    for node in [1, 0, 1] {
        ann.close();
        ann = fleet.hubs[node].member("ann", "r");
        member_until(&mut bob, "r", "ann", "online", 1);
    }
    assert!(bob.find(Duration::from_millis(2200), offline("ann")).is_none());
    bob.none_kept("departure", about("user_left", "ann"));
    assert_eq!(bob.take(kind("user_joined")).len(), 1);
}
