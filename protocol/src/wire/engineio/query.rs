//! The query string of an Engine.IO request.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{EngineError, PROTOCOL};

/// How a session travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// HTTP long-polling.
    Polling,
    /// WebSocket.
    WebSocket,
}

impl Transport {
    /// The name in the query and in the handshake's `upgrades`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}

/// The HTTP methods that make a difference. A CORS preflight (OPTIONS) is
/// answered before it comes here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Handshake, poll or upgrade.
    Get,
    /// Packets from the client.
    Post,
    /// Anything else: refused.
    Other,
}

/// The parameters of the query that Engine.IO knows, percent-decoded. Of a
/// name that comes twice the last one counts, as in the reference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// `EIO`: the protocol revision, must be `4`.
    pub eio: Option<String>,
    /// `transport`: `polling` or `websocket`.
    pub transport: Option<String>,
    /// `sid`: the session; `None` when missing or empty (a handshake).
    pub sid: Option<String>,
    /// `b64`: the client cannot take binary. It has no effect in protocol 4,
    /// where polling is text always.
    pub b64: bool,
    /// `t`: a value that keeps caches away.
    pub t: Option<String>,
}

/// What an acceptable request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A new session.
    Handshake {
        /// On which transport.
        transport: Transport,
    },
    /// Something for a session that should exist: if it does not, answer
    /// [`EngineError::SessionUnknown`], else ask
    /// [`Query::check_session`] next.
    Session {
        /// The session's id, as the client sent it.
        sid: String,
        /// The transport of this request.
        transport: Transport,
    },
}

impl Query {
    /// Reads a query string, without its `?`. Other parameters are left to
    /// the application, see [`query_pairs`].
    #[must_use]
    pub fn parse(query: &str) -> Self {
        let mut parsed = Self::default();
        for (name, value) in query_pairs(query) {
            match &*name {
                "EIO" => parsed.eio = Some(value.into_owned()),
                "transport" => parsed.transport = Some(value.into_owned()),
                "sid" => parsed.sid = Some(value.into_owned()).filter(|sid| !sid.is_empty()),
                "b64" => parsed.b64 = !value.is_empty() && value != "0",
                "t" => parsed.t = Some(value.into_owned()),
                _ => {}
            }
        }
        parsed
    }

    /// Judges the request in the order of the reference: transport, session,
    /// method, protocol. `upgrade` says whether the request asks for a
    /// WebSocket.
    ///
    /// # Errors
    /// The refusal to answer.
    pub fn check(&self, method: Method, upgrade: bool) -> Result<Request, EngineError> {
        let transport = self.known_transport()?;
        if let Some(sid) = &self.sid {
            return Ok(Request::Session { sid: sid.clone(), transport });
        }
        if method != Method::Get {
            return Err(EngineError::BadHandshakeMethod);
        }
        if upgrade != (transport == Transport::WebSocket) {
            return Err(EngineError::BadRequest);
        }
        if !self.speaks_our_protocol() {
            return Err(EngineError::UnsupportedProtocolVersion);
        }
        Ok(Request::Handshake { transport })
    }

    /// Judges a request for a session that exists and is on `current` now.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] when the request is on another transport
    /// without being an upgrade, an upgrade to something else than WebSocket,
    /// of another protocol revision, or neither GET nor POST.
    pub fn check_session(
        &self,
        current: Transport,
        method: Method,
        upgrade: bool,
    ) -> Result<(), EngineError> {
        let transport = self.known_transport()?;
        let fits = if upgrade {
            transport == Transport::WebSocket && method == Method::Get
        } else {
            // A request that is no upgrade can only poll.
            transport == current && transport == Transport::Polling && method != Method::Other
        };
        if fits && self.speaks_our_protocol() { Ok(()) } else { Err(EngineError::BadRequest) }
    }

    fn known_transport(&self) -> Result<Transport, EngineError> {
        match self.transport.as_deref() {
            Some("polling") => Ok(Transport::Polling),
            Some("websocket") => Ok(Transport::WebSocket),
            _ => Err(EngineError::TransportUnknown),
        }
    }

    fn speaks_our_protocol(&self) -> bool {
        self.eio.as_deref() == Some(PROTOCOL)
    }
}

/// The names and values of a query string, decoded as the URL standard has it
/// for forms: `+` is a space, `%XX` a byte, what is not UTF-8 becomes U+FFFD.
/// Allocates only for what needs decoding.
pub fn query_pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let byte = match (first, after) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    high << 4 | low
                }
                _ => b'%',
            },
            (other, _) => *other,
        };
        bytes.push(byte);
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn check(query: &str, method: Method, upgrade: bool) -> Result<Request, EngineError> {
        Query::parse(query).check(method, upgrade)
    }

    #[test]
    fn reads_the_known_parameters() {
        let query = Query::parse("EIO=4&transport=polling&t=Oabc&b64=1&token=x&sid=");
        assert_eq!(query.eio.as_deref(), Some("4"));
        assert_eq!(query.transport.as_deref(), Some("polling"));
        assert_eq!(query.t.as_deref(), Some("Oabc"));
        assert_eq!(query.sid, None);
        assert!(query.b64);
        assert_eq!(Query::parse("sid=a&sid=b%2Fc+d").sid.unwrap(), "b/c d");
        assert_eq!(Query::parse("").transport, None);
    }

    #[test]
    fn decodes_as_forms_do() {
        let pairs: Vec<_> = query_pairs("a=%C3%A9&b&=c&%zz=%4&d=%FF&&e=1=2").collect();
        let expected =
            [("a", "é"), ("b", ""), ("", "c"), ("%zz", "%4"), ("d", "\u{FFFD}"), ("e", "1=2")];
        for (got, expected) in pairs.iter().zip(expected) {
            assert_eq!((&*got.0, &*got.1), expected);
        }
        assert_eq!(pairs.len(), expected.len());
    }

    #[test]
    fn accepts_handshakes() {
        let polling = Transport::Polling;
        let websocket = Transport::WebSocket;
        assert_eq!(
            check("EIO=4&transport=polling", Method::Get, false),
            Ok(Request::Handshake { transport: polling })
        );
        assert_eq!(
            check("EIO=4&transport=websocket", Method::Get, true),
            Ok(Request::Handshake { transport: websocket })
        );
    }

    #[test]
    fn refuses_handshakes_in_the_order_of_the_reference() {
        use EngineError as E;
        let cases = [
            ("", Method::Get, false, E::TransportUnknown),
            ("EIO=4", Method::Get, true, E::TransportUnknown),
            ("EIO=4&transport=abc", Method::Post, false, E::TransportUnknown),
            ("transport=webtransport", Method::Get, true, E::TransportUnknown),
            ("EIO=3&transport=polling", Method::Post, false, E::BadHandshakeMethod),
            ("EIO=4&transport=polling", Method::Other, false, E::BadHandshakeMethod),
            ("EIO=3&transport=websocket", Method::Get, false, E::BadRequest),
            ("EIO=4&transport=polling", Method::Get, true, E::BadRequest),
            ("EIO=3&transport=polling", Method::Get, false, E::UnsupportedProtocolVersion),
            ("transport=polling", Method::Get, false, E::UnsupportedProtocolVersion),
            ("EIO=abc&transport=websocket", Method::Get, true, E::UnsupportedProtocolVersion),
        ];
        for (query, method, upgrade, error) in cases {
            assert_eq!(check(query, method, upgrade), Err(error), "{query}");
        }
    }

    #[test]
    fn judges_requests_for_a_session() {
        let polling = Query::parse("EIO=4&transport=polling&sid=x");
        let websocket = Query::parse("EIO=4&transport=websocket&sid=x");
        let old = Query::parse("EIO=3&transport=polling&sid=x");
        let session = Request::Session { sid: "x".to_owned(), transport: Transport::Polling };
        assert_eq!(old.check(Method::Other, false), Ok(session));
        let bad = Err(EngineError::BadRequest);
        let on_polling = Transport::Polling;
        let on_websocket = Transport::WebSocket;
        for method in [Method::Get, Method::Post] {
            assert_eq!(polling.check_session(on_polling, method, false), Ok(()));
            assert_eq!(polling.check_session(on_websocket, method, false), bad);
            assert_eq!(old.check_session(on_polling, method, false), bad);
            assert_eq!(websocket.check_session(on_polling, method, false), bad);
            assert_eq!(websocket.check_session(on_websocket, method, false), bad);
        }
        assert_eq!(polling.check_session(on_polling, Method::Other, false), bad);
        assert_eq!(polling.check_session(on_polling, Method::Get, true), bad);
        assert_eq!(websocket.check_session(on_polling, Method::Get, true), Ok(()));
        assert_eq!(websocket.check_session(on_websocket, Method::Get, true), Ok(()));
    }
}
