//! Log lines on stderr: one fact a line, as text or JSON, with limits against floods and injection.
//!
//! Lines are written with the macros of `log` and its key-value pairs:
//!
//! ```
//! let (session, room) = ("0198", "lobby");
//! log::info!(session:% = session, room:% = room; "member joined");
//! ```
//!
//! The level comes from `RUST_LOG` (syntax of `env_logger`); without it, `info` for hubbub and
//! `warn` for everything else. The same line of code may write `log.repeat_per_second` lines a
//! second; further ones are counted, and one line with `suppressed=N` says how many there were.

use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use log::Record;
use time::OffsetDateTime;

use crate::config::{Log, LogFormat};

mod flood;
mod line;

use flood::{Flood, Suppressed, Verdict};
use line::Line;

/// What `RUST_LOG` is without being set. The prefix `hubbub` covers all crates of the hub.
pub const DEFAULT_FILTER: &str = "warn,hubbub=info";

/// The logger has been set already.
#[derive(Debug, thiserror::Error)]
#[error("logging is already set up")]
pub struct AlreadySet;

/// The writer of the process, for what is suppressed while no further line comes.
static WRITER: OnceLock<Arc<Writer>> = OnceLock::new();

/// Writes what has been suppressed in seconds that are over. Further lines do so too when they come;
/// call this once a second, and with `all` before the process ends, so that no count is lost. Does
/// nothing before [`init`].
pub fn report_suppressed(all: bool) {
    if let Some(writer) = WRITER.get() {
        let lines = writer.overdue(Instant::now(), all);
        // Nothing can be done if stderr is gone.
        let _ = io::stderr().lock().write_all(lines.as_bytes());
    }
}

/// Sets the logger of the process to the format of `config`, with `node` in every line.
///
/// # Errors
/// If a logger has been set before.
pub fn init(config: &Log, node: &str) -> Result<(), AlreadySet> {
    let writer = Arc::new(Writer::new(config, node));
    let filter = std::env::var("RUST_LOG").ok().filter(|filter| !filter.trim().is_empty());
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(filter.as_deref().unwrap_or(DEFAULT_FILTER));
    builder.target(env_logger::Target::Stderr);
    let shared = Arc::clone(&writer);
    builder.format(move |out, record| {
        out.write_all(shared.render(record, SystemTime::now(), Instant::now()).as_bytes())
    });
    builder.try_init().map_err(|_| AlreadySet)?;
    WRITER.set(writer).map_err(|_| AlreadySet)
}

/// Makes a panic one log line (`panic`, with its place and message) instead of free text.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        log::error!(reason = message, place = place, thread = thread; "panic");
    }));
}

/// Turns records into lines.
#[derive(Debug)]
struct Writer {
    format: LogFormat,
    node: String,
    flood: Flood,
}

impl Writer {
    fn new(config: &Log, node: &str) -> Self {
        let flood = Flood::new(config.repeat_per_second);
        Self { format: config.format, node: node.to_owned(), flood }
    }

    /// The line of a record, behind those that are due about suppressed ones; empty if the record
    /// itself is suppressed.
    fn render(&self, record: &Record<'_>, now: SystemTime, tick: Instant) -> String {
        let (verdict, due) = self.flood.pass(record, tick);
        let mut out = String::new();
        for suppressed in &due {
            out.push_str(&self.suppressed(suppressed, now));
        }
        if verdict == Verdict::Write {
            let mut line = Line::new(self.format, timestamp(now));
            line.head(record.level(), record.target(), &record.args().to_string());
            line.pairs(record.key_values());
            out.push_str(&line.end(&self.node));
        }
        out
    }

    fn overdue(&self, tick: Instant, all: bool) -> String {
        let now = SystemTime::now();
        self.flood.due(tick, all).iter().map(|one| self.suppressed(one, now)).collect()
    }

    fn suppressed(&self, suppressed: &Suppressed, now: SystemTime) -> String {
        let mut line = Line::new(self.format, timestamp(now));
        line.head(suppressed.level, &suppressed.target, &suppressed.message);
        line.pairs(&[("suppressed", suppressed.count)]);
        line.end(&self.node)
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-11-22T01:02:03.456Z`.
fn timestamp(now: SystemTime) -> String {
    let t = OffsetDateTime::from(now);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        t.year(),
        u8::from(t.month()),
        t.day(),
        t.hour(),
        t.minute(),
        t.second(),
        t.millisecond()
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::time::Duration;

    use log::Level;

    use super::*;

    const AT: Duration = Duration::from_millis(1_795_309_323_456);

    fn writer(format: LogFormat, repeat_per_second: u32) -> Writer {
        Writer::new(&Log { format, repeat_per_second }, "n1")
    }

    fn write_at(writer: &Writer, line: u32, message: &str, tick: Instant) -> String {
        let args = format_args!("{message}").to_string();
        let pairs = [("room", "lobby"), ("reason", "a b=c\n\"d\"")];
        writer.render(
            &Record::builder()
                .level(Level::Info)
                .target("hubbub::room")
                .file_static(Some("room.rs"))
                .line(Some(line))
                .args(format_args!("{args}"))
                .key_values(&pairs)
                .build(),
            SystemTime::UNIX_EPOCH + AT,
            tick,
        )
    }

    #[test]
    fn text_is_one_line_with_pairs() {
        let line = write_at(&writer(LogFormat::Text, 0), 1, "member joined", Instant::now());
        assert_eq!(
            line,
            "2026-11-22T01:02:03.456Z INFO  member joined room=lobby reason=\"a b=c\\n\\\"d\\\"\" node=n1\n"
        );
    }

    #[test]
    fn json_is_one_object_with_pairs_at_its_top() {
        let line = write_at(&writer(LogFormat::Json, 0), 1, "member\njoined", Instant::now());
        assert_eq!(line.matches('\n').count(), 1);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            object,
            serde_json::json!({
                "ts": "2026-11-22T01:02:03.456Z", "level": "info", "target": "hubbub::room",
                "msg": "member\\njoined", "room": "lobby", "reason": "a b=c\\n\"d\"", "node": "n1",
            })
        );
    }

    #[test]
    fn a_flood_from_one_place_is_counted_and_others_go_on() {
        let writer = writer(LogFormat::Text, 3);
        let start = Instant::now();
        let written: String = (0..10).map(|_| write_at(&writer, 1, "noisy", start)).collect();
        assert_eq!(written.matches("noisy").count(), 3);
        assert_eq!(write_at(&writer, 2, "calm", start).matches('\n').count(), 1);

        let later = start + Duration::from_secs(1);
        let next = write_at(&writer, 2, "calm", later);
        let lines: Vec<&str> = next.lines().collect();
        assert_eq!(lines.len(), 2, "{next}");
        assert!(lines[0].ends_with("INFO  noisy suppressed=7 node=n1"), "{next}");
        assert!(lines[1].contains("calm"));
        assert_eq!(write_at(&writer, 1, "noisy", later).lines().count(), 1);
    }

    #[test]
    fn what_is_suppressed_is_reported_without_another_line() {
        let writer = writer(LogFormat::Json, 1);
        let start = Instant::now();
        for _ in 0..5 {
            write_at(&writer, 1, "noisy", start);
        }
        assert_eq!(writer.overdue(start, false), "");
        let report = writer.overdue(start + Duration::from_secs(1), false);
        let object: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(object["suppressed"], 4);
        assert_eq!(writer.overdue(start + Duration::from_secs(1), true), "");
        write_at(&writer, 1, "noisy", start);
        write_at(&writer, 1, "noisy", start);
        assert_ne!(writer.overdue(start, true), "");
    }

    #[test]
    fn the_default_filter_shows_the_hub_and_hides_the_rest() {
        let mut builder = env_logger::Builder::new();
        let logger = builder.parse_filters(DEFAULT_FILTER).build();
        let shown = |target: &str, level| {
            logger.matches(&Record::builder().target(target).level(level).build())
        };
        for target in ["hubbub", "hubbub::http", "hubbub_actors::session", "hubbub_protocol"] {
            assert!(shown(target, Level::Info) && !shown(target, Level::Debug), "{target}");
        }
        assert!(shown("rustls", Level::Warn) && !shown("rustls", Level::Info));
    }
}
