//! Names in the path and parameters in the query, decoded strictly (RFC 3986, section 2.1): what
//! is no percent-encoded UTF-8 is refused, and so is a parameter that nobody knows.

use std::{
    future::{Ready, ready},
    str::FromStr,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use hubbub_protocol::{
    error::{ErrorCode, HubError},
    id::{RoomName, UserId},
};

use super::error::ApiError;

/// Where the name stands in `/api/rooms/{room}` and `/api/users/{user}`.
const NAME_SEGMENT: usize = 3;

/// The room that a path names.
pub struct RoomPath(pub RoomName);

impl RoomPath {
    /// The room, if the API may publish to it.
    ///
    /// # Errors
    /// `forbidden` for `user:...` and `$...`.
    pub fn open(self) -> Result<RoomName, HubError> {
        check_open(&self.0)?;
        Ok(self.0)
    }
}

/// Fails with `forbidden` for a room that the hub keeps for itself.
pub(super) fn check_open(room: &RoomName) -> Result<(), HubError> {
    if room.is_reserved() {
        return Err(HubError::new(
            ErrorCode::Forbidden,
            "rooms named `user:...` and `$...` are reserved; write to a user with \
             POST /api/users/{user}/messages",
        ));
    }
    Ok(())
}

/// The user that a path names.
pub struct UserPath(pub UserId);

impl FromRequest for RoomPath {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(name(request).and_then(|text| Ok(Self(RoomName::new(text)?))).map_err(Into::into))
    }
}

impl FromRequest for UserPath {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(name(request).and_then(|text| Ok(Self(UserId::new(text)?))).map_err(Into::into))
    }
}

/// Reads the name from the path as it came: the router has decoded it leniently.
fn name(request: &HttpRequest) -> Result<String, HubError> {
    let raw = request.uri().path().split('/').nth(NAME_SEGMENT).unwrap_or_default();
    decode(raw, false)
        .ok_or_else(|| HubError::bad_request("the name in the path is not percent-encoded UTF-8"))
}

/// Undoes percent-encoding; none if it is wrong.
fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// The parameters of a query, each once.
#[derive(Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the query of a request that may have these parameters.
    ///
    /// # Errors
    /// `bad_request` naming the parameter that is unknown or twice there.
    pub fn read(request: &HttpRequest, known: &[&str]) -> Result<Self, HubError> {
        Self::parse(request.query_string(), known)
    }

    fn parse(query: &str, known: &[&str]) -> Result<Self, HubError> {
        let mut all: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decode(name, true), decode(value, true)) else {
                return Err(HubError::bad_request("the query is not percent-encoded UTF-8"));
            };
            if !known.contains(&&*name) {
                let shown: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
                return Err(HubError::bad_request(format!(
                    "unknown parameter `{shown}`; known are {}",
                    known.join(", ")
                )));
            }
            if all.iter().any(|(other, _)| *other == name) {
                return Err(HubError::bad_request(format!(
                    "the parameter `{name}` is there twice"
                )));
            }
            all.push((name, value));
        }
        Ok(Self(all))
    }

    /// The text of a parameter.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// A whole number.
    ///
    /// # Errors
    /// `bad_request` naming the parameter.
    pub fn number<N: FromStr>(&self, name: &str) -> Result<Option<N>, HubError> {
        // `parse` would take a sign.
        self.text(name)
            .map(|text| {
                let digits = text.bytes().all(|b| b.is_ascii_digit());
                text.parse().ok().filter(|_| digits).ok_or_else(|| {
                    HubError::bad_request(format!("`{name}` must be a whole number, 0 or more"))
                })
            })
            .transpose()
    }

    /// How many items a page shall have, 1 to `max`.
    ///
    /// # Errors
    /// `bad_request` naming the bounds.
    pub fn limit(&self, default: usize, max: usize) -> Result<usize, HubError> {
        match self.number("limit")? {
            None => Ok(default),
            Some(limit) if (1..=max).contains(&limit) => Ok(limit),
            Some(_) => Err(HubError::bad_request(format!("`limit` must be 1 to {max}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn percent_encoding_is_undone_strictly() {
        assert_eq!(decode("a%20b%2Fc+d", false).unwrap(), "a b/c+d");
        assert_eq!(decode("h%C3%A4user+7", true).unwrap(), "häuser 7");
        for bad in ["%", "%4", "%zz", "%ff", "%C3", "%+1"] {
            assert!(decode(bad, true).is_none(), "{bad}");
        }
    }

    #[test]
    fn parameters_are_known_and_there_once() {
        let known = ["after", "limit"];
        let query = Query::parse("after=a%26b&&limit=5", &known).unwrap();
        assert_eq!(query.text("after"), Some("a&b"));
        assert_eq!(query.limit(10, 20).unwrap(), 5);
        assert_eq!(Query::parse("", &known).unwrap().limit(10, 20).unwrap(), 10);
        for bad in ["limit=0", "limit=21", "limit=+5", "limit=-1", "limit=", "limit=x"] {
            assert!(Query::parse(bad, &known).unwrap().limit(10, 20).is_err(), "{bad}");
        }
        for bad in ["limti=5", "limit=5&limit=6", "after=%zz"] {
            assert!(Query::parse(bad, &known).is_err(), "{bad}");
        }
    }
}
