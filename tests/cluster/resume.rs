//! `resume` of the JSON wire on another node than the one that was killed, while
//! everybody goes on publishing: audited by what was sent. `HUBBUB_RESUME_TRIALS` kills
//! more often.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    load::{Fleet, LONG, ready},
    support::*,
};

const ROOMS: [&str; 3] = ["a", "b", "c"];

/// Comes back at a node, with everything.
fn resume(listener: &mut Listener, hub: &Hub) -> Ws {
    let (ws, answer) = listener.resume(hub);
    assert_eq!(answer["recovered"], true, "{}: {answer}", listener.user);
    assert_eq!(answer["rooms"].as_array().unwrap().len(), ROOMS.len(), "{answer}");
    ws
}

/// Sends numbered messages to each room in turn until told to stop; how many, and where
/// each room stands then.
fn sender(
    hub: &Hub,
    stop: &Arc<AtomicBool>,
    sent: &Arc<AtomicU64>,
) -> JoinHandle<(u64, HashMap<&'static str, u64>)> {
    let mut ws = hub.ws("sender");
    ROOMS.iter().for_each(|room| drop(ws.join(room)));
    let (stop, sent) = (stop.clone(), sent.clone());
    thread::spawn(move || {
        let (mut heads, mut next) = (HashMap::new(), 0_u64);
        while !stop.load(Ordering::Relaxed) {
            let room = ROOMS[next as usize % ROOMS.len()];
            let ack =
                ws.ok(json!({"type": "message", "roomId": room, "content": next.to_string()}));
            heads.insert(room, ack["offset"].as_u64().unwrap());
            next += 1;
            sent.store(next, Ordering::Relaxed);
        }
        (next, heads)
    })
}

#[test]
fn sessions_of_a_killed_node_go_on_at_the_others() {
    let trials = std::env::var("HUBBUB_RESUME_TRIALS").ok().and_then(|n| n.parse().ok());
    let redis = RedisServer::start(&[]);
    let mut fleet = Fleet::start(3, &redis.url(), &[]);
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    // The sender's own node lives: its numbers have no hole.
    let sending = sender(&fleet.hubs[2], &stop, &sent);
    let mut crowd: Vec<(Listener, Ws)> =
        (0..6).map(|n| Listener::enter(&fleet.hubs[0], &ROOMS, &format!("listener{n}"))).collect();
    let mut began: HashMap<String, BTreeMap<String, Value>> = HashMap::new();
    for (listener, _) in &crowd {
        began.insert(listener.user.clone(), listener.positions.clone());
    }
    let mut slowest = Duration::ZERO;
    for trial in 0..trials.unwrap_or(4) {
        let (dies, lives) = if trial % 2 == 0 { (0, 1) } else { (1, 0) };
        let hearing: Vec<_> = crowd
            .drain(..)
            .map(|(mut listener, mut ws)| {
                thread::spawn(move || {
                    listener.hear_on(&mut ws, None);
                    listener
                })
            })
            .collect();
        let before = sent.load(Ordering::Relaxed);
        until("some messages came", LONG, || {
            (sent.load(Ordering::Relaxed) > before + 30).then_some(())
        });
        // At a moment that nobody has prepared for.
        thread::sleep(Duration::from_millis((trial * 37) % 150));
        fleet.hubs[dies].kill();
        for hearing in hearing {
            let mut listener = hearing.join().unwrap();
            let asked = Instant::now();
            let ws = resume(&mut listener, &fleet.hubs[lives]);
            slowest = slowest.max(asked.elapsed());
            crowd.push((listener, ws));
        }
        fleet.hubs[dies].restart();
        ready(&fleet.hubs[dies]);
    }
    stop.store(true, Ordering::Relaxed);
    let (count, heads) = sending.join().unwrap();
    for (listener, ws) in &mut crowd {
        listener.hear_on(ws, Some(&heads));
        for (at, room) in ROOMS.iter().enumerate() {
            let first = began[&listener.user][*room]["offset"].as_u64().unwrap();
            let all = (0..count).filter(|n| *n as usize % ROOMS.len() == at);
            let expected: Vec<String> = all.skip(first as usize).map(|n| n.to_string()).collect();
            let got = &listener.got[*room];
            let contents: Vec<&String> = got.iter().map(|(_, content)| content).collect();
            assert!(contents.iter().copied().eq(&expected), "{} in {room}: {got:?}", listener.user);
            assert!(got.windows(2).all(|two| two[1].0 == two[0].0 + 1), "offsets in {room}");
        }
    }
    println!("{count} messages, slowest to recover {slowest:?}");
}
