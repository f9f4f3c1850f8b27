//! What a checker found, and what several found together.

use std::fmt;

/// What a checker says of a history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It holds.
    Valid,
    /// It does not.
    Violation {
        /// The checker that says so.
        checker: &'static str,
        /// What is wrong, for people.
        what: String,
        /// The operations that show it, by their ids.
        operations: Vec<u64>,
    },
    /// It could not be told: out of time, or something to look at was missing. Not a pass.
    Inconclusive {
        /// Why.
        why: String,
    },
}

/// The verdict of one checker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Which.
    pub checker: &'static str,
    /// How many operations, or signed things, it has looked at. A run in which this is 0 shows nothing.
    pub examined: u64,
    /// What it says.
    pub verdict: Verdict,
}

impl Finding {
    /// What `checker` found: an error is what it has to say against the history.
    pub(super) fn of(checker: &'static str, examined: usize, judged: Result<(), Verdict>) -> Self {
        let examined = u64::try_from(examined).unwrap_or(u64::MAX);
        Self { checker, examined, verdict: judged.err().unwrap_or(Verdict::Valid) }
    }
}

impl Verdict {
    /// `checker` says that `what` is wrong, as `operations` show.
    pub(super) fn violation(checker: &'static str, what: impl Into<String>, operations: &[u64]) -> Self {
        Self::Violation { checker, what: what.into(), operations: operations.to_vec() }
    }

    /// The verdict on both: a violation in either is one, and what is not known of either is not known.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (violation @ Self::Violation { .. }, _) | (_, violation @ Self::Violation { .. }) => violation,
            (unknown @ Self::Inconclusive { .. }, _) | (_, unknown @ Self::Inconclusive { .. }) => unknown,
            (Self::Valid, Self::Valid) => Self::Valid,
        }
    }

    /// The verdict on all. On none it is inconclusive: nobody looked.
    pub fn all(verdicts: impl IntoIterator<Item = Self>) -> Self {
        let nobody = || Self::Inconclusive { why: "no checker ran".into() };
        verdicts.into_iter().reduce(Self::and).unwrap_or_else(nobody)
    }

    /// Whether it is [`Verdict::Valid`].
    pub const fn is_valid(&self) -> bool {
        matches!(self, Self::Valid)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid => f.write_str("valid"),
            Self::Violation { checker, what, operations } => {
                write!(f, "VIOLATION ({checker}): {what}; operations {operations:?}")
            }
            Self::Inconclusive { why } => write!(f, "inconclusive: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violation(what: &str) -> Verdict {
        Verdict::Violation { checker: "a", what: what.into(), operations: vec![] }
    }

    fn unknown() -> Verdict {
        Verdict::Inconclusive { why: "late".into() }
    }

    #[test]
    fn verdicts_combine_strictly() {
        assert!(!Verdict::all([]).is_valid());
        assert_eq!(Verdict::all([Verdict::Valid, Verdict::Valid]), Verdict::Valid);
        assert_eq!(Verdict::all([Verdict::Valid, unknown(), Verdict::Valid]), unknown());
        assert_eq!(Verdict::all([unknown(), violation("x"), violation("y")]), violation("x"));
        assert_eq!(violation("x").and(unknown()), violation("x"));
    }
}
