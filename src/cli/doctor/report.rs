//! What the doctor found.

use std::fmt;

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// As it should be.
    Fine,
    /// Works, and will hurt some day.
    Warning,
    /// Does not work, or loses something.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// What was looked at.
    what: &'static str,
    /// What was seen.
    pub(super) seen: String,
    /// How to mend it; empty if there is nothing to mend.
    pub(super) mend: String,
}

impl Finding {
    pub(super) fn fine(what: &'static str, seen: impl Into<String>) -> Self {
        Self { level: Level::Fine, what, seen: seen.into(), mend: String::new() }
    }

    pub(super) fn warning(
        what: &'static str,
        seen: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { level: Level::Warning, what, seen: seen.into(), mend: mend.into() }
    }

    pub(super) fn problem(
        what: &'static str,
        seen: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { level: Level::Problem, what, seen: seen.into(), mend: mend.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.level {
            Level::Fine => "ok",
            Level::Warning => "warning",
            Level::Problem => "PROBLEM",
        };
        write!(f, "{word:<8} {:<12} {}", self.what, self.seen)?;
        if !self.mend.is_empty() {
            write!(f, "\n{:<8} {:<12} -> {}", "", "", self.mend)?;
        }
        Ok(())
    }
}

/// The last line, and whether there was a problem.
pub(super) fn summary(findings: &[Finding]) -> (String, bool) {
    let count = |level| findings.iter().filter(|f| f.level == level).count();
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
    (format!("{}, {}", plural(problems, "problem"), plural(warnings, "warning")), problems > 0)
}
