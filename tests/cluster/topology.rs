//! Redis in its other forms: as a Cluster, behind sentinels, over TLS, with users.

use std::{
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::json;

use crate::{
    load::{Fleet, Plan, run},
    support::*,
};

/// About so long a load lasts by itself.
fn plan(rooms: usize, seconds: u64) -> Plan {
    let each = (seconds * 1000 / 50) as usize;
    Plan { rooms, senders: 9, each, window: 4, pace: Duration::from_millis(50) }
}

fn pause(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

/// Three masters and a replica of the first.
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts them, and waits until they are one.
    pub fn start() -> Self {
        let nodes: Vec<_> = (0..4)
            .map(|_| {
                let bus = free_port().to_string();
                let server = RedisServer::start(&[
                    "--cluster-enabled",
                    "yes",
                    "--cluster-node-timeout",
                    "1000",
                    "--cluster-replica-validity-factor",
                    "0",
                    "--cluster-port",
                    &bus,
                ]);
                (server, bus)
            })
            .collect();
        for (n, range) in [("0", "5460"), ("5461", "10922"), ("10923", "16383")].iter().enumerate()
        {
            let added = nodes[n].0.command(&["CLUSTER", "ADDSLOTSRANGE", range.0, range.1]);
            assert!(added.starts_with("+OK"), "{added}");
        }
        for (server, bus) in &nodes[1..] {
            let port = server.port.to_string();
            nodes[0].0.command(&["CLUSTER", "MEET", "127.0.0.1", &port, bus]);
        }
        let id = nodes[0].0.command(&["CLUSTER", "MYID"]);
        let id = id.lines().nth(1).unwrap().to_owned();
        let nodes: Vec<_> = nodes.into_iter().map(|(server, _)| server).collect();
        let within = Duration::from_secs(20);
        until("the replica knows its master", within, || {
            nodes[3].command(&["CLUSTER", "REPLICATE", &id]).starts_with("+OK").then_some(())
        });
        for node in &nodes {
            until("the cluster is whole", within, || {
                let info = node.command(&["CLUSTER", "INFO"]);
                (info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:4"))
                    .then_some(())
            });
        }
        until("the replica is in step", within, || {
            let about = nodes[3].command(&["INFO", "replication"]);
            about.contains("master_link_status:up").then_some(())
        });
        Self { nodes }
    }

    /// Two of the masters: the others are found.
    pub fn url(&self) -> String {
        format!("redis+cluster://127.0.0.1:{},127.0.0.1:{}", self.nodes[1].port, self.nodes[2].port)
    }
}

#[test]
fn rooms_are_spread_over_a_cluster_and_survive_a_failover() {
    let mut cluster = RedisCluster::start();
    let mut fleet = Fleet::start(3, &cluster.url(), &[]);
    let outcome = run(&mut fleet, plan(6, 6), |_| {
        pause(700);
        let sharded =
            |server: &RedisServer| server.command(&["PUBSUB", "SHARDCHANNELS"]).contains("news");
        let heard = cluster.nodes[..3].iter().filter(|server| sharded(server)).count();
        assert!(heard >= 2, "rooms are on several masters");
        cluster.nodes[0].kill();
        until("the replica takes over", Duration::from_secs(20), || {
            cluster.nodes[3].command(&["ROLE"]).contains("master").then_some(())
        });
    });
    outcome.assert_whole();
    // Personal rooms and everyone too.
    let (mut ann, mut ben) = (fleet.hubs[0].ws("ann"), fleet.hubs[1].ws("ben"));
    ann.ok(json!({"type": "direct", "userId": "ben", "content": "psst"}));
    assert_eq!(ben.expect_kind("direct")["content"], "psst");
    fleet.hubs[2].api().post("/api/broadcast", &json!({"event": "all"})).expect(202);
    ann.expect("the broadcast", |e| e["type"] == "event" && e["name"] == "all");
}

/// A sentinel; ends with the value.
struct Sentinel {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Sentinel {
    fn watch(master: &RedisServer) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let file = folder.path().join("sentinel.conf");
        let config = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\n\
             sentinel monitor hub 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds hub 800\n\
             sentinel failover-timeout hub 3000\n",
            folder.path().display(),
            master.port
        );
        std::fs::write(&file, config).unwrap();
        let child = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port, _folder: folder }
    }

    fn command(&self, words: &[&str]) -> Option<String> {
        RedisServer::ask(self.port, words)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_sentinel_names_the_master_and_its_successor() {
    let mut master = RedisServer::start(&[]);
    let replica = RedisServer::start(&[]);
    replica.command(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
    until("the replica is in step", SOON, || {
        replica.command(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
    });
    let sentinel = Sentinel::watch(&master);
    until("the sentinel knows the replica", Duration::from_secs(30), || {
        let replicas = sentinel.command(&["SENTINEL", "REPLICAS", "hub"])?;
        replicas.contains(&replica.port.to_string()).then_some(())
    });
    // The first of them is nobody.
    let url = format!("redis+sentinel://127.0.0.1:{},127.0.0.1:{}/hub", free_port(), sentinel.port);
    let mut fleet = Fleet::start(3, &url, &[]);
    let outcome = run(&mut fleet, plan(2, 6), |_| {
        pause(700);
        master.kill();
        until("the replica takes over", Duration::from_secs(20), || {
            // The sentinel ends connections of others as it makes it the master.
            replica.try_command(&["ROLE"])?.contains("master").then_some(())
        });
    });
    outcome.assert_whole();
}

#[test]
fn a_message_waits_for_its_replicas() {
    let master = RedisServer::start(&[]);
    let settings =
        [("HUBBUB__CLUSTER__MIN_REPLICAS", "1"), ("HUBBUB__CLUSTER__QUEUE_TIMEOUT_MS", "3000")];
    let fleet = Fleet::start(1, &master.url(), &settings);
    let mut ann = fleet.hubs[0].member("ann", "r");
    let refused = ann.refused(
        json!({"type": "message", "roomId": "r", "content": "alone", "key": "k"}),
        "unavailable",
    );
    assert!(refused["message"].is_string());
    let replica = RedisServer::start(&[]);
    replica.command(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
    until("the replica is in step", SOON, || {
        replica.command(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
    });
    // The same once more: it was stored, and is acknowledged now.
    let ack = ann.ok(json!({"type": "message", "roomId": "r", "content": "alone", "key": "k"}));
    assert_eq!(ack["offset"], 1);
    assert!(replica.command(&["XLEN", "hubbub:{r}:log"]).starts_with(":1"));
    assert_eq!(ann.say("r", "two")["offset"], 2);
}

#[test]
fn a_user_with_few_rights_over_tls_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let openssl = |args: &str| {
        let words = args.split(' ').map(|word| match word.strip_prefix('@') {
            Some(name) => path(name),
            None => word.to_owned(),
        });
        let made =
            Command::new("openssl").args(words).stderr(Stdio::null()).status().expect("openssl");
        assert!(made.success(), "{args}");
    };
    std::fs::write(path("san"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        .unwrap();
    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout @ca.key -out @ca.pem");
    openssl("req -newkey rsa:2048 -nodes -subj /CN=redis -keyout @key.pem -out @csr.pem");
    openssl(
        "x509 -req -in @csr.pem -CA @ca.pem -CAkey @ca.key -CAcreateserial -days 2 \
         -extfile @san -out @cert.pem",
    );
    let tls_port = free_port();
    let redis = RedisServer::start(&[
        "--tls-port",
        &tls_port.to_string(),
        "--tls-cert-file",
        &path("cert.pem"),
        "--tls-key-file",
        &path("key.pem"),
        "--tls-auth-clients",
        "no",
    ]);
    let rights = "on >p@ss ~hubbub:* ~online-users &hubbub:* +@read +@write +@pubsub +@scripting +@connection \
                  +info +time +wait +cluster|slots +cluster|info";
    let mut rule = vec!["ACL", "SETUSER", "hubbub"];
    rule.extend(rights.split_whitespace());
    assert!(redis.command(&rule).starts_with("+OK"));
    let url = format!("rediss://hubbub:p%40ss@127.0.0.1:{tls_port}");
    let trust = ("HUBBUB__CLUSTER__TLS_CA", path("ca.pem"));
    let fleet = Fleet::start(2, &url, &[(trust.0, &trust.1)]);
    let (mut ann, mut ben) = (fleet.hubs[0].member("ann", "r"), fleet.hubs[1].member("ben", "r"));
    ann.say("r", "hello");
    ben.hears("hello");
    ann.send(&json!({"type": "typing", "roomId": "r", "isTyping": true}));
    ben.expect_kind("typing");
    let lines = fleet.hubs[0].log.tail(1000);
    assert!(!lines.contains("p@ss") && !lines.contains("p%40ss"), "{lines}");
    // The doctor gets as far, with the same certificates only.
    let doctor = |trust: Option<&str>| {
        let mut doctor = hubbub();
        doctor.arg("doctor").current_dir(folder.path()).env("HUBBUB__CLUSTER__REDIS_URL", &url);
        if let Some(file) = trust {
            doctor.env("HUBBUB__CLUSTER__TLS_CA", file);
        }
        String::from_utf8(doctor.output().unwrap().stdout).unwrap()
    };
    let said = doctor(Some(&trust.1));
    assert!(said.contains("answers, version") && !said.contains("p%40ss"), "{said}");
    let said = doctor(None);
    assert!(said.contains("cannot reach rediss://"), "{said}");
}
