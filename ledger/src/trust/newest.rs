//! What a verifier remembers between runs: the newest block and roster that it verified.

use serde::{Deserialize, Serialize};

use super::TrustError;
use crate::command::LedgerId;
use crate::hash::Hash;
use crate::head::{Head, RosterId};

/// Longest file, in bytes.
pub const NEWEST_SIZE_BYTES_MAX: usize = 4096;

/// A verified roster and block: what is older is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Newest {
    /// The block.
    pub block: u64,
    /// The roster in force after it.
    pub roster: RosterId,
}

/// Why a file does not say what was verified.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NewestError {
    /// More than [`NEWEST_SIZE_BYTES_MAX`] bytes.
    #[error("more than {NEWEST_SIZE_BYTES_MAX} bytes")]
    TooLarge,
    /// Not TOML, or a field is missing, unknown or of another type.
    #[error("{0}")]
    Malformed(String),
    /// The digest is not 64 lower-case hex digits.
    #[error("roster_digest is not 64 hex digits")]
    Digest,
    /// It is about another ledger.
    #[error("is about ledger {found}, not {expected}")]
    OtherLedger {
        /// What it says.
        found: String,
        /// The ledger that it should be about.
        expected: LedgerId,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    ledger: String,
    block: u64,
    roster_block: u64,
    roster_digest: String,
}

impl Newest {
    /// What a verified head shows.
    pub fn of(head: &Head) -> Self {
        Self { block: head.block, roster: head.roster }
    }

    /// Demands that `head`, which a node served after this was verified, is not older.
    pub fn check(&self, head: &Head) -> Result<(), TrustError> {
        if head.block < self.block || head.roster.block < self.roster.block {
            return Err(TrustError::RolledBack { found: head.block, minimum: self.block });
        }
        Ok(())
    }

    /// Parses the file of a client of `ledger`.
    pub fn from_toml(text: &str, ledger: LedgerId) -> Result<Self, NewestError> {
        if text.len() > NEWEST_SIZE_BYTES_MAX {
            return Err(NewestError::TooLarge);
        }
        let file: File = toml::from_str(text).map_err(|error| NewestError::Malformed(error.to_string()))?;
        if file.ledger != ledger.to_string() {
            return Err(NewestError::OtherLedger { found: file.ledger, expected: ledger });
        }
        let digest = Hash::from_hex(&file.roster_digest).ok_or(NewestError::Digest)?;
        Ok(Self { block: file.block, roster: RosterId { block: file.roster_block, digest } })
    }

    /// The file's text. Fails where TOML has no spelling for a number: above `i64::MAX`.
    pub fn to_toml(&self, ledger: LedgerId) -> Result<String, NewestError> {
        let file = File {
            ledger: ledger.to_string(),
            block: self.block,
            roster_block: self.roster.block,
            roster_digest: self.roster.digest.to_string(),
        };
        toml::to_string(&file).map_err(|error| NewestError::Malformed(error.to_string()))
    }
}
