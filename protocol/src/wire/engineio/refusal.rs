//! The refusals of the handshake that every client knows.

/// Why an Engine.IO request is refused, with the code, sentence and HTTP
/// status of the reference server.
///
/// Over HTTP answer [`status`](Self::status) with [`body`](Self::body) as
/// `application/json`. A refused WebSocket upgrade gets
/// [`UPGRADE_STATUS`](Self::UPGRADE_STATUS) and [`message`](Self::message) as
/// text, whatever the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EngineError {
    /// 0: `transport` is missing, or neither `polling` nor `websocket`.
    #[error("Transport unknown")]
    TransportUnknown,
    /// 1: no session has this `sid`.
    #[error("Session ID unknown")]
    SessionUnknown,
    /// 2: a request without a `sid` that is no GET.
    #[error("Bad handshake method")]
    BadHandshakeMethod,
    /// 3: the request does not fit the session or the transport.
    #[error("Bad request")]
    BadRequest,
    /// 4: the origin or the request is not allowed.
    #[error("Forbidden")]
    Forbidden,
    /// 5: `EIO` is not 4.
    #[error("Unsupported protocol version")]
    UnsupportedProtocolVersion,
}

impl EngineError {
    /// All of them, by code.
    pub const ALL: [Self; 6] = [
        Self::TransportUnknown,
        Self::SessionUnknown,
        Self::BadHandshakeMethod,
        Self::BadRequest,
        Self::Forbidden,
        Self::UnsupportedProtocolVersion,
    ];

    /// The HTTP status of a refused WebSocket upgrade.
    pub const UPGRADE_STATUS: u16 = 400;

    /// The number in the body, 0 to 5.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::TransportUnknown => 0,
            Self::SessionUnknown => 1,
            Self::BadHandshakeMethod => 2,
            Self::BadRequest => 3,
            Self::Forbidden => 4,
            Self::UnsupportedProtocolVersion => 5,
        }
    }

    /// The sentence in the body.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::TransportUnknown => "Transport unknown",
            Self::SessionUnknown => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::Forbidden => "Forbidden",
            Self::UnsupportedProtocolVersion => "Unsupported protocol version",
        }
    }

    /// The HTTP status: 403 for [`Forbidden`](Self::Forbidden), else 400.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            _ => 400,
        }
    }

    /// The JSON body, `{"code":0,"message":"Transport unknown"}`.
    #[must_use]
    pub fn body(self) -> String {
        self.body_with(self.message())
    }

    /// The JSON body with another sentence, for a refusal that has its own
    /// words.
    #[must_use]
    pub fn body_with(self, message: &str) -> String {
        let message = serde_json::Value::from(message);
        format!(r#"{{"code":{},"message":{message}}}"#, self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_those_of_the_reference() {
        let bodies = [
            r#"{"code":0,"message":"Transport unknown"}"#,
            r#"{"code":1,"message":"Session ID unknown"}"#,
            r#"{"code":2,"message":"Bad handshake method"}"#,
            r#"{"code":3,"message":"Bad request"}"#,
            r#"{"code":4,"message":"Forbidden"}"#,
            r#"{"code":5,"message":"Unsupported protocol version"}"#,
        ];
        for (error, body) in EngineError::ALL.into_iter().zip(bodies) {
            assert_eq!(error.body(), body);
            assert_eq!(error.to_string(), error.message());
            let status = if error.code() == 4 { 403 } else { 400 };
            assert_eq!(error.status(), status);
        }
        assert_eq!(
            EngineError::Forbidden.body_with("say \"please\""),
            r#"{"code":4,"message":"say \"please\""}"#
        );
    }
}
