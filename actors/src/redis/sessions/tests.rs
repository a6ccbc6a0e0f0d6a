//! What only Redis has to prove: it was away.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use super::*;
use crate::redis::{LinkConfig, NoLinkObserver, test_server::TestServer};

const PATIENCE: Duration = Duration::from_secs(20);
const CONFIG: SessionStoreConfig = SessionStoreConfig { recovery_ms: 60_000, max_sessions: 9 };

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn id(n: u128) -> SessionId {
    SessionId(Uuid::from_u128(n))
}

fn identity(n: u128) -> KeptIdentity {
    KeptIdentity {
        id: id(n),
        user: UserId::new("ann").unwrap(),
        secret: 7,
        wire: "/".into(),
        vocabulary: "hubbub".into(),
    }
}

#[tokio::test]
async fn what_ended_while_redis_was_away_has_ended_when_it_is_back() {
    let mut server = TestServer::start(&["--appendonly", "yes"]);
    let link = RedisLink::start(
        LinkConfig { max_backoff: Duration::from_millis(50), ..LinkConfig::new(server.address()) },
        Arc::new(NoLinkObserver),
    )
    .unwrap();
    until("Redis is there", async || link.is_up()).await;
    let store = RedisSessions::start(link.clone(), CONFIG, 60_000, Clock::system());
    for n in 1..=3 {
        assert!(store.open(identity(n), Owner(1)).await.unwrap());
    }
    server.kill();
    until("it is noticed", async || !link.is_up()).await;
    assert!(store.lost(id(1), Owner(1)).await.is_err());
    // Nobody waits for this one.
    drop(store.ended(id(2), Owner(1)));
    server.restart();
    let field = |n: u128, name: &'static str| {
        let mut cmd = redis::cmd("HGET");
        cmd.arg(store.0.key(id(n))).arg(name);
        let link = link.clone();
        async move { link.query(&cmd).await.is_ok_and(|answer| text(&answer).is_some()) }
    };
    until("the first is lost", async || field(1, "lost").await).await;
    until("the second is over", async || {
        store.find(id(2)).await.is_ok_and(|found| found.is_none())
    })
    .await;
    assert!(field(3, "user").await && !field(3, "lost").await, "the third is connected");
    let mut left = redis::cmd("PTTL");
    let left = link.query(left.arg(store.0.key(id(1)))).await.unwrap();
    let Value::Int(left) = left else { panic!("{left:?}") };
    assert!((1..60_000).contains(&left), "its window began when it was lost: {left}");
    assert!(store.claim(id(1), Owner(2)).await.unwrap().is_some());
    until("nothing is left to tell", async || store.0.ends.some(9, 0).is_empty()).await;
    link.close();
}
