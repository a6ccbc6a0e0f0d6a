//! Attacks that are built of many small right things, or of things that a proxy and a hub could read
//! differently. `docs/security.md` has the list.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::*;

fn dial(hub: &Hub) -> TcpStream {
    let stream = TcpStream::connect(hub.address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    stream
}

/// The statuses of all answers until the hub ends the connection.
fn answers(stream: &mut TcpStream) -> Vec<u16> {
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap_or_default();
    let text = String::from_utf8_lossy(&got).into_owned();
    text.match_indices("HTTP/1.1 ")
        .filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok())
        .collect()
}

#[test]
fn a_frame_that_never_ends_is_no_sign_of_life() {
    let hub = Hub::start(&[
        ("HUBBUB__SESSION__HEARTBEAT_MS", "300"),
        ("HUBBUB__SESSION__TIMEOUT_MS", "300"),
    ]);
    let mut bob = hub.member("bob", "r");
    let mut ann = hub.member("ann", "r");
    ann.auto_pong = false;
    // The head of a frame of 1000 bytes, and then a byte now and then: nothing else may come between.
    ann.send_raw(&masked(0x81, &[b'x'; 1000])[..8]);
    let deadline = Instant::now() + SOON;
    while ann.ended().is_none() {
        assert!(Instant::now() < deadline, "still open");
        ann.send_raw(b"x");
        ann.next_frame(Instant::now() + Duration::from_millis(50));
        bob.fence();
    }
    hub.metric_until("hubbub_closed_total", &["heartbeat_missed"], |n| n == 1.0);
}

#[test]
fn an_http_connection_that_idles_is_closed() {
    let hub = Hub::start(&[]);
    let mut stream = dial(&hub);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: hub\r\n\r\n").unwrap();
    assert_eq!(answers(&mut stream), [200], "kept for {SOON:?}");
}

#[test]
fn an_upgrade_that_fails_takes_what_is_behind_it_along() {
    let hub = Hub::start(&[]);
    // A proxy that believes the upgrade passes everything behind it unseen.
    let behind =
        format!("GET /api/rooms HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {API_KEY}\r\n\r\n");
    for (target, changed, value) in [
        ("/ws", "Sec-WebSocket-Version", "777"),
        ("/ws", "Sec-WebSocket-Key", ""),
        ("/ws", "Origin", "https://evil.example"),
        ("/ws?token=wrong", "X-None", "1"),
        ("/nowhere", "X-None", "1"),
        ("/api/rooms", "X-None", "1"),
        ("/socket.io/?EIO=4&transport=nothing", "X-None", "1"),
        ("/socket.io/?EIO=4&transport=websocket&sid=unknown", "X-None", "1"),
    ] {
        let way = Handshake::new().target(target).header(changed, value);
        let mut stream = dial(&hub);
        stream.write_all(&[way.head("hub").as_bytes(), behind.as_bytes()].concat()).unwrap();
        let answers = answers(&mut stream);
        assert_eq!(answers.len(), 1, "{target} {changed}: {value}: {answers:?}");
        assert!((400..500).contains(&answers[0]), "{target} {changed}: {value}: {answers:?}");
    }
    // Another protocol is not spoken, and what follows is HTTP as before.
    let way = Handshake::new().header("Upgrade", "h2c");
    let mut stream = dial(&hub);
    stream.write_all(way.head("hub").as_bytes()).unwrap();
    assert_eq!(answers(&mut stream), [400]);
}

#[test]
fn an_address_counts_once_however_it_is_written() {
    let hub = Hub::start(&[("HUBBUB__LIMITS__MAX_CONNECTIONS_PER_IP", "1")]);
    let way = |from: &str| {
        Handshake::new().bearer(&token("ann", json!({}))).header("X-Forwarded-For", from)
    };
    let _held = hub.ws_by(way("203.0.113.7"));
    for from in [
        " 203.0.113.7 ",
        "198.51.100.9,203.0.113.7",
        // Two headers are one list, in their order.
        "198.51.100.9\r\nX-Forwarded-For: 203.0.113.7",
        "203.0.113.7\r\nX_Forwarded_For: 198.51.100.9",
        "203.0.113.7\r\nForwarded: for=198.51.100.9",
        "203.0.113.7\r\nX-Real-IP: 198.51.100.9",
        "198.51.100.9\r\nx-forwarded-for:\t203.0.113.7",
        "::ffff:203.0.113.7",
        "203.0.113.7, 127.0.0.1",
    ] {
        hub.refusal(way(from)).expect_error(429, "rate_limited");
    }
    // What is no address is the proxy's own.
    let _own = hub.ws_by(way("127.0.0.1"));
    for junk in ["nonsense", "203.0.113.8:99", "203.0.113.7, unknown", ""] {
        hub.refusal(way(junk)).expect_error(429, "rate_limited");
    }
}

#[test]
fn pages_of_other_origins_have_no_socket_io_either() {
    let hub = Hub::start(&[]);
    let evil = ("Origin", "https://evil.example");
    let upgrade =
        Handshake::new().target("/socket.io/?EIO=4&transport=websocket").header(evil.0, evil.1);
    let status = hub.refusal(upgrade).status;
    assert!(matches!(status, 400 | 403), "{status}");
    // A page may send a poll, as any form may; it cannot read the answer, and no cookie names anybody.
    let poll = hub.http().header(evil.0, evil.1).get("/socket.io/?EIO=4&transport=polling");
    assert_eq!(poll.header("access-control-allow-origin"), None, "{}", poll.text());
    assert_eq!(poll.header("set-cookie"), None);
    let api = hub.api().header(evil.0, evil.1).get("/api/rooms");
    assert_eq!(api.header("access-control-allow-origin"), None);
}

#[test]
fn a_flood_of_room_names_leaves_nothing() {
    const ROOMS: usize = 300;
    let hub = Hub::start(&[
        UNLIMITED,
        ("HUBBUB__HISTORY__STORE", "memory"),
        ("HUBBUB__ROOMS__MAX_ROOMS", "100"),
        ("HUBBUB__ROOMS__MAX_PER_SESSION", "64"),
    ]);
    let mut rounds = Vec::new();
    for round in 0..4 {
        let mut ws = hub.ws("flooder");
        for n in 0..ROOMS {
            // As long as a name may be, and never the same.
            let name = format!("{round}-{n}-{}", "n".repeat(110));
            for request in [
                json!({"type": "join", "roomId": name}),
                json!({"type": "message", "roomId": name, "content": "x".repeat(1000)}),
                json!({"type": "leave", "roomId": name}),
            ] {
                if let Err(error) = ws.request(request) {
                    let code = error["code"].as_str().unwrap();
                    assert!(matches!(code, "too_many_rooms" | "not_a_member"), "{error}");
                }
            }
            ws.take(|_| true);
        }
        ws.close();
        hub.metric_until("hubbub_rooms", &[], |n| n == 0.0);
        rounds.push(hub.memory("VmRSS"));
    }
    let grown = rounds[3].saturating_sub(rounds[1]);
    assert!(grown < 4 * 1024 * 1024, "every round of {ROOMS} names takes more: {rounds:?}");
}

#[test]
fn nothing_a_client_says_forges_a_line_of_the_log() {
    let hub = Hub::start(&[]);
    let forged =
        "\",\"msg\":\"forged\"}\n{\"level\":\"error\",\"msg\":\"forged\"}\r\n\u{1b}[2J\u{2028}";
    let named = Handshake::new().query_token(&token("eve", json!({"name": forged})));
    if let Ok(mut ws) = named.open(hub.address) {
        ws.send(&json!({"type": "join", "roomId": format!("r{forged}")}));
        ws.send(&json!({"type": forged}));
        ws.fence();
    }
    // A user id with a line break is none.
    let answer = hub.refusal(Handshake::new().query_token(&token("eve\nforged", json!({}))));
    assert_eq!(answer.status, 401);
    let mut ws = hub.member("eve", "r \",\"msg\":\"forged\",\"a\":\"");
    ws.send_raw(&close(4999, b"\"forged\""));
    let mut stream = dial(&hub);
    let head = "GET /%0a%22forged?a=%0d%0aforged HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\
                User-Agent: \"forged\"\r\nX-Forwarded-For: \"forged\"\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(answers(&mut stream).len(), 1);
    hub.metric_until("hubbub_sessions", &[], |n| n == 0.0);
    // That each line is one JSON object is looked at when the hub ends, as in every test.
    assert!(hub.log.find(|line| line["msg"] == "forged").is_none(), "{}", hub.log.text());
    assert!(!hub.log.text().contains('\u{1b}'));
}

#[test]
fn the_http_api_refuses_what_makes_no_sense_and_goes_on() {
    let hub = Hub::start(&[]);
    let mut neighbour = hub.member("bob", "r");
    for path in [
        "/api/rooms?limit=4294967296",
        "/api/rooms?limit=-1",
        "/api/rooms?limit=1000000",
        "/api/rooms?limit=1&limit=2",
        "/api/rooms/%ff%fe/messages",
        "/api/rooms/r%00r/messages",
        "/api/rooms/%0a/members",
        "/api/rooms/r/messages?after=x",
        "/api/rooms/r/messages?after=1&before=1",
        "/api/rooms/..%2f..%2fetc%2fpasswd/../../../etc/passwd",
        "/api/../../../../etc/passwd",
        "/api/users/",
        "/%2e%2e/%2e%2e/etc/passwd",
    ] {
        let answer = hub.api().get(path);
        assert!((400..500).contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
        assert!(!answer.text().contains("root:"), "{path}");
    }
    for method in ["TRACE", "CONNECT", "PUT", "PATCH", "LONG-AND-UNKNOWN"] {
        let answer = hub.api().send(method, "/api/rooms/r/messages", Some(b"{}"));
        assert!((400..500).contains(&answer.status), "{method}: {}", answer.status);
    }
    for head in [
        format!("GET /{} HTTP/1.1\r\nHost: hub\r\n\r\n", "a".repeat(300_000)),
        format!("GET / HTTP/1.1\r\nHost: hub\r\n{}\r\n", "X-A: b\r\n".repeat(5_000)),
        "GET / HTTP/1.1\r\nHost: hub\r\n X-Folded: 1\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost : hub\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\nHost: hub\r\n\r\n".to_owned(),
        "GET  / HTTP/1.1\r\nHost: hub\r\n\r\n".to_owned(),
        "\0\0\0\0\0\0\0\0\r\n\r\n".to_owned(),
    ] {
        let mut stream = dial(&hub);
        let _ = stream.write_all(head.as_bytes());
        let told = answers(&mut stream);
        assert!(told.len() <= 1 && told.iter().all(|s| (400..500).contains(s)), "{told:?}");
    }
    neighbour.say("r", "undisturbed");
    neighbour.hears("undisturbed");
}

#[test]
fn a_flood_of_requests_in_one_piece_waits_for_its_answers() {
    for workers in ["1", "2"] {
        flood_of_requests(workers);
    }
}

/// Two polls of a new connection: the first is answered with what is there, the second waits.
fn waiting_poll(hub: &Hub) -> String {
    let path = "/socket.io/?EIO=4&transport=polling";
    let opened = hub.http().get(path).text();
    let sid = opened.split('"').nth(3).unwrap();
    let path = format!("{path}&sid={sid}");
    assert_eq!(hub.http().send("POST", &path, Some(b"40")).status, 200);
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").repeat(2)
}

/// Requests are sent ahead, and nobody reads an answer.
fn flood_of_requests(workers: &str) {
    const FLOODS: usize = 10;
    let hub = Hub::start(&[
        ("HUBBUB__SERVER__WORKERS", workers),
        ("HUBBUB__SESSION__STALL_TIMEOUT_MS", "2000"),
        ("HUBBUB__AUTH__ANONYMOUS", "true"),
        ("HUBBUB__SOCKETIO__PING_INTERVAL_MS", "1000"),
    ]);
    let get = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
    let chunked =
        "POST /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let before = hub.warm();
    let mut floods = Vec::new();
    for n in 0..FLOODS {
        let mut flood = match n % 3 {
            0 => waiting_poll(&hub),
            1 => String::new(),
            _ => chunked.to_owned(),
        };
        let mut stream = dial(&hub);
        stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        flood.push_str(&get.repeat(20_000));
        // The hub stops reading.
        let _ = stream.write_all(flood.as_bytes());
        floods.push(stream);
    }
    assert_eq!(hub.http().get("/healthz").status, 200);
    let grown = hub.memory("VmHWM").saturating_sub(before);
    println!("{workers} workers: {} KiB for each flood", grown / 1024 / FLOODS as u64);
    assert!(grown < FLOODS as u64 * 512 * 1024, "{grown} bytes for {FLOODS} connections");
    for mut stream in floods {
        until("who takes no answer is cut", SOON * 3, || {
            stream
                .write_all(get.as_bytes())
                .err()
                .filter(|e| !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
        });
    }
    hub.member("ann", "r").close();
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let hub = Hub::start(&[]);
    let mut stream = dial(&hub);
    let mut sent = String::new();
    for n in 0..300 {
        sent.push_str(&match n % 3 {
            0 => "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
            1 => format!(
                "POST /api/rooms/r{n}/messages HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {API_KEY}\r\n\
                 Content-Type: application/json\r\nContent-Length: 18\r\n\r\n{{\"content\":\"\\n\\n\"}}"
            ),
            _ => format!(
                "POST /api/rooms/r{n}/messages HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {API_KEY}\r\n\
                 Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
                 2\r\n{{\n\r\nf\r\n\n\"content\":\"x\"}}\r\n0\r\n\r\n"
            ),
        });
    }
    sent.push_str("GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let mut writer = stream.try_clone().unwrap();
    let writing = thread::spawn(move || writer.write_all(sent.as_bytes()));
    let statuses = answers(&mut stream);
    writing.join().unwrap().unwrap();
    let expected: Vec<u16> = (0..=300).map(|n| if n % 3 == 0 { 200 } else { 202 }).collect();
    assert_eq!(statuses, expected);
}

#[test]
fn without_a_free_file_the_node_goes_on_for_those_who_are_there() {
    // A single worker accepts by itself, several are handed connections.
    for workers in ["1", "2"] {
        without_a_free_file(workers);
    }
}

fn without_a_free_file(workers: &str) {
    let hub = Hub::start(&[("HUBBUB__SERVER__WORKERS", workers)]);
    let (mut ann, mut bob) = (hub.member("ann", "r"), hub.member("bob", "r"));
    let pid = hub.pid().to_string();
    let limit = |files: usize| {
        let files = format!("--nofile={files}:");
        let status = Command::new("prlimit").args(["--pid", &pid, &files]).status().unwrap();
        assert!(status.success());
    };
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    limit(open);
    // The kernel takes them in; the hub cannot.
    let waiting: Vec<TcpStream> = (0..20).map(|_| dial(&hub)).collect();
    for n in 0..20 {
        ann.say("r", &format!("on {n}"));
        bob.hears(&format!("on {n}"));
    }
    limit(open + 200);
    until("people come in again", SOON, || {
        let way = Handshake::new().query_token(&token("carol", json!({})));
        way.try_open(hub.address, SOON)
    });
    drop(waiting);
    ann.say("r", "after");
    bob.hears("after");
}
