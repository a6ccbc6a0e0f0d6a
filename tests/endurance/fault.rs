//! The faults at work. Each ends with what it fell on whole again, but for a clock, which stays as it
//! was put.

use std::{fs, process::Command, thread, time::Duration};

use crate::{schedule::Fault, world::World};

fn pause(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

/// Does one harm, waits, and takes it back.
pub fn inflict(world: &World, fault: &Fault) {
    match *fault {
        Fault::KillHub { node, down } => {
            let mut hub = world.hubs[node].lock().unwrap();
            hub.kill();
            pause(down);
            hub.restart();
        }
        Fault::FreezeHub { node, for_ms } => {
            let hub = world.hubs[node].lock().unwrap();
            hub.signal("STOP");
            pause(for_ms);
            hub.signal("CONT");
        }
        Fault::DrainHub { node } => {
            let mut hub = world.hubs[node].lock().unwrap();
            hub.signal("TERM");
            let status = hub.wait_exit(Duration::from_secs(20));
            assert!(status.success(), "a drain ends with {status}");
            hub.restart();
        }
        Fault::KillRedis { down } => {
            let mut redis = world.redis();
            redis.kill();
            pause(down);
            redis.start_again();
        }
        Fault::FreezeRedis { for_ms } => {
            let redis = world.redis();
            redis.signal("STOP");
            pause(for_ms);
            redis.signal("CONT");
        }
        Fault::Partition { node, for_ms } => {
            world.ways[node].silence(true);
            pause(for_ms);
            world.ways[node].silence(false);
        }
        Fault::Cut { node, times } => {
            for _ in 0..times {
                world.ways[node].cut();
                pause(150);
            }
        }
        Fault::SlowRedis { by, for_ms } => {
            let slow = |by| world.ways.iter().for_each(|way| way.slow(Duration::from_millis(by)));
            slow(by);
            pause(for_ms);
            slow(0);
        }
        Fault::FullDisk { for_ms } => full_disk(world, for_ms),
        Fault::NoFiles { node, for_ms } => no_files(world, node, for_ms),
        Fault::ClockJump { node, seconds } => {
            if world.has_clocks() {
                world.put_clock(node, seconds);
            }
        }
    }
}

/// Redis writes each change before it answers, so it ends when it cannot: what it acknowledged is there.
/// A node with its own file goes on.
fn full_disk(world: &World, for_ms: u64) {
    let Some(disk) = &world.disk else { return };
    let redis = world.redis.is_some().then(|| world.redis());
    let ballast = disk.fill();
    pause(for_ms);
    fs::remove_file(ballast).unwrap();
    if let Some(mut redis) = redis {
        redis.restart();
    }
}

/// A node with as many open files as it may have.
fn no_files(world: &World, node: usize, for_ms: u64) {
    let hub = world.hubs[node].lock().unwrap();
    let pid = hub.pid();
    let files = format!("/proc/{pid}/fd");
    let limit = |soft: &str| {
        let arguments = ["--pid", &pid.to_string(), &format!("--nofile={soft}:")];
        assert!(Command::new("prlimit").args(arguments).status().unwrap().success());
    };
    let before = soft_limit(pid);
    let open = fs::read_dir(files).unwrap().count();
    limit(&open.saturating_sub(2).to_string());
    world.ways.get(node).inspect(|way| way.cut());
    pause(for_ms);
    limit(&before);
}

fn soft_limit(pid: u32) -> String {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|l| l.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().to_owned()
}

/// Everything is whole again, and every clock right.
pub fn heal(world: &World) {
    if world.has_clocks() {
        (0..world.hubs.len()).for_each(|node| world.put_clock(node, 0));
    }
    for way in &world.ways {
        way.silence(false);
        way.slow(Duration::ZERO);
    }
    for (n, hub) in world.hubs.iter().enumerate() {
        assert!(hub.lock().unwrap().is_running(), "node {n} has ended by itself");
    }
    world.wait_ready(Duration::from_secs(20));
}
