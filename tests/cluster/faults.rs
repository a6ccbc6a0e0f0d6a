//! What breaks while many publish: everything that was acknowledged comes to every
//! member once and in order.

use std::{thread, time::Duration};

use crate::{
    load::{Fleet, Plan, ready, run},
    support::*,
};

/// About so long a load lasts by itself.
fn plan(seconds: u64) -> Plan {
    let pace = Duration::from_millis(50);
    let each = (seconds * 1000 / 50) as usize;
    Plan { rooms: 2, senders: 9, each, window: 4, pace }
}

fn pause(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

#[test]
fn a_node_is_killed() {
    let redis = RedisServer::start(&[]);
    let mut fleet = Fleet::start(3, &redis.url(), &[]);
    let outcome = run(&mut fleet, plan(5), |fleet| {
        pause(700);
        fleet.hubs[1].kill();
        pause(1500);
        fleet.hubs[1].restart();
    });
    outcome.assert_whole();
    assert!(outcome.returns() > 0, "somebody was on the killed node");
}

#[test]
fn a_node_is_stopped_for_eight_seconds() {
    let redis = RedisServer::start(&[]);
    let mut fleet = Fleet::start(3, &redis.url(), &[]);
    let outcome = run(&mut fleet, plan(10), |fleet| {
        pause(700);
        fleet.hubs[1].signal("STOP");
        pause(8000);
        fleet.hubs[1].signal("CONT");
    });
    outcome.assert_whole();
}

#[test]
fn redis_is_killed_and_comes_back_with_its_file() {
    let mut redis = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "everysec"]);
    let mut fleet = Fleet::start(3, &redis.url(), &[]);
    let outcome = run(&mut fleet, plan(5), |_| {
        pause(700);
        redis.kill();
        pause(1000);
        redis.start_again();
        pause(1000);
        redis.restart();
    });
    outcome.assert_whole();
}

#[test]
fn redis_is_frozen_for_five_seconds() {
    let redis = RedisServer::start(&[]);
    let mut fleet = Fleet::start(3, &redis.url(), &[]);
    let outcome = run(&mut fleet, plan(7), |fleet| {
        pause(700);
        redis.signal("STOP");
        until("the node is not ready", SOON, || {
            (fleet.hubs[0].http().get("/readyz").status == 503).then_some(())
        });
        pause(2000);
        redis.signal("CONT");
        ready(&fleet.hubs[0]);
    });
    outcome.assert_whole();
}

#[test]
fn connections_to_redis_are_cut_again_and_again() {
    let redis = RedisServer::start(&[]);
    let mut fleet = Fleet::start(3, &redis.url(), &[]);
    let outcome = run(&mut fleet, plan(5), |fleet| {
        for n in 0..12 {
            pause(300);
            redis.command(&[
                "CLIENT",
                "KILL",
                "TYPE",
                if n % 3 == 2 { "normal" } else { "pubsub" },
            ]);
        }
        let gaps: f64 =
            fleet.hubs.iter().map(|h| h.metrics().sum("hubbub_cluster_repaired_total", &[])).sum();
        println!("{gaps} records were read because they had not been heard");
    });
    outcome.assert_whole();
}

#[test]
fn a_node_is_cut_off_from_redis() {
    let redis = RedisServer::start(&[]);
    let proxy = Proxy::to(redis.port);
    let mut fleet = Fleet::start(2, &redis.url(), &[]);
    let other = format!("redis://127.0.0.1:{}", proxy.port);
    fleet.hubs.extend(Fleet::start(1, &other, &[("HUBBUB__NODE__ID", "cut-off")]).hubs);
    let outcome = run(&mut fleet, plan(8), |fleet| {
        pause(700);
        proxy.silence(true);
        until("the node notices", SOON, || {
            (fleet.hubs[2].http().get("/readyz").status == 503).then_some(())
        });
        pause(2500);
        proxy.silence(false);
        ready(&fleet.hubs[2]);
    });
    outcome.assert_whole();
}
