//! Room patterns of a token: `*` stands for any run of characters, `?` for one.

/// Whether a text matches a pattern. `*` matches any run of characters (also
/// none), `?` exactly one, everything else itself. Takes time in the product of
/// both lengths at worst, never more.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (mut p, mut t) = (pattern.chars(), text.chars());
    // Where to go on when the run that the last `*` stands for must grow.
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let (before_p, before_t) = (p.clone(), t.clone());
        match (p.next(), t.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                retry = Some((p.clone(), before_t.clone()));
                t = before_t;
            }
            (Some('?'), Some(_)) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => {
                drop(before_p);
                let Some((star_p, mut star_t)) = retry.take() else { return false };
                if star_t.next().is_none() {
                    return false;
                }
                (p, t) = (star_p.clone(), star_t.clone());
                retry = Some((star_p, star_t));
            }
        }
    }
}

/// Whether any of the patterns matches.
pub fn any_matches<S: AsRef<str>>(patterns: &[S], text: &str) -> bool {
    patterns.iter().any(|p| matches(p.as_ref(), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("team-*", "team-7", true),
            ("team-*", "team-", true),
            ("team-*", "steam-7", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-", false),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
            ("ü?", "üß", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_ends_soon() {
        let pattern = "*a".repeat(60) + "b";
        assert!(!matches(&pattern, &"a".repeat(128)));
    }
}
