//! `rooms.policy = "webhook"`: another service decides who may enter.

use std::{
    io::Write,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::*;

/// A service that counts its calls, allows rooms that begin with `ok`, answers
/// nonsense for `odd` ones and nothing at all for `slow` ones.
struct Service {
    url: String,
    calls: Arc<AtomicUsize>,
}

impl Service {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/decide", listener.local_addr().unwrap());
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let counter = Arc::clone(&counter);
                thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(SOON));
                    let Some(request) = read_request(&mut stream) else { return };
                    counter.fetch_add(1, Ordering::SeqCst);
                    if request.contains("slow") {
                        thread::sleep(Duration::from_secs(5));
                        return;
                    }
                    let allow = request.contains("\"ok");
                    let body = match request.contains("odd") {
                        true => "<html>".to_owned(),
                        false => json!({"allow": allow}).to_string(),
                    };
                    let _ = write!(
                        stream,
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        body.len()
                    );
                });
            }
        });
        Self { url, calls }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// Head and body as text, once the body is there.
fn read_request(stream: &mut impl std::io::Read) -> Option<String> {
    let mut got = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&got).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|l| l.split_once(':'))
                .find(|(n, _)| n.eq_ignore_ascii_case("content-length"))
                .and_then(|(_, v)| v.trim().parse().ok())
                .unwrap_or(0);
            if body.len() >= length {
                return Some(text);
            }
        }
        match stream.read(&mut piece) {
            Ok(n @ 1..) => got.extend_from_slice(&piece[..n]),
            _ => return None,
        }
    }
}

#[test]
fn the_service_decides_and_is_not_asked_twice() {
    let service = Service::start();
    let hub = Hub::start(&[
        ("HUBBUB__ROOMS__POLICY", "webhook"),
        ("HUBBUB__ROOMS__WEBHOOK_URL", &service.url),
        ("HUBBUB__ROOMS__WEBHOOK_TIMEOUT_MS", "700"),
    ]);
    let mut ann = hub.ws("ann");
    ann.join("ok-1");
    ann.say("ok-1", "in");
    assert_eq!(service.calls(), 1);
    ann.ok(json!({"type": "leave", "roomId": "ok-1"}));
    ann.join("ok-1");
    hub.ws("ann").join("ok-1");
    assert_eq!(service.calls(), 1, "the decision is kept for user and room");
    for _ in 0..2 {
        ann.refused(json!({"type": "join", "roomId": "no-1"}), "forbidden");
    }
    assert_eq!(service.calls(), 2, "a refusal is kept too");
    hub.ws("bob").join("ok-1");
    assert_eq!(service.calls(), 3, "another user is another question");

    let odd = ann.request(json!({"type": "join", "roomId": "odd"})).expect_err("a broken answer");
    assert!(matches!(odd["code"].as_str(), Some("forbidden" | "unavailable")), "{odd}");
    let started = Instant::now();
    let slow = ann.request(json!({"type": "join", "roomId": "slow"})).expect_err("no answer");
    assert!(matches!(slow["code"].as_str(), Some("forbidden" | "unavailable")), "{slow}");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    ann.refused(json!({"type": "join", "roomId": "user:ann"}), "forbidden");
}

#[test]
fn a_service_that_is_down_lets_nobody_in() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let hub = Hub::start(&[
        ("HUBBUB__ROOMS__POLICY", "webhook"),
        ("HUBBUB__ROOMS__WEBHOOK_URL", &format!("http://127.0.0.1:{port}/decide")),
    ]);
    let mut ann = hub.ws("ann");
    let error = ann.request(json!({"type": "join", "roomId": "ok"})).expect_err("it is down");
    assert!(matches!(error["code"].as_str(), Some("forbidden" | "unavailable")), "{error}");
    ann.fence();
}
