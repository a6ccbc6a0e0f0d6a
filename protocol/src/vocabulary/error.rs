//! What can be wrong with a vocabulary, and the known word nearest to a
//! misspelt one.

/// One mistake in a vocabulary. All of them are collected before they are told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: `{key}`: {reason}")]
pub struct VocabularyError {
    /// The file or the name under which the text was given.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The key, such as `in."chat:message".args.roomId`.
    pub key: String,
    /// What is wrong and what is expected, as the rest of a sentence.
    pub reason: String,
}

/// `did you mean ...` for the word nearest to `written`, or the whole list when
/// none is near.
pub(super) fn suggest(written: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|word| (strsim::damerau_levenshtein(written, word), *word))
        .min()
        .filter(|(distance, word)| *distance <= 2.max(word.len() / 3));
    match near {
        Some((_, word)) => format!("did you mean `{word}`?"),
        None if known.is_empty() => "it takes none".into(),
        None => format!("known are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested() {
        let known = ["roomId", "content", "data"];
        assert_eq!(suggest("romId", &known), "did you mean `roomId`?");
        assert_eq!(suggest("contents", &known), "did you mean `content`?");
        assert_eq!(suggest("elephant", &known), "known are roomId, content, data");
        assert_eq!(suggest("x", &[]), "it takes none");
    }
}
