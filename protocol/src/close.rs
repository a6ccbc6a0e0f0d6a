//! Why a connection is closed: the WebSocket close codes that clients may rely on.

/// A close code of the hub. Clients reconnect after those for which
/// [`reconnect`](CloseCode::reconnect) holds and stay away after the others
/// until something changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum CloseCode {
    /// 1000: done.
    Normal,
    /// 1002: the client broke RFC 6455.
    Protocol,
    /// 1007: a text frame that is not UTF-8.
    InvalidText,
    /// 1009: a frame or message above `limits.max_frame_bytes`.
    TooBig,
    /// 1011: the hub failed.
    HubFailure,
    /// 1012: the node is draining; come back after `retryAfterMs`.
    Draining,
    /// 4400: a frame the wire does not know, such as a binary one.
    BadFrame,
    /// 4401: not authenticated, or the token expired.
    Unauthorized,
    /// 4403: not allowed, or removed by an operator.
    Forbidden,
    /// 4408: a heartbeat was not answered.
    HeartbeatMissed,
    /// 4409: replaced by a newer session of the same user.
    Replaced,
    /// 4413: too slow for what waits.
    TooSlow,
    /// 4429: the rate limit was abused.
    RateAbused,
}

impl CloseCode {
    /// Every code, for tables and tests.
    pub const ALL: [Self; 13] = [
        Self::Normal,
        Self::Protocol,
        Self::InvalidText,
        Self::TooBig,
        Self::HubFailure,
        Self::Draining,
        Self::BadFrame,
        Self::Unauthorized,
        Self::Forbidden,
        Self::HeartbeatMissed,
        Self::Replaced,
        Self::TooSlow,
        Self::RateAbused,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::Protocol => 1002,
            Self::InvalidText => 1007,
            Self::TooBig => 1009,
            Self::HubFailure => 1011,
            Self::Draining => 1012,
            Self::BadFrame => 4400,
            Self::Unauthorized => 4401,
            Self::Forbidden => 4403,
            Self::HeartbeatMissed => 4408,
            Self::Replaced => 4409,
            Self::TooSlow => 4413,
            Self::RateAbused => 4429,
        }
    }

    /// The reason that logs, metrics and the close frame show.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Normal => "done",
            Self::Protocol => "protocol_error",
            Self::InvalidText => "invalid_utf8",
            Self::TooBig => "too_large",
            Self::HubFailure => "hub_failure",
            Self::Draining => "draining",
            Self::BadFrame => "bad_frame",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::HeartbeatMissed => "heartbeat_missed",
            Self::Replaced => "replaced",
            Self::TooSlow => "too_slow",
            Self::RateAbused => "rate_limited",
        }
    }

    /// Whether a client that is closed with it should come back by itself.
    pub const fn reconnect(self) -> bool {
        let code = self.code();
        code < 4400 || matches!(code, 4408 | 4413)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_stay_away_only_after_these() {
        let stay: Vec<u16> =
            CloseCode::ALL.into_iter().filter(|c| !c.reconnect()).map(CloseCode::code).collect();
        assert_eq!(stay, [4400, 4401, 4403, 4409, 4429]);
    }
}
