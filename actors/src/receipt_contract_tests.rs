//! One suite for every [`ReceiptStore`]: what the port promises, tried on each.
#![allow(clippy::unwrap_used)]

use std::{
    sync::{Arc, atomic::Ordering, mpsc},
    time::{Duration, Instant},
};

use hubbub_protocol::{
    id::{MessageId, RoomName, UserId},
    position::{Epoch, Position},
    record::{Body, Record},
    timestamp::Timestamp,
};
use uuid::Uuid;

use crate::{
    clock::Clock,
    contract_tests::{TestBus, test_clock},
    embedded::EmbeddedHistory,
    history::{HistoryConfig, NoObserver},
    memory::{MemoryHistory, receipts::MemoryReceipts},
    ports::{Append, History},
    receipt_store::{Progress, ReceiptStore, ReceiptStoreConfig, Rise, RoomReceipts},
    redis::{
        LinkConfig, NoLinkObserver, RedisLink, history::RedisHistory, history::Waiting,
        receipts::RedisReceipts, test_server::TestServer,
    },
};

const CONFIG: ReceiptStoreConfig =
    ReceiptStoreConfig { max_members: 3, max_rooms: 2, ttl_ms: 60_000 };

struct Fixture {
    name: &'static str,
    store: Arc<dyn ReceiptStore>,
    history: Arc<dyn History>,
    #[allow(dead_code)]
    kept: (Option<tempfile::TempDir>, Option<TestServer>),
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn all() -> [Fixture; 3] {
    let bus = || Arc::new(TestBus::default());
    let memory = Fixture {
        name: "memory",
        store: Arc::new(MemoryReceipts::new(CONFIG, Clock::system())),
        history: Arc::new(MemoryHistory::new(HistoryConfig::default(), bus())),
        kept: (None, None),
    };
    let directory = tempfile::tempdir().unwrap();
    let observer = Arc::new(NoObserver);
    let config = HistoryConfig::default();
    let history = EmbeddedHistory::open(directory.path(), config, bus(), observer).unwrap();
    let embedded = Fixture {
        name: "embedded",
        store: Arc::new(history.receipts(CONFIG)),
        history: Arc::new(history),
        kept: (Some(directory), None),
    };
    let server = TestServer::start(&[]);
    let link =
        RedisLink::start(LinkConfig::new(server.address()), Arc::new(NoLinkObserver)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !link.is_up() {
        assert!(Instant::now() < deadline, "Redis is there");
        std::thread::yield_now();
    }
    let (config, waiting) = (HistoryConfig::default(), Waiting::default());
    let history = RedisHistory::new(link.clone(), config, waiting, bus(), Arc::new(NoObserver));
    let redis = Fixture {
        name: "redis",
        store: Arc::new(RedisReceipts::new(link, CONFIG)),
        history: Arc::new(history),
        kept: (None, Some(server)),
    };
    [memory, embedded, redis]
}

fn room(name: &str) -> RoomName {
    RoomName::new(name).unwrap()
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

impl Fixture {
    /// Stores a record, so that the room has a history; gives where it stands.
    fn publish(&self, name: &str) -> Position {
        let record = Record {
            id: MessageId(Uuid::now_v7()),
            room: room(name),
            user: Some(user("author")),
            username: None,
            timestamp: Timestamp(1),
            body: Body::Message { content: "x".into(), data: None },
            trace: None,
        };
        let (tell, told) = mpsc::channel();
        let done = Box::new(move |result| tell.send(result).unwrap());
        self.history.append(Append { record, key: None, done });
        told.recv_timeout(Duration::from_secs(10)).unwrap().unwrap().position
    }

    fn advance(&self, name: &str, epoch: Epoch, news: &[(&str, Progress)]) -> (Vec<Rise>, usize) {
        let news = news.iter().map(|(name, progress)| (user(name), *progress)).collect();
        let advanced = block(self.store.advance(&room(name), epoch, news)).unwrap();
        (advanced.rises, advanced.untracked)
    }

    fn of_room(&self, name: &str, head: Position) -> RoomReceipts {
        block(self.store.of_room(&room(name), head)).unwrap()
    }
}

fn rise(name: &str, before: Progress, now: Progress) -> Rise {
    Rise { user: user(name), before, now }
}

const NOTHING: Progress = Progress { delivered: 0, read: 0 };

#[test]
fn positions_rise_and_never_fall() {
    for one in all() {
        let name = one.name;
        let head = one.publish("r");
        assert_eq!(one.of_room("r", head), RoomReceipts::default(), "{name}");
        let (five, three) = (Progress::delivered(5), Progress::read(3));
        let (rises, untracked) = one.advance("r", head.epoch, &[("bob", five), ("ann", three)]);
        assert_eq!(rises, [rise("bob", NOTHING, five), rise("ann", NOTHING, three)], "{name}");
        assert_eq!(untracked, 0);
        // Late, and the same once more.
        let late = [("bob", Progress::delivered(4)), ("ann", three)];
        assert_eq!(one.advance("r", head.epoch, &late), (vec![], 0), "{name}");
        // Each of the two positions by itself.
        let both = Progress { delivered: 5, read: 2 };
        let (rises, _) = one.advance("r", head.epoch, &[("bob", Progress::read(2))]);
        assert_eq!(rises, [rise("bob", five, both)], "{name}");
        let kept = one.of_room("r", head);
        assert_eq!(kept.users, [(user("ann"), three), (user("bob"), both)], "{name}");
        assert!(!kept.full);
        assert_eq!(one.of_room("other", head), RoomReceipts::default(), "{name}");
    }
}

#[test]
fn a_room_keeps_so_many_users_and_says_so() {
    for one in all() {
        let name = one.name;
        let head = one.publish("r");
        let first = Progress::delivered(1);
        let news = [("a", first), ("b", first), ("c", first), ("d", first), ("e", first)];
        let (rises, untracked) = one.advance("r", head.epoch, &news);
        assert_eq!((rises.len(), untracked), (3, 2), "{name}");
        // Those who are kept go on.
        let news = [("d", first), ("c", Progress::delivered(2))];
        let (rises, untracked) = one.advance("r", head.epoch, &news);
        assert_eq!((rises.len(), untracked), (1, 1), "{name}");
        let kept = one.of_room("r", head);
        assert_eq!((kept.users.len(), kept.full), (3, true), "{name}");
    }
}

#[test]
fn positions_of_another_history_mean_nothing() {
    for one in all() {
        let name = one.name;
        let head = one.publish("r");
        one.advance("r", head.epoch, &[("ann", Progress::read(1))]);
        let wrong = Position { epoch: Epoch(head.epoch.0 ^ 1), ..head };
        assert_eq!(one.of_room("r", wrong), RoomReceipts::default(), "{name}");
        if name != "memory" {
            // The history says which epoch counts.
            let news = [("ann", Progress::read(9))];
            assert_eq!(one.advance("r", wrong.epoch, &news), (vec![], 0), "{name}");
            assert_eq!(one.of_room("r", head).users.len(), 1, "{name}");
        }
    }
}

#[test]
fn in_memory_rooms_are_bounded_and_end() {
    let (clock, now) = test_clock();
    let store = MemoryReceipts::new(CONFIG, clock);
    let head = Position { epoch: Epoch(1), offset: 1 };
    let users = |name: &str| block(store.of_room(&room(name), head)).unwrap().users.len();
    let say = |name: &str| {
        let news = vec![(user("ann"), Progress::delivered(1))];
        block(store.advance(&room(name), head.epoch, news)).unwrap();
    };
    ["a", "b", "a", "c"].into_iter().for_each(say);
    assert_eq!(["a", "b", "c"].map(users), [1, 0, 1], "the one without news for longest goes");
    now.fetch_add(CONFIG.ttl_ms, Ordering::Relaxed);
    assert_eq!(["a", "c"].map(users), [0, 0]);
    say("a");
    assert_eq!(users("a"), 1);
}

#[test]
fn in_a_file_they_are_there_after_a_restart_and_go_with_their_room() {
    let directory = tempfile::tempdir().unwrap();
    let (clock, now) = test_clock();
    let config = HistoryConfig { ttl_ms: 1000, ..HistoryConfig::default() };
    let open = || {
        let (bus, observer) = (Arc::new(TestBus::default()), Arc::new(NoObserver));
        let (config, clock) = (config.clone(), clock.clone());
        let file = EmbeddedHistory::open_with_clock(directory.path(), config, bus, observer, clock);
        let history = file.unwrap();
        let store = Arc::new(history.receipts(CONFIG));
        let history = Arc::new(history);
        Fixture { name: "embedded", store, history, kept: (None, None) }
    };
    let one = open();
    let head = one.publish("r");
    one.advance("r", head.epoch, &[("ann", Progress::read(1))]);
    block(one.history.close());
    drop(one);
    let one = open();
    assert_eq!(one.of_room("r", head).users, [(user("ann"), Progress::read(1))]);
    // The room is forgotten: another one may get its number.
    now.fetch_add(24 * 3_600_000, Ordering::Relaxed);
    let deadline = Instant::now() + Duration::from_secs(10);
    while block(one.history.peek(&room("r"))).unwrap().is_some() {
        assert!(Instant::now() < deadline, "the room goes");
        std::thread::sleep(Duration::from_millis(20));
    }
    let head = one.publish("s");
    assert_eq!(one.of_room("s", head), RoomReceipts::default());
}
