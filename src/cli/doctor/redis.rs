//! Redis: can it be reached, does it keep what it is given, does its clock agree.

use std::{collections::HashMap, time::Duration};

use super::report::Finding;
use crate::{
    cli::check,
    config::{Config, ServiceUrl},
    server::fleet,
};

const WHAT: &str = "redis";
/// Oldest version that is tested.
const OLDEST: (u32, u32) = (6, 2);
/// A round trip that is longer makes every acknowledgement slow.
const SLOW: Duration = Duration::from_millis(5);
/// Clocks may differ by this before anybody notices.
const SKEW_MS: i64 = 1000;
/// Tokens are given this much grace.
const TOKEN_GRACE_MS: i64 = 5000;

/// What Redis says of itself.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// `INFO`: its fields.
    info: HashMap<String, String>,
    /// Whether there are save points; none if it does not say.
    save_points: Option<bool>,
    /// Its clock less ours, in milliseconds.
    skew_ms: i64,
    round_trip: Duration,
}

/// Looks at the Redis of the configuration; nothing if there is none.
pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let Some(url) = &config.cluster.redis_url else { return Vec::new() };
    if !matches!(url.scheme(), "redis" | "rediss") {
        let seen = format!("{url}: only single servers are examined");
        return vec![Finding::warning(
            WHAT,
            seen,
            "run the doctor once for each server, with redis:// or rediss:// in its address",
        )];
    }
    let tls_ca = match fleet::link_config(config) {
        Ok(how) => how.and_then(|how| how.tls_ca),
        Err(reason) => {
            return vec![Finding::problem(WHAT, reason, "without it a node does not start")];
        }
    };
    match look(url, tls_ca).await {
        Ok(seen) => judge(url, &seen),
        Err(reason) => vec![Finding::problem(
            WHAT,
            reason,
            "start it, or set cluster.redis_url; from inside a container 127.0.0.1 is the container",
        )],
    }
}

async fn look(url: &ServiceUrl, tls_ca: Option<Vec<u8>>) -> Result<Seen, String> {
    let mut connection = check::connect(url, tls_ca, check::TIMEOUT).await?;
    let failed = |error: redis::RedisError| check::hidden(url, &error);
    let mut round_trip = Duration::MAX;
    for _ in 0..5 {
        let began = std::time::Instant::now();
        redis::cmd("PING").query_async::<String>(&mut connection).await.map_err(failed)?;
        round_trip = round_trip.min(began.elapsed());
    }
    let (seconds, micros): (i64, i64) =
        redis::cmd("TIME").query_async(&mut connection).await.map_err(failed)?;
    let ours = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let ours = ours.map_or(0, |time| time.as_millis() as i64);
    let info: String = redis::cmd("INFO").query_async(&mut connection).await.map_err(failed)?;
    // Hosted servers often refuse CONFIG.
    let save: Option<Vec<String>> =
        redis::cmd("CONFIG").arg("GET").arg("save").query_async(&mut connection).await.ok();
    Ok(Seen {
        info: parse(&info),
        save_points: save.map(|pair| pair.get(1).is_some_and(|points| !points.is_empty())),
        skew_ms: seconds * 1000 + micros / 1000 - ours,
        round_trip,
    })
}

fn parse(info: &str) -> HashMap<String, String> {
    let fields = info.lines().filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

fn judge(url: &ServiceUrl, seen: &Seen) -> Vec<Finding> {
    let field = |name: &str| seen.info.get(name).map_or("", String::as_str);
    let number = |name: &str| field(name).parse::<u64>().unwrap_or(0);
    let mut findings = Vec::new();
    let version = field("redis_version");
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let parsed = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    findings.push(if parsed >= OLDEST {
        Finding::fine(WHAT, format!("{url} answers, version {version}"))
    } else {
        Finding::problem(
            WHAT,
            format!("{url} has version {version:?}"),
            format!("take {}.{} or newer", OLDEST.0, OLDEST.1),
        )
    });
    if field("role") == "slave" {
        findings.push(Finding::problem(
            WHAT,
            "this server is a replica, which takes no writes",
            "name the primary in cluster.redis_url, or use redis+sentinel://",
        ));
    }
    if seen.round_trip > SLOW {
        findings.push(Finding::warning(
            WHAT,
            format!("the shortest of five round trips took {:?}", seen.round_trip),
            "put Redis near the nodes: every acknowledgement waits for one round trip",
        ));
    }
    findings.extend(persistence(seen, field("aof_enabled") == "1", field));
    let (used, most) = (number("used_memory"), number("maxmemory"));
    if most > 0 && field("maxmemory_policy") != "noeviction" {
        findings.push(Finding::problem(
            WHAT,
            format!("maxmemory-policy is {}: Redis throws history away", field("maxmemory_policy")),
            "`CONFIG SET maxmemory-policy noeviction`, and in redis.conf",
        ));
    }
    if most > 0 && used > most / 5 * 4 {
        findings.push(Finding::warning(
            WHAT,
            format!("{used} of {most} bytes are used; at the bound publishes are refused"),
            "raise maxmemory, or lower history.max_messages or history.ttl_ms",
        ));
    }
    findings.push(skew("clock", "Redis", seen.skew_ms));
    findings
}

/// Whether a restart of Redis would lose what was acknowledged.
fn persistence<'a>(
    seen: &Seen,
    append_only: bool,
    field: impl Fn(&str) -> &'a str,
) -> Vec<Finding> {
    let mend =
        "`CONFIG SET appendonly yes`, and `appendonly yes`, `appendfsync everysec` in redis.conf";
    let mut findings = vec![match (append_only, seen.save_points) {
        (true, _) => Finding::fine(WHAT, "what is acknowledged is in its append-only file"),
        (false, Some(false)) => {
            let seen = "nothing is kept on disk: a restart of Redis loses every message";
            Finding::problem(WHAT, seen, mend)
        }
        (false, _) => {
            let seen =
                "no append-only file: a crash of Redis loses what came since its last snapshot";
            Finding::warning(WHAT, seen, mend)
        }
    }];
    let failed = ["aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"]
        .into_iter()
        .filter(|name| !matches!(field(name), "ok" | ""));
    for name in failed {
        let seen = format!("{name} is {}", field(name));
        findings.push(Finding::problem(WHAT, seen, "see to the disk of Redis and read its log"));
    }
    findings
}

/// How far another clock is from ours.
pub(super) fn skew(what: &'static str, whose: &str, skew_ms: i64) -> Finding {
    let seen = format!(
        "the clock of {whose} is {} ms {}",
        skew_ms.abs(),
        match skew_ms {
            0.. => "ahead of this one",
            _ => "behind this one",
        }
    );
    let mend = "synchronize the clocks (chrony, systemd-timesyncd): tokens, timestamps and bans \
                depend on them";
    match skew_ms.abs() {
        ms if ms <= SKEW_MS => Finding::fine(what, seen),
        ms if ms <= TOKEN_GRACE_MS => Finding::warning(what, seen, mend),
        _ => Finding::problem(what, seen, mend),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::report::Level, *};

    const HEALTHY: &str = "# Server\r\nredis_version:7.0.15\r\nrole:master\r\naof_enabled:1\r\n\
        aof_last_write_status:ok\r\nrdb_last_bgsave_status:ok\r\nused_memory:1000\r\nmaxmemory:0\r\n\
        maxmemory_policy:noeviction\r\n";

    fn findings(changes: &[(&str, &str)], save_points: Option<bool>, skew_ms: i64) -> Vec<Finding> {
        let mut info = parse(HEALTHY);
        for (name, value) in changes {
            info.insert((*name).to_owned(), (*value).to_owned());
        }
        let round_trip = Duration::from_micros(200);
        let seen = Seen { info, save_points, skew_ms, round_trip };
        judge(&ServiceUrl::new("redis://:sesame@127.0.0.1:6379/"), &seen)
    }

    fn worst(changes: &[(&str, &str)]) -> Level {
        findings(changes, Some(true), 0).iter().map(|f| f.level).max().unwrap_or(Level::Fine)
    }

    #[test]
    fn each_fault_of_redis_is_seen() {
        assert_eq!(worst(&[]), Level::Fine);
        assert_eq!(worst(&[("redis_version", "6.2.0")]), Level::Fine);
        assert_eq!(worst(&[("redis_version", "6.0.16")]), Level::Problem);
        assert_eq!(worst(&[("redis_version", "")]), Level::Problem);
        assert_eq!(worst(&[("role", "slave")]), Level::Problem);
        assert_eq!(worst(&[("aof_enabled", "0")]), Level::Warning);
        assert_eq!(worst(&[("aof_last_write_status", "err")]), Level::Problem);
        let bound = [("maxmemory", "2000"), ("maxmemory_policy", "allkeys-lru")];
        assert_eq!(worst(&bound), Level::Problem);
        assert_eq!(worst(&[("maxmemory", "1200")]), Level::Warning);
        let nothing = findings(&[("aof_enabled", "0")], Some(false), 0);
        assert!(nothing.iter().any(|f| f.level == Level::Problem && f.mend.contains("appendonly")));
    }

    #[test]
    fn clocks_may_differ_a_little() {
        for (ms, level) in [
            (0, Level::Fine),
            (-1000, Level::Fine),
            (1001, Level::Warning),
            (-5000, Level::Warning),
            (5001, Level::Problem),
        ] {
            assert_eq!(skew("clock", "Redis", ms).level, level, "{ms}");
        }
    }

    #[test]
    fn no_finding_shows_the_password() {
        for finding in findings(&[], None, 0) {
            assert!(!finding.to_string().contains("sesame"), "{finding}");
        }
    }
}
