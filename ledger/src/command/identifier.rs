//! Identifiers: short names of bounds and of arguments, which policies can spell without quotes.

use std::fmt;

/// Longest identifier, in bytes.
pub const IDENTIFIER_SIZE_BYTES_MAX: usize = 64;

/// 1 to 64 ASCII letters, digits and `_`, the first of them no digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier(String);

impl Identifier {
    /// Checks `text`.
    pub fn new(text: impl Into<String>) -> Result<Self, IdentifierError> {
        let text = text.into();
        let fits = !text.is_empty()
            && text.len() <= IDENTIFIER_SIZE_BYTES_MAX
            && !text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if fits { Ok(Self(text)) } else { Err(IdentifierError) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why a text is no identifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is not 1 to 64 ASCII letters, digits and '_', the first of them no digit")]
pub struct IdentifierError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_plain() {
        for text in ["a", "_", "refund_eur", "A9", &"x".repeat(64)] {
            assert!(Identifier::new(text).is_ok(), "{text}");
        }
        for text in ["", "9a", "a-b", "a b", "a.b", "é", "a/b", &"x".repeat(65)] {
            assert!(Identifier::new(text).is_err(), "{text}");
        }
    }
}
