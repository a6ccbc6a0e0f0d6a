//! What became of every message, by its content.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, Instant},
};

use hubbub::loadtest::{
    audit::{Audit, Joined, Member},
    judge::{Verdict, judge},
};
use serde_json::Value;

use crate::{
    listener::{Course, Listener, ROOMS, marker, room_name},
    sender::Sent,
    support::*,
    world::World,
};

/// A stored message: its id and content.
type Stored = BTreeMap<u64, (String, String)>;

/// What a run came to.
pub struct Outcome {
    seed: u64,
    acked: usize,
    refused: u64,
    heard: u64,
    returns: u64,
    recovered: u64,
    cycles: u64,
    verdict: Verdict,
    /// Everything that is wrong beside the audit, in words.
    pub faults: Vec<String>,
}

impl Outcome {
    /// Reads what every node says is stored, and judges it with what listeners heard and senders were
    /// told.
    pub fn judge(
        world: &World,
        course: &Course,
        listeners: Vec<Listener>,
        senders: Vec<Sent>,
        cycles: u64,
    ) -> Self {
        let mut faults = Vec::new();
        let mut audits = vec![Audit::new(ROOMS)];
        let mut acked = BTreeMap::new();
        let (mut refused, mut returns) = (0, 0);
        for sent in senders {
            audits[0].acks.extend(sent.acks);
            acked.extend(sent.by_content);
            faults.extend(sent.faults);
            refused += sent.refused;
            returns += sent.returns;
        }
        for node in 0..world.hubs.len() {
            let rooms: Vec<Stored> =
                (0..ROOMS).map(|room| history(&world.api(node), room, &mut faults)).collect();
            let found: BTreeMap<&String, (u64, &String)> = rooms
                .iter()
                .flat_map(|r| r.iter().map(|(offset, (id, content))| (content, (*offset, id))))
                .collect();
            for (content, (offset, id)) in &acked {
                if found.get(content) != Some(&(*offset, id)) {
                    let there = found.get(content);
                    faults.push(format!(
                        "{content} was acknowledged as {id} at {offset}; node {node} has {there:?}"
                    ));
                }
            }
            audits.push(read(node, &rooms));
        }
        let (mut heard, mut recovered) = (0, 0);
        for listener in listeners {
            heard += listener.heard;
            returns += listener.returns;
            recovered += listener.recovered;
            faults.extend(listener.faults);
            audits.push(listener.audit);
        }
        let verdict = judge(audits);
        let acked = acked.len();
        Self {
            seed: course.seed,
            acked,
            refused,
            heard,
            returns,
            recovered,
            cycles,
            verdict,
            faults,
        }
    }

    /// Fails with all that is wrong.
    pub fn assert_sound(&self) {
        assert_eq!(self.verdict.faults.total(), 0, "{self}");
        assert_eq!(self.verdict.unproven_rejoins, 0, "{self}");
        assert!(self.faults.is_empty(), "{self}");
        assert!(self.acked > 50 && self.heard > 500, "hardly anything happened: {self}");
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { faults, unproven_rejoins, .. } = &self.verdict;
        writeln!(
            f,
            "seed {}: {} acknowledged, {} refused and sent again, {} copies heard, {} connections \
             lost, {} sessions restored, {} guests came and went",
            self.seed,
            self.acked,
            self.refused,
            self.heard,
            self.returns,
            self.recovered,
            self.cycles
        )?;
        writeln!(
            f,
            "lost {}, doubled {}, out of order {}, disagreed {}, contradicted {}, damaged {}, in the \
             wrong room {}, of one sender out of order {}, started over {unproven_rejoins}",
            faults.lost,
            faults.duplicated,
            faults.out_of_order,
            faults.disagreed,
            faults.contradicted,
            faults.damaged,
            faults.misrouted,
            faults.sender_order,
        )?;
        for fault in faults.examples.iter().chain(self.faults.iter().take(40)) {
            writeln!(f, "  {fault}")?;
        }
        Ok(())
    }
}

/// A room as a node has it stored, page by page.
fn history(api: &Http, room: usize, faults: &mut Vec<String>) -> Stored {
    let mut all = Stored::new();
    let mut after = 0;
    loop {
        let path = format!("/api/rooms/{}/messages?after={after}&limit=200", room_name(room));
        let page = api.get(&path).expect(200);
        for message in page["messages"].as_array().unwrap() {
            after = message["offset"].as_u64().unwrap();
            let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
            if all.insert(after, (text("id"), text("content"))).is_some() {
                faults.push(format!("offset {after} of {room} is there twice"));
            }
        }
        if page["hasMore"] == false {
            return all;
        }
    }
}

/// A member that hears what is stored from the beginning.
fn read(node: usize, rooms: &[Stored]) -> Audit {
    let mut audit = Audit::new(ROOMS);
    for (room, stored) in rooms.iter().enumerate() {
        audit.members.push(Member::new(900 + node, room as u32));
        audit.joined(room, Joined { epoch: 0, offset: 0, recovered: false, resumed: false });
        for (offset, (_, content)) in stored {
            match marker(room, content) {
                Some(marker) => audit.received(room, *offset, &marker),
                None => audit.damaged(room, content),
            }
        }
    }
    audit
}

/// Waits until every node says that just these are in every room, and are online.
pub fn members_are(world: &World, expected: &BTreeSet<String>, within: Duration) {
    for node in 0..world.hubs.len() {
        for room in 0..ROOMS {
            let path = format!("/api/rooms/{}/members?limit=100", room_name(room));
            let mut last = BTreeSet::new();
            let deadline = Instant::now() + within;
            loop {
                let page = world.api(node).get(&path);
                if page.status == 200 {
                    let page = page.json();
                    let members = page["members"].as_array().unwrap();
                    let name = |m: &Value| m["userId"].as_str().unwrap().to_owned();
                    last = members.iter().map(name).collect();
                } else if page.status == 404 {
                    last.clear();
                }
                if last == *expected {
                    break;
                }
                if Instant::now() > deadline {
                    let ghosts: Vec<_> = last.difference(expected).collect();
                    let missing: Vec<_> = expected.difference(&last).collect();
                    panic!(
                        "node {node}, room {room}: ghosts {ghosts:?}, missing {missing:?}{}",
                        views(world, ghosts.iter().chain(&missing))
                    );
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// What each node says of users, to see where a view went wrong.
fn views<'a>(world: &World, users: impl Iterator<Item = &'a &'a String>) -> String {
    let mut all = String::new();
    for user in users {
        for node in 0..world.hubs.len() {
            let answer = world.api(node).get(&format!("/api/users/{user}")).text();
            all.push_str(&format!("\n  {user} on node {node}: {answer}"));
        }
    }
    let Some(redis) = &world.redis else { return all };
    let redis = redis.lock().unwrap();
    for key in redis.command(&["KEYS", "*"]).split("\r\n").filter(|key| key.contains("presence")) {
        let hash = redis.command(&["HGETALL", key]);
        all.push_str(&format!("\n  {key}: {}", hash.replace("\r\n", " ")));
    }
    all
}
