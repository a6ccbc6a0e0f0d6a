//! Messages that are kept for good: from three nodes through Redis into PostgreSQL.

mod check;
mod outage;
mod reading;

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{load::Fleet, support::*, topology::RedisCluster};

/// How long the archive may take to catch up.
const SOME_TIME: Duration = Duration::from_secs(60);

/// The settings of a fleet that archives every room.
fn settings<'a>(url: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![
        ("HUBBUB__ARCHIVE__URL", url),
        ("HUBBUB__ARCHIVE__ROOMS", "*"),
        ("HUBBUB__ARCHIVE__TIMEOUT_MS", "3000"),
        ("HUBBUB__ARCHIVE__BATCH_WAIT_MS", "20"),
        ("HUBBUB__ARCHIVE__TAKEOVER_MS", "1000"),
    ];
    all.extend_from_slice(more);
    all
}

/// A message as its publisher and the database name it.
type Place = (String, u64);

/// Publishes into rooms until told to stop, one node after the other as they answer;
/// gives what was acknowledged: content by room and offset.
fn publish(
    addresses: &[SocketAddr],
    from: usize,
    rooms: usize,
    stop: &AtomicBool,
) -> BTreeMap<Place, String> {
    let mut acked = BTreeMap::new();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (room, content) = (format!("room-{}", n % rooms), format!("{from}-{n}"));
        let body = json!({"content": content, "key": content, "userId": "ann"});
        let target = format!("/api/rooms/{room}/messages");
        // The key makes one message of all attempts.
        let deadline = Instant::now() + SOME_TIME;
        let offset = (from..).find_map(|at| {
            assert!(Instant::now() < deadline, "{content} is never acknowledged");
            let address = addresses[at % addresses.len()];
            let answer = std::panic::catch_unwind(|| Http::with_key(address).post(&target, &body));
            match answer {
                Ok(answer) if answer.status == 202 => answer.json()["offset"].as_u64(),
                _ => {
                    thread::sleep(Duration::from_millis(20));
                    None
                }
            }
        });
        acked.insert((room, offset.unwrap()), content);
    }
    acked
}

/// Publishes from several threads while something happens; everything acknowledged.
fn while_publishing(
    addresses: &[SocketAddr],
    rooms: usize,
    what: impl FnOnce(),
) -> BTreeMap<Place, String> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = &stop;
        let senders: Vec<_> =
            (0..4).map(|from| scope.spawn(move || publish(addresses, from, rooms, stop))).collect();
        what();
        stop.store(true, Ordering::Relaxed);
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    })
}

/// Waits until everything is in the database, then compares it with what was
/// acknowledged: each once, and nothing in the wrong place.
fn audit(database: &PostgresServer, acked: &BTreeMap<Place, String>) {
    let archived = until("everything is archived", SOME_TIME, || {
        let rows = database.try_sql(
            "hubbub",
            "SELECT room, room_offset, content FROM hubbub_messages ORDER BY 1, 2",
        );
        let rows = rows.ok().filter(|rows| rows.lines().count() >= acked.len())?;
        let row = |line: &str| {
            let mut columns = line.split('|').map(str::to_owned);
            let (room, offset) = (columns.next().unwrap(), columns.next().unwrap());
            ((room, offset.parse().unwrap()), columns.next().unwrap())
        };
        let found: Vec<(Place, String)> = rows.lines().map(row).collect();
        let all: HashMap<&Place, &String> = found.iter().map(|(at, text)| (at, text)).collect();
        acked.keys().all(|at| all.contains_key(at)).then_some(found)
    });
    let found: BTreeMap<Place, String> = archived.iter().cloned().collect();
    assert_eq!(found.len(), archived.len(), "a place is there twice");
    for (at, content) in acked {
        assert_eq!(&found[at], content, "{at:?}");
    }
    let mut contents: Vec<&String> = found.values().collect();
    contents.sort_unstable();
    contents.dedup();
    assert_eq!(contents.len(), found.len(), "a message is there twice");
    for (room, offset) in found.keys() {
        assert!(*offset == 1 || found.contains_key(&(room.clone(), offset - 1)), "{room} {offset}");
    }
}

/// Waits until nothing waits for the archive any more.
fn drained(redis: &RedisServer) {
    until("nothing waits", SOME_TIME, || {
        let length = redis.command(&["XLEN", "hubbub:{archive}:backlog"]);
        length.starts_with(":0\r").then_some(())
    });
}

#[test]
fn a_killed_node_takes_no_message_with_it_and_tables_are_made_once() {
    let (redis, database) = (RedisServer::start(&[]), PostgresServer::start());
    let (redis_url, url) = (redis.url(), database.url());
    // All at once: each finds no tables.
    let hubs: Vec<Hub> = thread::scope(|scope| {
        let start = |_| scope.spawn(|| Fleet::start(1, &redis_url, &settings(&url, &[])));
        let fleets: Vec<_> = (0..3).map(start).collect();
        fleets.into_iter().flat_map(|fleet| fleet.join().unwrap().hubs).collect()
    });
    let mut hubs = hubs;
    for hub in &hubs {
        hub.metric_until("hubbub_archive_up", &[], |up| up == 1.0);
    }
    assert_eq!(database.sql("SELECT version, name FROM hubbub_migrations"), "1|archive");
    let addresses: Vec<_> = hubs.iter().map(|hub| hub.address).collect();
    let acked = while_publishing(&addresses, 3, || {
        until("the flood runs", SOME_TIME, || {
            (hubs[2].metrics().sum("hubbub_archive_written_total", &[]) > 50.0).then_some(())
        });
        hubs[0].kill();
        thread::sleep(Duration::from_millis(700));
    });
    assert!(acked.len() > 100, "{}", acked.len());
    audit(&database, &acked);
    drained(&redis);
    // It comes back and goes on.
    hubs[0].restart();
    let more = json!({"content": "back"});
    let sent = hubs[0].api().post("/api/rooms/late/messages", &more).expect(202);
    until("it is archived", SOME_TIME, || {
        let found = database.sql("SELECT id FROM hubbub_messages WHERE room = 'late'");
        (sent["id"].as_str() == Some(found.as_str())).then_some(())
    });
}

#[test]
fn rooms_of_every_slot_of_a_redis_cluster_are_archived() {
    let (cluster, database) = (RedisCluster::start(), PostgresServer::start());
    let url = database.url();
    let mut fleet = Fleet::start(3, &cluster.url(), &settings(&url, &[]));
    let addresses = fleet.addresses();
    let acked = while_publishing(&addresses, 40, || {
        until("the flood runs", SOME_TIME, || {
            let written = fleet.hubs[2].metrics().sum("hubbub_archive_written_total", &[]);
            (written > 60.0).then_some(())
        });
        fleet.hubs[0].kill();
        thread::sleep(Duration::from_millis(700));
    });
    audit(&database, &acked);
    for hub in &fleet.hubs[1..] {
        hub.metric_until("hubbub_archive_backlog_messages", &[], |n| n == 0.0);
    }
}

/// A page of history over HTTP.
fn page(hub: &Hub, room: &str, query: &str) -> Value {
    hub.api().get(&format!("/api/rooms/{room}/messages?{query}")).expect(200)
}

/// The offsets of a page.
fn offsets(page: &Value) -> Vec<u64> {
    let messages = page["messages"].as_array().unwrap();
    messages.iter().map(|message| message["offset"].as_u64().unwrap()).collect()
}
