#![allow(clippy::unwrap_used)]
use hubbub_protocol::event::Status;

use super::*;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn share() -> Share {
    Share {
        sessions: vec![],
        status: Status::Online,
        username: None,
        rooms: vec![],
        opened: vec![],
    }
}

fn told(replicas: &mut Replicas, node: &str, users: &[(&str, bool)]) -> Vec<Change> {
    let users = users.iter().map(|(u, held)| (user(u), held.then(share))).collect();
    replicas.entry(&node.into(), Entry::Users(users))
}

fn listed(node: &str, complete: bool, users: &[&str]) -> (Listed, HashMap<UserId, Share>) {
    let users = users.iter().map(|u| (user(u), share())).collect();
    (Listed { instance: node.into(), complete }, users)
}

fn only(node: NodeIndex, users: &[&str]) -> Change {
    Change::Only(node, users.iter().map(|u| user(u)).collect())
}

#[test]
fn what_nodes_say_is_passed_on_but_not_what_this_one_says() {
    let mut r = Replicas::new("me#1".into(), 1000);
    assert_eq!(told(&mut r, "a#1", &[("u", true)]), [Change::Set(0, user("u"), Some(share()))]);
    assert_eq!(told(&mut r, "b#1", &[("u", false)]), [Change::Set(1, user("u"), None)]);
    assert_eq!(told(&mut r, "me#1", &[("u", true)]), []);
    assert_eq!(r.name(1).map(|n| &**n), Some("b#1"));
    assert_eq!(r.entry(&"a#1".into(), Entry::Gone), [Change::Drop(0)]);
    assert_eq!(r.entry(&"a#1".into(), Entry::Gone), []);
    // The number is free again.
    assert_eq!(told(&mut r, "c#1", &[("v", true)]), [Change::Set(0, user("v"), Some(share()))]);
}

#[test]
fn a_store_that_was_read_whole_ends_what_it_does_not_have() {
    let mut r = Replicas::new("me#1".into(), 1000);
    told(&mut r, "a#1", &[("u", true), ("v", true)]);
    let changes = r.scanned(vec![listed("a#1", true, &["u"]), listed("me#1", true, &["x"])], 0);
    assert_eq!(changes, [Change::Set(0, user("u"), Some(share())), only(0, &["u"])]);
}

#[test]
fn a_store_that_lost_its_data_ends_nothing() {
    let mut r = Replicas::new("me#1".into(), 1000);
    told(&mut r, "a#1", &[("u", true), ("v", true)]);
    told(&mut r, "b#1", &[("w", true)]);
    // a is telling again, b was not heard of yet.
    let changes = r.scanned(vec![listed("a#1", false, &["u"])], 0);
    assert_eq!(changes, [Change::Set(0, user("u"), Some(share()))]);
    assert_eq!(r.tick(999), []);
    told(&mut r, "a#1", &[("z", true)]);
    assert_eq!(r.entry(&"a#1".into(), Entry::Announced), [only(0, &["u", "z"])]);
    assert_eq!(r.entry(&"a#1".into(), Entry::Announced), [], "once");
    // b begins in time.
    assert_eq!(r.entry(&"b#1".into(), Entry::Announcing), []);
    assert_eq!(r.tick(5000), []);
    assert_eq!(r.entry(&"b#1".into(), Entry::Announced), [only(1, &[])]);
}

#[test]
fn a_node_that_the_store_does_not_know_is_given_up_after_a_while() {
    let mut r = Replicas::new("me#1".into(), 1000);
    told(&mut r, "a#1", &[("u", true)]);
    assert_eq!(r.scanned(vec![], 100), []);
    assert_eq!(r.scanned(vec![], 600), [], "a second look does not wait longer");
    assert_eq!(r.tick(1099), []);
    assert_eq!(r.tick(1100), [Change::Drop(0)]);
    assert_eq!(r.tick(9999), []);
}
