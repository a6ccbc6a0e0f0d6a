//! Puts one line together. Whatever a client can choose is escaped and cut here.

use std::fmt::{self, Write};

use log::Level;
use log::kv::{self, Key, Source, Value, VisitSource, VisitValue};

use crate::config::LogFormat;

/// Longest value, in bytes.
const VALUE_BYTES: usize = 256;
/// Longest message, in bytes.
const MESSAGE_BYTES: usize = 2048;
/// Most pairs in a line.
const MAX_PAIRS: usize = 32;
/// Names the line has of its own; a pair of that name gets `kv_` in front.
const OWN: [&str; 5] = ["ts", "level", "target", "msg", "node"];

/// A line being written.
pub(super) struct Line {
    format: LogFormat,
    out: String,
    pairs: usize,
}

impl Line {
    pub(super) fn new(format: LogFormat, timestamp: String) -> Self {
        let out = match format {
            LogFormat::Text => timestamp,
            LogFormat::Json => format!("{{\"ts\":\"{timestamp}\""),
        };
        Self { format, out, pairs: 0 }
    }

    pub(super) fn head(&mut self, level: Level, target: &str, message: &str) {
        let message = clean(message, MESSAGE_BYTES);
        match self.format {
            // Writing to a String cannot fail.
            LogFormat::Text => {
                let _ = write!(self.out, " {level:<5} {message}");
            }
            LogFormat::Json => {
                let level = level.as_str().to_ascii_lowercase();
                self.text("level", &level);
                self.text("target", &clean(target, VALUE_BYTES));
                self.text("msg", &message);
            }
        }
    }

    pub(super) fn pairs(&mut self, source: &(impl Source + ?Sized)) {
        // The visitor gives no errors, and one of a source must not lose the line.
        let _ = source.visit(self);
    }

    pub(super) fn end(mut self, node: &str) -> String {
        self.text("node", &clean(node, VALUE_BYTES));
        self.out.push_str(match self.format {
            LogFormat::Text => "\n",
            LogFormat::Json => "}\n",
        });
        self.out
    }

    /// Adds a value that is clean already.
    fn text(&mut self, name: &str, value: &str) {
        match self.format {
            LogFormat::Text if is_bare(value) => self.raw(name, value),
            LogFormat::Text => {
                let quoted = value.replace('"', "\\\"");
                self.raw(name, format_args!("\"{quoted}\""));
            }
            LogFormat::Json => self.raw(name, serde_json::Value::from(value)),
        }
    }

    fn raw(&mut self, name: &str, value: impl fmt::Display) {
        let _ = match self.format {
            LogFormat::Text => write!(self.out, " {name}={value}"),
            LogFormat::Json => write!(self.out, ",{}:{value}", serde_json::Value::from(name)),
        };
    }
}

impl<'kvs> VisitSource<'kvs> for Line {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        if self.pairs == MAX_PAIRS {
            return Ok(());
        }
        self.pairs += 1;
        let mut name = clean(key.as_str(), VALUE_BYTES);
        if OWN.contains(&name.as_str()) {
            name.insert_str(0, "kv_");
        }
        if self.format == LogFormat::Text {
            name = name.replace([' ', '=', '"'], "_");
        }
        value.visit(Pair { line: self, name: &name })
    }
}

/// Writes one value by its type: numbers and booleans as such, the rest as text.
struct Pair<'a> {
    line: &'a mut Line,
    name: &'a str,
}

impl<'v> VisitValue<'v> for Pair<'_> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.line.raw(self.name, value);
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.line.raw(self.name, value);
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        match self.line.format {
            LogFormat::Text => self.line.raw(self.name, value),
            // JSON has no infinity and no NaN; they become null.
            LogFormat::Json => self.line.raw(self.name, serde_json::Value::from(value)),
        }
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.line.raw(self.name, value);
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        self.line.text(self.name, &clean(value, VALUE_BYTES));
        Ok(())
    }
}

/// Escapes what could start a line, move a cursor or turn the direction of text, and cuts the rest
/// off after `most` bytes.
fn clean(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most));
    for c in text.chars() {
        let start = out.len();
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() || is_invisible(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
        if out.len() > most {
            out.truncate(start);
            out.push('…');
            break;
        }
    }
    out
}

/// Line and paragraph separators, and marks that change the direction of text.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Whether a text needs no quotes.
fn is_bare(text: &str) -> bool {
    !text.is_empty() && !text.contains([' ', '=', '"'])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn render(format: LogFormat, source: &dyn Source) -> String {
        let mut line = Line::new(format, "T".to_owned());
        line.head(Level::Warn, "hubbub", "said");
        line.pairs(source);
        line.end("n1")
    }

    #[test]
    fn values_keep_their_types_in_json() {
        let pairs = [
            ("count", Value::from(3)),
            ("ratio", Value::from(0.5)),
            ("nan", Value::from(f64::NAN)),
            ("ok", Value::from(true)),
            ("big", Value::from(u64::MAX)),
            ("shown", Value::from_display(&"x y")),
            ("msg", Value::from("own")),
        ];
        let object: serde_json::Value =
            serde_json::from_str(&render(LogFormat::Json, &pairs)).unwrap();
        assert_eq!(
            object,
            serde_json::json!({
                "ts": "T", "level": "warn", "target": "hubbub", "msg": "said", "count": 3,
                "ratio": 0.5, "nan": null, "ok": true, "big": u64::MAX, "shown": "x y",
                "kv_msg": "own", "node": "n1",
            })
        );
    }

    #[test]
    fn nothing_a_client_sends_makes_another_line_or_field() {
        let evil = "x\n2026 INFO fake\r\u{1b}[31m\u{2028}\u{202e}\u{85}\0 node=evil \"";
        for format in [LogFormat::Text, LogFormat::Json] {
            let line = render(format, &[("user", evil)]);
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert!(line.trim_end().chars().all(|c| !c.is_control() && !is_invisible(c)));
        }
        let text = render(LogFormat::Text, &[("user", "a node=evil")]);
        assert_eq!(text, "T WARN  said user=\"a node=evil\" node=n1\n");
        assert_eq!(render(LogFormat::Text, &[("u", "")]), "T WARN  said u=\"\" node=n1\n");
        assert_eq!(render(LogFormat::Text, &[("a b=c", "1")]), "T WARN  said a_b_c=1 node=n1\n");
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        let cut = clean(&"é".repeat(200), VALUE_BYTES);
        assert_eq!(cut, format!("{}…", "é".repeat(128)));
        assert_eq!(clean(&"x".repeat(256), VALUE_BYTES).len(), 256);
        assert!(clean(&"\n".repeat(1000), VALUE_BYTES).len() <= VALUE_BYTES + 3);
        let many: Vec<(&str, u64)> = (0..100).map(|_| ("k", 1)).collect();
        assert_eq!(render(LogFormat::Text, &many).matches("k=1").count(), MAX_PAIRS);
    }
}
