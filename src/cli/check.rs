//! The verb `check`.

use std::path::Path;
use std::time::Duration;

use hubbub_actors::{
    archive::postgres,
    redis::{LinkConfig, probe},
};

use crate::config::{self, Config, Examined, HIDDEN, Problem, ServiceUrl};
use crate::server::{archive, fleet};

use super::{Failure, try_key};

/// Time to connect to Redis and get its answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(3);

/// Validates the configuration and tries what it names. Warnings go to stderr; the failure has a
/// line for every problem.
pub(super) fn check(file: Option<&Path>) -> Result<(), Failure> {
    let Examined { config, problems, warnings } = config::examine(file, std::env::vars_os());
    for warning in &warnings {
        eprintln!("hubbub: warning: {warning}");
    }
    let mut failures: Vec<Failure> = problems.iter().map(ToString::to_string).collect();
    // What is known to be wrong is not tried as well.
    let wrong =
        |start: &str| problems.iter().filter_map(Problem::key).any(|k| k.starts_with(start));
    if !wrong("auth.jw") {
        failures.extend(try_key(&config).err());
    }
    if !wrong("cluster.redis_url") {
        failures.extend(services(&config).err());
    }
    if !wrong("archive.") {
        failures.extend(database(&config).err());
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// Tries the services that the configuration names.
fn services(config: &Config) -> Result<(), Failure> {
    let (Some(url), Some(how)) = (&config.cluster.redis_url, fleet::link_config(config)?) else {
        return Ok(());
    };
    reach(how, url, TIMEOUT).map_err(|reason| format!("`cluster.redis_url`: {reason}"))
}

/// Connects to the archive's database as a node does.
fn database(config: &Config) -> Result<(), Failure> {
    let Some(address) = archive::address(config)? else { return Ok(()) };
    let looked = block_on(postgres::look(&address, TIMEOUT))?;
    looked.map(drop).map_err(|error| format!("`archive.url`: PostgreSQL at {address}: {error}"))
}

/// What Redis says, on one line and without the password.
pub(super) fn hidden(url: &ServiceUrl, error: &redis::RedisError) -> Failure {
    let text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    match url.password() {
        Some(password) => text.replace(password, HIDDEN),
        None => text,
    }
}

/// Connects to a single Redis server. `tls_ca` are certificates (PEM) of those who may sign the
/// server's; none: those that the system trusts.
pub(super) async fn connect(
    url: &ServiceUrl,
    tls_ca: Option<Vec<u8>>,
    timeout: Duration,
) -> Result<redis::aio::MultiplexedConnection, Failure> {
    // Refused only if a provider has been chosen before, which does as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = match tls_ca {
        // Refused for an address without TLS.
        Some(root) if url.scheme() == "rediss" => {
            let trust = redis::TlsCertificates { client_tls: None, root_cert: Some(root) };
            redis::Client::build_with_tls(url.expose(), trust)
        }
        _ => redis::Client::open(url.expose()),
    };
    let client =
        client.map_err(|error| format!("{url} is no address of Redis: {}", hidden(url, &error)))?;
    let asked = async {
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("PING").query_async::<String>(&mut connection).await?;
        Ok(connection)
    };
    match tokio::time::timeout(timeout, asked).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(format!("cannot reach {url}: {}", hidden(url, &error))),
        Err(_) => Err(format!("{url} did not answer within {} s", timeout.as_secs_f32())),
    }
}

/// Waits for an answer on a runtime of its own.
fn block_on<T>(asked: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start a runtime: {error}"))?;
    let answer = runtime.block_on(asked);
    // A name that is still being looked up must not hold the process.
    runtime.shutdown_background();
    Ok(answer)
}

/// Connects as a node does, and waits for an answer.
fn reach(how: LinkConfig, url: &ServiceUrl, timeout: Duration) -> Result<(), String> {
    // Refused only if a provider has been chosen before, which does as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // The whole is timed here; the parts must not be over first.
    let part = timeout * 2;
    let how = LinkConfig { connect_timeout: part, response_timeout: part, ..how };
    match block_on(async { tokio::time::timeout(timeout, probe(&how)).await })? {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("cannot reach {url}: {error}")),
        Err(_) => Err(format!("{url} did not answer within {} s", timeout.as_secs_f32())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use hubbub_actors::redis::address::Address;

    use super::*;

    fn ping(url: &ServiceUrl, timeout: Duration) -> Result<(), String> {
        let address = Address::parse(url.expose()).unwrap();
        reach(LinkConfig::new(address), url, timeout)
    }

    fn listener() -> (TcpListener, ServiceUrl) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = ServiceUrl::new(format!("redis://{}/", listener.local_addr().unwrap()));
        (listener, url)
    }

    #[test]
    fn a_server_that_answers_is_reached() {
        let (listener, url) = listener();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = Vec::new();
            let mut buffer = [0; 1024];
            // Each command of a pipeline gets its answer; the client ends the connection.
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                seen.extend_from_slice(&buffer[..count]);
                let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                let commands = text.matches('*').count();
                let answer = "+OK\r\n".repeat(commands);
                stream.write_all(answer.as_bytes()).unwrap();
            }
            String::from_utf8(seen).unwrap()
        });
        assert_eq!(ping(&url, Duration::from_secs(10)), Ok(()));
        assert!(server.join().unwrap().contains("INFO"));
    }

    #[test]
    fn a_server_that_is_not_there_or_silent_is_named() {
        let (listener, url) = listener();
        let silent = ping(&url, Duration::from_millis(100)).unwrap_err();
        assert!(silent.contains("did not answer within 0.1 s"), "{silent}");
        drop(listener);
        let gone = ping(&url, Duration::from_secs(10)).unwrap_err();
        assert!(gone.starts_with("cannot reach redis://127.0.0.1:"), "{gone}");
    }

    #[test]
    fn no_failure_shows_the_password() {
        let (listener, url) = listener();
        drop(listener);
        let url = url.expose().replace("redis://", "redis://user:sesame@");
        let failure = ping(&ServiceUrl::new(url), Duration::from_secs(10)).unwrap_err();
        assert!(failure.contains("***") && !failure.contains("sesame"), "{failure}");
    }
}
