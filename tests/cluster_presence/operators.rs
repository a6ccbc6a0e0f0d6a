//! Operators and backends ask and order at any node.

use std::time::Duration;

use serde_json::json;

use crate::{fleet::*, support::*};

#[test]
fn every_node_says_the_same() {
    let fleet = Fleet::start(3, &[GRACE]);
    let _ann = fleet.hubs[0].member("ann", "r");
    let _bob = fleet.hubs[1].member("bob", "r");
    let _bob2 = fleet.hubs[2].member("bob", "s");
    let _carol = fleet.hubs[2].member("carol", "s");
    fleet.members_until(&[0, 1, 2], "r", &["ann", "bob"]);
    fleet.members_until(&[0, 1, 2], "s", &["bob", "carol"]);
    for hub in &fleet.hubs {
        let api = hub.api();
        let rooms = api.get("/api/rooms").expect(200);
        assert_eq!(
            rooms,
            json!({"rooms": [
                {"roomId": "r", "memberCount": 2}, {"roomId": "s", "memberCount": 2}
            ], "roomCount": 2, "hasMore": false})
        );
        let page = api.get("/api/rooms?limit=1").expect(200);
        assert_eq!((&page["hasMore"], &page["roomCount"]), (&json!(true), &json!(2)));
        let page = api.get("/api/rooms?limit=1&after=r").expect(200);
        assert_eq!(page["rooms"][0]["roomId"], "s");
        let page = api.get("/api/rooms/s/members?limit=1&after=bob").expect(200);
        assert_eq!(page["members"][0]["userId"], "carol", "{page}");
        assert_eq!(page["memberCount"], 2);
        assert_eq!(api.get("/api/rooms/s").expect(200)["memberCount"], 2);
        let bob = api.get("/api/users/bob").expect(200);
        assert_eq!(bob["rooms"], json!(["r", "s"]));
        assert_eq!(bob["socketCount"], 2);
        let sessions = bob["sessions"].as_array().unwrap();
        let nodes: Vec<_> = sessions.iter().map(|s| s["nodeId"].as_str().unwrap()).collect();
        assert_eq!(nodes, ["n1", "n2"], "the oldest first");
        assert!(sessions.iter().all(|s| s["ip"] == "127.0.0.1"), "{bob}");
        let opened = sessions[0]["openedAt"].as_str().unwrap();
        assert_eq!(opened[..4], bob["since"].as_str().unwrap()[..4], "{bob}");
        let stats = until("the figures of all nodes", SOON, || {
            let stats = hub.http().get("/api/ws/stats").expect(200);
            (stats["sessions"] == 4).then_some(stats)
        });
        assert_eq!((&stats["users"], &stats["nodes"]), (&json!(3), &json!(3)), "{stats}");
        assert_eq!((&stats["roomCount"], &stats["activeConnections"]), (&json!(2), &json!(4)));
        let nodes = api.get("/api/nodes").expect(200);
        assert_eq!((&nodes["nodeCount"], &nodes["users"]), (&json!(3), &json!(3)), "{nodes}");
        let list = nodes["nodes"].as_array().unwrap();
        let names: Vec<_> = list.iter().map(|n| n["nodeId"].as_str().unwrap()).collect();
        assert_eq!(names, ["n0", "n1", "n2"]);
        assert!(list.iter().all(|n| n["state"] == "ready" && n["version"] != ""), "{nodes}");
        assert_eq!(list.iter().filter(|n| n["own"] == true).count(), 1);
        let sessions: u64 = list.iter().map(|n| n["sessions"].as_u64().unwrap()).sum();
        assert_eq!(sessions, 4, "{nodes}");
        assert_eq!(hub.http().get("/api/nodes").status, 401);
    }
}

#[test]
fn a_dead_node_is_shown_as_gone_and_then_not_at_all() {
    let mut fleet = Fleet::start(2, &[GRACE, SHORT]);
    until("both are seen", SOON, || (states(&fleet).len() == 2).then_some(()));
    fleet.hubs[1].kill();
    until("it is gone", SOON, || (states(&fleet) == ["ready", "gone"]).then_some(()));
    until("it is forgotten", SOON, || (states(&fleet) == ["ready"]).then_some(()));
    assert_eq!(fleet.hubs[0].http().get("/api/ws/stats").expect(200)["nodes"], 1);
}

fn states(fleet: &Fleet) -> Vec<String> {
    let nodes = fleet.hubs[0].api().get("/api/nodes").expect(200);
    let states = nodes["nodes"].as_array().unwrap().iter().map(|n| n["state"].as_str());
    states.map(|state| state.unwrap().to_owned()).collect()
}

#[test]
fn a_user_is_sent_away_from_all_nodes() {
    let fleet = Fleet::start(3, &[GRACE]);
    let mut one = fleet.hubs[0].member("ann", "r");
    let mut two = fleet.hubs[1].member("ann", "r");
    let mut bob = fleet.hubs[1].member("bob", "r");
    member_until(&mut bob, "r", "ann", "online", 2);
    until("node 2 knows", SOON, || {
        let ann = fleet.hubs[2].api().get("/api/users/ann");
        (ann.status == 200 && ann.json()["socketCount"] == 2).then_some(())
    });
    let closed = fleet.hubs[2].api().delete("/api/users/ann/sessions").expect(200);
    assert_eq!(closed, json!({"closed": 2}));
    one.expect_close(4403);
    two.expect_close(4403);
    bob.expect("ann left", about("user_left", "ann"));
    // Without a ban the user may come back.
    let _back = fleet.hubs[1].member("ann", "r");
}

#[test]
fn a_ban_holds_on_every_node_and_over_a_restart() {
    let mut fleet = Fleet::start(3, &[GRACE, SHORT]);
    let mut ann = fleet.hubs[0].ws("ann");
    let answer = fleet.hubs[1].api().delete("/api/users/ann/sessions?ban_ms=600000").expect(200);
    assert!(answer["closed"].is_u64(), "{answer}");
    ann.expect_close(4403);
    let refused = |hub: &Hub| {
        until("the ban is known", SOON, || {
            let handshake = Handshake::new().bearer(&token("ann", json!({})));
            match handshake.open(hub.address) {
                Ok(mut ws) => {
                    // The ban was on its way.
                    ws.end();
                    None
                }
                Err(answer) => (answer.status == 403).then_some(()),
            }
        });
    };
    fleet.hubs.iter().for_each(refused);
    fleet.hubs[2].restart();
    until("it joined", SOON, || {
        fleet.hubs[2].log.find(|l| l["msg"] == "joined the cluster").map(|_| ())
    });
    refused(&fleet.hubs[2]);
    // A node that is new to the cluster knows it too.
    let fourth = hub(&fleet.redis, "n3", &[GRACE, SHORT]);
    until("it joined", SOON, || fourth.log.find(|l| l["msg"] == "joined the cluster").map(|_| ()));
    refused(&fourth);
    fleet.redis.restart(Duration::from_millis(100));
    let bans: Vec<String> =
        fleet.redis.ask(&["ZRANGE", &crate::redis_server::Redis::key("bans"), "0", "-1"]);
    assert_eq!(bans, ["ann"]);
}
