//! Walks the TOML of a vocabulary in the order in which it was written and
//! collects every mistake with its line.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::error::{VocabularyError, suggest};

/// Collects mistakes.
pub(super) struct Reader<'t> {
    file: &'t str,
    text: &'t str,
    pub(super) errors: Vec<VocabularyError>,
}

/// Most mistakes that are told at once.
const MAX_ERRORS: usize = 100;

/// One key with its value.
pub(super) struct Entry<'t> {
    /// The key as it was written, without quotes.
    pub(super) key: &'t str,
    /// The way to it from the top, for errors.
    pub(super) path: String,
    at: usize,
    value: &'t Spanned<DeValue<'t>>,
}

/// A table's keys in the order of the file.
pub(super) type Entries<'t> = Vec<Entry<'t>>;

impl<'t> Reader<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, errors: Vec::new() }
    }

    /// Notes a mistake at a byte of the text.
    pub(super) fn fault_at(&mut self, at: usize, key: &str, reason: impl Into<String>) {
        if self.errors.len() >= MAX_ERRORS {
            return;
        }
        let before = self.text.get(..at.min(self.text.len())).unwrap_or(self.text);
        self.errors.push(VocabularyError {
            file: self.file.to_owned(),
            line: before.bytes().filter(|b| *b == b'\n').count() + 1,
            key: key.to_owned(),
            reason: reason.into(),
        });
    }

    /// Notes a mistake in an entry.
    pub(super) fn fault(&mut self, entry: &Entry<'_>, reason: impl Into<String>) {
        self.fault_at(entry.at, &entry.path, reason);
    }

    /// Notes that there is no such key here.
    pub(super) fn unknown(&mut self, entry: &Entry<'_>, known: &[&str]) {
        self.fault(entry, format!("unknown key; {}", suggest(entry.key, known)));
    }

    /// The entries of the whole document.
    pub(super) fn document(&self, table: &'t DeTable<'t>) -> Entries<'t> {
        entries(table, "")
    }

    /// The text of an entry.
    pub(super) fn text(&mut self, entry: &Entry<'t>) -> Option<&'t str> {
        match entry.value.get_ref() {
            DeValue::String(text) => Some(text),
            _ => self.wrong(entry, "a text"),
        }
    }

    /// A text that is not empty and has at most 128 bytes and no control characters.
    pub(super) fn name(&mut self, entry: &Entry<'t>) -> Option<&'t str> {
        let text = self.text(entry)?;
        if let Some(fault) = name_fault(text) {
            self.fault(entry, fault);
            return None;
        }
        Some(text)
    }

    /// True or false.
    pub(super) fn flag(&mut self, entry: &Entry<'t>) -> Option<bool> {
        match entry.value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            _ => self.wrong(entry, "true or false"),
        }
    }

    /// A whole number from 1.
    pub(super) fn number(&mut self, entry: &Entry<'t>) -> Option<u64> {
        let number = match entry.value.get_ref() {
            DeValue::Integer(n) => u64::from_str_radix(n.as_str(), n.radix()).ok(),
            _ => None,
        };
        match number {
            Some(number @ 1..) => Some(number),
            _ => self.wrong(entry, "a whole number from 1"),
        }
    }

    /// One of these words.
    pub(super) fn word(
        &mut self,
        entry: &Entry<'t>,
        known: &[&'static str],
    ) -> Option<&'static str> {
        let text = self.text(entry)?;
        let found = known.iter().find(|word| **word == text).copied();
        if found.is_none() {
            self.fault(entry, format!("there is no `{text}` here; {}", suggest(text, known)));
        }
        found
    }

    /// A text or a list of texts.
    pub(super) fn texts(&mut self, entry: &Entry<'t>) -> Option<Vec<&'t str>> {
        let list = match entry.value.get_ref() {
            DeValue::String(text) => Some(vec![&**text]),
            DeValue::Array(items) => items.iter().map(|i| i.get_ref().as_str()).collect(),
            _ => None,
        };
        list.or_else(|| self.wrong(entry, "a text or a list of texts"))
    }

    /// The entries of a table.
    pub(super) fn table(&mut self, entry: &Entry<'t>) -> Option<Entries<'t>> {
        match entry.value.get_ref() {
            DeValue::Table(table) => Some(entries(table, &entry.path)),
            _ => self.wrong(entry, "a table"),
        }
    }

    /// The entries of one table or of each of a list of tables.
    pub(super) fn tables(&mut self, entry: &Entry<'t>) -> Option<Vec<Entries<'t>>> {
        let list = match entry.value.get_ref() {
            DeValue::Table(table) => Some(vec![entries(table, &entry.path)]),
            DeValue::Array(items) => items
                .iter()
                .enumerate()
                .map(|(i, item)| {
                    let path = format!("{}[{i}]", entry.path);
                    item.get_ref().as_table().map(|table| entries(table, &path))
                })
                .collect(),
            _ => None,
        };
        match list {
            Some(list) if !list.is_empty() => Some(list),
            _ => self.wrong(entry, "a table or a list of tables"),
        }
    }

    /// The items of a list, each as an entry.
    pub(super) fn items(&mut self, entry: &Entry<'t>) -> Option<Entries<'t>> {
        match entry.value.get_ref() {
            DeValue::Array(items) => {
                let item = |(i, value): (usize, &'t Spanned<DeValue<'t>>)| Entry {
                    key: entry.key,
                    path: format!("{}[{i}]", entry.path),
                    at: value.span().start,
                    value,
                };
                Some(items.iter().enumerate().map(item).collect())
            }
            _ => self.wrong(entry, "a list"),
        }
    }

    /// The value as JSON.
    pub(super) fn json(&mut self, entry: &Entry<'t>) -> Option<Box<str>> {
        match json(entry.value.get_ref()) {
            Some(json) => Some(json.to_string().into()),
            None => self.wrong(entry, "a value that JSON can write (no inf or nan)"),
        }
    }

    fn wrong<T>(&mut self, entry: &Entry<'_>, expected: &str) -> Option<T> {
        let found = entry.value.get_ref().type_str();
        self.fault(entry, format!("expected {expected}, found {found}"));
        None
    }
}

impl Entry<'_> {
    /// Whether the value is a text.
    pub(super) fn is_text(&self) -> bool {
        self.value.get_ref().is_str()
    }

    /// Whether the value is a table.
    pub(super) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    /// Whether the value is `false`.
    pub(super) fn is_false(&self) -> bool {
        self.value.get_ref().as_bool() == Some(false)
    }
}

/// What is wrong with a name, as the rest of a sentence.
pub(super) fn name_fault(text: &str) -> Option<&'static str> {
    let max = crate::limits::MAX_EVENT_NAME;
    let right = (1..=max).contains(&text.len()) && !text.chars().any(char::is_control);
    (!right).then_some("expected 1 to 128 bytes without control characters")
}

fn entries<'t>(table: &'t DeTable<'t>, path: &str) -> Entries<'t> {
    let mut all: Entries<'t> = table
        .iter()
        .map(|(key, value)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            let name: &'t str = key.get_ref();
            let shown = if !name.is_empty() && name.chars().all(plain) {
                name.to_owned()
            } else {
                format!("{name:?}")
            };
            let path = if path.is_empty() { shown } else { format!("{path}.{shown}") };
            Entry { key: name, path, at: key.span().start, value }
        })
        .collect();
    all.sort_by_key(|entry| entry.at);
    all
}

fn json(value: &DeValue<'_>) -> Option<serde_json::Value> {
    use serde_json::Value;
    Some(match value {
        DeValue::String(text) => Value::from(&**text),
        DeValue::Integer(n) => Value::from(i64::from_str_radix(n.as_str(), n.radix()).ok()?),
        DeValue::Float(n) => {
            Value::Number(serde_json::Number::from_f64(n.as_str().parse::<f64>().ok()?)?)
        }
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(moment) => Value::from(moment.to_string()),
        DeValue::Array(items) => {
            Value::Array(items.iter().map(|item| json(item.get_ref())).collect::<Option<_>>()?)
        }
        DeValue::Table(table) => Value::Object(
            table
                .iter()
                .map(|(key, value)| Some((key.get_ref().to_string(), json(value.get_ref())?)))
                .collect::<Option<_>>()?,
        ),
    })
}
