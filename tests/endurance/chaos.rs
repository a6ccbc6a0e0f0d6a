//! Real hubs and a real Redis under faults drawn from a seed. `CHAOS_SEED` and `CHAOS_SECONDS` say which
//! and for how long.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    alone,
    fault::{heal, inflict},
    listener::{AT_LAST, Course, Listener, Way},
    schedule::Schedule,
    sender::{come_and_go, send},
    setting,
    support::*,
    verdict::{Outcome, members_are},
    world::World,
};

const SENDERS: usize = 4;
const GUESTS: usize = 2;
const WAYS: [Way; 4] =
    [Way::Since(Wire::Json), Way::Resume, Way::Since(Wire::SocketIo), Way::Recovery];

#[test]
fn nothing_acknowledged_is_lost_whatever_breaks() {
    run(3, setting("CHAOS_SEED", 1), setting("CHAOS_SECONDS", 12));
}

#[test]
fn a_single_node_loses_nothing_either() {
    run(1, setting("CHAOS_SEED", 1), setting("CHAOS_SECONDS", 6));
}

fn run(nodes: usize, seed: u64, seconds: u64) {
    let _alone = alone();
    println!("{nodes} nodes, CHAOS_SEED={seed} CHAOS_SECONDS={seconds}");
    let world = World::start(nodes);
    let course = Arc::new(Course {
        addresses: world.addresses.clone(),
        seed,
        over: AtomicBool::new(false),
        sending: AtomicUsize::new(SENDERS),
        heads: Default::default(),
        whole: Mutex::new(None),
        leave: AtomicBool::new(false),
        complete: AtomicUsize::new(0),
    });
    let listeners: Vec<_> = (0..WAYS.len() * 2)
        .map(|n| {
            let course = course.clone();
            let listener = Listener::new(&course, n, WAYS[n % WAYS.len()]);
            thread::spawn(move || listener.run(&course))
        })
        .collect();
    let users: BTreeSet<String> = (0..listeners.len()).map(|n| format!("listener-{n}")).collect();
    let senders: Vec<_> = (0..SENDERS)
        .map(|n| {
            let course = course.clone();
            let window = if n % 2 == 0 { 1 } else { 4 };
            thread::spawn(move || send(&course, n, window, Duration::from_millis(40)))
        })
        .collect();
    let guests: Vec<_> = (0..GUESTS)
        .map(|n| {
            let course = course.clone();
            thread::spawn(move || come_and_go(&course, n))
        })
        .collect();

    let harm = catch_unwind(AssertUnwindSafe(|| {
        storm(&world, Schedule::new(seed, nodes), Duration::from_secs(seconds));
        heal(&world);
    }));
    course.over.store(true, Ordering::SeqCst);
    *course.whole.lock().unwrap() = Some(Instant::now());
    if let Err(panic) = harm {
        // The clients end by themselves; what broke is told.
        resume_unwind(panic);
    }
    let cycles = guests.into_iter().map(|t| t.join().expect("a guest")).sum();
    let senders: Vec<_> = senders.into_iter().map(|t| t.join().expect("a sender")).collect();
    let deadline = Instant::now() + AT_LAST;
    while course.complete.load(Ordering::SeqCst) < users.len() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    if course.complete.load(Ordering::SeqCst) == users.len() {
        members_are(&world, &users, Duration::from_secs(30));
    }
    course.leave.store(true, Ordering::SeqCst);
    let listeners = listeners.into_iter().map(|t| t.join().expect("a listener")).collect();
    let outcome = Outcome::judge(&world, &course, listeners, senders, cycles);
    println!("{outcome}");
    outcome.assert_sound();
    members_are(&world, &BTreeSet::new(), Duration::from_secs(30));
    for (n, hub) in world.hubs.iter().enumerate() {
        let hub = hub.lock().unwrap();
        hub.metric_until("hubbub_sessions", &[], |n| n == 0.0);
        hub.metric_until("hubbub_rooms", &[], |n| n == 0.0);
        assert_eq!(hub.metrics().sum("hubbub_panics_total", &[]), 0.0, "node {n}");
    }
}

/// Does what the schedule says until the time is over.
fn storm(world: &World, schedule: Schedule, within: Duration) {
    let began = Instant::now();
    let mut done: BTreeMap<&str, usize> = BTreeMap::new();
    for step in schedule {
        thread::sleep(Duration::from_millis(step.calm));
        if began.elapsed() > within {
            break;
        }
        for fault in &step.faults {
            println!("{:7.2} s  {fault}", began.elapsed().as_secs_f64());
            *done.entry(fault.name()).or_default() += 1;
        }
        thread::scope(|scope| {
            for fault in &step.faults {
                scope.spawn(move || inflict(world, fault));
            }
        });
    }
    println!("done: {done:?}");
}
