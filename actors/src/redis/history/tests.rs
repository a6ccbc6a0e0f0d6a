//! What only this history does.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    contract_tests::{TestBus, record},
    history::NoObserver,
    ports::Appended,
    redis::{LinkConfig, NoLinkObserver, test_server::TestServer},
};

type Answer = Result<Appended, StoreError>;

fn history(server: &TestServer, waiting: Waiting) -> RedisHistory {
    let link =
        LinkConfig { max_backoff: Duration::from_millis(50), ..LinkConfig::new(server.address()) };
    let link = RedisLink::start(link, Arc::new(NoLinkObserver)).unwrap();
    let (bus, observer) = (Arc::new(TestBus::default()), Arc::new(NoObserver));
    RedisHistory::new(link, HistoryConfig::default(), waiting, bus, observer)
}

fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Publishes; `meanwhile` runs before the answer is handed on.
fn publish(
    history: &RedisHistory,
    tell: &mpsc::Sender<Answer>,
    meanwhile: impl FnOnce() + Send + 'static,
) {
    let tell = tell.clone();
    let done = Box::new(move |answer| {
        meanwhile();
        tell.send(answer).unwrap();
    });
    history.append(Append { record: record("r", "x"), key: None, done });
}

#[test]
fn what_cannot_be_stored_is_tried_less_and_less_often() {
    let server = TestServer::start(&[]);
    let waiting = Waiting {
        timeout: Duration::from_secs(3),
        min_replicas: 1,
        replicas_within: Duration::from_millis(1),
    };
    let history = history(&server, waiting);
    let link = history.inner.link.clone();
    until("Redis is there", || link.is_up());
    let (tell, answers) = mpsc::channel();
    publish(&history, &tell, || {});
    let answer = answers.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(matches!(answer, Err(StoreError::Failed(_))), "{answer:?}");
    let stats = crate::contract_tests::wait(Box::pin(async move {
        link.query(redis::cmd("INFO").arg("commandstats")).await.unwrap()
    }));
    let stats: String = redis::from_redis_value(stats).unwrap();
    let waits = stats.split("cmdstat_wait:calls=").nth(1).and_then(|rest| rest.split(',').next());
    let attempts: u32 = waits.expect("it was tried").parse().unwrap();
    // Without a growing pause some 30.
    assert!((3..15).contains(&attempts), "{attempts}");
    history.inner.link.close();
}

#[test]
fn what_is_no_record_does_not_stop_its_room() {
    let server = TestServer::start(&[]);
    let history = history(&server, Waiting::default());
    let link = history.inner.link.clone();
    until("Redis is there", || link.is_up());
    let (tell, answers) = mpsc::channel();
    let publish = || {
        publish(&history, &tell, || {});
        answers.recv_timeout(Duration::from_secs(20)).unwrap().unwrap().position.offset
    };
    assert_eq!(publish(), 1);
    let keys = RoomKeys::new(link.prefix(), &crate::contract_tests::room("r"));
    let query = |words: &[&str]| {
        let mut cmd = redis::cmd(words[0]);
        cmd.arg(&words[1..]);
        let link = link.clone();
        let answer = Box::pin(async move { link.query(&cmd).await.map_err(failed) });
        crate::contract_tests::wait(answer).unwrap();
    };
    let now = Clock::system().now().to_string();
    query(&["XADD", &keys.stream(), "2-0", "t", &now, "r", "of a later release"]);
    query(&["XADD", &keys.stream(), "3-0", "x", "y"]);
    query(&["HSET", &keys.state(), "head", "3"]);
    assert_eq!(publish(), 4);
    let read = |range, limit| {
        let page = history.read(&crate::contract_tests::room("r"), range, limit);
        let page = crate::contract_tests::wait(page).unwrap();
        assert_eq!(page.head.offset, 4);
        let seen = page.records.iter().map(|r| (r.position.offset, r.record.is_unreadable()));
        (seen.collect::<Vec<_>>(), page.has_more)
    };
    let all = vec![(1, false), (2, true), (3, true), (4, false)];
    assert_eq!(read(Range::After(0), 9), (all.clone(), false));
    assert_eq!(read(Range::Newest, 9), (all, false));
    assert_eq!(read(Range::After(1), 1), (vec![(2, true)], true));
    assert_eq!(read(Range::Before(4), 1), (vec![(3, true)], true));
    link.close();
}

#[test]
fn an_outage_that_is_over_makes_nothing_late() {
    let mut server = TestServer::start(&[]);
    server.kill();
    let timeout = Duration::from_secs(4);
    let history = history(&server, Waiting { timeout, ..Waiting::default() });
    let (tell, answers) = mpsc::channel();
    let began = Instant::now();
    // One more than a batch has. The first answers last until all are overdue.
    for _ in 0..64 {
        let overdue = began + timeout + Duration::from_millis(200);
        publish(&history, &tell, move || {
            thread::sleep(overdue.saturating_duration_since(Instant::now()));
        });
    }
    publish(&history, &tell, || {});
    let state = history.inner.link.state();
    until("it was tried", || {
        state.borrow().reason.as_deref().is_some_and(|why| why != "not connected yet")
    });
    server.restart();
    for _ in 0..65 {
        answers.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
    }
    history.inner.link.close();
}
