//! A node to load: where it is, and requests to it outside of WebSocket.

use std::net::{SocketAddr, ToSocketAddrs};

use super::LoadError;

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As it was written.
    pub url: String,
    /// The `Host` header.
    pub host: String,
    /// Where to connect.
    pub address: SocketAddr,
}

impl Target {
    /// Reads `http://HOST:PORT` or `ws://HOST:PORT` and looks up the host.
    ///
    /// # Errors
    /// [`LoadError::Usage`] with what is wrong with the address.
    pub fn parse(url: &str) -> Result<Self, LoadError> {
        let refuse = |reason: &str| Err(LoadError::Usage(format!("--url {url}: {reason}")));
        let Some((scheme, rest)) = url.split_once("://") else {
            return refuse("write it as http://HOST:PORT or ws://HOST:PORT");
        };
        match scheme {
            "http" | "ws" => {}
            "https" | "wss" => {
                return refuse("TLS is not spoken here; give the plain address of a node");
            }
            _ => return refuse("the scheme must be http or ws"),
        }
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !matches!(path, "" | "ws" | "socket.io" | "socket.io/") {
            return refuse("leave out the path: the hub's own paths are used");
        }
        if host.is_empty() || host.contains(['?', '#', '@', ' ']) {
            return refuse("write it as http://HOST:PORT");
        }
        // Without a port it is 80; an IPv6 address has its colons in brackets.
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let looked_up = if has_port {
            host.to_socket_addrs()
        } else {
            (host.trim_matches(['[', ']']), 80).to_socket_addrs()
        };
        match looked_up.map(|mut found| found.next()) {
            Ok(Some(address)) => Ok(Self { url: url.to_owned(), host: host.to_owned(), address }),
            Ok(None) => refuse("the host has no address"),
            Err(error) => refuse(&format!("the host cannot be looked up: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hosts_have_ports() {
        for (url, address) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("ws://127.0.0.1/ws", "127.0.0.1:80"),
            ("http://[::1]:81/", "[::1]:81"),
            ("http://[::1]", "[::1]:80"),
        ] {
            assert_eq!(Target::parse(url).unwrap().address.to_string(), address, "{url}");
        }
    }

    #[test]
    fn what_is_no_node_is_refused() {
        for url in
            ["x", "ftp://h:1", "http://", "http://h:1/path", "wss://127.0.0.1:1", "http://a@b"]
        {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }
}
