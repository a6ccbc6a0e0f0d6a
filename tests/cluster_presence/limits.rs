//! What counts over all nodes, and names that must not be taken twice.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{fleet::*, support::*};

#[test]
fn too_many_sessions_are_too_many_on_all_nodes_together() {
    let settings = [GRACE, ("HUBBUB__LIMITS__MAX_SESSIONS_PER_USER", "2")];
    let fleet = Fleet::start(3, &settings);
    let mut bob = fleet.hubs[0].member("bob", "r");
    let mut one = fleet.hubs[0].member("ann", "r");
    member_until(&mut bob, "r", "ann", "online", 1);
    let mut two = fleet.hubs[1].member("ann", "r");
    member_until(&mut bob, "r", "ann", "online", 2);
    let began = Instant::now();
    let mut three = fleet.hubs[2].member("ann", "r");
    one.expect_close(4409);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    member_until(&mut bob, "r", "ann", "online", 2);
    two.fence();
    three.fence();
    bob.none_kept("departure", |e: &Value| e["type"] == "user_left" || e["status"] == "offline");
    let online: BTreeSet<String> = fleet.redis.online();
    assert_eq!(online, ["ann", "bob"].map(String::from).into());
}

#[test]
fn an_address_has_its_connections_on_all_nodes_together() {
    let settings = [GRACE, ("HUBBUB__LIMITS__MAX_CONNECTIONS_PER_IP", "4")];
    let fleet = Fleet::start(3, &settings);
    let open = |node: usize, user: &str| {
        let handshake = Handshake::new()
            .bearer(&token(user, json!({})))
            .header("X-Forwarded-For", "203.0.113.7");
        handshake.open(fleet.hubs[node].address)
    };
    let mut held: Vec<Ws> = [(0, "a"), (0, "b"), (1, "c"), (1, "d")]
        .map(|(node, user)| open(node, user).unwrap_or_else(|a| panic!("{}", a.text())))
        .into();
    let began = Instant::now();
    until("node 2 refuses the fifth", SOON, || match open(2, "e") {
        Ok(_) => None,
        Err(answer) => {
            answer.expect_error(429, "rate_limited");
            Some(())
        }
    });
    // A second for the news, and what a busy machine takes.
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // Another address is not concerned.
    let _other = fleet.hubs[2].ws("f");
    held.remove(0).close();
    held.push(until("there is place again", SOON, || open(2, "e").ok()));
    // A node that dies takes its connections along.
    let mut fleet = fleet;
    fleet.hubs[1].kill();
    let open = |node: usize, user: &str| {
        let handshake = Handshake::new()
            .bearer(&token(user, json!({})))
            .header("X-Forwarded-For", "203.0.113.7");
        handshake.open(fleet.hubs[node].address)
    };
    held.push(until("the place of the dead is free", Duration::from_secs(15), || {
        open(2, "g").ok()
    }));
}

#[test]
fn a_second_node_of_the_same_name_is_refused() {
    let fleet = Fleet::start(2, &[GRACE, SHORT]);
    let mut ann = fleet.hubs[0].member("ann", "r");
    let _bob = fleet.hubs[1].member("bob", "r");
    ann.expect("bob", about("user_joined", "bob"));
    let mut twin = hub(&fleet.redis, "n1", &[GRACE, SHORT]);
    assert_eq!(twin.wait_exit(SOON).code(), Some(1));
    let said = twin.log.tail(5);
    assert!(
        said.contains("\\\"n1\\\" too; give each its own node.id")
            || said.contains("\"n1\" too; give each its own node.id"),
        "{said}"
    );
    until("it is forgotten", SOON, || (fleet.redis.nodes().len() == 2).then_some(()));
    ann.fence();
    ann.none_kept("departure", |e: &Value| e["type"] == "user_left" || e["status"] == "offline");
    fleet.members_until(&[0, 1], "r", &["ann", "bob"]);
}
