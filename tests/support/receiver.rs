//! A backend that is told what happens: verifies every request as docs/webhooks.md says, and keeps
//! the events.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::{
    token::now,
    wait::{SOON, until},
};

/// The secret of the tests.
pub const HOOK_SECRET: &str = "a secret for webhooks of 36 bytes...";

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Takes everything.
    Take,
    /// Answers with this status.
    Refuse(u16),
    /// Reads the request and does not answer.
    Hang,
}

#[derive(Default)]
struct Got {
    /// Of accepted requests.
    events: Vec<Value>,
    /// Of accepted requests: how many events each had.
    batches: Vec<usize>,
    /// All requests, accepted or not.
    requests: usize,
    /// What was wrong with one.
    faults: Vec<String>,
}

/// The backend; gone when dropped.
pub struct Receiver {
    port: u16,
    mode: Arc<Mutex<Mode>>,
    got: Arc<Mutex<Got>>,
    ended: Arc<AtomicBool>,
}

impl Receiver {
    /// Starts one on a free port.
    pub fn start() -> Self {
        Self::start_on(0)
    }

    /// Starts one on a port.
    pub fn start_on(port: u16) -> Self {
        let bind = || TcpListener::bind(("127.0.0.1", port)).ok();
        let listener = until("the port is free", SOON, bind);
        let port = listener.local_addr().unwrap().port();
        let mode = Arc::new(Mutex::new(Mode::Take));
        let (got, ended): (Arc<Mutex<Got>>, Arc<AtomicBool>) = Default::default();
        let shared = (mode.clone(), got.clone(), ended.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.2.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { return };
                let (mode, got, ended) = shared.clone();
                thread::spawn(move || serve(stream, &mode, &got, &ended));
            }
        });
        Self { port, mode, got, ended }
    }

    /// `webhooks.url`.
    pub fn url(&self) -> String {
        Self::url_of(self.port)
    }

    /// `webhooks.url` of one on a port.
    pub fn url_of(port: u16) -> String {
        format!("http://127.0.0.1:{port}/hooks?from=hub")
    }

    /// From now on it answers so.
    pub fn answer(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// Requests so far, accepted or not.
    pub fn requests(&self) -> usize {
        self.got.lock().unwrap().requests
    }

    /// How many events each accepted request had.
    pub fn batches(&self) -> Vec<usize> {
        self.got.lock().unwrap().batches.clone()
    }

    /// Everything that was accepted, in order, repetitions included.
    pub fn all(&self) -> Vec<Value> {
        let got = self.got.lock().unwrap();
        assert_eq!(got.faults, Vec::<String>::new());
        got.events.clone()
    }

    /// The same, each id once.
    pub fn events(&self) -> Vec<Value> {
        let mut seen = std::collections::HashSet::new();
        let mut all = self.all();
        all.retain(|event| seen.insert(event["id"].as_str().unwrap().to_owned()));
        all
    }

    /// Those of a type (each id once) whose data has this.
    pub fn find(&self, kind: &str, field: &str, value: &str) -> Vec<Value> {
        let fits = |event: &Value| event["type"] == kind && event["data"][field] == value;
        self.events().into_iter().filter(fits).collect()
    }

    /// Waits for so many of them.
    pub fn expect(&self, count: usize, kind: &str, field: &str, value: &str) -> Vec<Value> {
        self.expect_within(SOON, count, kind, field, value)
    }

    /// The same, with a time.
    pub fn expect_within(
        &self,
        within: Duration,
        count: usize,
        kind: &str,
        field: &str,
        value: &str,
    ) -> Vec<Value> {
        let what = format!("{count} {kind} with {field} {value}");
        let found = until(&what, within, || {
            Some(self.find(kind, field, value)).filter(|found| found.len() >= count)
        });
        assert_eq!(found.len(), count, "{what}: {found:#?}");
        found
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // So that the listener looks.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(mut stream: TcpStream, mode: &Mutex<Mode>, got: &Mutex<Got>, ended: &AtomicBool) {
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut bytes = Vec::new();
    loop {
        let Some((head, body)) = request(&mut stream, &mut bytes, ended) else { return };
        got.lock().unwrap().requests += 1;
        // Whoever hangs does not answer later either.
        let mode = *mode.lock().unwrap();
        let status = match mode {
            Mode::Take => 204,
            Mode::Refuse(status) => status,
            Mode::Hang => {
                while !ended.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(20));
                }
                return;
            }
        };
        {
            let mut got = got.lock().unwrap();
            match read(&head, &body) {
                Ok(events) if mode == Mode::Take => {
                    got.batches.push(events.len());
                    got.events.extend(events);
                }
                Ok(_) => {}
                Err(fault) => got.faults.push(fault),
            }
        }
        let answer = format!("HTTP/1.1 {status} Done\r\ncontent-length: 0\r\n\r\n");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Head and body of the next request.
fn request(
    stream: &mut TcpStream,
    bytes: &mut Vec<u8>,
    ended: &AtomicBool,
) -> Option<(String, Vec<u8>)> {
    let mut piece = [0; 16 * 1024];
    loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
            let length: usize = header(&head, "content-length")?.parse().ok()?;
            if bytes.len() >= at + 4 + length {
                let body = bytes[at + 4..at + 4 + length].to_vec();
                bytes.drain(..at + 4 + length);
                return Some((head, body));
            }
        }
        match stream.read(&mut piece) {
            Ok(0) => return None,
            Ok(n) => bytes.extend_from_slice(&piece[..n]),
            Err(_) if ended.load(Ordering::SeqCst) => return None,
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock) => {}
            Err(_) => return None,
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// The events of a request that is what it should be.
fn read(head: &str, body: &[u8]) -> Result<Vec<Value>, String> {
    if !head.starts_with("POST /hooks?from=hub HTTP/1.1") {
        return Err(format!("not the address: {head}"));
    }
    if header(head, "content-type") != Some("application/json") {
        return Err(format!("not JSON: {head}"));
    }
    let signature = header(head, "hubbub-signature").ok_or("no signature")?;
    let parts: BTreeMap<&str, &str> =
        signature.split(',').filter_map(|part| part.split_once('=')).collect();
    let time: u64 = parts["t"].parse().map_err(|_| "no time")?;
    if now().abs_diff(time) > 60 {
        return Err(format!("sent at {time}"));
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(HOOK_SECRET.as_bytes()).unwrap();
    mac.update(format!("{time}.").as_bytes());
    mac.update(body);
    let v1 = parts["v1"];
    let bytes: Vec<u8> = (0..v1.len() / 2)
        .filter_map(|n| u8::from_str_radix(&v1[2 * n..2 * n + 2], 16).ok())
        .collect();
    mac.verify_slice(&bytes).map_err(|_| format!("a wrong signature: {signature}"))?;
    let body: Value = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    let queue = body["queueId"].as_str().ok_or("no queueId")?;
    let node = body["nodeId"].as_str().ok_or("no nodeId")?;
    let mut events = body["events"].as_array().ok_or("no events")?.clone();
    let numbers: Vec<_> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    if events.is_empty() || numbers.len() != events.len() || !numbers.is_sorted() {
        return Err(format!("the numbers are {numbers:?}"));
    }
    for event in &mut events {
        event["queue"] = queue.into();
        event["by"] = node.into();
    }
    Ok(events)
}
