//! One suite for every [`History`]: what the port promises, tried on each.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use hubbub_protocol::{
    id::{MessageId, RoomName, UserId},
    position::{Epoch, Position},
    record::{Body, Record, Stored},
    timestamp::Timestamp,
};
use parking_lot::Mutex;
use proptest::prelude::*;

use crate::{
    clock::Clock,
    embedded::EmbeddedHistory,
    history::{HistoryConfig, KEY_TTL_MS, NoObserver},
    memory::MemoryHistory,
    ports::{Append, Appended, Bus, History, IdempotencyKey, Page, PortFuture, Range, StoreError},
    redis::{
        LinkConfig, NoLinkObserver, RedisLink, history::RedisHistory, test_server::TestServer,
    },
};

/// Where the clock of the tests starts.
const START: u64 = 1_700_000_000_000;

/// A bus that remembers.
#[derive(Default)]
pub(crate) struct TestBus(Mutex<Vec<Arc<Stored>>>);

impl TestBus {
    /// Everything it got, in order.
    pub(crate) fn all(&self) -> Vec<Arc<Stored>> {
        self.0.lock().clone()
    }
}

impl Bus for TestBus {
    fn stored(&self, records: &[Arc<Stored>]) {
        self.0.lock().extend_from_slice(records);
    }
}

/// A history under test and what stands around it.
pub(crate) struct Fixture {
    pub history: Arc<dyn History>,
    pub bus: Arc<TestBus>,
    pub now: Arc<AtomicU64>,
    _keep: Option<Box<dyn std::any::Any + Send + Sync>>,
}

/// A clock that stands still, and its hand.
pub(crate) fn test_clock() -> (Clock, Arc<AtomicU64>) {
    let now = Arc::new(AtomicU64::new(START));
    let hand = Arc::clone(&now);
    (Clock::new(move || now.load(Ordering::SeqCst)), hand)
}

type Make = fn(HistoryConfig) -> Fixture;

fn memory(config: HistoryConfig) -> Fixture {
    let ((clock, now), bus) = (test_clock(), Arc::<TestBus>::default());
    let history = Arc::new(MemoryHistory::with_clock(config, Arc::clone(&bus) as _, clock));
    Fixture { history, bus, now, _keep: None }
}

fn embedded(config: HistoryConfig) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let ((clock, now), bus) = (test_clock(), Arc::<TestBus>::default());
    let history = EmbeddedHistory::open_with_clock(
        directory.path(),
        config,
        Arc::clone(&bus) as _,
        Arc::new(NoObserver),
        clock,
    );
    let history = Arc::new(history.unwrap());
    Fixture { history, bus, now, _keep: Some(Box::new(directory)) }
}

/// What stands behind a history in Redis.
struct InRedis {
    link: RedisLink,
    _server: TestServer,
}

impl Drop for InRedis {
    fn drop(&mut self) {
        self.link.close();
    }
}

fn redis(config: HistoryConfig) -> Fixture {
    let server = TestServer::start(&[]);
    let link = RedisLink::start(LinkConfig::new(server.address()), Arc::new(NoLinkObserver));
    let link = link.unwrap();
    let ((clock, now), bus) = (test_clock(), Arc::<TestBus>::default());
    let history = RedisHistory::with_clock(link.clone(), config, Arc::clone(&bus) as _, clock);
    let up = link.clone();
    wait(Box::pin(async move { drop(up.state().wait_for(|state| state.up).await.unwrap()) }));
    let keep = InRedis { link, _server: server };
    Fixture { history: Arc::new(history), bus, now, _keep: Some(Box::new(keep)) }
}

macro_rules! contract {
    ($($(#[$attribute:meta])* $name:ident),* $(,)?) => {
        mod on_memory { $(#[test] $(#[$attribute])* fn $name() { super::$name(super::memory) })* }
        mod on_embedded { $(#[test] $(#[$attribute])* fn $name() { super::$name(super::embedded) })* }
        contract_on_redis! { $($name),* }
    };
}

/// Rooms in Redis are not counted, they go when nobody uses them.
macro_rules! contract_on_redis {
    ($a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $f:ident, $g:ident, $h:ident, $i:ident,
     rooms_are_bounded_and_idle_ones_make_space, a_room_in_use_keeps_its_place,
     $j:ident, $k:ident) => {
        contract_on_redis! { @ $a $b $c $d $e $f $g $h $i $j $k }
    };
    (@ $($name:ident)*) => {
        mod on_redis { $(#[test] fn $name() { super::$name(super::redis) })* }
    };
}

contract! {
    offsets_rise_by_one_and_heads_follow,
    the_bus_has_the_order_of_the_offsets,
    a_key_stores_once,
    a_key_stores_once_among_threads,
    a_key_is_forgotten_after_ten_minutes,
    ranges_are_exact,
    pages_are_bounded_in_bytes,
    rooms_are_bounded_in_number_of_messages,
    messages_expire,
    rooms_are_bounded_and_idle_ones_make_space,
    a_room_in_use_keeps_its_place,
    closing_ends_it,
    it_does_what_the_model_does,
}

/// Waits for a future of a port, which never waits for anything of the test.
pub(crate) fn wait<T>(future: PortFuture<T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(20), future).await.expect("an answer in time")
    })
}

pub(crate) fn room(name: &str) -> RoomName {
    RoomName::new(name).unwrap()
}

pub(crate) fn record(name: &str, content: &str) -> Record {
    Record {
        id: MessageId(uuid::Uuid::now_v7()),
        room: room(name),
        user: Some(UserId::new("ann").unwrap()),
        username: None,
        timestamp: Timestamp(START),
        body: Body::Message { content: content.into(), data: None },
        trace: None,
    }
}

pub(crate) fn key(user: &str, key: &str) -> Option<IdempotencyKey> {
    Some(IdempotencyKey { user: UserId::new(user).ok(), key: key.into() })
}

/// Starts an append; its answer comes through the channel.
pub(crate) fn start(
    history: &dyn History,
    record: Record,
    key: Option<IdempotencyKey>,
) -> mpsc::Receiver<Result<Appended, StoreError>> {
    let (send, receive) = mpsc::channel();
    history.append(Append { record, key, done: Box::new(move |r| drop(send.send(r))) });
    receive
}

/// Appends and waits for the answer.
pub(crate) fn publish_with(
    history: &dyn History,
    name: &str,
    content: &str,
    key: Option<IdempotencyKey>,
) -> Result<Appended, StoreError> {
    let answer = start(history, record(name, content), key);
    answer.recv_timeout(Duration::from_secs(20)).expect("an answer in time")
}

pub(crate) fn publish(
    history: &dyn History,
    name: &str,
    content: &str,
) -> Result<Appended, StoreError> {
    publish_with(history, name, content, None)
}

pub(crate) fn read(history: &dyn History, name: &str, range: Range, limit: usize) -> Page {
    wait(history.read(&room(name), range, limit)).unwrap()
}

pub(crate) fn offsets(page: &Page) -> Vec<u64> {
    page.records.iter().map(|r| r.position.offset).collect()
}

fn offsets_rise_by_one_and_heads_follow(make: Make) {
    let f = make(HistoryConfig::default());
    let empty = wait(f.history.head(&room("a"))).unwrap();
    assert_ne!(empty.epoch, Epoch(0));
    assert_eq!(empty.offset, 0);
    assert_eq!(wait(f.history.head(&room("a"))).unwrap(), empty, "the epoch is kept");
    for offset in 1..=5 {
        let appended = publish(&*f.history, "a", "x").unwrap();
        assert_eq!(appended.position, Position { epoch: empty.epoch, offset });
        assert!(!appended.duplicate);
        assert_eq!(wait(f.history.head(&room("a"))).unwrap(), appended.position);
    }
    let other = publish(&*f.history, "b", "x").unwrap();
    assert_eq!(other.position.offset, 1);
    assert_ne!(other.position.epoch, empty.epoch);
    let unknown = read(&*f.history, "new", Range::Newest, 10);
    assert_eq!((unknown.head.offset, unknown.oldest, unknown.has_more), (0, 1, false));
    assert_eq!(wait(f.history.head(&room("new"))).unwrap(), unknown.head);
}

fn the_bus_has_the_order_of_the_offsets(make: Make) {
    const THREADS: usize = 8;
    const EACH: usize = 150;
    let f = make(HistoryConfig { max_messages: 10_000, ..HistoryConfig::default() });
    let rooms = ["a", "b", "c"];
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (f, send) = (&f, send.clone());
            scope.spawn(move || {
                for n in 0..EACH {
                    let (send, bus) = (send.clone(), Arc::clone(&f.bus));
                    let record = record(rooms[(thread + n) % 3], "x");
                    let done = Box::new(move |result: Result<Appended, StoreError>| {
                        let appended = result.unwrap();
                        // Before `done`, the record was on the bus.
                        let seen = bus.0.lock().iter().any(|s| s.record.id == appended.id);
                        send.send((appended, seen)).unwrap();
                    });
                    f.history.append(Append { record, key: None, done });
                }
            });
        }
    });
    let mut acked = HashMap::new();
    for _ in 0..THREADS * EACH {
        let (appended, seen) = receive.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(seen, "done came before the bus");
        acked.insert(appended.id, appended.position);
    }
    let all = f.bus.all();
    assert_eq!(all.len(), THREADS * EACH);
    let mut heads = HashMap::<RoomName, Position>::new();
    for stored in &all {
        assert_eq!(acked[&stored.record.id], stored.position);
        let head = heads
            .entry(stored.record.room.clone())
            .or_insert(Position { offset: 0, ..stored.position });
        assert_eq!(stored.position, Position { offset: head.offset + 1, ..*head });
        *head = stored.position;
    }
    for name in rooms {
        assert_eq!(wait(f.history.head(&room(name))).unwrap(), heads[&room(name)]);
        let page = read(&*f.history, name, Range::After(0), 10_000);
        let ids = |s: &Arc<Stored>| s.record.id;
        let on_bus = all.iter().filter(|s| s.record.room == room(name)).map(ids);
        assert!(page.records.iter().map(ids).eq(on_bus));
    }
}

fn a_key_stores_once(make: Make) {
    let f = make(HistoryConfig::default());
    let first = publish_with(&*f.history, "a", "x", key("ann", "k")).unwrap();
    let again = publish_with(&*f.history, "a", "y", key("ann", "k")).unwrap();
    assert_eq!(again, Appended { duplicate: true, ..first });
    assert_eq!(f.bus.all().len(), 1, "nobody gets a second copy");
    for (name, key) in
        [("a", key("ben", "k")), ("a", key("", "k")), ("b", key("ann", "k")), ("a", None)]
    {
        assert!(!publish_with(&*f.history, name, "x", key).unwrap().duplicate);
    }
    assert!(publish_with(&*f.history, "a", "x", key("", "k")).unwrap().duplicate);
    assert_eq!(wait(f.history.head(&room("a"))).unwrap().offset, 4);
}

fn a_key_stores_once_among_threads(make: Make) {
    let f = make(HistoryConfig::default());
    // Started together, so that repetitions meet inside one batch.
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let start =
                        |n| start(&*f.history, record("a", "x"), key("ann", &format!("{n}")));
                    (0..50).map(start).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().unwrap().into_iter().enumerate()).collect()
    });
    let mut firsts = HashMap::new();
    let mut stored = 0;
    for (n, answer) in answers {
        let appended = answer.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
        stored += usize::from(!appended.duplicate);
        let first = *firsts.entry(n).or_insert((appended.id, appended.position));
        assert_eq!((appended.id, appended.position), first);
    }
    assert_eq!((stored, f.bus.all().len()), (50, 50));
}

fn a_key_is_forgotten_after_ten_minutes(make: Make) {
    let f = make(HistoryConfig::default());
    let first = publish_with(&*f.history, "a", "x", key("ann", "k")).unwrap();
    f.now.fetch_add(KEY_TTL_MS - 1, Ordering::SeqCst);
    assert!(publish_with(&*f.history, "a", "x", key("ann", "k")).unwrap().duplicate);
    f.now.fetch_add(1, Ordering::SeqCst);
    let next = publish_with(&*f.history, "a", "x", key("ann", "k")).unwrap();
    assert!(!next.duplicate);
    assert_eq!(next.position.offset, first.position.offset + 1);
    assert!(publish_with(&*f.history, "a", "x", key("ann", "k")).unwrap().duplicate);
}

fn ranges_are_exact(make: Make) {
    let f = make(HistoryConfig::default());
    for n in 1..=10 {
        publish(&*f.history, "a", &n.to_string()).unwrap();
        publish(&*f.history, "b", "between").unwrap();
    }
    for (range, limit, expected, has_more) in [
        (Range::After(0), 3, vec![1, 2, 3], true),
        (Range::After(7), 3, vec![8, 9, 10], false),
        (Range::After(8), 50, vec![9, 10], false),
        (Range::After(10), 50, vec![], false),
        (Range::After(u64::MAX), 50, vec![], false),
        (Range::Before(11), 3, vec![8, 9, 10], true),
        (Range::Before(u64::MAX), 10, (1..=10).collect(), false),
        (Range::Before(4), 3, vec![1, 2, 3], false),
        (Range::Before(5), 3, vec![2, 3, 4], true),
        (Range::Before(1), 3, vec![], false),
        (Range::Before(0), 3, vec![], false),
        (Range::Newest, 2, vec![9, 10], true),
        (Range::Newest, 10, (1..=10).collect(), false),
        (Range::Newest, 0, vec![], true),
        (Range::After(3), 0, vec![], true),
    ] {
        let page = read(&*f.history, "a", range, limit);
        assert_eq!(offsets(&page), expected, "{range:?} {limit}");
        assert_eq!(page.has_more, has_more, "{range:?} {limit}");
        assert_eq!((page.head.offset, page.oldest), (10, 1));
        for stored in &page.records {
            let Body::Message { content, .. } = &stored.record.body else { panic!() };
            assert_eq!(**content, stored.position.offset.to_string());
            assert_eq!(stored.position.epoch, page.head.epoch);
        }
    }
}

fn pages_are_bounded_in_bytes(make: Make) {
    let f = make(HistoryConfig::default());
    let big = "x".repeat(100 * 1024);
    for _ in 0..6 {
        publish(&*f.history, "a", &big).unwrap();
    }
    publish(&*f.history, "b", &"x".repeat(400 * 1024)).unwrap();
    publish(&*f.history, "b", &"x".repeat(400 * 1024)).unwrap();
    let forward = read(&*f.history, "a", Range::After(0), 100);
    assert_eq!((offsets(&forward), forward.has_more), (vec![1, 2, 3], true));
    let back = read(&*f.history, "a", Range::Before(6), 100);
    assert_eq!((offsets(&back), back.has_more), (vec![3, 4, 5], true));
    let one = read(&*f.history, "b", Range::Newest, 100);
    assert_eq!((offsets(&one), one.has_more), (vec![2], true));
}

fn rooms_are_bounded_in_number_of_messages(make: Make) {
    let f = make(HistoryConfig { max_messages: 10, ..HistoryConfig::default() });
    for n in 1..=300_u64 {
        publish(&*f.history, "a", "x").unwrap();
        if n % 37 == 0 || n == 9 || n == 11 {
            let page = read(&*f.history, "a", Range::After(0), 1000);
            let oldest = n.saturating_sub(9).max(1);
            assert_eq!(page.oldest, oldest);
            assert_eq!(offsets(&page), (oldest..=n).collect::<Vec<_>>());
        }
    }
}

fn messages_expire(make: Make) {
    let f = make(HistoryConfig { ttl_ms: 1000, ..HistoryConfig::default() });
    for _ in 0..20 {
        publish(&*f.history, "a", "x").unwrap();
        f.now.fetch_add(100, Ordering::SeqCst);
    }
    // Offset n was taken at (n - 1) * 100; it is 2000, so that 1000 and older is expired.
    let page = read(&*f.history, "a", Range::Newest, 100);
    assert_eq!((offsets(&page), page.oldest), ((12..=20).collect(), 12));
    // A clock that is set back makes no hole and brings nothing back.
    f.now.fetch_sub(300, Ordering::SeqCst);
    publish(&*f.history, "a", "x").unwrap();
    f.now.fetch_add(300, Ordering::SeqCst);
    let page = read(&*f.history, "a", Range::Newest, 100);
    assert_eq!((offsets(&page), page.oldest), ((12..=21).collect(), 12));
    f.now.fetch_add(1000, Ordering::SeqCst);
    let page = read(&*f.history, "a", Range::Newest, 100);
    assert_eq!((offsets(&page), page.oldest, page.head.offset), (vec![], 22, 21));
    assert!(!page.has_more);
    // Nothing is left, and still the room stands where it stood.
    let next = publish(&*f.history, "a", "x").unwrap();
    assert_eq!(next.position, Position { offset: 22, ..page.head });
}

fn rooms_are_bounded_and_idle_ones_make_space(make: Make) {
    let config = HistoryConfig { max_rooms: 2, ttl_ms: 3_600_000, ..HistoryConfig::default() };
    let f = make(config);
    let first = publish(&*f.history, "a", "x").unwrap();
    wait(f.history.head(&room("b"))).unwrap();
    assert_eq!(publish(&*f.history, "c", "x"), Err(StoreError::TooManyRooms));
    assert_eq!(wait(f.history.head(&room("c"))), Err(StoreError::TooManyRooms));
    assert!(publish(&*f.history, "b", "x").is_ok(), "the others go on");
    f.now.fetch_add(3_600_000, Ordering::SeqCst);
    assert_eq!(publish(&*f.history, "c", "x").unwrap().position.offset, 1);
    assert_eq!(publish(&*f.history, "d", "x").unwrap().position.offset, 1);
    assert_eq!(publish(&*f.history, "e", "x"), Err(StoreError::TooManyRooms));
    f.now.fetch_add(3_600_000, Ordering::SeqCst);
    let back = publish(&*f.history, "a", "x").unwrap();
    assert_eq!(back.position.offset, 1);
    assert_ne!(back.position.epoch, first.position.epoch, "it begins anew");
}

fn a_room_in_use_keeps_its_place(make: Make) {
    let config = HistoryConfig { max_rooms: 1, ttl_ms: 3_600_000, ..HistoryConfig::default() };
    let f = make(config);
    wait(f.history.head(&room("a"))).unwrap();
    f.now.fetch_add(3_000_000, Ordering::SeqCst);
    let first = publish(&*f.history, "a", "x").unwrap();
    f.now.fetch_add(3_000_000, Ordering::SeqCst);
    // It was made long ago, but not used last so long ago.
    assert_eq!(publish(&*f.history, "b", "x"), Err(StoreError::TooManyRooms));
    assert_eq!(wait(f.history.head(&room("a"))).unwrap(), first.position);
}

fn closing_ends_it(make: Make) {
    let f = make(HistoryConfig::default());
    let answers: Vec<_> = (0..200).map(|_| start(&*f.history, record("a", "x"), None)).collect();
    wait(f.history.close());
    for (n, answer) in answers.into_iter().enumerate() {
        // Everything that was taken is stored when the future has ended.
        assert_eq!(answer.try_recv().unwrap().unwrap().position.offset, n as u64 + 1);
    }
    assert_eq!(publish(&*f.history, "a", "x"), Err(StoreError::Closed));
    assert_eq!(wait(f.history.head(&room("a"))), Err(StoreError::Closed));
    let page = wait(f.history.read(&room("a"), Range::Newest, 1));
    assert_eq!(page.err(), Some(StoreError::Closed));
    wait(f.history.close());
}

#[derive(Clone, Debug)]
enum Step {
    Publish(usize, Option<usize>),
    Advance(u64),
    Read(usize, Range, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let range = prop_oneof![
        Just(Range::Newest),
        (0..30_u64).prop_map(Range::After),
        (0..30_u64).prop_map(Range::Before),
    ];
    prop_oneof![
        6 => (0..2_usize, prop::option::of(0..4_usize)).prop_map(|(r, k)| Step::Publish(r, k)),
        2 => (0..400_000_u64).prop_map(Step::Advance),
        3 => (0..2_usize, range, 0..8_usize).prop_map(|(r, s, l)| Step::Read(r, s, l)),
    ]
}

/// A room as simply as can be: everything ever stored, and when.
#[derive(Default)]
struct Model {
    epoch: Option<Epoch>,
    all: Vec<(u64, MessageId)>,
    keys: HashMap<usize, (u64, Appended)>,
}

impl Model {
    /// A room may begin anew only after nothing has happened in it for the ttl.
    fn follow(&mut self, epoch: Epoch, now: u64, ttl: u64) {
        if self.epoch.is_some_and(|known| known != epoch) {
            assert!(self.all.last().is_none_or(|(at, _)| at + ttl <= now));
            *self = Self::default();
        }
        self.epoch = Some(epoch);
    }
}

fn it_does_what_the_model_does(make: Make) {
    const MAX: usize = 5;
    const TTL: u64 = 900_000;
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..80))| {
        let f = make(HistoryConfig { max_messages: MAX, ttl_ms: TTL, ..Default::default() });
        let names = ["a", "b"];
        let mut models: [Model; 2] = Default::default();
        for step in steps {
            let now = f.now.load(Ordering::SeqCst);
            match step {
                Step::Advance(ms) => {
                    f.now.fetch_add(ms, Ordering::SeqCst);
                }
                Step::Publish(r, k) => {
                    let key = k.and_then(|k| key("ann", &k.to_string()));
                    let appended = publish_with(&*f.history, names[r], "x", key).unwrap();
                    let model = &mut models[r];
                    let first = k.and_then(|k| model.keys.get(&k).copied())
                        .filter(|(at, _)| at + KEY_TTL_MS > now);
                    if let Some((_, first)) = first {
                        prop_assert_eq!(appended, Appended { duplicate: true, ..first });
                        continue;
                    }
                    model.follow(appended.position.epoch, now, TTL);
                    model.all.push((now, appended.id));
                    prop_assert!(!appended.duplicate);
                    prop_assert_eq!(appended.position.offset, model.all.len() as u64);
                    if let Some(k) = k {
                        model.keys.insert(k, (now, appended));
                    }
                }
                Step::Read(r, range, limit) => {
                    let page = read(&*f.history, names[r], range, limit);
                    let model = &mut models[r];
                    model.follow(page.head.epoch, now, TTL);
                    let kept: Vec<_> = model.all.iter().enumerate().rev().take(MAX)
                        .filter(|(_, (at, _))| at + TTL > now)
                        .map(|(index, (_, id))| (index as u64 + 1, *id)).collect();
                    let asked: Vec<_> = kept.iter().copied().filter(|(offset, _)| match range {
                        Range::After(n) => *offset > n,
                        Range::Before(n) => *offset < n,
                        Range::Newest => true,
                    }).collect();
                    let mut expected: Vec<_> = match range {
                        Range::After(_) => asked.iter().rev().take(limit).copied().collect(),
                        _ => asked.iter().take(limit).copied().collect(),
                    };
                    expected.sort_unstable();
                    let got: Vec<_> =
                        page.records.iter().map(|s| (s.position.offset, s.record.id)).collect();
                    prop_assert_eq!(got, expected);
                    let head = model.all.len() as u64;
                    prop_assert_eq!(page.head.offset, head);
                    prop_assert_eq!(page.oldest, kept.last().map_or(head + 1, |(o, _)| *o));
                    prop_assert_eq!(page.has_more, asked.len() > limit);
                }
            }
        }
        wait(f.history.close());
    });
}
