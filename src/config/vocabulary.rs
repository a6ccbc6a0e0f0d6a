//! The vocabularies that the configuration names: shipped ones by name, others by
//! the path of their file.

use std::path::Path;

use std::sync::Arc;

use hubbub_actors::session::engine::Choices;
use hubbub_protocol::vocabulary::{MAX_TEXT, Vocabulary, shipped};

use super::Socketio;

/// A wire that a vocabulary is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// `json.vocabulary`.
    Json,
    /// `socketio.vocabulary`.
    Socketio,
}

impl Wire {
    fn speaks(self, vocabulary: &Vocabulary) -> bool {
        match self {
            Self::Json => vocabulary.wires().json,
            Self::Socketio => vocabulary.wires().socketio,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Socketio => "Socket.IO",
        }
    }
}

/// Loads the vocabulary that a key names.
///
/// # Errors
/// A sentence for everything that is wrong: no such vocabulary, a file that can't
/// be read, each mistake in it with its line, the wrong wire.
pub fn load(named: &str, wire: Wire) -> Result<Vocabulary, Vec<String>> {
    let vocabulary = if let Some(text) = shipped::text(named) {
        compile(named, named, text)?
    } else if named.ends_with(".toml") || named.contains('/') {
        let path = Path::new(named);
        let text = read(path).map_err(|reason| vec![format!("cannot read {named}: {reason}")])?;
        let stem = path.file_stem().map_or(named.into(), |stem| stem.to_string_lossy());
        if shipped::text(&stem).is_some() {
            let why = "is the name of a shipped vocabulary; give the file another name";
            return Err(vec![format!("{named}: `{stem}` {why}")]);
        }
        compile(&stem, named, &text)?
    } else {
        return Err(vec![format!("there is no vocabulary `{named}`; {}", choices(wire))]);
    };
    if wire.speaks(&vocabulary) {
        Ok(vocabulary)
    } else {
        let name = wire.name();
        Err(vec![format!("`{named}` is not for the {name} wire; {}", choices(wire))])
    }
}

/// Loads those that a list names, each once; `*` stands for all shipped ones of the wire.
///
/// # Errors
/// As [`load`], for each of them.
pub fn load_all(named: &[String], wire: Wire) -> Result<Vec<Vocabulary>, Vec<String>> {
    let mut all: Vec<Vocabulary> = Vec::new();
    let mut errors = Vec::new();
    for name in named {
        let more = match name.as_str() {
            "*" => shipped_for(wire),
            name => match load(name, wire) {
                Ok(vocabulary) => vec![vocabulary],
                Err(found) => {
                    errors.extend(found);
                    continue;
                }
            },
        };
        for vocabulary in more {
            if all.iter().all(|known| known.name() != vocabulary.name()) {
                all.push(vocabulary);
            }
        }
    }
    if errors.is_empty() { Ok(all) } else { Err(errors) }
}

/// A namespace of `socketio.namespaces` and the vocabulary behind its `=`.
pub fn namespace(entry: &str) -> (&str, Option<&str>) {
    match entry.split_once('=') {
        Some((name, vocabulary)) => (name, Some(vocabulary)),
        None => (entry, None),
    }
}

/// Namespaces, the usual vocabulary (none for `hubbub`), and the others.
type OfSocketio = (Vec<String>, Option<Arc<Vocabulary>>, Choices);

/// What the Socket.IO wire speaks.
///
/// # Errors
/// One sentence with everything that is wrong.
pub fn socketio(config: &Socketio) -> Result<OfSocketio, String> {
    let wire = Wire::Socketio;
    let at = |key: &'static str| {
        move |errors: Vec<String>| format!("`socketio.{key}`: {}", errors.join("; "))
    };
    let usual = load(&config.vocabulary, wire).map_err(at("vocabulary"))?;
    let allowed = load_all(&config.allow_vocabularies, wire).map_err(at("allow_vocabularies"))?;
    let mut choices =
        Choices { namespaces: Vec::new(), allowed: allowed.into_iter().map(Arc::new).collect() };
    let mut namespaces = Vec::new();
    for entry in &config.namespaces {
        let (name, own) = namespace(entry);
        namespaces.push(name.to_owned());
        if let Some(own) = own {
            let own = Arc::new(load(own, wire).map_err(at("namespaces"))?);
            choices.namespaces.push((name.to_owned(), own));
        }
    }
    let usual = (usual.name() != "hubbub").then(|| Arc::new(usual));
    Ok((namespaces, usual, choices))
}

/// The shipped vocabularies of a wire.
pub fn shipped_for(wire: Wire) -> Vec<Vocabulary> {
    let all = shipped::SHIPPED.iter().filter_map(|(name, _)| shipped::get(name));
    all.filter(|vocabulary| wire.speaks(vocabulary)).collect()
}

/// What may be named instead.
fn choices(wire: Wire) -> String {
    let names: Vec<String> =
        shipped_for(wire).iter().map(|vocabulary| vocabulary.name().to_owned()).collect();
    format!("use one of {}, or the path of a TOML file", names.join(", "))
}

fn compile(name: &str, file: &str, text: &str) -> Result<Vocabulary, Vec<String>> {
    Vocabulary::parse(name, file, text)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn read(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_TEXT as u64 {
        return Err(format!("it is larger than {MAX_TEXT} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn shipped_ones_are_found_by_name() {
        for (name, wire) in [
            ("hubbub", Wire::Json),
            ("hubbub", Wire::Socketio),
            ("typed-json", Wire::Json),
            ("plain-chat", Wire::Json),
            ("chat-ack", Wire::Socketio),
        ] {
            assert_eq!(load(name, wire).unwrap().name(), name);
        }
        let names: Vec<String> =
            shipped_for(Wire::Json).iter().map(|v| v.name().to_owned()).collect();
        assert_eq!(names, ["hubbub", "typed-json", "plain-chat"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let unknown = load("typed", Wire::Json).unwrap_err();
        assert!(unknown[0].contains("no vocabulary `typed`"), "{unknown:?}");
        assert!(unknown[0].contains("typed-json, plain-chat"), "{unknown:?}");
        let wire = load("chat-ack", Wire::Json).unwrap_err();
        assert!(wire[0].contains("is not for the JSON wire"), "{wire:?}");
        let missing = load("/nowhere/mine.toml", Wire::Json).unwrap_err();
        assert!(missing[0].starts_with("cannot read /nowhere/mine.toml"), "{missing:?}");
    }

    #[test]
    fn a_file_is_compiled_and_its_mistakes_have_lines() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let good = write("mine.toml", "[in.hello]\ncommand = \"ping\"\n");
        assert_eq!(load(&good, Wire::Json).unwrap().name(), "mine");
        let bad = write("bad.toml", "[in.hello]\ncommand = \"pong\"\n[oot]\n");
        let errors = load(&bad, Wire::Json).unwrap_err();
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].contains("bad.toml, line 2: `in.hello.command`"), "{errors:?}");
        assert!(
            errors[1].contains("line 3: `oot`: unknown key; did you mean `out`?"),
            "{errors:?}"
        );
        let shadow = write("typed-json.toml", "[in.hello]\ncommand = \"ping\"\n");
        assert!(load(&shadow, Wire::Json).unwrap_err()[0].contains("shipped"));
    }
}
