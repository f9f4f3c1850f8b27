//! Names of agents, actions and resources, and the patterns that match them.
//!
//! A pattern is a name (matched exactly), `prefix/*` (everything strictly below the prefix) or `*`
//! (everything). There is no other wildcard, so that coverage of one pattern by another is decidable by
//! comparing prefixes.

use std::fmt;

use super::invisible::is_invisible;

/// Longest name or pattern, in bytes.
pub const NAME_SIZE_BYTES_MAX: usize = 256;

/// Most patterns in one list.
pub const PATTERNS_MAX: usize = 64;

/// Why a text is no name or pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("is empty")]
    Empty,
    /// Longer than [`NAME_SIZE_BYTES_MAX`].
    #[error("is longer than {NAME_SIZE_BYTES_MAX} bytes")]
    TooLong,
    /// A control character or white space.
    #[error("has white space or a control character")]
    Character,
    /// A character that is not seen or that reorders others, so that two names could look the same.
    #[error("has an invisible character, U+{:04X}", u32::from(*.0))]
    Invisible(char),
    /// `*` anywhere but as a pattern's last segment.
    #[error("has a '*' that is not a last segment of its own")]
    Wildcard,
    /// A segment `.` or `..`, which some tool could resolve to another name.
    #[error("has a segment '.' or '..'")]
    DotSegment,
    /// More than [`PATTERNS_MAX`] patterns.
    #[error("has more than {PATTERNS_MAX} patterns")]
    TooMany,
    /// Not in strictly ascending order.
    #[error("is not sorted, or has a pattern twice")]
    Unsorted,
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_SIZE_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(NameError::Character);
    }
    if let Some(c) = text.chars().find(|c| is_invisible(*c)) {
        return Err(NameError::Invisible(c));
    }
    if text.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(NameError::DotSegment);
    }
    Ok(())
}

/// The name of an agent, action, resource, owner or principal: 1 to 256 bytes of UTF-8, without white
/// space, control and invisible characters, `*`, and `.` or `..` as a segment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Checks `text`.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        check(&text)?;
        if text.contains('*') {
            return Err(NameError::Wildcard);
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A name, `prefix/*`, or `*`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// Checks `text`.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        check(&text)?;
        let fixed = match text.strip_suffix('*') {
            Some("") => "",
            Some(prefix) if prefix.ends_with('/') && prefix.len() > 1 => prefix,
            Some(_) => return Err(NameError::Wildcard),
            None => &text,
        };
        if fixed.contains('*') {
            return Err(NameError::Wildcard);
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the `*`, which ends in `/` or is empty; `None` if the pattern is exact.
    fn prefix(&self) -> Option<&str> {
        self.0.strip_suffix('*')
    }

    /// Whether `name` matches.
    pub fn matches(&self, name: &Name) -> bool {
        match self.prefix() {
            Some(prefix) => name.0.len() > prefix.len() && name.0.starts_with(prefix),
            None => self.0 == name.0,
        }
    }

    /// Whether every name that `other` matches is matched by this one.
    pub fn covers(&self, other: &Self) -> bool {
        match (self.prefix(), other.prefix()) {
            (Some(mine), Some(theirs)) => theirs.starts_with(mine),
            (Some(mine), None) => other.0.len() > mine.len() && other.0.starts_with(mine),
            (None, Some(_)) => false,
            (None, None) => self.0 == other.0,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A sorted list of distinct patterns; it matches what any of them matches.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Checks that `patterns` are few, sorted and distinct.
    pub fn new(patterns: Vec<Pattern>) -> Result<Self, NameError> {
        if patterns.len() > PATTERNS_MAX {
            return Err(NameError::TooMany);
        }
        if !patterns.is_sorted_by(|a, b| a < b) {
            return Err(NameError::Unsorted);
        }
        Ok(Self(patterns))
    }

    /// Sorts, drops repetitions, and checks: for callers that assemble a list.
    pub fn collect<S: Into<String>>(texts: impl IntoIterator<Item = S>) -> Result<Self, NameError> {
        let mut patterns = texts.into_iter().map(Pattern::new).collect::<Result<Vec<_>, _>>()?;
        patterns.sort();
        patterns.dedup();
        Self::new(patterns)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter()
    }

    /// Whether any matches `name`.
    pub fn matches(&self, name: &Name) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether each of `other` is covered by one of these.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|theirs| self.0.iter().any(|mine| mine.covers(theirs)))
    }

    /// Whether `*` is among them.
    pub fn is_everything(&self) -> bool {
        self.0.iter().any(|pattern| pattern.0 == "*")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_exactly_or_below_a_prefix() {
        let name = |text: &str| Name::new(text).unwrap();
        let pattern = |text: &str| Pattern::new(text).unwrap();
        assert!(pattern("a/b").matches(&name("a/b")));
        assert!(!pattern("a/b").matches(&name("a/b/c")));
        assert!(pattern("a/*").matches(&name("a/b/c")));
        assert!(!pattern("a/*").matches(&name("a")));
        assert!(!pattern("a/*").matches(&name("a/")));
        assert!(!pattern("a/*").matches(&name("ab/c")));
        assert!(pattern("*").matches(&name("a")));
    }

    #[test]
    fn names_that_a_tool_could_read_otherwise_are_refused() {
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new("a/../b"), Err(NameError::DotSegment));
        assert_eq!(Name::new("a b"), Err(NameError::Character));
        assert_eq!(Name::new("a/*"), Err(NameError::Wildcard));
        assert_eq!(Name::new("a".repeat(257)), Err(NameError::TooLong));
        for text in ["a*", "*/a", "/*", "a/*/b", "**", "a/**", "../*"] {
            assert!(Pattern::new(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_that_look_like_others_by_invisible_characters_are_refused() {
        let spoofs = [
            ("pay\u{200b}roll", '\u{200b}'),
            ("pay\u{ad}roll", '\u{ad}'),
            ("\u{feff}payroll", '\u{feff}'),
            ("payroll\u{202e}txt", '\u{202e}'),
            ("payroll\u{2066}", '\u{2066}'),
            ("pay\u{34f}roll", '\u{34f}'),
            ("payroll\u{fe0f}", '\u{fe0f}'),
            ("payroll\u{e0061}", '\u{e0061}'),
            ("payroll\u{3164}", '\u{3164}'),
            ("pay\u{2800}roll", '\u{2800}'),
            ("payroll\u{fff9}", '\u{fff9}'),
        ];
        for (text, c) in spoofs {
            assert_eq!(Name::new(text), Err(NameError::Invisible(c)), "{text:?}");
            assert_eq!(Pattern::new(format!("{text}/*")), Err(NameError::Invisible(c)), "{text:?}");
        }
        assert_eq!(NameError::Invisible('\u{ad}').to_string(), "has an invisible character, U+00AD");
        // What is seen stays, in any script: also combining marks, and the neighbours of what is refused.
        for text in ["Zahlung/Gebühr", "支払い", "платёж", "e\u{301}", "नमस्ते", "🦀", "a\u{fffd}", "\u{2801}"]
        {
            assert!(Name::new(text).is_ok(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn covering_implies_matching(
            a in "([ab]/){0,3}([ab]|\\*)", b in "([ab]/){0,3}([ab]|\\*)", name in "[ab](/[ab]){0,4}",
        ) {
            let (a, b, name) = (Pattern::new(a).unwrap(), Pattern::new(b).unwrap(), Name::new(name).unwrap());
            if a.covers(&b) && b.matches(&name) {
                prop_assert!(a.matches(&name));
            }
            prop_assert!(a.covers(&a));
        }
    }
}
