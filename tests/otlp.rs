//! One message is followed over two nodes: its spans at an OTLP receiver of the test's own, which
//! reads the protobuf by itself.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/mod.rs"]
mod support;

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::json;
use support::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A value of a protobuf field: varint and fixed ones as numbers, the others as bytes.
enum Raw<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message (encoding of proto3, wire types 0, 1, 2 and 5).
fn fields(mut bytes: &[u8]) -> Vec<(u64, Raw<'_>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = bytes.split_first().expect("a varint");
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return value;
            }
        }
        panic!("a varint has at most ten bytes");
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => {
                found.push((key >> 3, Raw::Number(varint(&mut bytes))));
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)).unwrap(),
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = bytes.split_at(length);
        bytes = rest;
        found.push((
            key >> 3,
            if key & 7 == 2 {
                Raw::Bytes(value)
            } else {
                Raw::Number(value.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
            },
        ));
    }
    found
}

fn messages(bytes: &[u8], field: u64) -> Vec<&[u8]> {
    let wanted = |(number, value)| match value {
        Raw::Bytes(bytes) if number == field => Some(bytes),
        _ => None,
    };
    fields(bytes).into_iter().filter_map(wanted).collect()
}

fn number(bytes: &[u8], field: u64) -> u64 {
    let wanted = |(at, value)| match value {
        Raw::Number(n) if at == field => Some(n),
        _ => None,
    };
    fields(bytes).into_iter().find_map(wanted).unwrap_or(0)
}

fn text(bytes: &[u8], field: u64) -> String {
    let found = messages(bytes, field).first().copied().unwrap_or_default();
    String::from_utf8(found.to_vec()).unwrap()
}

fn hex(bytes: &[u8], field: u64) -> String {
    let found = messages(bytes, field).first().copied().unwrap_or_default();
    found.iter().map(|b| format!("{b:02x}")).collect()
}

/// `KeyValue`s as texts.
fn attributes(bytes: &[u8], field: u64) -> BTreeMap<String, String> {
    let pair = |pair| {
        let value = messages(pair, 2)[0];
        let shown = match &fields(value)[..] {
            [(1, Raw::Bytes(text))] => String::from_utf8(text.to_vec()).unwrap(),
            [(_, Raw::Number(n))] => n.to_string(),
            _ => String::new(),
        };
        (text(pair, 1), shown)
    };
    messages(bytes, field).into_iter().map(pair).collect()
}

/// What the test wants to know of a span.
#[derive(Clone, Debug)]
struct Span {
    node: String,
    trace: String,
    id: String,
    parent: String,
    name: String,
    /// 1 internal, 2 server.
    kind: u64,
    start: u64,
    end: u64,
    facts: BTreeMap<String, String>,
    /// 0 unset, 2 error.
    status: u64,
}

/// `ExportTraceServiceRequest` (opentelemetry/proto/collector/trace/v1).
fn spans(request: &[u8]) -> Vec<Span> {
    let mut found = Vec::new();
    for of_resource in messages(request, 1) {
        let resource = attributes(messages(of_resource, 1)[0], 1);
        assert_eq!(resource["service.name"], "hubbub");
        for span in messages(of_resource, 2).into_iter().flat_map(|scope| messages(scope, 2)) {
            found.push(Span {
                node: resource["service.instance.id"].clone(),
                trace: hex(span, 1),
                id: hex(span, 2),
                parent: hex(span, 4),
                name: text(span, 5),
                kind: number(span, 6),
                start: number(span, 7),
                end: number(span, 8),
                facts: attributes(span, 9),
                status: messages(span, 15).first().map_or(0, |status| number(status, 3)),
            });
        }
    }
    found
}

/// Takes `POST /v1/traces`.
struct Receiver {
    url: String,
    /// What came, as it came.
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

fn take(stream: &mut TcpStream, bodies: &Mutex<Vec<Vec<u8>>>) -> Option<()> {
    let (mut got, mut piece) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let head = got.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
        if let Some(end) = head {
            let text = String::from_utf8_lossy(&got[..end]).to_lowercase();
            assert!(text.starts_with("post /v1/traces "), "{text}");
            assert!(text.contains("content-type: application/x-protobuf"), "{text}");
            let length = text.split("content-length: ").nth(1)?.split("\r\n").next()?;
            let length: usize = length.parse().ok()?;
            if got.len() >= end + length {
                bodies.lock().unwrap().push(got[end..end + length].to_vec());
                got.drain(..end + length);
                let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n\
                              content-length: 0\r\n\r\n";
                stream.write_all(answer.as_bytes()).ok()?;
                continue;
            }
        }
        let n = stream.read(&mut piece).ok().filter(|n| *n > 0)?;
        got.extend_from_slice(&piece[..n]);
    }
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let into = bodies.clone();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let into = into.clone();
                thread::spawn(move || take(&mut stream, &into));
            }
        });
        Self { url, bodies }
    }

    fn spans(&self) -> Vec<Span> {
        self.bodies.lock().unwrap().iter().flat_map(|body| spans(body)).collect()
    }

    /// Waits until so many came of a trace.
    fn of(&self, trace: &str, count: usize) -> Vec<Span> {
        until("the spans", SOON, || {
            let found: Vec<_> = self.spans().into_iter().filter(|s| s.trace == trace).collect();
            (found.len() >= count).then_some(found)
        })
    }
}

fn hub(id: &str, redis: &RedisServer, receiver: &str) -> Hub {
    Hub::start(&[
        ("HUBBUB__NODE__ID", id),
        ("HUBBUB__SERVER__WORKERS", "1"),
        ("HUBBUB__CLUSTER__REDIS_URL", &redis.url()),
        ("HUBBUB__TRACING__OTLP_URL", receiver),
        // Batches leave soon.
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ])
}

fn followed(hub: &Hub, header: &str) -> Http {
    hub.api().header("traceparent", header)
}

fn one<'a>(spans: &'a [Span], name: &str, node: &str) -> &'a Span {
    let mut found = spans.iter().filter(|s| s.name == name && s.node == node);
    let (first, more) = (found.next(), found.next());
    assert!(more.is_none(), "{name} on {node} came twice");
    first.unwrap_or_else(|| panic!("no {name} on {node} in {spans:#?}"))
}

#[test]
fn a_message_is_followed_over_two_nodes() {
    let (redis, receiver) = (RedisServer::start(&[]), Receiver::start());
    let hubs = ["n1", "n2"].map(|id| hub(id, &redis, &receiver.url));
    let (mut ann, mut ben) = (hubs[0].member("ann", "r"), hubs[1].member("ben", "r"));
    let say = |header: &str, content: &str| {
        let message = json!({"content": content});
        followed(&hubs[0], header).post("/api/rooms/r/messages", &message).expect(202)
    };

    // Nobody follows these: not sampled, not valid.
    say(&format!("00-{TRACE}-{CALLER}-00"), "not sampled");
    say("00-what-ever-01", "not valid");
    let answer = say(&format!("00-{TRACE}-{CALLER}-01"), "psst");
    for session in [&mut ann, &mut ben] {
        session.hears("psst");
    }

    let all = receiver.of(TRACE, 4);
    let publish = one(&all, "publish", "n1");
    assert_eq!((&*publish.parent, publish.kind), (CALLER, 2));
    let store = one(&all, "store", "n1");
    let fan_outs = [one(&all, "fan-out", "n1"), one(&all, "fan-out", "n2")];
    for step in [store, fan_outs[0], fan_outs[1]] {
        assert_eq!((&step.parent, step.kind, step.status), (&publish.id, 1, 0));
        assert_eq!(step.facts["hubbub.message_id"], answer["id"].as_str().unwrap());
        assert_eq!(step.facts["hubbub.room"], "r");
        assert_eq!(step.facts["hubbub.offset"], answer["offset"].to_string());
        assert!(publish.start <= step.start && step.start <= step.end, "{step:?}");
    }
    assert!(store.end <= publish.end, "stored before it is answered");
    for fan_out in fan_outs {
        assert_eq!(fan_out.facts["hubbub.sessions"], "1");
    }
    let ids: std::collections::BTreeSet<_> = all.iter().map(|s| &s.id).collect();
    assert_eq!(ids.len(), 4, "each has an id of its own");
    assert_eq!(receiver.spans().len(), 4, "nothing of the other messages");
    let told = receiver.bodies.lock().unwrap().concat();
    assert!(!told.windows(4).any(|w| w == b"psst"), "what users write goes nowhere");
}

#[test]
fn a_refusal_is_followed_too_and_the_last_spans_leave_before_the_end() {
    let (mut redis, receiver) = (RedisServer::start(&[]), Receiver::start());
    let mut hub = Hub::start(&[
        ("HUBBUB__NODE__ID", "n1"),
        ("HUBBUB__CLUSTER__REDIS_URL", &redis.url()),
        ("HUBBUB__CLUSTER__QUEUE_TIMEOUT_MS", "200"),
        ("HUBBUB__TRACING__OTLP_URL", &receiver.url),
        // Later than this test: only the end makes them leave.
        ("OTEL_BSP_SCHEDULE_DELAY", "600000"),
    ]);
    until("the hub is ready", SOON, || (hub.http().get("/readyz").status == 200).then_some(()));
    redis.kill();
    let message = json!({"roomId": "r", "text": "hello"});
    let header = format!("00-{TRACE}-{CALLER}-01");
    followed(&hub, &header).post("/api/message", &message).expect_error(503, "unavailable");
    assert!(receiver.spans().is_empty());
    hub.signal("TERM");
    assert!(hub.wait_exit(Duration::from_secs(30)).success());
    let all = receiver.of(TRACE, 2);
    for name in ["publish", "store"] {
        assert_eq!(one(&all, name, "n1").status, 2, "{name} failed");
    }
}

#[test]
fn a_receiver_that_is_away_costs_nobody_anything() {
    let redis = RedisServer::start(&[]);
    let hub = hub("n1", &redis, &format!("http://127.0.0.1:{}/v1/traces", free_port()));
    let mut ann = hub.member("ann", "r");
    let api = followed(&hub, &format!("00-{TRACE}-{CALLER}-01"));
    for n in 0..50 {
        let content = format!("m{n}");
        api.post("/api/rooms/r/messages", &json!({"content": content})).expect(202);
        ann.hears(&content);
    }
    until("it is said", SOON, || hub.log.find(|l| l["msg"] == "spans could not be sent"));
}
