//! Rounds of mixed load with people who come and go, on three nodes and one Redis. Between two rounds
//! everybody leaves: then nothing of them may be left, and memory is what it was a round before.
//! `SOAK_SECONDS` says for how long.

use std::{
    fs,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{alone, listener::long_token, setting, support::*};

const NODES: usize = 3;
/// Rounds at the beginning that fill caches and buffers.
const WARM: usize = 2;
/// What memory at rest may grow by over all rounds.
const GROWTH: f64 = 0.08;
const GROWTH_BYTES: f64 = 3.0 * 1024.0 * 1024.0;

/// A node at rest.
#[derive(Clone, Debug)]
struct Rest {
    resident: u64,
    files: usize,
    threads: f64,
}

/// What the hubs count, summed over the nodes.
struct Counts {
    publishes: f64,
    acks: f64,
    deliveries: f64,
    closed: f64,
}

#[test]
fn memory_stays_flat_and_nothing_is_left_behind() {
    let _alone = alone();
    let seconds: u64 = setting("SOAK_SECONDS", 24);
    let round = Duration::from_secs((seconds / 8).clamp(3, 60));
    println!("SOAK_SECONDS={seconds}, in rounds of {round:?}");
    let redis = RedisServer::start(&[]);
    let hubs: Vec<Hub> = (0..NODES).map(|n| start(n, &redis.url())).collect();
    hubs.iter().for_each(ready);
    let began = Instant::now();
    let mut rests: Vec<Vec<Rest>> = Vec::new();
    let (mut acked, mut delivered, mut cycles) = (0, 0, 0);
    while rests.len() < WARM + 4 || began.elapsed() < Duration::from_secs(seconds) {
        let before = count(&hubs);
        let (report, talk) = load(&hubs, round, rests.len() as u64 + 1);
        let number =
            |name: &str| report[name].as_u64().unwrap_or_else(|| panic!("{name}: {report}"));
        let rest = rest(&hubs);
        let after = count(&hubs);
        // The audit and the hubs have counted the same.
        let durable = (number("acked") + talk.acked) as f64;
        assert_eq!(after.acks - before.acks, durable, "acks: {report}");
        assert_eq!(after.publishes - before.publishes, durable, "publishes: {report}");
        let heard = after.deliveries - before.deliveries;
        assert!(heard >= number("delivered") as f64, "{heard} deliveries: {report}");
        assert!(after.closed - before.closed >= number("cycles") as f64, "{report}");
        println!(
            "{:6.0} s  {} acked, {} copies heard, {} cycles; at rest {}",
            began.elapsed().as_secs_f64(),
            number("acked") + talk.acked,
            number("delivered"),
            number("cycles"),
            rest.iter()
                .map(|r| format!("{:.1} MiB {} files", r.resident as f64 / 1048576.0, r.files))
                .collect::<Vec<_>>()
                .join(", ")
        );
        acked += number("acked") + talk.acked;
        delivered += number("delivered");
        cycles += number("cycles");
        rests.push(rest);
    }
    println!("{acked} acked, {delivered} copies heard, {cycles} cycles, lost 0, doubled 0");
    for hub in &hubs {
        until("no room is heard", Duration::from_secs(20), || {
            (hub.metrics().sum("hubbub_redis_rooms", &[]) == 0.0).then_some(())
        });
    }
    for node in 0..NODES {
        is_flat(node, &rests[WARM..].iter().map(|r| r[node].clone()).collect::<Vec<_>>());
        assert_eq!(hubs[node].metrics().sum("hubbub_panics_total", &[]), 0.0);
    }
}

fn start(node: usize, redis: &str) -> Hub {
    let id = format!("n{node}");
    Hub::start(&[
        UNLIMITED,
        ("HUBBUB__CLUSTER__REDIS_URL", redis),
        ("HUBBUB__NODE__ID", &id),
        ("HUBBUB__SERVER__WORKERS", "2"),
        ("HUBBUB__LIMITS__MAX_CONNECTIONS_PER_IP", "0"),
        // Trimmed all the time, and sessions that do not come back go soon.
        ("HUBBUB__HISTORY__MAX_MESSAGES", "200"),
        ("HUBBUB__SESSION__RECOVERY_MS", "1500"),
        ("HUBBUB__PRESENCE__OFFLINE_GRACE_MS", "500"),
        ("HUBBUB__SESSION__OUTBOUND_MAX_BYTES", "131072"),
        ("HUBBUB__SESSION__STALL_TIMEOUT_MS", "1500"),
    ])
}

fn ready(hub: &Hub) {
    until("the hub is ready", SOON, || (hub.http().get("/readyz").status == 200).then_some(()));
}

/// A round of load: what its audit says, which must have found nothing, and what else was talked.
fn load(hubs: &[Hub], round: Duration, seed: u64) -> (Value, Talk) {
    let urls: Vec<String> = hubs.iter().map(|h| format!("http://{}", h.address)).collect();
    let file = hubs[0].folder().join("load.json");
    let mut arguments: Vec<String> = format!(
        "loadtest --quiet -n 120 --rooms 6 --senders 12 --wire both --rate 60 --size 64..3000 \
         --arrivals poisson --churn 25 --churners 40 --slow-readers 3 --keys --drain 20s --ramp 300ms \
         --threads 1 --duration {}s --seed {seed} --json",
        round.as_secs()
    )
    .split_whitespace()
    .map(str::to_owned)
    .collect();
    arguments.push(file.to_str().unwrap().to_owned());
    arguments.extend(["--url".to_owned(), urls.join(",")]);
    let child = hubbub()
        .env("HUBBUB_LOADTEST_JWT_SECRET", JWT_SECRET)
        .args(&arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let over = AtomicBool::new(false);
    let (output, talk) = thread::scope(|scope| {
        let talking = scope.spawn(|| Talk::over(hubs, &over));
        let output = child.wait_with_output().unwrap();
        over.store(true, Ordering::SeqCst);
        (output, talking.join().expect("talk"))
    });
    let report = fs::read_to_string(&file).unwrap();
    assert!(
        output.status.success(),
        "the audit found something: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (serde_json::from_str(&report).unwrap(), talk)
}

/// Everything that the load test does not do: each request there is, on both wires and over HTTP.
#[derive(Default)]
struct Talk {
    acked: u64,
}

impl Talk {
    fn over(hubs: &[Hub], over: &AtomicBool) -> Self {
        let mut talk = Self::default();
        let mut turn = 0;
        while !over.load(Ordering::SeqCst) {
            turn += 1;
            let (here, there) = (&hubs[turn % NODES], &hubs[(turn + 1) % NODES]);
            let mut ann = here.ws_by(Handshake::new().query_token(&long_token("ann")));
            let room = format!("talk-{turn}");
            ann.join(&room);
            let mut bob =
                Client::open(there.address, Wire::SocketIo, &long_token("bob"), SOON).unwrap();
            bob.send(json!({"type": "join", "roomId": room}));
            ann.expect("bob", |e| e["type"] == "user_joined" && e["userId"] == "bob");
            for request in [
                json!({"type": "message", "roomId": room, "content": "hello", "data": {"n": turn}}),
                json!({"type": "direct", "userId": "bob", "content": "psst"}),
                json!({"type": "event", "roomId": room, "name": "score", "data": [turn]}),
            ] {
                ann.ok(request);
                talk.acked += 1;
            }
            let posted = here
                .api()
                .post(&format!("/api/rooms/{room}/messages"), &json!({"content": "posted"}));
            posted.expect(202);
            talk.acked += 1;
            for request in [
                json!({"type": "event", "roomId": room, "name": "move", "volatile": true}),
                json!({"type": "typing", "roomId": room, "isTyping": true}),
                json!({"type": "presence", "status": "away"}),
                json!({"type": "read", "roomId": room, "offset": 1}),
                json!({"type": "history", "roomId": room, "after": 0}),
                json!({"type": "members", "roomId": room}),
            ] {
                ann.ok(request);
            }
            ann.hears("posted");
            let deadline = Instant::now() + SOON;
            while bob.next(SOON).is_some_and(|e| e["content"] != "posted") {
                assert!(Instant::now() < deadline, "bob hears nothing");
            }
            if turn % 2 == 0 {
                ann.ok(json!({"type": "leave", "roomId": room}));
                ann.close();
            }
        }
        talk
    }
}

/// Waits until nobody is there any more; what each node then uses.
fn rest(hubs: &[Hub]) -> Vec<Rest> {
    for hub in hubs {
        for gauge in ["connections", "sessions", "rooms", "users", "outbound_queue_bytes"] {
            hub.metric_until(&format!("hubbub_{gauge}"), &[], |n| n == 0.0);
        }
    }
    let of = |hub: &Hub| Rest {
        resident: hub.memory("VmRSS"),
        files: fs::read_dir(format!("/proc/{}/fd", hub.pid())).unwrap().count(),
        threads: hub.metrics().sum("process_threads", &[]),
    };
    hubs.iter().map(of).collect()
}

fn count(hubs: &[Hub]) -> Counts {
    let sum = |name: &str| hubs.iter().map(|hub| hub.metrics().sum(name, &[])).sum();
    Counts {
        publishes: sum("hubbub_publishes_total"),
        acks: sum("hubbub_acks_total"),
        deliveries: sum("hubbub_deliveries_total"),
        closed: sum("hubbub_closed_total"),
    }
}

/// Fails if a node needs more at the end than at the beginning.
fn is_flat(node: usize, rests: &[Rest]) {
    let part = rests.len() / 2;
    let mean =
        |some: &[Rest]| some.iter().map(|r| r.resident as f64).sum::<f64>() / some.len() as f64;
    let (first, last) = (mean(&rests[..part]), mean(&rests[rests.len() - part..]));
    println!(
        "node {node}: {:.2} MiB at rest in the first half, {:.2} in the second",
        first / 1048576.0,
        last / 1048576.0
    );
    assert!(last <= first * (1.0 + GROWTH) + GROWTH_BYTES, "node {node} grows: {rests:?}");
    let (begin, end) = (&rests[0], &rests[rests.len() - 1]);
    assert!(end.files <= begin.files + 2, "node {node} leaves files open: {rests:?}");
    assert!(end.threads <= begin.threads, "node {node} leaves threads: {rests:?}");
}
