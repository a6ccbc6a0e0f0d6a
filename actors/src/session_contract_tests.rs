//! One suite for every [`SessionStore`]: what the port promises, tried on each.
#![allow(clippy::unwrap_used)]

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use hubbub_protocol::{
    id::{RoomName, SessionId, UserId},
    position::{Epoch, Position},
};

use crate::{
    clock::Clock,
    contract_tests::{TestBus, test_clock},
    embedded::EmbeddedHistory,
    history::{HistoryConfig, NoObserver},
    memory::sessions::MemorySessions,
    ports::{History, PortFuture},
    redis::{
        LinkConfig, NoLinkObserver, RedisLink, sessions::RedisSessions, test_server::TestServer,
    },
    session_store::{
        Base, KeptIdentity, KeptRoom, KeptSession, Owner, SessionStore, SessionStoreConfig,
    },
};

const CONFIG: SessionStoreConfig = SessionStoreConfig { recovery_ms: 1000, max_sessions: 3 };

struct Fixture {
    store: Arc<dyn SessionStore>,
    now: Arc<AtomicU64>,
    /// The embedded store, and its folder.
    file: Option<(EmbeddedHistory, tempfile::TempDir)>,
    #[allow(dead_code)]
    server: Option<TestServer>,
}

fn open(directory: &std::path::Path, clock: Clock) -> EmbeddedHistory {
    let (bus, observer) = (Arc::new(TestBus::default()), Arc::new(NoObserver));
    EmbeddedHistory::open_with_clock(directory, HistoryConfig::default(), bus, observer, clock)
        .unwrap()
}

fn fixtures() -> [Fixture; 2] {
    let (clock, now) = test_clock();
    let memory = Fixture {
        store: Arc::new(MemorySessions::new(CONFIG, clock)),
        now,
        file: None,
        server: None,
    };
    let (clock, now) = test_clock();
    let directory = tempfile::tempdir().unwrap();
    let history = open(directory.path(), clock);
    let store = Arc::new(history.sessions(CONFIG));
    [memory, Fixture { store, now, file: Some((history, directory)), server: None }]
}

/// The same, and sessions in Redis, which has a clock of its own.
fn all() -> Vec<Fixture> {
    let server = TestServer::start(&[]);
    let config = LinkConfig::new(server.address());
    let link = RedisLink::start(config, Arc::new(NoLinkObserver)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !link.is_up() {
        assert!(Instant::now() < deadline, "Redis is there");
        std::thread::yield_now();
    }
    let store = RedisSessions::start(link, REDIS_CONFIG, 60_000, Clock::system());
    let (_, now) = test_clock();
    let redis = Fixture { store: Arc::new(store), now, file: None, server: Some(server) };
    fixtures().into_iter().chain([redis]).collect()
}

/// A window that no test waits out.
const REDIS_CONFIG: SessionStoreConfig =
    SessionStoreConfig { recovery_ms: 60_000, max_sessions: 3 };

fn wait<T>(future: PortFuture<T>) -> T {
    let mut future = pin!(future);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
        assert!(Instant::now() < deadline, "no answer");
        std::thread::yield_now();
    }
}

fn id(n: u128) -> SessionId {
    SessionId(uuid::Uuid::from_u128(n))
}

fn identity(n: u128) -> KeptIdentity {
    KeptIdentity {
        id: id(n),
        user: UserId::new("ann").unwrap(),
        secret: u64::MAX - n as u64,
        wire: "/".into(),
        vocabulary: "hubbub".into(),
    }
}

fn room(slot: u16, name: &str, base: Base) -> KeptRoom {
    KeptRoom { slot, room: RoomName::new(name).unwrap(), base }
}

fn at(offset: u64) -> Base {
    Base::At(Position { epoch: Epoch(u64::MAX), offset })
}

#[test]
fn a_session_is_what_it_was_told_last() {
    for Fixture { store, file, server, .. } in all() {
        let owner = Owner(7);
        assert!(wait(store.open(identity(1), owner)).unwrap());
        // Not awaited, and in order all the same.
        drop(store.join(id(1), owner, room(0, "a", at(1))));
        drop(store.join(id(1), owner, room(1, "b", Base::Start)));
        drop(store.join(id(1), owner, room(2, "c", Base::Unknown)));
        drop(store.leave(id(1), owner, &RoomName::new("a").unwrap()));
        assert!(wait(store.join(id(1), owner, room(3, "a", at(9)))).unwrap());
        let mut kept = wait(store.find(id(1))).unwrap().unwrap();
        kept.rooms.sort_by_key(|room| room.slot);
        let rooms =
            vec![room(1, "b", Base::Start), room(2, "c", Base::Unknown), room(3, "a", at(9))];
        assert_eq!(kept, KeptSession { identity: identity(1), rooms });
        assert!(wait(store.ended(id(1), owner)).unwrap());
        assert_eq!(wait(store.find(id(1))).unwrap(), None);
        assert!(!wait(store.join(id(1), owner, room(0, "a", at(1)))).unwrap());
        drop((file, server));
    }
}

#[test]
fn only_the_newest_owner_changes_a_session() {
    for Fixture { store, file, server, .. } in all() {
        let (first, second, third) = (Owner(1), Owner(2), Owner(3));
        wait(store.open(identity(1), first)).unwrap();
        wait(store.join(id(1), first, room(0, "a", at(1)))).unwrap();
        let claimed = wait(store.claim(id(1), second)).unwrap().unwrap();
        assert_eq!(claimed.rooms.len(), 1);
        assert!(!wait(store.join(id(1), first, room(1, "b", at(1)))).unwrap());
        assert!(!wait(store.leave(id(1), first, &RoomName::new("a").unwrap())).unwrap());
        assert!(!wait(store.lost(id(1), first)).unwrap());
        assert!(!wait(store.ended(id(1), first)).unwrap());
        assert_eq!(wait(store.claim(id(1), third)).unwrap().unwrap(), claimed);
        assert!(!wait(store.lost(id(1), second)).unwrap());
        assert!(wait(store.lost(id(1), third)).unwrap());
        assert!(wait(store.find(id(1))).unwrap().is_some());
        drop((file, server));
    }
}

#[test]
fn a_lost_session_can_come_back_within_the_window() {
    for Fixture { store, now, file, .. } in fixtures() {
        for n in 1..=2 {
            wait(store.open(identity(n), Owner(1))).unwrap();
            wait(store.lost(id(n), Owner(1))).unwrap();
        }
        now.fetch_add(CONFIG.recovery_ms, Ordering::Relaxed);
        assert!(wait(store.claim(id(1), Owner(2))).unwrap().is_some());
        now.fetch_add(1, Ordering::Relaxed);
        assert!(wait(store.find(id(2))).unwrap().is_none());
        assert!(wait(store.claim(id(2), Owner(2))).unwrap().is_none());
        // The one that came back stays, however long it is connected.
        now.fetch_add(10 * CONFIG.recovery_ms, Ordering::Relaxed);
        assert!(wait(store.find(id(1))).unwrap().is_some());
        drop(file);
    }
}

#[test]
fn the_one_lost_first_makes_room() {
    for Fixture { store, now, file, server } in all() {
        for n in 1..=3 {
            assert!(wait(store.open(identity(n), Owner(1))).unwrap());
        }
        assert!(!wait(store.open(identity(4), Owner(1))).unwrap(), "all are connected");
        for n in [2, 1] {
            now.fetch_add(1, Ordering::Relaxed);
            wait(store.lost(id(n), Owner(1))).unwrap();
        }
        assert!(wait(store.open(identity(5), Owner(1))).unwrap());
        assert!(wait(store.find(id(2))).unwrap().is_none());
        assert!(wait(store.find(id(1))).unwrap().is_some());
        drop((file, server));
    }
}

#[test]
fn sessions_of_a_killed_process_come_back() {
    let [_, Fixture { store, now, file, .. }] = fixtures();
    let (history, directory) = file.unwrap();
    wait(store.open(identity(1), Owner(1))).unwrap();
    wait(store.join(id(1), Owner(1), room(0, "a", at(1)))).unwrap();
    drop(store);
    wait(history.close());
    drop(history);
    for (later, there) in [(CONFIG.recovery_ms / 2, true), (2 * CONFIG.recovery_ms, false)] {
        now.fetch_add(later, Ordering::Relaxed);
        let hand = now.clone();
        let history = open(directory.path(), Clock::new(move || hand.load(Ordering::Relaxed)));
        let store = history.sessions(CONFIG);
        assert_eq!(wait(store.find(id(1))).unwrap().is_some(), there);
        wait(history.close());
    }
}

#[test]
fn what_a_user_was_told_never_goes_back() {
    for Fixture { store, file, server, .. } in all() {
        let user = UserId::new("ann").unwrap();
        let told = |epoch, offset| Position { epoch: Epoch(epoch), offset };
        assert_eq!(wait(store.told_up_to(&user)).unwrap(), None);
        for (tell, then) in [((5, 9), (5, 9)), ((5, 3), (5, 9)), ((u64::MAX, 1), (u64::MAX, 1))] {
            wait(store.told(&user, told(tell.0, tell.1))).unwrap();
            assert_eq!(wait(store.told_up_to(&user)).unwrap(), Some(told(then.0, then.1)));
        }
        drop((file, server));
    }
}
