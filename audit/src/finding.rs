//! What an audit found to be wrong: where, what should be there, and what is.

use std::fmt;

use chancery_ledger::authority;

/// One thing that is wrong with a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The index of the leaf that it is about: of the first leaf of the block, if it is about a block.
    pub index: u64,
    /// What the rules demand there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl From<&authority::Finding> for Finding {
    fn from(finding: &authority::Finding) -> Self {
        Self { index: finding.index(), expected: finding.expected(), found: finding.found() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leaf {}: expected {}; found {}", self.index, self.expected, self.found)
    }
}

impl std::error::Error for Finding {}
