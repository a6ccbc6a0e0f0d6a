//! The verb `loadtest` against a real hub: what it counts, and that it finds what is wrong.

use std::{
    net::SocketAddr,
    process::{Child, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    alone,
    proxy::{Harm, proxy},
    support::*,
};

/// A hub that bounds no load.
fn hub(more: &[(&str, &str)]) -> Hub {
    let settings = [UNLIMITED, ("HUBBUB__LIMITS__MAX_CONNECTIONS_PER_IP", "0")];
    Hub::start(&[&settings, more].concat())
}

/// A load test under way; its reports go to a folder.
struct Load {
    child: Child,
    folder: tempfile::TempDir,
}

impl Load {
    fn start(address: SocketAddr, arguments: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = hubbub()
            .env("HUBBUB_LOADTEST_JWT_SECRET", JWT_SECRET)
            .args(["loadtest", "--url", &format!("http://{address}"), "--json"])
            .arg(folder.path().join("a.json"))
            .arg("--html")
            .arg(folder.path().join("a.html"))
            .args(arguments.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    /// Exit code, report, and everything that was printed.
    fn end(self) -> (Option<i32>, Value, String) {
        let output = self.child.wait_with_output().unwrap();
        let text = std::fs::read_to_string(self.folder.path().join("a.json")).unwrap();
        (output.status.code(), serde_json::from_str(&text).unwrap_or_default(), printed(&output))
    }

    fn page(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("a.html")).unwrap()
    }
}

fn printed(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn load(address: SocketAddr, arguments: &str) -> (Option<i32>, Value, String) {
    Load::start(address, arguments).end()
}

#[test]
fn a_sound_hub_passes_on_both_wires() {
    let _alone = alone();
    let hub = hub(&[]);
    let arguments = format!(
        "-n 60 --rooms 3 --senders 6 --wire both --rate 100..200 --arrivals poisson --size 64..2000 \
         --duration 3s --warmup 1s --ramp 100ms --source 127.0.0.2-127.0.0.4 --threads 2 --pid {}",
        hub.pid()
    );
    let (code, report, printed) = load(hub.address, &arguments);
    assert_eq!(code, Some(0), "{printed}");
    let number = |name: &str| report[name].as_u64().unwrap();
    assert!((380..=520).contains(&number("due")), "{printed}");
    for name in ["sent", "acked"] {
        assert_eq!(number(name), number("due"), "{name}: {printed}");
    }
    // Everybody in the room got each, and nobody else.
    assert_eq!(number("delivered"), number("due") * 20, "{printed}");
    assert!(
        report["latency"]["count"].as_u64().unwrap() < number("delivered"),
        "the warm-up counts"
    );
    assert!(report["latency"]["percentiles"]["p99"].as_u64().unwrap() > 0);
    assert!(report["hubs"]["cpu_us_per_delivery"].as_f64().unwrap() > 0.0, "{printed}");
    assert!(report["samples"].as_array().unwrap().len() >= 3);
    // The hub counted the same.
    let published = hub.metrics().sum("hubbub_publishes_total", &[]);
    assert!(published >= number("acked") as f64, "{published}");
    assert!(printed.contains("delivered") && printed.contains("p99"), "{printed}");
}

#[test]
fn several_nodes_share_the_connections_and_the_progress_is_told() {
    let _alone = alone();
    let redis = RedisServer::start(&[]);
    let url = redis.url();
    let nodes =
        ["a", "b"].map(|id| hub(&[("HUBBUB__CLUSTER__REDIS_URL", &url), ("HUBBUB__NODE__ID", id)]));
    let arguments = format!(
        "--url http://{} -n 40 --rooms 4 --rate 50 --duration 4s --wire both \
         --source 127.0.0.2-127.0.0.3",
        nodes[1].address
    );
    let run = Load::start(nodes[0].address, &arguments);
    for node in &nodes {
        node.metric_until("hubbub_connections", &[], |n| n == 20.0);
    }
    let (code, report, printed) = run.end();
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(report["delivered"], report["due"].as_u64().unwrap() * 10, "{printed}");
    assert_eq!(report["settings"]["urls"].as_array().unwrap().len(), 2);
    // A line a second while messages were due.
    let lines = printed.lines().filter(|l| l.contains(" conns 40 ") && l.contains("delivered"));
    assert!(lines.count() >= 2, "{printed}");
}

#[test]
fn churn_and_slow_readers_are_no_loss() {
    let _alone = alone();
    let hub = hub(&[
        ("HUBBUB__SESSION__OUTBOUND_MAX_BYTES", "65536"),
        ("HUBBUB__SESSION__STALL_TIMEOUT_MS", "1000"),
    ]);
    let (code, report, printed) = load(
        hub.address,
        "-n 40 --rooms 2 --rate 100 --size 4000 --duration 4s --churn 20 --churners 10 \
         --slow-readers 3 --keys --drain 20s",
    );
    assert_eq!(code, Some(0), "{printed}");
    assert!((40..=90).contains(&report["cycles"].as_u64().unwrap()), "{printed}");
    assert!(report["cycle_time"]["count"].as_u64().unwrap() > 0);
    let closed: u64 =
        report["slow_closes"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(closed, 3, "who does not read is closed: {printed}");
    assert_eq!(report["closes"], serde_json::json!({}), "nobody else is: {printed}");
}

#[test]
fn the_page_needs_nothing_else() {
    let _alone = alone();
    let hub = hub(&[]);
    let mut run = Load::start(hub.address, "-n 10 --rate 50 --duration 3s --quiet");
    assert!(run.child.wait().unwrap().success());
    let page = run.page();
    assert_eq!(page.matches("<svg").count(), 6, "plots");
    for foreign in ["<script", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(foreign), "{foreign} in the page");
    }
    assert!(page.contains("Audit passed"));
    let mut errors = String::new();
    std::io::Read::read_to_string(&mut run.child.stderr.unwrap(), &mut errors).unwrap();
    assert_eq!(errors, "", "quiet");
}

#[test]
fn each_fault_is_found() {
    let _alone = alone();
    let hub = hub(&[]);
    for (harm, fault) in [
        (Harm::Drop, "lost"),
        (Harm::Repeat, "duplicated"),
        (Harm::Swap, "out_of_order"),
        (Harm::Damage, "damaged"),
    ] {
        let between = proxy(hub.address, harm, 333);
        let (code, report, printed) = load(between, "-n 20 --rate 50 --duration 2s");
        assert_eq!(code, Some(1), "{harm:?}: {printed}");
        let faults = &report["audit"]["faults"];
        assert_eq!(faults[fault], 1, "{harm:?}: {printed}");
        // A damaged copy is a copy that did not come.
        let others = u64::from(harm == Harm::Damage);
        let all = ["lost", "duplicated", "out_of_order", "disagreed", "misrouted", "damaged"];
        let sum: u64 = all.iter().map(|name| faults[name].as_u64().unwrap()).sum();
        assert_eq!(sum, 1 + others, "{harm:?}: {printed}");
        assert!(printed.contains("FAILED"), "{printed}");
        assert!(report["problems"][0].is_string());
    }
}

#[test]
fn a_killed_hub_comes_back_without_a_loss() {
    let _alone = alone();
    let mut hub = hub(&[]);
    let run =
        Load::start(hub.address, "-n 30 --rooms 3 --rate 100 --duration 6s --drain 15s --keys");
    hub.metric_until("hubbub_publishes_total", &[], |n| n > 100.0);
    hub.restart();
    let (code, report, printed) = run.end();
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(report["reconnects"], 30, "{printed}");
    assert!(report["acked"].as_u64().unwrap() > 200, "{printed}");
    assert_eq!(report["unanswered"], 0, "{printed}");
}

#[test]
fn a_hub_in_development_gives_the_tokens() {
    let _alone = alone();
    let hub = hub(&[("HUBBUB__AUTH__JWT_SECRET", "")]);
    let output = hubbub()
        .args(["loadtest", "--url", &format!("ws://{}/ws", hub.address)])
        .args(["-n", "5", "--duration", "1s", "--wire", "socketio"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
}

#[test]
fn an_interrupt_gives_the_result_so_far() {
    let _alone = alone();
    let hub = hub(&[]);
    let run = Load::start(hub.address, "-n 10 --rate 50 --duration 60s");
    hub.metric_until("hubbub_publishes_total", &[], |n| n > 20.0);
    let began = Instant::now();
    let sent = std::process::Command::new("sh")
        .args(["-c", &format!("kill -INT {}", run.child.id())])
        .status()
        .unwrap();
    assert!(sent.success());
    let (code, report, printed) = run.end();
    assert_eq!(code, Some(0), "{printed}");
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(report["interrupted"], true);
    assert!(report["due"].as_u64().unwrap() < 2000, "{printed}");
}

#[test]
fn it_says_when_it_was_itself_the_limit() {
    let _alone = alone();
    let hub = hub(&[]);
    let run = Load::start(hub.address, "-n 20 --rate 200 --duration 3s");
    hub.metric_until("hubbub_publishes_total", &[], |n| n > 50.0);
    // Half a second in which the load test does nothing: a sixth of the messages is late.
    let signal = |name: &str| {
        let command = format!("kill -{name} {}", run.child.id());
        assert!(
            std::process::Command::new("sh").args(["-c", &command]).status().unwrap().success()
        );
    };
    signal("STOP");
    std::thread::sleep(Duration::from_millis(500));
    signal("CONT");
    let (code, report, printed) = run.end();
    assert_eq!(code, Some(0), "late is not lost: {printed}");
    let own = &report["own"];
    let limits = own["limits"].to_string();
    assert!(limits.contains("sent late"), "{limits}");
    assert!(printed.contains("the load generator was itself the limit"), "{printed}");
    assert!(printed.contains("outside of the kernel"), "its own share is told: {printed}");
    // What was late counts from when it was due.
    assert!(report["latency"]["max"].as_u64().unwrap() > 300_000, "{printed}");
    for name in ["cpu_us_per_delivery", "cpu_percent", "busiest_thread"] {
        assert!(own[name].as_f64().unwrap() > 0.0, "{name}: {own}");
    }
}

#[test]
fn what_keeps_it_from_running_is_said() {
    let _alone = alone();
    let limited = Hub::start(&[
        ("HUBBUB__LIMITS__MAX_CONNECTIONS_PER_IP", "5"),
        ("HUBBUB__LIMITS__MESSAGES_PER_SECOND", "1"),
        ("HUBBUB__LIMITS__BURST", "5"),
    ]);
    let (code, _, told) = load(limited.address, "-n 20");
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("429") && told.contains("--source"), "{told}");
    // Every address has a count of its own.
    until("the hub has let go", SOON, || {
        (limited.metrics().sum("hubbub_connections", &[]) == 0.0).then_some(())
    });
    let (_, report, told) =
        load(limited.address, "-n 20 --source 127.0.0.2-127.0.0.6 --rate 20 --duration 1s");
    assert!(report["refused"]["rate_limited"].as_u64().unwrap() > 0, "{told}");

    let wrong = "-n 1 --jwt-secret wrong-wrong-wrong-wrong-wrong-wrong-wrong";
    let (code, _, told) = load(limited.address, wrong);
    assert_eq!(code, Some(1));
    assert!(told.contains("401") && told.contains("--jwt-secret"), "{told}");

    for (arguments, word) in [("--rooms 0", "--rooms"), ("--rate fast", "--rate"), ("-x", "-x")] {
        let output = hubbub().arg("loadtest").args(arguments.split_whitespace()).output().unwrap();
        let printed = printed(&output);
        assert_eq!(output.status.code(), Some(2), "{printed}");
        assert!(printed.contains(word), "{printed}");
    }
}
