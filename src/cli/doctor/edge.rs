//! The way from a client to the nodes: proxies, headers, upgrade, affinity; and the clocks of nodes.

use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::{redis::skew, report::Finding};
use crate::{
    cli::{
        Failure,
        probe::{Answer, Probe},
    },
    config::Config,
};

const WHAT: &str = "proxy";
/// Polls of one client that must all reach its node.
const POLLS: usize = 6;

/// The answer of /api/connection.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Connection {
    node_id: String,
    peer: Option<String>,
    peer_trusted: bool,
    ip: String,
    forwarded_for: Option<String>,
    forwarded_proto: Option<String>,
    host: Option<String>,
}

/// Walks the way that clients take.
pub(super) async fn examine(url: &str, probe: &Probe, config: &Config) -> Vec<Finding> {
    let url = url.trim_end_matches('/');
    let mut findings = Vec::new();
    match probe.ask(&format!("{url}/readyz"), None, None).await {
        Ok(answer) if answer.status == 200 => {
            findings.push(Finding::fine(WHAT, format!("{url} leads to a hub that is ready")));
        }
        Ok(answer) => {
            findings.push(Finding::problem(
                WHAT,
                format!("{url}/readyz is answered {}: {}", answer.status, answer.text()),
                "start a node behind it, or see what else answers there",
            ));
            return findings;
        }
        Err(reason) => {
            let mend = "start the proxy; for a certificate of your own authority give --ca";
            return vec![Finding::problem(WHAT, reason, mend)];
        }
    }
    findings.extend(headers(url, probe, config).await);
    findings.push(upgrade(url, probe).await);
    findings.push(affinity(url, probe).await);
    findings
}

async fn headers(url: &str, probe: &Probe, config: &Config) -> Vec<Finding> {
    let Some(key) = &config.auth.api_key else {
        let mend = "set auth.api_key, here and on the nodes";
        return vec![Finding::warning(
            WHAT,
            "its headers can be seen with auth.api_key only",
            mend,
        )];
    };
    let answer = probe.ask(&format!("{url}/api/connection"), Some(key.expose()), None).await;
    match answer.map(|answer| (answer.status, serde_json::from_slice(&answer.body))) {
        Ok((200, Ok(seen))) => judge(url, &seen),
        Ok((status, _)) => vec![Finding::problem(
            WHAT,
            format!("{url}/api/connection is answered {status}"),
            "give the doctor the auth.api_key of the nodes, and let the proxy pass /api/",
        )],
        Err(reason) => vec![Finding::problem(WHAT, reason, "see to the proxy")],
    }
}

/// What the hub saw, against what the client asked for.
fn judge(url: &str, seen: &Connection) -> Vec<Finding> {
    let peer = seen.peer.as_deref().unwrap_or("unknown");
    let mut findings = vec![match (&seen.forwarded_for, seen.peer_trusted) {
        (Some(_), true) => {
            Finding::fine(WHAT, format!("{} sees this client as {}", seen.node_id, seen.ip))
        }
        (Some(_), false) => Finding::problem(
            WHAT,
            format!("the proxy {peer} is not trusted: all clients count as {}", seen.ip),
            format!("name {peer}, or its network, in server.trusted_proxies of every node"),
        ),
        (None, _) => Finding::warning(
            WHAT,
            format!("no X-Forwarded-For arrives: clients of a proxy all count as {}", seen.ip),
            "in nginx: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; without a proxy \
             all is well",
        ),
    }];
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let asked = rest.split('/').next().unwrap_or_default();
    let host = seen.host.as_deref().unwrap_or_default();
    if !host.eq_ignore_ascii_case(asked) {
        findings.push(Finding::problem(
            WHAT,
            format!("the hub is asked for the host {host:?} instead of {asked:?}"),
            "in nginx: proxy_set_header Host $http_host; or name the origins of your pages in \
             server.allowed_origins",
        ));
    }
    if let Some(proto) = seen.forwarded_proto.as_deref().filter(|proto| *proto != scheme) {
        findings.push(Finding::warning(
            WHAT,
            format!("X-Forwarded-Proto is {proto:?} although clients use {scheme}"),
            "in nginx: proxy_set_header X-Forwarded-Proto $scheme;",
        ));
    }
    findings
}

async fn upgrade(url: &str, probe: &Probe) -> Finding {
    let ws = url.replacen("http", "ws", 1);
    match probe.open_websocket(&format!("{ws}/ws")).await {
        Ok(()) => Finding::fine(WHAT, "a WebSocket opens"),
        Err(reason) => Finding::problem(
            WHAT,
            format!("no WebSocket opens: {reason}"),
            "in nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
             proxy_set_header Connection \"upgrade\"; (deploy/nginx/ has it all)",
        ),
    }
}

/// Polls of one client, each over a connection of its own.
async fn affinity(url: &str, probe: &Probe) -> Finding {
    let path = format!("{url}/socket.io/?EIO=4&transport=polling");
    let poll = async {
        let opened = probe.ask(&path, None, None).await?;
        let sid = sid(&opened).ok_or_else(|| {
            format!("a Socket.IO handshake is answered {}: {}", opened.status, opened.text())
        })?;
        let path = format!("{path}&sid={sid}");
        for _ in 0..POLLS {
            let answer = probe.ask(&path, None, Some("3")).await?;
            if answer.status != 200 {
                return Err(format!("a poll is answered {}: {}", answer.status, answer.text()));
            }
        }
        // The end of the session.
        let _ = probe.ask(&path, None, Some("1")).await;
        Ok::<_, Failure>(())
    };
    match poll.await {
        Ok(()) => Finding::fine(WHAT, format!("{POLLS} polls of one client reached the same node")),
        Err(reason) => Finding::problem(
            WHAT,
            reason,
            "long-polling needs every request of a client on one node: ip_hash in nginx, session \
             affinity in an Ingress",
        ),
    }
}

/// The sid of an open packet.
fn sid(answer: &Answer) -> Option<String> {
    let packet: serde_json::Value = serde_json::from_slice(answer.body.strip_prefix(b"0")?).ok()?;
    Some(packet.get("sid")?.as_str()?.to_owned())
}

/// The clock of a node, to the second: that is what `Date` tells.
pub(super) async fn clock(url: &str, probe: &Probe) -> Finding {
    let url = url.trim_end_matches('/');
    let began = SystemTime::now();
    let answer = match probe.ask(&format!("{url}/healthz"), None, None).await {
        Ok(answer) => answer,
        Err(reason) => return Finding::problem("clock", reason, "start the node, or leave it out"),
    };
    let date = answer.date.as_deref().and_then(|date| httpdate::parse_http_date(date).ok());
    match date {
        Some(date) => skew("clock", url, off_by(date, began, SystemTime::now())),
        None => Finding::warning("clock", format!("{url} tells no date"), "is it a hub?"),
    }
}

/// How far a clock that shows whole seconds is off at least: 0 if it may be right.
fn off_by(date: SystemTime, began: SystemTime, ended: SystemTime) -> i64 {
    let second = Duration::from_secs(1);
    let ms = |later: SystemTime, earlier: SystemTime| {
        later.duration_since(earlier).map_or(0, |d| d.as_millis() as i64)
    };
    // The date was cut to its second at some moment between the two, and actix keeps it for one.
    ms(date, ended) - ms(began, date + 2 * second)
}

#[cfg(test)]
mod tests {
    use super::{super::report::Level, *};

    fn seen() -> Connection {
        Connection {
            node_id: "n1".into(),
            peer: Some("10.0.0.2".into()),
            peer_trusted: true,
            ip: "203.0.113.9".into(),
            forwarded_for: Some("203.0.113.9".into()),
            forwarded_proto: Some("https".into()),
            host: Some("chat.example.org".into()),
        }
    }

    fn worst(seen: &Connection) -> (Level, String) {
        let findings = judge("https://chat.example.org/base", seen);
        let worst = findings.into_iter().max_by_key(|finding| finding.level);
        worst.map_or((Level::Fine, String::new()), |finding| (finding.level, finding.mend))
    }

    #[test]
    fn each_fault_of_a_proxy_is_seen() {
        assert_eq!(worst(&seen()).0, Level::Fine);
        let (level, mend) = worst(&Connection { peer_trusted: false, ..seen() });
        assert!(level == Level::Problem && mend.contains("10.0.0.2"), "{mend}");
        let (level, mend) = worst(&Connection { forwarded_for: None, ..seen() });
        assert!(level == Level::Warning && mend.contains("X-Forwarded-For"), "{mend}");
        let (level, mend) = worst(&Connection { host: Some("hubbub".into()), ..seen() });
        assert!(level == Level::Problem && mend.contains("Host"), "{mend}");
        let plain = Connection { forwarded_proto: Some("http".into()), ..seen() };
        assert_eq!(worst(&plain).0, Level::Warning);
    }

    #[test]
    fn a_clock_of_whole_seconds_is_right_within_its_second() {
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        assert_eq!(off_by(at(10_000), at(10_900), at(10_950)), 0);
        assert_eq!(off_by(at(10_000), at(11_500), at(11_600)), 0);
        assert_eq!(off_by(at(20_000), at(10_000), at(10_100)), 9900);
        assert_eq!(off_by(at(10_000), at(20_000), at(20_100)), -8000);
    }
}
