//! The floors of the house: `src` stands on `actors`, `actors` on `protocol`, and
//! nothing reaches upward. Walks every path in the sources and names each
//! forbidden one.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The modules of `actors` that hold an actor. They know each other by messages.
const ACTORS: &[&str] = &["session", "room_server", "presence_tracker", "redis_bridge"];
/// What messages carry across: a handle that stands for an actor, and is none.
const HANDLES: &[(&str, &str)] = &[("session", "SessionHandle")];
/// Files beside an actor that decide and do not act: no actor system, no runtime.
const PURE: &[&str] = &[
    "table.rs",
    "steps.rs",
    "marks.rs",
    "wheel.rs",
    "outbound.rs",
    "fanout.rs",
    "fan_out.rs",
    "leases.rs",
    "diff.rs",
    "heartbeat.rs",
    "resume.rs",
];
/// What acts: crates a pure file and all of `protocol` do without.
const ACTING: &[&str] =
    &["actix", "actix_rt", "actix_web", "actix_http", "actix_server", "tokio", "rusqlite", "redis"];
/// The crate that upstream marks deprecated; one file may name it.
const DEPRECATED: &str = "actix_web_actors";

/// One source file: its path from the root of the repository, and its text.
struct Source {
    path: String,
    text: String,
}

fn read(folder: &Path, root: &Path, into: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read(&path, root, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            into.push(Source { path, text });
        }
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for floor in ["protocol/src", "actors/src", "src"] {
        read(&root.join(floor), root, &mut all);
    }
    all
}

/// The text without comments, strings and characters, each replaced by a space.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if let Some(raw) = raw_string(rest) {
            raw
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' {
            character(rest)
        } else {
            0
        };
        if skipped == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.push(' ');
            rest = &rest[skipped..];
        }
    }
    out
}

/// The length of a raw string at the front.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(1 + hashes + 1 + length)
}

/// The length of a quoted text at the front.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character literal at the front; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => quoted(text, '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}

/// Every path in the code as its segments, with `use a::{b, c::d}` written out.
fn paths(code: &str) -> Vec<Vec<String>> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let before = at.checked_sub(1).map_or("", |b| tokens[b].as_str());
        if is_name(&tokens[at]) && before != "::" && before != "." {
            at = tree(&tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found.retain(|path| path.len() > 1);
    found
}

/// Reads one path or use tree from `at` and returns where it ends.
fn tree(tokens: &[String], mut at: usize, prefix: &[String], into: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") => {
                at += 1;
                while at < tokens.len() && tokens[at] != "}" {
                    let next = match tokens[at].as_str() {
                        name if is_name(name) => tree(tokens, at, &path, into),
                        _ => at + 1,
                    };
                    at = next.max(at + 1);
                }
                return at + 1;
            }
            Some(name) if is_name(name) => {
                path.push(name.to_owned());
                at += 1;
            }
            _ => {
                into.push(path);
                return at + 1;
            }
        }
        if tokens.get(at).map(String::as_str) != Some("::") {
            into.push(path);
            return at;
        }
        at += 1;
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn tokens(code: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        if !first.is_whitespace() {
            all.push(rest[..length].to_owned());
        }
        rest = &rest[length..];
    }
    all
}

/// The module a file is: `actors/src/session/mod.rs` is `[session]`.
fn module(path: &str) -> Vec<String> {
    let inside = path.split_once("src/").map_or(path, |(_, inside)| inside);
    let stem = inside.strip_suffix(".rs").unwrap_or(inside);
    let mut parts: Vec<String> = stem.split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// A path of the crate from its root (`crate::a`, `super::a`, `self::a`), if it
/// is one.
fn resolve(file: &str, path: &[String]) -> Option<Vec<String>> {
    let mut base = match path[0].as_str() {
        "crate" => Vec::new(),
        "self" | "super" => module(file),
        _ => return None,
    };
    let mut rest = path;
    while let Some(first) = rest.first() {
        match first.as_str() {
            "crate" | "self" => {}
            "super" => {
                base.pop();
            }
            _ => break,
        }
        rest = &rest[1..];
    }
    base.extend_from_slice(rest);
    Some(base)
}

/// What is forbidden in one file.
fn faults(source: &Source) -> Vec<String> {
    let Source { path: file, text } = source;
    let found = paths(&code(text));
    let floor = file.split('/').next().unwrap();
    let name = file.rsplit('/').next().unwrap();
    let own = module(file);
    let own_actor = own.first().filter(|m| ACTORS.contains(&m.as_str()));
    let pure = floor == "actors" && PURE.contains(&name);
    let mut faults = BTreeSet::new();
    for path in &found {
        let shown = path.join("::");
        let root = path[0].as_str();
        if floor == "protocol" && (root == "hubbub_actors" || root == "hubbub") {
            faults.insert(format!("{file}: {shown} reaches upward"));
        }
        if floor == "actors" && root == "hubbub" {
            faults.insert(format!("{file}: {shown} reaches upward"));
        }
        if (floor == "protocol" || pure) && ACTING.contains(&root) {
            faults.insert(format!("{file}: {shown} acts, and this file only decides"));
        }
        let clock = ["Instant", "SystemTime"].iter().any(|c| shown.contains(&format!("{c}::now")));
        if (floor == "protocol" || pure) && clock {
            faults.insert(format!("{file}: {shown} reads a clock; time is an argument here"));
        }
        if floor != "actors" || file == "actors/src/system.rs" {
            continue;
        }
        let Some(target) = resolve(file, path) else { continue };
        let Some(actor) = target.first().filter(|m| ACTORS.contains(&m.as_str())) else { continue };
        let item = target.get(1).map_or("", String::as_str);
        let open = item == "messages" || HANDLES.contains(&(actor.as_str(), item));
        if own_actor.is_some_and(|own| own != actor) && !open {
            faults.insert(format!("{file}: {shown} is inside another actor; use its messages"));
        }
    }
    faults.into_iter().collect()
}

/// Whether the file names a crate in a path.
fn names(source: &Source, wanted: &str) -> bool {
    paths(&code(&source.text)).iter().any(|path| path[0] == wanted)
}

#[test]
fn nothing_reaches_upward_or_sideways() {
    let all = sources();
    assert!(all.len() > 20, "only {} files were found", all.len());
    let found: Vec<String> = all.iter().flat_map(faults).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn the_deprecated_crate_stays_behind_one_file() {
    let all = sources();
    let naming: Vec<&str> =
        all.iter().filter(|s| names(s, DEPRECATED)).map(|s| s.path.as_str()).collect();
    assert_eq!(naming.len(), 1, "{naming:?}");
    assert!(naming[0].starts_with("actors/src/session/"), "{naming:?}");
}

#[test]
fn the_manifests_keep_to_the_floors() {
    let manifest = |folder: &str| -> toml::Table {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("Cargo.toml");
        fs::read_to_string(path).unwrap().parse().unwrap()
    };
    let depends = |table: &toml::Table| -> Vec<String> {
        table["dependencies"].as_table().unwrap().keys().cloned().collect()
    };
    for name in depends(&manifest("protocol")) {
        let acts = ACTING.contains(&name.replace('-', "_").as_str());
        assert!(!acts && !name.starts_with("hubbub"), "protocol depends on {name}");
    }
    let actors = depends(&manifest("actors"));
    assert!(!actors.iter().any(|name| name == "hubbub"), "actors depends on the process");
    assert!(actors.iter().any(|name| name == "hubbub-protocol"));
}

#[test]
fn files_stay_readable_in_one_sitting() {
    let long: Vec<String> = sources()
        .iter()
        .map(|s| (s.text.lines().count(), &s.path))
        .filter(|(lines, _)| *lines > 600)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "split these:\n{}", long.join("\n"));
}

#[test]
fn forbidden_paths_are_seen() {
    let check = |path: &str, text: &str| {
        faults(&Source { path: path.to_owned(), text: text.to_owned() }).len()
    };
    for (path, text) in [
        ("protocol/src/id.rs", "use tokio::sync::mpsc;"),
        ("protocol/src/id.rs", "fn f() { let t = std::time::Instant::now(); }"),
        ("protocol/src/a/b.rs", "use hubbub_actors::ports::Bus;"),
        ("actors/src/ports.rs", "fn f(x: hubbub::config::Config) {}"),
        ("actors/src/room_server/table.rs", "use {std::fmt, actix::prelude::*};"),
        ("actors/src/session/mod.rs", "use crate::room_server::table::Table;"),
        (
            "actors/src/session/mod.rs",
            "use crate::{ports::Bus, room_server::{messages::A, table}};",
        ),
        ("actors/src/session/dispatch.rs", "use super::super::presence_tracker::Tracker;"),
        ("actors/src/room_server/mod.rs", "fn f(x: crate::session::Session) {}"),
    ] {
        assert_eq!(check(path, text), 1, "{path}: {text}");
    }
    for (path, text) in [
        (
            "protocol/src/id.rs",
            "// use tokio::sync::mpsc;\n/* actix::Actor */ const A: &str = \"tokio::x\";",
        ),
        (
            "protocol/src/id.rs",
            "const A: &str = r#\"\"tokio::x\"#; const B: char = '\"'; fn f<'a>(x: &'a str) {}",
        ),
        ("actors/src/system.rs", "use crate::{session::Session, room_server::RoomServer};"),
        (
            "actors/src/session/mod.rs",
            "use crate::{room_server::messages::Join, ports::{Bus, History}};",
        ),
        (
            "actors/src/session/mod.rs",
            "mod dispatch; use self::dispatch::run; use super::ports::Bus;",
        ),
        ("actors/src/room_server/mod.rs", "use actix::{Actor, Context}; use super::table::X;"),
        ("src/main.rs", "use hubbub_actors::session::Session;"),
    ] {
        assert_eq!(check(path, text), 0, "{path}: {text}");
    }
}
