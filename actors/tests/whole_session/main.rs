//! Whole sessions, from bytes to bytes, over the hub's own actors and stores in memory: sequences of
//! requests that are right, half right and wrong, on both wires. What must hold: nothing panics; every
//! request with an id is answered once while its connection lives, and never twice; what waits stays
//! within its bound; and when all are gone, nothing is left of them.
//!
//! `PROPTEST_CASES=20000 cargo test -p hubbub-actors --test whole_session` runs it for longer.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod client;
mod hub;
mod steps;

use std::cell::RefCell;

use hubbub_actors::system::{Hub, Worker};
use proptest::test_runner::{Config, TestError, TestRunner};
use serde_json::{Map, Value, json};

use self::{
    client::{Client, frame},
    hub::{MAX_ROOMS, MAX_SESSIONS, forgotten, panics, unknown, until},
    steps::{Asked, CONNS, Learned, ROOMS, Step, steps, token},
};

/// Ids below it are those of packets that are made of chance.
pub const FIRST_ID: u64 = 1000;

/// A run under way.
struct Run<'a> {
    hub: &'a Hub,
    worker: &'a Worker,
    clients: [Option<Client>; CONNS],
    learned: Learned,
    ids: u64,
    /// What was seen while something else was waited for.
    wrong: Option<String>,
}

impl Run<'_> {
    /// A request as an object with an id, and that id if there is one.
    fn object(&mut self, asked: &Asked, extra: Option<(&str, Value)>) -> (Value, Option<String>) {
        let (name, mut fields) = asked.fields(&self.learned);
        fields.insert("type".into(), json!(name));
        if let Some((key, value)) = extra {
            fields.insert(key.into(), value);
        }
        let id = asked.id.then(|| self.next());
        if let Some(id) = &id {
            fields.insert("id".into(), json!(id.parse::<u64>().unwrap()));
        }
        (Value::Object(fields), id)
    }

    fn next(&mut self) -> String {
        self.ids += 1;
        self.ids.to_string()
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Open { conn, engine, token } => self.open(*conn, *engine, *token).await,
            Step::Ask { conn, request, fragments } => self.ask(*conn, request, *fragments),
            Step::Rooms { conn } => {
                (0..ROOMS).for_each(|room| self.ask(*conn, &Asked::join(room), 1));
            }
            Step::Batch { conn, requests, id } => self.batch(*conn, requests, *id),
            Step::Connect { conn, team, token, back } => self.connect(*conn, *team, *token, *back),
            Step::Return { conn } => self.come_back(*conn).await,
            Step::Turn => tokio::time::sleep(std::time::Duration::from_micros(300)).await,
            other => {
                let conn = match other {
                    Step::Disconnect { conn, .. }
                    | Step::Packet { conn, .. }
                    | Step::Frame { conn, .. }
                    | Step::Bytes { conn, .. }
                    | Step::Stall { conn, .. }
                    | Step::Cut { conn } => *conn,
                    _ => return,
                };
                if let Some(client) = &mut self.clients[conn] {
                    tinker(client, other);
                }
            }
        }
    }

    async fn open(&mut self, conn: usize, engine: bool, named: Option<u8>) {
        if let Some(mut old) = self.clients[conn].take() {
            old.cut();
            self.over(&old).await;
        }
        self.clients[conn] = Some(Client::open(self.hub, self.worker, engine, named));
        if let Some(who) = named.filter(|_| engine) {
            self.connect(conn, false, who, None);
        }
        let id = self.next();
        let Some(client) = self.clients[conn].as_mut().filter(|_| named.is_some()) else { return };
        client.owes(&id, true);
        if engine {
            client.text(&format!("42{id}[\"join\",{{\"roomId\":\"r0\"}}]"), 1);
        } else {
            client.text(&format!("{{\"type\":\"join\",\"roomId\":\"r0\",\"id\":{id}}}"), 1);
        }
    }

    /// As somebody whose network failed.
    async fn come_back(&mut self, conn: usize) {
        let Some(old) = self.clients[conn].as_ref().filter(|client| client.lives()) else { return };
        let Some((who, session)) = old.who.zip(old.session.clone()) else { return };
        let engine = old.engine;
        self.open(conn, engine, (!engine).then_some(who)).await;
        let id = self.next();
        let Some(client) = self.clients[conn].as_mut() else { return };
        if engine {
            client.who = Some(who);
            let offset = self.learned.offsets.last();
            let auth = json!({"token": token(who), "pid": session, "offset": offset});
            client.text(&format!("40{auth}"), 1);
        } else {
            client.owes(&id, true);
            let resume = json!({"type": "resume", "sessionId": session, "positions": {}});
            client.text(&resume.to_string().replacen('{', &format!("{{\"id\":{id},"), 1), 1);
        }
    }

    fn ask(&mut self, conn: usize, asked: &Asked, fragments: usize) {
        let Some(engine) = self.clients[conn].as_ref().map(|client| client.engine) else { return };
        if !engine {
            let (object, id) = self.object(asked, None);
            let (text, whole) = asked.cut(object.to_string());
            let Some(client) = &mut self.clients[conn] else { return };
            if let Some(id) = id {
                client.owes(&id, whole);
            }
            return client.text(&text, fragments);
        }
        let (name, fields) = asked.fields(&self.learned);
        let team = asked.number.is_multiple_of(5);
        let id = asked.id.then(|| self.next());
        let Some(client) = &mut self.clients[conn] else { return };
        if !client.is_joined(team) && asked.number > 10 {
            // A packet before CONNECT ends the connection: that is seldom.
            return;
        }
        let (args, _) = asked.cut(json!([name, fields]).to_string());
        let namespace = if team { "/team," } else { "" };
        if let Some(id) = &id {
            client.owes(id, true);
        }
        client.text(&format!("42{namespace}{}{args}", id.unwrap_or_default()), fragments);
    }

    fn batch(&mut self, conn: usize, requests: &[Asked], id: bool) {
        if self.clients[conn].as_ref().is_none_or(|client| client.engine) {
            return;
        }
        let (objects, ids): (Vec<_>, Vec<_>) =
            requests.iter().map(|asked| self.object(asked, None)).unzip();
        let mut frame = Map::new();
        frame.insert("type".into(), json!("batch"));
        frame.insert("messages".into(), json!(objects));
        let own = id.then(|| self.next());
        if let Some(id) = &own {
            frame.insert("id".into(), json!(id.parse::<u64>().unwrap()));
        }
        let Some(client) = &mut self.clients[conn] else { return };
        // Before somebody has said who it is, the batch is refused as a whole.
        for id in ids.into_iter().flatten() {
            client.owes(&id, false);
        }
        if let Some(id) = own {
            client.owes(&id, true);
        }
        client.text(&Value::Object(frame).to_string(), 1);
    }

    fn connect(&mut self, conn: usize, team: bool, who: u8, back: Option<(usize, bool)>) {
        let Some(client) = self.clients[conn].as_mut().filter(|client| client.engine) else {
            return;
        };
        client.who = Some(who).filter(|_| !team).or(client.who);
        let mut auth = Map::new();
        auth.insert("token".into(), json!(token(who)));
        if let Some((at, offset)) = back
            && let Some(pid) = self.learned.pids.iter().rev().nth(at)
        {
            auth.insert("pid".into(), json!(pid));
            if let Some(offset) = self.learned.offsets.iter().rev().nth(at).filter(|_| offset) {
                auth.insert("offset".into(), json!(offset));
            }
        }
        let namespace = if team { "/team," } else { "" };
        client.text(&format!("40{namespace}{}", Value::Object(auth)), 1);
    }

    fn read(&mut self) -> Result<(), String> {
        for client in self.clients.iter_mut().flatten() {
            client.read(&mut self.learned)?;
        }
        Ok(())
    }

    async fn over(&self, client: &Client) {
        let _ = until(async || if client.is_over() { Ok(()) } else { Err(String::new()) }).await;
    }

    /// The bounds of sessions.
    async fn bounds(&self) -> Result<(), String> {
        let mut users = std::collections::HashMap::new();
        for session in self.hub.sessions().await {
            let count = users.entry(session.user.clone()).or_insert(0);
            *count += 1;
            if session.room_count() > MAX_ROOMS {
                return Err(format!("a session is in {} rooms", session.room_count()));
            }
        }
        match users.into_iter().find(|(_, count)| *count > MAX_SESSIONS) {
            Some((user, count)) => Err(format!("{user} has {count} sessions")),
            None => Ok(()),
        }
    }
}

/// What needs no more than the connection.
fn tinker(client: &mut Client, step: &Step) {
    match step {
        Step::Disconnect { team, .. } if client.engine && client.is_joined(*team) => {
            client.left(*team);
            client.text(if *team { "41/team," } else { "41" }, 1);
        }
        Step::Packet { text, .. } if client.engine => {
            // It may end a namespace, or repeat an id.
            client.forgive();
            client.text(text, 1);
        }
        Step::Frame { first, payload, masked, .. } => {
            // It may stand between the fragments of another one.
            client.send(frame(*first, payload, *masked));
        }
        Step::Bytes { bytes, .. } => {
            // What follows is part of whatever these begin.
            client.forgive();
            client.send(bytes.clone());
            client.cut();
        }
        Step::Stall { on, .. } => client.stalled = *on,
        Step::Cut { .. } => client.cut(),
        _ => {}
    }
}

async fn run(hub: &Hub, worker: &Worker, steps: &[Step]) -> Result<(), String> {
    let clients = [None, None, None];
    let mut run =
        Run { hub, worker, clients, learned: Learned::default(), ids: FIRST_ID, wrong: None };
    for (at, step) in steps.iter().enumerate() {
        let conn = at % CONNS;
        if !run.clients[conn].as_ref().is_some_and(Client::lives) {
            // Most steps need somebody.
            run.open(conn, at.is_multiple_of(2), Some((at % 4) as u8)).await;
        }
        run.step(step).await;
        run.read()?;
    }
    for client in run.clients.iter_mut().flatten() {
        client.stalled = false;
    }
    let run = RefCell::new(run);
    let settled = until(async || {
        let mut run = run.borrow_mut();
        match run.read() {
            Ok(()) => run.clients.iter().flatten().try_for_each(Client::settled),
            // Waiting makes it no better.
            Err(why) => {
                run.wrong.get_or_insert(why);
                Ok(())
            }
        }
    });
    settled.await?;
    let mut run = run.into_inner();
    if let Some(why) = run.wrong {
        return Err(why);
    }
    run.read()?;
    run.bounds().await?;
    for client in run.clients.iter_mut().flatten() {
        client.cut();
    }
    for client in run.clients.iter().flatten() {
        run.over(client).await;
    }
    // What is on its way to those who left still counts as an answer.
    run.read()?;
    run.clients = [None, None, None];
    until(async || forgotten(hub).await).await?;
    match panics(hub) {
        0.0 => Ok(()),
        count => Err(format!("{count} panics")),
    }
}

fn fuzz(limited: bool) {
    let runtime = actix_rt::System::new();
    let (hub, worker) = runtime.block_on(async { hub::hub(limited) });
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..Config { cases: cases(), ..Config::default() }
    });
    let result = runner.run(&steps(), |steps| {
        let held = runtime.block_on(run(&hub, &worker, &steps));
        held.map_err(proptest::test_runner::TestCaseError::fail)
    });
    match result {
        // Clients to whom nothing happens prove nothing.
        Ok(()) => {
            runtime.block_on(until(async || unknown(&hub).await)).unwrap();
            for (what, count) in hub::counts(&hub) {
                println!("{what}: {count}");
                assert!(count > 0.0, "no {what}");
            }
        }
        Err(TestError::Fail(why, steps)) => panic!("{why}\n{steps:#?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

/// Few, unless somebody asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(250)
}

#[test]
fn whatever_a_client_does_is_answered_once_and_forgotten() {
    fuzz(false);
}

#[test]
fn the_same_within_a_rate() {
    fuzz(true);
}
