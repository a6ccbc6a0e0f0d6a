//! Reads the configuration file and the environment into layers of checked values.
//!
//! Each value is checked against the kind of its key here, so that every mistake is found with the
//! place where it stands. The crate `config` then puts the layers over each other.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use config::{Map, Source, Value, ValueKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ENV_PREFIX;
use super::keys::{self, Key, Kind};
use super::problem::{Origin, Problem};
use super::values::{HIDDEN, parse_network};

/// Longest piece of a wrong value repeated in an error, in characters.
const SHOWN: usize = 60;

/// Checked values of one source by `section.name`.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    values: Map<String, Value>,
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.values.clone())
    }
}

impl Layer {
    fn set(&mut self, key: &Key, origin: &Origin, value: impl Into<ValueKind>) {
        let value = Value::new(Some(&origin.to_string()), value);
        self.values.insert(key.path(), value);
    }
}

/// Reads a TOML text; `path` names it in problems.
pub(super) fn from_toml(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::default();
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        problems.push(Problem::Syntax {
            path: path.to_owned(),
            line: error.span().map_or(1, |span| line_of(text, span.start)),
            reason: error.message().to_owned(),
        });
    }
    if !errors.is_empty() {
        return layer;
    }
    let mut reader = FileReader { path, text, layer: &mut layer, problems };
    for (name, value) in document.get_ref() {
        let section: &str = name.get_ref();
        match value.get_ref() {
            DeValue::Table(table) if keys::is_section(section) => {
                for (key, value) in table {
                    reader.value(&format!("{section}.{}", key.get_ref()), key.span().start, value);
                }
            }
            DeValue::Table(table) => reader.unknown(section, name.span().start, table),
            _ if keys::is_section(section) => {
                let expected = format!("a section, written [{section}]");
                reader.wrong(section, name.span().start, shown(value.get_ref()), expected);
            }
            _ => reader.unknown_key(section.to_owned(), name.span().start),
        }
    }
    layer
}

struct FileReader<'a> {
    path: &'a Path,
    text: &'a str,
    layer: &'a mut Layer,
    problems: &'a mut Vec<Problem>,
}

impl FileReader<'_> {
    fn origin(&self, at: usize) -> Origin {
        Origin::File { path: self.path.to_owned(), line: line_of(self.text, at) }
    }

    fn value(&mut self, path: &str, at: usize, value: &Spanned<DeValue<'_>>) {
        let Some(key) = keys::find(path) else {
            match value.get_ref() {
                DeValue::Table(table) => self.unknown(path, at, table),
                _ => self.unknown_key(path.to_owned(), at),
            }
            return;
        };
        let origin = self.origin(at);
        match toml_value(key.kind, value.get_ref()) {
            Ok(None) => {}
            Ok(Some(value)) => self.layer.set(key, &origin, value),
            Err(expected) => {
                let written =
                    if key.kind.is_secret() { HIDDEN.to_owned() } else { shown(value.get_ref()) };
                self.wrong(path, at, written, expected);
            }
        }
    }

    /// Reports every key below an unknown section, or the section itself if it is empty.
    fn unknown(&mut self, path: &str, at: usize, table: &DeTable<'_>) {
        if table.is_empty() {
            self.unknown_key(path.to_owned(), at);
        }
        for name in table.keys() {
            self.unknown_key(format!("{path}.{}", name.get_ref()), name.span().start);
        }
    }

    fn unknown_key(&mut self, key: String, at: usize) {
        let nearest = keys::nearest(&key).path();
        let origin = self.origin(at);
        self.problems.push(Problem::UnknownKey { key, origin, nearest });
    }

    fn wrong(&mut self, key: &str, at: usize, value: String, expected: String) {
        let (key, origin) = (key.to_owned(), self.origin(at));
        self.problems.push(Problem::WrongValue { key, origin, value, expected });
    }
}

/// Reads the variables that start with `HUBBUB__`; others are ignored.
pub(super) fn from_environment(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Vec<Problem>,
) -> Layer {
    let mut layer = Layer::default();
    let mut found: Vec<(String, OsString)> = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(ENV_PREFIX))
        .collect();
    found.sort();
    for (name, value) in found {
        let path = name[ENV_PREFIX.len()..].to_lowercase().replace("__", ".");
        let origin = Origin::Variable(name);
        let Some(key) = keys::find(&path) else {
            let nearest = keys::nearest(&path).variable();
            problems.push(Problem::UnknownKey { key: path, origin, nearest });
            continue;
        };
        let text = value.to_str();
        match text.map_or_else(|| Err(key.kind.to_string()), |text| text_value(key.kind, text)) {
            Ok(None) => {}
            Ok(Some(value)) => layer.set(key, &origin, value),
            Err(expected) => {
                let value = match text {
                    _ if key.kind.is_secret() => HIDDEN.to_owned(),
                    Some(text) => quoted(text),
                    None => "not UTF-8".to_owned(),
                };
                problems.push(Problem::WrongValue { key: path, origin, value, expected });
            }
        }
    }
    layer
}

/// The value of a key from TOML; `Ok(None)` leaves an optional key unset; `Err` says what is
/// expected.
fn toml_value(kind: Kind, value: &DeValue<'_>) -> Result<Option<ValueKind>, String> {
    let expected = || kind.to_string();
    match (kind, value) {
        (Kind::Bool, DeValue::Boolean(value)) => Ok(Some((*value).into())),
        (Kind::Integer { .. }, DeValue::Integer(value)) => {
            i64::from_str_radix(value.as_str(), value.radix())
                .map_err(|_| expected())
                .and_then(|value| integer(kind, value))
                .map(Some)
        }
        (Kind::List | Kind::Networks, DeValue::Array(items)) => {
            let items = items.iter().map(|item| match item.get_ref() {
                DeValue::String(text) => Ok(text.to_string()),
                _ => Err(expected()),
            });
            list(kind, items.collect::<Result<_, _>>()?).map(Some)
        }
        (Kind::Bool | Kind::Integer { .. } | Kind::List | Kind::Networks, _) => Err(expected()),
        (_, DeValue::String(text)) => text_value(kind, text),
        _ => Err(expected()),
    }
}

/// The value of a key from a text, as [`toml_value`].
fn text_value(kind: Kind, text: &str) -> Result<Option<ValueKind>, String> {
    let expected = || kind.to_string();
    if text.is_empty() && kind.is_optional() {
        return Ok(None);
    }
    let value = match kind {
        Kind::Bool => text.trim().parse::<bool>().map_err(|_| expected())?.into(),
        Kind::Integer { .. } => {
            let value = text.trim().replace('_', "").parse::<i64>().map_err(|_| expected())?;
            integer(kind, value)?
        }
        Kind::List | Kind::Networks => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            list(kind, items.map(str::to_owned).collect())?
        }
        Kind::Address => {
            text.trim().parse::<SocketAddr>().map_err(|_| expected())?;
            text.trim().to_owned().into()
        }
        Kind::Choice(words) => {
            if !words.contains(&text) {
                return Err(expected());
            }
            text.to_owned().into()
        }
        Kind::Path { .. } if text.is_empty() => return Err(expected()),
        Kind::Text { .. } | Kind::Secret | Kind::Url | Kind::Path { .. } => text.to_owned().into(),
    };
    Ok(Some(value))
}

fn integer(kind: Kind, value: i64) -> Result<ValueKind, String> {
    let fits = match (kind, u64::try_from(value)) {
        (Kind::Integer { zero: true, .. }, Ok(0)) => true,
        (Kind::Integer { min, max, .. }, Ok(value)) => (min..=max).contains(&value),
        _ => false,
    };
    if fits { Ok(value.into()) } else { Err(kind.to_string()) }
}

fn list(kind: Kind, items: Vec<String>) -> Result<ValueKind, String> {
    if kind == Kind::Networks {
        for item in &items {
            parse_network(item).map_err(|reason| format!("{kind}: {reason}"))?;
        }
    }
    Ok(items.into())
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(value) => value.as_str().to_owned(),
        DeValue::Float(value) => value.as_str().to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(value) => value.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a section".to_owned(),
    }
}

fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN).collect();
    let more = if cut.len() < text.len() { "..." } else { "" };
    format!("{cut:?}{more}")
}
