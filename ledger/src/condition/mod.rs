//! Conditions: what a grant demands of a call beyond its names, as a Cedar policy set.
//!
//! A [`Condition`] holds for a call if Cedar answers *allow* **and** no policy of it had an error: Cedar skips a
//! policy that it cannot evaluate, and a `forbid` that is skipped would be a permit. Each link of a delegation
//! chain has its own condition, and all of them must hold.
//!
//! Cedar's parser and evaluator recurse, and what they do when the stack ends depends on how much is left of it. So
//! a text is measured by its characters before anything parses it ([`admit`]), and Cedar always runs on a stack
//! that is far larger than what is admitted can need, whatever the caller's is. No time, no randomness and no entities come into it:
//! what a condition sees is the question, the arguments that came with it, and proven facts of the ledger.

mod admit;
mod arguments;
mod evaluate;
mod shape;
mod tell;

pub use admit::{ConditionError, admit};
pub use arguments::{
    ARGUMENTS_DEPTH_MAX, ARGUMENTS_SIZE_BYTES_MAX, Arguments, ArgumentsFault, canonical_arguments,
};
pub use evaluate::{Call, ConditionFault, Fact, Unreadable};
pub use tell::{PolicyOutcome, PolicyTold, Seen};

use crate::command::is_invisible;

/// The version of the Cedar language that conditions are in: one of the rules of the ledger.
pub const LANGUAGE_VERSION: &str = "4.6.0";

/// Longest condition, in bytes.
pub const CONDITION_SIZE_BYTES_MAX: usize = 4096;

/// Longest schema, in bytes.
pub const SCHEMA_SIZE_BYTES_MAX: usize = 8192;

/// A Cedar policy set as text: not empty, in its bounds, and every character of it is seen. Whether Cedar
/// understands it is known only after [`admit`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition(String);

/// A Cedar schema in Cedar's own syntax: not empty, in its bounds, and every character of it is seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schema(String);

/// A text that is empty, too long, or holds characters that are not seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TextError {
    /// Nothing.
    #[error("is empty")]
    Empty,
    /// Too long.
    #[error("has {size} bytes, more than {max}")]
    TooLong {
        /// Its size.
        size: usize,
        /// The bound.
        max: usize,
    },
    /// A control character, or one that is not seen: what people read would not be what Cedar reads.
    #[error("contains U+{0:04X}, which is not seen")]
    Unseen(u32),
}

impl Condition {
    /// Checks the text's size and characters.
    ///
    /// # Errors
    /// It is empty, longer than [`CONDITION_SIZE_BYTES_MAX`], or has characters that are not seen.
    pub fn new(text: impl Into<String>) -> Result<Self, TextError> {
        checked(text.into(), CONDITION_SIZE_BYTES_MAX).map(Self)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Schema {
    /// Checks the text's size and characters.
    ///
    /// # Errors
    /// It is empty, longer than [`SCHEMA_SIZE_BYTES_MAX`], or has characters that are not seen.
    pub fn new(text: impl Into<String>) -> Result<Self, TextError> {
        checked(text.into(), SCHEMA_SIZE_BYTES_MAX).map(Self)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Stack that Cedar always has at least, in bytes: several times what the deepest text needs without any
/// optimization (some 14 KiB for each operator and 56 KiB for each bracket).
const STACK_LEFT_SIZE_BYTES_MIN: usize = 8 << 20;

/// The stack that it is given if there is less left, in bytes. It costs what is touched of it.
const STACK_SIZE_BYTES: usize = 16 << 20;

/// Runs what may call Cedar.
fn on_a_large_stack<T>(run: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK_LEFT_SIZE_BYTES_MIN, STACK_SIZE_BYTES, run)
}

fn checked(text: String, max: usize) -> Result<String, TextError> {
    if text.is_empty() {
        return Err(TextError::Empty);
    }
    if text.len() > max {
        return Err(TextError::TooLong { size: text.len(), max });
    }
    let unseen = |c: &char| is_invisible(*c) || (c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
    match text.chars().find(unseen) {
        Some(c) => Err(TextError::Unseen(c.into())),
        None => Ok(text),
    }
}
