//! How deep and how long a text is, told from its characters alone: nothing here recurses.

use super::admit::ConditionError;

/// Most brackets that are open at once, `if` counted as one that stays open to the end of its policy.
const NESTING_MAX: usize = 16;

/// Most tokens of one policy (up to its `;`): no chain of operators is deeper than it has tokens.
const POLICY_TOKENS_MAX: usize = 512;

/// Most tokens of a schema.
const SCHEMA_TOKENS_MAX: usize = 1024;

/// A word or a number, a string, or a character that is neither part of a word nor of a space, a string or a comment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Text,
    Mark(u8),
}

/// Demands that the policies of `text` are shallow and short.
pub(super) fn check_policies(text: &str) -> Result<(), ConditionError> {
    let (mut open, mut conditionals, mut count) = (0_usize, 0_usize, 0_usize);
    for token in Tokens(text) {
        count += 1;
        match token {
            Token::Mark(b'(' | b'[' | b'{') => open += 1,
            Token::Mark(b')' | b']' | b'}') => open = open.saturating_sub(1),
            Token::Word("if") => conditionals += 1,
            Token::Mark(b';') => (conditionals, count) = (0, 0),
            _ => {}
        }
        if open.saturating_add(conditionals) > NESTING_MAX {
            return Err(ConditionError::Nested { max: NESTING_MAX });
        }
        if count > POLICY_TOKENS_MAX {
            return Err(ConditionError::Long { max: POLICY_TOKENS_MAX });
        }
    }
    Ok(())
}

/// Demands that the schema `text` is shallow and short, and names no type of its own: Cedar writes a named type
/// out wherever it stands, so that a few lines of them would fill any memory.
pub(super) fn check_schema(text: &str) -> Result<(), ConditionError> {
    let (mut open, mut count) = (0_usize, 0_usize);
    let mut before = None;
    for token in Tokens(text) {
        count += 1;
        match token {
            Token::Mark(b'(' | b'[' | b'{' | b'<') => open += 1,
            Token::Mark(b')' | b']' | b'}' | b'>') => open = open.saturating_sub(1),
            Token::Word(_) if before == Some(Token::Word("type")) => return Err(ConditionError::NamedType),
            _ => {}
        }
        if open > NESTING_MAX {
            return Err(ConditionError::Nested { max: NESTING_MAX });
        }
        if count > SCHEMA_TOKENS_MAX {
            return Err(ConditionError::Long { max: SCHEMA_TOKENS_MAX });
        }
        before = Some(token);
    }
    Ok(())
}

/// The tokens of what remains.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            self.0 = self.0.trim_start();
            match self.0.strip_prefix("//") {
                Some(comment) => self.0 = comment.split_once(['\n', '\r']).map_or("", |(_, rest)| rest),
                None => break,
            }
        }
        let first = *self.0.as_bytes().first()?;
        if first == b'_' || first.is_ascii_alphanumeric() {
            // A number ends where a word begins, as Cedar has it.
            let number = first.is_ascii_digit();
            let within = |c: char| c.is_ascii_digit() || !number && (c == '_' || c.is_ascii_alphabetic());
            let end = self.0.find(|c| !within(c)).unwrap_or(self.0.len());
            let (word, rest) = self.0.split_at(end);
            self.0 = rest;
            return Some(Token::Word(word));
        }
        let mut rest = self.0.chars();
        rest.next();
        if first == b'"' {
            // Up to the first quote that no backslash stands before. A string without an end takes all.
            while let Some(c) = rest.next() {
                match c {
                    '\\' => drop(rest.next()),
                    '"' => break,
                    _ => {}
                }
            }
            self.0 = rest.as_str();
            return Some(Token::Text);
        }
        self.0 = rest.as_str();
        Some(Token::Mark(first))
    }
}
