//! docs/metrics.md and `/metrics` name the same metrics, types and labels.

use std::collections::{BTreeMap, BTreeSet};

use jsonwebtoken::Algorithm;
use serde_json::json;

use crate::support::*;

/// A metric: its type, and the values of each label as far as they are known.
#[derive(Debug, Default, PartialEq)]
struct Metric {
    kind: String,
    labels: BTreeMap<String, BTreeSet<String>>,
}

/// What a hub answers.
fn served(text: &str) -> BTreeMap<String, Metric> {
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    for line in text.lines().filter_map(|l| l.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        metrics.entry(name.to_owned()).or_default().kind = kind.to_owned();
    }
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let Some((series, labels)) = line.split_once('{') else { continue };
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| series.strip_suffix(end).filter(|n| metrics.contains_key(*n)))
            .unwrap_or(series);
        let metric = metrics.get_mut(name).unwrap_or_else(|| panic!("{series} has no type"));
        let (labels, _) = labels.rsplit_once('}').unwrap();
        for label in labels.split("\",") {
            let (name, value) = label.split_once("=\"").unwrap();
            let values = metric.labels.entry(name.to_owned()).or_default();
            values.insert(value.trim_end_matches('"').to_owned());
        }
    }
    metrics
}

/// The words in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// What the page says: rows of five columns that begin with a name.
fn documented(page: &str) -> BTreeMap<String, Metric> {
    let mut metrics = BTreeMap::new();
    for row in page.lines().filter(|l| l.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let &[name, kind, labels, meaning, _] = cells.as_slice() else { continue };
        let name = quoted(name).next().unwrap().to_owned();
        assert!(!meaning.is_empty(), "{name} has no meaning");
        let mut metric = Metric { kind: kind.to_owned(), ..Metric::default() };
        let (named, values) = labels.split_once(':').unwrap_or((labels, ""));
        let values: BTreeSet<String> = quoted(values).map(str::to_owned).collect();
        for label in quoted(named) {
            metric.labels.insert(label.to_owned(), values.clone());
        }
        assert!(metrics.insert(name.clone(), metric).is_none(), "{name} is there twice");
    }
    metrics
}

#[test]
fn the_page_on_metrics_is_complete_and_true() {
    let page = include_str!("../../docs/metrics.md");
    let reasons: BTreeSet<String> = page
        .split_once("## Reasons of `hubbub_closed_total`")
        .unwrap()
        .1
        .lines()
        .filter(|l| l.starts_with("| `"))
        .flat_map(|l| quoted(l.split('|').nth(1).unwrap()).map(str::to_owned))
        .collect();
    let redis = RedisServer::start(&[]);
    let url = redis.url();
    let used = |settings: &[(&str, &str)]| {
        let hub = Hub::start(settings);
        let mut ann = hub.member("ann", "r");
        ann.say("r", "hello");
        ann.hears("hello");
        served(&hub.metrics().0)
    };
    let alone = used(&[]);
    let served = used(&[
        ("HUBBUB__CLUSTER__REDIS_URL", &url),
        ("HUBBUB__WEBHOOKS__URL", "http://127.0.0.1:9/nobody"),
        ("HUBBUB__WEBHOOKS__SECRET", HOOK_SECRET),
        ("HUBBUB__ARCHIVE__ROOMS", "kept-*"),
        ("HUBBUB__ARCHIVE__URL", "postgres://nobody@127.0.0.1:9/none?sslmode=disable"),
    ]);
    let documented = documented(page);
    // What is not there with every hub has a section of its own.
    let section = |name: &str| {
        let title = format!("## {name}\n");
        page.split_once(&title).unwrap().1.split_once("\n## ").unwrap().0
    };
    let sections = [
        ("hubbub_hooks_", section("Webhooks")),
        ("hubbub_archive_", section("Archive")),
        ("hubbub_", section("Cluster")),
    ];
    for name in documented.keys().filter(|name| !alone.contains_key(*name)) {
        let (_, place) = sections.iter().find(|(prefix, _)| name.starts_with(prefix)).unwrap();
        assert!(place.contains(&format!("| `{name}` |")), "{name} is not in its section");
    }
    assert!(!alone.contains_key("hubbub_redis_up"));
    let names = |m: &BTreeMap<String, Metric>| m.keys().cloned().collect::<BTreeSet<_>>();
    let (here, there) = (names(&served), names(&documented));
    assert!(here.len() > 30, "{here:?}");
    assert_eq!(here.difference(&there).collect::<Vec<_>>(), Vec::<&String>::new(), "no row");
    assert_eq!(there.difference(&here).collect::<Vec<_>>(), Vec::<&String>::new(), "not served");
    for (name, metric) in &served {
        let row = &documented[name];
        assert_eq!(metric.kind, row.kind, "{name}");
        let labels = |m: &Metric| m.labels.keys().cloned().collect::<Vec<_>>();
        assert_eq!(labels(metric), labels(row), "{name}");
        for (label, values) in &metric.labels {
            let known = match (name.as_str(), label.as_str()) {
                ("hubbub_closed_total", _) => &reasons,
                (_, "le") | ("hubbub_build_info" | "hubbub_encodings_total", _) => continue,
                _ => &row.labels[label],
            };
            assert!(values.is_subset(known), "{name}{{{label}}}: {values:?}, page: {known:?}");
            if name != "hubbub_closed_total" {
                assert!(known.is_subset(values), "{name}{{{label}}}: {values:?}, page: {known:?}");
            }
        }
    }
}

#[test]
fn the_names_follow_the_conventions() {
    for (name, Metric { kind, .. }) in served(&Hub::start(&[]).metrics().0) {
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        for unit in ["_ms", "_millis", "_milliseconds", "_kb", "_kib"] {
            assert!(!name.contains(unit), "{name} has no base unit");
        }
        if kind == "histogram" {
            let units = ["_seconds", "_bytes", "_messages"];
            assert!(units.iter().any(|unit| name.ends_with(unit)), "{name} has no unit");
        }
    }
}

#[test]
fn refused_tokens_are_counted_by_reason() {
    let hub = Hub::start(&[]);
    let _ann = hub.ws("ann");
    hub.refusal(Handshake::new().bearer("no.token.atall"));
    let other = "another secret of at least 32 bytes!!";
    let forged = token_with(Algorithm::HS256, other, "ann", json!({}));
    hub.refusal(Handshake::new().bearer(&forged));
    let metrics = hub.metrics();
    let refused = |reason: &str| {
        metrics.sum("hubbub_token_refusals_total", &[&format!("reason=\"{reason}\"")])
    };
    assert_eq!(refused("bad_signature"), 1.0, "{}", metrics.0);
    assert_eq!(metrics.sum("hubbub_token_refusals_total", &[]), 2.0, "{}", metrics.0);
    assert_eq!(metrics.sum("hubbub_wire_sessions", &["wire=\"json\""]), 1.0);
}

#[test]
fn bytes_that_a_slow_client_does_not_take_are_shown_and_go_with_it() {
    let hub = Hub::start(&[UNLIMITED, ("HUBBUB__SESSION__OUTBOUND_MAX_BYTES", "4194304")]);
    let slow = Handshake::new().small_window().bearer(&token("slow", json!({})));
    let mut slow = hub.ws_by(slow);
    slow.join("r");
    let mut ann = hub.member("ann", "r");
    let content = "x".repeat(8000);
    for n in 0..200 {
        ann.say("r", &format!("{n}{content}"));
    }
    hub.metric_until("hubbub_outbound_queue_bytes", &[], |n| n > 200_000.0);
    drop(slow);
    hub.metric_until("hubbub_outbound_queue_bytes", &[], |n| n == 0.0);
}
