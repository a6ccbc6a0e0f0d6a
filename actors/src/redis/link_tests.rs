//! The link, tried on a real `redis-server`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use redis::Value;

use super::{
    LinkConfig, LinkError, LinkObserver, Listener, NoLinkObserver, RedisLink, Script, Trouble,
    address::Address, test_server::TestServer,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn link_to(address: Address) -> RedisLink {
    let config = LinkConfig { max_backoff: Duration::from_millis(100), ..LinkConfig::new(address) };
    RedisLink::start(config, Arc::new(NoLinkObserver)).unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("in time") })
}

async fn until(link: &RedisLink, up: bool) {
    link.state().wait_for(|state| state.up == up).await.unwrap();
}

#[derive(Debug, PartialEq)]
enum Heard {
    Live,
    Lost,
    Message(Bytes),
}

struct Ear(Mutex<mpsc::Sender<Heard>>);

impl Listener for Ear {
    fn message(&self, payload: Bytes) {
        let _ = self.0.lock().send(Heard::Message(payload));
    }

    fn live(&self) {
        let _ = self.0.lock().send(Heard::Live);
    }

    fn lost(&self) {
        let _ = self.0.lock().send(Heard::Lost);
    }
}

fn ear() -> (Arc<Ear>, mpsc::Receiver<Heard>) {
    let (send, receive) = mpsc::channel();
    (Arc::new(Ear(Mutex::new(send))), receive)
}

static SUM: Script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");

#[test]
fn scripts_run_and_are_loaded_when_missing() {
    let server = TestServer::start(&[]);
    let link = link_to(server.address());
    block_on(async {
        until(&link, true).await;
        let add = |n: i64| {
            link.script(&SUM, &["n"], move |cmd| {
                cmd.arg(n);
            })
        };
        assert_eq!(add(2).await, Ok(Value::Int(2)));
        assert_eq!(add(3).await, Ok(Value::Int(5)));
        link.query(redis::cmd("SCRIPT").arg("FLUSH")).await.unwrap();
        assert_eq!(add(4).await, Ok(Value::Int(9)));
    });
    link.close();
}

#[test]
fn a_restart_is_survived_and_told() {
    let mut server = TestServer::start(&[]);
    let link = link_to(server.address());
    let (listener, heard) = ear();
    link.subscribe("c", listener);
    let next = || heard.recv_timeout(PATIENCE).expect("something is heard");
    let publish = |text: &'static str| {
        block_on(async { link.query(redis::cmd("PUBLISH").arg("c").arg(text)).await })
    };
    assert_eq!(next(), Heard::Live);
    block_on(until(&link, true));
    publish("one").unwrap();
    assert_eq!(next(), Heard::Message("one".into()));
    let before = link.state().borrow().clone();
    server.kill();
    assert_eq!(next(), Heard::Lost);
    block_on(until(&link, false));
    assert!(matches!(publish("two"), Err(LinkError::Down(_) | LinkError::Unknown(_))));
    assert!(link.state().borrow().reason.is_some());
    server.restart();
    assert_eq!(next(), Heard::Live);
    block_on(until(&link, true));
    let after = link.state().borrow().clone();
    assert!(after.connections > before.connections);
    assert!(after.subscriptions > before.subscriptions);
    publish("three").unwrap();
    assert_eq!(next(), Heard::Message("three".into()));
    link.close();
}

#[test]
fn a_channel_is_heard_again_after_its_connection_is_killed() {
    let server = TestServer::start(&[]);
    let link = link_to(server.address());
    let (listener, heard) = ear();
    link.subscribe("c", listener);
    // Many more than one command takes.
    let (others, _) = ear();
    for n in 0..1000 {
        link.subscribe(&format!("other:{n}"), others.clone());
    }
    let next = || heard.recv_timeout(PATIENCE).expect("something is heard");
    assert_eq!(next(), Heard::Live);
    block_on(async {
        until(&link, true).await;
        link.query(redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub")).await.unwrap();
    });
    assert_eq!(next(), Heard::Lost);
    assert_eq!(next(), Heard::Live);
    let count = redis::cmd("PUBSUB").arg("NUMPAT").to_owned();
    block_on(async {
        until(&link, true).await;
        link.query(&count).await.unwrap();
        let channels = link.query(redis::cmd("PUBSUB").arg("CHANNELS").arg("other:*")).await;
        let Ok(Value::Array(channels)) = channels else { panic!("{channels:?}") };
        assert_eq!(channels.len(), 1000);
        link.unsubscribe("other:7");
        while link.query(redis::cmd("PUBSUB").arg("CHANNELS").arg("other:7")).await.unwrap()
            != Value::Array(vec![])
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    link.close();
}

#[derive(Default)]
struct Troubles(Mutex<Vec<Trouble>>);

impl LinkObserver for Troubles {
    fn failed(&self, trouble: Trouble) {
        self.0.lock().push(trouble);
    }
}

#[test]
fn a_wrong_password_and_a_replica_are_named() {
    let server = TestServer::start(&["--requirepass", "sesame"]);
    let port = server.port;
    let replica = TestServer::start(&["--replicaof", "127.0.0.1 1"]);
    let login = |text: &str| Address::parse(&format!("redis://:{text}@127.0.0.1:{port}")).unwrap();
    let right = link_to(login("sesame"));
    block_on(until(&right, true));
    right.close();
    for (address, trouble, word) in [
        (login("wrong"), Trouble::Forbidden, "WRONGPASS"),
        (replica.address(), Trouble::ReadOnly, "replica"),
    ] {
        let troubles = Arc::<Troubles>::default();
        let link = RedisLink::start(LinkConfig::new(address), troubles.clone()).unwrap();
        let reason = block_on(async {
            let mut state = link.state();
            let named = |s: &super::LinkState| s.reason.as_ref().is_some_and(|r| r.contains(word));
            state.wait_for(named).await.unwrap().reason.clone().unwrap()
        });
        assert!(!reason.contains("wrong"), "{reason}");
        assert!(troubles.0.lock().contains(&trouble), "{word}");
        link.close();
    }
}
