//! Request bodies: one JSON object, its fields known and right, or a refusal that names what is
//! wrong and repeats nothing of the content.

use std::{borrow::Cow, future::Future, marker::PhantomData, pin::Pin, time::Duration};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header};
use bytes::BytesMut;
use futures_util::StreamExt;
use hubbub_protocol::{
    error::{ErrorCode, HubError},
    id::UserId,
    limits::{MAX_DEPTH, MAX_EVENT_NAME, MAX_KEY},
};
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use super::{error::ApiError, state::state};

/// How long a body may take to arrive.
const ARRIVE_WITHIN: Duration = Duration::from_secs(30);
/// More fields than any body has.
const MAX_FIELDS: usize = 32;

/// A request body that is read field by field.
pub trait FromObject: Sized + 'static {
    /// The fields it may have; any other is refused.
    const FIELDS: &'static [&'static str];

    /// Reads the fields.
    ///
    /// # Errors
    /// `bad_request` naming the field that is missing or wrong.
    fn from_object(object: &Object<'_>) -> Result<Self, HubError>;
}

/// The body of a request, whatever its content type says. At most
/// [`max_body_bytes`](super::HttpState::max_body_bytes), or `too_large`.
pub struct Strict<T>(pub T);

impl<T: FromObject> FromRequest for Strict<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let max = state(request).map(|state| state.max_body_bytes());
        let length = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let payload = payload.take();
        Box::pin(async move {
            let read = collect(payload, length, max?);
            let body =
                actix_web::rt::time::timeout(ARRIVE_WITHIN, read).await.map_err(|_| {
                    HubError::bad_request(format!(
                        "the body did not arrive within {} s",
                        ARRIVE_WITHIN.as_secs()
                    ))
                })??;
            Ok(Self(parse(&body)?))
        })
    }
}

/// Reads a whole body, and gives up as soon as it is too large.
async fn collect(
    mut payload: Payload,
    length: Option<u64>,
    max: usize,
) -> Result<BytesMut, HubError> {
    let too_large =
        || HubError::new(ErrorCode::TooLarge, format!("the body may have at most {max} bytes"));
    if length.is_some_and(|length| length > max as u64) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(part) = payload.next().await {
        let part = part.map_err(|_| HubError::bad_request("the body broke off"))?;
        if body.len() + part.len() > max {
            return Err(too_large());
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// Reads a body of known fields.
pub(super) fn parse<T: FromObject>(body: &[u8]) -> Result<T, HubError> {
    let text = std::str::from_utf8(body)
        .map_err(|_| HubError::bad_request("the body is not UTF-8"))?
        .trim_ascii();
    if text.is_empty() {
        return Err(HubError::bad_request("the body is empty; send a JSON object"));
    }
    let object: Object<'_> = serde_json::from_str(text).map_err(|error| {
        HubError::bad_request(if error.is_data() {
            Cow::Borrowed("the body must be a JSON object with each field once")
        } else {
            format!("the body is not JSON (line {}, column {})", error.line(), error.column())
                .into()
        })
    })?;
    if let Some((name, _)) = object.0.iter().find(|(name, _)| !T::FIELDS.contains(&name.as_str())) {
        let shown: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
        return Err(HubError::bad_request(format!(
            "unknown field `{shown}`; known are {}",
            T::FIELDS.join(", ")
        )));
    }
    T::from_object(&object)
}

/// The fields of a JSON object, each still as its JSON text.
pub struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> de::Visitor<'de> for Visitor<'a> {
            type Value = Object<'a>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Object<'a>, A::Error> {
                let mut fields: Vec<(String, &'a RawValue)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'a RawValue>()? {
                    if fields.iter().any(|(known, _)| *known == name) {
                        return Err(de::Error::custom("a field stands there twice"));
                    }
                    // One of so many is unknown, and that is what will be said.
                    if fields.len() < MAX_FIELDS {
                        fields.push((name, value));
                    }
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Visitor(PhantomData))
    }
}

impl Object<'_> {
    /// The JSON text of a field; an absent one and `null` are none.
    fn raw(&self, name: &str) -> Option<&RawValue> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        (value.get() != "null").then_some(*value)
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Result<Option<Box<str>>, HubError> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        serde_json::from_str(raw.get())
            .map(Some)
            .map_err(|_| HubError::bad_request(format!("`{name}` must be a string")))
    }

    /// A text that must be there.
    pub(super) fn need(&self, name: &str) -> Result<Box<str>, HubError> {
        self.text(name)?.ok_or_else(|| HubError::bad_request(format!("`{name}` is missing")))
    }

    /// A text of 1 to `max` bytes.
    fn short(&self, name: &str, max: usize) -> Result<Option<Box<str>>, HubError> {
        match self.text(name)? {
            Some(text) if text.is_empty() || text.len() > max => {
                Err(HubError::bad_request(format!("`{name}` must have 1 to {max} bytes")))
            }
            text => Ok(text),
        }
    }

    /// The name of a custom event.
    pub(super) fn event(&self) -> Result<Option<Box<str>>, HubError> {
        self.short("event", MAX_EVENT_NAME)
    }

    /// An idempotency key.
    pub(super) fn key(&self) -> Result<Option<Box<str>>, HubError> {
        self.short("key", MAX_KEY)
    }

    /// The user in whose name a backend speaks.
    pub(super) fn user(&self) -> Result<Option<UserId>, HubError> {
        self.text("userId")?
            .map(UserId::new)
            .transpose()
            .map_err(|e| HubError::bad_request(format!("`userId`: {}", e.message)))
    }

    /// Any JSON that is not nested too deep.
    pub(super) fn data(&self) -> Result<Option<Box<RawValue>>, HubError> {
        let Some(raw) = self.raw("data") else { return Ok(None) };
        if depth(raw.get()) > MAX_DEPTH {
            return Err(HubError::bad_request(format!("`data` is nested deeper than {MAX_DEPTH}")));
        }
        Ok(Some(raw.to_owned()))
    }
}

/// How deep arrays and objects nest in a JSON text that is known to be valid.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string) = (0usize, 0usize, false);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
#[path = "tests/body.rs"]
mod tests;
