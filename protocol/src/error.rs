//! The error codes that clients, acks and HTTP share.

use std::{borrow::Cow, fmt};

use serde::{Serialize, Serializer};

/// A stable word for what went wrong; the same on every wire and in HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ErrorCode {
    /// The request cannot be understood. HTTP 400.
    BadRequest,
    /// No valid token. HTTP 401.
    Unauthorized,
    /// The token does not allow it. HTTP 403.
    Forbidden,
    /// There is no such thing. HTTP 404.
    NotFound,
    /// The session has not joined the room. HTTP 403.
    NotAMember,
    /// Larger than a limit allows. HTTP 413.
    TooLarge,
    /// More often than a limit allows; try again later. HTTP 429.
    RateLimited,
    /// The session is in as many rooms as it may be, or the hub holds as many as it can. HTTP 429.
    TooManyRooms,
    /// Not possible right now; try again. HTTP 503.
    Unavailable,
    /// It was there and is no longer. HTTP 410.
    Gone,
}

impl ErrorCode {
    /// Every code, for tables and tests.
    pub const ALL: [Self; 10] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::NotAMember,
        Self::TooLarge,
        Self::RateLimited,
        Self::TooManyRooms,
        Self::Unavailable,
        Self::Gone,
    ];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::NotAMember => "not_a_member",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::TooManyRooms => "too_many_rooms",
            Self::Unavailable => "unavailable",
            Self::Gone => "gone",
        }
    }

    /// The HTTP status that says the same.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden | Self::NotAMember => 403,
            Self::NotFound => 404,
            Self::TooLarge => 413,
            Self::RateLimited | Self::TooManyRooms => 429,
            Self::Unavailable => 503,
            Self::Gone => 410,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

/// A refusal: the stable code and a sentence for a person.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize)]
#[error("{code}: {message}")]
pub struct HubError {
    /// The stable code.
    pub code: ErrorCode,
    /// One sentence; no secrets, no message contents.
    pub message: Cow<'static, str>,
}

impl HubError {
    /// An error of a code with a sentence.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// A `bad_request` with a sentence.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    /// An `unavailable` with a sentence.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Unavailable, message)
    }
}
