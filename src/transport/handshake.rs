//! The WebSocket handshake: who asks, from where, with which token.

use std::net::{IpAddr, Ipv4Addr};

use actix_http::{
    RequestHead,
    header::{self, HeaderMap, HeaderName},
};
use hubbub_actors::frame::Frame;
use hubbub_protocol::wire::deflate::{self, Agreed};
use ipnet::IpNet;

/// The subprotocol under which a browser passes its token.
pub const SUBPROTOCOL: &str = "hubbub";

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A text header; none if it is absent or no text.
fn text(head: &RequestHead, name: HeaderName) -> Option<&str> {
    head.headers().get(name)?.to_str().ok()
}

/// The client's address: the peer's own, or, from a trusted proxy, the last
/// address in `X-Forwarded-For` that is not a trusted proxy itself.
pub fn client_ip(head: &RequestHead, trusted: &[IpNet]) -> IpAddr {
    let peer = head.peer_addr.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |a| a.ip().to_canonical());
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
    if !is_trusted(&peer) {
        return peer;
    }
    let mut client = peer;
    let lists = head.headers().get_all(FORWARDED_FOR).filter_map(|v| v.to_str().ok());
    let hops: Vec<&str> = lists.flat_map(|list| list.split(',')).map(str::trim).collect();
    for hop in hops.iter().rev() {
        match hop.parse::<IpAddr>() {
            Ok(ip) => client = ip.to_canonical(),
            // Who wrote that is not to be believed further.
            Err(_) => return client,
        }
        if !is_trusted(&client) {
            return client;
        }
    }
    client
}

/// Whether a page of this origin may connect. Clients that are no browsers send
/// no origin. With an empty list only pages of the host that is asked may.
pub fn origin_allowed(head: &RequestHead, allowed: &[String]) -> bool {
    let Some(origin) = head.headers().get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if !allowed.is_empty() {
        return allowed.iter().any(|a| a == "*" || a.eq_ignore_ascii_case(origin));
    }
    let Some((_, asking)) = origin.split_once("://") else { return false };
    let asked = text(head, header::HOST).or_else(|| head.uri.host()).unwrap_or_default();
    asking.eq_ignore_ascii_case(asked) || without_port(asking).eq_ignore_ascii_case(asked)
}

/// A proxy may pass the host without its port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The answer to a handshake that is accepted (RFC 6455, section 4.2.2) as the first that
/// waits for the client, so that it leaves in one write with what the session says first.
pub fn answer(headers: &HeaderMap) -> Frame {
    let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n".to_vec();
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(b"\r\n");
    Frame::raw(bytes)
}

/// Where a token came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenSource {
    /// `Authorization: Bearer`: not a browser.
    Header,
    /// `Sec-WebSocket-Protocol: hubbub, <token>`.
    Subprotocol,
    /// `?token=`.
    Query,
}

/// The token of a handshake, if it has one.
pub fn token(head: &RequestHead) -> Option<(TokenSource, String)> {
    if let Some(value) = text(head, header::AUTHORIZATION) {
        let token = value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer "));
        return Some((TokenSource::Header, token.unwrap_or_default().trim().to_owned()));
    }
    if let Some(token) = protocols(head).nth(1).filter(|_| offers_subprotocol(head)) {
        return Some((TokenSource::Subprotocol, token.to_owned()));
    }
    let token = query(head, "token")?;
    Some((TokenSource::Query, token))
}

fn protocols(head: &RequestHead) -> impl Iterator<Item = &str> {
    let lists = head.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    lists.filter_map(|v| v.to_str().ok()).flat_map(|list| list.split(',')).map(str::trim)
}

/// Whether the client offers the hub's subprotocol first; it is then chosen.
pub fn offers_subprotocol(head: &RequestHead) -> bool {
    protocols(head).next() == Some(SUBPROTOCOL)
}

/// What is agreed on of the compression that the client offers, if any.
pub fn compression(head: &RequestHead) -> Option<Agreed> {
    let offers = head.headers().get_all(header::SEC_WEBSOCKET_EXTENSIONS);
    deflate::agree(offers.filter_map(|value| value.to_str().ok()))
}

/// A parameter of the query string, decoded.
pub fn query(head: &RequestHead, name: &str) -> Option<String> {
    let query = head.uri.query()?;
    hubbub_protocol::wire::engineio::query_pairs(query)
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Whether a browser asks: only browsers send an origin.
pub fn is_browser(head: &RequestHead) -> bool {
    head.headers().contains_key(header::ORIGIN)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use actix_http::{RequestHead, header::HeaderValue};

    use super::*;

    fn head(peer: &str, headers: &[(&'static str, &str)]) -> RequestHead {
        let mut head = RequestHead::default();
        head.peer_addr = Some(format!("{peer}:1000").parse().unwrap());
        for (name, value) in headers {
            let name = HeaderName::from_static(name);
            head.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        head
    }

    #[test]
    fn forwarded_addresses_are_believed_only_from_proxies() {
        let trusted = ["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let ip = |peer, list: &str| client_ip(&head(peer, &[("x-forwarded-for", list)]), &trusted);
        assert_eq!(ip("203.0.113.9", "1.2.3.4").to_string(), "203.0.113.9");
        assert_eq!(ip("127.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.7").to_string(), "1.2.3.4");
        assert_eq!(ip("127.0.0.1", "evil, 10.0.0.7").to_string(), "10.0.0.7");
        assert_eq!(ip("127.0.0.1", "").to_string(), "127.0.0.1");
    }

    #[test]
    fn a_foreign_page_may_not_connect() {
        let allowed = |origin, host, list: &[&str]| {
            let list: Vec<String> = list.iter().map(|s| s.to_string()).collect();
            origin_allowed(&head("127.0.0.1", &[("origin", origin), ("host", host)]), &list)
        };
        assert!(allowed("http://a.example:8080", "a.example:8080", &[]));
        assert!(allowed("https://a.example", "a.example", &[]));
        assert!(allowed("http://a.example:8080", "a.example", &[]));
        assert!(!allowed("http://a.example:8081", "a.example:8080", &[]));
        assert!(!allowed("http://b.example", "a.example", &[]));
        assert!(!allowed("null", "a.example", &[]));
        assert!(allowed("http://b.example", "a.example", &["http://b.example"]));
        assert!(!allowed("http://a.example", "a.example", &["http://b.example"]));
        assert!(allowed("null", "a.example", &["*"]));
        assert!(origin_allowed(&head("127.0.0.1", &[]), &[]));
    }

    #[test]
    fn the_answer_has_what_clients_look_for() {
        let mut request = RequestHead::default();
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        request.headers_mut().insert(header::SEC_WEBSOCKET_KEY, key);
        let response = actix_http::ws::handshake_response(&request).message_body(()).unwrap();
        let answer = answer(response.headers()).pieces().concat();
        let text = String::from_utf8(answer).unwrap().to_ascii_lowercase();
        let lines: Vec<_> = text.split("\r\n").collect();
        assert_eq!(lines[0], "http/1.1 101 switching protocols");
        assert!(text.ends_with("\r\n\r\n"));
        for line in [
            "connection: upgrade",
            "upgrade: websocket",
            "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=",
        ] {
            assert_eq!(lines.iter().filter(|l| **l == line).count(), 1, "{text}");
        }
    }

    #[test]
    fn the_three_places_of_a_token() {
        let got = |headers: &[(&'static str, &str)]| token(&head("127.0.0.1", headers));
        assert_eq!(
            got(&[("authorization", "Bearer t1")]),
            Some((TokenSource::Header, "t1".into()))
        );
        assert_eq!(
            got(&[("sec-websocket-protocol", "hubbub, t2")]),
            Some((TokenSource::Subprotocol, "t2".into()))
        );
        assert_eq!(got(&[("sec-websocket-protocol", "other, t2")]), None);
        let mut in_query = head("127.0.0.1", &[]);
        in_query.uri = "/ws?x=1&token=a%2Bb".parse().unwrap();
        assert_eq!(token(&in_query), Some((TokenSource::Query, "a+b".into())));
        assert_eq!(got(&[]), None);
    }
}
