//! What only a file can do: last, be locked, be full, be killed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{HashMap, HashSet},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use hubbub_protocol::{position::Position, record::Stored};
use parking_lot::Mutex;
use rusqlite::Connection;

use super::{EmbeddedHistory, FILE_NAME, writer::Fault};
use crate::{
    archive::ArchivedRooms,
    clock::Clock,
    contract_tests::{
        TestBus, key, offsets, publish, publish_with, read, record, room, start, test_clock, wait,
    },
    history::{HistoryConfig, NoObserver, StoreObserver},
    ports::{Append, Bus, History, Range, StoreError},
};

fn open_at(
    directory: &Path,
    config: HistoryConfig,
    clock: Clock,
) -> (EmbeddedHistory, Arc<TestBus>) {
    let bus = Arc::<TestBus>::default();
    let history = EmbeddedHistory::open_with_clock(
        directory,
        config,
        Arc::clone(&bus) as _,
        Arc::new(NoObserver),
        clock,
    );
    (history.unwrap(), bus)
}

fn open(directory: &Path) -> (EmbeddedHistory, Arc<TestBus>) {
    let config = HistoryConfig { max_messages: 1_000_000, ..HistoryConfig::default() };
    open_at(directory, config, Clock::system())
}

/// Waits for a condition that another thread brings about.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn count(directory: &Path, table: &str) -> i64 {
    let db = Connection::open(directory.join(FILE_NAME)).unwrap();
    db.busy_timeout(Duration::from_secs(5)).unwrap();
    db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// A bus that holds the store up until it is told to go on.
struct Gate {
    entered: mpsc::Sender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Bus for Gate {
    fn stored(&self, _: &[Arc<Stored>]) {
        let _ = self.entered.send(());
        let _ = self.go_on.lock().recv_timeout(Duration::from_secs(20));
    }
}

#[test]
fn a_restart_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let nested = directory.path().join("not/yet/there");
    let (history, _) = open(&nested);
    let first = publish_with(&history, "a", "1", key("ann", "k")).unwrap();
    publish(&history, "a", "2").unwrap();
    let idle = wait(history.head(&room("idle"))).unwrap();
    wait(history.close());

    let (history, bus) = open(&nested);
    assert_eq!(wait(history.head(&room("idle"))).unwrap(), idle);
    let again = publish_with(&history, "a", "1", key("ann", "k")).unwrap();
    assert!(again.duplicate);
    assert_eq!((again.id, again.position), (first.id, first.position));
    assert!(bus.all().is_empty());
    let third = publish(&history, "a", "3").unwrap();
    assert_eq!(third.position, Position { offset: 3, ..first.position });
    assert_eq!(offsets(&read(&history, "a", Range::Newest, 10)), [1, 2, 3]);
}

#[test]
fn one_process_has_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let (history, bus) = open(directory.path());
    let second = EmbeddedHistory::open(
        directory.path(),
        HistoryConfig::default(),
        Arc::clone(&bus) as _,
        Arc::new(NoObserver),
    );
    assert_eq!(second.err().unwrap().code(), "in_use");
    // When closing has ended the next may open it at once.
    wait(history.close());
    drop(open(directory.path()));
}

#[test]
fn a_full_queue_refuses_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (entered, has_entered) = mpsc::channel();
    let (let_go, go_on) = mpsc::channel();
    let bus = Arc::new(Gate { entered, go_on: Mutex::new(go_on) });
    let config = HistoryConfig {
        queue_max_messages: 8,
        queue_max_bytes: 64 * 1024,
        ..HistoryConfig::default()
    };
    let history =
        EmbeddedHistory::open(directory.path(), config, bus, Arc::new(NoObserver)).unwrap();
    let held = start(&history, record("a", "x"), None);
    has_entered.recv_timeout(Duration::from_secs(20)).unwrap();
    let waiting: Vec<_> = (0..8).map(|_| start(&history, record("a", "x"), None)).collect();
    let refused = start(&history, record("a", "x"), None);
    assert_eq!(refused.try_recv(), Ok(Err(StoreError::Full)), "without waiting");
    // Reads do not wait for the writer.
    assert_eq!(read(&history, "a", Range::Newest, 10).head.offset, 1);
    for _ in 0..2 {
        let_go.send(()).unwrap();
    }
    assert!(held.recv_timeout(Duration::from_secs(20)).unwrap().is_ok());
    for answer in waiting {
        assert!(answer.recv_timeout(Duration::from_secs(20)).unwrap().is_ok());
    }
    // Now by bytes: one is held, one waits, the next is too much.
    let held = start(&history, record("a", "x"), None);
    for _ in 0..2 {
        has_entered.recv_timeout(Duration::from_secs(20)).unwrap();
    }
    let big = "x".repeat(24 * 1024);
    let waiting = start(&history, record("a", &big), None);
    let refused = start(&history, record("a", &big), None);
    assert_eq!(refused.try_recv(), Ok(Err(StoreError::Full)));
    for _ in 0..2 {
        let_go.send(()).unwrap();
    }
    assert!(held.recv_timeout(Duration::from_secs(20)).unwrap().is_ok());
    assert_eq!(waiting.recv_timeout(Duration::from_secs(20)).unwrap().unwrap().position.offset, 11);
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let (history, bus) = open(directory.path());
    let first = publish(&history, "a", "x").unwrap();
    history.fault(Fault::MaxPages(40));
    let big = "x".repeat(8 * 1024);
    let mut acked = vec![first];
    // In batches, of which some fail as a whole.
    for _ in 0..6 {
        let answers: Vec<_> = (0..10).map(|_| start(&history, record("a", &big), None)).collect();
        for answer in answers {
            match answer.recv_timeout(Duration::from_secs(20)).unwrap() {
                Ok(appended) => acked.push(appended),
                Err(e) => assert!(matches!(e, StoreError::Failed(_)), "{e:?}"),
            }
        }
    }
    // What is too much for a batch may leave room for a few alone.
    let refused = (0..40).find_map(|_| publish(&history, "a", &big).map(|a| acked.push(a)).err());
    let failed = refused.expect("the disk is full");
    assert!(matches!(&failed, StoreError::Failed(reason) if reason.contains("full")), "{failed:?}");
    assert!(matches!(publish(&history, "new", &big), Err(StoreError::Failed(_))));
    // Reading goes on.
    assert_eq!(read(&history, "a", Range::Newest, 1).head, acked.last().unwrap().position);

    history.fault(Fault::MaxPages(1 << 30));
    for _ in 0..5 {
        acked.push(publish(&history, "a", &big).unwrap());
    }
    let ids: Vec<_> = acked.iter().map(|a| a.id).collect();
    assert!(bus.all().iter().map(|s| s.record.id).eq(ids.iter().copied()), "only the stored");
    for (offset, appended) in (1..).zip(&acked) {
        assert_eq!(appended.position, Position { offset, ..first.position });
    }
    wait(history.close());
    let (history, _) = open(directory.path());
    let mut stored = Vec::new();
    while stored.len() < acked.len() {
        let page = read(&history, "a", Range::After(stored.len() as u64), 100);
        assert!(!page.records.is_empty());
        stored.extend(page.records.iter().map(|s| s.record.id));
    }
    assert_eq!(stored, ids);
}

#[test]
fn a_commit_whose_answer_is_lost_is_looked_up() {
    let directory = tempfile::tempdir().unwrap();
    let (history, bus) = open(directory.path());
    publish(&history, "a", "1").unwrap();
    history.fault(Fault::LostCommit);
    // It is in the file, so it succeeded.
    assert_eq!(publish(&history, "a", "2").unwrap().position.offset, 2);
    assert_eq!(publish(&history, "a", "3").unwrap().position.offset, 3);
    assert_eq!(bus.all().len(), 3);
}

#[test]
fn a_panic_ends_only_its_batch() {
    struct Touchy(AtomicUsize);
    impl Bus for Touchy {
        fn stored(&self, _: &[Arc<Stored>]) {
            assert!(self.0.fetch_add(1, Ordering::SeqCst) != 1, "as the test wants");
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let bus = Arc::new(Touchy(AtomicUsize::new(0)));
    let config = HistoryConfig::default();
    let history =
        EmbeddedHistory::open(directory.path(), config, bus, Arc::new(NoObserver)).unwrap();
    publish(&history, "a", "1").unwrap();
    history.fault(Fault::Panic);
    assert!(matches!(publish(&history, "a", "2"), Err(StoreError::Failed(_))));
    // The bus panics on this one; it is stored all the same.
    assert_eq!(publish(&history, "a", "2").unwrap().position.offset, 2);
    let done = Box::new(|_| panic!("as the test wants"));
    history.append(Append { record: record("a", "3"), key: None, done });
    assert_eq!(publish(&history, "a", "4").unwrap().position.offset, 4);
}

#[test]
fn what_is_expired_leaves_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let (clock, now) = test_clock();
    let config = HistoryConfig { ttl_ms: 1000, ..HistoryConfig::default() };
    let (history, _) = open_at(directory.path(), config, clock);
    let first = publish_with(&history, "a", "x", key("ann", "k")).unwrap();
    for n in 0..300 {
        publish(&history, &format!("room {n}"), "x").unwrap();
    }
    now.fetch_add(1000, Ordering::SeqCst);
    eventually("messages go", || count(directory.path(), "messages") == 0);
    assert_eq!(count(directory.path(), "rooms"), 301, "keys still name the rooms' epochs");
    assert!(publish_with(&history, "a", "x", key("ann", "k")).unwrap().duplicate);
    assert_eq!(wait(history.head(&room("a"))).unwrap(), first.position);
    now.fetch_add(600_000, Ordering::SeqCst);
    eventually("keys go", || count(directory.path(), "keys") == 0);
    eventually("rooms go", || count(directory.path(), "rooms") == 0);
    let back = publish(&history, "a", "x").unwrap();
    assert_eq!(back.position.offset, 1);
    assert_ne!(back.position.epoch, first.position.epoch);
}

#[test]
fn a_smaller_bound_trims_the_file_in_slices() {
    let directory = tempfile::tempdir().unwrap();
    let (history, _) = open(directory.path());
    let answers: Vec<_> = (0..6000).map(|_| start(&history, record("a", "x"), None)).collect();
    wait(history.close());
    assert!(answers.into_iter().all(|a| a.try_recv().unwrap().is_ok()));
    let config = HistoryConfig { max_messages: 10, ..HistoryConfig::default() };
    let (history, _) = open_at(directory.path(), config, Clock::system());
    let page = read(&history, "a", Range::Newest, 100);
    assert_eq!((page.oldest, page.records.len()), (5991, 10));
    eventually("the rest goes", || count(directory.path(), "messages") == 10);
}

#[test]
fn archived_rooms_are_exempt_from_the_bounds() {
    let directory = tempfile::tempdir().unwrap();
    let (clock, now) = test_clock();
    let config = HistoryConfig {
        max_messages: 10,
        ttl_ms: 1000,
        max_rooms: 2,
        archived: ArchivedRooms::new(&["a*"]),
        ..HistoryConfig::default()
    };
    let (history, _) = open_at(directory.path(), config.clone(), clock.clone());
    for name in ["a", "b"] {
        let answers: Vec<_> = (0..300).map(|_| start(&history, record(name, "x"), None)).collect();
        assert!(answers.into_iter().all(|a| a.recv().unwrap().is_ok()));
    }
    let first = wait(history.head(&room("a"))).unwrap();
    now.fetch_add(10_000_000, Ordering::SeqCst);
    // The other room goes, and makes space; the archived one never does.
    eventually("what is not archived goes", || count(directory.path(), "messages") == 300);
    let page = read(&history, "a", Range::After(0), 200);
    assert_eq!((page.oldest, page.recent, page.has_more), (1, 301, true));
    assert_eq!(offsets(&page), (1..=200).collect::<Vec<_>>());
    assert_eq!(offsets(&read(&history, "a", Range::Before(4), 200)), [1, 2, 3]);
    eventually("an idle room goes", || publish(&history, "c", "x").is_ok());
    assert_eq!(publish(&history, "d", "x"), Err(StoreError::TooManyRooms));
    wait(history.close());
    drop(history);
    // Nor by a restart; but without the rule it is a room as any other.
    let (history, _) = open_at(directory.path(), config.clone(), clock.clone());
    assert_eq!(read(&history, "a", Range::Newest, 1).oldest, 1);
    let next = publish(&history, "a", "x").unwrap();
    assert_eq!(next.position, Position { offset: 301, ..first });
    wait(history.close());
    drop(history);
    let config = HistoryConfig { archived: ArchivedRooms::default(), ..config };
    let (history, _) = open_at(directory.path(), config, clock);
    assert_eq!(read(&history, "a", Range::Newest, 100).oldest, 301);
    eventually("the rest goes", || count(directory.path(), "messages") <= 2);
}

#[test]
fn the_observer_is_told() {
    #[derive(Default)]
    struct Counts(AtomicUsize, AtomicUsize, AtomicUsize);
    impl StoreObserver for Counts {
        fn committed(&self, records: usize, bytes: usize, seconds: f64) {
            assert!(bytes > records && seconds > 0.0);
            self.0.fetch_add(records, Ordering::SeqCst);
        }
        fn failed(&self, records: usize) {
            self.1.fetch_add(records, Ordering::SeqCst);
        }
        fn queue(&self, len: usize, _: usize) {
            self.2.fetch_max(len, Ordering::SeqCst);
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let counts = Arc::<Counts>::default();
    let history = EmbeddedHistory::open(
        directory.path(),
        HistoryConfig::default(),
        Arc::<TestBus>::default(),
        Arc::clone(&counts) as _,
    )
    .unwrap();
    for _ in 0..3 {
        publish(&history, "a", "x").unwrap();
    }
    history.fault(Fault::Panic);
    publish(&history, "a", "x").unwrap_err();
    let get = |count: &AtomicUsize| count.load(Ordering::SeqCst);
    assert_eq!((get(&counts.0), get(&counts.1)), (3, 1));
    assert!(get(&counts.2) >= 1);
}

#[test]
fn what_is_no_record_does_not_stop_its_room() {
    let directory = tempfile::tempdir().unwrap();
    let (history, _) = open(directory.path());
    let taken: Vec<_> = (0..4).map(|_| publish(&history, "a", "x").unwrap()).collect();
    let db = Connection::open(directory.path().join(FILE_NAME)).unwrap();
    db.busy_timeout(Duration::from_secs(5)).unwrap();
    let damage = "UPDATE messages SET payload = ?1 WHERE key & 0xff = ?2";
    assert_eq!(db.execute(damage, (b"{}".as_slice(), 2)).unwrap(), 1);
    assert_eq!(db.execute(damage, ("text", 4)).unwrap(), 1);
    let page = read(&history, "a", Range::After(0), 9);
    assert_eq!((offsets(&page), page.has_more), (vec![1, 2, 3, 4], false));
    let seen: Vec<_> = page.records.iter().map(|r| r.record.is_unreadable()).collect();
    assert_eq!(seen, [false, true, false, true]);
    assert!(page.records[1].record.timestamp >= page.records[0].record.timestamp);
    assert_ne!(page.records[1].record.id, taken[1].id);
    assert_eq!(offsets(&read(&history, "a", Range::Newest, 1)), [4]);
    assert_eq!(publish(&history, "a", "x").unwrap().position.offset, 5);
}

/// Says to the child of the next test where to work.
const CHILD: &str = "HUBBUB_TEST_FLOOD";

/// Floods the directory of the environment until it is killed; else does nothing.
#[test]
fn flood_until_killed() {
    let Some(directory) = std::env::var_os(CHILD) else {
        return;
    };
    let (history, _) = open(Path::new(&directory));
    let run = uuid::Uuid::new_v4();
    for n in 0_u64.. {
        // Every third is sent twice.
        for _ in 0..=u64::from(n.is_multiple_of(3)) {
            let name = format!("room {}", n % 4);
            let done = Box::new(move |result| match result {
                Ok(crate::ports::Appended { id, position, duplicate }) => {
                    let Position { epoch, offset } = position;
                    let line = format!("ACK {name}|{epoch}|{offset}|{id}|{duplicate}\n");
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
                Err(StoreError::Full) => {}
                Err(e) => panic!("{e}"),
            });
            let record = record(&format!("room {}", n % 4), &format!("{run} {n}"));
            let key = key("ann", &format!("{run} {n}"));
            history.append(Append { record, key, done });
        }
        if n.is_multiple_of(100) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn a_killed_process_has_lost_nothing_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut acked = HashMap::<(String, u64), (String, String)>::new();
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["embedded::tests::flood_until_killed", "--exact", "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = 0;
        let deadline = Instant::now() + Duration::from_secs(60);
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            // The last line may be cut.
            let Some(fields) = line.strip_prefix("ACK ") else {
                continue;
            };
            let [name, epoch, offset, id, _] = fields.split('|').collect::<Vec<_>>()[..] else {
                continue;
            };
            let key = (name.to_owned(), offset.parse().unwrap());
            let first = acked.entry(key).or_insert((epoch.to_owned(), id.to_owned()));
            assert_eq!(*first, (epoch.to_owned(), id.to_owned()), "an offset given out twice");
            lines += 1;
            if lines == 700 + round * 533 || Instant::now() > deadline {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(lines >= 700, "the child did not get going");

        let (history, bus) = open(directory.path());
        for n in 0..4 {
            let name = format!("room {n}");
            let (mut contents, mut last) = (HashSet::new(), 0);
            loop {
                let page = read(&history, &name, Range::After(last), 10_000);
                for stored in &page.records {
                    last += 1;
                    assert_eq!(stored.position.offset, last, "no holes");
                    assert!(contents.insert(format!("{:?}", stored.record.body)), "stored twice");
                    if let Some((epoch, id)) = acked.remove(&(name.clone(), last)) {
                        assert_eq!(stored.position.epoch.to_string(), epoch);
                        assert_eq!(stored.record.id.to_string(), id);
                    }
                }
                if !page.has_more {
                    assert_eq!(page.head.offset, last);
                    break;
                }
            }
            assert_eq!(
                publish(&history, &name, &format!("after {round}")).unwrap().position.offset,
                last + 1
            );
        }
        assert!(acked.is_empty(), "acknowledged and lost: {acked:?}");
        assert_eq!(bus.all().len(), 4);
        wait(history.close());
    }
}
