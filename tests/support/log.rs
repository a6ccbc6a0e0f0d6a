//! What a hub wrote to its standard error.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::wait::until;

/// Lines kept; older ones go.
const MAX_LINES: usize = 20_000;

/// The newest lines of a hub's log.
#[derive(Default)]
pub struct Log {
    lines: Mutex<VecDeque<String>>,
}

impl Log {
    /// Reads until the other end closes, in a thread.
    pub fn follow(from: impl Read + Send + 'static) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let writer = Arc::clone(&log);
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while matches!(from.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                let mut lines = writer.lines.lock().unwrap();
                if lines.len() == MAX_LINES {
                    lines.pop_front();
                }
                lines.push_back(text);
                line.clear();
            }
        });
        log
    }

    /// Everything kept, as one text.
    pub fn text(&self) -> String {
        self.lines.lock().unwrap().iter().map(|l| format!("{l}\n")).collect()
    }

    /// Panics unless every line is one JSON object, or the sentence with which the
    /// process fails, and none holds one of these words.
    pub fn assert_sound(&self, secrets: &[&str]) {
        for line in self.lines.lock().unwrap().iter() {
            let object = serde_json::from_str::<Value>(line).is_ok_and(|v| v.is_object());
            let sound = object || line.starts_with("hubbub: ");
            assert!(sound, "a line of the log is no JSON: {line}");
            let found = secrets.iter().find(|secret| line.contains(**secret));
            assert!(found.is_none(), "the log shows {found:?}: {line}");
        }
    }

    /// The newest lines, for the report of a test that failed.
    pub fn tail(&self, lines: usize) -> String {
        let kept = self.lines.lock().unwrap();
        kept.iter().skip(kept.len().saturating_sub(lines)).map(|l| format!("  {l}\n")).collect()
    }

    /// How many lines are JSON objects for which the test holds.
    pub fn count(&self, test: impl Fn(&Value) -> bool) -> usize {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter_map(|l| serde_json::from_str(l).ok()).filter(|v| test(v)).count()
    }

    /// The first line that is a JSON object for which the test holds.
    pub fn find(&self, test: impl Fn(&Value) -> bool) -> Option<Value> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter_map(|l| serde_json::from_str(l).ok()).find(|v| test(v))
    }

    /// As [`Log::find`], waiting for the line.
    pub fn wait_for(&self, what: &str, within: Duration, test: impl Fn(&Value) -> bool) -> Value {
        until(what, within, || self.find(&test))
    }
}
