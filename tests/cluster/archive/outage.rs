//! PostgreSQL, Redis or a node away for a while.

use std::{thread, time::Duration};

use serde_json::json;

use super::{SOME_TIME, audit, drained, settings, while_publishing};
use crate::{load::Fleet, support::*};

#[test]
fn messages_wait_while_the_database_is_away() {
    let (redis, mut database) = (RedisServer::start(&[]), PostgresServer::start());
    let url = database.url();
    let fleet = Fleet::start(2, &redis.url(), &settings(&url, &[]));
    let written = |hub: &Hub| hub.metrics().sum("hubbub_archive_written_total", &[]);
    let acked = while_publishing(&fleet.addresses(), 3, || {
        until("the flood runs", SOME_TIME, || (written(&fleet.hubs[0]) > 20.0).then_some(()));
        database.kill();
        for hub in &fleet.hubs {
            hub.metric_until("hubbub_archive_up", &[], |up| up == 0.0);
            hub.metric_until("hubbub_archive_backlog_messages", &[], |n| n > 20.0);
            hub.metric_until("hubbub_archive_lag_seconds", &[], |lag| lag > 1.0);
            assert_eq!(hub.http().get("/readyz").status, 200, "the hub goes on");
        }
        database.start_again();
        for hub in &fleet.hubs {
            until("the archive is back", SOME_TIME, || {
                (hub.metrics().sum("hubbub_archive_up", &[]) == 1.0).then_some(())
            });
        }
    });
    audit(&database, &acked);
    drained(&redis);
    for hub in &fleet.hubs {
        hub.metric_until("hubbub_archive_backlog_messages", &[], |n| n == 0.0);
        let failed = hub.metrics().sum("hubbub_archive_failures_total", &[]);
        assert!(failed >= 1.0, "{failed}");
        assert!(hub.log.find(|l| l["msg"] == "the archive's database is there").is_some());
    }
}

#[test]
fn messages_survive_a_restart_of_redis() {
    let (mut redis, database) =
        (RedisServer::start(&["--appendonly", "yes"]), PostgresServer::start());
    let url = database.url();
    let fleet = Fleet::start(2, &redis.url(), &settings(&url, &[]));
    let acked = while_publishing(&fleet.addresses(), 3, || {
        thread::sleep(Duration::from_millis(500));
        redis.restart();
        thread::sleep(Duration::from_millis(1500));
    });
    audit(&database, &acked);
    drained(&redis);
}

#[test]
fn a_node_that_is_gone_before_it_wrote_is_stood_in_for() {
    let (redis, mut database) = (RedisServer::start(&[]), PostgresServer::start());
    let url = database.url();
    let mut fleet = Fleet::start(1, &redis.url(), &settings(&url, &[]));
    fleet.hubs[0].metric_until("hubbub_archive_up", &[], |up| up == 1.0);
    database.kill();
    let acked = while_publishing(&fleet.addresses(), 2, || {
        thread::sleep(Duration::from_millis(400));
    });
    // It holds some, and others wait, when it dies.
    fleet.hubs[0].metric_until("hubbub_archive_failures_total", &[], |n| n >= 1.0);
    fleet.hubs[0].kill();
    database.start_again();
    let other = Fleet::start(1, &redis.url(), &settings(&url, &[]));
    audit(&database, &acked);
    drained(&redis);
    let taken_over = other.hubs[0].metrics().sum("hubbub_archive_taken_over_total", &[]);
    assert!(taken_over >= 1.0, "{taken_over}");
}

#[test]
fn a_full_backlog_refuses_and_says_so() {
    let (redis, mut database) = (RedisServer::start(&[]), PostgresServer::start());
    let url = database.url();
    let bounded = [("HUBBUB__ARCHIVE__ROOMS", "kept-*"), ("HUBBUB__ARCHIVE__BACKLOG_MAX", "20")];
    let fleet = Fleet::start(1, &redis.url(), &settings(&url, &bounded));
    let hub = &fleet.hubs[0];
    hub.metric_until("hubbub_archive_up", &[], |up| up == 1.0);
    database.kill();
    let post = |room: &str, n: usize| {
        let body = json!({"content": format!("m{n}"), "key": format!("k{n}"), "userId": "ann"});
        hub.api().post(&format!("/api/rooms/{room}/messages"), &body)
    };
    for n in 0..20 {
        post("kept-1", n).expect(202);
    }
    post("kept-1", 20).expect_error(503, "unavailable");
    post("kept-2", 0).expect_error(503, "unavailable");
    // What was stored is answered as before, and rooms that are not archived go on.
    assert_eq!(post("kept-1", 7).expect(202)["offset"], 8);
    post("other", 0).expect(202);
    let refused = hub.metrics().sum("hubbub_redis_errors_total", &["trouble=\"archive_full\""]);
    assert!(refused >= 2.0, "{refused}");
    database.start_again();
    until("there is room again", SOME_TIME, || {
        let answer = post("kept-1", 20);
        (answer.status == 202).then(|| assert_eq!(answer.json()["offset"], 21))
    });
    drained(&redis);
    assert_eq!(database.sql("SELECT count(*), max(room_offset) FROM hubbub_messages"), "21|21");
}
