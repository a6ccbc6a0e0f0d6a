//! Whoever is connected where: the same messages in the same order.

use std::time::{Duration, Instant};

use crate::{
    load::{Fleet, Plan, run},
    support::*,
};

#[test]
fn every_member_on_every_node_sees_the_same_sequence() {
    let redis = RedisServer::start(&[]);
    let mut fleet = Fleet::start(3, &redis.url(), &[]);
    let plan = Plan { rooms: 5, senders: 50, each: 400, window: 8, pace: Duration::ZERO };
    let began = Instant::now();
    let outcome = run(&mut fleet, plan, |_| {});
    println!("20000 messages to 80 members on 3 nodes in {:?}", began.elapsed());
    outcome.assert_whole();
    assert_eq!(outcome.returns(), 0, "nobody lost its connection");
}
