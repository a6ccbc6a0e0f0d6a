//! One pass over JSON text that finds placeholders and measures depth,
//! without building values and without recursion.

use std::ops::Range;

use super::{Limits, SocketError};

/// Where a placeholder object stands in a JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder {
    /// The bytes of the object, from `{` to `}`.
    pub span: Range<usize>,
    /// Its `num`: which attachment belongs there.
    pub index: usize,
}

/// What the scanner knows of an open array or object.
#[derive(Debug, Default)]
struct Level {
    start: usize,
    is_object: bool,
    /// In an object: the next string is a key.
    expects_key: bool,
    key: Key,
    marked: bool,
    index: Option<usize>,
}

/// The keys that make a placeholder.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Key {
    #[default]
    Other,
    Placeholder,
    Num,
}

/// Refuses JSON nested deeper than `limits.max_depth` levels of arrays and
/// objects, and an outermost array of more than `limits.max_elements`
/// elements: before anything is allocated for it. Works on any text; brackets
/// and commas inside strings do not count.
pub(super) fn check_shape(json: &str, limits: &Limits) -> Result<(), SocketError> {
    let bytes = json.as_bytes();
    let max = limits.max_depth;
    let mut depth = 0_usize;
    // An array has one element more than commas.
    let mut elements = 1_usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string_end(bytes, at);
                continue;
            }
            b'[' | b'{' if depth == max => return Err(SocketError::TooDeep { max }),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 1 => elements += 1,
            _ => {}
        }
        at += 1;
    }
    if elements > limits.max_elements && bytes.first() == Some(&b'[') {
        return Err(SocketError::TooManyElements { max: limits.max_elements });
    }
    Ok(())
}

/// The placeholders in `json`, in the order of the text. An object is a
/// placeholder when its `_placeholder` is `true`, whatever else it has, as for
/// the reference parser.
///
/// `json` must be valid JSON; for other text the answer means nothing, but it
/// is an answer. One pass; memory grows with the depth and with the number of
/// placeholders. With `attachments` of 0 it fails if there is any placeholder,
/// see [`write_event`](super::write_event) for when to ask that.
///
/// # Errors
/// [`SocketError::InvalidPlaceholder`] when a placeholder's `num` is not an
/// integer from 0 to `attachments - 1`.
pub fn find_placeholders(json: &str, attachments: usize) -> Result<Vec<Placeholder>, SocketError> {
    let bytes = json.as_bytes();
    let mut found: Vec<Placeholder> = Vec::new();
    let mut levels: Vec<Level> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                // A key that was given a compound value is no longer marked.
                note_value(&mut levels, "");
                levels.push(Level {
                    start: at,
                    is_object: byte == b'{',
                    expects_key: byte == b'{',
                    ..Level::default()
                });
                at += 1;
            }
            b'}' | b']' => {
                at += 1;
                if let Some(level) = levels.pop()
                    && level.marked
                {
                    let index = level
                        .index
                        .filter(|index| *index < attachments)
                        .ok_or(SocketError::InvalidPlaceholder)?;
                    // One inside another is replaced along with it.
                    while found.last().is_some_and(|p| p.span.start > level.start) {
                        found.pop();
                    }
                    found.push(Placeholder { span: level.start..at, index });
                }
            }
            b',' => {
                if let Some(level) = levels.last_mut() {
                    level.expects_key = level.is_object;
                }
                at += 1;
            }
            b'"' => {
                let end = string_end(bytes, at);
                match levels.last_mut() {
                    Some(level) if level.expects_key => {
                        level.expects_key = false;
                        level.key = key(&json[at..end]);
                    }
                    _ => note_value(&mut levels, ""),
                }
                at = end;
            }
            b':' | b' ' | b'\t' | b'\n' | b'\r' => at += 1,
            _ => {
                let start = at;
                while bytes.get(at).is_some_and(|b| !b",]}:\"[{ \t\n\r".contains(b)) {
                    at += 1;
                }
                note_value(&mut levels, &json[start..at]);
            }
        }
    }
    Ok(found)
}

/// Notes the value of the current key; of a key that comes twice the last
/// value counts, as in JavaScript. `literal` is empty for strings, arrays and
/// objects.
fn note_value(levels: &mut [Level], literal: &str) {
    let Some(level) = levels.last_mut().filter(|level| level.is_object) else {
        return;
    };
    match level.key {
        Key::Placeholder => level.marked = literal == "true",
        Key::Num => level.index = index(literal),
        Key::Other => {}
    }
}

/// A number as an index. JavaScript does not tell `1`, `1.0` and `1e0` apart.
fn index(literal: &str) -> Option<usize> {
    if let Ok(index) = literal.parse::<usize>() {
        return Some(index);
    }
    let number: f64 = literal.parse().ok()?;
    // Attachments are few: look the number up instead of casting it.
    (0..=super::MAX_ATTACHMENTS).find(|index| number == f64::from(*index as u32))
}

/// Which key a string literal is; escapes may hide one.
fn key(literal: &str) -> Key {
    let unescaped;
    let name = if literal.contains('\\') {
        unescaped = serde_json::from_str::<String>(literal).unwrap_or_default();
        unescaped.as_str()
    } else {
        literal.trim_matches('"')
    };
    match name {
        "_placeholder" => Key::Placeholder,
        "num" => Key::Num,
        _ => Key::Other,
    }
}

/// The index after the closing quote of the string that opens at `start`.
pub(super) fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn indexes(json: &str) -> Result<Vec<usize>, SocketError> {
        let found = find_placeholders(json, 3)?;
        for placeholder in &found {
            let object = &json[placeholder.span.clone()];
            assert!(object.starts_with('{') && object.ends_with('}'), "{object}");
        }
        Ok(found.into_iter().map(|p| p.index).collect())
    }

    #[test]
    fn finds_placeholders_at_any_depth() {
        let json = r#"[{"a":{"_placeholder":true,"num":0}},[ { "num" : 2 , "_placeholder" : true } ],"{"]"#;
        assert_eq!(indexes(json), Ok(vec![0, 2]));
        let found = find_placeholders(json, 3).unwrap();
        assert_eq!(&json[found[0].span.clone()], r#"{"_placeholder":true,"num":0}"#);
    }

    #[test]
    fn reads_as_javascript_does() {
        for (json, expected) in [
            (r#"{"_placeholder":true,"num":1.0,"x":[1]}"#, vec![1]),
            (r#"{"_placeholder":true,"num":1e0}"#, vec![1]),
            (r#"{"_placeholder":true,"num":-0}"#, vec![0]),
            (r#"{"\u005fplaceholder":true,"num":1}"#, vec![1]),
            (r#"{"_placeholder":true,"num":9,"num":1}"#, vec![1]),
            (r#"{"_placeholder":true,"num":0,"_placeholder":false}"#, vec![]),
            (r#"{"_placeholder":true,"num":0,"_placeholder":{}}"#, vec![]),
            (r#"{"_placeholder":"true","num":0}"#, vec![]),
            (r#"{"_placeholder":1,"num":9}"#, vec![]),
            (r#""{\"_placeholder\":true}""#, vec![]),
            (r#"["_placeholder",true,"num",0]"#, vec![]),
            (r#"{"a":"_placeholder","b":true,"num":0}"#, vec![]),
            (r#"{"_placeholder":true,"num":0,"x":{"_placeholder":true,"num":1}}"#, vec![0]),
        ] {
            assert_eq!(indexes(json), Ok(expected), "{json}");
        }
    }

    #[test]
    fn refuses_indexes_that_do_not_exist() {
        for num in ["3", "-1", "0.5", "\"0\"", "null", "[0]", "1e99", "18446744073709551616"] {
            let json = format!(r#"[{{"_placeholder":true,"num":{num}}}]"#);
            assert_eq!(indexes(&json), Err(SocketError::InvalidPlaceholder), "{num}");
        }
        let missing = r#"{"_placeholder":true}"#;
        assert_eq!(indexes(missing), Err(SocketError::InvalidPlaceholder));
    }

    #[test]
    fn measures_shape_outside_strings() {
        let check = |json: &str, max_depth, max_elements| {
            check_shape(json, &Limits { max_depth, max_elements, ..Limits::default() })
        };
        assert_eq!(check(r#"[{"a":[1]},["[[[["],[]]"#, 3, 3), Ok(()));
        let deep = Err(SocketError::TooDeep { max: 2 });
        assert_eq!(check(r#"[{"a":[1]}]"#, 2, 9), deep);
        assert_eq!(check(r#"["\"",[["#, 2, 9), deep);
        assert_eq!(check("]]]\"\\", 0, 1), Ok(()));
        let many = Err(SocketError::TooManyElements { max: 2 });
        assert_eq!(check(r#"[1,",",[1,2,3]]"#, 2, 2), many);
        assert_eq!(check(r#"["1,2,3",[1,2,3]]"#, 2, 2), Ok(()));
        assert_eq!(check(r#"{"a":1,"b":2,"c":3}"#, 2, 2), Ok(()));
    }

    #[test]
    fn many_placeholders_take_one_pass() {
        let one = r#"{"_placeholder":true,"num":0}"#;
        let inner = vec![one; 50_000].join(",");
        assert_eq!(indexes(&format!("[{inner}]")).unwrap().len(), 50_000);
        let outer = format!(r#"[{one},{{"_placeholder":true,"num":1,"x":[{inner}]}}]"#);
        assert_eq!(indexes(&outer), Ok(vec![0, 1]));
    }
}
