//! The backlog, tried on a real `redis-server`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    contract_tests::{TestBus, key, publish_with, room, wait},
    history::{HistoryConfig, NoObserver},
    ports::StoreError,
    redis::{
        LinkConfig, NoLinkObserver,
        history::{RedisHistory, Waiting as Patience},
        test_server::TestServer,
    },
};

const MANY: usize = 1000;
const BYTES: usize = 1 << 20;
const LATER: Duration = Duration::from_secs(60);

struct Fixture {
    link: RedisLink,
    server: TestServer,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.link.close();
    }
}

impl Fixture {
    fn start() -> Self {
        let server = TestServer::start(&[]);
        let config = LinkConfig::new(server.address());
        let link = RedisLink::start(config, Arc::new(NoLinkObserver)).unwrap();
        let fixture = Self { link, server };
        fixture.up();
        fixture
    }

    fn up(&self) {
        let mut state = self.link.state();
        wait(Box::pin(async move { drop(state.wait_for(|state| state.up).await.unwrap()) }));
    }

    fn backlog(&self, max: u64, consumer: &str) -> Backlog {
        let rooms = ArchivedRooms::new(&["a*"]);
        Backlog::new(self.link.clone(), rooms, max, consumer.to_owned())
    }

    fn history(&self, backlog: &Backlog) -> RedisHistory {
        let (bus, observer) = (Arc::<TestBus>::default(), Arc::new(NoObserver));
        let (config, patience) = (HistoryConfig::default(), Patience::default());
        RedisHistory::archived(self.link.clone(), config, patience, bus, observer, backlog.clone())
    }
}

fn take(backlog: &Backlog, limit: usize, bytes: usize, takeover: Duration) -> Taken {
    let backlog = backlog.clone();
    wait(Box::pin(async move { backlog.take(0, limit, bytes, takeover).await })).unwrap()
}

fn look(backlog: &Backlog) -> u64 {
    let backlog = backlog.clone();
    wait(Box::pin(async move { backlog.look(0, true).await })).unwrap().messages
}

fn offsets(taken: &Taken) -> Vec<u64> {
    taken.rows.iter().map(|row| row.position.offset).collect()
}

#[test]
fn what_is_taken_stays_until_it_is_written() {
    let fixture = Fixture::start();
    let (ann, ben) = (fixture.backlog(100, "ann"), fixture.backlog(100, "ben"));
    let history = fixture.history(&ann);
    for n in 1..=50_u64 {
        let stored = publish_with(&history, "a", "hello", key("u", &format!("k{n}"))).unwrap();
        assert_eq!(stored.position.offset, n);
    }
    publish_with(&history, "b", "not archived", None).unwrap();
    // A repetition waits once.
    assert!(publish_with(&history, "a", "hello", key("u", "k7")).unwrap().duplicate);
    assert_eq!((look(&ann), ann.next()), (50, Some(0)));

    let first = take(&ann, 20, BYTES, LATER);
    assert_eq!(offsets(&first), (1..=20).collect::<Vec<_>>());
    let record = first.rows[0].clone().into_record().unwrap();
    assert_eq!(record.room, room("a"));
    // Few bytes are few messages, at least some.
    let second = take(&ben, MANY, 10, LATER);
    assert_eq!(offsets(&second), (21..=36).collect::<Vec<_>>());
    assert_eq!(look(&ann), 50);
    let ids = first.ids.clone();
    let done = ann.clone();
    wait(Box::pin(async move { done.written(0, &ids).await })).unwrap();
    assert_eq!(look(&ann), 30);
    // What ben does not write in time is ann's, with what nobody had.
    let rest = take(&ann, MANY, BYTES, Duration::ZERO);
    assert_eq!((offsets(&rest), rest.taken_over), ((21..=50).collect(), 16));
    let done = ann.clone();
    wait(Box::pin(async move { done.written(0, &rest.ids).await })).unwrap();
    assert_eq!((look(&ann), take(&ben, MANY, BYTES, Duration::ZERO).ids.len()), (0, 0));
}

#[test]
fn a_full_backlog_takes_nothing_and_a_lost_one_begins_anew() {
    let mut fixture = Fixture::start();
    let backlog = fixture.backlog(3, "ann");
    let history = fixture.history(&backlog);
    for n in 1..=3 {
        publish_with(&history, "a1", "x", key("u", &format!("k{n}"))).unwrap();
    }
    let refused = publish_with(&history, "a1", "x", key("u", "k4"));
    assert!(matches!(refused, Err(StoreError::Failed(_))), "{refused:?}");
    assert!(publish_with(&history, "a2", "x", None).is_err());
    assert!(publish_with(&history, "b", "x", None).is_ok());
    assert_eq!(publish_with(&history, "a1", "x", key("u", "k2")).unwrap().position.offset, 2);
    assert_eq!(take(&backlog, MANY, BYTES, LATER).ids.len(), 3);

    // A Redis that forgot everything has neither the stream nor its group.
    fixture.server.restart();
    fixture.up();
    let next = publish_with(&history, "a1", "x", key("u", "k4")).unwrap();
    assert_eq!(next.position.offset, 1);
    assert_eq!(offsets(&take(&backlog, MANY, BYTES, LATER)), [1]);
}

#[test]
fn what_is_no_message_does_not_stop_the_others() {
    let fixture = Fixture::start();
    let backlog = fixture.backlog(100, "ann");
    let history = fixture.history(&backlog);
    let link = fixture.link.clone();
    wait(Box::pin(async move {
        let mut add = redis::cmd("XADD");
        add.arg("hubbub:{archive}:backlog").arg("*").arg("what").arg("is this");
        link.query(&add).await.map(drop)
    }))
    .unwrap();
    publish_with(&history, "a", "x", None).unwrap();
    let taken = take(&backlog, MANY, BYTES, LATER);
    assert_eq!((taken.ids.len(), taken.strange, offsets(&taken)), (2, 1, vec![1]));
}
