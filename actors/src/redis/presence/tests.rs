//! Against a real Redis.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hubbub_protocol::{event::Status, limits::MAX_BAN_MS};

use super::*;
use crate::{
    cluster::store::{Entry, Listed, Logged},
    redis::{LinkConfig, NoLinkObserver, address::Address, test_server::TestServer},
};

const LEASE: u64 = 300;

struct Node {
    link: RedisLink,
    store: RedisPresence,
}

async fn node(server: &TestServer, instance: &str) -> Node {
    node_at(&format!("redis://127.0.0.1:{}", server.port), instance).await
}

async fn node_at(url: &str, instance: &str) -> Node {
    let address = Address::parse(url).unwrap();
    let link = RedisLink::start(LinkConfig::new(address), Arc::new(NoLinkObserver)).unwrap();
    let mut state = link.state();
    let up = state.wait_for(|state| state.up);
    if tokio::time::timeout(Duration::from_secs(20), up).await.is_err() {
        panic!("{:?}", link.state().borrow().reason);
    }
    let clock = Clock::system();
    let store = RedisPresence::new(link.clone(), instance.into(), LEASE, "online-users", clock);
    Node { link, store }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.link.close();
    }
}

impl Node {
    async fn online(&self) -> BTreeSet<String> {
        let value = self.link.query(redis::cmd("SMEMBERS").arg("online-users")).await.unwrap();
        redis::from_redis_value(value).unwrap()
    }

    async fn write(&self, users: &[(&str, bool)]) -> Renewed {
        let users = users.iter().map(|(u, held)| (user(u), held.then(share))).collect();
        self.store.write(users).await.unwrap()
    }

    /// What came after an anchor, and where that ends.
    async fn after(&self, anchor: &Anchor) -> (Vec<Logged>, Anchor) {
        let mut all = Vec::new();
        let mut at = anchor.clone();
        loop {
            match self.store.read(at).await.unwrap() {
                Read::Entries(entries, next) if entries.is_empty() => return (all, next),
                Read::Entries(entries, next) => {
                    all.extend(entries);
                    at = next;
                }
                Read::Lost => panic!("the log is lost"),
            }
        }
    }
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn share() -> Share {
    Share {
        sessions: vec![],
        status: Status::Online,
        username: None,
        rooms: vec![],
        opened: vec![],
    }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

/// A cluster of one server, which checks slots as a large one does.
async fn cluster() -> (TestServer, String) {
    let server =
        TestServer::start(&["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]);
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port)).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut slots = redis::cmd("CLUSTER");
    slots.arg("ADDSLOTSRANGE").arg(0).arg(16_383);
    slots.query_async::<()>(&mut connection).await.unwrap();
    loop {
        let mut info = redis::cmd("CLUSTER");
        let info: String = info.arg("INFO").query_async(&mut connection).await.unwrap();
        if info.contains("cluster_state:ok") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let url = format!("redis+cluster://127.0.0.1:{}", server.port);
    (server, url)
}

#[tokio::test]
async fn what_one_node_tells_the_other_reads() {
    let server = TestServer::start(&[]);
    telling(node(&server, "a#1").await, node(&server, "b#1").await).await;
}

#[tokio::test]
async fn in_a_redis_cluster_it_is_the_same() {
    let (_server, url) = cluster().await;
    telling(node_at(&url, "a#1").await, node_at(&url, "b#1").await).await;
}

async fn telling(a: Node, b: Node) {
    assert_eq!(a.write(&[("u", true)]).await, Renewed::Unknown, "it has not joined");
    let joined = a.store.join("{}".into()).await.unwrap();
    assert!(joined.fresh);
    assert_eq!(joined.nodes, [Listed { instance: "a#1".into(), complete: false }]);
    assert_eq!(a.write(&[("u", true), ("v", true)]).await, Renewed::Known);
    assert_eq!(a.store.announced().await.unwrap(), Renewed::Known);
    assert!(!a.store.join("{}".into()).await.unwrap().fresh);
    let joined = b.store.join("{}".into()).await.unwrap();
    assert!(joined.nodes.contains(&Listed { instance: "a#1".into(), complete: true }));
    let (cursor, mut users) = b.store.scan("a#1".into(), "0".into()).await.unwrap();
    users.sort_by(|x, y| x.0.cmp(&y.0));
    assert_eq!((cursor.as_str(), users), ("0", vec![(user("u"), share()), (user("v"), share())]));
    a.write(&[("u", false), ("w", true)]).await;
    let (entries, end) = b.after(&joined.anchor).await;
    let expected = Entry::Users(vec![(user("u"), None), (user("w"), Some(share()))]);
    assert_eq!(entries.len(), 1);
    let Logged { id, instance, by, entry } = &entries[0];
    assert_eq!((&**instance, &**by, entry), ("a#1", "a#1", &expected));
    let (time, _) = id.split_once('-').unwrap();
    assert!(time.parse::<u64>().unwrap() > 1_700_000_000_000, "{id}");
    assert_eq!(b.after(&end).await.0, []);
    assert_eq!(b.online().await, set(&["v", "w"]));
    b.write(&[("v", true)]).await;
    a.write(&[("v", false)]).await;
    assert_eq!(b.online().await, set(&["v", "w"]), "v is on b");
    assert_eq!(a.store.find(user("v")).await.unwrap(), [("b#1".into(), share())]);
    let wake = a.store.wake();
    b.write(&[("x", true)]).await;
    tokio::time::timeout(Duration::from_secs(20), wake.notified()).await.unwrap();
    let from_afar = Anchor { nonce: "other".into(), ..end };
    assert_eq!(a.store.read(from_afar).await.unwrap(), Read::Lost);
}

#[tokio::test]
async fn a_dead_node_is_swept_by_one() {
    let server = TestServer::start(&[]);
    let a = node(&server, "a#1").await;
    let (b, c) = (node(&server, "b#1").await, node(&server, "c#1").await);
    for node in [&a, &b, &c] {
        node.store.join("{}".into()).await.unwrap();
    }
    let names: Vec<String> = (0..600).map(|n| format!("u{n}")).collect();
    for some in names.chunks(200) {
        let users: Vec<_> = some.iter().map(|n| (n.as_str(), true)).collect();
        a.write(&users).await;
    }
    b.write(&[("u0", true)]).await;
    let anchor = b.store.join("{}".into()).await.unwrap().anchor;
    assert_eq!(b.store.sweep("a#1".into()).await.unwrap(), Swept::Alive);
    let dead = |renewal: Renewal| match renewal {
        Renewal::Renewed(beats) => beats.iter().any(|b| &*b.instance == "a#1" && !b.alive),
        Renewal::Unknown => panic!("unknown"),
    };
    while !dead(b.store.renew("{}".into()).await.unwrap()) {
        c.store.renew("{}".into()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut swept = 0;
    loop {
        match b.store.sweep("a#1".into()).await.unwrap() {
            Swept::Some(n) => {
                swept += n;
                assert_eq!(c.store.sweep("a#1".into()).await.unwrap(), Swept::Busy);
            }
            Swept::All(n) => {
                swept += n;
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(swept, 600);
    assert_eq!(c.store.sweep("a#1".into()).await.unwrap(), Swept::Alive, "there is none");
    let (entries, _) = c.after(&anchor).await;
    let mut gone = Vec::new();
    for logged in &entries {
        assert_eq!((&*logged.instance, logged.by == logged.instance), ("a#1", false));
        match &logged.entry {
            Entry::Users(users) => {
                assert!(users.iter().all(|(_, share)| share.is_none()));
                gone.extend(users.iter().map(|(user, _)| user.to_string()));
            }
            Entry::Gone => assert_eq!(gone.len(), 600),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(gone.into_iter().collect::<BTreeSet<_>>().len(), 600, "each once");
    assert_eq!(entries.last().unwrap().entry, Entry::Gone);
    assert_eq!(b.online().await, set(&["u0"]));
    assert_eq!(a.write(&[("u1", true)]).await, Renewed::Unknown);
    assert_eq!(a.store.renew("{}".into()).await.unwrap(), Renewal::Unknown);
    assert!(a.store.join("{}".into()).await.unwrap().fresh);
}

#[tokio::test]
async fn a_node_that_wakes_while_it_is_swept_tells_all_again() {
    let server = TestServer::start(&[]);
    let (a, b) = (node(&server, "a#1").await, node(&server, "b#1").await);
    for node in [&a, &b] {
        node.store.join("{}".into()).await.unwrap();
    }
    let names: Vec<String> = (0..600).map(|n| format!("u{n}")).collect();
    let users: Vec<_> = names.iter().map(|n| (n.as_str(), true)).collect();
    for some in users.chunks(200) {
        a.write(some).await;
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let swept = loop {
        match b.store.sweep("a#1".into()).await.unwrap() {
            Swept::Some(n) => break n,
            Swept::Alive if std::time::Instant::now() < deadline => {
                b.store.renew("{}".into()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(swept < 600);
    // What it believes to have told is not there any more: it has to begin anew.
    assert_eq!(a.store.renew("{}".into()).await.unwrap(), Renewal::Unknown);
    assert_eq!(a.write(&[("u1", true)]).await, Renewed::Unknown);
    assert!(a.store.join("{}".into()).await.unwrap().fresh);
    for some in users.chunks(200) {
        assert_eq!(a.write(some).await, Renewed::Known);
    }
    assert!(matches!(a.store.renew("{}".into()).await.unwrap(), Renewal::Renewed(_)));
    assert_eq!(b.store.sweep("a#1".into()).await.unwrap(), Swept::Alive);
    assert_eq!(a.online().await.len(), 600);
}

#[tokio::test]
async fn bans_are_kept_and_told() {
    let server = TestServer::start(&[]);
    let (a, b) = (node(&server, "a#1").await, node(&server, "b#1").await);
    let anchor = a.store.join("{}".into()).await.unwrap().anchor;
    b.store.join("{}".into()).await.unwrap();
    let until = Clock::system().now() + 60_000;
    b.store.send_away(user("u"), until).await.unwrap();
    b.store.send_away(user("v"), 0).await.unwrap();
    let (entries, _) = a.after(&anchor).await;
    let away: Vec<_> =
        entries.into_iter().map(|l| l.entry).filter(|e| *e != Entry::Other).collect();
    let expected =
        [Entry::Announcing, Entry::SendAway(user("u"), until), Entry::SendAway(user("v"), 0)];
    assert_eq!(away, expected);
    assert_eq!(a.store.bans().await.unwrap(), [(user("u"), until)]);
    let bans = "hubbub:presence:{online-users}:bans";
    let left = a.link.query(redis::cmd("PTTL").arg(bans)).await.unwrap();
    let left: i64 = redis::from_redis_value(left).unwrap();
    assert!((1..=60_000).contains(&left), "{left}");
}

#[tokio::test]
async fn a_ban_for_ever_does_not_break_the_others() {
    let server = TestServer::start(&[]);
    let a = node(&server, "a#1").await;
    let anchor = a.store.join("{}".into()).await.unwrap().anchor;
    // What a node of an earlier version may have left.
    let bans = "hubbub:presence:{online-users}:bans";
    let mut left = redis::cmd("ZADD");
    a.link.query(left.arg(bans).arg(u64::MAX).arg("old")).await.unwrap();
    let now = Clock::system().now();
    a.store.send_away(user("u"), u64::MAX).await.unwrap();
    a.store.send_away(user("v"), now + 60_000).await.unwrap();
    let kept: BTreeMap<_, _> = a.store.bans().await.unwrap().into_iter().collect();
    assert_eq!(kept[&user("v")], now + 60_000);
    let latest = kept[&user("u")];
    let century = now + MAX_BAN_MS..=now + MAX_BAN_MS + 60_000;
    assert!(century.contains(&latest), "{latest}");
    let (entries, _) = a.after(&anchor).await;
    assert!(entries.iter().any(|l| l.entry == Entry::SendAway(user("u"), latest)), "{entries:?}");
}

#[tokio::test]
async fn counts_of_addresses_are_kept_per_node() {
    let server = TestServer::start(&[]);
    let a = node(&server, "a#1").await;
    a.store.join("{}".into()).await.unwrap();
    let (one, two) = ("10.0.0.1".parse().unwrap(), "::1".parse().unwrap());
    assert_eq!(a.store.addresses(vec![(one, 3), (two, 1)]).await.unwrap(), Renewed::Known);
    a.store.addresses(vec![(one, 0)]).await.unwrap();
    assert_eq!(a.store.scan_addresses("a#1".into()).await.unwrap(), [(two, 1)]);
}
