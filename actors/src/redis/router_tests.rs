//! Channels over several servers, tried on real ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::future::ready;

use super::{super::test_server::TestServer, *};
use crate::redis::{LinkConfig, address::Address};

#[test]
fn slots_are_those_of_redis() {
    // The example of the specification, and the tag rule.
    assert_eq!(slot("123456789"), 0x31c3);
    assert_eq!(slot("{user1000}.following"), slot("{user1000}.followers"));
    assert_eq!(slot("foo{}{bar}"), slot("foo{}{bar}"));
    assert_ne!(slot("foo{}{bar}"), slot("bar"));
    assert_eq!(slot("a{b}c}"), slot("b"));
}

#[test]
fn the_masters_are_read() {
    let node = |port| Value::Array(vec![Value::BulkString(b"h".to_vec()), Value::Int(port)]);
    let row = |a, b, master, replica| {
        Value::Array(vec![Value::Int(a), Value::Int(b), node(master), node(replica)])
    };
    let answer = Value::Array(vec![row(0, 8191, 1, 3), row(8192, 16383, 2, 4)]);
    let expected = [(0, ("h".to_owned(), 1)), (8192, ("h".to_owned(), 2))];
    assert_eq!(ranges(&answer), expected.into_iter().collect());
    assert!(ranges(&Value::Nil).is_empty());
}

const PATIENCE: Duration = Duration::from_secs(20);

/// The answer to `CLUSTER SLOTS` when these servers share the slots evenly.
fn shared_by(servers: &[&TestServer]) -> Value {
    let share = i64::from(SLOTS) / servers.len().max(1) as i64;
    let row = |(n, server): (i64, &&TestServer)| {
        let at = [Value::BulkString(b"127.0.0.1".to_vec()), Value::Int(server.port.into())];
        let (first, last) = (n * share, (n + 1) * share - 1);
        Value::Array(vec![Value::Int(first), Value::Int(last), Value::Array(at.into())])
    };
    Value::Array((0..).zip(servers).map(row).collect())
}

/// A router that is told of an answer and tells whether channels are heard.
struct Heard {
    answer: Arc<Mutex<Value>>,
    up: tokio::sync::watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Heard {
    fn start(answer: Value) -> Self {
        let answer = Arc::new(Mutex::new(answer));
        let asked = answer.clone();
        let (told, up) = tokio::sync::watch::channel(false);
        let tell: Tell = Arc::new(move |change| {
            told.send_replace(matches!(change, ChannelsChange::Up));
        });
        let nobody = Address::parse("redis+cluster://127.0.0.1:1").unwrap();
        let connector = Arc::new(Connector::new(&LinkConfig::new(nobody)));
        let backoff = || Backoff::new(Duration::from_millis(100));
        let ask = move || ready(Ok(asked.lock().clone()));
        let task = tokio::spawn(Router::new(true).run_cluster(connector, backoff, tell, ask));
        Self { answer, up, task }
    }

    fn answers(&self, answer: Value) {
        *self.answer.lock() = answer;
    }

    async fn until(&mut self, up: bool) {
        let told = tokio::time::timeout(PATIENCE, self.up.wait_for(|told| *told == up)).await;
        told.unwrap_or_else(|_| panic!("it is told in time that up is {up}")).unwrap();
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn a_master_that_left_the_cluster_does_not_keep_it_down() {
    let (stays, mut leaves) = (TestServer::start(&[]), TestServer::start(&[]));
    let mut heard = Heard::start(shared_by(&[&stays, &leaves]));
    heard.until(true).await;
    leaves.kill();
    heard.until(false).await;
    heard.answers(shared_by(&[&stays]));
    heard.until(true).await;
}

#[tokio::test]
async fn an_answer_without_slots_is_forgotten_with_the_next() {
    let server = TestServer::start(&[]);
    let mut heard = Heard::start(shared_by(&[&server]));
    heard.until(true).await;
    heard.answers(shared_by(&[]));
    heard.until(false).await;
    heard.answers(shared_by(&[&server]));
    heard.until(true).await;
}
