//! The sudden death of a node.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use crate::{fleet::*, redis_server::Redis, support::*};

/// Who is on the node that dies, and nowhere else.
const VICTIMS: [&str; 3] = ["vic", "val", "vox"];

/// Kills node 2 and looks at what the others are told, and what stays behind.
fn trial(fleet: &mut Fleet, bob: &mut Ws, carol: &mut Ws, within: Duration) {
    let mut lost = Vec::new();
    for (n, user) in VICTIMS.iter().enumerate() {
        let mut ws = fleet.hubs[2].member(user, "r");
        if n == 1 {
            ws.join("s");
        }
        lost.push(ws);
    }
    lost.push(fleet.hubs[2].member("dave", "r"));
    let mut dave = fleet.hubs[0].member("dave", "r");
    let all = ["bob", "carol", "dave", "vic", "val", "vox"];
    fleet.members_until(&[0, 1, 2], "r", &all);
    member_until(bob, "r", "dave", "online", 2);
    member_until(carol, "r", "dave", "online", 2);
    for watcher in [&mut *bob, &mut *carol] {
        for user in VICTIMS.iter().chain(&["dave"]) {
            watcher.expect(user, about("user_joined", user));
        }
        watcher.fence();
        watcher.take(|_| true);
    }
    let killed = Instant::now();
    fleet.hubs[2].kill();
    for watcher in [&mut *bob, &mut *carol] {
        for user in VICTIMS {
            watcher.expect_within(user, within, offline(user));
            watcher.expect_within(user, within, about("user_left", user));
        }
        assert!(killed.elapsed() < within, "told after {:?}", killed.elapsed());
    }
    fleet.members_until(&[0, 1], "r", &["bob", "carol", "dave"]);
    member_until(bob, "r", "dave", "online", 1);
    // Nothing twice, and nothing about those who are there.
    for watcher in [&mut *bob, &mut *carol] {
        let wrong = watcher.find(Duration::from_millis(300), |e| {
            e["type"] == "user_left" || e["type"] == "user_joined" || e["status"] == "offline"
        });
        assert!(wrong.is_none(), "{wrong:?}");
    }
    // No ghosts, neither in what the nodes say nor in Redis.
    let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
    until("Redis has none of the dead node", SOON, || {
        let redis = &fleet.redis;
        let clean = redis.nodes().len() == 2
            && redis.holders().is_subset(&redis.nodes())
            && redis.online() == set(&["bob", "carol", "dave"]);
        clean.then_some(())
    });
    for hub in &fleet.hubs[..2] {
        for user in VICTIMS {
            hub.api().get(&format!("/api/users/{user}")).expect_error(404, "not_found");
        }
        let rooms = hub.api().get("/api/rooms").expect(200);
        assert_eq!(rooms["roomCount"], 1, "{rooms}");
        assert_eq!(rooms["rooms"][0]["memberCount"], 3, "{rooms}");
    }
    dave.ok(serde_json::json!({"type": "leave", "roomId": "r"}));
    dave.close();
    for watcher in [&mut *bob, &mut *carol] {
        watcher.expect("dave left", about("user_left", "dave"));
    }
    until("dave is offline", SOON, || (!fleet.redis.online().contains("dave")).then_some(()));
    fleet.hubs[2].restart();
    fleet.complete();
}

#[test]
fn twenty_deaths_leave_no_ghost_and_nobody_twice() {
    let mut fleet = Fleet::start(3, &[GRACE, SHORT]);
    let mut bob = fleet.hubs[0].member("bob", "r");
    let mut carol = fleet.hubs[1].member("carol", "r");
    bob.expect("carol", about("user_joined", "carol"));
    for n in 0..20 {
        eprintln!("trial {n}");
        trial(&mut fleet, &mut bob, &mut carol, Duration::from_secs(6));
    }
}

/// One trial with the default lease; `HUBBUB_DEATHS` asks for more of them.
#[test]
fn the_default_lease_ends_within_ten_seconds() {
    let mut fleet = Fleet::start(3, &[]);
    let mut bob = fleet.hubs[0].member("bob", "r");
    let mut carol = fleet.hubs[1].member("carol", "r");
    bob.expect("carol", about("user_joined", "carol"));
    let trials = std::env::var("HUBBUB_DEATHS").map_or(1, |n| n.parse().unwrap());
    for n in 0..trials {
        eprintln!("trial {n}");
        trial(&mut fleet, &mut bob, &mut carol, Duration::from_secs(10));
    }
}

#[test]
fn back_within_five_seconds_nobody_notices() {
    let mut fleet = Fleet::start(3, &[]);
    let mut bob = fleet.hubs[0].member("bob", "r");
    let old: Vec<Ws> = VICTIMS.map(|user| fleet.hubs[2].member(user, "r")).into();
    for user in VICTIMS {
        bob.expect(user, about("user_joined", user));
    }
    let killed = Instant::now();
    fleet.hubs[2].kill();
    drop(old);
    thread::sleep(Duration::from_secs(4).saturating_sub(killed.elapsed()));
    fleet.hubs[2].restart();
    // Two come back to the same node, one to another.
    let back: Vec<Ws> = VICTIMS
        .iter()
        .zip([2, 2, 1])
        .map(|(user, node)| fleet.hubs[node].member(user, "r"))
        .collect();
    assert!(killed.elapsed() < Duration::from_millis(5500), "the machine is too slow");
    let wrong = bob.find(Duration::from_secs(7), |e| {
        e["type"] == "user_left" || e["type"] == "user_joined" || e["status"] == "offline"
    });
    assert!(wrong.is_none(), "{wrong:?}");
    until("the old instance is swept", SOON, || (fleet.redis.nodes().len() == 3).then_some(()));
    fleet.members_until(&[0, 1, 2], "r", &["bob", "vic", "val", "vox"]);
    assert!(fleet.redis.holders().is_subset(&fleet.redis.nodes()));
    drop(back);
}

#[test]
fn a_node_that_stood_still_comes_back_whole() {
    let fleet = Fleet::start(3, &[GRACE, SHORT]);
    let mut bob = fleet.hubs[0].member("bob", "r");
    let mut vic = fleet.hubs[2].member("vic", "r");
    bob.expect("vic", about("user_joined", "vic"));
    fleet.hubs[2].signal("STOP");
    bob.expect_within("vic left", Duration::from_secs(6), about("user_left", "vic"));
    until("it is swept", SOON, || (fleet.redis.nodes().len() == 2).then_some(()));
    fleet.hubs[2].signal("CONT");
    bob.expect("vic is back", about("user_joined", "vic"));
    fleet.complete();
    fleet.members_until(&[0, 1, 2], "r", &["bob", "vic"]);
    vic.fence();
    vic.none_kept("departure of others", kind("user_left"));
}

#[test]
fn a_drained_node_hands_over_without_a_flap() {
    let settings = [("HUBBUB__PRESENCE__OFFLINE_GRACE_MS", "2000"), SHORT];
    let mut fleet = Fleet::start(3, &settings);
    let mut bob = fleet.hubs[0].member("bob", "r");
    let vic = fleet.hubs[2].member("vic", "r");
    let val = fleet.hubs[2].member("val", "r");
    bob.expect("vic", about("user_joined", "vic"));
    bob.expect("val", about("user_joined", "val"));
    fleet.hubs[2].signal("TERM");
    assert!(fleet.hubs[2].wait_exit(SOON).success());
    drop((vic, val));
    let _vic = fleet.hubs[1].member("vic", "r");
    // The one that does not come back is told once, the other not at all.
    bob.expect("val is offline", offline("val"));
    bob.expect("val left", about("user_left", "val"));
    let wrong = bob.find(Duration::from_secs(2), |e| {
        e["type"] == "user_left" || e["type"] == "user_joined" || e["status"] == "offline"
    });
    assert!(wrong.is_none(), "{wrong:?}");
    until("it is gone", SOON, || (fleet.redis.nodes().len() == 2).then_some(()));
    fleet.members_until(&[0, 1], "r", &["bob", "vic"]);
    let told: Vec<String> = fleet.redis.ask(&["HKEYS", &Redis::key("told")]);
    assert_eq!(told.len(), 2, "{told:?}");
}
