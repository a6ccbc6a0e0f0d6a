//! The address of Redis as `cluster.redis_url` names it.
//!
//! | form | means |
//! |---|---|
//! | `redis://[user:password@]host[:6379][/db]` | one server |
//! | `rediss://...` | the same over TLS |
//! | `unix:///path/to/socket` | one server on this machine |
//! | `redis+cluster://[user:password@]host[:port],host[:port]...` | some nodes of a Redis Cluster |
//! | `redis+sentinel://[user:password@]host[:26379],.../name[/db]` | sentinels, and the name of the master they watch |
//! | `rediss+cluster://`, `rediss+sentinel://` | the same over TLS |
//!
//! User and password may be percent-encoded. Those of the sentinels themselves
//! stand behind `?sentinel_username=` and `sentinel_password=`.

use std::path::PathBuf;

/// Every scheme that [`Address::parse`] knows.
pub const SCHEMES: [&str; 7] = [
    "redis",
    "rediss",
    "unix",
    "redis+cluster",
    "rediss+cluster",
    "redis+sentinel",
    "rediss+sentinel",
];

/// Host name or address without brackets, and port.
pub type HostPort = (String, u16);

/// Where Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One server.
    Server(HostPort),
    /// One server on this machine.
    Unix(PathBuf),
    /// Some nodes of a Redis Cluster.
    Cluster(Vec<HostPort>),
    /// Sentinels that know the master.
    Sentinel {
        /// Where the sentinels are.
        hosts: Vec<HostPort>,
        /// The name of the master they watch.
        master: String,
        /// Who the hub is to the sentinels; none: nobody in particular.
        login: Login,
    },
}

/// User and password, as far as they are given. `Debug` hides the password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// The ACL user; none: `default`.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let password = self.password.as_ref().map(|_| "***");
        f.debug_struct("Login")
            .field("username", &self.username)
            .field("password", &password)
            .finish()
    }
}

/// A parsed address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Where it is.
    pub target: Target,
    /// Whether connections are encrypted.
    pub tls: bool,
    /// Who the hub is.
    pub login: Login,
    /// The number of the database; 0 in a Redis Cluster.
    pub db: i64,
}

impl Address {
    /// Reads an address. Fails with a sentence that does not hold the password.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or("the address has no scheme")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match rest.rsplit_once('@') {
            Some((login, hosts)) => {
                let (hosts, path) = hosts.split_once('/').unwrap_or((hosts, ""));
                (Some((login, hosts)), path)
            }
            None => (None, rest.split_once('/').map_or("", |(_, path)| path)),
        };
        let (login, hosts) = match authority {
            Some((login, hosts)) => (parse_login(login)?, hosts),
            None => (Login::default(), rest.split('/').next().unwrap_or_default()),
        };
        let (kind, tls) = match scheme.strip_prefix("rediss") {
            Some(kind) => (kind, true),
            None => (scheme.strip_prefix("redis").unwrap_or(scheme), false),
        };
        let (target, db) = match kind {
            "" => {
                let mut hosts = parse_hosts(hosts, 6379)?;
                if hosts.len() != 1 {
                    return Err(
                        "name one host; several need redis+cluster or redis+sentinel".into()
                    );
                }
                (Target::Server(hosts.remove(0)), parse_db(path)?)
            }
            "unix" => (Target::Unix(PathBuf::from(format!("/{path}"))), 0),
            "+cluster" => {
                if parse_db(path)? != 0 {
                    return Err("a Redis Cluster has database 0 only".into());
                }
                (Target::Cluster(parse_hosts(hosts, 6379)?), 0)
            }
            "+sentinel" => {
                let (master, db) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err(
                        "the name of the master is missing: redis+sentinel://host/NAME".into()
                    );
                }
                let login = parse_query(query)?;
                let hosts = parse_hosts(hosts, 26379)?;
                (Target::Sentinel { hosts, master: master.into(), login }, parse_db(db)?)
            }
            _ => {
                let known = SCHEMES.map(|scheme| format!("{scheme}://")).join(", ");
                return Err(format!("{scheme}:// is none of {known}"));
            }
        };
        Ok(Self { target, tls, login, db })
    }

    /// Whether it is a Redis Cluster, whose channels are sharded as its keys are.
    pub fn is_cluster(&self) -> bool {
        matches!(self.target, Target::Cluster(_))
    }
}

fn parse_db(path: &str) -> Result<i64, String> {
    match path.trim_end_matches('/') {
        "" => Ok(0),
        db => db.parse::<u16>().map(i64::from).map_err(|_| format!("{db:?} is no database number")),
    }
}

fn parse_hosts(text: &str, default_port: u16) -> Result<Vec<HostPort>, String> {
    text.split(',').map(|host| parse_host(host, default_port)).collect()
}

fn parse_host(text: &str, default_port: u16) -> Result<HostPort, String> {
    let bad = || format!("{text:?} is no host and port");
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(bad)?;
            (host, port.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().map_err(|_| bad())?,
        None => default_port,
    };
    if host.is_empty() { Err(bad()) } else { Ok((host.into(), port)) }
}

fn parse_login(text: &str) -> Result<Login, String> {
    let (username, password) = match text.split_once(':') {
        Some((username, password)) => (username, Some(decode(password)?)),
        None => (text, None),
    };
    let username = Some(decode(username)?).filter(|name| !name.is_empty());
    Ok(Login { username, password: password.filter(|password| !password.is_empty()) })
}

fn parse_query(query: &str) -> Result<Login, String> {
    let mut login = Login::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "sentinel_username" => login.username = Some(decode(value)?),
            "sentinel_password" => login.password = Some(decode(value)?),
            _ => return Err(format!("`{name}` is not known behind the `?` of the address")),
        }
    }
    Ok(login)
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Result<String, String> {
    let bad = || "user or password has a `%` that is not followed by two hexadecimal digits";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = tail;
            continue;
        }
        let digits = tail.get(..2).and_then(|d| std::str::from_utf8(d).ok()).ok_or_else(bad)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| "user or password is not UTF-8".into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn login(username: Option<&str>, password: Option<&str>) -> Login {
        Login { username: username.map(Into::into), password: password.map(Into::into) }
    }

    #[test]
    fn every_form_is_read() {
        let at = |host: &str, port| (host.to_owned(), port);
        for (url, target, tls, who, db) in [
            ("redis://a", Target::Server(at("a", 6379)), false, login(None, None), 0),
            ("redis://a:7/3", Target::Server(at("a", 7)), false, login(None, None), 3),
            (
                "rediss://me:s%40%3a/c@a:7/",
                Target::Server(at("a", 7)),
                true,
                login(Some("me"), Some("s@:/c")),
                0,
            ),
            (
                "redis://:pw@[::1]:9",
                Target::Server(at("::1", 9)),
                false,
                login(None, Some("pw")),
                0,
            ),
            (
                "unix:///run/redis.sock",
                Target::Unix("/run/redis.sock".into()),
                false,
                login(None, None),
                0,
            ),
            (
                "redis+cluster://a:1,b,c:3",
                Target::Cluster(vec![at("a", 1), at("b", 6379), at("c", 3)]),
                false,
                login(None, None),
                0,
            ),
            (
                "rediss+sentinel://u:p@a,b:5/main/2?sentinel_password=x",
                Target::Sentinel {
                    hosts: vec![at("a", 26379), at("b", 5)],
                    master: "main".into(),
                    login: login(None, Some("x")),
                },
                true,
                login(Some("u"), Some("p")),
                2,
            ),
        ] {
            let expected = Address { target, tls, login: who, db };
            assert_eq!(Address::parse(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for url in [
            "a",
            "http://u:sesame@a",
            "redis://u:sesame@",
            "redis://u:sesame@a:x",
            "redis://u:sesame@a,b",
            "redis://u:sesame@a/x",
            "redis://u:sesame%4@a",
            "redis+sentinel://u:sesame@a",
            "redis+sentinel://u:sesame@a/m?x=1",
            "redis+cluster://u:sesame@a/1",
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(!error.contains("sesame"), "{url}: {error}");
        }
        assert!(!format!("{:?}", Address::parse("redis://u:sesame@a")).contains("sesame"));
    }
}
