//! From JSON text to msgpack: one pass, without values in between and without
//! recursion.

use bytes::Bytes;
use rmp::encode;

use crate::wire::socketio::{Placeholder, scan::string_end};

// Writing to a Vec cannot fail, so what these answer says nothing.

pub(super) fn map_head(out: &mut Vec<u8>, pairs: u32) {
    let _ = encode::write_map_len(out, pairs);
}

pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    let _ = encode::write_str(out, text);
}

pub(super) fn uint(out: &mut Vec<u8>, number: u64) {
    let _ = encode::write_uint(out, number);
}

/// An open array or object.
struct Level {
    /// Where its head stands: one byte, until it is known how many items it has.
    head: usize,
    /// Items so far; of an object keys and values.
    items: u32,
    is_object: bool,
}

impl Level {
    fn close(&self, out: &mut Vec<u8>) {
        let mut head = Vec::with_capacity(5);
        if self.is_object {
            let _ = encode::write_map_len(&mut head, self.items / 2);
        } else {
            let _ = encode::write_array_len(&mut head, self.items);
        }
        match head[..] {
            [byte] => out[self.head] = byte,
            _ => drop(out.splice(self.head..=self.head, head)),
        }
    }
}

/// Appends a JSON value, with the attachments in place of their placeholders. `json` must
/// be valid JSON; what is written for other text means nothing.
pub(super) fn json(
    out: &mut Vec<u8>,
    json: &str,
    mut places: &[Placeholder],
    attachments: &[Bytes],
) {
    let bytes = json.as_bytes();
    let mut levels: Vec<Level> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if matches!(byte, b',' | b':' | b' ' | b'\t' | b'\n' | b'\r') {
            at += 1;
            continue;
        }
        if matches!(byte, b']' | b'}') {
            if let Some(level) = levels.pop() {
                level.close(out);
            }
            at += 1;
            continue;
        }
        if let Some(level) = levels.last_mut() {
            level.items += 1;
        }
        match byte {
            b'{' | b'[' => match places.split_first() {
                Some((place, rest)) if place.span.start == at => {
                    let data = attachments.get(place.index).map_or(&[][..], |data| data);
                    let _ = encode::write_bin(out, data);
                    at = place.span.end;
                    places = rest;
                }
                _ => {
                    let level = Level { head: out.len(), items: 0, is_object: byte == b'{' };
                    levels.push(level);
                    out.push(0);
                    at += 1;
                }
            },
            b'"' => {
                let end = string_end(bytes, at);
                string(out, json[at..end].trim_matches('"'), &json[at..end]);
                at = end;
            }
            _ => {
                let rest = &bytes[at..];
                let ends = |b: &u8| b",]} \t\n\r".contains(b);
                let end = at + rest.iter().position(ends).unwrap_or(rest.len());
                literal(out, &json[at..end]);
                at = end;
            }
        }
    }
}

/// A string, from what stands between its quotes if that has no escapes.
fn string(out: &mut Vec<u8>, inside: &str, literal: &str) {
    if inside.contains('\\') {
        text(out, &unescape(literal));
    } else {
        text(out, inside);
    }
}

/// What a string literal says. Half a surrogate pair, which JSON may hold and UTF-8 may
/// not, is the replacement character.
fn unescape(literal: &str) -> String {
    if let Ok(text) = serde_json::from_str(literal) {
        return text;
    }
    let mut units: Vec<u16> = Vec::with_capacity(literal.len());
    let mut chars = literal.get(1..literal.len() - 1).unwrap_or_default().chars();
    let mut buffer = [0; 2];
    while let Some(char) = chars.next() {
        let char = match char {
            '\\' => match chars.next() {
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    units.push(u16::from_str_radix(&digits, 16).unwrap_or(0xFFFD));
                    continue;
                }
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some(other) => other,
                None => break,
            },
            char => char,
        };
        units.extend_from_slice(char.encode_utf16(&mut buffer));
    }
    String::from_utf16_lossy(&units)
}

/// A number, `true`, `false` or `null`.
fn literal(out: &mut Vec<u8>, literal: &str) {
    let _ = match literal {
        "true" => encode::write_bool(out, true),
        "false" => encode::write_bool(out, false),
        "null" => encode::write_nil(out),
        number => {
            if let Ok(number) = number.parse::<u64>() {
                uint(out, number);
            } else if let Ok(number) = number.parse::<i64>() {
                let _ = encode::write_sint(out, number);
            } else {
                // Whatever 64 bits do not hold, as JavaScript reads it too.
                let _ = encode::write_f64(out, number.parse().unwrap_or(f64::NAN));
            }
            Ok(())
        }
    };
}
