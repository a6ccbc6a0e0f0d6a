//! Where the arguments of a request are: paths into the positional arguments of
//! a Socket.IO event, or into the one object of the JSON wire.

use std::{borrow::Cow, cell::OnceCell, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::error::HubError;

/// The members of a JSON object, in order, each still as its JSON text.
#[derive(Debug)]
pub(super) struct Members<'a>(Vec<(Cow<'a, str>, &'a str)>);

/// A derived Cow would always be copied; this borrows where nothing is escaped.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(Cow<'de, str>, &'de str)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Text(name)) = map.next_key()? {
                    members.push((name, map.next_value::<&RawValue>()?.get()));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object).map(Members)
    }
}

impl<'a> Members<'a> {
    /// Reads an object.
    pub(super) fn parse(json: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// A member's JSON; an absent one and `null` are none. Fails if it is there
    /// twice.
    pub(super) fn get(&self, name: &str) -> Result<Option<&'a str>, HubError> {
        let mut found = self.0.iter().filter(|(n, _)| n == name);
        let first = found.next().map(|(_, json)| *json);
        if found.next().is_some() {
            return Err(HubError::bad_request(
                "the frame is not a JSON object with each field once",
            ));
        }
        Ok(first.filter(|json| *json != "null"))
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0.iter().map(|(name, json)| (&**name, *json))
    }
}

/// A place: a positional argument and a way down through objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    arg: usize,
    fields: Vec<Box<str>>,
    /// As error messages name it.
    pub(super) shown: Box<str>,
}

/// Highest positional argument that a path may name.
const MAX_ARG: usize = 15;

impl Place {
    /// Reads `a`, `a.b`, `$0`, `$1.a`. Fails with what is expected.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (arg, rest) = match text.strip_prefix('$') {
            None => (0, Some(text)),
            Some(after) => {
                let (digits, rest) = match after.split_once('.') {
                    Some((digits, rest)) => (digits, Some(rest)),
                    None => (after, None),
                };
                let arg = digits.parse().ok().filter(|n| *n <= MAX_ARG);
                let wanted = || format!("`{text}` names no argument; write $0 to ${MAX_ARG}");
                (arg.ok_or_else(wanted)?, rest)
            }
        };
        let fields: Vec<Box<str>> =
            rest.map_or_else(Vec::new, |r| r.split('.').map(Into::into).collect());
        if fields.iter().any(|field| field.is_empty()) || fields.len() > 8 {
            return Err(format!("`{text}` is no path such as roomId, room.id, $0 or $1.id"));
        }
        let shown = match (arg, fields.is_empty()) {
            (_, true) => format!("argument {}", arg + 1).into(),
            (0, false) => fields.join(".").into(),
            (_, false) => text.into(),
        };
        Ok(Self { arg, fields, shown })
    }
}

/// The arguments of one event. What is looked into is read once.
pub(super) struct Args<'a> {
    values: Vec<&'a str>,
    first: OnceCell<Option<Members<'a>>>,
}

impl<'a> Args<'a> {
    /// Positional arguments, each one JSON value.
    pub(super) fn new(values: Vec<&'a str>) -> Self {
        Self { values, first: OnceCell::new() }
    }

    /// The one object of a JSON frame, read already.
    pub(super) fn object(json: &'a str, members: Members<'a>) -> Self {
        Self { values: vec![json], first: OnceCell::from(Some(members)) }
    }

    /// The JSON at a place; none if it is absent or `null`.
    pub(super) fn get(&self, place: &Place) -> Result<Option<&'a str>, HubError> {
        let Some(value) = self.values.get(place.arg).filter(|json| **json != "null") else {
            return Ok(None);
        };
        let Some((field, deeper)) = place.fields.split_first() else { return Ok(Some(value)) };
        let mut found = if place.arg == 0 {
            let members = self.first.get_or_init(|| Members::parse(value).ok());
            let Some(members) = members else { return Ok(None) };
            members.get(field)?
        } else {
            member(value, field)?
        };
        for field in deeper {
            let Some(value) = found else { return Ok(None) };
            found = member(value, field)?;
        }
        Ok(found)
    }
}

/// A member of what may be an object.
fn member<'a>(json: &'a str, field: &str) -> Result<Option<&'a str>, HubError> {
    match Members::parse(json) {
        Ok(members) => members.get(field),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_are_found() {
        let args = Args::new(vec![r#"{"a":{"b":1},"n":null,"d":1,"d":2}"#, r#""x""#, "[1]"]);
        let get = |path: &str| args.get(&Place::parse(path).unwrap());
        assert_eq!(get("a.b"), Ok(Some("1")));
        assert_eq!(get("$0.a"), Ok(Some(r#"{"b":1}"#)));
        assert_eq!(get("$1"), Ok(Some(r#""x""#)));
        for absent in ["n", "zzz", "a.c", "a.b.c", "$1.x", "$2.x", "$3"] {
            assert_eq!(get(absent), Ok(None), "{absent}");
        }
        assert!(get("d").is_err());
    }

    #[test]
    fn wrong_paths_are_refused() {
        for wrong in ["", "a.", ".a", "$", "$x", "$16", "$0.", "$-1", "a..b"] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(&*Place::parse("$0").unwrap().shown, "argument 1");
        assert_eq!(&*Place::parse("$0.a.b").unwrap().shown, "a.b");
        assert_eq!(&*Place::parse("$1.a").unwrap().shown, "$1.a");
    }
}
